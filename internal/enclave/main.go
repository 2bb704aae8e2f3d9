// Package enclave is the zone in which researchers compute: it opens a workspace for each signed permit,
// runs users' programs in sandboxes, and lets results out through the airlock only. Its front door is for
// the persons that permits name and for output reviewers. It must never hold identities of patients or hub
// pseudonyms, and accepts no connection from another zone: it dials the portal's order book and vault.
package enclave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/airlock"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/enclave/workspace"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	watchEvery      = 250 * time.Millisecond
	checkpointEvery = 5 * time.Second
)

// Main is the zone.
type Main struct {
	cfg        Config
	log        *slog.Logger
	clock      clock.Clock
	db         *store.DB
	jobs       *jobs.Client
	ledger     *ledger.Ledger
	orders     *orderpoll.Client
	roll       *contract.RollFile
	workspaces *workspace.Service
	airlock    *airlock.Service
	door       *door

	mu     sync.Mutex
	server *httpx.Server
	ready  chan struct{} // closed when the front door listens
	once   sync.Once
}

// New opens the zone's databases, builds the sandbox and tries to break out of it. When the sandbox is not
// sound the zone still starts, so that people see why, but takes no job.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Main, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	m := &Main{cfg: cfg, log: log, clock: clock.From(cfg.DemoClock), roll: contract.NewRollFile(filepath.Join(cfg.Dir, "officers.json")), ready: make(chan struct{})}
	if err := m.open(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Main) open(ctx context.Context) (err error) {
	if m.db, err = store.Open(ctx, m.cfg.DSN()); err != nil {
		return err
	}
	m.jobs = jobs.New(m.db, m.log)
	m.ledger, err = ledger.Open(ctx, ledger.Options{Dir: filepath.Join(m.cfg.Dir, "ledger"), Zone: contract.ZoneEnclave, DB: m.db, Jobs: m.jobs, Log: m.log})
	if err != nil {
		return err
	}
	m.orders = orderpoll.New(httpx.MutualClient(m.cfg.TLS, contract.ZonePortal), m.cfg.Portal, m.log)
	runner, sandboxErr := m.sandbox(ctx)
	m.workspaces, err = workspace.New(ctx, workspace.Options{
		Dir: m.cfg.Dir, Handover: m.cfg.Handover, URL: m.cfg.Door.URL, DB: m.db, Jobs: m.jobs, Ledger: m.ledger, Roll: m.roll,
		Keys: &workspace.Vault{Client: httpx.MutualClient(m.cfg.TLS, contract.ZoneVault), Base: m.cfg.Vault},
		Book: m.orders, Sandbox: runner, SandboxErr: sandboxErr, Limits: m.cfg.Sandbox.Limits, UIDBase: m.cfg.Sandbox.UIDBase,
		Workers: m.cfg.Sandbox.Workers, Clock: m.clock, Log: m.log,
	})
	if err != nil {
		return err
	}
	m.airlock, err = airlock.New(ctx, airlock.Options{Dir: m.cfg.Dir, DB: m.db, Jobs: m.jobs, Ledger: m.ledger, Workspaces: m.workspaces,
		Book: m.orders, Clock: m.clock, Log: m.log})
	if err != nil {
		return err
	}
	m.door, err = newDoor(ctx, m)
	return err
}

// selfTest is a variable so that tests that start many enclaves attack the machine's sandbox once.
var selfTest = (*sandbox.Runner).SelfTest

// sandbox builds the runner and has the self-test attack it. The error is why no job may run.
func (m *Main) sandbox(ctx context.Context) (*sandbox.Runner, error) {
	r, err := sandbox.New(sandbox.Config{Binary: m.cfg.Sandbox.Binary, Scratch: m.cfg.Sandbox.Scratch, Require: m.cfg.Sandbox.Require})
	if err != nil {
		m.log.Error("no job will run", "err", err)
		return nil, err
	}
	checks, err := selfTest(r, ctx)
	if err == nil {
		err = Unsound(checks)
	}
	if err != nil {
		m.log.Error("no job will run", "err", err)
		return r, err
	}
	m.log.Info("sandbox is sound", "attempts", len(checks), "layers", r.Layers())
	return r, nil
}

// Unsound is nil when every forbidden action was blocked, else an error that names those that were not.
func Unsound(checks []sandbox.Check) error {
	var errs []error
	for _, c := range checks {
		if !c.Blocked {
			errs = append(errs, fmt.Errorf("%s: %s", c.Name, c.Detail))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: the self-test got through: %w", sandbox.ErrUnavailable, errors.Join(errs...))
	}
	return nil
}

// Run serves the front door, polls orders and carries out jobs until ctx is over.
func (m *Main) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := httpx.ServePublic(context.WithoutCancel(ctx), m.cfg.Door.Listen, m.cfg.Door.Cert, m.cfg.Door.Key, httpx.Secure(m.door.routes()))
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.server = server
	m.mu.Unlock()
	if err := m.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	close(m.ready)
	m.log.Info("front door is open", "addr", server.Addr(), "url", m.cfg.Door.URL)
	var wg sync.WaitGroup
	background := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				m.log.Error("background work ended", "what", name, "err", err)
				cancel()
			}
		})
	}
	background("orders", func(ctx context.Context) error { return m.orders.Run(ctx, 0, m.workspaces.Take) })
	background("workspaces", func(ctx context.Context) error { return m.workspaces.Watch(ctx, watchEvery) })
	background("checkpoints", m.publishCheckpoints)
	<-ctx.Done()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer done()
	err = errors.Join(server.Shutdown(stop), m.jobs.Stop(stop))
	wg.Wait()
	return err
}

// Addr is the address of the front door once it listens.
func (m *Main) Addr(ctx context.Context) (string, error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server.Addr(), nil
}

// Close releases what New opened. Run has returned before.
func (m *Main) Close() {
	m.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if m.ledger != nil {
			if err := m.ledger.Close(ctx); err != nil {
				m.log.Warn("close ledger", "err", err)
			}
		}
		if m.db != nil {
			m.db.Close()
		}
	})
}

// publishCheckpoints posts the head of the ledger as a notice whenever it has grown.
func (m *Main) publishCheckpoints(ctx context.Context) error {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	last := ""
	for {
		head, err := m.ledger.Checkpoint()
		if err == nil && string(head) != last && len(head) > 0 {
			if err = m.postCheckpoint(ctx, head); err == nil {
				last = string(head)
			}
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("checkpoint notice: will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (m *Main) postCheckpoint(ctx context.Context, head []byte) error {
	body, err := json.Marshal(contract.CheckpointNotice{Checkpoint: string(head), VerifierKey: m.ledger.VerifierKey()})
	if err != nil {
		return err
	}
	id := "checkpoint-enclave-" + string(contract.DigestOf(head))[len("sha256:"):][:24]
	return m.orders.PostNotice(ctx, contract.Notice{ID: id, Zone: contract.ZoneEnclave, Kind: "checkpoint", At: m.clock.Now(), Body: body})
}

// Handler is the front door without a listener, for tests.
func (m *Main) Handler() http.Handler { return httpx.Secure(m.door.routes()) }
