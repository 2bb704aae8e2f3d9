package i18n_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mitral-health/mitral/internal/kit/i18n"
)

func bundle(t *testing.T) *i18n.Bundle {
	t.Helper()
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	b, err := i18n.Load(fstest.MapFS{
		"m/shop.en.yaml": {Data: []byte("shop.hello: \"Hello {name}\"\nshop.hits.one: \"{count} hit\"\nshop.hits.other: \"{count} hits\"\nshop.on: \"On {day}\"\n")},
		"m/shop.fr.yaml": {Data: []byte("shop.hello: \"Bonjour {name}\"\nshop.hits.one: \"{count} résultat\"\nshop.hits.other: \"{count} résultats\"\nshop.on: \"Le {day}\"\n")},
		"m/shop.fi.yaml": {Data: []byte("shop.hello: \"Hei {name}\"\nshop.hits.one: \"{count} osuma\"\nshop.hits.other: \"{count} osumaa\"\nshop.on: \"{day}\"\n")},
	}, "m", paris)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	b := bundle(t)
	day := time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC) // already 2 March in Paris
	for _, c := range []struct{ got, want string }{
		{b.T("fr", "shop.hello", "name", "{name}"), "Bonjour {name}"},
		{b.T("en", "shop.hits", "count", 1), "1 hit"},
		{b.T("en", "shop.hits", "count", 0), "0 hits"},
		{b.T("fr", "shop.hits", "count", 0), "0 résultat"},
		{b.T("fr", "shop.hits", "count", int64(12345)), "12\u00a0345 résultats"},
		{b.T("fi", "shop.hits", "count", 2), "2 osumaa"},
		{b.T("en", "shop.on", "day", day), "On 2\u00a0March 2026"},
		{b.T("en", "shop.none"), "shop.none"},
		{b.Date("fr", day.AddDate(0, 0, -1)), "1er\u00a0mars 2026"},
		{b.DateTime("fi", day), "2.\u00a0maaliskuuta 2026 klo 00.30"},
		{b.DateTime("fr", day), "2\u00a0mars 2026 à 00:30"},
		{b.DateTime("en", time.Time{}), "–"},
		{b.Number("en", 1234567.5), "1,234,567.5"},
		{b.Number("fi", 1234567), "1\u00a0234\u00a0567"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestLoadRefusesForeignKeys(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"key of another room": {"shop.en.yaml": {Data: []byte("other.key: x\n")}},
		"unknown language":    {"shop.de.yaml": {Data: []byte("shop.key: x\n")}},
		"key twice":           {"shop.en.yaml": {Data: []byte("shop.key: x\nshop.key: y\n")}},
	} {
		if _, err := i18n.Load(fsys, ".", nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNegotiation(t *testing.T) {
	var got string
	h := i18n.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = i18n.Lang(r.Context()) }))
	for _, c := range []struct{ url, cookie, accept, want string }{
		{"/", "", "", "en"},
		{"/", "", "fr-CA,fr;q=0.9,en;q=0.1", "fr"},
		{"/", "", "sv, fi;q=0.8", "fi"},
		{"/", "", "de", "en"},
		{"/", "fi", "fr", "fi"},
		{"/?lang=fr", "fi", "en", "fr"},
		{"/?lang=xx", "zz", "fr", "fr"},
	} {
		r := httptest.NewRequest("GET", c.url, nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.cookie != "" {
			r.AddCookie(&http.Cookie{Name: i18n.CookieName, Value: c.cookie})
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got != c.want || w.Header().Get("Content-Language") != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestSort(t *testing.T) {
	for lang, want := range map[string][]string{
		"fr": {"cote", "côte", "étude", "zone"},
		"fi": {"cote", "côte", "étude", "zone"},
	} {
		words := []string{"zone", "étude", "côte", "cote"}
		i18n.SortFunc(lang, words, func(s string) string { return s })
		if d := cmp.Diff(want, words); d != "" {
			t.Errorf("%s: %s", lang, d)
		}
	}
	words := []string{"öljy", "zone", "ångström", "alku"} // Finnish puts å, ä, ö last
	i18n.SortFunc("fi", words, func(s string) string { return s })
	if d := cmp.Diff([]string{"alku", "zone", "ångström", "öljy"}, words); d != "" {
		t.Error(d)
	}
}
