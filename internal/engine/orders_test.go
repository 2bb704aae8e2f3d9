package engine_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

// dataPermit asks for the claims of persons with diabetes codes.
func dataPermit() contract.Permit {
	p := contracttest.Permit(time.Now())
	p.ID = contract.NewID("permit")
	p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{
		{Table: "PRS", Columns: []string{"DAY", "CODE"}}, {Table: "BEN", Columns: []string{"YEAR"}}}}}
	p.Cohort = contract.Cohort{Period: p.Period, AnyOf: []contract.Criterion{
		{Holder: "cnam", Dataset: "snds", Table: "PRS", Column: "CODE", Codes: []string{"E11"}, Prefix: true}}}
	return p
}

func (h *hub) signed(p contract.Permit) *contract.SignedPermit {
	s := h.officer.Sign(h.t, p)
	return &s
}

func TestProvisionOrder(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 60, 900))
	objector := laketest.H(3)
	h.roll = objector[:]
	p := dataPermit()
	o := h.newOrder(contract.OrderProvision, h.signed(p), nil)
	r := h.carriedOut(o)
	if r.Status != contract.ReceiptDone {
		t.Fatalf("%+v", r)
	}
	var report contract.ProvisionReport
	check(t, json.Unmarshal(r.Body, &report))
	if report.PermitID != p.ID || report.Persons.Objected > 0 || report.Persons.Delivered%10 != 0 || report.Persons.Delivered == 0 || len(report.Tables) != 2 {
		t.Errorf("protected report: %+v", report)
	}
	dir := filepath.Join(h.cfg.Handover, p.ID, o.ID)
	b, err := os.ReadFile(filepath.Join(dir, "handover.json"))
	check(t, err)
	var full contract.Handover
	check(t, json.Unmarshal(b, &full))
	if full.Report.Persons.Objected != 1 || full.Report.Persons.Delivered == 0 || full.OrderID != o.ID || len(full.Files) != 2 {
		t.Errorf("full report: %+v", full.Report.Persons)
	}
	for _, f := range full.Files {
		sealed, err := os.ReadFile(filepath.Join(dir, f.Name+".age"))
		check(t, err)
		reader, err := age.Decrypt(bytes.NewReader(sealed), h.workspace)
		check(t, err)
		plain, err := io.ReadAll(reader)
		check(t, err)
		if contract.DigestOf(plain) != f.Digest {
			t.Errorf("%s has another digest", f.Name)
		}
		path := filepath.Join(t.TempDir(), f.Name)
		check(t, os.WriteFile(path, plain, 0o600))
		if rows := laketest.ReadRows(t, path); len(rows) == 0 {
			t.Errorf("%s is empty", f.Name)
		}
	}
	h.until("the receipt of acceptance", func() bool {
		for _, r := range h.receipts {
			if r.OrderID == o.ID && r.Status == contract.ReceiptAccepted {
				return true
			}
		}
		return false
	})
	h.mu.Lock()
	asked := h.rolls
	h.mu.Unlock()
	if len(asked) != 1 || asked[0] != "" {
		t.Errorf("the roll was asked for as of %q", asked)
	}

	// The same order again, as the portal sends it after a restart: the same receipt, nothing done anew.
	h.stop()
	func() {
		defer h.lock()()
		h.receipts = nil
	}()
	h.run()
	h.until("the old receipt", func() bool { return h.final(o.ID) != nil })
	func() {
		defer h.lock()()
		if d := cmp.Diff(r.ID, h.final(o.ID).ID); d != "" || len(h.rolls) != 1 {
			t.Errorf("another answer: %s, %d rolls", d, len(h.rolls))
		}
	}()

	// A second order for the same version is a replay; the next version is not.
	if r := h.carriedOut(h.newOrder(contract.OrderProvision, h.signed(p), nil)); r.Status != contract.ReceiptRefused || r.Code != "replayed" {
		t.Errorf("%+v", r)
	}
	p.Version = 2
	if r := h.carriedOut(h.newOrder(contract.OrderProvision, h.signed(p), nil)); r.Status != contract.ReceiptDone {
		t.Errorf("%+v", r)
	}
	outcomes := map[string]int{}
	for _, e := range h.entries(7) {
		outcomes[e.Action+" "+e.Outcome]++
		if strings.Contains(string(mustJSON(t, e)), "E11") {
			t.Errorf("the ledger tells of the permit's content: %+v", e)
		}
	}
	if outcomes["order.provision done"] != 2 || outcomes["order.provision replayed"] != 1 {
		t.Errorf("ledger: %v", outcomes)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	check(t, err)
	return b
}

