package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Ledger writes an entry in the caller's transaction.
type Ledger interface {
	Record(ctx context.Context, tx *store.Tx, e ledger.Entry) error
}

// Orders is the order book of the inner zones.
type Orders interface {
	NewOrder(kind contract.OrderKind, permit *contract.SignedPermit, body any) (contract.Order, error)
	Put(ctx context.Context, tx *store.Tx, o contract.Order) error
}

// People finds an account: its name, affiliation and registered passkeys. An unknown account is
// ErrUnknown.
type People func(ctx context.Context, account string) (contract.Person, error)

// Datasets is what the catalogue tells: structures of published datasets.
type Datasets interface {
	// Schema is ErrUnknown for a dataset that is not published.
	Schema(ctx context.Context, holder, dataset string) (*contract.DatasetSchema, error)
	// Published lists all of them.
	Published(ctx context.Context) ([]contract.DatasetSchema, error)
	// Basket lists those that an account has put into its basket.
	Basket(ctx context.Context, account string) ([]contract.DatasetSchema, error)
}

// Projection is a reader of cases that keeps a table of its own, written in the same transaction as the
// events: the public register is one.
type Projection interface {
	Apply(ctx context.Context, tx *store.Tx, a *Application) error
}

// Options are what a Gateway needs.
type Options struct {
	DB         *store.DB
	Clock      clock.Clock
	Log        *slog.Logger
	Ledger     Ledger
	Orders     Orders
	People     People
	Datasets   Datasets
	Text       *i18n.Bundle
	Procedures Procedures
	Procedure  string   // id of the procedure that new applications follow
	BodyName   string   // name of the health data access body
	RPID       string   // relying party id of the officers' passkeys
	Origins    []string // where those passkeys are used: the portal's own origin
}

// Gateway runs the cases. Its methods may be called from several goroutines.
type Gateway struct {
	o           Options
	projections []Projection
}

// New prepares the tables.
func New(ctx context.Context, o Options) (*Gateway, error) {
	if _, ok := o.Procedures.Latest(o.Procedure); !ok {
		return nil, fmt.Errorf("gateway: procedure %q is not installed", o.Procedure)
	}
	if o.RPID == "" || len(o.Origins) == 0 {
		return nil, errors.New("gateway: relying party id and origins of the passkeys are required")
	}
	if err := migrate(ctx, o.DB); err != nil {
		return nil, err
	}
	return &Gateway{o: o}, nil
}

// Project registers a projection. It is called before the first case is touched.
func (g *Gateway) Project(p Projection) { g.projections = append(g.projections, p) }

// Now is the hub's time.
func (g *Gateway) Now() time.Time { return g.o.Clock.Now() }

