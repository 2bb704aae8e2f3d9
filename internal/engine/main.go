// Package engine is the zone of the data: agents bring health data under tickets, trust says which hub
// pseudonym a ticket stands for, and the lake keeps the data under it. Against a signed permit, and only
// so, engine counts persons (feasibility) and makes project datasets (provision). An identity must never
// reach it, a key of a project must never stay in it.
//
// This package is the running zone: routes for agents, orders from the portal's book, jobs, ledger. What
// is done with data is in its rooms: lake, plan, provision, minimality, feasibility.
package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/feasibility"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Main is the running zone.
type Main struct {
	cfg      Config
	log      *slog.Logger
	clock    clock.Clock
	officers *contract.RollFile
	identity *age.X25519Identity

	db      *store.DB
	jobs    *jobs.Client
	ledger  *ledger.Ledger
	lake    *lake.Lake
	counter *feasibility.Counter
	trust   *http.Client
	vault   *http.Client
	book    *orderpoll.Client // nil: no portal
	server  *httpx.Server

	arriving sync.Mutex // one part at a time takes its place
	rolls    rollCache
}

// Kinds of jobs. Those of queue "heavy" run one at a time: each may use all of the memory.
const (
	jobSheet     = "sheet"     // waits for a delivery's ticket sheet
	jobJoin      = "join"      // publishes a delivery
	jobProvision = "provision" // makes a project dataset
	jobReceipt   = "receipt"   // sends a receipt
	jobNotice    = "notice"    // sends a notice
)

// New opens the zone's directory, keys, database and lake, and listens. Nothing is done before Run.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Main, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Main{cfg: cfg, log: log, clock: clock.From(cfg.DemoClock), officers: contract.NewRollFile(filepath.Join(cfg.Dir, "officers.json"))}
	if err := m.open(ctx); err != nil {
		m.Close()
		return nil, fmt.Errorf("engine: %w", err)
	}
	return m, nil
}

func (m *Main) open(ctx context.Context) (err error) {
	for _, d := range []string{m.cfg.Dir, m.cfg.incoming(""), m.cfg.temp(), m.cfg.work("")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if m.cfg.Handover != "" {
		if err := os.MkdirAll(m.cfg.Handover, 0o700); err != nil {
			return err
		}
	}
	if m.identity, err = ageIdentity(m.cfg.Dir); err != nil {
		return err
	}
	if m.db, err = store.Open(ctx, m.cfg.DSN()); err != nil {
		return err
	}
	if err = migrate(ctx, m.db); err != nil {
		return err
	}
	m.jobs = jobs.New(m.db, m.log)
	if m.ledger, err = ledger.Open(ctx, ledger.Options{Dir: filepath.Join(m.cfg.Dir, "ledger"), Zone: contract.ZoneEngine, DB: m.db, Jobs: m.jobs, Log: m.log}); err != nil {
		return err
	}
	if m.lake, err = lake.Open(m.cfg.lake(), m.cfg.temp(), lake.Options{Memory: m.cfg.Memory, Threads: m.cfg.Threads}); err != nil {
		return err
	}
	if m.counter, err = feasibility.Open(ctx, m.cfg.lake(), m.cfg.CountMemory, m.cfg.Threads); err != nil {
		return err
	}
	m.trust = httpx.MutualClient(m.cfg.TLS, contract.ZoneTrust)
	m.vault = httpx.MutualClient(m.cfg.TLS, contract.ZoneVault)
	if m.cfg.Portal != "" {
		m.book = orderpoll.New(httpx.MutualClient(m.cfg.TLS, contract.ZonePortal), m.cfg.Portal, m.log)
	}
	m.jobs.Handle(jobSheet, jobs.Options{Queue: "sheets", Workers: 8, MaxAttempts: 30000}, m.sheetJob)
	m.jobs.Handle(jobJoin, jobs.Options{Queue: "heavy", Workers: 1, MaxAttempts: 30000}, m.joinJob)
	m.jobs.Handle(jobProvision, jobs.Options{Queue: "heavy", Workers: 1, MaxAttempts: 2 * maxAttempts}, m.provisionJob)
	m.jobs.Handle(jobReceipt, jobs.Options{Queue: "outbox", Workers: 4, MaxAttempts: 30000}, m.receiptJob)
	m.jobs.Handle(jobNotice, jobs.Options{Queue: "outbox", Workers: 4, MaxAttempts: 30000}, m.noticeJob)
	if err := m.jobs.Migrate(ctx); err != nil {
		return err
	}
	if err := m.sweep(ctx); err != nil {
		return err
	}
	if m.cfg.Listen == "" {
		return nil
	}
	m.server, err = httpx.ServeMutual(context.WithoutCancel(ctx), m.cfg.Listen, m.cfg.TLS, m.Handler())
	return err
}

// Addr is where the zone listens; "" when it does not.
func (m *Main) Addr() string {
	if m.server == nil {
		return ""
	}
	return m.server.Addr()
}

// Run works until ctx is over and then stops within 10 seconds.
func (m *Main) Run(ctx context.Context) error {
	if err := m.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.repeatedly(ctx, 2*time.Second, "audit of the data engineer's statements", m.collectAudit) })
	if m.book != nil {
		wg.Go(func() { m.repeatedly(ctx, 2*time.Second, "checkpoint", m.checkpoints()) })
		wg.Go(func() {
			if err := m.book.Run(ctx, 0, m.takeOrder); ctx.Err() == nil {
				m.log.Error("order book", "err", err)
			}
		})
	}
	<-ctx.Done()
	wg.Wait()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 9*time.Second)
	defer cancel()
	var err error
	if m.server != nil {
		err = m.server.Shutdown(stop)
	}
	return errors.Join(err, m.jobs.Stop(stop))
}

