package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/web"
)

// component renders one template snippet inside the real layout and components.
func component(t *testing.T, body string, data any) string {
	t.Helper()
	fsys := fstest.MapFS{"portal/p/page.html": {Data: []byte(`{{define "title"}}A & B{{end}}{{define "content"}}` + body + `{{end}}`)}}
	for _, name := range []string{"layout", "forms", "display", "error"} {
		b, err := web.Templates().(interface {
			ReadFile(string) ([]byte, error)
		}).ReadFile("components/" + name + ".html")
		if err != nil {
			t.Fatal(err)
		}
		fsys["components/"+name+".html"] = &fstest.MapFile{Data: b}
	}
	bundle, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	r, err := page.New(fsys, bundle, page.Options{Zone: "portal", Assets: web.Assets()})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.Render(w, httptest.NewRequest("GET", "/x?lang=en&q=1", nil), 200, "portal/p", data)
	return w.Body.String()
}

type formData struct{ page.Form }

func TestFormShowsErrorsAndValues(t *testing.T) {
	var d formData
	d.Values = url.Values{"title": {`<b>"hi"</b>`}, "why": {"b"}}
	d.Bad("title", "kit.back")
	d.Bad("when-day", "kit.next")
	html := component(t, `{{template "input" (dict "form" .Data.Form "name" "title" "label" "Title" "hint" "Short")}}
{{template "radios" (dict "form" .Data.Form "name" "why" "label" "Why" "items" (list (dict "value" "a" "text" "A") (dict "value" "b" "text" "B")))}}
{{template "date-input" (dict "form" .Data.Form "name" "when" "label" "When")}}`, d)
	for _, want := range []string{
		`<title>Error: A &amp; B – Mitral</title>`,
		`<a href="#f-title">Back</a>`, `<a href="#f-when-day">Next page</a>`,
		`id="f-title" name="title" type="text" value="&lt;b&gt;&#34;hi&#34;&lt;/b&gt;" aria-describedby="f-title-hint f-title-error"`,
		`id="f-why-2" name="why" type="radio" value="b" checked`,
		`id="f-title-error" class="govuk-error-message"`,
		`<a href="?lang=fr&amp;q=1" lang="fr" hreflang="fr">Français</a>`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("missing %s in\n%s", want, html)
		}
	}
	if strings.Contains(html, "<b>") || strings.Contains(html, " style=") || strings.Contains(html, "<script>") {
		t.Error("unescaped value, inline style or inline script")
	}
}

func TestTableEscapesAndLinks(t *testing.T) {
	html := component(t, `{{template "table" (dict "caption" "People" "head" (list "Name" "n") "numeric" (list 1) "rows" .Data)}}`,
		[][]any{{map[string]any{"href": "javascript:alert(1)", "text": "<x>"}, 3}, {map[string]any{"tag": "green", "text": "ok"}, "4"}})
	for _, want := range []string{"&lt;x&gt;", "#ZgotmplZ", `<strong class="govuk-tag govuk-tag--green">ok</strong>`, `class="govuk-table__cell govuk-table__cell--numeric">3<`} {
		if !strings.Contains(html, want) {
			t.Errorf("missing %s in\n%s", want, html)
		}
	}
}