// Create opens an application under the newest version of the procedure. datasets is the basket, which
// may be empty.
func (g *Gateway) Create(ctx context.Context, u Actor, title string, datasets []contract.DatasetScope) (*Application, error) {
	if !u.Has(RoleApplicant) {
		return nil, &Denied{Code: "wrong_role", Command: CmdSave}
	}
	proc, _ := g.o.Procedures.Latest(g.o.Procedure)
	first := Answers{Project: &ProjectPage{Title: title}, Data: &DataPage{Datasets: datasets}}
	if err := first.wellFormed(); err != nil {
		return nil, err
	}
	me, err := g.o.People(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	id := contract.NewID("app")
	err = g.o.DB.InTx(ctx, func(tx *store.Tx) error {
		now := g.o.Clock.Now()
		return g.write(ctx, tx, u.ID, id, nil, []Event{
			newEvent(KindCreated, u, RoleApplicant, now, Created{Procedure: proc.Name(), Title: title, Datasets: datasets}),
			newEvent(KindSaved, u, RoleApplicant, now, Saved{Answers{Persons: &PersonsPage{[]PersonRef{
				{Account: me.ID, Name: me.Name, Affiliation: me.Affiliation, Principal: true}}}}}),
		})
	})
	if err != nil {
		return nil, err
	}
	return g.Case(ctx, u, id)
}

// Case returns a case as it stands now: ErrUnknown, or *Denied when the actor may not read it.
func (g *Gateway) Case(ctx context.Context, u Actor, id string) (*Application, error) {
	a, err := g.load(ctx, g.o.DB, id)
	if err != nil {
		return nil, err
	}
	if !a.Readable(u) {
		return nil, &Denied{Code: "not_readable"}
	}
	return a, nil
}

// Public returns a submitted case without asking who reads: for the public register, which shows only
// what Art. 57(1)(j) publishes.
func (g *Gateway) Public(ctx context.Context, id string) (*Application, error) {
	a, err := g.load(ctx, g.o.DB, id)
	if err != nil {
		return nil, err
	}
	if a.Submitted.IsZero() {
		return nil, ErrUnknown
	}
	return a, nil
}

func (g *Gateway) load(ctx context.Context, q store.Querier, id string) (*Application, error) {
	events, err := loadStream(ctx, q, id)
	if err != nil {
		return nil, err
	}
	if events[0].Kind != KindCreated {
		return nil, ErrUnknown // a mandate
	}
	return Fold(g.o.Procedures, events, g.o.Clock.Now())
}

// Mine lists the cases that name the actor, latest change first.
func (g *Gateway) Mine(ctx context.Context, u Actor) ([]*Application, error) {
	ids, err := casesNaming(ctx, g.o.DB, u.ID, 200)
	if err != nil {
		return nil, err
	}
	return g.loadAll(ctx, ids)
}

// Board lists open cases, what runs out first on top. Only officials may see it.
func (g *Gateway) Board(ctx context.Context, u Actor) ([]*Application, error) {
	if !u.reads() {
		return nil, &Denied{Code: "wrong_role"}
	}
	ids, err := openCases(ctx, g.o.DB, 200)
	if err != nil {
		return nil, err
	}
	return g.loadAll(ctx, ids)
}

// schemas looks datasets up for checks; one that cannot be read counts as not published.
func (g *Gateway) schemas(ctx context.Context) Schemas {
	known := map[string]*contract.DatasetSchema{}
	return func(holder, dataset string) (*contract.DatasetSchema, bool) {
		key := holder + "/" + dataset
		s, seen := known[key]
		if !seen {
			var err error
			if s, err = g.o.Datasets.Schema(ctx, holder, dataset); err != nil {
				if !errors.Is(err, ErrUnknown) {
					g.o.Log.Error("catalogue does not answer", "dataset", key, "error", err)
				}
				s = nil
			}
			known[key] = s
		}
		return s, s != nil
	}
}

// Incomplete lists what must be mended before the case can be sent.
func (g *Gateway) Incomplete(ctx context.Context, a *Application) []Problem {
	return Incomplete(a.Procedure, a.Answers, g.schemas(ctx))
}

func (g *Gateway) loadAll(ctx context.Context, ids []string) ([]*Application, error) {
	out := make([]*Application, 0, len(ids))
	for _, id := range ids {
		a, err := g.load(ctx, g.o.DB, id)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// Do runs a command: it checks what the actor saw, what she may do and what she sent, and writes the
// events with everything that follows from them in one transaction. Errors: ErrUnknown, *Denied,
// *Conflict, *Invalid, *contract.Refusal (a signature that does not hold).
func (g *Gateway) Do(ctx context.Context, u Actor, id string, act Action) (*Application, error) {
	persons, officer, err := g.lookUp(ctx, u, id, act)
	if err != nil {
		return nil, err
	}
	err = g.o.DB.InTx(ctx, func(tx *store.Tx) error {
		now := g.o.Clock.Now()
		stored, err := loadStream(ctx, tx, id)
		if err != nil {
			return err
		}
		if stored[0].Kind != KindCreated {
			return ErrUnknown
		}
		a, err := Fold(g.o.Procedures, stored, now)
		if err != nil {
			return err
		}
		if !a.Readable(u) {
			return &Denied{Code: "not_readable", Command: act.Command}
		}
		if act.ExpectedSeq != a.Seq {
			return &Conflict{Expected: act.ExpectedSeq, Found: a.Seq}
		}
		if err := a.Can(u, act.Command, now); err != nil {
			return err
		}
		var add []Event
		switch act.Command {
		case CmdSave:
			if act.Answers != nil && act.Answers.Persons != nil {
				act.Answers.Persons = namedPersons(act.Answers.Persons, persons)
			}
			add, err = a.decide(act, u, now, g.schemas(ctx))
		case CmdDraft:
			add, err = g.draft(a, u, persons, now)
		case CmdSign:
			add, err = g.sign(ctx, tx, a, u, officer, act, now)
		default:
			add, err = a.decide(act, u, now, g.schemas(ctx))
		}
		if err != nil {
			return err
		}
		// What time alone has caused since the last event is written down first.
		return g.write(ctx, tx, u.ID, id, stored, append(a.Events[len(stored):len(a.Events):len(a.Events)], add...))
	})
	if err != nil {
		return nil, g.noteRefusal(ctx, u, id, err)
	}
	return g.load(ctx, g.o.DB, id)
}

// noteRefusal writes a signature that did not hold into the ledger, in a transaction of its own, and
// returns the refusal. Other errors leave no trace.
func (g *Gateway) noteRefusal(ctx context.Context, u Actor, target string, err error) error {
	var refusal *contract.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	noted := g.o.DB.InTx(ctx, func(tx *store.Tx) error {
		return g.o.Ledger.Record(ctx, tx, ledger.Entry{Actor: u.ID, Action: "permit.sign", Target: target, Outcome: refusal.Code, At: g.o.Clock.Now()})
	})
	if noted != nil {
		return fmt.Errorf("ledger: %w", noted)
	}
	return err
}

// lookUp reads from other rooms what a command needs, before the transaction.
func (g *Gateway) lookUp(ctx context.Context, u Actor, id string, act Action) (persons map[string]contract.Person, officer contract.Person, err error) {
	var refs []PersonRef
	switch act.Command {
	case CmdSign:
		officer, err = g.o.People(ctx, u.ID)
		return nil, officer, err
	case CmdDraft:
		a, err := g.load(ctx, g.o.DB, id)
		if err != nil {
			return nil, officer, err
		}
		refs = or(a.Answers.Persons).Persons
	case CmdSave:
		if act.Answers != nil {
			refs = or(act.Answers.Persons).Persons
		}
	}
	persons = map[string]contract.Person{}
	for _, r := range refs {
		p, err := g.o.People(ctx, r.Account)
		if errors.Is(err, ErrUnknown) {
			return nil, officer, bad("persons", "persons", "person_unknown", "name", clip(r.Account))
		}
		if err != nil {
			return nil, officer, err
		}
		persons[r.Account] = p
	}
	return persons, officer, nil
}

// namedPersons copies the names from the accounts: nobody can be named under another name. The applicant
// states the affiliation where the account has none.
func namedPersons(page *PersonsPage, persons map[string]contract.Person) *PersonsPage {
	out := &PersonsPage{}
	for _, r := range page.Persons {
		p := persons[r.Account]
		out.Persons = append(out.Persons, PersonRef{Account: p.ID, Name: p.Name, Affiliation: cmp.Or(p.Affiliation, r.Affiliation), Principal: r.Principal})
	}
	return out
}

// draft writes the permit as it would be issued now, with each person's passkeys of today.
func (g *Gateway) draft(a *Application, u Actor, persons map[string]contract.Person, now time.Time) ([]Event, error) {
	var named []contract.Person
	for _, r := range or(a.Answers.Persons).Persons {
		p, ok := persons[r.Account]
		if !ok {
			return nil, &Conflict{Expected: a.Seq, Found: a.Seq}
		}
		if len(p.Credentials) == 0 {
			return nil, bad("draft", "persons", "no_passkey", "name", p.Name)
		}
		p.Principal, p.Affiliation = r.Principal, cmp.Or(p.Affiliation, r.Affiliation)
		named = append(named, p)
	}
	p, err := draftPermit(a, named, now)
	if err != nil {
		return nil, err
	}
	d, err := drafted(p)
	if err != nil {
		return nil, err
	}
	return []Event{newEvent(KindDrafted, u, RoleOfficer, now, d)}, nil
}

// sign issues the permit: the assertion is verified over the drafted bytes, and the orders to engine and
// enclave leave in the same transaction. After a crash either all of it has happened or nothing.
func (g *Gateway) sign(ctx context.Context, tx *store.Tx, a *Application, u Actor, officer contract.Person, act Action, now time.Time) ([]Event, error) {
	if act.Assertion == nil {
		return nil, bad("sign", "assertion", "nothing_sent")
	}
	signed, err := g.verifySignature(a.Draft, a.DraftAt, officer, *act.Assertion, now)
	if err != nil {
		return nil, err
	}
	if err := insertPermit(ctx, tx, a.ID, a.Permit); err != nil {
		return nil, err
	}
	event := Signed{Signed: signed}
	for _, kind := range []contract.OrderKind{contract.OrderProvision, contract.OrderWorkspace} {
		o, err := g.o.Orders.NewOrder(kind, &signed, nil)
		if err != nil {
			return nil, err
		}
		if err := g.o.Orders.Put(ctx, tx, o); err != nil {
			return nil, err
		}
		if err := insertOrder(ctx, tx, a.ID, o.ID); err != nil {
			return nil, err
		}
		event.Orders = append(event.Orders, o.ID)
	}
	return []Event{newEvent(KindSigned, u, RoleOfficer, now, event)}, nil
}

// write appends events to a stream and brings all that follows from them up to date: index, projections,
// ledger.
func (g *Gateway) write(ctx context.Context, tx *store.Tx, actor, id string, stored, add []Event) error {
	if err := appendEvents(ctx, tx, id, int64(len(stored)), add); err != nil {
		return err
	}
	a, err := Fold(g.o.Procedures, append(stored[:len(stored):len(stored)], add...), g.o.Clock.Now())
	if err != nil {
		return err
	}
	if err := saveCase(ctx, tx, a); err != nil {
		return err
	}
	for _, p := range g.projections {
		if err := p.Apply(ctx, tx, a); err != nil {
			return err
		}
	}
	return g.record(ctx, tx, actor, id, add)
}

// record writes one ledger entry for each event. Entries name the case and the account, never answers.
func (g *Gateway) record(ctx context.Context, tx *store.Tx, actor, id string, add []Event) error {
	for _, e := range add {
		details := map[string]any{"seq": e.Seq}
		if e.Kind == KindDrafted || e.Kind == KindSigned {
			var d struct {
				Digest contract.Digest       `json:"digest"`
				Signed contract.SignedPermit `json:"signed"`
			}
			if err := unmarshal(e.Data, &d); err != nil {
				return err
			}
			if d.Digest == "" {
				d.Digest = contract.DigestOf(d.Signed.Permit)
			}
			details["permit"] = string(d.Digest)
		}
		err := g.o.Ledger.Record(ctx, tx, ledger.Entry{Actor: e.Actor, Action: string(e.Kind), Target: id, Outcome: "done", Details: details, At: e.At})
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}

// Each folds every application in turn, inside the caller's transaction: projections are made anew with
// it.
func (g *Gateway) Each(ctx context.Context, tx *store.Tx, f func(*Application) error) error {
	ids, err := applicationStreams(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		a, err := g.load(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}