func TestOrdersWithoutRightAreRefused(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 20, 100))
	stranger := contracttest.NewOfficer(t, "officer-9")
	altered := h.signed(dataPermit())
	altered.Permit = bytes.Replace(altered.Permit, []byte(`"min_cell":11`), []byte(`"min_cell":10`), 1)
	foreign := stranger.Sign(t, dataPermit())
	with := func(change func(*contract.Permit)) *contract.SignedPermit {
		p := dataPermit()
		change(&p)
		return h.signed(p)
	}
	unsigned := h.signed(dataPermit())
	unsigned.Assertion = contract.Assertion{}
	cases := []struct {
		name, code, says string
		order            contract.Order
	}{
		{"no permit", "unsigned", "", h.newOrder(contract.OrderProvision, nil, nil)},
		{"unsigned", "unsigned", "", h.newOrder(contract.OrderProvision, unsigned, nil)},
		{"altered", "altered", "", h.newOrder(contract.OrderProvision, altered, nil)},
		{"unknown officer", "unknown_officer", "", h.newOrder(contract.OrderProvision, &foreign, nil)},
		{"expired", "expired", "", h.newOrder(contract.OrderProvision, with(func(p *contract.Permit) { p.ValidUntil = time.Now().UTC().Add(-time.Minute) }), nil)},
		{"not yet valid", "not_yet_valid", "", h.newOrder(contract.OrderProvision, with(func(p *contract.Permit) { p.ValidFrom = time.Now().UTC().Add(time.Hour) }), nil)},
		{"feasibility permit", "out_of_scope", "delivers no data", h.newOrder(contract.OrderProvision, with(func(p *contract.Permit) { p.Kind = contract.PermitFeasibility }), nil)},
		{"unknown columns", "out_of_scope", "column NO of table cnam/snds.PRS does not exist; column NIR of table cnam/snds.BEN is an identity",
			h.newOrder(contract.OrderProvision, with(func(p *contract.Permit) {
				p.Datasets[0].Tables[0].Columns = []string{"NO"}
				p.Datasets[0].Tables[1].Columns = []string{"NIR"}
			}), nil)},
		{"body", "invalid", "no body", h.newOrder(contract.OrderProvision, h.signed(dataPermit()), map[string]int{"more": 1})},
		{"data permit for a count", "out_of_scope", "answers no counts", h.newOrder(contract.OrderFeasibility, h.signed(dataPermit()), contract.FeasibilityQuery{Asker: "a", Cohort: dataPermit().Cohort})},
		{"workspace", "invalid", "no order of kind", h.newOrder(contract.OrderWorkspace, h.signed(dataPermit()), nil)},
		{"other zone", "invalid", "for zone", func() contract.Order {
			o := h.newOrder(contract.OrderProvision, h.signed(dataPermit()), nil)
			o.Zone = "enclave"
			return o
		}()},
		{"other version", "invalid", "of version", func() contract.Order {
			o := h.newOrder(contract.OrderProvision, h.signed(dataPermit()), nil)
			o.Schema = "mitral.order/9"
			return o
		}()},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := h.carriedOut(c.order)
			if r.Status != contract.ReceiptRefused || r.Code != c.code || !strings.Contains(r.Message, c.says) {
				t.Errorf("%+v, want %s: %s", r, c.code, c.says)
			}
		})
	}
	refused := map[string]string{}
	for _, e := range h.entries(len(cases) + 3) {
		refused[e.Target] = e.Outcome
	}
	for _, c := range cases {
		// A scope refusal comes after acceptance: the last entry about the order counts.
		if got := refused[c.order.ID]; got != c.code && got != "accepted" {
			t.Errorf("%s: the ledger says %q, want %q", c.name, got, c.code)
		}
	}
	if entries, err := os.ReadDir(h.cfg.Handover); err != nil || len(entries) > 0 {
		for _, e := range entries {
			if files, _ := filepath.Glob(filepath.Join(h.cfg.Handover, e.Name(), "*")); len(files) > 0 {
				t.Errorf("something was handed over: %v", files)
			}
		}
	}
}

func TestOrderWithOtherContentUnderAKnownID(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 20, 100))
	o := h.newOrder(contract.OrderProvision, h.signed(dataPermit()), nil)
	first := h.carriedOut(o)
	o.Permit = h.signed(dataPermit())
	func() {
		defer h.lock()()
		h.receipts = nil
		h.orders = nil
	}()
	h.stop()
	h.run()
	r := h.carriedOut(o)
	if r.ID != first.ID || string(r.Body) != string(first.Body) {
		t.Errorf("another order under the same id was answered: %+v", r)
	}
	replayed := false
	for _, e := range h.entries(5) {
		replayed = replayed || (e.Target == o.ID && e.Outcome == "replayed")
	}
	if !replayed {
		t.Error("the replay is not in the ledger")
	}
}

func TestUnreadableOrderDoesNotStopTheQueue(t *testing.T) {
	h := startHub(t)
	h.order(contract.Order{Schema: contract.OrderSchema, ID: "../etc", Zone: "engine", Kind: contract.OrderProvision})
	if r := h.carriedOut(h.newOrder(contract.OrderProvision, nil, nil)); r.Code != "unsigned" {
		t.Errorf("%+v", r)
	}
}

