package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/feasibility"
	"github.com/mitral-health/mitral/internal/engine/plan"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// maxOrderID keeps the ids of receipts, which add to it, valid names.
const maxOrderID = 40

// takeOrder takes one order of the portal's book, once: one that is known and finished gets its old
// receipt again, one that is known and unfinished is already being worked on. An error means that the
// order comes again.
func (m *Main) takeOrder(ctx context.Context, seq int64, raw json.RawMessage) error {
	o, err := parseOrder(raw)
	if err != nil {
		// Without an id there is nothing to answer. The order is passed over, or it would stop the queue.
		m.log.Warn("order cannot be read", "seq", seq, "err", err)
		return m.record(ctx, ledger.Entry{Actor: "zone/portal", Action: "order.taken", Target: fmt.Sprintf("order number %d", seq), Outcome: "invalid"})
	}
	canonical, err := contract.Canonical(o)
	if err != nil {
		return err
	}
	digest := contract.DigestOf(canonical)
	known, err := getOrder(ctx, m.db, o.ID)
	switch {
	case err == nil:
		return m.orderAgain(ctx, known, digest)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	taken := order{id: o.ID, kind: o.Kind, digest: digest, document: *o}
	switch {
	case o.Schema != contract.OrderSchema || o.Zone != contract.ZoneEngine:
		err = contract.Refuse("invalid", "the order is of version %q for zone %q", o.Schema, o.Zone)
	case o.Permit == nil:
		err = contract.Refuse("unsigned", "the order carries no permit")
	case o.Kind == contract.OrderFeasibility:
		return m.takeFeasibility(ctx, taken)
	case o.Kind == contract.OrderProvision:
		return m.takeProvision(ctx, taken)
	default:
		err = contract.Refuse("invalid", "engine takes no order of kind %q", o.Kind)
	}
	return m.finishNew(ctx, taken, m.refusal(o.ID, err), nil)
}

func parseOrder(raw json.RawMessage) (*contract.Order, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var o contract.Order
	if err := dec.Decode(&o); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("bytes after the order")
	}
	if !contract.ValidName(o.ID) || len(o.ID) > maxOrderID {
		return nil, fmt.Errorf("order id %q", o.ID)
	}
	return &o, nil
}

// orderAgain answers an order whose id is known.
func (m *Main) orderAgain(ctx context.Context, known order, digest contract.Digest) error {
	if known.digest != digest {
		err := m.record(ctx, ledger.Entry{Actor: "zone/portal", Action: "order.taken", Target: known.id, Outcome: "replayed", Details: map[string]any{"order": string(digest)}})
		if err != nil {
			return err
		}
	}
	if known.receipt == nil {
		return nil
	}
	return m.book.PostReceipt(ctx, known.receipt)
}

// verify is the gate of every order.
func (m *Main) verify(s *contract.SignedPermit) (*contract.Permit, error) {
	roll, err := m.officers.Roll()
	if err != nil {
		return nil, err
	}
	return contract.VerifyPermit(*s, roll, m.clock.Now())
}

// refusal is the final receipt of an order that is not authorised or not valid.
func (m *Main) refusal(id string, err error) contract.Receipt {
	r := contract.Receipt{ID: id + "-final", OrderID: id, Zone: contract.ZoneEngine, Status: contract.ReceiptRefused, At: m.clock.Now(), Code: contract.RefusalCode(err)}
	var refused *contract.Refusal
	if errors.As(err, &refused) {
		r.Message = refused.Reason
	}
	return r
}

// finishNew notes an order with its final receipt, in one transaction with what also may do, and sends
// the receipt: at once, since somebody may be waiting, and by a job should that fail.
func (m *Main) finishNew(ctx context.Context, o order, r contract.Receipt, also func(*store.Tx) error) error {
	o.receipt = &r
	err := m.db.InTx(ctx, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := insertOrder(ctx, tx, o, r.At); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, orderEntry(o, r))
	})
	if err != nil {
		return err
	}
	if err := m.book.PostReceipt(ctx, r); err != nil {
		m.log.Warn("receipt: will try again", "order", o.id, "err", err)
		return m.db.InTx(context.WithoutCancel(ctx), func(tx *store.Tx) error { return m.jobs.Insert(ctx, tx, jobReceipt, r.ID, r) })
	}
	return nil
}

