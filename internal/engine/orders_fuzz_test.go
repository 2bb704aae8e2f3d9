package engine

import (
	"encoding/json"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

func FuzzParseOrder(f *testing.F) {
	f.Add([]byte(`{"schema":"mitral.order/1","id":"order-1","zone":"engine","kind":"provision","created_at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"id":"../x"}`))
	f.Add([]byte(`{"id":"a","permit":{"permit":{},"assertion":{}},"body":[1]}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOrder(b)
		if err != nil {
			return
		}
		if !contract.ValidName(o.ID) || len(o.ID) > maxOrderID {
			t.Fatalf("id %q", o.ID)
		}
		if !contract.ValidName(o.ID+"-attempt-99999") || !contract.ValidName(o.ID+"-accepted") {
			t.Fatalf("receipts of %q have no valid id", o.ID)
		}
		if _, err := json.Marshal(o); err != nil {
			t.Fatalf("an order that was read cannot be kept: %v", err)
		}
	})
}
