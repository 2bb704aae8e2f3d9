package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
)

// MaxEntry is the largest entry, in bytes of canonical JSON. A tlog-tiles bundle allows 65535.
const MaxEntry = 60_000

// Entry is one line of a ledger. Details is free, and public: never an identity, NIR, pseudonym or small
// count.
type Entry struct {
	ID      string         `json:"id"` // UUID version 7, so ids sort by time
	Zone    string         `json:"zone"`
	At      time.Time      `json:"at"`
	Actor   string         `json:"actor"`   // who: "zone/engine", "agent/cnam", an account or officer id
	Action  string         `json:"action"`  // what: "permit.signed"
	Target  string         `json:"target"`  // on what: "permit-4k2m…"
	Outcome string         `json:"outcome"` // "done", "refused", or a refusal code
	Details map[string]any `json:"details"`
}

// encode fills in what is missing and returns the entry's canonical JSON (RFC 8785).
func (e Entry) encode() (id string, data []byte, err error) {
	if e.Action == "" || e.Outcome == "" {
		return "", nil, errors.New("an entry needs an action and an outcome")
	}
	if e.ID == "" {
		u, err := uuid.NewV7()
		if err != nil {
			return "", nil, err
		}
		e.ID = u.String()
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return "", nil, fmt.Errorf("entry: %w", err)
	}
	data, err = jcs.Transform(raw)
	if err != nil {
		return "", nil, fmt.Errorf("entry: %w", err)
	}
	if len(data) > MaxEntry {
		return "", nil, fmt.Errorf("entry of %d bytes: the largest is %d", len(data), MaxEntry)
	}
	return e.ID, data, nil
}

// Decode reads an entry of a log.
func Decode(data []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("ledger entry: %w", err)
	}
	if e.ID == "" {
		return Entry{}, errors.New("ledger entry: no id")
	}
	return e, nil
}
