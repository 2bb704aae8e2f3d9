// Package i18n turns message keys, dates, numbers and sort orders into the reader's language. It is used
// by pages, mails and printed documents of every zone; it knows no zone and holds no text itself: text
// lies in web/messages, one YAML file per room and language.
//
// A message file is flat:
//
//	catalogue.search.title: "Find data"
//	catalogue.search.hits.one: "{count} dataset"
//	catalogue.search.hits.other: "{count} datasets"
//
// The room before the first dot is the name of the file. A key that is used with an argument named
// "count" may exist in the two forms .one and .other; which one is taken follows CLDR's plural rules.
package i18n

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"gopkg.in/yaml.v3"
)

// Languages that every text exists in; the first is the fallback for a reader who asks for none of them.
var Languages = []string{"en", "fr", "fi"}

var (
	tags    = map[string]language.Tag{"en": language.BritishEnglish, "fr": language.French, "fi": language.Finnish}
	matcher = language.NewMatcher([]language.Tag{language.BritishEnglish, language.French, language.Finnish})
)

// Supported reports whether lang is one of Languages.
func Supported(lang string) bool { return slices.Contains(Languages, lang) }

// Bundle holds all messages, and the time zone in which dates are shown.
type Bundle struct {
	messages map[string]map[string]string // language → key → text
	rooms    map[string]bool
	// Location is the time zone of shown dates and times.
	Location *time.Location
}

// Load reads every <room>.<lang>.yaml in dir. A key that does not start with its room's name, or that
// stands twice, is an error.
func Load(fsys fs.FS, dir string, location *time.Location) (*Bundle, error) {
	b := &Bundle{messages: map[string]map[string]string{}, rooms: map[string]bool{}, Location: location}
	if location == nil {
		b.Location = time.UTC
	}
	for _, l := range Languages {
		b.messages[l] = map[string]string{}
	}
	files, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	for _, f := range files {
		room, lang, ok := strings.Cut(strings.TrimSuffix(path.Base(f), ".yaml"), ".")
		if !ok || !Supported(lang) {
			return nil, fmt.Errorf("messages %s: want <room>.<en|fr|fi>.yaml", f)
		}
		raw, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, fmt.Errorf("messages: %w", err)
		}
		var m map[string]string
		if err := yaml.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("messages %s: %w", f, err)
		}
		b.rooms[room] = true
		for k, v := range m {
			if !strings.HasPrefix(k, room+".") {
				return nil, fmt.Errorf("messages %s: key %q must start with %q", f, k, room+".")
			}
			if lang == "fr" {
				v = frenchSpaces.Replace(v)
			}
			b.messages[lang][k] = v
		}
	}
	return b, nil
}

// frenchSpaces keeps signs that French sets apart from being torn from their word at the end of a line.
var frenchSpaces = strings.NewReplacer(" ?", "\u202f?", " !", "\u202f!", " ;", "\u202f;", " :", "\u00a0:", "« ", "«\u00a0", " »", "\u00a0»")

// Has reports whether key exists, in a plural form or not.
func (b *Bundle) Has(lang, key string) bool {
	m := b.messages[lang]
	return m[key] != "" || m[key+".other"] != ""
}

// Keys returns the keys of a language as they stand in the files, sorted.
func (b *Bundle) Keys(lang string) []string {
	keys := make([]string, 0, len(b.messages[lang]))
	for k := range b.messages[lang] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// T returns the text of key in lang with its placeholders filled from args, which are name, value,
// name, value, …: T("fr", "catalogue.search.hits", "count", 3). Values of integer type are written as
// the language writes numbers, times as dates. An unknown key returns the key itself, so that a page is
// never blank; the tests see to it that there is none.
func (b *Bundle) T(lang, key string, args ...any) string {
	text, ok := b.messages[lang][key]
	if !ok {
		if n, has := countOf(args); has {
			text, ok = b.messages[lang][key+"."+pluralForm(lang, n)]
		}
	}
	if !ok {
		return key
	}
	if len(args) == 0 || !strings.Contains(text, "{") {
		return text
	}
	pairs := make([]string, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		pairs = append(pairs, "{"+fmt.Sprint(args[i])+"}", b.show(lang, args[i+1]))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (b *Bundle) show(lang string, v any) string {
	switch x := v.(type) {
	case string:
		return x
	case int, int32, int64, uint64, float64:
		return b.Number(lang, x)
	case time.Time:
		return b.Date(lang, x)
	}
	return fmt.Sprint(v)
}

func countOf(args []any) (int64, bool) {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "count" {
			switch n := args[i+1].(type) {
			case int:
				return int64(n), true
			case int64:
				return n, true
			}
		}
	}
	return 0, false
}

func pluralForm(lang string, n int64) string {
	if n < 0 {
		n = -n
	}
	if plural.Cardinal.MatchPlural(tags[lang], int(n%10_000_000), 0, 0, 0, 0) == plural.One {
		return "one"
	}
	return "other"
}

// CookieName holds a reader's choice of language. It is a preference, not personal data.
const CookieName = "mitral_lang"

type ctxKey struct{}

// Middleware finds the language of each request: ?lang= (kept in a cookie), else the cookie, else
// Accept-Language, else English.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lang := ""
		if q := r.URL.Query().Get("lang"); Supported(q) {
			lang = q
			http.SetCookie(w, &http.Cookie{Name: CookieName, Value: q, Path: "/", MaxAge: 365 * 24 * 3600,
				HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
		}
		if lang == "" {
			if c, err := r.Cookie(CookieName); err == nil && Supported(c.Value) {
				lang = c.Value
			}
		}
		if lang == "" {
			lang = negotiate(r.Header.Get("Accept-Language"))
		}
		w.Header().Set("Content-Language", lang)
		w.Header().Add("Vary", "Accept-Language, Cookie")
		next.ServeHTTP(w, r.WithContext(WithLang(r.Context(), lang)))
	})
}

func negotiate(accept string) string {
	if accept == "" {
		return Languages[0]
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return Languages[0]
	}
	_, i, _ := matcher.Match(wanted...)
	return Languages[i]
}

// WithLang puts a language into a context.
func WithLang(ctx context.Context, lang string) context.Context {
	return context.WithValue(ctx, ctxKey{}, lang)
}

// Lang returns the language of a context that passed Middleware, and English for any other.
func Lang(ctx context.Context) string {
	if l, ok := ctx.Value(ctxKey{}).(string); ok {
		return l
	}
	return Languages[0]
}

// Key builds a message key from a fixed beginning and variable parts: Key("gateway.state.", state). The
// tests look for the beginning, so it must be written out.
func Key(beginning string, parts ...string) string { return beginning + strings.Join(parts, "") }
