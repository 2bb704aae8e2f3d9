// Package objection is where citizens object to the secondary use of their health data and take it back
// (Regulation (EU) 2025/327 Art. 71: at any time, reversible, without giving reasons). It is used by
// citizens' browsers and by the portal's API.
//
// The portal is the letter box, not the reader: a statement is sealed to trust's key the moment it is
// made, and what stays here is a number, dates and trust's answer. Never in this room: names, numbers of
// the insured, identity tokens outside the seal, or whether a person is in the data.
package objection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
)

// State is how far an objection has come.
type State string

// States of an objection.
const (
	Filed         State = "filed"          // on its way to trust
	Recorded      State = "recorded"       // in force: permits from then on leave her out
	NotIdentified State = "not_identified" // trust found no person, or more than one
	Refused       State = "refused"        // trust did not accept the statement, such as an expired sign-in
	Withdrawing   State = "withdrawing"    // the withdrawal is on its way
	Withdrawn     State = "withdrawn"
)

const (
	actionObject   = "object"
	actionWithdraw = "withdraw"
)

// Objection is one objection with its withdrawal, if there is one.
type Objection struct {
	Number      string    `json:"number"`
	State       State     `json:"state"`
	FiledAt     time.Time `json:"filed_at"`
	AnsweredAt  time.Time `json:"answered_at,omitzero"`
	WithdrawnAt time.Time `json:"withdrawn_at,omitzero"` // when she asked to take it back
	EndedAt     time.Time `json:"ended_at,omitzero"`     // when trust took it off the roll

	account string
	answer  string
}

// Answer is trust's answer to the objection itself: "recorded", "not_identified", "refused", or "".
func (o Objection) Answer() string { return o.answer }

// Pending reports whether trust's answer is awaited.
func (o Objection) Pending() bool { return o.State == Filed || o.State == Withdrawing }

// InForce reports whether she can take it back.
func (o Objection) InForce() bool { return o.State == Filed || o.State == Recorded }

// fold turns statements into objections, newest first.
func fold(list []statement) []Objection {
	var out []Objection
	find := func(number string) *Objection {
		for i := range out {
			if out[i].Number == number {
				return &out[i]
			}
		}
		out = append(out, Objection{Number: number})
		return &out[len(out)-1]
	}
	for _, s := range list {
		o := find(s.Number)
		o.account = s.Account
		switch {
		case s.Action == actionObject:
			o.FiledAt, o.AnsweredAt = s.FiledAt, s.AnsweredAt
			o.State, o.answer = Filed, s.Outcome
			if s.Outcome != "" {
				o.State = State(s.Outcome)
			}
		case s.Outcome == string(Withdrawn), s.Outcome == string(NotIdentified) && o.State != Recorded:
			o.WithdrawnAt, o.EndedAt, o.State = s.FiledAt, s.AnsweredAt, Withdrawn
		case s.Outcome == "":
			o.WithdrawnAt, o.State = s.FiledAt, Withdrawing
		}
	}
	slices.Reverse(out)
	return out
}

// Options of the room.
type Options struct {
	DB            *store.DB
	Book          *orderbook.Book
	Ledger        *ledger.Ledger
	Access        *access.Access
	Pages         *page.Renderer
	Clock         clock.Clock
	Log           *slog.Logger
	RecipientFile string // trust's age recipient, "age1…"
}

// Room files objections and shows them to whom they belong.
type Room struct{ o Options }

// New migrates the room's tables and asks the order book for trust's answers.
func New(ctx context.Context, o Options) (*Room, error) {
	if err := o.DB.Migrate(ctx, "objection", migrations()); err != nil {
		return nil, err
	}
	r := &Room{o}
	o.Book.OnReceipt(r.receive)
	return r, nil
}

// Refusals that citizens meet.
var (
	ErrAlready = contract.Refuse("already", "you have already objected")
	ErrOver    = contract.Refuse("over", "this objection is not in force")
)

// File seals the statement of the citizen and puts it into the order book, all or nothing. The identity
// token is in memory here and nowhere else.
func (r *Room) File(ctx context.Context, account string, id access.Identity) (Objection, error) {
	number := newNumber()
	err := r.send(ctx, account, number, actionObject, id, func(list []Objection) error {
		if slices.ContainsFunc(list, Objection.InForce) {
			return ErrAlready
		}
		return nil
	})
	if err != nil {
		return Objection{}, err
	}
	return r.Find(ctx, number)
}

