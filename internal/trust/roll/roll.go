// Package roll is the objection roll (Regulation (EU) 2025/327 Art. 71): who has objected to secondary
// use, as events that only ever grow. Package trust records a citizen's objections and withdrawals here and asks
// who had objected at a permit's date.
//
// An answer about an instant is final: each instant that was asked about moves a frontier, and what is recorded
// later takes effect after it. So a project's data can be produced again with the same persons left out.
//
// It knows persons by trust's own numbers only.
package roll

import (
	"cmp"
	"slices"
	"time"
)

// Actions of a statement (contract.ObjectionStatement).
const (
	Object   = "object"
	Withdraw = "withdraw"
)

// Event is one objection or withdrawal.
type Event struct {
	Seq    int64
	Person [16]byte
	// Number is the receipt number that the citizen was given.
	Number string
	Action string
	// Effective is when it counts from: the instant of filing, or the first one about which no answer was given.
	Effective time.Time
}

// objecting folds the events with Effective ≤ at into the persons who object at that instant, sorted.
func objecting(events []Event, at time.Time) [][16]byte {
	sorted := slices.Clone(events)
	slices.SortFunc(sorted, func(a, b Event) int {
		return cmp.Or(a.Effective.Compare(b.Effective), cmp.Compare(a.Seq, b.Seq))
	})
	on := map[[16]byte]bool{}
	for _, e := range sorted {
		if e.Effective.After(at) {
			break
		}
		on[e.Person] = e.Action == Object
	}
	var out [][16]byte
	for p, yes := range on {
		if yes {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	return out
}
