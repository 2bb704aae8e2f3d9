package contract

import (
	"encoding/json"
	"time"
)

// Zone names. A certificate carries one of them as URI mitral://zone/<name>, or mitral://agent/<holder>.
const (
	ZonePortal  = "portal"
	ZoneTrust   = "trust"
	ZoneVault   = "vault"
	ZoneEngine  = "engine"
	ZoneEnclave = "enclave"
)

// OrderKind says what an inner zone is asked to do.
type OrderKind string

const (
	OrderFeasibility OrderKind = "feasibility" // engine; permit of kind feasibility; Body: FeasibilityQuery
	OrderProvision   OrderKind = "provision"   // engine; permit of kind data; no body
	OrderWorkspace   OrderKind = "workspace"   // enclave; permit of kind data; no body
	OrderObjection   OrderKind = "objection"   // trust; a citizen's own declaration, no permit; Body: SealedObjection
)

// OrderSchema names the version of the order document.
const OrderSchema = "mitral.order/1"

// Order is one line of the portal's order book. The portal's word is worth nothing by itself: what
// authorises is the permit inside, or for an objection the citizen's identity token.
type Order struct {
	Schema    string          `json:"schema"`
	ID        string          `json:"id"`
	Zone      string          `json:"zone"`
	Kind      OrderKind       `json:"kind"`
	CreatedAt time.Time       `json:"created_at"`
	Permit    *SignedPermit   `json:"permit,omitempty"`
	Body      json.RawMessage `json:"body,omitempty"`
}

// NumberedOrder is an order with its place in the zone's queue.
type NumberedOrder struct {
	Seq   int64 `json:"seq"`
	Order Order `json:"order"`
}

// FeasibilityQuery asks how many persons a cohort has. Asker is a portal account id, for the log and the
// daily budget.
type FeasibilityQuery struct {
	Asker  string `json:"asker"`
	Cohort Cohort `json:"cohort"`
}

// FeasibilityAnswer is a protected count: hidden below the permit's min_cell, else rounded to round_to.
type FeasibilityAnswer struct {
	Hidden  bool   `json:"hidden"`
	Count   int64  `json:"count"` // 0 when hidden
	MinCell int    `json:"min_cell"`
	RoundTo int    `json:"round_to"`
	Rule    string `json:"rule"` // how it was protected, for people
	Millis  int64  `json:"millis"`
}

// ReceiptStatus is how far an order has come.
type ReceiptStatus string

const (
	ReceiptAccepted ReceiptStatus = "accepted"
	ReceiptProgress ReceiptStatus = "progress"
	ReceiptDone     ReceiptStatus = "done"    // final
	ReceiptRefused  ReceiptStatus = "refused" // final: not authorised or not valid
	ReceiptFailed   ReceiptStatus = "failed"  // final: could not be done
)

// Final reports whether no further receipt follows.
func (s ReceiptStatus) Final() bool {
	return s == ReceiptDone || s == ReceiptRefused || s == ReceiptFailed
}

// Receipt answers an order. ID makes resending harmless.
type Receipt struct {
	ID      string          `json:"id"`
	OrderID string          `json:"order_id"`
	Zone    string          `json:"zone"`
	Status  ReceiptStatus   `json:"status"`
	At      time.Time       `json:"at"`
	Code    string          `json:"code,omitempty"`    // refusal code
	Message string          `json:"message,omitempty"` // plain English; never an identity, pseudonym or small count
	Done    int64           `json:"done,omitempty"`    // progress: units done …
	Total   int64           `json:"total,omitempty"`   // … of
	Unit    string          `json:"unit,omitempty"`    // "rows", "tables"
	Body    json.RawMessage `json:"body,omitempty"`    // FeasibilityAnswer, ProvisionReport, WorkspaceOpened, ObjectionReceipt
}

// Notice is news from an inner zone that answers no order.
type Notice struct {
	ID   string          `json:"id"`
	Zone string          `json:"zone"`
	Kind string          `json:"kind"` // "delivery" (DeliveryNotice), "checkpoint" (CheckpointNotice)
	At   time.Time       `json:"at"`
	Body json.RawMessage `json:"body"`
}

// CheckpointNotice publishes the signed head of a zone's ledger (C2SP tlog-checkpoint) and its note
// verifier key.
type CheckpointNotice struct {
	Checkpoint  string `json:"checkpoint"`
	VerifierKey string `json:"verifier_key"`
}

// ObjectionStatement is what a citizen declares (Art. 71). It reaches the portal only on its way into
// the seal. IDToken is the identity provider's signed token, which trust verifies itself.
type ObjectionStatement struct {
	Number  string    `json:"number"` // receipt number shown to the citizen
	Action  string    `json:"action"` // "object" or "withdraw"
	FiledAt time.Time `json:"filed_at"`
	IDToken string    `json:"id_token"`
}

// SealedObjection is what the portal stores: the statement sealed with age to trust's recipient.
type SealedObjection struct {
	Number string `json:"number"`
	Sealed []byte `json:"sealed"`
}

// ObjectionReceipt is trust's answer, without any identity. Outcome is "recorded", "withdrawn" or
// "not_identified" (no person, or more than one, fits the identity: the citizen is told what to do).
type ObjectionReceipt struct {
	Number  string    `json:"number"`
	Outcome string    `json:"outcome"`
	Since   time.Time `json:"since"`
}
