package catalogue_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/page/pagetest"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/web"
)

// browser makes requests to the pages as one of the people.
type browser struct {
	t     testing.TB
	serve func(as string, w http.ResponseWriter, r *http.Request)
}

func site(t testing.TB, r *room) *browser {
	t.Helper()
	bundle, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(web.Templates(), bundle, page.Options{Zone: "portal", SignIn: "/sign-in"})
	if err != nil {
		t.Fatal(err)
	}
	door, err := access.New(t.Context(), access.Options{DB: r.db, Pages: pages, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Dir: t.TempDir(),
		PublicURL: "https://portal.example", RPID: "portal.example"})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	r.Routes(mux, catalogue.SiteOptions{Pages: pages, Door: door, Uses: func(_ context.Context, holder, dataset string) ([]catalogue.Use, error) {
		return []catalogue.Use{{ID: "permit-1", Title: "Survival after transplant"}}, nil
	}})
	return &browser{t, front(t, r, mux)}
}

func (b *browser) get(as, path, lang string) (int, string) {
	b.t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept-Language", lang)
	b.serve(as, w, r)
	return w.Code, w.Body.String()
}

func (b *browser) post(as, path string, form url.Values) (int, string, string) {
	b.t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.serve(as, w, r)
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

// filled is a catalogue with one published dataset with data and one incomplete draft.
func filled(t testing.TB) *room {
	t.Helper()
	r := open(t, sqlite(t), t.TempDir())
	d := complete()
	d.Tables[0].Variables[1].Since, d.Tables[0].Variables[1].Missing = "2010", []string{"2012", "2013"}
	if _, err := r.Save(t.Context(), "acct-h", d, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), "acct-h", d.Holder, d.Dataset, 1); err != nil {
		t.Fatal(err)
	}
	bare := &catalogue.Description{Holder: d.Holder, Dataset: "bare", Title: catalogue.Text{"fr": "Esquisse"}, Structured: true, PersonalData: true}
	if _, err := r.Save(t.Context(), "acct-h", bare, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.SaveCodeList(t.Context(), catalogue.CodeList{Name: "icd10", Codes: []catalogue.Code{{Code: "C920", Label: "Leucémie myéloïde aiguë"}, {Code: "E112", Label: "Diabète"}}}); err != nil {
		t.Fatal(err)
	}
	n := contract.Notice{ID: "n", Zone: "engine", Kind: "delivery", At: time.Now(),
		Body: []byte(`{"delivery":"d1","holder":"registre-moelle","dataset":"greffes","rows":{"GREFFE":123456},"persons":95120,"years":{"2022":30000,"2023":41000,"2024":52456}}`)}
	if err := r.db.InTx(t.Context(), func(tx *store.Tx) error { return r.OnNotice(t.Context(), tx, n) }); err != nil {
		t.Fatal(err)
	}
	if err := r.AddToBasket(t.Context(), "acct-r", d.Holder, d.Dataset); err != nil {
		t.Fatal(err)
	}
	r.settle(t)
	return r
}

// TestPages: each page for somebody who may, somebody who may not, and something that is not there.
func TestPages(t *testing.T) {
	b := site(t, filled(t))
	for _, c := range []struct {
		as, path string
		status   int
		has, not string
	}{
		{"", "/datasets", 200, "Luuydinsiirrot", "Esquisse"},
		{"", "/datasets?q=transplants", 200, "<mark>", ""},
		{"", "/datasets?q=leukaemia&category=l&holder=registre-moelle&system=ICD-10&from=2020&to=2024", 200, "greffes", ""},
		{"", "/datasets?q=leukaemia&category=a", 200, "m-empty", `href="/datasets/registre-moelle/greffes"`},
		{"", "/datasets?q=%3Cscript%3Ealert(1)%3C/script%3E", 200, "&lt;script&gt;", "<script>alert"},
		{"", "/datasets?q=C920", 200, "my\u00e9lo\u00efde", ""},
		{"", "/datasets?page=99&from=x", 200, "", ""},
		{"", "/catalogue?q=transplants", 301, "", ""},
		{"", "/datasets/registre-moelle/greffes", 200, "<rect", "Esquisse"},
		{"researcher", "/datasets/registre-moelle/greffes", 200, `href="/basket"`, ""},
		{"holder", "/datasets/registre-moelle/greffes", 200, `href="/holder/datasets/registre-moelle/greffes"`, ""},
		{"", "/datasets/registre-moelle/bare", 404, "", "Esquisse"},
		{"", "/datasets/none/none", 404, "", ""},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE", 200, "/code-lists/icd10", ""},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE?q=diag", 200, "DIAG", "DATE_GREFFE</a>"},
		{"", "/datasets/registre-moelle/greffes/tables/NONE", 404, "", ""},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE/DIAG", 200, "E112", ""},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE/NIR", 200, "govuk-inset-text", "/feasibility?"},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE/DATE_GREFFE", 200, "2012, 2013", ""},
		{"researcher", "/datasets/registre-moelle/greffes/tables/GREFFE/DIAG", 200, "/feasibility?variable=registre-moelle%2Fgreffes%2FGREFFE%2FDIAG", ""},
		{"", "/datasets/registre-moelle/greffes/tables/GREFFE/NONE", 404, "", ""},
		{"", "/datasets/registre-moelle/greffes/versions", 200, "m-timeline__item", "acct-h"},
		{"", "/datasets/none/none/versions", 404, "", ""},
		{"", "/code-lists/icd10?q=leucemie", 200, "C920", "E112"},
		{"", "/code-lists/none", 404, "", ""},
		{"", "/basket", 303, "", ""},
		{"holder", "/basket", 403, "", ""},
		{"researcher", "/basket", 200, `value="registre-moelle/greffes"`, ""},
		{"", "/holder", 303, "", ""},
		{"researcher", "/holder", 403, "", ""},
		{"holder", "/holder", 200, "Esquisse", ""},
		{"other", "/holder", 200, "", "Esquisse"},
		{"holder", "/holder/datasets/new", 200, `name="dataset"`, ""},
		{"researcher", "/holder/datasets/new", 403, "", ""},
		{"holder", "/holder/datasets/registre-moelle/bare", 200, "m-rules--mandatory", ""},
		{"holder", "/holder/datasets/registre-moelle/greffes?done=published", 200, "m-timeline", ""},
		{"other", "/holder/datasets/registre-moelle/bare", 403, "", "Esquisse"},
		{"", "/holder/datasets/registre-moelle/bare", 303, "", "Esquisse"},
		{"holder", "/holder/datasets/registre-moelle/none", 404, "", ""},
		{"holder", "/holder/datasets/registre-moelle/greffes/edit/about", 200, "Luuydinsiirrot", ""},
		{"holder", "/holder/datasets/registre-moelle/greffes/edit/content", 200, `value="transplantation" checked`, ""},
		{"holder", "/holder/datasets/registre-moelle/greffes/edit/access", 200, `value="non_public" checked`, ""},
		{"holder", "/holder/datasets/registre-moelle/greffes/edit/structure", 200, "GREFFE;DIAG;string;;icd10", ""},
		{"other", "/holder/datasets/registre-moelle/greffes/edit/about", 403, "", ""},
		{"holder", "/holder/datasets/registre-moelle/greffes/edit/none", 404, "", ""},
	} {
		for _, lang := range []string{"en", "fr", "fi"} {
			where := c.as + " " + c.path + " " + lang
			status, body := b.get(c.as, c.path, lang)
			has := c.has
			if has == "Luuydinsiirrot" && lang != "fi" {
				has = ""
			}
			if status != c.status || !strings.Contains(body, has) || (c.not != "" && strings.Contains(body, c.not)) {
				t.Errorf("%s: status %d, want %d; has %v, lacks %v", where, status, c.status, strings.Contains(body, has), c.not == "" || !strings.Contains(body, c.not))
			}
			if status != 301 && status != 303 {
				pagetest.Check(t, where, body)
			}
		}
	}
}

