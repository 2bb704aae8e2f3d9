package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/trust/pseudonym"
)

// TestDeliveries walks two deliveries of the same people from parts to sealed sheet, on both databases.
func TestDeliveries(t *testing.T) {
	for name, dsn := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return pgtest.Start(t) }} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, dsn())
			m, _ := h.start(t)
			agent, engine := h.client(m.Addr(), "agent", "cnam"), h.client(m.Addr(), "zone", "engine")
			first := people(300)
			one := ship("d1", first, 3)
			if status, b := engine.do(t, "GET", "/v1/sheets/d1", nil, ""); status != 404 || code(b) != "not_ready" {
				t.Fatalf("sheet before the delivery: %d %s", status, b)
			}
			for range 2 { // said twice, done once
				if status, b := one.send(t, agent); status != 202 {
					t.Fatalf("%d %s", status, b)
				}
			}
			if status, reason := settled(t, agent, "d1"); status != statusLinked {
				t.Fatalf("%s: %s", status, reason)
			}
			status, sealed := engine.do(t, "GET", "/v1/sheets/d1", nil, "")
			if status != 200 {
				t.Fatalf("%d %s", status, sealed)
			}
			s1 := h.openSheet(t, sealed)
			if s1.Schema != "mitral.sheet/1" || s1.Delivery != "d1" || s1.Epoch != pseudonym.Epoch || s1.Report.NewPersons != 300 || len(s1.hub) != 300 {
				t.Fatalf("%+v", s1.TicketSheetHeader)
			}
			again := slices.Clone(first)
			for i := range again {
				again[i].Ticket = newTicket()
				if i%2 == 0 {
					again[i].NIR = "" // found by traits
				}
			}
			two := ship("d2", append(again, contract.Identity{Ticket: newTicket(), LocalID: "new"}), 1)
			two.send(t, agent)
			if status, reason := settled(t, agent, "d2"); status != statusLinked {
				t.Fatalf("%s: %s", status, reason)
			}
			_, sealed = engine.do(t, "GET", "/v1/sheets/d2", nil, "")
			s2 := h.openSheet(t, sealed)
			for i := range first {
				if s1.hub[ticket(first[i].Ticket)] != s2.hub[ticket(again[i].Ticket)] {
					t.Fatalf("person %d has two pseudonyms", i)
				}
			}
			if s2.Report.KnownPersons != 300 || s2.Report.NewPersons != 1 || s2.Report.ByRule["nir"] != 150 || s2.Report.ByRule["birth_traits"] != 150 {
				t.Fatalf("%+v", s2.Report)
			}
			if status, b := engine.do(t, "GET", "/v1/sheets/d1", nil, ""); status != 410 || code(b) != "superseded" {
				t.Fatalf("superseded sheet: %d %s", status, b)
			}
			if left, err := os.ReadDir(h.cfg.incoming("")); err != nil || len(left) != 0 {
				t.Fatalf("identities stay in the clear after linkage: %v, %v", left, err)
			}
		})
	}
}

