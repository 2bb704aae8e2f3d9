// Package page renders the HTML pages of a zone: one layout, one set of components, three languages,
// error summaries, static assets. Zones' rooms call it from their handlers; it knows no zone and holds
// no text. Templates lie in web/: components in web/components/*.html, the page called
// "portal/catalogue/search" in web/portal/catalogue/search/page.html.
//
// A page template defines "title" and "content". Its dot is a *View: what the handler passed is .Data,
// the rest is about the request. Functions available in templates:
//
//	t "room.key" "name" value …   message in the reader's language; key may be built: t (key "room.state." .State)
//	msg m                         the text of a Message or a plain string
//	date v, datetime v, number v  in the reader's language
//	lang                          "en", "fr" or "fi"
//	asset "app.css"               address of a built file, with its digest
//	dict "name" value …, list v … build arguments for components
//	href "/path" "name" value …   a local address with an escaped query
//	pathseg v                     one escaped path element
//	add a b, json v
package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/i18n"
)

// NavItem is one link of the main navigation.
type NavItem struct {
	Label  string // message key
	Href   string
	Active bool
}

// User is who is signed in, as the header shows it.
type User struct {
	Name string
	Role string // message key of the role
}

// Demo is what the demonstration banner shows; nil outside demo mode.
type Demo struct {
	Now   time.Time // the hub's clock, which a demonstration can move
	Shift int       // days the clock is ahead of the machine's
}

// Options of a Renderer. Functions may be nil.
type Options struct {
	Zone    string // "portal" or "enclave": where pages are looked for
	Name    string // name of the hub in the header; "Mitral" if empty
	Assets  fs.FS  // built files: app.css, app.js, images
	Nav     func(*http.Request) []NavItem
	User    func(*http.Request) *User
	Demo    func(*http.Request) *Demo
	SignIn  string // address of the sign-in page; empty: no link
	SignOut string // address that a sign-out form posts to
}

// View is the dot of every page.
type View struct {
	Lang    string
	Path    string // path of the request
	Zone    string
	HubName string
	User    *User
	Nav     []NavItem
	Demo    *Demo
	SignIn  string
	SignOut string
	Langs   []Lang
	Errors  Errors // of the form on the page, shown as error summary by the layout
	Title   string // set before the layout runs
	Content template.HTML
	Data    any
}

// Lang is one entry of the language switch.
type Lang struct {
	Code, Name, Href string
	Active           bool
}

var langNames = map[string]string{"en": "English", "fr": "Français", "fi": "Suomi"}

// Renderer renders the pages of one zone. It is safe for concurrent use.
type Renderer struct {
	opts   Options
	bundle *i18n.Bundle
	pages  map[string]map[string]*template.Template // language → page name → templates
	assets *assets
}

