package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
)

// ask sends a request as somebody and returns status, place redirected to, and body.
func ask(h *gatewaytest.House, as, method, path string, form url.Values) (int, string, string) {
	var r *http.Request
	if form != nil {
		r = httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r = httptest.NewRequest(method, path, nil)
	}
	r.Header.Set(gatewaytest.UserHeader, as)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

func TestPagesForEachReader(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	signed := h.Signed()
	if err := h.Release(contract.Export{Schema: "mitral.export/1", ID: "export-1", PermitID: signed.Permit.ID, Title: "Falls", Files: []contract.ExportFile{{Name: "table.csv"}}, ReleasedAt: h.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	draft, sent := h.Draft(), h.Submitted()
	toSign := h.Run(gatewaytest.Otto, h.Authorised(), gateway.Action{Command: gateway.CmdDraft})
	m, err := h.CreateMandate(t.Context(), gatewaytest.Otto, gateway.MandateScope{Title: "Counts", Datasets: gatewaytest.Scope(), Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}})
	if err != nil {
		t.Fatal(err)
	}
	rita, paul, hanna, claire, otto, audrey := gatewaytest.Rita.ID, gatewaytest.Paul.ID, gatewaytest.Hanna.ID, gatewaytest.Claire.ID, gatewaytest.Otto.ID, gatewaytest.Audrey.ID
	nobody := gatewaytest.Nobody.ID
	app := func(a *gateway.Application, rest string) string { return "/applications/" + a.ID + rest }
	none := "/applications/app-none"
	seq := url.Values{"seq": {"1"}}
	for _, c := range []struct {
		name, as, method, path string
		form                   url.Values
		status                 int
		has                    string
	}{
		{"my applications", rita, "GET", "/applications", nil, 200, draft.ID},
		{"my applications, handler is led to the board", hanna, "GET", "/applications", nil, 303, ""},
		{"my applications, visitor", "", "GET", "/applications", nil, 303, ""},
		{"my applications, no role", nobody, "GET", "/applications", nil, 403, ""},
		{"open", rita, "POST", "/applications", url.Values{}, 303, ""},
		{"open, handler", hanna, "POST", "/applications", url.Values{}, 403, ""},
		{"case", rita, "GET", app(draft, ""), nil, 200, "Statins"},
		{"case, team", paul, "GET", app(draft, ""), nil, 200, "Statins"},
		{"case, auditor", audrey, "GET", app(sent, ""), nil, 200, "Statins"},
		{"draft, handler", hanna, "GET", app(draft, ""), nil, 403, ""},
		{"case, stranger", nobody, "GET", app(sent, ""), nil, 403, ""},
		{"case, visitor", "", "GET", app(sent, ""), nil, 303, ""},
		{"case, unknown", rita, "GET", none, nil, 404, ""},
		{"form", rita, "GET", app(draft, "/form/cohort"), nil, 200, "W0, W1"},
		{"form, handler", hanna, "GET", app(sent, "/form/cohort"), nil, 403, ""},
		{"form, sent", rita, "GET", app(sent, "/form/cohort"), nil, 403, ""},
		{"form, unknown page", rita, "GET", app(draft, "/form/payment"), nil, 404, ""},
		{"form, unknown case", rita, "GET", none + "/form/data", nil, 404, ""},
		{"save, stale", rita, "POST", app(draft, "/form/project"), url.Values{"seq": {"1"}, "title": {"T"}}, 409, ""},
		{"save, handler", hanna, "POST", app(sent, "/form/project"), seq, 403, ""},
		{"save, unknown page", rita, "POST", app(draft, "/form/check"), seq, 404, ""},
		{"save, too long", rita, "POST", app(draft, "/form/project"), url.Values{"seq": {fmt.Sprint(draft.Seq)}, "title": {strings.Repeat("x", 300)}}, 422, "Shorten"},
		{"command, wrong role", claire, "POST", app(sent, "/commands/complete"), seq, 403, ""},
		{"command, stale", hanna, "POST", app(sent, "/commands/complete"), seq, 409, ""},
		{"command, unknown", hanna, "POST", app(sent, "/commands/approve"), seq, 404, ""},
		{"command, unknown case", hanna, "POST", none + "/commands/complete", seq, 404, ""},
		{"command, sign has a route of its own", otto, "POST", app(toSign, "/commands/sign"), seq, 404, ""},
		{"ask nothing", hanna, "POST", app(sent, "/commands/ask"), url.Values{"seq": {fmt.Sprint(sent.Seq)}, "ask-page": {"data"}}, 422, "Write the question"},
		{"board", hanna, "GET", "/cases", nil, 200, sent.ID},
		{"board, researcher", rita, "GET", "/cases", nil, 403, ""},
		{"board, visitor", "", "GET", "/cases", nil, 303, ""},
		{"permit draft", otto, "GET", app(toSign, "/permit"), nil, 200, string(toSign.Draft.Digest)},
		{"permit draft, applicant", rita, "GET", app(toSign, "/permit"), nil, 404, ""},
		{"permit signed, applicant", rita, "GET", app(signed, "/permit"), nil, 200, signed.Permit.ID},
		{"permit, stranger", nobody, "GET", app(signed, "/permit"), nil, 403, ""},
		{"permit, none", hanna, "GET", app(sent, "/permit"), nil, 404, ""},
		{"confirm, garbage", otto, "GET", app(toSign, "/permit/assertion?signature=%00"), nil, 422, ""},
		{"confirm, came back without signing", otto, "GET", app(toSign, "/permit/assertion"), nil, 303, ""},
		{"confirm, applicant", rita, "GET", app(toSign, "/permit/assertion"), nil, 403, ""},
		{"assertion, garbage", otto, "POST", app(toSign, "/permit/assertion"), seq, 422, "cannot be read"},
		{"assertion, applicant", rita, "POST", app(toSign, "/permit/assertion"), seq, 403, ""},
		{"assertion, unknown case", otto, "POST", none + "/permit/assertion", seq, 404, ""},
		{"result, stranger", nobody, "GET", app(signed, "/results/export-1/table.csv"), nil, 403, ""},
		{"result, unknown", rita, "GET", app(signed, "/results/export-2/table.csv"), nil, 404, ""},
		{"result, path trick", rita, "GET", app(signed, "/results/export-1/..%2f..%2fstate.db"), nil, 404, ""},
		{"mandates", otto, "GET", "/decisions/mandates", nil, 200, "Counts"},
		{"mandates, stranger", nobody, "GET", "/decisions/mandates", nil, 403, ""},
		{"mandate", otto, "GET", "/decisions/mandates/" + m.ID, nil, 200, string(m.Draft.Digest)},
		{"mandate, unknown", otto, "GET", "/decisions/mandates/mandate-none", nil, 404, ""},
		{"mandate, create, handler", hanna, "POST", "/decisions/mandates", url.Values{}, 403, ""},
		{"mandate, create, nothing chosen", otto, "POST", "/decisions/mandates", url.Values{"title": {"T"}}, 422, "at least one dataset"},
		{"mandate, redraft, handler", hanna, "POST", "/decisions/mandates/" + m.ID + "/draft", seq, 403, ""},
		{"mandate, redraft, stale", otto, "POST", "/decisions/mandates/" + m.ID + "/draft", seq, 409, ""},
		{"mandate, confirm, handler", hanna, "GET", "/decisions/mandates/" + m.ID + "/assertion", nil, 403, ""},
		{"mandate, assertion, garbage", otto, "POST", "/decisions/mandates/" + m.ID + "/assertion", seq, 422, "cannot be read"},
		{"mandate, assertion, handler", hanna, "POST", "/decisions/mandates/" + m.ID + "/assertion", seq, 403, ""},
		{"register", "", "GET", "/register", nil, 200, "Statins"},
		{"register, drafts are not there", "", "GET", "/register/" + draft.ID, nil, 404, ""},
		{"register entry", "", "GET", "/register/" + signed.ID, nil, 200, "University of Lille"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, _, body := ask(h, c.as, c.method, c.path, c.form)
			if status != c.status || !strings.Contains(body, c.has) {
				t.Errorf("%s %s: %d, want %d with %q\n%.1500s", c.method, c.path, status, c.status, c.has, body)
			}
		})
	}
}

var seqField = regexp.MustCompile(`name="seq" value="(\d+)"`)

// TestJourneyInPlainForms walks a case by forms alone, without scripts, as a browser would.
func TestJourneyInPlainForms(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	post := func(as, at, to string, form url.Values, want int) string {
		t.Helper()
		status, _, body := ask(h, as, "GET", at, nil)
		m := seqField.FindStringSubmatch(body)
		if status != 200 || m == nil {
			t.Fatalf("GET %s: %d, no form", at, status)
		}
		form.Set("seq", m[1])
		status, location, body := ask(h, as, "POST", to, form)
		if status != want {
			t.Fatalf("POST %s: %d, want %d\n%.2500s", to, status, want, body)
		}
		if want == 422 {
			return body
		}
		return location
	}
	rita := gatewaytest.Rita.ID
	_, first, _ := ask(h, rita, "POST", "/applications", url.Values{})
	base := strings.TrimSuffix(first, "/form/project")
	next := func(page string, form url.Values) {
		t.Helper()
		form.Set("go", "next")
		if got, want := post(rita, base+"/form/"+page, base+"/form/"+page, form, 303), base+"/form/"+gateway.Pages[indexOf(page)+1]; got != want {
			t.Fatalf("after %s: %s, want %s", page, got, want)
		}
	}
	if body := post(rita, base+"/form/project", base+"/form/project", url.Values{"title": {"Statins"}, "go": {"next"}}, 422); !strings.Contains(body, "Write a summary for the public") || !strings.Contains(body, `href="#f-lay_summary"`) {
		t.Error("no error summary with a link to the field")
	}
	next("project", url.Values{"title": {"Statins"}, "lay_summary": {"Falls."}, "controller": {"Lille"}, "public_body": {"no"}})
	next("purpose", url.Values{"purposes": {"e"}, "aim": {"Know."}, "no_prohibited_use": {"yes"}})
	next("data", url.Values{"dataset": {"cnam/snds"}, "column": {"cnam/snds/T_MCOaaB/ENT_DAT", "cnam/snds/T_MCOaaB/DGN_PAL"}, "need": {"Stays."}})
	date := func(v url.Values, name, d, m, y string) url.Values {
		v.Set(name+"-day", d)
		v.Set(name+"-month", m)
		v.Set(name+"-year", y)
		return v
	}
	next("period", date(date(url.Values{"duration": {"24"}}, "from", "1", "1", "2022"), "to", "31", "12", "2023"))
	next("cohort", date(date(url.Values{"who": {"criteria"}, "criterion-0": {"cnam/snds/T_MCOaaB/DGN_PAL"}, "codes-0": {"W0; W1"}, "prefix-0": {"yes"}}, "from", "1", "1", "2022"), "to", "31", "12", "2023"))
	if body := post(rita, base+"/form/persons", base+"/form/persons", url.Values{"account": {rita}, "principal": {rita}, "new_account": {"acct-x"}, "go": {"stay"}}, 422); !strings.Contains(body, "No account has the number acct-x") {
		t.Error("an unknown person was taken")
	}
	next("persons", url.Values{"account": {rita}, "principal": {rita}, "new_account": {gatewaytest.Paul.ID}})
	next("optout", url.Values{"honoured": {"yes"}})
	post(rita, base+"/form/check", base+"/commands/submit", url.Values{}, 303)

	command := func(as, name string, form url.Values) {
		t.Helper()
		post(as, base, base+"/commands/"+name, form, 303)
	}
	command(gatewaytest.Hanna.ID, "ask", url.Values{"ask-page": {"data"}, "ask-text": {"Why stays?"}})
	post(rita, base+"/form/data", base+"/form/data", url.Values{"dataset": {"cnam/snds"}, "column": {"cnam/snds/T_MCOaaB/ENT_DAT"}, "need": {"Stays show falls."}, "go": {"next"}}, 303)
	if status, _, _ := ask(h, rita, "POST", base+"/form/project", url.Values{"seq": {"99"}}); status != 409 {
		t.Errorf("stale save: %d", status)
	}
	post(rita, base+"/form/check", base+"/commands/answer", url.Values{"answer-text": {"Explained."}}, 303)
	command(gatewaytest.Hanna.ID, "complete", url.Values{})
	h.Clock.Move(40 * 24 * time.Hour) // the committee stays silent
	if _, _, body := ask(h, gatewaytest.Rita.ID, "GET", base, nil); !strings.Contains(body, "Opinion deemed favourable") {
		t.Error("the page does not say that the opinion is deemed favourable")
	}
	command(gatewaytest.Anne.ID, "authorise", url.Values{"authorise-reference": {"DR-1"}, "authorise-conditions": {"One\r\nTwo"}})
	command(gatewaytest.Otto.ID, "draft", url.Values{})

	// The demonstration key signs on another origin and comes back through the address.
	_, _, body := ask(h, gatewaytest.Otto.ID, "GET", base+"/permit", nil)
	if !strings.Contains(body, `<form method="post" action="http://localhost:9999/key">`) {
		t.Fatal("no way to the demonstration key")
	}
	field := func(name string) string {
		m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no field %s", name)
		}
		return m[1]
	}
	challenge, err := base64.RawURLEncoding.DecodeString(field("challenge"))
	if err != nil {
		t.Fatal(err)
	}
	as := h.Keys[gatewaytest.Otto.ID].Assert(t, challenge)
	b64 := base64.RawURLEncoding.EncodeToString
	answer := url.Values{"credential_id": {b64(as.CredentialID)}, "authenticator_data": {b64(as.AuthenticatorData)},
		"client_data_json": {b64(as.ClientDataJSON)}, "signature": {b64(as.Signature)}}
	back, err := url.Parse(field("return_to"))
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := ask(h, gatewaytest.Otto.ID, "GET", back.Path+"?"+answer.Encode(), nil)
	if status != 200 || !strings.Contains(body, "Issue the permit") {
		t.Fatalf("confirmation: %d", status)
	}
	if a, err := h.Case(t.Context(), gatewaytest.Otto, strings.TrimPrefix(base, "/applications/")); err != nil || a.Signed != nil {
		t.Fatalf("a GET has issued the permit: %v", err)
	}
	answer.Set("seq", seqField.FindStringSubmatch(body)[1])
	if status, _, body := ask(h, gatewaytest.Otto.ID, "POST", base+"/permit/assertion", answer); status != 303 {
		t.Fatalf("issue: %d\n%.2000s", status, body)
	}
	if _, _, body := ask(h, "", "GET", "/register?status=authorised&q=statins", nil); !strings.Contains(body, "Statins") {
		t.Error("the register does not show the project at once")
	}
}

func indexOf(page string) int {
	for i, p := range gateway.Pages {
		if p == page {
			return i
		}
	}
	return -1
}
