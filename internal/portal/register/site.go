package register

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/gateway"
)

// Door answers requests that go wrong on our side; the room access is one.
type Door interface {
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

type site struct {
	r     *Register
	pages *page.Renderer
	door  Door
}

// Routes registers the public pages on mux.
func (r *Register) Routes(mux *http.ServeMux, pages *page.Renderer, door Door) {
	s := &site{r, pages, door}
	mux.HandleFunc("GET /register", s.list)
	mux.HandleFunc("GET /register/{id}", s.entry)
	mux.HandleFunc("GET /register.csv", s.csv)
}

// queryOf reads the selection from the address; what makes no sense selects all.
func queryOf(r *http.Request) Query {
	q := Query{Text: r.URL.Query().Get("q"), Page: 1}
	if len(q.Text) > 200 {
		q.Text = strings.ToValidUTF8(q.Text[:200], "")
	}
	if st := Status(r.URL.Query().Get("status")); slices.Contains(Statuses, st) {
		q.Status = st
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 1 && n < 1_000_000 {
		q.Page = n
	}
	return q
}

func (s *site) list(w http.ResponseWriter, r *http.Request) {
	q := queryOf(r)
	found, err := s.r.Search(r.Context(), q)
	if err != nil {
		s.door.Fail(w, r, err)
		return
	}
	totals, err := s.r.Totals(r.Context())
	if err != nil {
		s.door.Fail(w, r, err)
		return
	}
	type total struct {
		Status Status
		Total  int64
	}
	data := struct {
		Query      Query
		Found      Found
		Statuses   []total
		Prev, Next string
	}{Query: q, Found: found}
	for _, st := range Statuses {
		data.Statuses = append(data.Statuses, total{st, totals[st]})
	}
	at := func(page int) string {
		v := r.URL.Query()
		v.Set("page", strconv.Itoa(page))
		return "/register?" + v.Encode()
	}
	if q.Page > 1 {
		data.Prev = at(q.Page - 1)
	}
	if q.Page < found.Pages {
		data.Next = at(q.Page + 1)
	}
	s.pages.Render(w, r, http.StatusOK, "portal/register/list", data)
}

// public are the events whose place in time is published (Art. 57(1)(j)); what the applicant wrote, was
// asked and answered is not.
var public = []gateway.Kind{gateway.KindSubmitted, gateway.KindComplete, gateway.KindOpinion, gateway.KindOpinionDeemed, gateway.KindExtended,
	gateway.KindAuthorised, gateway.KindRefused, gateway.KindSigned, gateway.KindWithdrawn, gateway.KindOpened, gateway.KindReleased}

func (s *site) entry(w http.ResponseWriter, r *http.Request) {
	e, a, err := s.r.Entry(r.Context(), r.PathValue("id"))
	if errors.Is(err, gateway.ErrUnknown) {
		s.pages.NotFound(w, r)
		return
	}
	if err != nil {
		s.door.Fail(w, r, err)
		return
	}
	lang := i18n.Lang(r.Context())
	data := struct {
		Entry            Entry
		Sentence, Period string
		Purposes         []string
		Timeline         []map[string]any
	}{Entry: e, Sentence: gateway.Sentence(s.pages.Bundle(), lang, a, s.r.cases.Now())}
	for _, c := range e.Purposes {
		data.Purposes = append(data.Purposes, s.pages.T(r, i18n.Key("gateway.purpose.", c)))
	}
	if p := e.Permit; p != nil {
		from, err1 := time.Parse(time.DateOnly, p.PeriodFrom)
		to, err2 := time.Parse(time.DateOnly, p.PeriodTo)
		if err1 == nil && err2 == nil {
			data.Period = s.pages.T(r, "gateway.period", "from", from, "to", to)
		}
	}
	for _, ev := range a.Events {
		if slices.Contains(public, ev.Kind) {
			item := map[string]any{"title": s.pages.T(r, i18n.Key("gateway.event.", string(ev.Kind))), "at": ev.At}
			if ev.Kind == gateway.KindOpinion && a.Opinion != nil {
				item["text"] = s.pages.T(r, i18n.Key("gateway.opinion.", a.Opinion.Opinion))
			}
			if ev.Kind == gateway.KindOpinionDeemed {
				item["text"] = s.pages.T(r, "gateway.deemed.why")
			}
			data.Timeline = append(data.Timeline, item)
		}
	}
	s.pages.Render(w, r, http.StatusOK, "portal/register/entry", data)
}

func (s *site) csv(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="register.csv"`)
	if err := s.r.WriteCSV(r.Context(), w, queryOf(r)); err != nil {
		// The status has been sent: cut the connection rather than end as if it were whole.
		panic(http.ErrAbortHandler)
	}
}

type listInput struct {
	Text   string `query:"q" maxLength:"200" doc:"Words that must all occur"`
	Status string `query:"status" enum:"examined,authorised,refused,withdrawn"`
	Page   int    `query:"page" minimum:"1" maximum:"1000000" default:"1"`
}

type listOutput struct{ Body Found }

type entryInput struct {
	ID string `path:"id" maxLength:"64"`
}

type entryOutput struct{ Body Entry }

// Operations registers the room's part of the JSON interface. It is public.
func (r *Register) Operations(a huma.API) {
	api.Register(a, "register", "list-register", http.MethodGet, "/register", "Projects, decisions and results", true,
		func(ctx context.Context, in *listInput) (*listOutput, error) {
			f, err := r.Search(ctx, Query{Text: in.Text, Status: Status(in.Status), Page: in.Page})
			return &listOutput{f}, err
		})
	api.Register(a, "register", "get-register-entry", http.MethodGet, "/register/{id}", "One project", true,
		func(ctx context.Context, in *entryInput) (*entryOutput, error) {
			e, _, err := r.Entry(ctx, in.ID)
			if errors.Is(err, gateway.ErrUnknown) {
				return nil, api.Unknown("entry")
			}
			return &entryOutput{e}, err
		})
}
