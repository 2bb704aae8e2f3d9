package airlock

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/workspace"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/disclosure"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	forever  = 30_000   // attempts: a portal that is away for weeks loses nothing
	maxFiles = 50       // files of one export (Findata's guidance for one batch)
	maxFile  = 50 << 20 // bytes, the order book's limit
)

// Book is the portal's order book, as far as this room uses it.
type Book interface {
	PutFile(ctx context.Context, path string, file *os.File, digest string) error
	Post(ctx context.Context, path string, v any) error
}

// Options of a Service. All fields are needed.
type Options struct {
	Dir        string // own directory for frozen files, which are sealed
	DB         *store.DB
	Jobs       *jobs.Client
	Ledger     *ledger.Ledger
	Workspaces *workspace.Service
	Book       Book
	Clock      clock.Clock
	Log        *slog.Logger
}

// Service is the room.
type Service struct{ Options }

// Reviewer is who judges: a person the operator enrolled in role reviewer.
type Reviewer struct {
	ID  string
	Key contract.PublicKey
}

// New migrates the room's tables, removes frozen files of requests that were never finished, and registers
// the release. It is called before jobs.Client.Start.
func New(ctx context.Context, o Options) (*Service, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "airlock", sub); err != nil {
		return nil, err
	}
	s := &Service{o}
	if err := os.MkdirAll(s.root(), 0o700); err != nil {
		return nil, err
	}
	known, err := s.ids(ctx, "")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.root())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			if err := os.RemoveAll(filepath.Join(s.root(), e.Name())); err != nil {
				return nil, err
			}
		}
	}
	o.Jobs.Handle("enclave.release", jobs.Options{Queue: "release", Workers: 1, MaxAttempts: forever}, s.release)
	return s, nil
}

func (s *Service) root() string { return filepath.Join(s.Dir, "exports") }

func (s *Service) frozen(export string, i int) string {
	return filepath.Join(s.root(), export, strconv.Itoa(i)+".age")
}

func (s *Service) record(ctx context.Context, tx *store.Tx, actor, action, target, outcome string, details map[string]any) error {
	return s.Ledger.Record(ctx, tx, ledger.Entry{Actor: actor, Action: action, Target: target, Outcome: outcome, Details: details, At: s.Clock.Now()})
}

// Ask freezes outputs of a finished job, checks them and returns the export, in state PENDING. When a
// check failed the author sees why and can only withdraw it; Submit refuses.
func (s *Service) Ask(ctx context.Context, workspaceID string, author workspace.Who, jobID, title, why string, names []string) (*Export, error) {
	w, j, err := s.Workspaces.Job(ctx, workspaceID, author, jobID)
	if err != nil {
		return nil, err
	}
	title, why = strings.TrimSpace(title), strings.TrimSpace(why)
	switch {
	case j.State != workspace.JobDone:
		return nil, contract.Refuse("conflict", "only outputs of a finished job can leave")
	case title == "" || utf8.RuneCountInString(title) > 120:
		return nil, contract.Refuse("invalid", "title: 1 to 120 characters")
	case why == "" || utf8.RuneCountInString(why) > 4000:
		return nil, contract.Refuse("invalid", "context: 1 to 4000 characters")
	case len(names) == 0 || len(names) > maxFiles:
		return nil, contract.Refuse("invalid", "files: 1 to %d", maxFiles)
	}
	known, err := s.Workspaces.Persons(ctx, w)
	if err != nil {
		return nil, err
	}
	policy := disclosure.Policy{Threshold: w.Permit.MinCell, Known: known}
	e := &Export{ID: contract.NewID("export"), Workspace: w.ID, Job: j.ID, Author: author.ID, CreatedAt: s.Clock.Now()}
	r := &Request{Title: title, Context: why, Needed: w.Permit.Reviewers, MinCell: w.Permit.MinCell, PermitID: w.Permit.ID, Salt: contract.NewID("salt")}
	if err := os.Mkdir(filepath.Join(s.root(), e.ID), 0o700); err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			os.RemoveAll(filepath.Join(s.root(), e.ID))
		}
	}()
	for i, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		b, err := s.Workspaces.ReadOutput(ctx, w, j, name)
		if err != nil {
			return nil, err
		}
		if err := s.Workspaces.Seal(ctx, w, s.frozen(e.ID, i), b); err != nil {
			return nil, err
		}
		r.Files = append(r.Files, File{Name: name, Bytes: int64(len(b)), Digest: contract.DigestOf(b)})
		r.Reports = append(r.Reports, disclosure.Examine(name, b, policy))
	}
	if r.Digest, err = filesDigest(r); err != nil {
		return nil, err
	}
	if err := e.apply(Event{Kind: EventRequested, At: e.CreatedAt, Actor: author.ID, Request: r}); err != nil {
		return nil, err
	}
	err = s.DB.InTx(ctx, func(tx *store.Tx) error {
		if err := s.insert(ctx, tx, e); err != nil {
			return err
		}
		if err := s.appendEvent(ctx, tx, e); err != nil {
			return err
		}
		return s.record(ctx, tx, author.ID, "export.requested", e.ID, string(e.Outcome()), map[string]any{"workspace": w.ID, "job": j.ID, "files": string(r.Digest)})
	})
	kept = err == nil
	return e, err
}

