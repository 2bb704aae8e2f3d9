package feasibility_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/page/pagetest"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/api/apitest"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/internal/portal/feasibility"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
	"github.com/mitral-health/mitral/web"
)

var errNoMandate = errors.New("none in force")

// room is the service with a real catalogue and a real order book, whose orders a goroutine answers as
// engine would.
type room struct {
	*feasibility.Service
	db      *store.DB
	book    *orderbook.Book
	cat     *catalogue.Catalogue
	acc     *access.Access
	pages   *page.Renderer
	mandate *contract.SignedPermit // nil: none in force
}

func open(t testing.TB, dsn string, answer func(contract.FeasibilityQuery) (contract.ReceiptStatus, string, any), wait time.Duration) *room {
	t.Helper()
	ctx, log, dir := t.Context(), slog.New(slog.DiscardHandler), t.TempDir()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	j := jobs.New(db, log)
	l, err := ledger.Open(ctx, ledger.Options{Dir: filepath.Join(dir, "ledger"), Zone: "portal", DB: db, Jobs: j, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	r := &room{db: db}
	if r.cat, err = catalogue.New(ctx, catalogue.Options{DB: db, Dir: dir, Clock: clock.System{}, Jobs: j, Ledger: l, Log: log,
		Label: func(lang, key string) string { return bundle.T(lang, key) }}); err != nil {
		t.Fatal(err)
	}
	if r.book, err = orderbook.New(ctx, orderbook.Options{DB: db, Dir: dir, Clock: clock.System{}, Log: log}); err != nil {
		t.Fatal(err)
	}
	if r.pages, err = page.New(web.Templates(), bundle, page.Options{Zone: "portal"}); err != nil {
		t.Fatal(err)
	}
	if r.acc, err = access.New(ctx, access.Options{DB: db, Pages: r.pages, Clock: clock.System{}, Log: log, Dir: dir, PublicURL: "https://portal.example", RPID: "portal.example"}); err != nil {
		t.Fatal(err)
	}
	r.Service, err = feasibility.New(ctx, feasibility.Options{DB: db, Clock: clock.System{}, Ledger: l, Log: log, Orders: r.book, Datasets: r.cat, Wait: wait, NoMandate: errNoMandate,
		Mandate: func(context.Context) (*contract.SignedPermit, error) {
			if r.mandate == nil {
				return nil, errNoMandate
			}
			return r.mandate, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.book.OnReceipt(r.OnReceipt)
	if err := j.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(j.Stop(ctx), l.Close(ctx), r.cat.Close()); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	r.describe(t)
	r.sign(t, "SEJOUR")
	if answer != nil {
		go r.engine(t, answer)
	}
	return r
}

// describe publishes a dataset with two tables, one of which the mandate covers.
func (r *room) describe(t testing.TB) {
	t.Helper()
	text, party := catalogue.Text{"en": "Hospital stays", "fr": "Séjours", "fi": "Hoitojaksot"}, catalogue.Party{Name: catalogue.Text{"en": "Body"}, URL: "https://body.example"}
	variables := []catalogue.Variable{
		{Name: "NIR", Type: contract.TypeString, Role: contract.RoleNIR, Title: text},
		{Name: "DP", Type: contract.TypeString, Title: text, CodeList: "icd10"},
		{Name: "NOTE", Type: contract.TypeString, Title: text},
	}
	d := &catalogue.Description{Holder: "cnam", Dataset: "snds", Title: text, Description: text, Provenance: text, GeneratedBy: text,
		Keywords: map[string][]string{"en": {"stays"}}, Categories: []string{"e"}, Themes: []string{"cancer"}, Type: "claims", Structured: true, PersonalData: true,
		CodingSystems: []string{"ICD-10"}, Languages: []string{"fr"}, Countries: []string{"FR"}, Period: catalogue.Period{From: "2020-01-01"}, Access: catalogue.AccessNonPublic,
		Legislation: []string{"https://eur-lex.europa.eu/x"}, Distribution: "https://x.example", Contact: party, Publisher: party, Custodian: party, HDAB: party,
		Tables: []catalogue.Table{{Name: "SEJOUR", Title: text, Variables: variables}, {Name: "AUTRE", Title: text, Variables: variables}}}
	if _, err := r.cat.Save(t.Context(), "acct-h", d, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.cat.Publish(t.Context(), "acct-h", "cnam", "snds", 1); err != nil {
		t.Fatal(err)
	}
	if err := r.cat.SaveCodeList(t.Context(), catalogue.CodeList{Name: "icd10", Codes: []catalogue.Code{{Code: "C499", Label: "Sarcome"}}}); err != nil {
		t.Fatal(err)
	}
}

func (r *room) sign(t testing.TB, table string) {
	t.Helper()
	now := time.Now().UTC()
	p := contracttest.Permit(now)
	p.Kind, p.RoundTo, p.MinCell = contract.PermitFeasibility, 10, 11
	p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: table}}}}
	signed := contracttest.NewOfficer(t, "officer-1").Sign(t, p)
	r.mandate = &signed
}

func (r *room) engine(t testing.TB, answer func(contract.FeasibilityQuery) (contract.ReceiptStatus, string, any)) {
	ctx := t.Context()
	for after := int64(0); ctx.Err() == nil; {
		list, err := r.book.Orders(ctx, contract.ZoneEngine, after, time.Second)
		if err != nil {
			return // the test is over
		}
		for _, n := range list {
			after = n.Seq
			var q contract.FeasibilityQuery
			if err := json.Unmarshal(n.Order.Body, &q); err != nil || n.Order.Permit == nil {
				t.Errorf("order %s: %v", n.Order.ID, err)
				continue
			}
			status, code, body := answer(q)
			raw, err := json.Marshal(body)
			if err != nil {
				t.Error(err)
			}
			if err := r.book.Receive(ctx, contract.ZoneEngine, contract.Receipt{ID: contract.NewID("receipt"), OrderID: n.Order.ID, Zone: "engine", Status: status, Code: code, At: time.Now(), Body: raw}); err != nil {
				t.Error(err)
			}
		}
	}
}

// counted answers 120 persons for C499, few for anything else.
func counted(q contract.FeasibilityQuery) (contract.ReceiptStatus, string, any) {
	a := contract.FeasibilityAnswer{MinCell: 11, RoundTo: 10, Rule: "Counts below 11 are hidden; others are rounded to 10."}
	switch q.Cohort.AnyOf[0].Codes[0] {
	case "C499":
		a.Count = 120
	case "BUDGET":
		return contract.ReceiptRefused, "budget", nil
	case "LEAK": // an answer that is hidden and still tells: never shown
		a.Hidden, a.Count = true, 3
	default:
		a.Hidden = true
	}
	return contract.ReceiptDone, "", a
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

func question(codes ...string) feasibility.Question {
	return feasibility.Question{Holder: "cnam", Dataset: "snds", Table: "SEJOUR", Column: "DP", Codes: codes, From: 2020, To: 2024}
}

func TestAskAndAnswer(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": sqlite, "postgres": pgtest.Start} {
		t.Run(name, func(t *testing.T) {
			r := open(t, dsn(t), counted, 0)
			a, err := r.Ask(t.Context(), "acct-r", question(" C499 ", "C499", "C490"))
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != feasibility.Answered || a.Answer.Count != 120 || len(a.Question.Codes) != 2 {
				t.Errorf("%+v", a)
			}
			if a, err = r.Ask(t.Context(), "acct-r", question("Z999")); err != nil || a.Answer == nil || !a.Answer.Hidden || a.Answer.Count != 0 {
				t.Errorf("small count: %+v, %v", a, err)
			}
			if a, err = r.Ask(t.Context(), "acct-r", question("BUDGET")); err != nil || a.Status != feasibility.Refused || a.Code != "budget" {
				t.Errorf("budget: %+v, %v", a, err)
			}
			if a, err = r.Ask(t.Context(), "acct-r", question("LEAK")); err != nil || a.Status != feasibility.Failed || a.Answer != nil {
				t.Errorf("an answer that breaks its own rule: %+v, %v", a, err)
			}
			h, err := r.History(t.Context(), "acct-r")
			if err != nil || len(h) != 4 || h[0].Question.Codes[0] != "LEAK" {
				t.Errorf("history: %+v, %v", h, err)
			}
			if _, err := r.Question(t.Context(), "acct-other", a.ID); !errors.Is(err, feasibility.ErrUnknown) {
				t.Errorf("another's question: %v", err)
			}
		})
	}
}

func TestLateAnswerIsRecorded(t *testing.T) {
	release := make(chan struct{})
	r := open(t, sqlite(t), func(q contract.FeasibilityQuery) (contract.ReceiptStatus, string, any) { <-release; return counted(q) }, 50*time.Millisecond)
	a, err := r.Ask(t.Context(), "acct-r", question("C499"))
	if err != nil || a.Status != feasibility.Waiting {
		t.Fatalf("%+v, %v", a, err)
	}
	close(release)
	if _, err := r.book.Wait(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if a, err = r.Question(t.Context(), "acct-r", a.ID); err != nil || a.Status != feasibility.Answered {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestRefusedBeforeAnythingIsAsked(t *testing.T) {
	r := open(t, sqlite(t), nil, 0)
	change := func(f func(*feasibility.Question)) feasibility.Question {
		q := question("C499")
		f(&q)
		return q
	}
	var no *feasibility.Unavailable
	for name, q := range map[string]feasibility.Question{
		"unknown dataset": change(func(q *feasibility.Question) { q.Dataset = "none" }),
		"unknown table":   change(func(q *feasibility.Question) { q.Table = "NONE" }),
		"unknown column":  change(func(q *feasibility.Question) { q.Column = "NONE" }),
		"identity":        change(func(q *feasibility.Question) { q.Column = "NIR" }),
		"no code":         change(func(q *feasibility.Question) { q.Codes = []string{" "} }),
		"too many codes":  change(func(q *feasibility.Question) { q.Codes = manyCodes() }),
		"years backwards": change(func(q *feasibility.Question) { q.To = 2010 }),
	} {
		if _, err := r.Ask(t.Context(), "acct-r", q); err == nil || errors.As(err, &no) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Ask(t.Context(), "acct-r", change(func(q *feasibility.Question) { q.Table = "AUTRE" })); !errors.As(err, &no) || no.Code != "not_covered" {
		t.Errorf("outside the mandate: %v", err)
	}
	r.mandate = nil
	if _, err := r.Ask(t.Context(), "acct-r", question("C499")); !errors.As(err, &no) || no.Code != "no_mandate" {
		t.Errorf("without mandate: %v", err)
	}
	if list, err := r.book.Orders(t.Context(), contract.ZoneEngine, 0, 0); err != nil || len(list) != 0 {
		t.Errorf("%d orders were put, %v", len(list), err)
	}
	if h, err := r.History(t.Context(), "acct-r"); err != nil || len(h) != 0 {
		t.Errorf("history: %v, %v", h, err)
	}
}

func manyCodes() []string {
	var codes []string
	for i := range feasibility.MaxCodes + 1 {
		codes = append(codes, "C"+string(rune('A'+i%26))+string(rune('A'+i/26)))
	}
	return codes
}

func (r *room) front(h http.Handler) func(as string, w http.ResponseWriter, req *http.Request) {
	people := map[string]*access.User{"researcher": {ID: "acct-r", Roles: []access.Role{access.Researcher}}, "holder": {ID: "acct-h", Roles: []access.Role{access.Holder}, Holder: "cnam"}}
	return func(as string, w http.ResponseWriter, req *http.Request) {
		i18n.Middleware(r.acc.Middleware(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if u := people[as]; u != nil {
				req = req.WithContext(access.WithUser(req.Context(), u))
			}
			h.ServeHTTP(w, req)
		}))).ServeHTTP(w, req)
	}
}

func TestAPI(t *testing.T) {
	r := open(t, sqlite(t), counted, 0)
	mux := http.NewServeMux()
	a := api.New(mux, "test")
	r.Operations(a)
	asked, err := r.Ask(t.Context(), "acct-r", question("C499"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"holder":"cnam","dataset":"snds","table":"SEJOUR","column":"DP","codes":["C499"],"from":2020,"to":2024}`
	apitest.Run(t, a, "feasibility", r.front(mux), []apitest.Case{
		{Operation: "ask-count", Kind: apitest.Allowed, As: "researcher", Path: "/api/v1/feasibility", Body: body, Status: 200, Has: `"count":120`},
		{Operation: "ask-count", Kind: apitest.Allowed, Name: "small", As: "researcher", Path: "/api/v1/feasibility", Body: strings.Replace(body, "C499", "Z", 1), Status: 200, Has: `"hidden":true`},
		{Operation: "ask-count", Kind: apitest.Denied, Name: "visitor", Path: "/api/v1/feasibility", Body: body, Status: 401},
		{Operation: "ask-count", Kind: apitest.Denied, As: "holder", Path: "/api/v1/feasibility", Body: body, Status: 403},
		{Operation: "ask-count", Kind: apitest.Denied, Name: "outside the mandate", As: "researcher", Path: "/api/v1/feasibility", Body: strings.Replace(body, "SEJOUR", "AUTRE", 1), Status: 403, Has: "not_covered"},
		{Operation: "ask-count", Kind: apitest.Unknown, Name: "dataset", As: "researcher", Path: "/api/v1/feasibility", Body: strings.Replace(body, "snds", "none", 1), Status: 404},
		{Operation: "ask-count", Kind: apitest.Unknown, Name: "identity", As: "researcher", Path: "/api/v1/feasibility", Body: strings.Replace(body, "DP", "NIR", 1), Status: 422, Has: "column"},
		{Operation: "list-counts", Kind: apitest.Allowed, As: "researcher", Path: "/api/v1/feasibility", Status: 200, Has: asked.ID},
		{Operation: "list-counts", Kind: apitest.Denied, As: "holder", Path: "/api/v1/feasibility", Status: 403, Not: asked.ID},
		{Operation: "get-count", Kind: apitest.Allowed, As: "researcher", Path: "/api/v1/feasibility/" + asked.ID, Status: 200, Has: `"answered"`},
		{Operation: "get-count", Kind: apitest.Denied, Path: "/api/v1/feasibility/" + asked.ID, Status: 401},
		{Operation: "get-count", Kind: apitest.Unknown, As: "researcher", Path: "/api/v1/feasibility/order-none", Status: 404},
		{Operation: "list-counts", Kind: apitest.Unknown, As: "nobody", Path: "/api/v1/feasibility", Status: 401},
	})
}

func TestPages(t *testing.T) {
	r := open(t, sqlite(t), counted, 0)
	mux := http.NewServeMux()
	r.Routes(mux, feasibility.SiteOptions{Pages: r.pages, Door: r.acc, Catalogue: r.cat})
	serve := r.front(mux)
	request := func(as, method, path, lang string, form url.Values) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		req.Header.Set("Accept-Language", lang)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		serve(as, w, req)
		return w
	}
	form := url.Values{"variable": {"cnam/snds/SEJOUR/DP"}, "codes": {"C499, C490"}, "from": {"2020"}, "to": {"2024"}, "prefix": {"yes"}}
	w := request("researcher", "POST", "/feasibility", "en", form)
	if w.Code != 303 {
		t.Fatal(w.Code, w.Body)
	}
	answer := w.Header().Get("Location")
	few := request("researcher", "POST", "/feasibility", "en", url.Values{"variable": form["variable"], "codes": {"Z1"}, "from": {"2020"}, "to": {"2020"}}).Header().Get("Location")
	for _, c := range []struct {
		as, path string
		status   int
		has, not string
	}{
		{"researcher", "/feasibility", 200, `value="cnam/snds/SEJOUR/DP"`, "cnam/snds/AUTRE"},
		{"researcher", "/feasibility?variable=cnam%2Fsnds%2FSEJOUR%2FDP&codes=C499", 200, `value="cnam/snds/SEJOUR/DP" selected`, "SEJOUR/NIR"},
		{"holder", "/feasibility", 403, "", "SEJOUR"},
		{"", "/feasibility", 303, "", "SEJOUR"},
		{"researcher", answer, 200, "120", ""},
		{"researcher", few, 200, "11", "120"},
		{"holder", answer, 403, "", "120"},
		{"researcher", "/feasibility/order-none", 404, "", ""},
	} {
		for _, lang := range []string{"en", "fr", "fi"} {
			w := request(c.as, "GET", c.path, lang, nil)
			where := c.as + " " + c.path + " " + lang
			body := w.Body.String()
			if w.Code != c.status || !strings.Contains(body, c.has) || (c.not != "" && strings.Contains(body, c.not)) {
				t.Errorf("%s: status %d, has %v", where, w.Code, strings.Contains(body, c.has))
			}
			if w.Code != 303 {
				pagetest.Check(t, where, body)
			}
		}
	}
	for field, f := range map[string]url.Values{
		"variable": {"codes": {"C499"}, "from": {"2020"}, "to": {"2024"}},
		"codes":    {"variable": form["variable"], "codes": {" ,"}, "from": {"2020"}, "to": {"2024"}},
		"from":     {"variable": form["variable"], "codes": {"C499"}, "from": {"then"}, "to": {"2024"}},
		"to":       {"variable": form["variable"], "codes": {"C499"}, "from": {"2024"}, "to": {"2020"}},
	} {
		w := request("researcher", "POST", "/feasibility", "fi", f)
		if w.Code != 422 || !strings.Contains(w.Body.String(), `href="#f-`+field+`"`) {
			t.Errorf("%s: %d", field, w.Code)
		}
		pagetest.Check(t, field, w.Body.String())
	}
	r.mandate = nil
	if w := request("researcher", "POST", "/feasibility", "en", form); w.Code != 422 || !strings.Contains(w.Body.String(), "No mandate") {
		t.Errorf("without mandate: %d", w.Code)
	}
	if w := request("holder", "POST", "/feasibility", "en", form); w.Code != 403 {
		t.Errorf("a holder asks: %d", w.Code)
	}
}
