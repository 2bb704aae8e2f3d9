package catalogue

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// Door answers requests that may not or cannot be served; the room access is one.
type Door interface {
	Refuse(w http.ResponseWriter, r *http.Request, err error)
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// Use is a project that works with a dataset, as the public register has it.
type Use struct {
	ID    string // of the register's entry
	Title string
}

// Uses tells who uses a dataset; the register does.
type Uses func(ctx context.Context, holder, dataset string) ([]Use, error)

// SiteOptions are what the pages need besides the catalogue.
type SiteOptions struct {
	Pages *page.Renderer
	Door  Door
	Uses  Uses // nil: the section is left out
}

// Site shows the catalogue's pages.
type Site struct {
	c *Catalogue
	o SiteOptions
}

// Routes registers the pages on mux. The session's middleware must be around it.
func (c *Catalogue) Routes(mux *http.ServeMux, o SiteOptions) {
	s := &Site{c, o}
	mux.HandleFunc("GET /datasets", s.search)
	mux.HandleFunc("GET /catalogue", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, (&url.URL{Path: "/datasets", RawQuery: r.URL.RawQuery}).String(), http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /datasets/{holder}/{dataset}", s.show)
	mux.HandleFunc("GET /datasets/{holder}/{dataset}/tables/{table}", s.table)
	mux.HandleFunc("GET /datasets/{holder}/{dataset}/tables/{table}/{variable}", s.variable)
	mux.HandleFunc("GET /datasets/{holder}/{dataset}/versions", s.versions)
	mux.HandleFunc("GET /code-lists/{name}", s.codes)
	mux.HandleFunc("GET /basket", s.basket)
	mux.HandleFunc("POST /basket", s.changeBasket)
	mux.HandleFunc("GET /holder", s.mine)
	mux.HandleFunc("GET /holder/datasets/new", s.newDataset)
	mux.HandleFunc("POST /holder/datasets/new", s.createDataset)
	mux.HandleFunc("GET /holder/datasets/{holder}/{dataset}", s.draft)
	mux.HandleFunc("GET /holder/datasets/{holder}/{dataset}/edit/{section}", s.edit)
	mux.HandleFunc("POST /holder/datasets/{holder}/{dataset}/edit/{section}", s.saveSection)
	mux.HandleFunc("POST /holder/datasets/{holder}/{dataset}/publish", s.publish)
	mux.HandleFunc("POST /holder/datasets/{holder}/{dataset}/withdraw", s.withdraw)
}

// fail answers an error with the page that fits it.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	var denied *access.Denied
	switch {
	case errors.Is(err, ErrUnknown):
		s.o.Pages.NotFound(w, r)
	case errors.Is(err, ErrChanged):
		s.o.Pages.Error(w, r, http.StatusConflict, nil)
	case errors.As(err, &denied):
		s.o.Door.Refuse(w, r, err)
	default:
		s.o.Door.Fail(w, r, err)
	}
}

// Choice is one value of a filter on the search page.
type Choice struct {
	Value  string
	Label  string // text, or a message key for categories
	Count  int
	Href   string
	Active bool
}

type searchData struct {
	Search   Search
	Results  *Results
	Filters  map[string][]Choice
	Filtered bool
	Prev     string
	Next     string
	All      string // the same search without filters
}

func searchOf(r *http.Request) Search {
	q := r.URL.Query()
	number := func(name string) int {
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 0 || n > 100_000 {
			return 0
		}
		return n
	}
	return Search{Text: strings.TrimSpace(q.Get("q")), Lang: i18n.Lang(r.Context()), Category: q.Get("category"), Holder: q.Get("holder"),
		System: q.Get("system"), From: number("from"), To: number("to"), Page: max(number("page"), 1)}
}

// address is the page of a search.
func (s Search) address(page int) string {
	q := url.Values{}
	for k, v := range map[string]string{"q": s.Text, "category": s.Category, "holder": s.Holder, "system": s.System} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, v := range map[string]int{"from": s.From, "to": s.To} {
		if v > 0 {
			q.Set(k, strconv.Itoa(v))
		}
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	if len(q) == 0 {
		return "/datasets"
	}
	return "/datasets?" + q.Encode()
}

func (s *Site) search(w http.ResponseWriter, r *http.Request) {
	q := searchOf(r)
	res, err := s.c.Search(r.Context(), q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := searchData{Search: q, Results: res, Filters: map[string][]Choice{}, All: Search{Text: q.Text}.address(1)}
	d.Filtered = q.Category != "" || q.Holder != "" || q.System != "" || q.From > 0 || q.To > 0
	for facet, counts := range res.Facets {
		for _, c := range counts {
			to, active := q, false
			var field *string
			switch facet {
			case "category":
				field = &to.Category
			case "holder":
				field = &to.Holder
			case "system":
				field = &to.System
			}
			if active = *field == c.Value; active {
				*field = ""
			} else {
				*field = c.Value
			}
			d.Filters[facet] = append(d.Filters[facet], Choice{Value: c.Value, Label: c.Value, Count: c.Count, Href: to.address(1), Active: active})
		}
	}
	if q.Page > 1 && res.Pages > 0 {
		d.Prev = q.address(min(q.Page-1, res.Pages))
	}
	if q.Page < res.Pages {
		d.Next = q.address(q.Page + 1)
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/search", d)
}

type showData struct {
	*Entry
	Chart    *Chart
	Uses     []Use
	ShowUses bool
	InBasket bool
	CanAsk   bool // a researcher is signed in
	Mine     bool // the reader may edit it
}

// entry returns the published dataset of the address, or has already answered.
func (s *Site) entry(w http.ResponseWriter, r *http.Request) (*Entry, bool) {
	e, err := s.c.Published(r.Context(), r.PathValue("holder"), r.PathValue("dataset"))
	if err != nil {
		s.fail(w, r, err)
		return nil, false
	}
	return e, true
}

func (s *Site) show(w http.ResponseWriter, r *http.Request) {
	e, ok := s.entry(w, r)
	if !ok {
		return
	}
	d := showData{Entry: e, CanAsk: access.Allow(r, access.CountAsk, access.Resource{}) == nil,
		Mine: access.Allow(r, access.DatasetDescribe, holderResource(e.Holder, e.Dataset)) == nil}
	if e.Delivered != nil {
		d.Chart = yearChart(e.Delivered.Years)
	}
	if s.o.Uses != nil {
		var err error
		if d.Uses, err = s.o.Uses(r.Context(), e.Holder, e.Dataset); err != nil {
			s.fail(w, r, err)
			return
		}
		d.ShowUses = true
	}
	if u := access.UserFrom(r.Context()); u != nil && d.CanAsk {
		basket, err := s.c.Basket(r.Context(), u.ID)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		for _, b := range basket {
			d.InBasket = d.InBasket || b.Identifier() == e.Identifier()
		}
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/dataset/show", d)
}

// perPage is how many variables or codes a page shows.
const perPage = 100

type tableData struct {
	*Entry
	Table     *Table
	Query     string
	Variables []Variable
	Total     int // variables that fit
	Rows      int64
	Lists     map[string]int // code lists that can be opened, with their sizes
	Page      int
	Pages     int
	Prev      string
	Next      string
}

func (s *Site) table(w http.ResponseWriter, r *http.Request) {
	e, ok := s.entry(w, r)
	if !ok {
		return
	}
	t := e.Table(r.PathValue("table"))
	if t == nil {
		s.o.Pages.NotFound(w, r)
		return
	}
	d := tableData{Entry: e, Table: t, Query: strings.TrimSpace(r.URL.Query().Get("q"))}
	for _, v := range t.Variables {
		if v.fits(d.Query) {
			d.Variables = append(d.Variables, v)
		}
	}
	d.Total = len(d.Variables)
	d.Page, d.Pages, d.Prev, d.Next = pageOf(r, d.Total)
	d.Variables = slicePage(d.Variables, d.Page)
	if e.Delivered != nil {
		d.Rows = e.Delivered.Rows[t.Name]
	}
	var err error
	if d.Lists, err = s.c.CodeListSizes(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/dataset/table", d)
}

// pageOf finds the page of a list of n items that the request wants, and the addresses beside it.
func pageOf(r *http.Request, n int) (at, pages int, prev, next string) {
	pages = (n + perPage - 1) / perPage
	at, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || at < 1 || at > max(pages, 1) {
		at = 1
	}
	to := func(p int) string {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(p))
		return r.URL.Path + "?" + q.Encode()
	}
	if at > 1 {
		prev = to(at - 1)
	}
	if at < pages {
		next = to(at + 1)
	}
	return at, pages, prev, next
}

func slicePage[T any](all []T, at int) []T {
	from := min((at-1)*perPage, len(all))
	return all[from:min(from+perPage, len(all))]
}

type variableData struct {
	*Entry
	Table    *Table
	Variable *Variable
	Codes    []Code // the first of its list
	Size     int
	CanAsk   bool
}

const codesOnVariable = 20

func (s *Site) variable(w http.ResponseWriter, r *http.Request) {
	e, ok := s.entry(w, r)
	if !ok {
		return
	}
	d := variableData{Entry: e, Table: e.Table(r.PathValue("table")), CanAsk: access.Allow(r, access.CountAsk, access.Resource{}) == nil}
	if d.Table != nil {
		d.Variable = d.Table.Variable(r.PathValue("variable"))
	}
	if d.Variable == nil {
		s.o.Pages.NotFound(w, r)
		return
	}
	if d.Variable.CodeList != "" {
		l, err := s.c.CodeList(r.Context(), d.Variable.CodeList)
		if err != nil && !errors.Is(err, ErrUnknown) {
			s.fail(w, r, err)
			return
		}
		if err == nil {
			d.Size, d.Codes = len(l.Codes), l.Codes[:min(len(l.Codes), codesOnVariable)]
		}
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/dataset/variable", d)
}

type versionsData struct {
	*Entry
	Changes []Change
}

func (s *Site) versions(w http.ResponseWriter, r *http.Request) {
	e, ok := s.entry(w, r)
	if !ok {
		return
	}
	all, err := s.c.History(r.Context(), e.Holder, e.Dataset)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := versionsData{Entry: e}
	for _, c := range all {
		if c.What != "saved" { // drafts are the holder's own
			d.Changes = append(d.Changes, c)
		}
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/dataset/versions", d)
}

type codesData struct {
	List  *CodeList
	Query string
	Codes []Code
	Total int
	Page  int
	Pages int
	Prev  string
	Next  string
}

func (s *Site) codes(w http.ResponseWriter, r *http.Request) {
	l, err := s.c.CodeList(r.Context(), r.PathValue("name"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := codesData{List: l, Query: strings.TrimSpace(r.URL.Query().Get("q"))}
	found := l.Find(d.Query)
	d.Total = len(found)
	d.Page, d.Pages, d.Prev, d.Next = pageOf(r, d.Total)
	d.Codes = slicePage(found, d.Page)
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/codes", d)
}

type basketData struct{ Entries []*Entry }

func (s *Site) basket(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.ApplicationCreate, access.Resource{}); err != nil {
		s.fail(w, r, err)
		return
	}
	list, err := s.c.Basket(r.Context(), access.UserFrom(r.Context()).ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/basket", basketData{list})
}

func (s *Site) changeBasket(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.ApplicationCreate, access.Resource{}); err != nil {
		s.fail(w, r, err)
		return
	}
	holder, dataset, _ := strings.Cut(r.PostFormValue("dataset"), "/")
	account := access.UserFrom(r.Context()).ID
	var err error
	if r.PostFormValue("do") == "remove" {
		err = s.c.RemoveFromBasket(r.Context(), account, holder, dataset)
	} else {
		err = s.c.AddToBasket(r.Context(), account, holder, dataset)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/basket", http.StatusSeeOther)
}

// holderOf returns the holder of the person signed in, or an error for everybody else.
func holderOf(r *http.Request) (string, error) {
	u := access.UserFrom(r.Context())
	if u == nil || !u.Has(access.Holder) || !contract.ValidName(u.Holder) {
		return "", &access.Denied{Action: access.DatasetDescribe, SignedIn: u != nil}
	}
	return u.Holder, access.Allow(r, access.DatasetDescribe, access.Resource{Holders: []string{u.Holder}})
}