// change applies one event to the export as it is now and stores it.
func (s *Service) change(ctx context.Context, id string, ev Event, then func(tx *store.Tx, e *Export) error) (*Export, error) {
	var e *Export
	err := s.DB.InTx(ctx, func(tx *store.Tx) (err error) {
		if e, err = s.load(ctx, tx, id); err != nil {
			return err
		}
		if err := e.apply(ev); err != nil {
			return err
		}
		if err := s.appendEvent(ctx, tx, e); err != nil {
			return err
		}
		if then == nil {
			return nil
		}
		return then(tx, e)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, contract.Refuse("unknown", "there is no such export")
	case errors.Is(err, store.ErrConflict):
		return nil, contract.Refuse("conflict", "somebody changed the export at the same moment; look again")
	}
	return e, err
}

// Get returns an export of a workspace for a person whom its permit names.
func (s *Service) Get(ctx context.Context, workspaceID string, who workspace.Who, id string) (*Export, error) {
	if _, err := s.Workspaces.Open(ctx, workspaceID, who); err != nil {
		return nil, err
	}
	e, err := s.load(ctx, s.DB, id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && e.Workspace != workspaceID) {
		return nil, contract.Refuse("unknown", "there is no such export")
	}
	return e, err
}

// Of lists the exports of a workspace, newest first.
func (s *Service) Of(ctx context.Context, workspaceID string, who workspace.Who) ([]*Export, error) {
	if _, err := s.Workspaces.Open(ctx, workspaceID, who); err != nil {
		return nil, err
	}
	ids, err := s.ids(ctx, workspaceID)
	if err != nil {
		return nil, err
	}
	slices.Reverse(ids)
	var out []*Export
	for _, id := range ids {
		e, err := s.load(ctx, s.DB, id)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Submit sends an export to the reviewers.
func (s *Service) Submit(ctx context.Context, workspaceID string, author workspace.Who, id string) (*Export, error) {
	if _, err := s.Get(ctx, workspaceID, author, id); err != nil {
		return nil, err
	}
	return s.change(ctx, id, Event{Kind: EventSubmitted, At: s.Clock.Now(), Actor: author.ID}, func(tx *store.Tx, e *Export) error {
		return s.record(ctx, tx, author.ID, "export.submitted", id, "ok", map[string]any{"files": string(e.Request.Digest)})
	})
}

// Withdraw takes an export back that is not decided yet.
func (s *Service) Withdraw(ctx context.Context, workspaceID string, author workspace.Who, id string) (*Export, error) {
	if _, err := s.Get(ctx, workspaceID, author, id); err != nil {
		return nil, err
	}
	return s.change(ctx, id, Event{Kind: EventWithdrawn, At: s.Clock.Now(), Actor: author.ID}, func(tx *store.Tx, e *Export) error {
		return s.record(ctx, tx, author.ID, "export.withdrawn", id, "ok", nil)
	})
}

// independent refuses a reviewer who is named in the permit, by name or by passkey.
func independent(w *workspace.Workspace, r Reviewer) error {
	for _, p := range w.Permit.Persons {
		same := p.ID == r.ID
		for _, c := range p.Credentials {
			same = same || slices.Equal(c.SPKI, r.Key.SPKI)
		}
		if same {
			return contract.Refuse("not_independent", "a person whom the permit names never reviews its exports")
		}
	}
	return nil
}

// ForReview returns an export that this reviewer may look at, and its workspace.
func (s *Service) ForReview(ctx context.Context, r Reviewer, id string) (*Export, *workspace.Workspace, error) {
	e, err := s.load(ctx, s.DB, id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && (e.State == Pending || e.State == Withdrawn)) {
		return nil, nil, contract.Refuse("unknown", "there is no such export")
	}
	if err != nil {
		return nil, nil, err
	}
	w, err := s.Workspaces.InForce(ctx, e.Workspace)
	if err != nil {
		return nil, nil, err
	}
	if err := independent(w, r); err != nil {
		return nil, nil, err
	}
	return e, w, nil
}

// Desk lists what waits for this reviewer: exports with something to look at first, then the oldest; and
// what she has judged, newest first.
func (s *Service) Desk(ctx context.Context, r Reviewer) (waiting, judged []*Export, err error) {
	ids, err := s.ids(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		e, _, err := s.ForReview(ctx, r, id)
		var refusal *contract.Refusal
		if errors.As(err, &refusal) {
			continue // not hers to judge, or closed
		}
		if err != nil {
			return nil, nil, err
		}
		voted := slices.ContainsFunc(e.Reviews, func(v Review) bool { return v.Reviewer == r.ID })
		switch {
		case voted:
			judged = append([]*Export{e}, judged...)
		case e.State == Submitted || e.State == PartiallyReviewed:
			waiting = append(waiting, e)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *Export) int {
		worse := func(e *Export) int {
			if e.Outcome() == disclosure.Pass {
				return 1
			}
			return 0
		}
		return worse(a) - worse(b)
	})
	return waiting, judged, nil
}

// Review stores a verdict. seen is the digest of the list of files that the reviewer looked at: a verdict
// about anything else is refused.
func (s *Service) Review(ctx context.Context, r Reviewer, id string, seen contract.Digest, approve bool, reason string) (*Export, error) {
	e, _, err := s.ForReview(ctx, r, id)
	if err != nil {
		return nil, err
	}
	reason = strings.TrimSpace(reason)
	switch {
	case seen != e.Request.Digest:
		return nil, contract.Refuse("altered", "the files are not those the verdict is about; look at them again")
	case utf8.RuneCountInString(reason) > 2000:
		return nil, contract.Refuse("invalid", "reason: at most 2000 characters")
	}
	v := &Verdict{Approved: approve, Reason: reason, Key: contract.DigestOf(r.Key.SPKI)}
	return s.change(ctx, id, Event{Kind: EventReviewed, At: s.Clock.Now(), Actor: r.ID, Verdict: v}, func(tx *store.Tx, e *Export) error {
		// The entry does not say which way: the ledger is public, and the review is blind.
		if err := s.record(ctx, tx, r.ID, "export.reviewed", id, "ok", map[string]any{"files": string(e.Request.Digest)}); err != nil {
			return err
		}
		switch e.State {
		case Approved:
			if err := s.record(ctx, tx, "enclave", "export.approved", id, "ok", nil); err != nil {
				return err
			}
			return s.Jobs.Insert(ctx, tx, "enclave.release", id, map[string]string{"export": id})
		case Rejected:
			return s.record(ctx, tx, "enclave", "export.rejected", id, "ok", nil)
		}
		return nil
	})
}

// ReadFile returns a frozen file for its author's page or a reviewer, checked against its digest. Each
// reading is an entry of the ledger.
func (s *Service) ReadFile(ctx context.Context, w *workspace.Workspace, e *Export, reader, name string) ([]byte, error) {
	i := slices.IndexFunc(e.Request.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil, contract.Refuse("unknown", "the export has no such file")
	}
	b, err := s.content(ctx, w, e, i)
	outcome := "ok"
	var refusal *contract.Refusal
	if errors.As(err, &refusal) {
		outcome = refusal.Code
	} else if err != nil {
		return nil, err
	}
	if err := s.DB.InTx(ctx, func(tx *store.Tx) error {
		return s.record(ctx, tx, reader, "export.viewed", e.ID, outcome, map[string]any{"file": i + 1})
	}); err != nil {
		return nil, err
	}
	return b, err
}

// content reads frozen file i and refuses it when its bytes are not those that were frozen.
func (s *Service) content(ctx context.Context, w *workspace.Workspace, e *Export, i int) ([]byte, error) {
	b, err := s.Workspaces.Unseal(ctx, w, s.frozen(e.ID, i), maxFile)
	if err != nil {
		return nil, err
	}
	if contract.DigestOf(b) != e.Request.Files[i].Digest {
		return nil, contract.Refuse("altered", "the file %s is not the one that was asked for", e.Request.Files[i].Name)
	}
	return b, nil
}

// Checks puts the findings into the form of the export's record.
func Checks(reports []disclosure.Report) []contract.ExportCheck {
	out := []contract.ExportCheck{}
	for _, r := range reports {
		for _, f := range r.Findings {
			detail := f.Reason()
			if f.Row > 0 {
				detail = fmt.Sprintf("line %d: %s", f.Row, detail)
			}
			out = append(out, contract.ExportCheck{File: r.File, Check: f.Check, Outcome: string(f.Outcome), Detail: detail})
		}
	}
	return out
}