// Trust and vault are away at first; the zone stops and starts meanwhile, while a run waits, and new data
// arrive. The dataset is made once, from the data of the beginning.
func TestProvisionResumes(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 60, 900))
	func() {
		defer h.lock()()
		h.down = true
	}()
	o := h.newOrder(contract.OrderProvision, h.signed(dataPermit()), nil)
	h.order(o)
	h.until("news of a failed attempt", func() bool {
		for _, r := range h.receipts {
			if r.Status == contract.ReceiptProgress && strings.Contains(r.Message, "Will be tried again") {
				return true
			}
		}
		return false
	})
	h.stop()
	func() {
		defer h.lock()()
		h.down, h.hang = false, make(chan struct{})
	}()
	h.run()
	h.stop() // in the middle of whatever it was doing
	func() {
		defer h.lock()()
		close(h.hang)
		h.hang = nil
	}()
	h.run()
	h.until("the final receipt", func() bool { return h.final(o.ID) != nil })
	h.mu.Lock()
	r := *h.final(o.ID)
	h.mu.Unlock()
	var report contract.ProvisionReport
	if r.Status != contract.ReceiptDone {
		t.Fatalf("%+v", r)
	}
	check(t, json.Unmarshal(r.Body, &report))
	if report.Tables[0].RowsIn == 0 {
		t.Errorf("%+v", report)
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// standing is the mandate under which counts are answered.
func standing() contract.Permit {
	p := dataPermit()
	p.Kind, p.RoundTo, p.MinCell = contract.PermitFeasibility, 10, 11
	p.Datasets[0].Tables = []contract.TableScope{{Table: "PRS"}, {Table: "BEN"}}
	return p
}

func TestFeasibilityOrders(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 200, 3000))
	permit := h.signed(standing())
	all := contract.Cohort{All: true, Period: standing().Period}
	ask := func(asker string, c contract.Cohort) contract.Receipt {
		t.Helper()
		return h.carriedOut(h.newOrder(contract.OrderFeasibility, permit, contract.FeasibilityQuery{Asker: asker, Cohort: c}))
	}
	answer := func(r contract.Receipt) (a contract.FeasibilityAnswer) {
		t.Helper()
		if r.Status != contract.ReceiptDone {
			t.Fatalf("%+v", r)
		}
		check(t, json.Unmarshal(r.Body, &a))
		return a
	}
	first := answer(ask("alice", all))
	if first.Hidden || first.Count != 200 || first.MinCell != 11 || first.RoundTo != 10 {
		t.Errorf("%+v", first)
	}
	objector := laketest.H(1)
	h.mu.Lock()
	h.roll = bytes.Repeat(objector[:], 1)
	h.mu.Unlock()
	if again := answer(ask("alice", all)); again.Count != first.Count {
		t.Errorf("the same question: %+v then %+v", first, again)
	}
	rare := contract.Cohort{Period: all.Period, AnyOf: []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "PRS", Column: "CODE", Codes: []string{"Z99"}}}}
	if a := answer(ask("alice", rare)); !a.Hidden || a.Count != 0 {
		t.Errorf("%+v", a)
	}
	elsewhere := rare
	elsewhere.AnyOf = []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "RPU", Column: "DIAG", Codes: []string{"E11"}}}
	if r := ask("alice", elsewhere); r.Code != "out_of_scope" || !strings.Contains(r.Message, "not open to counts") {
		t.Errorf("%+v", r)
	}
	if r := h.carriedOut(h.newOrder(contract.OrderFeasibility, permit, map[string]string{"asker": "alice", "sql": "1"})); r.Code != "invalid" {
		t.Errorf("%+v", r)
	}
	if r := ask("", all); r.Code != "invalid" {
		t.Errorf("%+v", r)
	}
	// Three answered questions, five in a day: refusals cost nothing.
	answer(ask("alice", all))
	answer(ask("alice", all))
	if r := ask("alice", all); r.Status != contract.ReceiptRefused || r.Code != "budget" {
		t.Errorf("%+v", r)
	}
	answer(ask("bob", all))
	h.mu.Lock()
	asked := h.rolls
	h.mu.Unlock()
	if len(asked) != 1 || asked[0] != "now" {
		t.Errorf("the roll was asked for as of %q", asked)
	}
	counts := map[string]int{}
	for _, e := range h.entries(12) {
		if e.Action == "order.feasibility" {
			counts[e.Outcome]++
			if body, _ := e.Details["body"].(string); !strings.HasPrefix(body, "sha256:") {
				t.Errorf("a question without its digest: %+v", e)
			}
		}
	}
	if d := cmp.Diff(map[string]int{"done": 6, "out_of_scope": 1, "invalid": 2, "budget": 1}, counts); d != "" {
		t.Error(d)
	}
}

func TestCountsWhileTrustIsAway(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 20, 100))
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	q := contract.FeasibilityQuery{Asker: "a", Cohort: contract.Cohort{All: true, Period: standing().Period}}
	if r := h.carriedOut(h.newOrder(contract.OrderFeasibility, h.signed(standing()), q)); r.Status != contract.ReceiptFailed || r.Code != "unavailable" || len(r.Body) > 0 {
		t.Errorf("without a roll there is no answer: %+v", r)
	}
}
