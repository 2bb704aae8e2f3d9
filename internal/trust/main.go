package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/trust/linkage"
	"github.com/mitral-health/mitral/internal/trust/pseudonym"
	"github.com/mitral-health/mitral/internal/trust/roll"
)

// Main is the running zone.
type Main struct {
	cfg    Config
	log    *slog.Logger
	clock  clock.Clock
	db     *store.DB
	jobs   *jobs.Client
	ledger *ledger.Ledger

	uploads    sync.Map // delivery → *sync.RWMutex, see uploadsOf
	deliveries deliveryStore
	persons    *linkage.Store
	roll       *roll.Store
	key        *pseudonym.Key
	age        *age.X25519Identity
	officers   *contract.RollFile
	orders     *orderpoll.Client // nil: no portal
	tokens     tokenVerifier

	server *httpx.Server
}

// New opens the zone's directory, keys and database, and listens. Nothing is done before Run.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Main, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	for _, d := range []string{cfg.Dir, cfg.incoming(""), cfg.sheets()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
	}
	m := &Main{cfg: cfg, log: log, clock: clock.From(cfg.DemoClock), officers: contract.NewRollFile(cfg.officers())}
	m.tokens = tokenVerifier{provider: cfg.IdentityProvider}
	if err := m.open(ctx); err != nil {
		m.Close()
		return nil, fmt.Errorf("trust: %w", err)
	}
	return m, nil
}

func (m *Main) open(ctx context.Context) (err error) {
	if m.age, err = ageIdentity(m.cfg.ageKey(), m.cfg.recipient()); err != nil {
		return err
	}
	if m.db, err = store.Open(ctx, m.cfg.DSN()); err != nil {
		return err
	}
	m.jobs = jobs.New(m.db, m.log)
	if m.ledger, err = ledger.Open(ctx, ledger.Options{Dir: filepath.Join(m.cfg.Dir, "ledger"), Zone: contract.ZoneTrust, DB: m.db, Jobs: m.jobs, Log: m.log}); err != nil {
		return err
	}
	if m.deliveries, err = newDeliveryStore(ctx, m.db); err != nil {
		return err
	}
	if m.persons, err = linkage.NewStore(ctx, m.db); err != nil {
		return err
	}
	if m.roll, err = roll.NewStore(ctx, m.db); err != nil {
		return err
	}
	if m.key, err = m.epochKey(ctx); err != nil {
		return err
	}
	if err := m.sweep(ctx); err != nil {
		return err
	}
	// One linkage at a time: two at once would each make a person of the same unknown identity.
	m.jobs.Handle(jobLink, jobs.Options{Queue: "linkage", Workers: 1, MaxAttempts: 1000}, m.linkJob)
	if err := m.jobs.Migrate(ctx); err != nil {
		return err
	}
	if m.cfg.Portal != "" {
		m.orders = orderpoll.New(httpx.MutualClient(m.cfg.TLS, contract.ZonePortal), m.cfg.Portal, m.log)
	}
	if m.cfg.Listen != "" {
		if m.server, err = httpx.ServeMutual(context.WithoutCancel(ctx), m.cfg.Listen, m.cfg.TLS, m.Handler()); err != nil {
			return err
		}
	}
	return nil
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
		return fmt.Errorf("trust: %w", err)
	}
	if m.orders != nil {
		done := make(chan struct{}, 2)
		go func() { m.publishCheckpoints(ctx); done <- struct{}{} }()
		go func() {
			if err := m.orders.Run(ctx, 0, m.takeOrder); ctx.Err() == nil {
				m.log.Error("order book", "err", err)
			}
			done <- struct{}{}
		}()
		defer func() { <-done; <-done }()
	}
	<-ctx.Done()
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
	if m.server != nil {
		stop, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := m.server.Shutdown(stop); err != nil {
			m.log.Warn("shutdown", "err", err)
		}
	}
	if m.ledger != nil {
		stop, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := m.ledger.Close(stop); err != nil {
			m.log.Warn("ledger", "err", err)
		}
	}
	if m.db != nil {
		m.db.Close()
	}
}

// epochKey loads the key, or makes it at the very first start. A database that knows a key will work
// with that key only: another one would silently make every person somebody else.
func (m *Main) epochKey(ctx context.Context) (*pseudonym.Key, error) {
	const fact = "epoch_key_fingerprint"
	known, err := m.deliveries.fact(ctx, fact)
	if err != nil {
		return nil, err
	}
	key, err := pseudonym.Load(m.cfg.Dir)
	switch {
	case errors.Is(err, pseudonym.ErrMissing) && known == "":
		if key, err = pseudonym.Create(m.cfg.Dir); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("%w (%s); restore it from the backup", err, pseudonym.File(m.cfg.Dir))
	case known != "" && key.Fingerprint() != known:
		return nil, fmt.Errorf("%s is not the key that this database was filled with", pseudonym.File(m.cfg.Dir))
	}
	if known == "" {
		if err := m.deliveries.setFact(ctx, fact, key.Fingerprint()); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// ageIdentity reads or makes the key that objections are sealed to, and publishes its recipient.
func ageIdentity(keyFile, recipientFile string) (*age.X25519Identity, error) {
	var id *age.X25519Identity
	text, err := os.ReadFile(keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if id, err = age.GenerateX25519Identity(); err != nil {
			return nil, fmt.Errorf("age key: %w", err)
		}
		if err := writeFile(keyFile, []byte(id.String()+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("age key: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("age key: %w", err)
	default:
		if id, err = age.ParseX25519Identity(strings.TrimSpace(string(text))); err != nil {
			return nil, fmt.Errorf("age key %s is damaged: restore it from the backup", keyFile) // the cause may quote the key
		}
	}
	line := []byte(id.Recipient().String() + "\n")
	if now, err := os.ReadFile(recipientFile); err == nil && bytes.Equal(now, line) {
		return id, nil
	}
	if err := writeFile(recipientFile, line, 0o644); err != nil {
		return nil, fmt.Errorf("age recipient: %w", err)
	}
	return id, nil
}

// writeFile writes a file that is there whole or not at all, also after a power cut.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
