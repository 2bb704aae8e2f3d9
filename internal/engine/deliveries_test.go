package engine_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

func sample(seed uint64, persons, rows int) laketest.Data {
	return laketest.Sample(rand.New(rand.NewPCG(seed, 0)), 0, persons, rows)
}

func TestRoutes(t *testing.T) {
	h := startHub(t)
	part := []byte("bytes")
	digest := map[string]string{"Digest": string(contract.DigestOf(part))}
	if status, code := h.put("agent/cnam", "/v1/deliveries/known/tables/PRS/part-0", part); status != 200 {
		t.Fatalf("%d %s", status, code)
	}
	for _, c := range []struct {
		who, method, path string
		body              []byte
		header            map[string]string
		status            int
		code              string
	}{
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-1", part, digest, 200, ""},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-1", part, digest, 200, ""}, // again
		{"agent/oscour", "PUT", "/v1/deliveries/known/tables/PRS/part-2", part, digest, 404, "unknown_delivery"},
		{"zone/portal", "PUT", "/v1/deliveries/known/tables/PRS/part-2", part, digest, 403, "not_allowed"},
		{"zone/enclave", "PUT", "/v1/deliveries/known/tables/PRS/part-2", part, digest, 403, "not_allowed"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-2", part, nil, 400, "digest_missing"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-2", []byte("other"), digest, 422, "digest_mismatch"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-0", []byte("other"), map[string]string{"Digest": string(contract.DigestOf([]byte("other")))}, 409, "part_conflict"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part-2", make([]byte, 5<<20), digest, 413, "too_large"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/..%2f..%2fx", part, digest, 400, "bad_name"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/%2e%2e/part-2", part, digest, 400, "bad_name"},
		{"agent/cnam", "PUT", "/v1/deliveries/..%2fx/tables/PRS/part-2", part, digest, 400, "bad_name"},
		{"agent/cnam", "PUT", "/v1/deliveries/known/tables/PRS/part%00", part, digest, 400, "bad_name"},
		{"agent/cnam", "GET", "/v1/deliveries/known", nil, nil, 200, ""},
		{"agent/oscour", "GET", "/v1/deliveries/known", nil, nil, 404, "unknown_delivery"},
		{"agent/cnam", "GET", "/v1/deliveries/never", nil, nil, 404, "unknown_delivery"},
		{"zone/trust", "GET", "/v1/deliveries/known", nil, nil, 403, "not_allowed"},
		{"agent/cnam", "POST", "/v1/deliveries/known/complete", []byte("{"), nil, 400, "cut_short"},
		{"agent/cnam", "POST", "/v1/deliveries/known/complete", []byte(`{"schema":"x"}`), nil, 422, "invalid"},
		{"agent/cnam", "POST", "/v1/deliveries/known/complete", []byte(`{"extra":1}`), nil, 400, "invalid"},
		{"zone/portal", "POST", "/v1/deliveries/known/complete", []byte("{}"), nil, 403, "not_allowed"},
		{"agent/cnam", "GET", "/v1/lake", nil, nil, 404, "unknown_route"},
		{"agent/cnam", "GET", "/", nil, nil, 404, "unknown_route"},
	} {
		if status, code, _ := h.call(c.who, c.method, c.path, c.body, c.header); status != c.status || code != c.code {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.who, c.method, c.path, status, code, c.status, c.code)
		}
	}
	left, err := filepath.Glob(filepath.Join(h.dir, "tmp", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("refused uploads left %v, %v", left, err)
	}
}