// TestRefusedDeliveries: what is wrong is refused whole, with the place, and no person is made.
func TestRefusedDeliveries(t *testing.T) {
	h := newHub(t, "")
	m, _ := h.start(t)
	agent := h.client(m.Addr(), "agent", "cnam")
	good := people(3)
	line := func(id contract.Identity) string {
		b, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	text := line(good[0]) + line(good[1]) + line(good[2])
	truncated := gz([]byte(text))
	for i, c := range []struct {
		name   string
		part   []byte
		rows   int
		expect string
	}{
		{"not gzip", []byte(text), 3, "identities part-0001, line 1: not a gzip file"},
		{"truncated", truncated[:len(truncated)-10], 3, "damaged or cut short"},
		{"checksum", slices.Concat(truncated[:len(truncated)-8], []byte{0, 0, 0, 0}, truncated[len(truncated)-4:]), 3, "damaged or cut short"},
		{"half a line", gz([]byte(text[:len(text)-5])), 3, "line 3: the part ends within a line"},
		{"not JSON", gz([]byte(line(good[0]) + "MARTIN;ANNA\n")), 2, "line 2: not an identity document"},
		{"unknown field", gz([]byte(strings.Replace(text, `"local_id"`, `"diagnosis"`, 1))), 3, "line 1: not an identity document"},
		{"two in a line", gz([]byte(strings.Replace(text, "}\n", "}", 1))), 3, "line 1: more than one document"},
		{"short ticket", gz([]byte(strings.Replace(text, line(good[1]), `{"ticket":"AAAA"}`+"\n", 1))), 3, "line 2: the ticket is not 16 bytes"},
		{"ticket twice", gz([]byte(line(good[0]) + line(good[0]))), 2, "1 tickets occur more than once"},
		{"NUL", gz([]byte(strings.Replace(text, "Nomb", `Nom\u0000`, 1))), 3, "line 2: a NUL byte"},
		{"not UTF-8", gz([]byte(strings.Replace(text, "Nomb", "Nom\xff", 1))), 3, "line 2: not UTF-8"},
		{"long line", gz([]byte(strings.Repeat(" ", 70<<10) + text)), 3, "line 1: a line longer than 64 kB"},
		{"rows differ", gz([]byte(text)), 4, "the manifest says 4 rows, the part has 3"},
		{"tickets differ", gz([]byte(text)), 3, "the manifest says 99 person records, the parts have 3"},
	} {
		id := "bad" + letters(i+1)
		s := shipment{manifest: contract.Delivery{Schema: contract.DeliverySchema, ID: id, Dataset: testDataset, Tickets: int64(c.rows)}}
		if c.name == "tickets differ" {
			s.manifest.Tickets = 99
		}
		s.add(c.part, c.rows)
		if status, b := s.send(t, agent); status != 202 {
			t.Fatalf("%s: %d %s", c.name, status, b)
		}
		status, reason := settled(t, agent, id)
		if status != statusRefused || !strings.Contains(reason, c.expect) {
			t.Errorf("%s: %s %q, want %q", c.name, status, reason, c.expect)
		}
		if strings.Contains(reason, "Nom") || strings.Contains(reason, "MARTIN") {
			t.Errorf("%s: the reason repeats an identity: %s", c.name, reason)
		}
	}
	if snap, err := m.persons.Load(t.Context()); err != nil || snap.Persons() != 0 {
		t.Errorf("persons made from refused deliveries: %v", err)
	}
	engine := h.client(m.Addr(), "zone", "engine")
	if status, b := engine.do(t, "GET", "/v1/sheets/badb", nil, ""); status != 410 || code(b) != "refused" {
		t.Errorf("sheet of a refused delivery: %d %s", status, b)
	}
}

// TestParts is what the routes for parts and manifests accept and refuse.
func TestParts(t *testing.T) {
	h := newHub(t, "")
	m, _ := h.start(t)
	agent, other := h.client(m.Addr(), "agent", "cnam"), h.client(m.Addr(), "agent", "other")
	s := ship("d1", people(4), 2)
	p1, p2 := s.parts[0], s.parts[1]
	put := func(c client, path string, body []byte, digest contract.Digest, status int, want string) {
		t.Helper()
		if got, b := c.do(t, "PUT", path, body, digest); got != status || code(b) != want {
			t.Errorf("PUT %s: %d %s, want %d %s", path, got, b, status, want)
		}
	}
	complete := func(c client, s shipment, status int, want string) {
		t.Helper()
		if got, b := s.complete(t, c); got != status || code(b) != want {
			t.Errorf("complete: %d %s, want %d %s", got, b, status, want)
		}
	}
	const base = "/v1/deliveries/d1/identities/"
	put(agent, base+"part-0001", p1, "", 400, "digest_missing")
	put(agent, base+"part-0001", p1, contract.DigestOf(p2), 422, "digest_mismatch")
	put(agent, base+"part-0001", p1, contract.DigestOf(p1), 200, "")
	put(agent, base+"part-0001", p1, contract.DigestOf(p1), 200, "")
	put(agent, base+"part-0001", p2, contract.DigestOf(p2), 409, "part_conflict")
	put(other, base+"part-0002", p2, contract.DigestOf(p2), 404, "unknown_delivery")
	put(agent, base+"..%2F..%2Fage.key", p1, contract.DigestOf(p1), 400, "bad_name")
	put(agent, "/v1/deliveries/%2e%2e/identities/part", p1, contract.DigestOf(p1), 400, "bad_name")
	complete(agent, s, 422, "parts_differ") // part-0002 is missing
	put(agent, base+"part-0002", p2, contract.DigestOf(p2), 200, "")
	wrong := s
	wrong.manifest.Parts = slices.Clone(s.manifest.Parts)
	wrong.manifest.Parts[0].Digest = contract.DigestOf(nil)
	complete(agent, wrong, 422, "parts_differ")
	wrong.manifest.Parts = s.manifest.Parts[:1]
	complete(agent, wrong, 422, "parts_differ")
	wrong.manifest.Parts = slices.Clone(s.manifest.Parts)
	wrong.manifest.Parts[1].Table = "IR_BEN_R"
	complete(agent, wrong, 422, "parts_differ")
	complete(other, s, 403, "out_of_scope")
	complete(agent, s, 202, "")
	complete(agent, s, 202, "")
	changed := s
	changed.manifest.Tickets = 5
	complete(agent, changed, 409, "delivery_closed")
	if status, reason := settled(t, agent, "d1"); status != statusLinked {
		t.Fatalf("%s %s", status, reason)
	}
	put(agent, base+"part-0003", p1, contract.DigestOf(p1), 409, "delivery_closed")
	if got, b := agent.do(t, "POST", "/v1/deliveries/d1/complete", []byte(`{"schema":"mitral.delivery/1","payload":[]}`), ""); got != 400 {
		t.Errorf("unknown field: %d %s", got, b)
	}
}

// TestRoutes: for each route who may call it, who may not, and what an unknown thing answers.
func TestRoutes(t *testing.T) {
	h := newHub(t, "")
	m, _ := h.start(t)
	callers := map[string]client{}
	for _, who := range [][2]string{{"agent", "cnam"}, {"agent", "other"}, {"zone", "engine"}, {"zone", "portal"}, {"zone", "trust"}} {
		callers[who[0]+"/"+who[1]] = h.client(m.Addr(), who[0], who[1])
	}
	s := ship("d1", people(2), 1)
	if status, b := s.send(t, callers["agent/cnam"]); status != 202 {
		t.Fatalf("%d %s", status, b)
	}
	settled(t, callers["agent/cnam"], "d1")
	officer := contracttest.NewOfficer(t, "o1")
	contracttest.WriteRoll(t, h.cfg.Dir, contracttest.Roll(officer))
	body, err := json.Marshal(rollRequest{Permit: officer.Sign(t, contracttest.Permit(time.Now()))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		body         []byte
		digest       contract.Digest
		allowed      map[string]int
		denied       int
	}{
		{"PUT", "/v1/deliveries/d9/identities/p", []byte("x"), contract.DigestOf([]byte("x")), map[string]int{"agent/cnam": 200, "agent/other": 404}, 403},
		{"POST", "/v1/deliveries/d8/complete", []byte("{}"), "", map[string]int{"agent/cnam": 422, "agent/other": 422}, 403},
		{"GET", "/v1/deliveries/d1", nil, "", map[string]int{"agent/cnam": 200, "agent/other": 404}, 403},
		{"GET", "/v1/deliveries/unknown", nil, "", map[string]int{"agent/cnam": 404, "agent/other": 404}, 403},
		{"GET", "/v1/sheets/d1", nil, "", map[string]int{"zone/engine": 200}, 403},
		{"GET", "/v1/sheets/unknown", nil, "", map[string]int{"zone/engine": 404}, 403},
		{"POST", "/v1/roll", body, "", map[string]int{"zone/engine": 200}, 403},
		{"GET", "/v1/persons", nil, "", nil, 404},
		{"DELETE", "/v1/deliveries/d1", nil, "", nil, 404},
	} {
		for _, who := range []string{"agent/cnam", "agent/other", "zone/engine", "zone/portal", "zone/trust"} {
			want, ok := c.allowed[who]
			if !ok {
				want = c.denied
			}
			if got, b := callers[who].do(t, c.method, c.path, c.body, c.digest); got != want {
				t.Errorf("%s %s by %s: %d %s, want %d", c.method, c.path, who, got, b, want)
			}
		}
	}
	// A caller without a certificate of this hub does not even get an answer.
	stranger := newHub(t, "")
	if _, _, err := stranger.client(m.Addr(), "zone", "engine").try("GET", "/v1/sheets/d1", nil, ""); err == nil {
		t.Error("another hub's engine was served")
	}
}

// TestRollRoute: permits decide, and only permits.
func TestRollRoute(t *testing.T) {
	h := newHub(t, "")
	m, _ := h.start(t)
	engine := h.client(m.Addr(), "zone", "engine")
	officer, stranger := contracttest.NewOfficer(t, "o1"), contracttest.NewOfficer(t, "o2")
	ask := func(p contract.SignedPermit, asOf string) (int, string, []byte) {
		t.Helper()
		b, err := json.Marshal(rollRequest{Permit: p, AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		status, body := engine.do(t, "POST", "/v1/roll", b, "")
		return status, code(body), body
	}
	now := time.Now()
	permit := contracttest.Permit(now)
	good := officer.Sign(t, permit)
	if status, c, _ := ask(good, ""); status != 403 || c != "unknown_officer" {
		t.Errorf("nobody enrolled: %d %s", status, c)
	}
	contracttest.WriteRoll(t, h.cfg.Dir, contracttest.Roll(officer))
	altered := good
	altered.Permit = bytes.Replace(good.Permit, []byte("<65"), []byte("<66"), 1)
	altered.Permit = bytes.Replace(altered.Permit, []byte(`\u003c65`), []byte(`\u003c66`), 1)
	expired := permit
	expired.ValidFrom, expired.ValidUntil, expired.IssuedAt = now.AddDate(-1, 0, 0), now.Add(-time.Minute), now.AddDate(-1, 0, 0)
	feasibility := permit
	feasibility.Kind, feasibility.RoundTo = contract.PermitFeasibility, 10
	for _, c := range []struct {
		name   string
		permit contract.SignedPermit
		asOf   string
		status int
		code   string
	}{
		{"signed", good, "", 200, ""},
		{"of a stranger", stranger.Sign(t, permit), "", 403, "unknown_officer"},
		{"unsigned", contract.SignedPermit{Permit: good.Permit}, "", 403, "unsigned"},
		{"altered", altered, "", 403, "altered"},
		{"expired", officer.Sign(t, expired), "", 403, "expired"},
		{"data permit asks for now", good, "now", 403, "out_of_scope"},
		{"feasibility as of now", officer.Sign(t, feasibility), "now", 200, ""},
		{"feasibility as of its date", officer.Sign(t, feasibility), "", 403, "out_of_scope"},
		{"as of yesterday", good, "2020-01-01", 403, "out_of_scope"},
	} {
		if status, got, body := ask(c.permit, c.asOf); status != c.status || got != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, body, c.status, c.code)
		}
	}
}

// TestRestart: keys and state survive; a lost or exchanged key stops the zone instead of renaming everybody.
func TestRestart(t *testing.T) {
	h := newHub(t, "")
	_, stop := h.start(t)
	stop()
	recipient, err := os.ReadFile(h.cfg.recipient())
	if err != nil {
		t.Fatal(err)
	}
	_, stop = h.start(t)
	stop()
	if again, err := os.ReadFile(h.cfg.recipient()); err != nil || !bytes.Equal(recipient, again) {
		t.Fatalf("the recipient changed: %v", err)
	}
	key, err := os.ReadFile(pseudonym.File(h.cfg.Dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pseudonym.File(h.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), h.cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("key lost: %v", err)
	}
	flip := byte('0')
	if key[0] == flip {
		flip = '1'
	}
	exchanged := append([]byte{flip}, key[1:]...)
	if err := os.WriteFile(pseudonym.File(h.cfg.Dir), exchanged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), h.cfg, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), string(exchanged)) || !strings.Contains(err.Error(), "not the key") {
		t.Errorf("key exchanged: %v", err)
	}
	if err := os.WriteFile(pseudonym.File(h.cfg.Dir), key, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
}

// TestLedgerTellsNoIdentity: canary names, numbers and pseudonyms of a delivery are in no byte of the ledger, which is
// public, and the ledger has the steps and the refusals.
func TestLedgerTellsNoIdentity(t *testing.T) {
	h := newHub(t, "")
	m, stop := h.start(t)
	agent, engine := h.client(m.Addr(), "agent", "cnam"), h.client(m.Addr(), "zone", "engine")
	ids := people(5)
	ids[0].BirthName, ids[0].GivenName = "Zzcanaryname", "Qqcanarygiven"
	s := ship("d1", ids, 1)
	s.send(t, agent)
	settled(t, agent, "d1")
	_, sealed := engine.do(t, "GET", "/v1/sheets/d1", nil, "")
	hubIDs := h.openSheet(t, sealed).hub
	agent.do(t, "GET", "/v1/sheets/d1", nil, "") // refused, and told
	stop()
	if report, err := ledger.Verify(t.Context(), filepath.Join(h.cfg.Dir, "ledger")); err != nil {
		t.Errorf("%+v, %v", report, err)
	}
	secrets := [][]byte{[]byte("anary"), []byte("ANARY"), []byte(ids[0].NIR), []byte(ids[0].NIR[:13]), []byte(base64.StdEncoding.EncodeToString(ids[0].Ticket))}
	for _, hub := range hubIDs {
		secrets = append(secrets, hub[:], []byte(base64.StdEncoding.EncodeToString(hub[:])))
	}
	all := &bytes.Buffer{}
	err := filepath.WalkDir(filepath.Join(h.cfg.Dir, "ledger"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(all.Bytes(), secret) {
			t.Errorf("the ledger holds %q", secret)
		}
	}
	for _, step := range []string{"delivery.complete", "delivery.link", "sheet.take", "not_allowed"} {
		if !bytes.Contains(all.Bytes(), []byte(step)) {
			t.Errorf("the ledger does not tell of %s", step)
		}
	}
}
