package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

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

// Files opens released files; the order book is one.
type Files interface {
	OpenExportFile(ctx context.Context, export, name string) (*os.File, contract.ExportFile, error)
}

// SiteOptions are what the pages need besides the gateway.
type SiteOptions struct {
	Pages *page.Renderer
	Door  Door
	Files Files
	// PublicURL is the portal's own origin, to which a demonstration key returns.
	PublicURL string
	// DemoKeyURL is a page that signs with a software key, for demonstrations on machines without a
	// passkey; empty outside demonstrations.
	DemoKeyURL string
}

// Site shows the gateway's pages.
type Site struct {
	g *Gateway
	o SiteOptions
}

// Routes registers the pages on mux. The session's middleware must be around it.
func (g *Gateway) Routes(mux *http.ServeMux, o SiteOptions) {
	s := &Site{g, o}
	mux.HandleFunc("GET /applications", s.mine)
	mux.HandleFunc("POST /applications", s.create)
	mux.HandleFunc("GET /applications/{id}", s.showCase)
	mux.HandleFunc("GET /applications/{id}/form/{page}", s.showForm)
	mux.HandleFunc("POST /applications/{id}/form/{page}", s.saveForm)
	mux.HandleFunc("POST /applications/{id}/commands/{command}", s.command)
	mux.HandleFunc("GET /applications/{id}/permit", s.showPermit)
	mux.HandleFunc("GET /applications/{id}/permit/assertion", s.confirmAssertion)
	mux.HandleFunc("POST /applications/{id}/permit/assertion", s.postAssertion)
	mux.HandleFunc("GET /applications/{id}/results/{export}/{file}", s.download)
	mux.HandleFunc("GET /cases", s.board)
	mux.HandleFunc("GET /decisions/mandates", s.mandates)
	mux.HandleFunc("POST /decisions/mandates", s.createMandate)
	mux.HandleFunc("GET /decisions/mandates/{id}", s.showMandate)
	mux.HandleFunc("POST /decisions/mandates/{id}/draft", s.redraftMandate)
	mux.HandleFunc("GET /decisions/mandates/{id}/assertion", s.confirmMandate)
	mux.HandleFunc("POST /decisions/mandates/{id}/assertion", s.postMandate)
}

// actorOf is who makes the request, as cases know her; the zero Actor is nobody.
func actorOf(ctx context.Context) Actor {
	u := access.UserFrom(ctx)
	if u == nil {
		return Actor{}
	}
	a := Actor{ID: u.ID, Name: u.Name}
	for _, r := range u.Roles {
		a.Roles = append(a.Roles, string(r))
	}
	return a
}

// resource is the case as policies see it.
func resource(a *Application) access.Resource {
	res := access.Resource{ID: a.ID, Owner: a.Applicant, State: "submitted"}
	for _, p := range or(a.Answers.Persons).Persons {
		res.Members = append(res.Members, p.Account)
	}
	for _, d := range or(a.Answers.Data).Datasets {
		if !slices.Contains(res.Holders, d.Holder) {
			res.Holders = append(res.Holders, d.Holder)
		}
	}
	switch {
	case a.State == StateDraft:
		res.State = "draft"
	case a.State == StateWithdrawn:
		res.State = "withdrawn"
	case a.Decision == DecisionNegative:
		res.State = "refused"
	case a.State == StateDecided:
		res.State = "decided"
	}
	return res
}

// policyOf is the action of the policies that each command needs. Policies say what a role may do at
// all; Can says what is possible at this step of this case.
var policyOf = map[Command]access.Action{
	CmdSave: access.ApplicationEdit, CmdSubmit: access.ApplicationSubmit, CmdAnswer: access.ApplicationSubmit,
	CmdWithdraw: access.ApplicationSubmit, CmdAsk: access.ApplicationCheck, CmdComplete: access.ApplicationCheck,
	CmdOpinion: access.ApplicationOpine, CmdAuthorise: access.ApplicationAuthorise,
	CmdDraft: access.PermitDraft, CmdSign: access.PermitSign,
}

