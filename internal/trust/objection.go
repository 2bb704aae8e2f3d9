package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/trust/identity"
	"github.com/mitral-health/mitral/internal/trust/roll"
)

// Outcomes of contract.ObjectionReceipt.
const (
	outcomeRecorded      = "recorded"
	outcomeWithdrawn     = "withdrawn"
	outcomeNotIdentified = "not_identified"
)

// takeOrder carries out one order of the portal's order book. An error means that it comes again; whatever is
// wrong with the order itself is answered with a refusal.
func (m *Main) takeOrder(ctx context.Context, seq int64, raw json.RawMessage) error {
	var order contract.Order
	if err := strict(raw, &order); err != nil || order.ID == "" {
		// Without an id there is nothing to answer. It must not stand in the way of the orders behind it.
		return m.record(ctx, ledger.Entry{Actor: "zone/portal", Action: "order.take", Outcome: "refused", Details: map[string]any{"code": "invalid", "seq": seq}})
	}
	canonical, err := contract.Canonical(&order)
	if err != nil {
		return m.record(ctx, ledger.Entry{Actor: "zone/portal", Action: "order.take", Outcome: "refused", Details: map[string]any{"code": "invalid", "seq": seq}})
	}
	digest := string(contract.DigestOf(canonical))
	known, receipt, found, err := m.deliveries.order(ctx, m.db, order.ID)
	if err != nil {
		return err
	}
	if found && known != digest {
		err := m.record(ctx, ledger.Entry{Actor: "zone/portal", Action: "order.take", Target: order.ID, Outcome: "refused", Details: map[string]any{"code": "replayed"}})
		if err != nil {
			return err
		}
	}
	if !found {
		if receipt, err = m.carryOut(ctx, order, digest); err != nil {
			return err
		}
	}
	return m.orders.PostReceipt(ctx, json.RawMessage(receipt))
}

// carryOut does what the order says, writes its receipt in the same transaction, and returns it.
func (m *Main) carryOut(ctx context.Context, order contract.Order, digest string) (receipt string, err error) {
	s, traits, token, err := m.openObjection(ctx, order)
	var refusal *contract.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return "", err
	}
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		now := m.clock.Now()
		r := contract.Receipt{ID: "receipt-" + order.ID, OrderID: order.ID, Zone: contract.ZoneTrust, At: now}
		entry := ledger.Entry{Actor: "citizen", Action: "objection." + s.Action, Target: order.ID, At: now}
		why := refusal
		if why == nil {
			fresh, err := m.deliveries.useToken(ctx, tx, token, s.Action, s.Number)
			if err != nil {
				return err
			}
			if !fresh { // or whoever keeps the token of an objection could withdraw it
				why = &contract.Refusal{Code: "replayed", Reason: "this identity token has proven another declaration already; sign in again"}
			}
		}
		if why != nil {
			r.Status, r.Code, r.Message = contract.ReceiptRefused, why.Code, why.Reason
			entry.Actor, entry.Action, entry.Outcome = "zone/portal", "order.take", "refused"
			entry.Details = map[string]any{"code": why.Code, "kind": string(order.Kind)}
		} else {
			number, found, err := m.persons.Find(ctx, tx, traits)
			if err != nil {
				return err
			}
			answer := contract.ObjectionReceipt{Number: s.Number, Outcome: outcomeNotIdentified, Since: now}
			if found {
				event, err := m.roll.Record(ctx, tx, number, s.Number, s.Action, s.FiledAt, now)
				if err != nil {
					return err
				}
				answer.Since, answer.Outcome = event.Effective, outcomeRecorded
				if s.Action == roll.Withdraw {
					answer.Outcome = outcomeWithdrawn
				}
			}
			if r.Body, err = json.Marshal(answer); err != nil {
				return err
			}
			r.Status, entry.Outcome = contract.ReceiptDone, answer.Outcome
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		receipt = string(b)
		if err := m.ledger.Record(ctx, tx, entry); err != nil {
			return err
		}
		return m.deliveries.finishOrder(ctx, tx, order.ID, digest, receipt, now)
	})
	return receipt, err
}

// openObjection opens the seal and verifies the citizen's token. token is the SHA-256 that names it. Errors
// are Refusals, or failures of our own, after which the order comes again.
func (m *Main) openObjection(ctx context.Context, order contract.Order) (s contract.ObjectionStatement, traits *identity.Traits, token string, err error) {
	if order.Schema != contract.OrderSchema || order.Zone != contract.ZoneTrust || order.Kind != contract.OrderObjection {
		return s, nil, "", contract.Refuse("out_of_scope", "trust takes objections only")
	}
	var sealed contract.SealedObjection
	if err := strict(order.Body, &sealed); err != nil {
		return s, nil, "", contract.Refuse("invalid", "the order's body is not a sealed objection")
	}
	plain, err := contract.Open(m.age, sealed.Sealed)
	if err != nil {
		return s, nil, "", err
	}
	if err := strict(plain, &s); err != nil {
		return s, nil, "", contract.Refuse("invalid", "the sealed document is not an objection statement")
	}
	switch {
	case s.Number == "" || s.Number != sealed.Number:
		return s, nil, "", contract.Refuse("invalid", "the receipt number inside the seal is another one")
	case s.Action != roll.Object && s.Action != roll.Withdraw:
		return s, nil, "", contract.Refuse("invalid", "unknown action")
	}
	t, err := m.tokens.verify(ctx, s.IDToken, s.FiledAt, m.clock.Now())
	if err != nil {
		return s, nil, "", err
	}
	// Header and claims name the token; its signature may be rewritten into another valid one (ECDSA).
	signed := s.IDToken[:strings.LastIndexByte(s.IDToken, '.')]
	return s, &t, string(contract.DigestOf([]byte(signed))), nil
}

// strict decodes one JSON document and nothing else.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes after the document")
	}
	return nil
}

// publishCheckpoints posts the head of the ledger as a notice whenever it has grown.
func (m *Main) publishCheckpoints(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	var posted string
	for {
		if head, err := m.ledger.Checkpoint(); err != nil {
			m.log.Warn("checkpoint", "err", err)
		} else if len(head) > 0 && string(head) != posted {
			body, err := json.Marshal(contract.CheckpointNotice{Checkpoint: string(head), VerifierKey: m.ledger.VerifierKey()})
			if err == nil {
				id := "checkpoint-trust-" + string(contract.DigestOf(head))[len("sha256:"):][:24]
				err = m.orders.PostNotice(ctx, contract.Notice{ID: id, Zone: contract.ZoneTrust, Kind: "checkpoint", At: m.clock.Now(), Body: body})
			}
			if err == nil {
				posted = string(head)
			} else if ctx.Err() == nil {
				m.log.Warn("checkpoint notice: will try again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkpointEvery is how often a grown ledger is published.
const checkpointEvery = 5 * time.Second