// New parses every page of opts.Zone in fsys, in every language; a template that does not parse is an
// error at start, never on a page.
func New(fsys fs.FS, bundle *i18n.Bundle, opts Options) (*Renderer, error) {
	if opts.Name == "" {
		opts.Name = "Mitral"
	}
	as, err := loadAssets(opts.Assets)
	if err != nil {
		return nil, err
	}
	r := &Renderer{opts: opts, bundle: bundle, pages: map[string]map[string]*template.Template{}, assets: as}
	var files []string
	err = fs.WalkDir(fsys, opts.Zone, func(p string, d fs.DirEntry, err error) error {
		if err == nil && path.Base(p) == "page.html" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	for _, lang := range i18n.Languages {
		base, err := template.New("base").Funcs(r.funcs(lang)).ParseFS(fsys, "components/*.html")
		if err != nil {
			return nil, fmt.Errorf("components: %w", err)
		}
		r.pages[lang] = map[string]*template.Template{}
		for _, f := range files {
			t, err := template.Must(base.Clone()).ParseFS(fsys, f)
			if err != nil {
				return nil, fmt.Errorf("page %s: %w", f, err)
			}
			for _, part := range []string{"title", "content"} {
				if t.Lookup(part) == nil {
					return nil, fmt.Errorf("page %s does not define %q", f, part)
				}
			}
			r.pages[lang][path.Dir(f)] = t
		}
	}
	return r, nil
}

// Render writes the page called name. data with an embedded Form has its errors shown on top. A failure
// while rendering never sends half a page.
func (p *Renderer) Render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	body, err := p.render(r, name, data)
	if err != nil {
		// Only a fault of ours can lead here; the panic handler of the listener logs it.
		panic(fmt.Errorf("page %s: %w", name, err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store") // pages show who is signed in
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// Fragment writes only the part of the page that is called block, for a script that replaces it in
// place. The same handler serves the whole page to readers without scripts.
func (p *Renderer) Fragment(w http.ResponseWriter, r *http.Request, name, block string, data any) {
	v := p.view(r, data)
	t, ok := p.pages[v.Lang][name]
	if !ok || t.Lookup(block) == nil {
		panic(fmt.Errorf("page %s: no block %q", name, block))
	}
	var buf bytes.Buffer
	if err := t.ExecuteTemplate(&buf, block, v); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(buf.Bytes())
}

func (p *Renderer) render(r *http.Request, name string, data any) ([]byte, error) {
	v := p.view(r, data)
	t, ok := p.pages[v.Lang][name]
	if !ok {
		return nil, errors.New("no such page")
	}
	var buf bytes.Buffer
	if err := t.ExecuteTemplate(&buf, "title", v); err != nil {
		return nil, err
	}
	v.Title = strings.TrimSpace(htmlText(buf.String()))
	buf.Reset()
	if err := t.ExecuteTemplate(&buf, "content", v); err != nil {
		return nil, err
	}
	v.Content = template.HTML(buf.String()) // made by html/template just now
	var out bytes.Buffer
	out.Grow(buf.Len() + 8<<10)
	if err := t.ExecuteTemplate(&out, "layout", v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (p *Renderer) view(r *http.Request, data any) *View {
	v := &View{Lang: i18n.Lang(r.Context()), Path: r.URL.Path, Zone: p.opts.Zone, HubName: p.opts.Name,
		SignIn: p.opts.SignIn, SignOut: p.opts.SignOut, Data: data}
	if p.opts.User != nil {
		v.User = p.opts.User(r)
	}
	if p.opts.Nav != nil {
		v.Nav = p.opts.Nav(r)
	}
	if p.opts.Demo != nil {
		v.Demo = p.opts.Demo(r)
	}
	if f, ok := data.(interface{ FormErrors() Errors }); ok {
		v.Errors = f.FormErrors()
	}
	for _, l := range i18n.Languages {
		q := r.URL.Query()
		q.Set("lang", l)
		v.Langs = append(v.Langs, Lang{Code: l, Name: langNames[l], Active: l == v.Lang, Href: "?" + q.Encode()})
	}
	return v
}

// ErrorData is the dot of the page "<zone>/error".
type ErrorData struct {
	Status int
	Detail *Message // what happened and what to do, when it is known
}

// Kind names the texts of the page: kit.error.<kind>.title and .text.
func (e ErrorData) Kind() string {
	switch e.Status {
	case http.StatusBadRequest:
		return "bad"
	case http.StatusUnauthorized:
		return "sign_in"
	case http.StatusForbidden:
		return "denied"
	case http.StatusNotFound:
		return "unknown"
	case http.StatusMethodNotAllowed:
		return "method"
	case http.StatusConflict:
		return "conflict"
	case http.StatusTooManyRequests:
		return "busy"
	case http.StatusServiceUnavailable:
		return "away"
	}
	return "fault"
}

// Error shows the page "<zone>/error" for a status: 400, 401, 403, 404, 405, 409, 429 and 503 have a
// text of their own, all others are a fault of ours.
func (p *Renderer) Error(w http.ResponseWriter, r *http.Request, status int, detail *Message) {
	p.Render(w, r, status, p.opts.Zone+"/error", ErrorData{Status: status, Detail: detail})
}

// NotFound is the handler for addresses that do not exist.
func (p *Renderer) NotFound(w http.ResponseWriter, r *http.Request) {
	p.Error(w, r, http.StatusNotFound, nil)
}

// T is the message in the language of the request.
func (p *Renderer) T(r *http.Request, key string, args ...any) string {
	return p.bundle.T(i18n.Lang(r.Context()), key, args...)
}

// Bundle returns the messages, for documents that are not pages.
func (p *Renderer) Bundle() *i18n.Bundle { return p.bundle }

// Pages lists the names of all pages, for tests.
func (p *Renderer) Pages() []string {
	var names []string
	for n := range p.pages[i18n.Languages[0]] {
		names = append(names, n)
	}
	return names
}
