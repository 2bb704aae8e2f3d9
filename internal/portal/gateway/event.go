package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// Kind names what happened. Kinds are stored and never renamed.
type Kind string

const (
	KindCreated       Kind = "application.created"       // Created
	KindSaved         Kind = "application.saved"         // Saved
	KindSubmitted     Kind = "application.submitted"     // no data
	KindAcknowledged  Kind = "application.acknowledged"  // no data; the system's receipt, opens pre-screening
	KindAsked         Kind = "information.requested"     // Asked
	KindAnswered      Kind = "information.answered"      // Answered
	KindComplete      Kind = "application.complete"      // no data
	KindOpinion       Kind = "opinion.issued"            // OpinionIssued
	KindOpinionDeemed Kind = "opinion.deemed_favourable" // OpinionIssued, made by the clock
	KindExtended      Kind = "clock.extended"            // Extended
	KindAuthorised    Kind = "authority.authorised"      // Decided
	KindRefused       Kind = "decision.refused"          // Decided
	KindDrafted       Kind = "permit.drafted"            // Drafted
	KindSigned        Kind = "permit.signed"             // Signed
	KindWithdrawn     Kind = "application.withdrawn"     // Withdrawn
	KindProvisioned   Kind = "dataset.provisioned"       // OrderAnswered
	KindOpened        Kind = "workspace.opened"          // OrderAnswered
	KindOrderFailed   Kind = "order.failed"              // OrderAnswered
	KindReleased      Kind = "result.released"           // Released
	KindMandate       Kind = "mandate.created"           // MandateScope; a stream of its own
)

// ClockActor is the actor of events that no person caused: time passed, or the system acknowledged.
const ClockActor = "clock"

// Event is one thing that happened to one case. Seq starts at 1 and has no gaps.
type Event struct {
	Stream string          `json:"stream"`
	Seq    int64           `json:"seq"`
	Kind   Kind            `json:"kind"`
	At     time.Time       `json:"at"`
	Actor  string          `json:"actor"` // account id, a zone, or ClockActor
	Role   string          `json:"role"`  // in which role the actor acted
	Data   json.RawMessage `json:"data,omitempty"`
}

// Created opens an application.
type Created struct {
	Procedure string                  `json:"procedure"`
	Title     string                  `json:"title,omitempty"`
	Datasets  []contract.DatasetScope `json:"datasets,omitempty"` // from the basket
}

// Saved replaces the pages of the form that are set.
type Saved struct {
	Answers Answers `json:"answers"`
}

// Question is one thing the handler wants to know, about one page of the form.
type Question struct {
	Page string `json:"page"`
	Text string `json:"text"`
}

// Asked stops the clocks until the applicant has answered.
type Asked struct {
	Questions []Question `json:"questions"`
}

// Answered carries the applicant's explanation; changed pages were saved before.
type Answered struct {
	Text string `json:"text"`
}

// OpinionIssued is the committee's opinion, or what its silence counts as.
type OpinionIssued struct {
	Opinion         string `json:"opinion"`
	Reasons         string `json:"reasons,omitempty"`
	Recommendations string `json:"recommendations,omitempty"`
}

// Extended prolongs the clock of one rule, once.
type Extended struct {
	Rule    string `json:"rule"`
	Reasons string `json:"reasons"`
}

// Decided is the authority's authorisation, or a refusal at any step that may refuse.
type Decided struct {
	Reference  string   `json:"reference,omitempty"` // the authority's own number
	Reasons    string   `json:"reasons,omitempty"`
	Conditions []string `json:"conditions,omitempty"`
}

// Drafted holds the exact canonical bytes that the officer is shown and signs.
type Drafted struct {
	Permit json.RawMessage `json:"permit"`
	Digest contract.Digest `json:"digest"`
}

// Signed is the decision, with the orders that left in the same transaction.
type Signed struct {
	Signed contract.SignedPermit `json:"signed"`
	Orders []string              `json:"orders"`
}

// Withdrawn ends a case at the applicant's wish.
type Withdrawn struct {
	Reason string `json:"reason,omitempty"`
}

// OrderAnswered is the final receipt of an order. Report and Workspace hold its body, by kind.
type OrderAnswered struct {
	OrderID   string                    `json:"order_id"`
	Zone      string                    `json:"zone"`
	Status    contract.ReceiptStatus    `json:"status"`
	Code      string                    `json:"code,omitempty"`
	Message   string                    `json:"message,omitempty"`
	Report    *contract.ProvisionReport `json:"report,omitempty"`
	Workspace *contract.WorkspaceOpened `json:"workspace,omitempty"`
}

// Released is one export that two reviewers let out.
type Released struct {
	Export contract.Export `json:"export"`
}

// newEvent builds an event; seq and stream are set when it is appended.
func newEvent(kind Kind, actor Actor, role string, at time.Time, data any) Event {
	e := Event{Kind: kind, Actor: actor.ID, Role: role, At: at.UTC().Truncate(time.Microsecond)}
	if data != nil {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false) // a permit inside must keep the exact bytes that were signed
		if err := enc.Encode(data); err != nil {
			panic(fmt.Sprintf("gateway: event %s: %v", kind, err)) // our own types: only a programming error
		}
		e.Data = bytes.TrimRight(buf.Bytes(), "\n")
	}
	return e
}

// decode reads the event's data strictly: a field that this version does not know is an error, because
// folding around it would show another case than the one that was recorded.
func (e Event) decode(into any) error {
	dec := json.NewDecoder(bytes.NewReader(e.Data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && err != io.EOF {
		return fmt.Errorf("event %s/%d %s: %w", e.Stream, e.Seq, e.Kind, err)
	}
	return nil
}