// Close releases what New opened.
func (m *Main) Close() {
	stop, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var err error
	if m.server != nil {
		err = m.server.Shutdown(stop)
	}
	if m.ledger != nil {
		err = errors.Join(err, m.ledger.Close(stop))
	}
	if err != nil {
		m.log.Warn("close", "err", err)
	}
	if m.counter != nil {
		m.counter.Close()
	}
	if m.db != nil {
		m.db.Close()
	}
}

// repeatedly does something now and every so often, until ctx is over.
func (m *Main) repeatedly(ctx context.Context, every time.Duration, what string, do func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn(what+": will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkpoints returns a function that sends the head of the ledger as a notice when it has grown.
func (m *Main) checkpoints() func(context.Context) error {
	sent := ""
	return func(ctx context.Context) error {
		head, err := m.ledger.Checkpoint()
		if err != nil || string(head) == sent {
			return err
		}
		body, err := json.Marshal(contract.CheckpointNotice{Checkpoint: string(head), VerifierKey: m.ledger.VerifierKey()})
		if err != nil {
			return err
		}
		id := "checkpoint-" + string(contract.DigestOf(head))[len("sha256:"):][:32]
		if err := m.book.PostNotice(ctx, contract.Notice{ID: id, Zone: contract.ZoneEngine, Kind: "checkpoint", At: m.clock.Now(), Body: body}); err != nil {
			return err
		}
		sent = string(head)
		return nil
	}
}

// sweep removes what a killed process left behind and nobody needs: spilled data, half made projects,
// parts of deliveries that are settled.
func (m *Main) sweep(ctx context.Context) error {
	for _, dir := range []string{m.cfg.temp(), m.cfg.work("")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	settled, err := settledDeliveries(ctx, m.db)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(m.cfg.incoming(""))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if settled[e.Name()] {
			if err := os.RemoveAll(m.cfg.incoming(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// record writes one ledger entry in a transaction of its own.
func (m *Main) record(ctx context.Context, e ledger.Entry) error {
	e.At = m.clock.Now()
	return m.db.InTx(ctx, func(tx *store.Tx) error { return m.ledger.Record(ctx, tx, e) })
}

// ageIdentity reads or makes the key that ticket sheets are sealed to, identity.age, and writes its
// recipient beside it, recipient.txt, for trust's operator.
func ageIdentity(dir string) (*age.X25519Identity, error) {
	path := filepath.Join(dir, "identity.age")
	text, err := os.ReadFile(path)
	var id *age.X25519Identity
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if id, err = age.GenerateX25519Identity(); err != nil {
			return nil, err
		}
		if err := lake.WriteFile(path, []byte(id.String()+"\n")); err != nil {
			return nil, fmt.Errorf("age key: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("age key: %w", err)
	default:
		if id, err = age.ParseX25519Identity(strings.TrimSpace(string(text))); err != nil {
			return nil, fmt.Errorf("age key %s is damaged: bring it back from the backup", path) // the cause may quote the key
		}
	}
	recipient := filepath.Join(dir, "recipient.txt")
	line := []byte(id.Recipient().String() + "\n")
	if now, err := os.ReadFile(recipient); err == nil && bytes.Equal(now, line) {
		return id, nil
	}
	if err := lake.WriteFile(recipient, line); err != nil {
		return nil, fmt.Errorf("age recipient: %w", err)
	}
	return id, os.Chmod(recipient, 0o644)
}