func TestDeliveryIsPublishedAndTold(t *testing.T) {
	h := startHub(t)
	data := sample(1, 47, 400)
	n := h.deliver("d1", data)
	if n.Holder != "cnam" || n.Dataset != "snds" || n.Persons != 50 || n.Rows["PRS"] != int64(len(data.Rows["PRS"])) || n.Rows["REF"] != 6 {
		t.Errorf("%+v", n)
	}
	for year, rows := range n.Years {
		if rows < 11 {
			t.Errorf("year %s tells %d rows", year, rows)
		}
	}
	h.status("d1", "published")
	if status, _ := h.complete("agent/cnam", contract.Delivery{}); status == 202 {
		t.Error("an empty manifest was accepted")
	}
	if _, err := os.Stat(filepath.Join(h.dir, "lake", "cnam", "snds", "current")); err != nil {
		t.Error(err)
	}
	found := map[string]bool{}
	for _, e := range h.entries(2) {
		found[e.Action+" "+e.Outcome] = true
	}
	if !found["delivery.complete accepted"] || !found["delivery.published done"] {
		t.Errorf("ledger: %v", found)
	}
	// Neither tickets nor the sheet stay.
	for ticket := range data.Tickets {
		err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // files of the running zone come and go
			}
			b, err := os.ReadFile(path)
			if err == nil && bytes.Contains(b, ticket[:]) {
				t.Errorf("a ticket is left in %s", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		break
	}
}

func TestCompleteRefuses(t *testing.T) {
	h := startHub(t)
	d := h.upload("agent/cnam", "d1", sample(1, 5, 20))
	for name, c := range map[string]struct {
		who, code string
		change    func(*contract.Delivery)
	}{
		"another holder's dataset": {"agent/cnam", "out_of_scope", func(d *contract.Delivery) { d.Dataset.Holder = "oscour" }},
		"another holder":           {"agent/oscour", "out_of_scope", func(*contract.Delivery) {}},
		"another holder's parts":   {"agent/oscour", "unknown_delivery", func(d *contract.Delivery) { d.Dataset.Holder = "oscour" }},
		"part left out":            {"agent/cnam", "parts_differ", func(d *contract.Delivery) { d.Parts = d.Parts[1:] }},
		"part invented": {"agent/cnam", "parts_differ", func(d *contract.Delivery) {
			d.Parts = append(d.Parts, contract.FilePart{Table: "PRS", Name: "x", Digest: contract.DigestOf(nil)})
		}},
		"part twice":     {"agent/cnam", "parts_differ", func(d *contract.Delivery) { d.Parts = append(d.Parts, d.Parts[0]) }},
		"other digest":   {"agent/cnam", "parts_differ", func(d *contract.Delivery) { d.Parts[0].Digest = contract.DigestOf(nil) }},
		"other size":     {"agent/cnam", "parts_differ", func(d *contract.Delivery) { d.Parts[0].Bytes++ }},
		"identities":     {"agent/cnam", "parts_differ", func(d *contract.Delivery) { d.Parts[0].Table = "" }},
		"another id":     {"agent/cnam", "invalid", func(d *contract.Delivery) { d.ID = "d2" }},
		"unknown table":  {"agent/cnam", "invalid", func(d *contract.Delivery) { d.Parts[0].Table = "NO" }},
		"no dataset":     {"agent/cnam", "invalid", func(d *contract.Delivery) { d.Dataset.Tables = nil }},
		"name as a path": {"agent/cnam", "invalid", func(d *contract.Delivery) { d.Dataset.Dataset = "../x" }},
	} {
		t.Run(name, func(t *testing.T) {
			var bad contract.Delivery
			b, err := json.Marshal(d)
			check(t, err)
			check(t, json.Unmarshal(b, &bad))
			c.change(&bad)
			b, err = json.Marshal(bad)
			check(t, err)
			status, code, _ := h.call(c.who, "POST", "/v1/deliveries/d1/complete", b, nil)
			if status < 400 || code != c.code {
				t.Errorf("%d %s, want %s", status, code, c.code)
			}
		})
	}
	func() {
		defer h.lock()()
		h.refused["d1"] = "refused"
	}()
	if status, code := h.complete("agent/cnam", d); status != 202 {
		t.Fatalf("%d %s", status, code)
	}
	if reason := h.status("d1", "refused"); !strings.Contains(reason, "refused: trust") {
		t.Errorf("reason %q", reason)
	}
	if status, code := h.complete("agent/cnam", d); status != 202 { // said again: the same answer
		t.Errorf("%d %s", status, code)
	}
	if status, code := h.put("agent/cnam", "/v1/deliveries/d1/tables/PRS/late", []byte("x")); status != 409 || code != "delivery_closed" {
		t.Errorf("%d %s", status, code)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "incoming", "d1")); err == nil {
		t.Error("parts of a refused delivery stay")
	}
}

func TestDeliveryAtFaultLeavesTheLakeAsItWas(t *testing.T) {
	h := startHub(t)
	h.deliver("d1", sample(1, 10, 50))
	current := filepath.Join(h.dir, "lake", "cnam", "snds", "current")
	before, err := os.ReadFile(current)
	check(t, err)
	data := sample(2, 10, 50)
	d := h.upload("agent/cnam", "d2", data)
	func() {
		defer h.lock()()
		for ticket := range data.Tickets { // trust knows one ticket less
			delete(data.Tickets, ticket)
			break
		}
		data.Tickets[laketest.Ticket()] = laketest.H(1)
		h.sheets["d2"] = laketest.SheetBytes(t, "d2", data)
	}()
	if status, code := h.complete("agent/cnam", d); status != 202 {
		t.Fatalf("%d %s", status, code)
	}
	if reason := h.status("d2", "refused"); !strings.Contains(reason, "unknown_ticket") {
		t.Errorf("reason %q", reason)
	}
	after, err := os.ReadFile(current)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the lake changed: %v", err)
	}
}

// The zone ends while it waits for trust, and again while parts arrive; nothing is lost.
func TestDeliveryResumes(t *testing.T) {
	h := startHub(t)
	data := sample(1, 20, 100)
	dir := t.TempDir()
	d := laketest.WriteParts(t, dir, "d1", data, 2)
	for i, p := range d.Parts {
		if i == len(d.Parts)/2 {
			h.stop()
			h.run()
		}
		b, err := os.ReadFile(filepath.Join(dir, p.Table, p.Name))
		check(t, err)
		if status, code := h.put("agent/cnam", "/v1/deliveries/d1/tables/"+p.Table+"/"+p.Name, b); status != 200 {
			t.Fatalf("%d %s", status, code)
		}
	}
	if status, code := h.complete("agent/cnam", d); status != 202 {
		t.Fatalf("%d %s", status, code)
	}
	h.status("d1", "joining")
	h.stop()
	func() {
		defer h.lock()()
		h.sheets["d1"] = laketest.SheetBytes(t, "d1", data)
	}()
	h.run()
	h.status("d1", "published")
	h.until("the notice", func() bool {
		for _, n := range h.notices {
			if n.Kind == "delivery" {
				return true
			}
		}
		return false
	})
}
