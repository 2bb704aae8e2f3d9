// Package register is the public register (Art. 57(1)(j), 58): which applications were received, what
// was decided and why, who may use which data for what, and which results came out. It is a projection
// of the gateway's events, written in the same transaction and never edited, so it cannot say anything
// else than the cases do; it can be dropped and made again from the events.
//
// Everybody reads it, through pages, JSON and CSV. It must never hold names of natural persons other
// than what applicants publish themselves, answers that are not published, or anything about patients.
package register

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/gateway"
)

// Status is what the public is told about a case.
type Status string

const (
	Examined   Status = "examined"   // received, not decided
	Authorised Status = "authorised" // permit signed
	Refused    Status = "refused"
	Withdrawn  Status = "withdrawn"
)

// Statuses lists them in the order of the page's filter.
var Statuses = []Status{Authorised, Examined, Refused, Withdrawn}

// Entry is one project as the public sees it.
type Entry struct {
	ID          string    `json:"id"`
	Status      Status    `json:"status"`
	Title       string    `json:"title"`
	Controller  string    `json:"controller"`
	PublicBody  bool      `json:"public_body"`
	Purposes    []string  `json:"purposes" doc:"Codes of Art. 53(1)"`
	LaySummary  string    `json:"lay_summary"`
	Datasets    []Dataset `json:"datasets"`
	Procedure   string    `json:"procedure" doc:"Procedure and version the case was filed under"`
	SubmittedAt time.Time `json:"submitted_at"`
	// DecidedAt is when the decision was issued or the application withdrawn.
	DecidedAt *time.Time `json:"decided_at,omitempty"`
	// Reasons justify a refusal.
	Reasons   string  `json:"reasons,omitempty"`
	Opinion   string  `json:"opinion,omitempty" doc:"Opinion of the committee"`
	Deemed    bool    `json:"opinion_deemed,omitempty" doc:"The opinion is what silence counts as"`
	Authority string  `json:"authority_reference,omitempty"`
	Permit    *Permit `json:"permit,omitempty"`
	// Results are what was let out of the secure environment, oldest first.
	Results []Result `json:"results"`
}

// Dataset is one dataset that was asked for.
type Dataset struct {
	Holder  string   `json:"holder"`
	Dataset string   `json:"dataset"`
	Tables  []string `json:"tables"`
	Columns int      `json:"columns" doc:"Number of columns"`
}

// Permit is what was decided.
type Permit struct {
	ID         string          `json:"id"`
	Digest     contract.Digest `json:"digest"`
	Persons    int             `json:"persons" doc:"Number of persons who may work with the data"`
	ValidFrom  time.Time       `json:"valid_from"`
	ValidUntil time.Time       `json:"valid_until"`
	PeriodFrom string          `json:"period_from"`
	PeriodTo   string          `json:"period_to"`
	// ObjectionsHonoured is false when an exception under Art. 71(4) was used; Exception says why.
	ObjectionsHonoured bool     `json:"objections_honoured"`
	Exception          string   `json:"exception,omitempty"`
	Conditions         []string `json:"conditions"`
}

// Result is one released export. The files themselves are not public here.
type Result struct {
	Title      string    `json:"title"`
	ReleasedAt time.Time `json:"released_at"`
	Files      []string  `json:"files"`
}

// Project makes the public entry of a case; false while the case is a draft, of which nothing is
// published.
func Project(a *gateway.Application) (Entry, bool) {
	if a.Submitted.IsZero() {
		return Entry{}, false
	}
	e := Entry{ID: a.ID, Status: Examined, Procedure: a.Procedure.Name(), SubmittedAt: a.Submitted, Results: []Result{}, Datasets: []Dataset{}, Purposes: []string{}}
	if p := a.Answers.Project; p != nil {
		e.Title, e.Controller, e.PublicBody, e.LaySummary = p.Title, p.Controller, p.PublicBody, p.LaySummary
	}
	if p := a.Answers.Purpose; p != nil {
		e.Purposes = p.Purposes
	}
	if p := a.Answers.Data; p != nil {
		for _, d := range p.Datasets {
			x := Dataset{Holder: d.Holder, Dataset: d.Dataset, Tables: []string{}}
			for _, t := range d.Tables {
				x.Tables = append(x.Tables, t.Table)
				x.Columns += len(t.Columns)
			}
			e.Datasets = append(e.Datasets, x)
		}
	}
	if !a.Closed.IsZero() {
		closed := a.Closed
		e.DecidedAt = &closed
	}
	if a.Opinion != nil {
		e.Opinion, e.Deemed = a.Opinion.Opinion, a.Deemed
	}
	if a.Authority != nil {
		e.Authority = a.Authority.Reference
	}
	switch {
	case a.Signed != nil:
		e.Status = Authorised
		p := a.Permit
		e.Permit = &Permit{ID: p.ID, Digest: contract.DigestOf(a.Signed.Signed.Permit), Persons: len(p.Persons),
			ValidFrom: p.ValidFrom, ValidUntil: p.ValidUntil, PeriodFrom: p.Period.From, PeriodTo: p.Period.To,
			ObjectionsHonoured: p.OptOut.Honoured, Exception: p.OptOut.Justification, Conditions: p.Conditions}
	case a.Refusal != nil:
		e.Status, e.Reasons = Refused, a.Refusal.Reasons
	case a.State == gateway.StateWithdrawn:
		e.Status = Withdrawn
	}
	for _, x := range a.Results {
		r := Result{Title: x.Title, ReleasedAt: x.ReleasedAt, Files: []string{}}
		for _, f := range x.Files {
			r.Files = append(r.Files, f.Name)
		}
		e.Results = append(e.Results, r)
	}
	return e, true
}