// orderEntry tells the end of an order: what it asked for by digest, never an answer.
func orderEntry(o order, r contract.Receipt) ledger.Entry {
	outcome := string(r.Status)
	if r.Code != "" {
		outcome = r.Code
	}
	details := map[string]any{"order": string(o.digest), "kind": string(o.kind)}
	if p := o.document.Permit; p != nil {
		details["permit"] = string(digestOf(p.Permit))
	}
	if len(o.document.Body) > 0 {
		details["body"] = string(digestOf(o.document.Body))
	}
	return ledger.Entry{Actor: "zone/portal", Action: "order." + string(o.kind), Target: o.id, Outcome: outcome, At: r.At, Details: details}
}

// digestOf is the digest of a document's canonical form, however it was written on its way.
func digestOf(raw json.RawMessage) contract.Digest {
	if canonical, err := contract.Canonical(raw); err == nil {
		return contract.DigestOf(canonical)
	}
	return contract.DigestOf(raw)
}

// receiptJob sends a receipt.
func (m *Main) receiptJob(ctx context.Context, raw json.RawMessage) error {
	return m.book.PostReceipt(ctx, raw)
}

// countTimeout bounds a count: somebody is waiting for it.
const countTimeout = 30 * time.Second

// errBudget ends the transaction of a question beyond the asker's budget.
var errBudget = contract.Refuse("budget", "you have used up today's questions; ask again tomorrow")

// takeFeasibility answers a count.
func (m *Main) takeFeasibility(ctx context.Context, o order) error {
	within, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	answer, asker, err := m.count(within, o)
	if ctx.Err() != nil {
		return ctx.Err() // stopping: the order comes again
	}
	r := contract.Receipt{ID: o.id + "-final", OrderID: o.id, Zone: contract.ZoneEngine, Status: contract.ReceiptDone, At: m.clock.Now()}
	var refused *contract.Refusal
	switch {
	case errors.As(err, &refused):
		r = m.refusal(o.id, err)
	case err != nil:
		m.log.Error("feasibility", "order", o.id, "err", err)
		r.Status, r.Code, r.Message = contract.ReceiptFailed, "unavailable", "The count could not be made just now. Ask again in a moment."
	default:
		if r.Body, err = json.Marshal(answer); err != nil {
			return err
		}
	}
	if r.Status != contract.ReceiptDone {
		return m.finishNew(ctx, o, r, nil)
	}
	err = m.finishNew(ctx, o, r, func(tx *store.Tx) error {
		n, err := askedToday(ctx, tx, asker, r.At.Format(time.DateOnly))
		if err == nil && n > m.cfg.DailyQuestions {
			return errBudget
		}
		return err
	})
	if errors.Is(err, errBudget) {
		return m.finishNew(ctx, o, m.refusal(o.id, err), nil)
	}
	return err
}

// count verifies a question and counts.
func (m *Main) count(ctx context.Context, o order) (*contract.FeasibilityAnswer, string, error) {
	permit, err := m.verify(o.document.Permit)
	if err != nil {
		return nil, "", err
	}
	var q contract.FeasibilityQuery
	dec := json.NewDecoder(bytes.NewReader(o.document.Body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return nil, "", contract.Refuse("invalid", "the question cannot be read")
	}
	if q.Asker == "" || len(q.Asker) > 100 {
		return nil, "", contract.Refuse("invalid", "the question does not say who asks")
	}
	snapshot, err := m.lake.Snapshot()
	if err != nil {
		return nil, "", err
	}
	cohort, err := plan.Feasibility(permit, q.Cohort, snapshot)
	if err != nil {
		return nil, "", err
	}
	roll, err := m.rolls.get(ctx, m, *o.document.Permit)
	if err != nil {
		return nil, "", err
	}
	canonical, err := contract.Canonical(q.Cohort)
	if err != nil {
		return nil, "", err
	}
	answer, err := m.counter.Count(ctx, permit, feasibility.Question{Snapshot: snapshot.ID, Cohort: cohort, Digest: contract.DigestOf(canonical), Roll: roll})
	return answer, q.Asker, err
}

// rollCache keeps the objection roll of counts for some minutes, in memory.
type rollCache struct {
	mu      sync.Mutex
	permit  contract.Digest
	fetched time.Time
	roll    []byte
}

func (c *rollCache) get(ctx context.Context, m *Main, permit contract.SignedPermit) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	digest := contract.DigestOf(permit.Permit)
	// The demonstration's clock may jump; the cache goes by the machine's.
	if c.permit == digest && time.Since(c.fetched) < m.cfg.rollTTL() {
		return c.roll, nil
	}
	roll, err := m.fetchRoll(ctx, permit, true)
	if err != nil {
		return nil, err
	}
	c.permit, c.fetched, c.roll = digest, time.Now(), roll
	return roll, nil
}

