// Package workspace opens a project's workspace on the order of a signed permit, keeps its data sealed,
// and runs its users' jobs in sandboxes. The enclave's front door calls it for the persons a permit names.
// It must never hold an identity of a patient or a hub pseudonym, never write a workspace's key or plain
// data to a disk, and never let a file leave: that is the airlock's part.
package workspace

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// forever bounds the attempts to reach the portal: one that is away for weeks loses nothing.
const forever = 30_000

// States of a workspace.
const (
	StateWaiting = "waiting" // for engine's handover
	StateOpen    = "open"
	StateClosed  = "closed" // permit expired or withdrawn, or handover damaged
)

// States of a job.
const (
	JobQueued    = "queued"
	JobRunning   = "running"
	JobDone      = "done"
	JobFailed    = "failed"
	JobCancelled = "cancelled"
)

// Kinds of job.
const (
	KindSQL    = "sql"
	KindPython = "python"
)

// Workspace is one project's place to work.
type Workspace struct {
	ID        string
	Number    int64
	Permit    contract.Permit
	Signed    contract.SignedPermit
	Digest    contract.Digest
	OrderID   string
	State     string
	Reason    string
	Handover  *contract.Handover // nil until open
	CreatedAt time.Time
	OpenedAt  time.Time
	ClosedAt  time.Time
}

// Person returns the natural person that the permit names by id.
func (w *Workspace) Person(id string) (contract.Person, bool) {
	for _, p := range w.Permit.Persons {
		if p.ID == id {
			return p, true
		}
	}
	return contract.Person{}, false
}

// Who is a signed-in person: the id, and the public key of the passkey she signed in with. The officer's
// signature covers id and key together, so both must stand in the permit. AnyKey is set in demonstrations
// only, where one signs in without a passkey.
type Who struct {
	ID     string
	SPKI   []byte
	AnyKey bool
}

// Names reports whether the permit names the person with this key.
func (w *Workspace) Names(who Who) bool {
	p, ok := w.Person(who.ID)
	if !ok || who.ID == "" {
		return false
	}
	return who.AnyKey || slices.ContainsFunc(p.Credentials, func(c contract.PublicKey) bool {
		return len(who.SPKI) > 0 && bytes.Equal(c.SPKI, who.SPKI)
	})
}

// Output is one file that a job wrote, kept sealed.
type Output struct {
	Name   string          `json:"name"`
	Bytes  int64           `json:"bytes"`
	Digest contract.Digest `json:"digest"` // of the plain bytes
}

// Job is one program that a user had run.
type Job struct {
	ID         string            `json:"id"`
	Workspace  string            `json:"workspace"`
	Author     string            `json:"author"`
	Kind       string            `json:"kind"`
	Title      string            `json:"title"`
	Code       string            `json:"code"`
	State      string            `json:"state"`
	Reason     string            `json:"reason,omitempty"` // stable code: "exit", "timeout", "out_limit", "interrupted", "permit", "data", "sandbox"
	Detail     string            `json:"detail,omitempty"`
	ExitCode   int               `json:"exit_code"`
	Outputs    []Output          `json:"outputs"`
	Refused    []sandbox.Refused `json:"refused"`
	LogCut     bool              `json:"log_cut"`
	CreatedAt  time.Time         `json:"created_at"`
	StartedAt  time.Time         `json:"started_at"`
	FinishedAt time.Time         `json:"finished_at"`

	runs   int
	cancel bool
}

// Final reports whether nothing more will happen to the job.
func (j *Job) Final() bool {
	return j.State == JobDone || j.State == JobFailed || j.State == JobCancelled
}

// Output returns the output called name.
func (j *Job) Output(name string) (Output, bool) {
	for _, o := range j.Outputs {
		if o.Name == name {
			return o, true
		}
	}
	return Output{}, false
}

// Keys gives a workspace's private key for as long as a permit is in force; vault does.
type Keys interface {
	Identity(ctx context.Context, permit contract.SignedPermit) (Identity, error)
}

// Book is the portal's order book, as far as this room answers it.
type Book interface {
	PostReceipt(ctx context.Context, v any) error
}

// Options of a Service. All fields are needed.
type Options struct {
	Dir      string // own directory for sealed files
	Handover string // directory in which engine leaves project datasets
	URL      string // address of the front door, for the receipt
	DB       *store.DB
	Jobs     *jobs.Client
	Ledger   *ledger.Ledger
	Roll     *contract.RollFile
	Keys     Keys
	Book     Book
	Sandbox  *sandbox.Runner // nil when it cannot be set up: SandboxErr says why and no job runs
	// SandboxErr is why no job may run: a missing layer, or a self-test that found a gap.
	SandboxErr error
	Limits     sandbox.Limits
	UIDBase    int // host user ids for workspaces start here; used when the enclave runs as root
	Workers    int // jobs that run at the same time
	Clock      clock.Clock
	Log        *slog.Logger
}

// Service is the room.
type Service struct {
	Options
	mu      sync.Mutex
	running map[string]context.CancelFunc // job → its cancel
}

