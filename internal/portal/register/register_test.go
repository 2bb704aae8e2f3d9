package register_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/api/apitest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
	"github.com/mitral-health/mitral/internal/portal/register"
)

func search(t testing.TB, r *register.Register, q register.Query) register.Found {
	t.Helper()
	f, err := r.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRegisterSaysWhatTheCasesSay on both databases, at once, and again after the table was lost.
func TestRegisterSaysWhatTheCasesSay(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		h := gatewaytest.New(t, db, gatewaytest.NewClock())
		h.Draft()
		if f := search(t, h.Register, register.Query{}); f.Total != 0 {
			t.Fatal("a draft is published")
		}
		sent := h.Submitted()
		if f := search(t, h.Register, register.Query{}); f.Total != 1 || f.Entries[0].Status != register.Examined || f.Entries[0].LaySummary == "" {
			t.Fatalf("after reception: %+v", f)
		}
		signed := h.Signed()
		if err := h.Release(contract.Export{Schema: "mitral.export/1", ID: "export-1", PermitID: signed.Permit.ID, Title: "Falls by age", Files: []contract.ExportFile{{Name: "t.csv"}}, ReleasedAt: h.Clock.Now()}); err != nil {
			t.Fatal(err)
		}
		withdrawn := h.Run(gatewaytest.Rita, h.Submitted(), gateway.Action{Command: gateway.CmdWithdraw})
		refused := h.Run(gatewaytest.Otto, h.Authorised(), gateway.Action{Command: gateway.CmdRefuse, Reasons: "=SUM(A1) is no reason."})

		got := map[string]register.Status{}
		all := search(t, h.Register, register.Query{})
		for _, e := range all.Entries {
			got[e.ID] = e.Status
		}
		want := map[string]register.Status{sent.ID: register.Examined, signed.ID: register.Authorised, withdrawn.ID: register.Withdrawn, refused.ID: register.Refused}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		e, _, err := h.Register.Entry(t.Context(), signed.ID)
		if err != nil || e.Permit == nil || e.Permit.Persons != 2 || !e.Permit.ObjectionsHonoured || e.Permit.Digest != signed.Draft.Digest || len(e.Results) != 1 {
			t.Errorf("signed entry %+v, %v", e, err)
		}
		if f := search(t, h.Register, register.Query{Text: "STATINS lille", Status: register.Authorised}); f.Total != 1 {
			t.Errorf("search found %d", f.Total)
		}
		if f := search(t, h.Register, register.Query{Text: "%"}); f.Total != 0 {
			t.Errorf("a wildcard found %d", f.Total)
		}
		if f := search(t, h.Register, register.Query{Page: 9}); len(f.Entries) != 0 || f.Pages != 1 {
			t.Errorf("page 9: %+v", f)
		}

		// The table is a projection: emptied, it comes back the same from the events.
		if _, err := db.Exec(t.Context(), `DELETE FROM register_entries`); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), `DELETE FROM register_shape`); err != nil {
			t.Fatal(err)
		}
		again, err := register.New(t.Context(), db, h.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(all, search(t, again, register.Query{})); d != "" {
			t.Errorf("rebuilt register differs: %s", d)
		}
		totals, err := again.Totals(t.Context())
		if err != nil || totals[register.Refused] != 1 || totals[register.Authorised] != 1 {
			t.Errorf("totals %v %v", totals, err)
		}

		var buf bytes.Buffer
		if err := again.WriteCSV(t.Context(), &buf, register.Query{}); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&buf).ReadAll()
		if err != nil || len(rows) != 5 {
			t.Fatalf("csv: %d rows, %v", len(rows), err)
		}
		for _, r := range rows[1:] {
			if r[0] == refused.ID && r[10] != "'=SUM(A1) is no reason." {
				t.Errorf("a formula got into the table: %q", r[10])
			}
		}
	})
}

// Nothing that names the applicant, the team or what was asked of them is published.
func TestRegisterKeepsPrivateThingsPrivate(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	a := h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdAsk, Questions: []gateway.Question{{Page: "data", Text: "SECRETQUESTION"}}})
	a = h.Run(gatewaytest.Rita, a, gateway.Action{Command: gateway.CmdAnswer, Text: "SECRETANSWER"})
	for _, path := range []string{"/register", "/register/" + a.ID, "/register.csv", "/api/v1/register", "/api/v1/register/" + a.ID} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
		for _, secret := range []string{"SECRET", "Rita", "acct-", "Stays show falls"} {
			if bytes.Contains(w.Body.Bytes(), []byte(secret)) {
				t.Errorf("%s publishes %q", path, secret)
			}
		}
	}
}

func TestAPI(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	draft, sent := h.Draft(), h.Submitted()
	apitest.Run(t, h.API, "register", func(_ string, w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }, []apitest.Case{
		{Operation: "list-register", Kind: apitest.Allowed, Path: "/api/v1/register?q=statins&status=examined", Status: 200, Has: sent.ID, Not: draft.ID},
		{Operation: "list-register", Kind: apitest.Unknown, Name: "status", Path: "/api/v1/register?status=lost", Status: 422},
		{Operation: "list-register", Kind: apitest.Unknown, Name: "page", Path: "/api/v1/register?page=0", Status: 422},
		{Operation: "get-register-entry", Kind: apitest.Allowed, Path: "/api/v1/register/" + sent.ID, Status: 200, Has: "University of Lille"},
		{Operation: "get-register-entry", Kind: apitest.Unknown, Name: "draft", Path: "/api/v1/register/" + draft.ID, Status: 404},
		{Operation: "get-register-entry", Kind: apitest.Unknown, Path: "/api/v1/register/app-none", Status: 404},
	})
}

// BenchmarkSearch measures a page of the register with 10,000 entries.
func BenchmarkSearch(b *testing.B) {
	db := storetest.SQLite(b)
	h := gatewaytest.New(b, db, gatewaytest.NewClock())
	e, _, err := h.Register.Entry(b.Context(), h.Signed().ID)
	if err != nil {
		b.Fatal(err)
	}
	err = db.InTx(b.Context(), func(tx *store.Tx) error {
		for i := range 10_000 {
			e.ID = fmt.Sprintf("app-%05d", i)
			doc, err := json.Marshal(e)
			if err != nil {
				return err
			}
			_, err = tx.Exec(b.Context(), `INSERT INTO register_entries (id, status, at, text, doc) VALUES (?, ?, ?, ?, ?)`,
				e.ID, "authorised", time.Now().UnixMicro()+int64(i), fmt.Sprintf("statins and falls %d university of lille cnam snds", i), string(doc))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, path string }{{"first", "/register"}, {"page 300", "/register?page=300"}, {"search", "/register?q=falls+77"}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
				if w.Code != 200 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