// orderPayload is the payload of the job of an order.
type orderPayload struct {
	Order string `json:"order"`
}

// takeProvision accepts an order for a project dataset, or refuses it.
func (m *Main) takeProvision(ctx context.Context, o order) error {
	permit, err := m.verify(o.document.Permit)
	if err == nil && permit.Kind != contract.PermitData {
		err = contract.Refuse("out_of_scope", "a permit of kind %s delivers no data", permit.Kind)
	}
	if err == nil && len(o.document.Body) > 0 && string(o.document.Body) != "null" {
		err = contract.Refuse("invalid", "an order for data has no body: everything stands in the permit")
	}
	var refused *contract.Refusal
	if errors.As(err, &refused) {
		return m.finishNew(ctx, o, m.refusal(o.id, err), nil)
	}
	if err != nil {
		return err
	}
	replayed := contract.Refuse("replayed", "version %d of permit %s has been ordered before; a permit's version gives one project dataset", permit.Version, permit.ID)
	accepted := contract.Receipt{ID: o.id + "-accepted", OrderID: o.id, Zone: contract.ZoneEngine, Status: contract.ReceiptAccepted, At: m.clock.Now()}
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		owner, err := claimPermit(ctx, tx, permit, o.id)
		if err != nil {
			return err
		}
		if owner != o.id {
			return replayed
		}
		if err := insertOrder(ctx, tx, o, accepted.At); err != nil {
			return err
		}
		if err := m.jobs.Insert(ctx, tx, jobProvision, o.id, orderPayload{o.id}); err != nil {
			return err
		}
		if err := m.jobs.Insert(ctx, tx, jobReceipt, accepted.ID, accepted); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, orderEntry(o, accepted))
	})
	if errors.Is(err, replayed) {
		return m.finishNew(ctx, o, m.refusal(o.id, err), nil)
	}
	return err
}

// maxAttempts is how often a provision is begun before it is given up.
const maxAttempts = 12

// provisionJob carries a provision out, resumes one that a crash cut off, and writes its final receipt.
func (m *Main) provisionJob(ctx context.Context, raw json.RawMessage) error {
	var p orderPayload
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	o, err := getOrder(ctx, m.db, p.Order)
	if err != nil {
		return fmt.Errorf("order %s: %w", p.Order, err)
	}
	if o.receipt != nil {
		return nil
	}
	report, err := m.provision(ctx, &o)
	if ctx.Err() != nil {
		return ctx.Err() // stopping: the next process resumes
	}
	r := contract.Receipt{ID: o.id + "-final", OrderID: o.id, Zone: contract.ZoneEngine, Status: contract.ReceiptDone, At: m.clock.Now(), Message: "The project dataset is ready."}
	var refused *contract.Refusal
	switch {
	case err == nil:
		if r.Body, err = json.Marshal(report); err != nil {
			return err
		}
	case errors.As(err, &refused):
		r = m.refusal(o.id, err)
	case o.attempts+1 >= maxAttempts:
		m.log.Error("provision given up", "order", o.id, "err", err)
		r.Status, r.Code, r.Message = contract.ReceiptFailed, "failed", reasonOf(err)
	default:
		m.tellProgress(ctx, o.id, fmt.Sprintf("attempt-%d", jobs.Attempt(ctx)), contract.Receipt{Message: "Will be tried again. " + reasonOf(err)})
		return err
	}
	return m.db.InTx(ctx, func(tx *store.Tx) error {
		if err := finishOrder(ctx, tx, o.id, r, r.At); err != nil {
			return err
		}
		if r.Status != contract.ReceiptDone {
			if err := releasePermit(ctx, tx, o.id); err != nil {
				return err
			}
		}
		if err := m.jobs.Insert(ctx, tx, jobReceipt, r.ID, r); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, orderEntry(o, r))
	})
}
