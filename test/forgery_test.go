package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demo"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/ledger"
)

// testForgery is HOUSE's second invariant: the portal's process is replaced by one that holds its
// certificate and offers whatever it likes. Every forged order must be refused with its reason, and the
// refusal must stand in the ledger.
func testForgery(t *testing.T, ctx context.Context, h *demo.Hub) {
	c, err := h.SignIn(ctx, "researcher", "1")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Applications []struct {
			PermitID string `json:"permit_id"`
		} `json:"applications"`
	}
	if err := c.Call(ctx, http.MethodGet, "/api/v1/applications", nil, &list); err != nil {
		t.Fatal(err)
	}
	var good contract.SignedPermit
	for _, a := range list.Applications {
		if a.PermitID != "" {
			if err := c.Call(ctx, http.MethodGet, "/api/v1/permits/"+a.PermitID, nil, &good); err != nil {
				t.Fatal(err)
			}
		}
	}
	stranger, err := demo.OpenSoftKey(filepath.Join(t.TempDir(), "stranger.key"))
	if err != nil {
		t.Fatal(err)
	}
	// permit makes a permit of its own from the good one.
	permit := func(key *demo.SoftKey, change func(*contract.Permit)) *contract.SignedPermit {
		t.Helper()
		var p contract.Permit
		if err := json.Unmarshal(good.Permit, &p); err != nil {
			t.Fatal(err)
		}
		p.ID = contract.NewID("permit")
		change(&p)
		challenge, err := p.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		a, err := key.Assert("localhost", h.PortalURL(), challenge)
		if err != nil {
			t.Fatal(err)
		}
		a.OfficerID = good.Assertion.OfficerID
		raw, err := contract.Canonical(p)
		if err != nil {
			t.Fatal(err)
		}
		return &contract.SignedPermit{Permit: raw, Assertion: a}
	}
	var wider contract.Permit
	if err := json.Unmarshal(good.Permit, &wider); err != nil {
		t.Fatal(err)
	}
	wider.MinCell = 1
	widened, err := contract.Canonical(wider)
	if err != nil {
		t.Fatal(err)
	}
	forged := []struct {
		name, code string
		permit     *contract.SignedPermit
	}{
		{"no permit at all", "unsigned", nil},
		{"no signature", "unsigned", &contract.SignedPermit{Permit: good.Permit}},
		{"one field changed", "altered", &contract.SignedPermit{Permit: widened, Assertion: good.Assertion}},
		{"signed by a stranger", "unknown_officer", permit(stranger, func(*contract.Permit) {})},
		{"expired", "expired", permit(h.Key(), func(p *contract.Permit) {
			p.ValidFrom, p.ValidUntil = h.Now().Add(-2*time.Hour), h.Now().Add(-time.Hour)
		})},
		{"not yet in force", "not_yet_valid", permit(h.Key(), func(p *contract.Permit) { p.ValidFrom = h.Now().AddDate(0, 1, 0) })},
		{"replayed under a new order", "replayed", &good},
	}
	receipts := map[string]contract.Receipt{}
	var mu sync.Mutex
	var orders = map[string][]contract.NumberedOrder{}
	expect := map[string]string{}
	for _, f := range forged {
		for zone, kind := range map[string]contract.OrderKind{contract.ZoneEngine: contract.OrderProvision, contract.ZoneEnclave: contract.OrderWorkspace} {
			if zone == contract.ZoneEnclave && f.code == "replayed" {
				continue // opening a workspace that is open gives nothing away
			}
			o := contract.Order{Schema: contract.OrderSchema, ID: contract.NewID("order"), Zone: zone, Kind: kind, CreatedAt: h.Now(), Permit: f.permit}
			orders[zone] = append(orders[zone], contract.NumberedOrder{Seq: 1_000_000 + int64(len(orders[zone])), Order: o})
			expect[o.ID] = f.code
			if zone == contract.ZoneEngine && f.permit != nil { // a count under a permit for data, or a forged mandate
				q, _ := json.Marshal(contract.FeasibilityQuery{Asker: "x", Cohort: wider.Cohort})
				o := contract.Order{Schema: contract.OrderSchema, ID: contract.NewID("order"), Zone: zone, Kind: contract.OrderFeasibility, CreatedAt: h.Now(), Permit: f.permit, Body: q}
				orders[zone] = append(orders[zone], contract.NumberedOrder{Seq: 1_000_000 + int64(len(orders[zone])), Order: o})
				expect[o.ID] = "" // any reason
			}
		}
	}
	all := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orderbook/v1/orders", func(w http.ResponseWriter, r *http.Request) {
		_, zone := httpx.PeerOf(r)
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		out := []contract.NumberedOrder{}
		for _, o := range orders[zone] {
			if o.Seq > after {
				out = append(out, o)
			}
		}
		if len(out) == 0 {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Second):
			}
		}
		httpx.JSON(w, http.StatusOK, map[string]any{"orders": out})
	})
	mux.HandleFunc("POST /orderbook/v1/receipts", func(w http.ResponseWriter, r *http.Request) {
		var rec contract.Receipt
		if err := json.NewDecoder(r.Body).Decode(&rec); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, known := expect[rec.OrderID]; known && rec.Status.Final() {
			if _, again := receipts[rec.OrderID]; !again {
				receipts[rec.OrderID] = rec
				if len(receipts) == len(expect) {
					close(all)
				}
			}
		}
		httpx.JSON(w, http.StatusOK, map[string]any{})
	})
	mux.HandleFunc("POST /orderbook/v1/notices", func(w http.ResponseWriter, r *http.Request) { httpx.JSON(w, http.StatusOK, map[string]any{}) })

	portal := h.Process(contract.ZonePortal)
	portal.Stop()
	taken, err := httpx.ServeMutual(ctx, h.Address(contract.ZonePortal), h.TLS(contract.ZonePortal), mux)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Errorf("only %d of %d forged orders were answered", len(receipts), len(expect))
	}
	stop, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	taken.Shutdown(stop)

	mu.Lock()
	defer mu.Unlock()
	for zone, list := range orders {
		for _, o := range list {
			r, answered := receipts[o.Order.ID]
			want := expect[o.Order.ID]
			if answered && (r.Status != contract.ReceiptRefused || (want != "" && r.Code != want) || len(r.Body) > 0) {
				t.Errorf("%s answered a forged %s order with %s %q %s, want refused %q", zone, o.Order.Kind, r.Status, r.Code, r.Message, want)
			}
		}
		if err := refusedInLedger(ctx, h, zone, list); err != nil {
			t.Error(err)
		}
	}
	if err := portal.Start(); err != nil {
		t.Fatal(err)
	}
}

// refusedInLedger waits until every order has an entry in the zone's ledger.
func refusedInLedger(ctx context.Context, h *demo.Hub, zone string, list []contract.NumberedOrder) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		entries, err := ledger.Entries(ctx, filepath.Join(h.ZoneDir(zone), "ledger"))
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, e := range entries {
			seen[e.Target] = true
		}
		missing := 0
		for _, o := range list {
			if !seen[o.Order.ID] {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d refusals do not stand in the ledger", zone, missing)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
