// Package feasibility lets researchers ask, before they apply, how many persons have one of some codes
// in some years. The question goes to engine as an order under the standing feasibility mandate, which a
// deciding officer signed; the answer comes back rounded, or hidden when it is small. Pages and the JSON
// API call it. It never sees a count that is not protected.
package feasibility

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// MaxWait is how long an answer is waited for. It shows later in the history if it takes longer.
const MaxWait = 10 * time.Second

// MaxCodes is how many codes one question may have.
const MaxCodes = 200

// ErrUnknown means that there is no such question of this person.
var ErrUnknown = errors.New("unknown question")

// Unavailable says why no count can be asked for now: "no_mandate" or "not_covered".
type Unavailable struct{ Code string }

func (e *Unavailable) Error() string { return "counts are not available: " + e.Code }

// Mandate returns the feasibility permit in force, or an error when there is none.
type Mandate func(ctx context.Context) (*contract.SignedPermit, error)

// Orders is the order book.
type Orders interface {
	NewOrder(kind contract.OrderKind, permit *contract.SignedPermit, body any) (contract.Order, error)
	Put(ctx context.Context, tx *store.Tx, o contract.Order) error
	Wait(ctx context.Context, orderID string) (contract.Receipt, error)
}

// Datasets tells the structure of published datasets; the catalogue does.
type Datasets interface {
	Schema(ctx context.Context, holder, dataset string) (*contract.DatasetSchema, error)
	Schemas(ctx context.Context) ([]contract.DatasetSchema, error)
}

// Options are what the room needs. NoMandate recognises the error of Mandate for "none in force".
type Options struct {
	DB        *store.DB
	Clock     clock.Clock
	Ledger    *ledger.Ledger
	Log       *slog.Logger
	Mandate   Mandate
	NoMandate error
	Orders    Orders
	Datasets  Datasets
	Wait      time.Duration // at most MaxWait; 0 is MaxWait
}

// Service answers feasibility questions.
type Service struct{ o Options }

// New migrates the room's table.
func New(ctx context.Context, o Options) (*Service, error) {
	m, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if o.Wait <= 0 || o.Wait > MaxWait {
		o.Wait = MaxWait
	}
	return &Service{o}, o.DB.Migrate(ctx, "feasibility", m)
}

// Question asks for the persons with at least one row whose column holds one of the codes, in years
// From to To, both included.
type Question struct {
	Holder  string   `json:"holder" maxLength:"64"`
	Dataset string   `json:"dataset" maxLength:"64"`
	Table   string   `json:"table" maxLength:"64"`
	Column  string   `json:"column" maxLength:"64"`
	Codes   []string `json:"codes" minItems:"1" maxItems:"200"`
	Prefix  bool     `json:"prefix,omitempty" doc:"Codes that begin with one of these count too"`
	From    int      `json:"from" minimum:"1900" maximum:"2200" doc:"First year"`
	To      int      `json:"to" minimum:"1900" maximum:"2200" doc:"Last year"`
}

// Status of a question.
type Status string

const (
	Waiting  Status = "waiting"
	Answered Status = "answered"
	Refused  Status = "refused" // the mandate or the day's budget does not allow it
	Failed   Status = "failed"
)

// Asked is a question with what became of it.
type Asked struct {
	ID       string                      `json:"id"`
	AskedAt  time.Time                   `json:"asked_at"`
	Question Question                    `json:"question"`
	Status   Status                      `json:"status" enum:"waiting,answered,refused,failed"`
	Code     string                      `json:"code,omitempty" doc:"Why it was refused"`
	Answer   *contract.FeasibilityAnswer `json:"answer,omitempty"`
}

// cohort is the question as engine reads it.
func (q Question) cohort() contract.Cohort {
	return contract.Cohort{
		AnyOf: []contract.Criterion{{Holder: q.Holder, Dataset: q.Dataset, Table: q.Table, Column: q.Column, Codes: q.Codes, Prefix: q.Prefix}},
		Period: contract.Period{
			From: fmt.Sprintf("%04d-01-01", q.From), To: fmt.Sprintf("%04d-12-31", q.To),
		},
	}
}

// check compares the question with the catalogue and returns it tidied.
func (s *Service) check(ctx context.Context, q Question) (Question, error) {
	schema, err := s.o.Datasets.Schema(ctx, q.Holder, q.Dataset)
	if err != nil {
		return q, err
	}
	table, ok := schema.Table(q.Table)
	if !ok {
		return q, contract.Refuse("invalid", "table: dataset %s/%s has no table %q", q.Holder, q.Dataset, q.Table)
	}
	column, ok := table.Column(q.Column)
	if !ok || column.Role != contract.RolePayload {
		return q, contract.Refuse("invalid", "column: table %s has no column %q that can be asked about", q.Table, q.Column)
	}
	var codes []string
	for _, c := range q.Codes {
		if c = strings.TrimSpace(c); c != "" && !slices.Contains(codes, c) {
			codes = append(codes, c)
		}
		if len(c) > 100 {
			return q, contract.Refuse("invalid", "codes: a code has at most 100 characters")
		}
	}
	q.Codes = codes
	if len(codes) == 0 || len(codes) > MaxCodes {
		return q, contract.Refuse("invalid", "codes: between 1 and %d codes", MaxCodes)
	}
	if q.From < 1900 || q.To > 2200 || q.To < q.From {
		return q, contract.Refuse("invalid", "years: the first year is not after the last")
	}
	return q, q.cohort().Validate()
}

