// Package airlock is the only way out of the enclave: a user asks for outputs of a finished job to leave,
// automatic checks look at them, independent reviewers judge, and exactly the approved bytes go to the
// portal. The enclave's front door calls it. It must never hand a file to anybody but a reviewer or the
// author inside the enclave, and never release what differs from what was reviewed.
package airlock

import (
	"fmt"
	"slices"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/disclosure"
)

// State of an export.
type State string

const (
	Pending           State = "PENDING"            // asked for, checked, not yet sent to reviewers
	Submitted         State = "SUBMITTED"          // waits for reviewers
	PartiallyReviewed State = "PARTIALLY_REVIEWED" // some verdicts are in, nobody sees them
	Approved          State = "APPROVED"           // on its way out
	Rejected          State = "REJECTED"
	Released          State = "RELEASED"
	Withdrawn         State = "WITHDRAWN"
)

// Final reports whether the state never changes again.
func (s State) Final() bool { return s == Rejected || s == Released || s == Withdrawn }

// EventKind is what happened to an export.
type EventKind string

const (
	EventRequested EventKind = "requested" // by the author, with frozen files and checks
	EventSubmitted EventKind = "submitted" // by the author, to the reviewers
	EventReviewed  EventKind = "reviewed"  // by a reviewer
	EventReleasing EventKind = "releasing" // by the enclave: the release document is fixed
	EventReleased  EventKind = "released"  // by the enclave: the portal has everything
	EventStopped   EventKind = "stopped"   // by the enclave: a file changed, or the permit ended, before release
	EventWithdrawn EventKind = "withdrawn" // by the author
)

