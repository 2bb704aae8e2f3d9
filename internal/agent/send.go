package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// DeliveryRefused means that a zone refused the delivery as a whole. What it published before is unchanged.
type DeliveryRefused struct {
	Zone   string
	Reason string
}

func (e *DeliveryRefused) Error() string { return e.Zone + " refused the delivery: " + e.Reason }

const (
	firstPause = 250 * time.Millisecond
	longPause  = 15 * time.Second
	tries      = 20 // of one request, over about four minutes
)

// sender sends the spool to both zones.
type sender struct {
	sp       *spool
	progress func(Progress)
	zones    []zone
	mu       sync.Mutex // of sp.state
	total    int64
}

type zone struct {
	name     string
	base     string
	client   *http.Client
	manifest *contract.Delivery
	arrived  map[string]bool
	settled  []string // statuses in which the zone needs nothing more
}

func newSender(cfg *Config, sp *spool, progress func(Progress)) *sender {
	s := &sender{sp: sp, progress: progress, zones: []zone{
		{contract.ZoneTrust, strings.TrimRight(cfg.Trust, "/"), httpx.MutualClient(cfg.TLS, contract.ZoneTrust), &sp.state.Trust, sp.state.TrustArrived, []string{"linked"}},
		{contract.ZoneEngine, strings.TrimRight(cfg.Engine, "/"), httpx.MutualClient(cfg.TLS, contract.ZoneEngine), &sp.state.Engine, sp.state.EngineArrived, []string{"published"}},
	}}
	for _, z := range s.zones {
		for _, p := range z.manifest.Parts {
			s.total += p.Bytes
		}
	}
	return s
}

// send brings all parts to both zones, closes the delivery at both, and waits for both.
func (s *sender) send(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range s.zones {
		g.Go(func() error { return s.parts(gctx, &s.zones[i]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// Only when both have everything, so that neither begins what the other cannot finish.
	for i := range s.zones {
		if err := s.complete(ctx, &s.zones[i]); err != nil {
			return err
		}
	}
	for i := range s.zones {
		if err := s.wait(ctx, &s.zones[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) parts(ctx context.Context, z *zone) error {
	for _, p := range z.manifest.Parts {
		key := p.Table + "/" + p.Name
		if !s.has(z, key) {
			path := "/identities/" + p.Name
			if p.Table != "" {
				path = "/tables/" + p.Table + "/" + p.Name
			}
			err := s.retry(ctx, z, func() error {
				f, err := os.Open(s.sp.path(p))
				if err != nil {
					return err
				}
				defer f.Close()
				return s.call(ctx, z, http.MethodPut, path, io.NopCloser(f), p.Bytes, string(p.Digest), nil)
			})
			if err != nil {
				return fmt.Errorf("part %s of %q to %s: %w", p.Name, p.Table, z.name, err)
			}
			if err := s.mark(z, key); err != nil {
				return err
			}
		}
		s.progress(Progress{Stage: StageSend, Table: p.Table, Rows: p.Rows, Bytes: p.Bytes, Total: s.total})
	}
	return nil
}

func (s *sender) has(z *zone, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return z.arrived[key]
}

// mark remembers on disk that a part has arrived.
func (s *sender) mark(z *zone, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	z.arrived[key] = true
	return s.sp.save()
}

func (s *sender) complete(ctx context.Context, z *zone) error {
	if s.has(z, complete) {
		return nil
	}
	body, err := json.Marshal(z.manifest)
	if err != nil {
		return err
	}
	err = s.retry(ctx, z, func() error {
		return s.call(ctx, z, http.MethodPost, "/complete", io.NopCloser(bytes.NewReader(body)), int64(len(body)), "", nil)
	})
	if err != nil {
		return fmt.Errorf("close the delivery at %s: %w", z.name, err)
	}
	return s.mark(z, complete)
}

// wait asks until the zone has settled the delivery.
func (s *sender) wait(ctx context.Context, z *zone) error {
	s.progress(Progress{Stage: StageWait, Note: "waiting for " + z.name})
	pause := 50 * time.Millisecond
	for {
		var answer struct{ Status, Reason string }
		err := s.retry(ctx, z, func() error { return s.call(ctx, z, http.MethodGet, "", http.NoBody, 0, "", &answer) })
		if err != nil {
			return fmt.Errorf("status at %s: %w", z.name, err)
		}
		if answer.Status == "refused" {
			return &DeliveryRefused{z.name, answer.Reason}
		}
		for _, done := range z.settled {
			if answer.Status == done {
				return nil
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*3/2, 2*time.Second)
	}
}

// retry repeats a request while the zone cannot be reached or is not well. What the zone says about the
// request itself is final.
func (s *sender) retry(ctx context.Context, z *zone, do func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil || errors.Is(err, os.ErrNotExist) || try == tries {
			return err
		}
		if e, ok := errors.AsType[*httpx.Error](err); ok && e.Status < 500 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests && e.Code != "cut_short" {
			return err
		}
		s.progress(Progress{Stage: StageWait, Note: fmt.Sprintf("%s cannot be reached or is not well, trying again: %v", z.name, err)})
		if err := sleep(ctx, pause/2+rand.N(pause/2)); err != nil {
			return err
		}
		pause = min(2*pause, longPause)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// call makes one request about the delivery.
func (s *sender) call(ctx context.Context, z *zone, method, path string, body io.ReadCloser, size int64, digest string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, z.base+"/v1/deliveries/"+z.manifest.ID+path, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	if digest != "" {
		req.Header.Set("Digest", digest)
		req.Header.Set("Content-Type", "application/octet-stream")
	} else if size > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := z.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(b, answer)
}
