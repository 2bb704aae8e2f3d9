// Package vault is the zone of keys, and the smallest of all: it holds the keys of permits and does two
// things with them, each only against a permit that it has verified itself. Engine asks it to turn hub
// into project pseudonyms; engine and enclave ask for the two halves of a workspace's key. An identity or
// health data must never reach it, a key must never leave it but the one that enclave opens a workspace
// with, and the ids that pass through are neither kept nor logged.
package vault

import (
	"context"
	"crypto/aes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Config is vault's configuration file.
type Config struct {
	conf.Zone `yaml:",inline"`
	// Portal is the order book's address, to which heads of the ledger are sent; empty: none are sent.
	Portal string `yaml:"portal"`
}

// MaxIDs is the largest number of ids in one request.
const MaxIDs = 1_000_000

// maxBody bounds a request: MaxIDs in base64, and a permit.
const maxBody = MaxIDs*aes.BlockSize*4/3 + 2<<20

// Main is the running zone.
type Main struct {
	cfg      Config
	log      *slog.Logger
	clock    clock.Clock
	keys     *keys
	officers *contract.RollFile
	db       *store.DB
	jobs     *jobs.Client
	ledger   *ledger.Ledger
	server   *httpx.Server
}

// New opens keys and ledger, and listens.
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Main, error) {
	if cfg.Dir == "" {
		return nil, errors.New("vault: dir is missing")
	}
	m := &Main{cfg: cfg, log: log, clock: clock.From(cfg.DemoClock), officers: contract.NewRollFile(filepath.Join(cfg.Dir, "officers.json"))}
	if err := m.open(ctx); err != nil {
		m.Close()
		return nil, fmt.Errorf("vault: %w", err)
	}
	return m, nil
}

func (m *Main) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(m.cfg.Dir, 0o700); err != nil {
		return err
	}
	if m.keys, err = openKeys(m.cfg.Dir); err != nil {
		return err
	}
	if m.db, err = store.Open(ctx, m.cfg.DSN()); err != nil {
		return err
	}
	m.jobs = jobs.New(m.db, m.log)
	m.ledger, err = ledger.Open(ctx, ledger.Options{Dir: filepath.Join(m.cfg.Dir, "ledger"), Zone: contract.ZoneVault, DB: m.db, Jobs: m.jobs, Log: m.log})
	if err != nil || m.cfg.Listen == "" {
		return err
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
		return fmt.Errorf("vault: %w", err)
	}
	m.publishCheckpoints(ctx)
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
	if m.db != nil {
		m.db.Close()
	}
}