// policyFor is policyOf, with the two commands that belong to whoever holds the open step.
func policyFor(a *Application, c Command) access.Action {
	if p, ok := policyOf[c]; ok {
		return p
	}
	switch {
	case a.State == StateAwaiting, a.Step == "completeness":
		return access.ApplicationCheck
	case a.Step == "opinion":
		return access.ApplicationOpine
	case a.Step == "authority":
		return access.ApplicationAuthorise
	}
	return access.PermitSign
}

// find loads the case of the request for an action, or has already answered.
func (s *Site) find(w http.ResponseWriter, r *http.Request, action func(*Application) access.Action) (*Application, Actor, bool) {
	u := actorOf(r.Context())
	a, err := s.g.load(r.Context(), s.g.o.DB, r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return nil, u, false
	}
	if err := access.Allow(r, action(a), resource(a)); err != nil {
		s.o.Door.Refuse(w, r, err)
		return nil, u, false
	}
	return a, u, true
}

func always(a access.Action) func(*Application) access.Action {
	return func(*Application) access.Action { return a }
}

// fail answers a request by the kind of its error.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	var denied *Denied
	var conflict *Conflict
	var refusal *contract.Refusal
	var invalid *Invalid
	switch {
	case errors.Is(err, ErrUnknown):
		s.o.Pages.NotFound(w, r)
	case errors.As(err, &denied):
		s.o.Pages.Error(w, r, http.StatusForbidden, page.M(i18n.Key("gateway.denied.", denied.Code)))
	case errors.As(err, &conflict):
		s.o.Pages.Error(w, r, http.StatusConflict, page.M("gateway.conflict"))
	case errors.As(err, &invalid):
		m := messageOf(invalid.Problems[0])
		s.o.Pages.Error(w, r, http.StatusUnprocessableEntity, &m)
	case errors.As(err, &refusal):
		s.o.Pages.Error(w, r, http.StatusUnprocessableEntity, page.M(i18n.Key("gateway.refusal.", refusalKey(refusal.Code))))
	default:
		s.o.Door.Fail(w, r, err)
	}
}

// refusalKey is the refusal for which there is a text.
func refusalKey(code string) string {
	if code == "altered" {
		return code
	}
	return "bad_signature"
}

// messageOf is the sentence that says how to mend a problem.
func messageOf(p Problem) page.Message {
	m := page.Message{Key: i18n.Key("gateway.problem.", p.Code)}
	for k, v := range p.Args {
		m.Args = append(m.Args, k, v)
	}
	return m
}

// formErrors turns problems into faults of fields.
func formErrors(ps []Problem) page.Errors {
	var out page.Errors
	for _, p := range ps {
		out = append(out, page.FieldError{Field: fieldOf(p), Message: messageOf(p)})
	}
	return out
}

// fieldOf is the form field that a problem is shown at.
func fieldOf(p Problem) string {
	switch p.Page + "." + p.Field {
	case "period.from", "period.to", "cohort.from", "mandate.from":
		return "from-day"
	case "cohort.criteria":
		return "criterion-0"
	case "persons.persons":
		return "new_account"
	case "data.datasets", "mandate.datasets":
		return "column"
	}
	return p.Field
}

// expected reads the number of the event that the sender of a form saw last.
func expected(v url.Values) int64 {
	n, err := strconv.ParseInt(v.Get("seq"), 10, 64)
	if err != nil {
		return -1 // fits no case: a conflict
	}
	return n
}

// maxForm bounds the body of a form, in bytes.
const maxForm = 2 << 20

// form parses the posted form, or has already answered.
func (s *Site) form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return false
	}
	return true
}

// lang is the reader's language.
func lang(r *http.Request) string { return i18n.Lang(r.Context()) }

// caseLine is one case in a list.
type caseLine struct {
	ID, Title, Sentence, State string
	Due                        time.Time
	Left                       int // days until Due
	Dated, Late                bool
	Step                       string
	Mine                       bool // waits for the reader
}

