package gateway

import (
	"fmt"
	"slices"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// State is where an application stands, with the exact names of the national dispatcher (TEHDAS2 D6.4,
// 7.6).
type State string

const (
	StateDraft        State = "DRAFT"
	StateSubmitted    State = "SUBMITTED"
	StatePreScreening State = "PRE_SCREENING"
	StateAwaiting     State = "AWAITING_ADDITIONAL_INFORMATION"
	StateProcessing   State = "PROCESSING"
	StateDecided      State = "DECISION_ISSUED"
	StateWithdrawn    State = "WITHDRAWN"
)

// Decision is which decision was issued.
type Decision string

const (
	DecisionNone     Decision = ""
	DecisionPositive Decision = "POSITIVE_DECISION_ISSUED"
	DecisionNegative Decision = "NEGATIVE_DECISION_ISSUED"
)

// Opinions of the committee.
const (
	OpinionFavourable      = "favourable"
	OpinionRecommendations = "favourable_with_recommendations"
	OpinionReserved        = "reserved"
	OpinionUnfavourable    = "unfavourable"
)

// Opinions lists them in the order of the form.
var Opinions = []string{OpinionFavourable, OpinionRecommendations, OpinionReserved, OpinionUnfavourable}

// Moment is when and by whom something was done.
type Moment struct {
	At    time.Time
	Actor string
}

// Application is a case as its events leave it.
type Application struct {
	ID        string
	Procedure *Procedure
	Seq       int64 // of the last stored event: what a command expects
	State     State
	Decision  Decision
	Step      string // id of the open step; "" before submission and after the end

	Applicant string
	Answers   Answers
	Created   time.Time
	Submitted time.Time
	Updated   time.Time
	Closed    time.Time // decided or withdrawn

	Questions []Question // open ones, while AWAITING_ADDITIONAL_INFORMATION
	resume    State      // state to go back to after the answer (D6.4 v0.5)

	Opinion     *OpinionIssued
	OpinionAt   Moment
	Deemed      bool // the opinion is what silence counts as
	Authority   *Decided
	AuthorityAt Moment
	Refusal     *Decided
	Withdrawal  *Withdrawn
	Draft       *Drafted
	DraftAt     Moment
	Signed      *Signed
	SignedAt    Moment
	Permit      *contract.Permit // of Signed, or else of Draft

	Provision *OrderAnswered
	Workspace *OrderAnswered
	Failures  []OrderAnswered
	Results   []contract.Export

	// acted says in which official roles each account has acted on this case.
	acted  map[string][]string
	Events []Event
	Clocks []Clock
}

// Fold computes the case at an instant from its events. It fails only on a stream that this program
// cannot have written.
func Fold(ps Procedures, events []Event, now time.Time) (*Application, error) {
	if len(events) == 0 || events[0].Kind != KindCreated {
		return nil, fmt.Errorf("a stream begins with %s", KindCreated)
	}
	var c Created
	if err := events[0].decode(&c); err != nil {
		return nil, err
	}
	p := ps[c.Procedure]
	if p == nil {
		return nil, fmt.Errorf("stream %s: procedure %s is not installed", events[0].Stream, c.Procedure)
	}
	a := &Application{
		ID: events[0].Stream, Procedure: p, State: StateDraft, Applicant: events[0].Actor,
		Created: events[0].At, acted: map[string][]string{},
	}
	a.Answers.Project = &ProjectPage{Title: c.Title}
	if len(c.Datasets) > 0 {
		a.Answers.Data = &DataPage{Datasets: c.Datasets}
	}
	a.Seq = int64(len(events))
	a.Events = Settle(p, events, now)
	for _, e := range a.Events {
		if err := a.apply(e); err != nil {
			return nil, err
		}
	}
	a.Clocks = Clocks(p, a.Events)
	return a, nil
}

// apply changes the state by one event.
func (a *Application) apply(e Event) error {
	a.Updated = e.At
	at := Moment{e.At, e.Actor}
	if officialRoles[e.Role] && !slices.Contains(a.acted[e.Actor], e.Role) {
		a.acted[e.Actor] = append(a.acted[e.Actor], e.Role)
	}
	var err error
	switch e.Kind {
	case KindCreated:
	case KindSaved:
		var d Saved
		err = e.decode(&d)
		a.Answers.merge(d.Answers)
	case KindSubmitted:
		a.State, a.Submitted = StateSubmitted, e.At
	case KindAcknowledged:
		a.State, a.Step = StatePreScreening, a.Procedure.Steps[0].ID
	case KindAsked:
		var d Asked
		err = e.decode(&d)
		a.resume, a.State, a.Questions = a.State, StateAwaiting, d.Questions
	case KindAnswered:
		a.State, a.Questions = a.resume, nil
	case KindComplete:
		a.State = StateProcessing
		a.advance()
	case KindOpinion, KindOpinionDeemed:
		a.Opinion = new(OpinionIssued)
		err = e.decode(a.Opinion)
		a.OpinionAt, a.Deemed = at, e.Kind == KindOpinionDeemed
		a.advance()
	case KindExtended:
	case KindAuthorised:
		a.Authority = new(Decided)
		err = e.decode(a.Authority)
		a.AuthorityAt = at
		a.advance()
	case KindRefused:
		a.Refusal = new(Decided)
		err = e.decode(a.Refusal)
		a.State, a.Decision, a.Step, a.Closed = StateDecided, DecisionNegative, "", e.At
	case KindDrafted:
		a.Draft = new(Drafted)
		if err = e.decode(a.Draft); err == nil {
			a.Permit, err = readPermit(a.Draft.Permit)
		}
		a.DraftAt = at
	case KindSigned:
		a.Signed = new(Signed)
		if err = e.decode(a.Signed); err == nil {
			a.Permit, err = readPermit(a.Signed.Signed.Permit)
		}
		a.SignedAt = at
		a.State, a.Decision, a.Step, a.Closed = StateDecided, DecisionPositive, "", e.At
	case KindWithdrawn:
		a.Withdrawal = new(Withdrawn)
		err = e.decode(a.Withdrawal)
		a.State, a.Step, a.Closed = StateWithdrawn, "", e.At
	case KindProvisioned, KindOpened, KindOrderFailed:
		var d OrderAnswered
		err = e.decode(&d)
		switch e.Kind {
		case KindProvisioned:
			a.Provision = &d
		case KindOpened:
			a.Workspace = &d
		default:
			a.Failures = append(a.Failures, d)
		}
	case KindReleased:
		var d Released
		err = e.decode(&d)
		a.Results = append(a.Results, d.Export)
	default:
		return fmt.Errorf("event %s/%d: unknown kind %q", e.Stream, e.Seq, e.Kind)
	}
	return err
}

// advance opens the step after the present one.
func (a *Application) advance() {
	i := slices.IndexFunc(a.Procedure.Steps, func(s Step) bool { return s.ID == a.Step })
	if i >= 0 && i+1 < len(a.Procedure.Steps) {
		a.Step = a.Procedure.Steps[i+1].ID
	}
}

// Active reports whether something can still be decided.
func (a *Application) Active() bool { return a.State != StateDecided && a.State != StateWithdrawn }

// OpenStep returns the step that is open, nil before submission and after the end.
func (a *Application) OpenStep() *Step {
	s, _ := a.Procedure.Step(a.Step)
	return s
}

// OpenClock returns the clock that decides what must happen next: that of the applicant's answer while
// she is asked, else that of the open step; nil when the law sets none.
func (a *Application) OpenClock() *Clock {
	var found *Clock
	for i := range a.Clocks {
		c := &a.Clocks[i]
		switch {
		case c.Status != ClockRunning:
		case a.State == StateAwaiting && c.Rule.Start == KindAsked:
			return c
		case a.State != StateAwaiting && a.OpenStep() != nil && c.Rule.ID == a.OpenStep().Rule:
			found = c
		}
	}
	return found
}

// Title is the project's name, "" while it has none.
func (a *Application) Title() string {
	if a.Answers.Project == nil {
		return ""
	}
	return a.Answers.Project.Title
}

// Names reports whether the account is the applicant or one of the persons named.
func (a *Application) Names(account string) bool {
	if a.Applicant == account {
		return true
	}
	return a.Answers.Persons != nil && slices.ContainsFunc(a.Answers.Persons.Persons, func(p PersonRef) bool { return p.Account == account })
}