// publishCheckpoints sends the head of the ledger as a notice whenever it has grown, until ctx is over.
func (m *Main) publishCheckpoints(ctx context.Context) {
	if m.cfg.Portal == "" {
		return
	}
	book := orderpoll.New(httpx.MutualClient(m.cfg.TLS, contract.ZonePortal), m.cfg.Portal, m.log)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for sent := ""; ctx.Err() == nil; {
		head, err := m.ledger.Checkpoint()
		if err == nil && string(head) != sent {
			body, _ := json.Marshal(contract.CheckpointNotice{Checkpoint: string(head), VerifierKey: m.ledger.VerifierKey()}) // two strings
			id := "checkpoint-" + string(contract.DigestOf(head))[len("sha256:"):][:32]
			if err = book.PostNotice(ctx, contract.Notice{ID: id, Zone: contract.ZoneVault, Kind: "checkpoint", At: m.clock.Now(), Body: body}); err == nil {
				sent = string(head)
			}
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("checkpoint: will try again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Handler is the zone's routes (docs/protocols.md, "Vault").
func (m *Main) Handler() http.Handler {
	mux := http.NewServeMux()
	engine, enclave := httpx.OnlyZones(contract.ZoneEngine), httpx.OnlyZones(contract.ZoneEnclave)
	mux.Handle("POST /v1/pseudonyms", engine(m.answer("pseudonyms", m.pseudonyms)))
	mux.Handle("POST /v1/workspace-keys/recipient", engine(m.answer("workspace-key.recipient", m.recipient)))
	mux.Handle("POST /v1/workspace-keys/identity", enclave(m.answer("workspace-key.identity", m.identity)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpx.Problem(w, r, http.StatusNotFound, "unknown_route", "There is no such route.")
	})
	return mux
}

// request is the body of every route; IDs belong to pseudonyms alone.
type request struct {
	Permit contract.SignedPermit `json:"permit"`
	IDs    []byte                `json:"ids,omitempty"`
}

// answer verifies the request's permit, lets do answer it, and writes the use, or the refusal, to the
// ledger before the answer leaves: a use that is not in the ledger has not happened.
func (m *Main) answer(action string, do func(*contract.Permit, []byte) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req request
		if err := httpx.Decode(r, maxBody, &req); err != nil {
			httpx.Fail(w, r, err)
			return
		}
		kind, name := httpx.PeerOf(r)
		entry := ledger.Entry{Actor: kind + "/" + name, Action: action, Outcome: "done", At: m.clock.Now(), Details: map[string]any{}}
		permit, err := m.verify(req.Permit)
		var out any
		if err == nil {
			entry.Target = permit.ID
			entry.Details["version"] = permit.Version
			if n := len(req.IDs) / aes.BlockSize; n > 0 {
				entry.Details["ids_at_most"] = (n + 99) / 100 * 100 // the ledger is public: no small count
			}
			out, err = do(permit, req.IDs)
		}
		if err != nil {
			entry.Outcome = contract.RefusalCode(err)
		}
		if lerr := m.db.InTx(r.Context(), func(tx *store.Tx) error { return m.ledger.Record(r.Context(), tx, entry) }); lerr != nil {
			err = errors.Join(err, lerr)
			out = nil
		}
		var refusal *contract.Refusal
		switch {
		case err == nil:
			httpx.JSON(w, http.StatusOK, out)
		case errors.As(err, &refusal):
			httpx.Problem(w, r, http.StatusForbidden, refusal.Code, refusal.Reason)
		default:
			m.log.Error("request failed", "action", action, "err", err)
			httpx.Fail(w, r, err)
		}
	})
}

// verify is the gate of every route. Keys are for data permits only: a count needs none.
func (m *Main) verify(s contract.SignedPermit) (*contract.Permit, error) {
	roll, err := m.officers.Roll()
	if err != nil {
		return nil, err
	}
	p, err := contract.VerifyPermit(s, roll, m.clock.Now())
	if err == nil && p.Kind != contract.PermitData {
		return nil, contract.Refuse("out_of_scope", "a permit of kind %s has no keys", p.Kind)
	}
	return p, err
}

func (m *Main) pseudonyms(p *contract.Permit, ids []byte) (any, error) {
	if len(ids) == 0 || len(ids)%aes.BlockSize != 0 || len(ids) > MaxIDs*aes.BlockSize {
		return nil, contract.Refuse("invalid", "ids: want 1 to %d times %d bytes, found %d bytes", MaxIDs, aes.BlockSize, len(ids))
	}
	if err := m.keys.pseudonyms(p.ID, p.PseudonymDomain, ids); err != nil {
		return nil, err
	}
	return map[string][]byte{"ids": ids}, nil
}

func (m *Main) recipient(p *contract.Permit, ids []byte) (any, error) {
	if len(ids) > 0 {
		return nil, contract.Refuse("invalid", "ids: this route takes none")
	}
	id, err := m.keys.workspace(p.ID)
	if err != nil {
		return nil, err
	}
	return map[string]string{"recipient": id.Recipient().String()}, nil
}

func (m *Main) identity(p *contract.Permit, ids []byte) (any, error) {
	if len(ids) > 0 {
		return nil, contract.Refuse("invalid", "ids: this route takes none")
	}
	id, err := m.keys.workspace(p.ID)
	if err != nil {
		return nil, err
	}
	return map[string]string{"identity": id.String()}, nil
}