// New migrates the room's tables, removes what a killed process left of running jobs, and registers the
// kinds of background work. It is called before jobs.Client.Start.
func New(ctx context.Context, o Options) (*Service, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "workspace", sub); err != nil {
		return nil, err
	}
	s := &Service{Options: o, running: map[string]context.CancelFunc{}}
	if err := os.MkdirAll(filepath.Join(o.Dir, "workspaces"), 0o700); err != nil {
		return nil, err
	}
	if err := s.sweep(); err != nil {
		return nil, err
	}
	o.Jobs.Handle("enclave.receipt", jobs.Options{Queue: "receipts", Workers: 1, MaxAttempts: forever}, s.postReceipt)
	o.Jobs.Handle("enclave.run", jobs.Options{Queue: "compute", Workers: max(o.Workers, 1)}, s.run)
	return s, nil
}

// sweep removes decrypted data and scratch files of a process that was killed.
func (s *Service) sweep() error {
	if s.Sandbox == nil {
		return nil
	}
	entries, err := os.ReadDir(s.Sandbox.Scratch())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := os.RemoveAll(filepath.Join(s.Sandbox.Scratch(), e.Name())); err != nil {
				return fmt.Errorf("remove left-over %s: %w", e.Name(), err)
			}
		}
	}
	return nil
}

// Open returns a workspace that a person may work in now. The error is a contract.Refusal: "unknown" when
// there is none or the person is not named in its permit (which looks the same from outside), "expired",
// "not_yet_valid" or another code of contract.VerifyPermit, "closed" or "waiting".
func (s *Service) Open(ctx context.Context, id string, who Who) (*Workspace, error) {
	w, err := s.named(ctx, id, who)
	if err != nil {
		return nil, err
	}
	if err := s.inForce(w); err != nil {
		return nil, err
	}
	switch w.State {
	case StateWaiting:
		return nil, contract.Refuse("waiting", "the data have not arrived yet")
	case StateClosed:
		return nil, contract.Refuse("closed", "the workspace is closed: %s", w.Reason)
	}
	return w, nil
}

// named returns the workspace when its permit names the person, whatever its state.
func (s *Service) named(ctx context.Context, id string, who Who) (*Workspace, error) {
	w, err := s.workspace(ctx, s.DB, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, contract.Refuse("unknown", "there is no such workspace")
	}
	if err != nil {
		return nil, err
	}
	if !w.Names(who) {
		return nil, contract.Refuse("unknown", "there is no such workspace")
	}
	return w, nil
}

// inForce verifies the workspace's permit again: signature, enrolment and dates. An officer whose
// enrolment vanished, or a clock past the end, closes the door at once.
func (s *Service) inForce(w *Workspace) error {
	roll, err := s.Roll.Roll()
	if err != nil {
		return err
	}
	_, err = contract.VerifyPermit(w.Signed, roll, s.Clock.Now())
	return err
}

// InForce is the same for other rooms, by the workspace's id.
func (s *Service) InForce(ctx context.Context, id string) (*Workspace, error) {
	w, err := s.workspace(ctx, s.DB, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, contract.Refuse("unknown", "there is no such workspace")
	}
	if err != nil {
		return nil, err
	}
	return w, s.inForce(w)
}

// Of lists the workspaces whose permit names the person, newest first; closed and waiting ones too, so
// that she sees why she cannot work.
func (s *Service) Of(ctx context.Context, who Who) ([]*Workspace, error) {
	all, err := s.workspaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []*Workspace
	for _, w := range all {
		if w.Names(who) {
			out = append(out, w)
		}
	}
	return out, nil
}

// Member reports whether a permit in force names the person with this key.
func (s *Service) Member(ctx context.Context, who Who) (bool, error) {
	named, err := s.Of(ctx, who)
	if err != nil {
		return false, err
	}
	for _, w := range named {
		var refusal *contract.Refusal
		switch err := s.inForce(w); {
		case err == nil && w.State != StateClosed:
			return true, nil
		case err != nil && !errors.As(err, &refusal):
			return false, err
		}
	}
	return false, nil
}

// Named lists everybody whom a permit in force names, with the credentials it gives them.
func (s *Service) Named(ctx context.Context) ([]contract.Person, error) {
	all, err := s.workspaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []contract.Person
	for _, w := range all {
		var refusal *contract.Refusal
		switch err := s.inForce(w); {
		case err == nil && w.State != StateClosed:
			out = append(out, w.Permit.Persons...)
		case err != nil && !errors.As(err, &refusal):
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) dir(workspace string) string {
	return filepath.Join(s.Dir, "workspaces", workspace)
}

// Record writes one ledger entry for the front door.
func (s *Service) Record(ctx context.Context, tx *store.Tx, actor, action, target, outcome string, details map[string]any) error {
	return s.record(ctx, tx, actor, action, target, outcome, details)
}

// record writes one ledger entry in the transaction of the row it tells about.
func (s *Service) record(ctx context.Context, tx *store.Tx, actor, action, target, outcome string, details map[string]any) error {
	return s.Ledger.Record(ctx, tx, ledger.Entry{Actor: actor, Action: action, Target: target, Outcome: outcome, Details: details, At: s.Clock.Now()})
}

// outbox has a receipt sent once the transaction is committed.
func (s *Service) outbox(ctx context.Context, tx *store.Tx, r contract.Receipt) error {
	return s.Jobs.Insert(ctx, tx, "enclave.receipt", r.ID, r)
}

func (s *Service) postReceipt(ctx context.Context, payload json.RawMessage) error {
	return s.Book.PostReceipt(ctx, payload)
}