// Ask sends a question of an account and waits for the answer. When none comes in time the question
// stays, and its answer is recorded when it arrives.
func (s *Service) Ask(ctx context.Context, account string, q Question) (*Asked, error) {
	q, err := s.check(ctx, q)
	if err != nil {
		return nil, err
	}
	signed, err := s.o.Mandate(ctx)
	if s.o.NoMandate != nil && errors.Is(err, s.o.NoMandate) {
		return nil, &Unavailable{"no_mandate"}
	}
	if err != nil {
		return nil, fmt.Errorf("feasibility mandate: %w", err)
	}
	if !covers(signed, q) {
		return nil, &Unavailable{"not_covered"}
	}
	order, err := s.o.Orders.NewOrder(contract.OrderFeasibility, signed, contract.FeasibilityQuery{Asker: account, Cohort: q.cohort()})
	if err != nil {
		return nil, err
	}
	a := &Asked{ID: order.ID, AskedAt: s.o.Clock.Now(), Question: q, Status: Waiting}
	err = s.o.DB.InTx(ctx, func(tx *store.Tx) error {
		if err := insertQuestion(ctx, tx, account, a); err != nil {
			return err
		}
		if err := s.o.Orders.Put(ctx, tx, order); err != nil {
			return err
		}
		// Which codes somebody is after is hers; the public ledger says only that she asked.
		return s.o.Ledger.Record(ctx, tx, ledger.Entry{Actor: account, Action: "feasibility.asked", Target: q.Holder + "/" + q.Dataset, Outcome: "done",
			Details: map[string]any{"order": order.ID}, At: a.AskedAt})
	})
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	if _, err := s.o.Orders.Wait(wait, order.ID); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return s.Question(ctx, account, a.ID)
}

// covers reports whether the mandate is for this table. Engine checks it as well; the portal looks only
// to give a better answer.
func covers(signed *contract.SignedPermit, q Question) bool {
	var p contract.Permit
	if json.Unmarshal(signed.Permit, &p) != nil {
		return false
	}
	return slices.ContainsFunc(p.Datasets, func(d contract.DatasetScope) bool {
		return d.Holder == q.Holder && d.Dataset == q.Dataset &&
			slices.ContainsFunc(d.Tables, func(t contract.TableScope) bool {
				return t.Table == q.Table && (len(t.Columns) == 0 || slices.Contains(t.Columns, q.Column))
			})
	})
}

// Covered lists the datasets and tables that can be asked about now; nothing without a mandate.
func (s *Service) Covered(ctx context.Context) ([]contract.DatasetSchema, error) {
	signed, err := s.o.Mandate(ctx)
	if s.o.NoMandate != nil && errors.Is(err, s.o.NoMandate) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("feasibility mandate: %w", err)
	}
	all, err := s.o.Datasets.Schemas(ctx)
	if err != nil {
		return nil, err
	}
	var list []contract.DatasetSchema
	for _, d := range all {
		out := contract.DatasetSchema{Holder: d.Holder, Dataset: d.Dataset, Version: d.Version}
		for _, t := range d.Tables {
			columns := slices.DeleteFunc(slices.Clone(t.Columns), func(c contract.Column) bool {
				return c.Role != contract.RolePayload || c.CodeList == "" ||
					!covers(signed, Question{Holder: d.Holder, Dataset: d.Dataset, Table: t.Name, Column: c.Name})
			})
			if len(columns) > 0 {
				t.Columns = columns
				out.Tables = append(out.Tables, t)
			}
		}
		if len(out.Tables) > 0 {
			list = append(list, out)
		}
	}
	return list, nil
}

// OnReceipt is the order book's hook: it records the answer in the transaction of the receipt.
func (s *Service) OnReceipt(ctx context.Context, tx *store.Tx, r contract.Receipt) error {
	if !r.Status.Final() {
		return nil
	}
	status, answer := Failed, ""
	switch r.Status {
	case contract.ReceiptRefused:
		status = Refused
	case contract.ReceiptDone:
		var a contract.FeasibilityAnswer
		if err := json.Unmarshal(r.Body, &a); err == nil && a.MinCell > 0 && (!a.Hidden || a.Count == 0) {
			status, answer = Answered, string(r.Body)
		}
	}
	return finishQuestion(ctx, tx, r.OrderID, status, r.Code, answer)
}

// Question returns one question of an account, or ErrUnknown.
func (s *Service) Question(ctx context.Context, account, id string) (*Asked, error) {
	return selectQuestion(ctx, s.o.DB, account, id)
}

// History lists the questions of an account, newest first, at most 100.
func (s *Service) History(ctx context.Context, account string) ([]Asked, error) {
	return selectQuestions(ctx, s.o.DB, account, 100)
}