func (s *Site) line(r *http.Request, a *Application, u Actor) caseLine {
	now := s.g.Now()
	l := caseLine{ID: a.ID, Title: a.Title(), State: stateKey(a), Sentence: Sentence(s.g.o.Text, lang(r), a, now)}
	if st := a.OpenStep(); st != nil {
		l.Step = st.Title.In(lang(r))
		l.Mine = u.Has(st.Role) && a.State == st.State
	}
	if c := a.OpenClock(); c != nil {
		l.Due, l.Dated, l.Late = c.Due, true, c.Late(now)
		l.Left = daysBetween(dayOf(now.In(a.Procedure.zone)), c.Due)
	}
	return l
}

// stateKey is the part of the message key that names the state, or the decision once there is one.
func stateKey(a *Application) string {
	if a.Decision != DecisionNone {
		return string(a.Decision)
	}
	return string(a.State)
}

func (s *Site) mine(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.ApplicationCreate, access.Resource{}); err != nil {
		if access.Allow(r, access.ApplicationBoard, access.Resource{}) == nil {
			http.Redirect(w, r, "/cases", http.StatusSeeOther)
			return
		}
		s.o.Door.Refuse(w, r, err)
		return
	}
	u := actorOf(r.Context())
	cases, err := s.g.Mine(r.Context(), u)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	basket, err := s.g.o.Datasets.Basket(r.Context(), u.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var data struct {
		Cases  []caseLine
		Basket []string
		Me     string // account id, by which others name the reader in their applications
	}
	data.Me = u.ID
	for _, a := range cases {
		data.Cases = append(data.Cases, s.line(r, a, u))
	}
	for _, d := range basket {
		data.Basket = append(data.Basket, d.Holder+"/"+d.Dataset)
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/applications", data)
}

// create opens an application with the datasets of the basket.
func (s *Site) create(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.ApplicationCreate, access.Resource{}); err != nil {
		s.o.Door.Refuse(w, r, err)
		return
	}
	u := actorOf(r.Context())
	basket, err := s.g.o.Datasets.Basket(r.Context(), u.ID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var scopes []contract.DatasetScope
	for _, d := range basket {
		scopes = append(scopes, contract.DatasetScope{Holder: d.Holder, Dataset: d.Dataset})
	}
	a, err := s.g.Create(r.Context(), u, "", scopes)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/applications/"+a.ID+"/form/project", http.StatusSeeOther)
}

// board shows open cases: first those that wait for the reader, then all others, each by what runs out
// first.
func (s *Site) board(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.ApplicationBoard, access.Resource{}); err != nil {
		s.o.Door.Refuse(w, r, err)
		return
	}
	u := actorOf(r.Context())
	cases, err := s.g.Board(r.Context(), u)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var data struct {
		Yours, Others []caseLine
		Role          string // whose board: names the page
		Officer       bool
	}
	data.Role = boardRole(u)
	data.Officer = u.Has(RoleOfficer)
	for _, a := range cases {
		if l := s.line(r, a, u); l.Mine {
			data.Yours = append(data.Yours, l)
		} else {
			data.Others = append(data.Others, l)
		}
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/case/board", data)
}

// boardRole is the role whose board the page is.
func boardRole(u Actor) string {
	for _, r := range []string{RoleHandler, RoleCommittee, RoleAuthority, RoleOfficer} {
		if u.Has(r) {
			return r
		}
	}
	return RoleAuditor
}

// download hands out a released file to those who may have it before it is published.
func (s *Site) download(w http.ResponseWriter, r *http.Request) {
	a, _, ok := s.find(w, r, always(access.ExportRead))
	if !ok {
		return
	}
	export := r.PathValue("export")
	if !slices.ContainsFunc(a.Results, func(e contract.Export) bool { return e.ID == export }) {
		s.o.Pages.NotFound(w, r)
		return
	}
	f, meta, err := s.o.Files.OpenExportFile(r.Context(), export, r.PathValue("file"))
	if err != nil {
		s.o.Pages.NotFound(w, r)
		return
	}
	defer f.Close()
	// A released file may hold anything its author wrote: it is saved, never shown, by the browser.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(meta.Name))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, f)
}
