package catalogue_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/web"
)

// room is a catalogue with its database, jobs and ledger.
type room struct {
	*catalogue.Catalogue
	db   *store.DB
	jobs *jobs.Client
	dir  string
}

func open(t testing.TB, dsn, dir string) *room {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
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
	c, err := catalogue.New(ctx, catalogue.Options{DB: db, Dir: dir, Clock: clock.System{}, Jobs: j, Ledger: l, Log: log,
		Label: func(lang, key string) string { return bundle.T(lang, key) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(j.Stop(ctx), l.Close(ctx), c.Close()); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return &room{c, db, j, dir}
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

func onBoth(t *testing.T, f func(t *testing.T, r *room)) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": sqlite, "postgres": pgtest.Start} {
		t.Run(name, func(t *testing.T) { f(t, open(t, dsn(t), t.TempDir())) })
	}
}

// settle waits until the jobs have caught up, so that the search index shows what was published.
func (r *room) settle(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		n, err := r.jobs.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are still waiting", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ptr[T any](v T) *T { return &v }

// complete is a description that breaks no rule.
func complete() *catalogue.Description {
	party := catalogue.Party{Name: catalogue.Text{"fi": "Rekisteri", "en": "Registry"}, Email: "data@registry.example", URL: "https://registry.example"}
	return &catalogue.Description{
		Holder: "registre-moelle", Dataset: "greffes",
		Title:       catalogue.Text{"en": "Bone-marrow transplants", "fr": "Greffes de moelle osseuse", "fi": "Luuydinsiirrot"},
		Description: catalogue.Text{"en": "All transplants since 2010."},
		Purpose:     catalogue.Text{"en": "Quality of care."},
		Provenance:  catalogue.Text{"en": "Reported by centres."}, GeneratedBy: catalogue.Text{"en": "Follow-up visits."},
		Keywords:   map[string][]string{"en": {"transplant", "leukaemia"}},
		Categories: []string{"l"}, Themes: []string{"transplantation", "cancer"}, Type: "registry", Structured: true, PersonalData: true,
		CodingSystems: []string{"ICD-10"}, ConformsTo: []string{"EBMT"}, Languages: []string{"fr"}, Frequency: "monthly",
		Population: catalogue.Text{"en": "Everybody transplanted."}, MinAge: ptr(0), MaxAge: ptr(90), Countries: []string{"FR"},
		Period: catalogue.Period{From: "2010-01-01"}, Records: 1000, Persons: 900,
		Access: catalogue.AccessNonPublic, Conditions: catalogue.Text{"en": "Permit."},
		Legislation: []string{"https://eur-lex.europa.eu/eli/reg/2025/327/oj"}, LegalBasis: []string{"GDPR 6(1)(e)"},
		Distribution: "https://registry.example/data", Documentation: "https://registry.example/doc",
		Contact: party, Publisher: party, Custodian: party, HDAB: party,
		Tables: []catalogue.Table{{Name: "GREFFE", Title: catalogue.Text{"en": "Transplants"}, EventDate: "DATE_GREFFE", Variables: []catalogue.Variable{
			{Name: "NIR", Type: contract.TypeString, Role: contract.RoleNIR, Title: catalogue.Text{"en": "Social security number"}},
			{Name: "DATE_GREFFE", Type: contract.TypeDate, Title: catalogue.Text{"en": "Day of the transplant"}},
			{Name: "DIAG", Type: contract.TypeString, Title: catalogue.Text{"en": "Diagnosis"}, CodeList: "icd10"},
		}}},
	}
}

func TestVersionsAndConflicts(t *testing.T) {
	onBoth(t, func(t *testing.T, r *room) {
		ctx, d := t.Context(), complete()
		if _, err := r.Published(ctx, d.Holder, d.Dataset); !errors.Is(err, catalogue.ErrUnknown) {
			t.Fatalf("before: %v", err)
		}
		if v, err := r.Save(ctx, "acct-a", d, 0); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		if _, err := r.Save(ctx, "acct-b", d, 0); !errors.Is(err, catalogue.ErrChanged) {
			t.Errorf("second creation: %v", err)
		}
		if _, err := r.Published(ctx, d.Holder, d.Dataset); !errors.Is(err, catalogue.ErrUnknown) {
			t.Errorf("a draft is visible: %v", err)
		}
		if err := r.Publish(ctx, "acct-a", d.Holder, d.Dataset, 1); err != nil {
			t.Fatal(err)
		}
		e, err := r.Published(ctx, d.Holder, d.Dataset)
		if err != nil || e.Version != 1 {
			t.Fatal(e, err)
		}
		if diff := cmp.Diff(d, e.Description); diff != "" {
			t.Error(diff)
		}
		next := complete()
		next.Title["en"] = "Transplants of bone marrow"
		if v, err := r.Save(ctx, "acct-a", next, 1); v != 2 || err != nil {
			t.Fatal(v, err)
		}
		if e, err = r.Published(ctx, d.Holder, d.Dataset); err != nil || e.Version != 1 || e.Title["en"] != d.Title["en"] {
			t.Errorf("the draft of version 2 shows: %v, %v", e, err)
		}
		if err := r.Publish(ctx, "acct-a", d.Holder, d.Dataset, 1); !errors.Is(err, catalogue.ErrChanged) {
			t.Errorf("publishing an old version: %v", err)
		}
		incomplete := complete()
		incomplete.HDAB = catalogue.Party{}
		if _, err := r.Save(ctx, "acct-a", incomplete, 2); err != nil {
			t.Fatal(err)
		}
		var not *catalogue.NotPublishable
		if err := r.Publish(ctx, "acct-a", d.Holder, d.Dataset, 3); !errors.As(err, &not) || len(not.Broken) != 1 || not.Broken[0].Code != "hdab" {
			t.Errorf("incomplete: %v", err)
		}
		if err := r.Withdraw(ctx, "acct-a", d.Holder, d.Dataset); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Published(ctx, d.Holder, d.Dataset); !errors.Is(err, catalogue.ErrUnknown) {
			t.Errorf("a withdrawn dataset is visible: %v", err)
		}
		h, err := r.History(ctx, d.Holder, d.Dataset)
		if err != nil {
			t.Fatal(err)
		}
		var what []string
		for _, c := range h {
			what = append(what, c.What)
		}
		if diff := cmp.Diff([]string{"withdrawn", "saved", "saved", "published", "saved"}, what); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTwoWritersNeverOverwrite: of concurrent savers on the same base exactly one wins.
func TestTwoWritersNeverOverwrite(t *testing.T) {
	onBoth(t, func(t *testing.T, r *room) {
		var wg sync.WaitGroup
		won := make(chan int, 8)
		for range 8 {
			wg.Go(func() {
				switch v, err := r.Save(t.Context(), "acct-a", complete(), 0); {
				case err == nil:
					won <- v
				case !errors.Is(err, catalogue.ErrChanged):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Errorf("%d writers won", len(won))
		}
	})
}

func TestDeliveryFiguresShow(t *testing.T) {
	onBoth(t, func(t *testing.T, r *room) {
		ctx, d := t.Context(), complete()
		if _, err := r.Save(ctx, "acct-a", d, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.Publish(ctx, "acct-a", d.Holder, d.Dataset, 1); err != nil {
			t.Fatal(err)
		}
		e, err := r.Published(ctx, d.Holder, d.Dataset)
		if err != nil || e.Rows() != 1000 || e.PersonCount() != 900 || e.Delivered != nil {
			t.Fatalf("declared: %+v, %v", e, err)
		}
		for i, body := range []string{
			`{"delivery":"d1","holder":"registre-moelle","dataset":"greffes","rows":{"GREFFE":10},"persons":10}`,
			`{"delivery":"d2","holder":"registre-moelle","dataset":"greffes","rows":{"GREFFE":1234},"persons":950,"years":{"2024":600,"2025":634}}`,
			`{"delivery":"d2","holder":"registre-moelle","dataset":"greffes","rows":{"GREFFE":1},"persons":0}`, // a second time changes nothing
		} {
			n := contract.Notice{ID: "n", Zone: "engine", Kind: "delivery", At: time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC), Body: []byte(body)}
			if err := r.db.InTx(ctx, func(tx *store.Tx) error { return r.OnNotice(ctx, tx, n) }); err != nil {
				t.Fatal(err)
			}
		}
		e, err = r.Published(ctx, d.Holder, d.Dataset)
		if err != nil || e.Rows() != 1234 || e.PersonCount() != 950 || e.Delivered.Years["2025"] != 634 {
			t.Errorf("delivered: %+v, %v", e.Delivered, err)
		}
	})
}

func TestBasket(t *testing.T) {
	onBoth(t, func(t *testing.T, r *room) {
		ctx, d := t.Context(), complete()
		if err := r.AddToBasket(ctx, "acct-r", d.Holder, d.Dataset); !errors.Is(err, catalogue.ErrUnknown) {
			t.Errorf("unknown dataset: %v", err)
		}
		if _, err := r.Save(ctx, "acct-a", d, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.Publish(ctx, "acct-a", d.Holder, d.Dataset, 1); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.AddToBasket(ctx, "acct-r", d.Holder, d.Dataset); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := r.Basket(ctx, "acct-r"); err != nil || len(b) != 1 {
			t.Errorf("%d in the basket, %v", len(b), err)
		}
		if b, err := r.Basket(ctx, "acct-other"); err != nil || len(b) != 0 {
			t.Errorf("%d in another's basket, %v", len(b), err)
		}
		if err := r.RemoveFromBasket(ctx, "acct-r", d.Holder, d.Dataset); err != nil {
			t.Fatal(err)
		}
		if b, err := r.Basket(ctx, "acct-r"); err != nil || len(b) != 0 {
			t.Errorf("%d after removal, %v", len(b), err)
		}
	})
}

func TestEachRuleIsBrokenByWhatItSays(t *testing.T) {
	if broken := catalogue.Validate(complete()); len(broken) > 0 {
		t.Fatalf("the complete description breaks %v", broken)
	}
	breaks := map[string]func(*catalogue.Description){
		"title":          func(d *catalogue.Description) { d.Title = nil },
		"title_language": func(d *catalogue.Description) { delete(d.Title, "fi") },
		"description":    func(d *catalogue.Description) { d.Description = catalogue.Text{"en": ""} },
		"keyword":        func(d *catalogue.Description) { d.Keywords = nil },
		"purpose":        func(d *catalogue.Description) { d.Purpose = nil },
		"provenance":     func(d *catalogue.Description) { d.Provenance = nil },
		"generated_by":   func(d *catalogue.Description) { d.GeneratedBy = nil },
		"category":       func(d *catalogue.Description) { d.Categories = nil },
		"theme":          func(d *catalogue.Description) { d.Themes = nil },
		"type":           func(d *catalogue.Description) { d.Type = "" },
		"population":     func(d *catalogue.Description) { d.Population = nil },
		"countries":      func(d *catalogue.Description) { d.Countries = nil },
		"period":         func(d *catalogue.Description) { d.Period = catalogue.Period{} },
		"language":       func(d *catalogue.Description) { d.Languages = nil },
		"records":        func(d *catalogue.Description) { d.Records = 0 },
		"persons":        func(d *catalogue.Description) { d.Persons = 0 },
		"ages":           func(d *catalogue.Description) { d.MaxAge = nil },
		"frequency":      func(d *catalogue.Description) { d.Frequency = "" },
		"conforms_to":    func(d *catalogue.Description) { d.ConformsTo = nil },
		"access":         func(d *catalogue.Description) { d.Access = "" },
		"access_level":   func(d *catalogue.Description) { d.Access = catalogue.AccessPublic },
		"legislation":    func(d *catalogue.Description) { d.Legislation = nil },
		"legal_basis":    func(d *catalogue.Description) { d.LegalBasis = nil },
		"contact":        func(d *catalogue.Description) { d.Contact = catalogue.Party{Name: catalogue.Text{"en": "x"}} },
		"publisher":      func(d *catalogue.Description) { d.Publisher = catalogue.Party{} },
		"custodian":      func(d *catalogue.Description) { d.Custodian = catalogue.Party{} },
		"hdab":           func(d *catalogue.Description) { d.HDAB.Email, d.HDAB.URL = "", "" },
		"distribution":   func(d *catalogue.Description) { d.Distribution = "" },
		"documentation":  func(d *catalogue.Description) { d.Documentation = "" },
		"variables":      func(d *catalogue.Description) { d.Tables = nil },
		"table_title":    func(d *catalogue.Description) { d.Tables[0].Title = nil },
		"variable_title": func(d *catalogue.Description) { d.Tables[0].Variables[2].Title = nil },
		"coding_system":  func(d *catalogue.Description) { d.CodingSystems = nil },
		"code_values":    func(d *catalogue.Description) { d.Tables[0].Variables[2].CodeList = "" },
	}
	for _, rule := range catalogue.Rules {
		t.Run(rule.Code, func(t *testing.T) {
			f, ok := breaks[rule.Code]
			if !ok {
				t.Fatal("no case breaks this rule")
			}
			d := complete()
			f(d)
			found := false
			for _, b := range catalogue.Validate(d) {
				found = found || b.Code == rule.Code
			}
			if !found {
				t.Error("not reported")
			}
			if catalogue.Publishable(catalogue.Validate(d)) != (rule.Level == catalogue.Recommended) {
				t.Errorf("level %s, publishable %v", rule.Level, catalogue.Publishable(catalogue.Validate(d)))
			}
		})
	}
	if len(breaks) != len(catalogue.Rules) {
		t.Errorf("%d cases for %d rules", len(breaks), len(catalogue.Rules))
	}
}

func TestEveryRuleAndListIsExplainedInThreeLanguages(t *testing.T) {
	b, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range catalogue.Rules {
		keys = append(keys, "catalogue.rule."+r.Code+".what", "catalogue.rule."+r.Code+".why", "catalogue.rule."+r.Code+".how", "catalogue.section."+r.Section)
		for _, s := range r.Sources {
			keys = append(keys, "catalogue.source."+string(s))
		}
	}
	for _, v := range catalogue.Categories {
		keys = append(keys, "catalogue.category."+v)
	}
	for _, v := range catalogue.Themes {
		keys = append(keys, "catalogue.theme."+v)
	}
	for _, v := range catalogue.Types {
		keys = append(keys, "catalogue.type."+v)
	}
	for _, v := range catalogue.Frequencies {
		keys = append(keys, "catalogue.frequency."+v)
	}
	for _, v := range catalogue.AccessRights {
		keys = append(keys, "catalogue.access."+string(v))
	}
	for _, lang := range []string{"en", "fr", "fi"} {
		for _, k := range keys {
			if !b.Has(lang, k) {
				t.Errorf("%s lacks %s", lang, k)
			}
		}
	}
}

func TestDraftsThatCannotBeStored(t *testing.T) {
	r := open(t, sqlite(t), t.TempDir())
	for name, f := range map[string]func(*catalogue.Description){
		"holder with a slash": func(d *catalogue.Description) { d.Holder = "a/b" },
		"unknown category":    func(d *catalogue.Description) { d.Categories = []string{"z"} },
		"unknown theme":       func(d *catalogue.Description) { d.Themes = []string{"astrology"} },
		"unknown type":        func(d *catalogue.Description) { d.Type = "rumour" },
		"unknown frequency":   func(d *catalogue.Description) { d.Frequency = "sometimes" },
		"unknown access":      func(d *catalogue.Description) { d.Access = "secret" },
		"day that is none":    func(d *catalogue.Description) { d.Period.From = "2020-02-31" },
		"period backwards":    func(d *catalogue.Description) { d.Period = catalogue.Period{From: "2021-01-01", To: "2020-01-01"} },
		"country":             func(d *catalogue.Description) { d.Countries = []string{"France"} },
		"negative number":     func(d *catalogue.Description) { d.Records = -1 },
		"age":                 func(d *catalogue.Description) { d.MaxAge = ptr(200) },
		"e-mail":              func(d *catalogue.Description) { d.Contact.Email = "nobody" },
		"script as address":   func(d *catalogue.Description) { d.Publisher.URL = "javascript:alert(1)" },
		"legislation":         func(d *catalogue.Description) { d.Legislation = []string{"Art. 51"} },
		"long text":           func(d *catalogue.Description) { d.Title["en"] = string(make([]byte, 30_000)) },
		"column twice": func(d *catalogue.Description) {
			d.Tables[0].Variables = append(d.Tables[0].Variables, d.Tables[0].Variables[0])
		},
		"unknown column type": func(d *catalogue.Description) { d.Tables[0].Variables[0].Type = "blob" },
		"event date missing":  func(d *catalogue.Description) { d.Tables[0].EventDate = "NONE" },
	} {
		d := complete()
		f(d)
		var refusal *contract.Refusal
		if _, err := r.Save(t.Context(), "acct-a", d, 0); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := r.Records(t.Context(), ""); err != nil || len(list) != 0 {
		t.Errorf("%d records, %v", len(list), err)
	}
}

// TestFallbackOfLanguages: there is a text exactly if there is one in any language, and the reader's own
// is taken when it exists.
func TestFallbackOfLanguages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := catalogue.Text(rapid.MapOf(rapid.SampledFrom([]string{"en", "fr", "fi", "sv", "de"}), rapid.StringMatching(`[a-z]{0,3}`)).Draw(rt, "text"))
		lang := rapid.SampledFrom([]string{"en", "fr", "fi"}).Draw(rt, "lang")
		got, in := text.In(lang)
		if text[lang] != "" && (got != text[lang] || in != lang) {
			rt.Fatalf("%v for %s: %q in %s", text, lang, got, in)
		}
		any := false
		for _, s := range text {
			any = any || s != ""
		}
		if any != (got != "") || text.Empty() == any || (got != "" && text[in] != got) {
			rt.Fatalf("%v for %s: %q in %s", text, lang, got, in)
		}
	})
}