// Withdraw takes an objection back (Art. 71(1)).
func (r *Room) Withdraw(ctx context.Context, account, number string, id access.Identity) (Objection, error) {
	err := r.send(ctx, account, number, actionWithdraw, id, func(list []Objection) error {
		i := slices.IndexFunc(list, func(o Objection) bool { return o.Number == number })
		if i < 0 {
			return store.ErrNotFound
		}
		if !list[i].InForce() {
			return ErrOver
		}
		return nil
	})
	if err != nil {
		return Objection{}, err
	}
	return r.Find(ctx, number)
}

func (r *Room) send(ctx context.Context, account, number, action string, id access.Identity, check func([]Objection) error) error {
	recipient, err := os.ReadFile(r.o.RecipientFile)
	if err != nil {
		return fmt.Errorf("objection: trust's recipient: %w", err)
	}
	now := r.o.Clock.Now()
	plain, err := contract.Canonical(contract.ObjectionStatement{Number: number, Action: action, FiledAt: now, IDToken: id.Token})
	if err != nil {
		return err
	}
	sealed, err := contract.Seal(strings.TrimSpace(string(recipient)), plain)
	if err != nil {
		return err
	}
	order, err := r.o.Book.NewOrder(contract.OrderObjection, nil, contract.SealedObjection{Number: number, Sealed: sealed})
	if err != nil {
		return err
	}
	return r.o.DB.InTx(ctx, func(tx *store.Tx) error {
		list, err := selectStatements(ctx, tx, account)
		if err != nil {
			return err
		}
		if err := check(fold(list)); err != nil {
			return err
		}
		if err := insertStatement(ctx, tx, statement{OrderID: order.ID, Number: number, Account: account, Action: action, FiledAt: now}); err != nil {
			return err
		}
		if err := r.o.Book.Put(ctx, tx, order); err != nil {
			return err
		}
		// The ledger is public: neither account nor receipt number stands in it.
		return r.o.Ledger.Record(ctx, tx, ledger.Entry{Actor: "citizen", Action: "objection." + action, Target: order.ID, Outcome: "done", At: now})
	})
}

// receive takes trust's answer from the order book, inside the transaction that stores the receipt.
func (r *Room) receive(ctx context.Context, tx *store.Tx, rec contract.Receipt) error {
	if rec.Zone != contract.ZoneTrust || !rec.Status.Final() {
		return nil
	}
	outcome := string(Refused)
	if rec.Status == contract.ReceiptDone {
		var body contract.ObjectionReceipt
		if err := json.Unmarshal(rec.Body, &body); err != nil {
			return fmt.Errorf("objection: receipt %s: %w", rec.ID, err)
		}
		switch State(body.Outcome) {
		case Recorded, Withdrawn, NotIdentified:
			outcome = body.Outcome
		default:
			return fmt.Errorf("objection: receipt %s has unknown outcome %q", rec.ID, body.Outcome)
		}
	}
	_, err := setOutcome(ctx, tx, rec.OrderID, outcome, rec.At)
	return err
}

// List returns the objections of an account, newest first.
func (r *Room) List(ctx context.Context, account string) ([]Objection, error) {
	list, err := selectStatements(ctx, r.o.DB, account)
	return fold(list), err
}

// Find returns an objection by its number; store.ErrNotFound when there is none.
func (r *Room) Find(ctx context.Context, number string) (Objection, error) {
	list, err := selectNumber(ctx, r.o.DB, number)
	if err != nil {
		return Objection{}, err
	}
	if len(list) == 0 {
		return Objection{}, store.ErrNotFound
	}
	return fold(list)[0], nil
}

// newNumber makes a receipt number that can be read out on the telephone: 80 random bits in groups of
// four, "OBJ-4K2M-…".
func newNumber() string {
	id := strings.ToUpper(strings.TrimPrefix(contract.NewID("n"), "n-"))
	groups := []string{"OBJ"}
	for len(id) > 4 {
		groups = append(groups, id[:4])
		id = id[4:]
	}
	return strings.Join(append(groups, id), "-")
}

// code returns the code of a refusal that citizens meet, or "".
func code(err error) string {
	var ref *contract.Refusal
	if errors.As(err, &ref) {
		return ref.Code
	}
	return ""
}
