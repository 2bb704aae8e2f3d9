// Package orderpoll is an inner zone's side of the portal's order book: it long-polls for orders and
// sends receipts, notices and released files back. Trust, vault, engine and enclave use it. It must never
// look inside an order: what authorises is checked by the zone that carries it out.
package orderpoll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// Limits of the protocol. Variables of the package's own so that tests can be quick.
const (
	maxAnswer   = 32 << 20         // bytes of one answer to a poll
	waitSeconds = 25               // how long the portal may hold a poll open (docs/protocols.md)
	postTimeout = 30 * time.Second // of a receipt or notice
)

// Handler takes one order. An error means "not taken": the same order comes again after a pause, and
// those behind it wait.
type Handler func(ctx context.Context, seq int64, raw json.RawMessage) error

// Client talks to one order book.
type Client struct {
	http     *http.Client
	base     string
	log      *slog.Logger
	backoff0 time.Duration // first pause after a failure
	backoffN time.Duration // longest pause
}

// New returns a client of the order book at baseURL ("https://portal.hub.example:7443").
func New(client *http.Client, baseURL string, log *slog.Logger) *Client {
	return &Client{http: client, base: strings.TrimRight(baseURL, "/"), log: log, backoff0: 100 * time.Millisecond, backoffN: 30 * time.Second}
}

// Run asks for orders numbered above after, hands each to take in the order of their numbers, and only
// returns when ctx is over. While the portal cannot be reached, or take fails, it pauses, doubling from
// 0.1 to 30 seconds with jitter, so that many zones never knock in step.
func (c *Client) Run(ctx context.Context, after int64, take Handler) error {
	pause := time.Duration(0)
	for {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		orders, err := c.poll(ctx, after)
		if err == nil {
			for _, o := range orders {
				if err = take(ctx, o.Seq, o.Order); err != nil {
					err = fmt.Errorf("order %d: %w", o.Seq, err)
					break
				}
				after = o.Seq
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			pause = 0
		default:
			pause = min(max(2*pause, c.backoff0), c.backoffN)
			c.log.Warn("order book: will try again", "err", err, "pause", pause)
		}
	}
}

// sleep waits between half of d and d.
func sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		d = d/2 + rand.N(d/2+1)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ctx.Err()
	}
}

type numbered struct {
	Seq   int64           `json:"seq"`
	Order json.RawMessage `json:"order"`
}

func (c *Client) poll(ctx context.Context, after int64) ([]numbered, error) {
	// The portal answers after waitSeconds at the latest; a connection that died silently is dropped.
	ctx, cancel := context.WithTimeout(ctx, (waitSeconds+20)*time.Second)
	defer cancel()
	url := fmt.Sprintf("%s/orderbook/v1/orders?after=%d&wait=%d", c.base, after, waitSeconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return parse(b, after)
}

// parse reads an answer of the order book. Numbers must rise and lie above after, or an order could be
// skipped or taken twice without anybody noticing.
func parse(b []byte, after int64) ([]numbered, error) {
	if len(b) > maxAnswer {
		return nil, errors.New("orders: the answer is too large")
	}
	var answer struct {
		Orders []numbered `json:"orders"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&answer); err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("orders: bytes after the document")
	}
	last := after
	for i, o := range answer.Orders {
		if o.Seq <= last {
			return nil, fmt.Errorf("orders: number %d follows %d", o.Seq, last)
		}
		if len(o.Order) == 0 || o.Order[0] != '{' {
			return nil, fmt.Errorf("orders: entry %d holds no order", i)
		}
		last = o.Seq
	}
	return answer.Orders, nil
}

// PostReceipt sends a receipt; sending the same one again is harmless.
func (c *Client) PostReceipt(ctx context.Context, receipt any) error {
	return c.Post(ctx, "/orderbook/v1/receipts", receipt)
}

// PostNotice sends a notice; sending the same one again is harmless.
func (c *Client) PostNotice(ctx context.Context, notice any) error {
	return c.Post(ctx, "/orderbook/v1/notices", notice)
}

// Post sends v as JSON to a path of the order book. A refusal is an *httpx.Error.
func (c *Client) Post(ctx context.Context, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("post %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("post %s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	return c.do(req)
}

// PutFile sends one file, from its beginning, with its digest ("sha256:…") to a path of the order book.
func (c *Client) PutFile(ctx context.Context, path string, file *os.File, digest string) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	// A section reader, because the HTTP client closes a body and the file is the caller's.
	body := io.NewSectionReader(file, 0, info.Size())
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+path, io.NopCloser(body))
	if err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	req.ContentLength = info.Size()
	if req.ContentLength == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Digest", digest)
	return c.do(req)
}

func (c *Client) do(req *http.Request) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return err
}