// Register answers the public's questions. Its methods may be called from several goroutines.
type Register struct {
	db    *store.DB
	cases *gateway.Gateway
}

// shape is the version of Entry as stored: raise it when Project changes, and the table is made anew.
const shape = 1

// New prepares the table, registers the projection with the gateway, and makes the table anew from the
// events when it is missing or of another shape.
func New(ctx context.Context, db *store.DB, cases *gateway.Gateway) (*Register, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, err
	}
	r := &Register{db: db, cases: cases}
	cases.Project(r)
	have, err := storedShape(ctx, db)
	if err != nil {
		return nil, err
	}
	if have != shape {
		if err := r.Rebuild(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Rebuild makes the table anew from the events.
func (r *Register) Rebuild(ctx context.Context) error {
	return r.db.InTx(ctx, func(tx *store.Tx) error {
		if err := empty(ctx, tx, shape); err != nil {
			return err
		}
		return r.cases.Each(ctx, tx, func(a *gateway.Application) error { return r.Apply(ctx, tx, a) })
	})
}

// Apply brings one entry up to date, in the transaction that writes the events.
func (r *Register) Apply(ctx context.Context, tx *store.Tx, a *gateway.Application) error {
	e, public := Project(a)
	if !public {
		return nil
	}
	doc, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	at := e.SubmittedAt
	if e.DecidedAt != nil {
		at = *e.DecidedAt
	}
	return upsert(ctx, tx, row{id: e.ID, status: string(e.Status), at: at, text: searchText(e), doc: string(doc)})
}

// searchText is what a search looks through, in lower case.
func searchText(e Entry) string {
	parts := []string{e.Title, e.Controller, e.LaySummary}
	for _, d := range e.Datasets {
		parts = append(parts, d.Holder, d.Dataset)
		parts = append(parts, d.Tables...)
	}
	for _, x := range e.Results {
		parts = append(parts, x.Title)
	}
	return strings.ToLower(strings.Join(parts, "\n"))
}

// Query selects entries. Zero values select all.
type Query struct {
	Text   string // words that must all occur
	Status Status
	Page   int // from 1
}

// PageSize is how many entries one page has.
const PageSize = 25

// Found is one page of entries, the latest first, and how many there are in all.
type Found struct {
	Entries []Entry `json:"entries"`
	Total   int64   `json:"total"`
	Page    int     `json:"page"`
	Pages   int     `json:"pages"`
}

// Search returns a page of entries. A page after the last is empty.
func (r *Register) Search(ctx context.Context, q Query) (Found, error) {
	q.Page = max(q.Page, 1)
	total, err := count(ctx, r.db, q)
	if err != nil {
		return Found{}, err
	}
	docs, err := selectDocs(ctx, r.db, q, PageSize, (q.Page-1)*PageSize)
	if err != nil {
		return Found{}, err
	}
	entries, err := decode(docs)
	if err != nil {
		return Found{}, err
	}
	return Found{Entries: entries, Total: total, Page: q.Page, Pages: int((total + PageSize - 1) / PageSize)}, nil
}

// Entry returns one entry as it stands now, or gateway.ErrUnknown. It is folded from the events, so that
// what time alone has caused is in it.
func (r *Register) Entry(ctx context.Context, id string) (Entry, *gateway.Application, error) {
	a, err := r.cases.Public(ctx, id)
	if err != nil {
		return Entry{}, nil, err
	}
	e, _ := Project(a)
	return e, a, nil
}

// Totals counts the entries by status.
func (r *Register) Totals(ctx context.Context) (map[Status]int64, error) { return totals(ctx, r.db) }

func decode(docs []string) ([]Entry, error) {
	out := make([]Entry, len(docs))
	for i, d := range docs {
		if err := json.Unmarshal([]byte(d), &out[i]); err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
	}
	return out, nil
}