func TestEveryComponentRenders(t *testing.T) {
	at := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ body, want string }{
		"timeline":     {`{{template "timeline" (dict "items" (list (dict "title" "Filed" "at" .Data "by" "Ann") (dict "title" "Opinion" "future" true)))}}`, `datetime="2026-03-14T09:00:00Z"`},
		"progress":     {`{{template "progress" (dict "label" "Rows" "done" 1200 "total" 5000 "unit" "rows")}}`, `value="1200" max="5000"`},
		"steps":        {`{{template "steps" (dict "steps" (list "One" "Two") "at" 1)}}`, `aria-current="step">Two`},
		"notification": {`{{template "notification" (dict "heading" "Saved" "success" true)}}`, `role="alert"`},
		"summary-list": {`{{template "summary-list" (dict "rows" (list (dict "key" "Title" "value" "T" "href" "/x" "action" "Change")))}}`, `govuk-summary-list__actions`},
		"details":      {`{{template "details" (dict "summary" "More" "text" "Text")}}`, `<details`},
		"pagination":   {`{{template "pagination" (dict "prev" "/a?page=1" "next" "" "page" 2 "pages" 2)}}`, `Page 2 of 2`},
		"breadcrumbs":  {`{{template "breadcrumbs" (dict "items" (list (dict "href" "/" "text" "Start")))}}`, `govuk-breadcrumbs__link`},
		"select":       {`{{template "select" (dict "name" "s" "label" "S" "items" (list (dict "value" "1" "text" "one" "selected" true)))}}`, `<option value="1" selected>one`},
		"checkboxes":   {`{{template "checkboxes" (dict "name" "c" "label" "C" "items" (list (dict "value" "1" "text" "one" "hint" "h")))}}`, `aria-describedby="f-c-item-hint"`},
		"textarea":     {`{{template "textarea" (dict "name" "a" "label" "A" "value" "</textarea>")}}`, `&lt;/textarea&gt;`},
		"file-upload":  {`{{template "file-upload" (dict "name" "f" "label" "F")}}`, `type="file"`},
		"button":       {`{{template "button" (dict "href" "/go" "text" "Go" "start" true)}}`, `role="button"`},
		"panel":        {`{{template "panel" (dict "title" "Done" "text" "Number" "big" "X1")}}`, `<strong>X1</strong>`},
		"warning":      {`{{template "warning" (dict "text" "Mind")}}`, `govuk-warning-text`},
		"inset":        {`{{template "inset" (dict "text" "Note")}}`, `govuk-inset-text`},
		"next":         {`{{template "next" (dict "title" "Next" "href" "/n" "button" "Go")}}`, `id="next-step"`},
		"search":       {`{{template "search" (dict "action" "/s" "name" "q" "value" "a\"b" "label" "L" "button" "B")}}`, `value="a&#34;b"`},
		"back":         {`{{template "back" (dict "href" "/")}}`, `govuk-back-link`},
		"href":         {`<a href="{{href "/s" "q" "a&b" "empty" ""}}">x</a>`, `href="/s?q=a%26b"`},
	} {
		if html := component(t, c.body, at); !strings.Contains(html, c.want) {
			t.Errorf("%s: missing %s in\n%s", name, c.want, html)
		}
	}
}

func TestRealPagesParse(t *testing.T) {
	bundle, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"portal", "enclave"} {
		r, err := page.New(web.Templates(), bundle, page.Options{Zone: zone})
		if err != nil {
			t.Fatal(err)
		}
		for status, want := range map[int]string{404: "Page not found", 403: "You may not see this page", 500: "on our side", 429: "Too many", 401: "Sign in first"} {
			w := httptest.NewRecorder()
			r.Error(w, httptest.NewRequest("GET", "/nothing", nil), status, nil)
			if w.Code != status || !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "kit.") {
				t.Errorf("%s %d: %d %s", zone, status, w.Code, w.Body)
			}
		}
	}
}

func TestAssets(t *testing.T) {
	css := strings.Repeat("body{color:#000}", 100)
	bundle, err := i18n.Load(fstest.MapFS{}, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := page.New(fstest.MapFS{"components/x.html": {Data: []byte(`{{define "layout"}}{{asset "app.css"}}{{end}}`)},
		"portal/p/page.html": {Data: []byte(`{{define "title"}}{{end}}{{define "content"}}{{end}}`)}},
		bundle, page.Options{Zone: "portal", Assets: fstest.MapFS{"app.css": {Data: []byte(css)}, ".gitkeep": {}}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.Render(w, httptest.NewRequest("GET", "/", nil), 200, "portal/p", nil)
	get := func(url, enc string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", url, nil)
		req.Header.Set("Accept-Encoding", enc)
		rec := httptest.NewRecorder()
		r.Assets().ServeHTTP(rec, req)
		return rec
	}
	href := w.Body.String()
	if rec := get(href, "gzip"); rec.Code != 200 || !strings.Contains(rec.Header().Get("Cache-Control"), "immutable") || rec.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%s: %d %v", href, rec.Code, rec.Header())
	} else if z, err := gzip.NewReader(rec.Body); err != nil {
		t.Error(err)
	} else if b, _ := io.ReadAll(z); string(b) != css {
		t.Error("content differs after gzip")
	}
	if rec := get("/assets/app.css", ""); rec.Body.String() != css || rec.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("plain: %v", rec.Header())
	}
	for _, bad := range []string{"/assets/none.css", "/assets/.gitkeep", "/assets/../page.go"} {
		if rec := get(bad, ""); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
}
