package feasibility

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

// Door answers requests that may not or cannot be served; the room access is one.
type Door interface {
	Refuse(w http.ResponseWriter, r *http.Request, err error)
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// SiteOptions are what the pages need besides the service.
type SiteOptions struct {
	Pages *page.Renderer
	Door  Door
	// Catalogue gives datasets, variables and codes their titles.
	Catalogue *catalogue.Catalogue
}

// Site shows the room's pages.
type Site struct {
	s *Service
	o SiteOptions
}

// Routes registers the pages on mux. The session's middleware must be around it.
func (s *Service) Routes(mux *http.ServeMux, o SiteOptions) {
	t := &Site{s, o}
	mux.HandleFunc("GET /feasibility", t.form)
	mux.HandleFunc("POST /feasibility", t.ask)
	mux.HandleFunc("GET /feasibility/{id}", t.answer)
}

// Group is the coded variables of one dataset that can be asked about.
type Group struct {
	Title   catalogue.Text
	Options []Option
}

// Option is one variable; its value is "holder/dataset/table/column".
type Option struct {
	Value, Table, Column string
	Title                catalogue.Text
	CodeList             string
}

type formData struct {
	page.Form
	Groups  []Group
	History []Asked
	dataset string // "holder/dataset" that the reader comes from: its variables stand first
}

// account returns who asks, or has already answered.
func (t *Site) account(w http.ResponseWriter, r *http.Request) (string, bool) {
	if err := access.Allow(r, access.CountAsk, access.Resource{}); err != nil {
		t.o.Door.Refuse(w, r, err)
		return "", false
	}
	return access.UserFrom(r.Context()).ID, true
}

func (t *Site) form(w http.ResponseWriter, r *http.Request) {
	account, ok := t.account(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	v := url.Values{"variable": {q.Get("variable")}, "codes": {q.Get("codes")}, "from": {q.Get("from")}, "to": {q.Get("to")}, "prefix": q["prefix"]}
	t.show(w, r, http.StatusOK, account, formData{Form: page.Form{Values: v}, dataset: q.Get("dataset")})
}

func (t *Site) show(w http.ResponseWriter, r *http.Request, status int, account string, d formData) {
	covered, err := t.s.Covered(r.Context())
	if err != nil {
		t.o.Door.Fail(w, r, err)
		return
	}
	for _, s := range covered {
		e, err := t.o.Catalogue.Published(r.Context(), s.Holder, s.Dataset)
		if err != nil {
			continue // withdrawn a moment ago
		}
		g := Group{Title: e.Title}
		for _, table := range s.Tables {
			for _, c := range table.Columns {
				g.Options = append(g.Options, Option{Value: strings.Join([]string{s.Holder, s.Dataset, table.Name, c.Name}, "/"),
					Table: table.Name, Column: c.Name, Title: c.Title, CodeList: c.CodeList})
			}
		}
		if s.Holder+"/"+s.Dataset == d.dataset {
			d.Groups = slices.Insert(d.Groups, 0, g)
		} else {
			d.Groups = append(d.Groups, g)
		}
	}
	if d.History, err = t.s.History(r.Context(), account); err != nil {
		t.o.Door.Fail(w, r, err)
		return
	}
	t.o.Pages.Render(w, r, status, "portal/feasibility/ask", d)
}

func (t *Site) ask(w http.ResponseWriter, r *http.Request) {
	account, ok := t.account(w, r)
	if !ok {
		return
	}
	if err := r.ParseForm(); err != nil {
		t.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	d := formData{Form: page.Form{Values: r.PostForm}}
	q := Question{Prefix: d.Has("prefix", "yes")}
	parts := strings.Split(d.Value("variable"), "/")
	if len(parts) != 4 {
		d.Bad("variable", "feasibility.error.variable")
	} else {
		q.Holder, q.Dataset, q.Table, q.Column = parts[0], parts[1], parts[2], parts[3]
	}
	q.Codes = strings.FieldsFunc(d.Value("codes"), func(r rune) bool { return r == ',' || r == ';' || r == '\n' || r == '\r' || r == ' ' || r == '\t' })
	if len(q.Codes) == 0 || len(q.Codes) > MaxCodes {
		d.Bad("codes", "feasibility.error.codes", "max", MaxCodes)
	}
	var err1, err2 error
	q.From, err1 = strconv.Atoi(strings.TrimSpace(d.Value("from")))
	q.To, err2 = strconv.Atoi(strings.TrimSpace(d.Value("to")))
	switch {
	case err1 != nil || q.From < 1900 || q.From > 2200:
		d.Bad("from", "feasibility.error.year")
	case err2 != nil || q.To < 1900 || q.To > 2200:
		d.Bad("to", "feasibility.error.year")
	case q.To < q.From:
		d.Bad("to", "feasibility.error.years")
	}
	if len(d.Errors) == 0 {
		a, err := t.s.Ask(r.Context(), account, q)
		var refusal *contract.Refusal
		var no *Unavailable
		switch {
		case err == nil:
			http.Redirect(w, r, "/feasibility/"+a.ID, http.StatusSeeOther)
			return
		case errors.As(err, &no) && no.Code == "no_mandate":
			d.Bad("", "feasibility.error.mandate")
		case errors.As(err, &no):
			d.Bad("variable", "feasibility.error.covered")
		case errors.As(err, &refusal), errors.Is(err, catalogue.ErrUnknown):
			d.Bad("variable", "feasibility.error.variable")
		default:
			t.o.Door.Fail(w, r, err)
			return
		}
	}
	t.show(w, r, http.StatusUnprocessableEntity, account, d)
}

type answerData struct {
	Asked
	Title    catalogue.Text // of the dataset
	Variable catalogue.Text
	Labels   []catalogue.Code
	Again    string // address of the form with this question filled in
}

func (t *Site) answer(w http.ResponseWriter, r *http.Request) {
	account, ok := t.account(w, r)
	if !ok {
		return
	}
	a, err := t.s.Question(r.Context(), account, r.PathValue("id"))
	if errors.Is(err, ErrUnknown) {
		t.o.Pages.NotFound(w, r)
		return
	}
	if err != nil {
		t.o.Door.Fail(w, r, err)
		return
	}
	q := a.Question
	d := answerData{Asked: *a}
	v := url.Values{"variable": {q.Holder + "/" + q.Dataset + "/" + q.Table + "/" + q.Column}, "codes": {strings.Join(q.Codes, " ")},
		"from": {strconv.Itoa(q.From)}, "to": {strconv.Itoa(q.To)}}
	if q.Prefix {
		v.Set("prefix", "yes")
	}
	d.Again = "/feasibility?" + v.Encode()
	// Titles are a courtesy: the dataset may have been withdrawn since.
	if e, err := t.o.Catalogue.Published(r.Context(), q.Holder, q.Dataset); err == nil {
		d.Title = e.Title
		if table := e.Table(q.Table); table != nil && table.Variable(q.Column) != nil {
			variable := table.Variable(q.Column)
			d.Variable = variable.Title
			if l, err := t.o.Catalogue.CodeList(r.Context(), variable.CodeList); err == nil {
				for _, c := range l.Codes {
					for _, asked := range q.Codes {
						if c.Code == asked {
							d.Labels = append(d.Labels, c)
						}
					}
				}
			}
		}
	}
	t.o.Pages.Render(w, r, http.StatusOK, "portal/feasibility/answer", d)
}