func TestHolderDescribesAndPublishes(t *testing.T) {
	r := filled(t)
	b := site(t, r)
	must := func(status int, location string, body string, want int, prefix string) {
		t.Helper()
		if status != want || !strings.HasPrefix(location, prefix) {
			t.Fatalf("status %d to %q, want %d to %q: %s", status, location, want, prefix, body)
		}
	}
	status, to, body := b.post("holder", "/holder/datasets/new", url.Values{"dataset": {"9 bad"}, "title": {""}})
	must(status, to, body, 422, "")
	if pagetest.Check(t, "errors", body); !strings.Contains(body, `href="#f-dataset"`) || !strings.Contains(body, `href="#f-title"`) {
		t.Error("the error summary does not link to the fields")
	}
	status, to, body = b.post("holder", "/holder/datasets/new", url.Values{"dataset": {"greffes"}, "title": {"Again"}})
	must(status, to, body, 422, "")
	status, to, body = b.post("other", "/holder/datasets/new", url.Values{"dataset": {"new"}, "title": {"Of cnam"}})
	must(status, to, body, 303, "/holder/datasets/cnam/new")
	status, to, body = b.post("holder", "/holder/datasets/new", url.Values{"dataset": {"new"}, "title": {"New <b>data</b>"}})
	must(status, to, body, 303, "/holder/datasets/registre-moelle/new")

	const base = "/holder/datasets/registre-moelle/new"
	status, to, body = b.post("holder", base+"/edit/about", url.Values{"base": {"1"}, "title-en": {"New data"}, "title-fr": {"Nouvelles données"}, "title-fi": {"Uusi aineisto"},
		"description-en": {"All."}, "provenance-en": {"Centres."}, "generated_by-en": {"Visits."}, "keywords-en": {"one, two,, three"}})
	must(status, to, body, 303, base+"?done=saved")
	// Somebody still edits version 1: nothing is overwritten, and what she typed is shown again.
	status, _, body = b.post("holder", base+"/edit/about", url.Values{"base": {"1"}, "title-en": {"Typed by another"}})
	must(status, "", body, 409, "")
	if !strings.Contains(body, "Typed by another") || !strings.Contains(body, `name="base" value="2"`) {
		t.Error("the conflict page lost what was typed, or the newest version's number")
	}
	status, _, body = b.post("holder", base+"/edit/content", url.Values{"base": {"2"}, "from": {"yesterday"}, "records": {"many"}, "min_age": {"200"}, "countries": {"France"}})
	must(status, "", body, 422, "")
	for _, field := range []string{"from", "records", "min_age", "countries"} {
		if !strings.Contains(body, `href="#f-`+field+`"`) {
			t.Errorf("no error is shown for %s", field)
		}
	}
	status, to, body = b.post("holder", base+"/edit/content", url.Values{"base": {"2"}, "categories": {"l"}, "themes": {"cancer"}, "type": {"registry"}, "personal_data": {"yes"},
		"from": {"2015-01-01"}, "records": {"12 000"}, "countries": {"fr"}, "languages": {"fr"}, "coding_systems": {"ICD-10\r\nATC"}})
	must(status, to, body, 303, base+"?done=saved")
	status, _, body = b.post("holder", base+"/edit/access", url.Values{"base": {"3"}, "access": {"non_public"}, "distribution": {"javascript:alert(1)"}, "contact-email": {"nobody"}, "legislation": {"the law"}})
	must(status, "", body, 422, "")
	status, to, body = b.post("holder", base+"/edit/access", url.Values{"base": {"3"}, "access": {"non_public"}, "distribution": {"https://registry.example"}, "legislation": {"https://eur-lex.europa.eu/x"},
		"contact-name-en": {"Desk"}, "contact-email": {"desk@registry.example"}, "publisher-name-en": {"Registry"}, "custodian-name-en": {"Registry"}, "hdab-name-en": {"Body"}, "hdab-url": {"https://body.example"}})
	must(status, to, body, 303, base+"?done=saved")

	status, to, body = b.post("holder", base+"/publish", url.Values{"version": {"4"}}) // no variables yet
	must(status, to, body, 303, base)
	if _, err := r.Published(t.Context(), "registre-moelle", "new"); err == nil {
		t.Fatal("an incomplete description was published")
	}
	status, _, body = b.post("holder", base+"/edit/structure", url.Values{"base": {"4"}, "variables": {"T;A;string;;;Only;;\nT;B;colour"}})
	must(status, "", body, 422, "")
	if !strings.Contains(body, "Line 2") {
		t.Error("the line of the fault is not named")
	}
	status, _, body = b.post("holder", base+"/edit/structure", url.Values{"base": {"4"}, "variables": {"T;A;colour;;;Only;;"}})
	must(status, "", body, 422, "")
	status, to, body = b.post("holder", base+"/edit/structure", url.Values{"base": {"4"}, "variables": {"table;variable;type;role;code_list;title_en;title_fr;title_fi\r\nT;;DAY;;;Events;;\r\nT;PERSON;string;person_key;;Number;;\r\nT;DAY;date;;;Day;;\r\nT;DX;string;;icd10;\"Diagnosis; coded\";;\r\n"}})
	must(status, to, body, 303, base+"?done=saved")
	if status, _, body = b.post("other", base+"/publish", url.Values{"version": {"5"}}); status != 403 {
		t.Errorf("another holder publishes: %d", status)
	}
	status, to, body = b.post("holder", base+"/publish", url.Values{"version": {"5"}})
	must(status, to, body, 303, base+"?done=published")
	e, err := r.Published(t.Context(), "registre-moelle", "new")
	if err != nil {
		t.Fatal(err)
	}
	if e.Records != 12000 || e.Countries[0] != "FR" || len(e.Keywords["en"]) != 3 || e.CodingSystems[1] != "ATC" ||
		e.Tables[0].EventDate != "DAY" || e.Tables[0].Variable("DX").Title["en"] != "Diagnosis; coded" || e.Tables[0].Variable("PERSON").Requestable() {
		t.Errorf("published: %+v", e.Description)
	}
	status, to, body = b.post("holder", base+"/withdraw", nil)
	must(status, to, body, 303, base+"?done=withdrawn")
	if status, _ := b.get("", "/datasets/registre-moelle/new", "en"); status != 404 {
		t.Errorf("a withdrawn dataset is shown: %d", status)
	}
}

func TestBasketPages(t *testing.T) {
	b := site(t, filled(t))
	for _, c := range []struct {
		as, dataset, do string
		status          int
	}{
		{"", "registre-moelle/greffes", "", 401},
		{"holder", "registre-moelle/greffes", "", 403},
		{"researcher", "registre-moelle/none", "", 404},
		{"researcher", "nonsense", "", 404},
		{"researcher", "registre-moelle/greffes", "", 303},
		{"researcher", "registre-moelle/greffes", "remove", 303},
	} {
		if status, _, body := b.post(c.as, "/basket", url.Values{"dataset": {c.dataset}, "do": {c.do}}); status != c.status {
			t.Errorf("%+v: %d %s", c, status, body)
		}
	}
	if _, body := b.get("researcher", "/basket", "en"); strings.Contains(body, "registre-moelle/greffes") {
		t.Error("the basket still holds what was removed")
	}
}
