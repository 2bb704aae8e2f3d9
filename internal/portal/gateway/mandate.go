package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// MandateScope is what a feasibility mandate is to cover.
type MandateScope struct {
	Procedure  string                  `json:"procedure"`
	Title      string                  `json:"title"`
	Controller string                  `json:"controller"` // the body that answers for the counts
	Datasets   []contract.DatasetScope `json:"datasets"`
	Period     contract.Period         `json:"period"`
}

// Mandate is a standing permit to count (see the decision record 0001), as its events leave it.
type Mandate struct {
	ID       string
	Seq      int64
	Scope    MandateScope
	Created  Moment
	Draft    *Drafted
	DraftAt  Moment
	Signed   *Signed
	SignedAt Moment
	Permit   *contract.Permit // of Signed, or else of Draft
	Events   []Event
}

// foldMandate computes a mandate from its events.
func foldMandate(events []Event) (*Mandate, error) {
	if len(events) == 0 || events[0].Kind != KindMandate {
		return nil, ErrUnknown
	}
	m := &Mandate{ID: events[0].Stream, Seq: int64(len(events)), Events: events, Created: Moment{events[0].At, events[0].Actor}}
	for _, e := range events {
		var err error
		switch e.Kind {
		case KindMandate:
			err = e.decode(&m.Scope)
		case KindDrafted:
			m.Draft, m.DraftAt = new(Drafted), Moment{e.At, e.Actor}
			if err = e.decode(m.Draft); err == nil {
				m.Permit, err = readPermit(m.Draft.Permit)
			}
		case KindSigned:
			m.Signed, m.SignedAt = new(Signed), Moment{e.At, e.Actor}
			if err = e.decode(m.Signed); err == nil {
				m.Permit, err = readPermit(m.Signed.Signed.Permit)
			}
		default:
			err = fmt.Errorf("event %s/%d: a mandate knows no %q", e.Stream, e.Seq, e.Kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// InForce reports whether counts may be asked for under the mandate at now.
func (m *Mandate) InForce(now time.Time) bool {
	return m.Signed != nil && !now.Before(m.Permit.ValidFrom) && now.Before(m.Permit.ValidUntil)
}

// CreateMandate opens a mandate and drafts its permit. Only a deciding officer may.
func (g *Gateway) CreateMandate(ctx context.Context, u Actor, scope MandateScope) (*Mandate, error) {
	if !u.Has(RoleOfficer) {
		return nil, &Denied{Code: "wrong_role", Command: CmdDraft}
	}
	proc, ok := g.o.Procedures.Latest(g.o.Procedure)
	if !ok {
		return nil, fmt.Errorf("procedure %s is not installed", g.o.Procedure)
	}
	scope.Procedure, scope.Title = proc.Name(), strings.TrimSpace(scope.Title)
	if scope.Controller == "" {
		scope.Controller = g.o.BodyName
	}
	if err := g.checkMandate(ctx, scope); err != nil {
		return nil, err
	}
	id := contract.NewID("mandate")
	err := g.o.DB.InTx(ctx, func(tx *store.Tx) error {
		now := g.o.Clock.Now()
		p, err := draftMandate(proc, scope, now)
		if err != nil {
			return err
		}
		d, err := drafted(p)
		if err != nil {
			return err
		}
		events := []Event{newEvent(KindMandate, u, RoleOfficer, now, scope), newEvent(KindDrafted, u, RoleOfficer, now, d)}
		if err := appendEvents(ctx, tx, id, 0, events); err != nil {
			return err
		}
		return g.record(ctx, tx, u.ID, id, events)
	})
	if err != nil {
		return nil, err
	}
	return g.Mandate(ctx, u, id)
}

func (g *Gateway) checkMandate(ctx context.Context, s MandateScope) error {
	schemas := g.schemas(ctx)
	var ps []Problem
	if s.Title == "" || len([]rune(s.Title)) > maxTitle {
		ps = append(ps, problem("mandate", "title", "title_missing"))
	}
	if len(s.Datasets) == 0 {
		ps = append(ps, problem("mandate", "datasets", "data_missing"))
	}
	ps = append(ps, scopesWellFormed(s.Datasets)...)
	for _, d := range s.Datasets {
		schema, ok := schemas(d.Holder, d.Dataset)
		if !ok {
			ps = append(ps, problem("mandate", "datasets", "dataset_unknown", "name", clip(d.Holder+"/"+d.Dataset)))
			continue
		}
		for _, t := range d.Tables {
			if _, ok := schema.Table(t.Table); !ok {
				ps = append(ps, problem("mandate", "datasets", "table_unknown", "name", clip(t.Table)))
			}
		}
	}
	if s.Period.Validate() != nil {
		ps = append(ps, problem("mandate", "from", "period_wrong"))
	}
	if len(ps) > 0 {
		return &Invalid{ps}
	}
	return nil
}

// Mandate returns one mandate. Officers and other officials may read it.
func (g *Gateway) Mandate(ctx context.Context, u Actor, id string) (*Mandate, error) {
	if !u.reads() {
		return nil, &Denied{Code: "wrong_role"}
	}
	events, err := loadStream(ctx, g.o.DB, id)
	if err != nil {
		return nil, err
	}
	return foldMandate(events)
}

// Mandates lists the mandates, the youngest first.
func (g *Gateway) Mandates(ctx context.Context, u Actor) ([]*Mandate, error) {
	if !u.reads() {
		return nil, &Denied{Code: "wrong_role"}
	}
	ids, err := mandateStreams(ctx, g.o.DB, 50)
	if err != nil {
		return nil, err
	}
	var out []*Mandate
	for _, id := range ids {
		m, err := g.Mandate(ctx, u, id)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// RedraftMandate drafts the mandate's permit anew, because a draft may be signed only while it is fresh.
func (g *Gateway) RedraftMandate(ctx context.Context, u Actor, id string, expected int64) (*Mandate, error) {
	return g.changeMandate(ctx, u, id, expected, func(_ *store.Tx, m *Mandate, now time.Time) ([]Event, error) {
		proc := g.o.Procedures[m.Scope.Procedure]
		if proc == nil {
			return nil, fmt.Errorf("procedure %s is not installed", m.Scope.Procedure)
		}
		p, err := draftMandate(proc, m.Scope, now)
		if err != nil {
			return nil, err
		}
		d, err := drafted(p)
		if err != nil {
			return nil, err
		}
		return []Event{newEvent(KindDrafted, u, RoleOfficer, now, d)}, nil
	})
}

// SignMandate verifies the officer's passkey assertion over the drafted permit and puts it in force.
func (g *Gateway) SignMandate(ctx context.Context, u Actor, id string, expected int64, as contract.Assertion) (*Mandate, error) {
	officer, err := g.o.People(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	return g.changeMandate(ctx, u, id, expected, func(tx *store.Tx, m *Mandate, now time.Time) ([]Event, error) {
		signed, err := g.verifySignature(m.Draft, m.DraftAt, officer, as, now)
		if err != nil {
			return nil, err
		}
		if err := insertPermit(ctx, tx, id, m.Permit); err != nil {
			return nil, err
		}
		return []Event{newEvent(KindSigned, u, RoleOfficer, now, Signed{Signed: signed})}, nil
	})
}

func (g *Gateway) changeMandate(ctx context.Context, u Actor, id string, expected int64, decide func(*store.Tx, *Mandate, time.Time) ([]Event, error)) (*Mandate, error) {
	if !u.Has(RoleOfficer) {
		return nil, &Denied{Code: "wrong_role", Command: CmdSign}
	}
	err := g.o.DB.InTx(ctx, func(tx *store.Tx) error {
		events, err := loadStream(ctx, tx, id)
		if err != nil {
			return err
		}
		m, err := foldMandate(events)
		if err != nil {
			return err
		}
		if m.Seq != expected {
			return &Conflict{Expected: expected, Found: m.Seq}
		}
		if m.Signed != nil {
			return &Denied{Code: "wrong_state", Command: CmdSign}
		}
		add, err := decide(tx, m, g.o.Clock.Now())
		if err != nil {
			return err
		}
		if err := appendEvents(ctx, tx, id, m.Seq, add); err != nil {
			return err
		}
		return g.record(ctx, tx, u.ID, id, add)
	})
	if err != nil {
		return nil, g.noteRefusal(ctx, u, id, err)
	}
	return g.Mandate(ctx, u, id)
}

// ErrNoMandate: no feasibility mandate is in force, so no count can be asked for.
var ErrNoMandate = errors.New("no feasibility mandate is in force")

// ActiveFeasibility returns the youngest mandate in force, with which the catalogue asks for counts.
func (g *Gateway) ActiveFeasibility(ctx context.Context) (*contract.SignedPermit, error) {
	id, err := permitInForce(ctx, g.o.DB, contract.PermitFeasibility, g.o.Clock.Now())
	if errors.Is(err, ErrUnknown) {
		return nil, ErrNoMandate
	}
	if err != nil {
		return nil, err
	}
	events, err := loadStream(ctx, g.o.DB, id)
	if err != nil {
		return nil, err
	}
	m, err := foldMandate(events)
	if err != nil {
		return nil, err
	}
	return &m.Signed.Signed, nil
}