// Event is one entry of an export's history.
type Event struct {
	Kind    EventKind `json:"kind"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Request *Request  `json:"request,omitempty"` // of "requested"
	Verdict *Verdict  `json:"verdict,omitempty"` // of "reviewed"
	Reason  string    `json:"reason,omitempty"`  // of "stopped"
}

// Request is what an author wants to take out.
type Request struct {
	Title    string              `json:"title"`
	Context  string              `json:"context"` // what the numbers are, for the reviewers
	Files    []File              `json:"files"`
	Reports  []disclosure.Report `json:"reports"` // one per file, in the same order
	Needed   int                 `json:"needed"`  // reviewers, from the permit
	MinCell  int                 `json:"min_cell"`
	PermitID string              `json:"permit_id"`
	// Digest names the list of files: what a verdict is about. It goes to the public ledger, so it covers
	// a random salt too; else a reader could try out which small counts give it.
	Digest contract.Digest `json:"digest"`
	Salt   string          `json:"salt"`
}

// File is one frozen output.
type File struct {
	Name   string          `json:"name"`
	Bytes  int64           `json:"bytes"`
	Digest contract.Digest `json:"digest"`
}

// Verdict is one reviewer's judgement. Key is the digest of the passkey she signed in with, so that one
// passkey under two names counts once.
type Verdict struct {
	Approved bool            `json:"approved"`
	Reason   string          `json:"reason"`
	Key      contract.Digest `json:"key"`
}

// Export is the state that its events add up to.
type Export struct {
	ID        string
	Workspace string
	Job       string
	Author    string
	CreatedAt time.Time
	Request   Request
	State     State
	Reason    string // when stopped
	Reviews   []Review
	Events    []Event
	// ReleasingAt is the time in the release document, fixed before the first byte leaves.
	ReleasingAt time.Time
}

// Review is a verdict and whose it is.
type Review struct {
	Reviewer string
	At       time.Time
	Verdict
}

// Outcome is the worst outcome of the automatic checks.
func (e *Export) Outcome() disclosure.Outcome {
	worst := disclosure.Pass
	for _, r := range e.Request.Reports {
		worst = disclosure.Worse(worst, r.Outcome)
	}
	return worst
}

// apply adds an event. It refuses, with a contract.Refusal, what the rules do not allow; stored events are
// applied by the same code, so a history that breaks the rules cannot be loaded either.
func (e *Export) apply(ev Event) error {
	if err := e.allowed(ev); err != nil {
		return err
	}
	switch ev.Kind {
	case EventRequested:
		e.Request, e.State = *ev.Request, Pending
	case EventSubmitted:
		e.State = Submitted
	case EventReviewed:
		e.Reviews = append(e.Reviews, Review{Reviewer: ev.Actor, At: ev.At, Verdict: *ev.Verdict})
		switch {
		case len(e.Reviews) < e.Request.Needed:
			e.State = PartiallyReviewed
		case slices.ContainsFunc(e.Reviews, func(r Review) bool { return !r.Approved }):
			e.State = Rejected
		default:
			e.State = Approved
		}
	case EventReleasing:
		e.ReleasingAt = ev.At
	case EventReleased:
		e.State = Released
	case EventStopped:
		e.State, e.Reason = Rejected, ev.Reason
	case EventWithdrawn:
		e.State = Withdrawn
	}
	e.Events = append(e.Events, ev)
	return nil
}

func (e *Export) allowed(ev Event) error {
	wrong := func() error {
		return contract.Refuse("conflict", "an export that is %s cannot be %s", e.State, ev.Kind)
	}
	byAuthor := func() error {
		if ev.Actor != e.Author {
			return contract.Refuse("not_allowed", "only the author may do this")
		}
		return nil
	}
	switch ev.Kind {
	case EventRequested:
		if e.State != "" {
			return wrong()
		}
		if ev.Request == nil || len(ev.Request.Files) == 0 || len(ev.Request.Files) != len(ev.Request.Reports) || ev.Request.Needed < 1 {
			return contract.Refuse("invalid", "an export needs files, a report for each, and reviewers")
		}
		return byAuthor()
	case EventSubmitted:
		if e.State != Pending {
			return wrong()
		}
		if e.Outcome() != disclosure.Pass && e.Outcome() != disclosure.Review {
			return contract.Refuse("check_failed", "a check failed; mend the file and ask again")
		}
		return byAuthor()
	case EventReviewed:
		if e.State != Submitted && e.State != PartiallyReviewed {
			return wrong()
		}
		if ev.Actor == "" || ev.Actor == e.Author {
			return contract.Refuse("own_export", "the author never reviews")
		}
		if ev.Verdict == nil || ev.Verdict.Key == "" {
			return contract.Refuse("invalid", "a verdict is missing")
		}
		if !ev.Verdict.Approved && ev.Verdict.Reason == "" {
			return contract.Refuse("invalid", "a rejection needs a reason")
		}
		for _, r := range e.Reviews {
			if r.Reviewer == ev.Actor || r.Key == ev.Verdict.Key {
				return contract.Refuse("voted", "this reviewer has given a verdict already")
			}
		}
		return nil
	case EventReleasing:
		if e.State != Approved || !e.ReleasingAt.IsZero() {
			return wrong()
		}
		return nil
	case EventReleased:
		if e.State != Approved || e.ReleasingAt.IsZero() {
			return wrong()
		}
		return nil
	case EventStopped:
		if e.State != Approved || ev.Reason == "" {
			return wrong()
		}
		return nil
	case EventWithdrawn:
		if e.State != Pending && e.State != Submitted && e.State != PartiallyReviewed {
			return wrong()
		}
		return byAuthor()
	}
	return contract.Refuse("invalid", "unknown event %q", ev.Kind)
}

// fold builds an export from its history.
func fold(e *Export, events []Event) (*Export, error) {
	for i, ev := range events {
		if err := e.apply(ev); err != nil {
			return nil, fmt.Errorf("export %s, event %d: %w", e.ID, i, err)
		}
	}
	return e, nil
}

// SeenBy returns the reviews that a reader may know: all of them once the last is in, before that only
// her own (blind review).
func (e *Export) SeenBy(reader string) []Review {
	if e.State.Final() || e.State == Approved {
		return e.Reviews
	}
	var out []Review
	for _, r := range e.Reviews {
		if r.Reviewer == reader {
			out = append(out, r)
		}
	}
	return out
}

// filesDigest names the list of files of a request.
func filesDigest(r *Request) (contract.Digest, error) {
	b, err := contract.Canonical(struct {
		Salt  string `json:"salt"`
		Files []File `json:"files"`
	}{r.Salt, r.Files})
	if err != nil {
		return "", err
	}
	return contract.DigestOf(b), nil
}
