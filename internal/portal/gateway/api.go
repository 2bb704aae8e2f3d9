package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
)

// CaseView is a case as the JSON interface shows it to one reader.
type CaseView struct {
	ID        string     `json:"id"`
	Seq       int64      `json:"seq" doc:"Number of the last event. Send it back as expected_seq."`
	State     State      `json:"state" doc:"State by the names of the national dispatcher (TEHDAS2 D6.4)"`
	Decision  Decision   `json:"decision,omitempty"`
	Step      string     `json:"step,omitempty" doc:"Open step of the procedure"`
	Procedure string     `json:"procedure"`
	Sentence  string     `json:"sentence" doc:"Where the case stands, in the reader's language"`
	Can       []Command  `json:"can" doc:"Commands that the reader may send now"`
	Applicant string     `json:"applicant"`
	Answers   Answers    `json:"answers"`
	Missing   []Problem  `json:"missing" doc:"What keeps the application from being sent"`
	Questions []Question `json:"questions" doc:"Open questions to the applicant"`

	CreatedAt   time.Time  `json:"created_at"`
	SubmittedAt *time.Time `json:"submitted_at,omitempty"`
	ClosedAt    *time.Time `json:"closed_at,omitempty"`

	Opinion       *OpinionIssued            `json:"opinion,omitempty"`
	OpinionDeemed bool                      `json:"opinion_deemed,omitempty" doc:"The opinion is what silence counts as"`
	Authority     *Decided                  `json:"authority,omitempty"`
	Refusal       *Decided                  `json:"refusal,omitempty"`
	PermitID      string                    `json:"permit_id,omitempty" doc:"Set once the permit is signed"`
	Orders        []string                  `json:"orders,omitempty"`
	Provision     *contract.ProvisionReport `json:"provision,omitempty"`
	Workspace     *contract.WorkspaceOpened `json:"workspace,omitempty"`
	Failures      []OrderAnswered           `json:"failures,omitempty"`
	Progress      []contract.Receipt        `json:"progress,omitempty"`
	Results       []contract.Export         `json:"results,omitempty"`

	Clocks []ClockView `json:"clocks"`
	Events []EventView `json:"events"`
}

// ClockView is one legal time limit with all that explains it.
type ClockView struct {
	Rule        string      `json:"rule"`
	Status      ClockStatus `json:"status"`
	Due         string      `json:"due" doc:"Last day, in the country of the procedure" format:"date"`
	Until       time.Time   `json:"until" doc:"The instant the last day is over"`
	Late        bool        `json:"late"`
	StartEvent  int64       `json:"start_event" doc:"Number of the event it is counted from"`
	Explanation string      `json:"explanation"`
	Source      string      `json:"source"`
}

// EventView is one event, without what it carries.
type EventView struct {
	Seq  int64     `json:"seq"`
	Kind Kind      `json:"kind"`
	At   time.Time `json:"at"`
	Role string    `json:"role"`
}

// PermitView is a permit with what a passkey needs to sign it.
type PermitView struct {
	Seq         int64                  `json:"seq"`
	Permit      json.RawMessage        `json:"permit" doc:"The exact canonical JSON that is signed"`
	Digest      contract.Digest        `json:"digest"`
	Challenge   string                 `json:"challenge" doc:"SHA-256 of the permit, base64url: the WebAuthn challenge"`
	RPID        string                 `json:"rp_id"`
	Origins     []string               `json:"origins"`
	Credentials []string               `json:"credentials" doc:"The reader's own passkeys, base64url"`
	SignableTil time.Time              `json:"signable_until" doc:"After this the permit must be drafted again"`
	Signed      *contract.SignedPermit `json:"signed,omitempty"`
}

// MandateView is a feasibility mandate.
type MandateView struct {
	ID         string       `json:"id"`
	Seq        int64        `json:"seq"`
	Scope      MandateScope `json:"scope"`
	Signed     bool         `json:"signed"`
	InForce    bool         `json:"in_force"`
	PermitID   string       `json:"permit_id"`
	ValidUntil time.Time    `json:"valid_until"`
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type caseOutput struct{ Body CaseView }

type signInput struct {
	ID       string `path:"id" maxLength:"64"`
	Expected int64  `query:"expected_seq" doc:"Number of the last event you saw; left out: whatever it is now. The signature fits one draft only in any case."`
	Body     contract.Assertion
}

// Operations registers the room's part of the JSON interface.
func (g *Gateway) Operations(a huma.API) {
	const room = "gateway"
	api.Register(a, room, "list-applications", http.MethodGet, "/applications", "My applications; for officials: open cases, what runs out first on top", false, g.apiList)
	api.Register(a, room, "create-application", http.MethodPost, "/applications", "Open an application", false, g.apiCreate)
	api.Register(a, room, "get-application", http.MethodGet, "/applications/{id}", "One case", false, g.apiGet)
	api.Register(a, room, "save-application", http.MethodPut, "/applications/{id}", "Save pages of the form", false, g.apiSave)
	api.Register(a, room, "command-application", http.MethodPost, "/applications/{id}/commands", "Do something with a case", false, g.apiCommand)
	api.Register(a, room, "get-application-permit", http.MethodGet, "/applications/{id}/permit", "Draft of the permit, and what a passkey needs to sign it", false, g.apiPermit)
	api.Register(a, room, "sign-application-permit", http.MethodPost, "/applications/{id}/permit/signature", "Sign the permit: the assertion of an officer's passkey", false, g.apiSign)
	api.Register(a, room, "get-permit", http.MethodGet, "/permits/{id}", "A signed permit", false, g.apiPermitByID)
	api.Register(a, room, "list-mandates", http.MethodGet, "/mandates", "Feasibility mandates", false, g.apiMandates)
	api.Register(a, room, "create-mandate", http.MethodPost, "/mandates", "Draft a feasibility mandate", false, g.apiCreateMandate)
	api.Register(a, room, "draft-mandate", http.MethodPost, "/mandates/{id}/draft", "Draft the mandate's permit anew", false, g.apiRedraftMandate)
	api.Register(a, room, "get-mandate-permit", http.MethodGet, "/mandates/{id}/permit", "Draft of the mandate, and what a passkey needs to sign it", false, g.apiMandatePermit)
	api.Register(a, room, "sign-mandate", http.MethodPost, "/mandates/{id}/permit/signature", "Sign the mandate: the assertion of an officer's passkey", false, g.apiSignMandate)
}

// problemOf turns the room's errors into problem documents. detail is in English, for programs' logs.
func problemOf(err error) error {
	var denied *Denied
	var conflict *Conflict
	var invalid *Invalid
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnknown):
		return api.Unknown("case")
	case errors.As(err, &denied):
		return api.Fail(http.StatusForbidden, denied.Code, denied.Error())
	case errors.As(err, &conflict):
		return api.Fail(http.StatusConflict, "conflict", conflict.Error())
	case errors.As(err, &invalid):
		var lines []string
		for _, p := range invalid.Problems {
			lines = append(lines, p.Page+"."+p.Field+": "+p.Code)
		}
		return api.Fail(http.StatusUnprocessableEntity, "invalid", "Something must be mended first.", lines...)
	}
	return err
}

// find loads a case for an action.
func (g *Gateway) find(ctx context.Context, id string, action func(*Application) access.Action) (*Application, Actor, error) {
	u := actorOf(ctx)
	if u.ID == "" { // before looking, so that nobody learns which ids exist
		return nil, u, api.Allow(ctx, access.ApplicationRead, access.Resource{})
	}
	a, err := g.load(ctx, g.o.DB, id)
	if err != nil {
		return nil, u, problemOf(err)
	}
	return a, u, api.Allow(ctx, action(a), resource(a))
}

func (g *Gateway) view(ctx context.Context, a *Application, u Actor) (CaseView, error) {
	l, now := i18n.Lang(ctx), g.Now()
	v := CaseView{ID: a.ID, Seq: a.Seq, State: a.State, Decision: a.Decision, Step: a.Step, Procedure: a.Procedure.Name(),
		Sentence: Sentence(g.o.Text, l, a, now), Can: []Command{}, Applicant: a.Applicant, Answers: a.Answers, Missing: []Problem{},
		Questions: append([]Question{}, a.Questions...), CreatedAt: a.Created, Opinion: a.Opinion, OpinionDeemed: a.Deemed,
		Authority: a.Authority, Refusal: a.Refusal, Failures: a.Failures, Results: a.Results, Clocks: []ClockView{}, Events: []EventView{}}
	for _, c := range a.May(u, now) {
		if api.Allow(ctx, policyFor(a, c), resource(a)) == nil {
			v.Can = append(v.Can, c)
		}
	}
	if a.State == StateDraft || a.State == StateAwaiting {
		v.Missing = append(v.Missing, g.Incomplete(ctx, a)...)
	}
	if !a.Submitted.IsZero() {
		v.SubmittedAt = &a.Submitted
	}
	if !a.Closed.IsZero() {
		v.ClosedAt = &a.Closed
	}
	if a.Signed != nil {
		v.PermitID, v.Orders = a.Permit.ID, a.Signed.Orders
		progress, err := g.Progress(ctx, a)
		if err != nil {
			return v, err
		}
		v.Progress = progress
	}
	if a.Provision != nil {
		v.Provision = a.Provision.Report
	}
	if a.Workspace != nil {
		v.Workspace = a.Workspace.Workspace
	}
	for _, c := range a.Clocks {
		v.Clocks = append(v.Clocks, ClockView{c.Rule.ID, c.Status, c.Due.Format(time.DateOnly), c.Until, c.Late(now), c.Start.Seq,
			Explain(g.o.Text, l, c), c.Rule.Source.In(l)})
	}
	for _, e := range a.Events {
		v.Events = append(v.Events, EventView{e.Seq, e.Kind, e.At, e.Role})
	}
	return v, nil
}

func (g *Gateway) output(ctx context.Context, a *Application, u Actor, err error) (*caseOutput, error) {
	if err != nil {
		return nil, problemOf(err)
	}
	v, err := g.view(ctx, a, u)
	return &caseOutput{v}, err
}

type listInput struct {
	State string `query:"state" enum:"DRAFT,SUBMITTED,PRE_SCREENING,AWAITING_ADDITIONAL_INFORMATION,PROCESSING,DECISION_ISSUED,WITHDRAWN" doc:"Only cases in this state"`
}

type listOutput struct {
	Body struct {
		Applications []CaseView `json:"applications"`
	}
}

func (g *Gateway) apiList(ctx context.Context, in *listInput) (*listOutput, error) {
	u := actorOf(ctx)
	var cases []*Application
	var err error
	if api.Allow(ctx, access.ApplicationBoard, access.Resource{}) == nil {
		cases, err = g.Board(ctx, u)
	} else if err = api.Allow(ctx, access.ApplicationCreate, access.Resource{}); err == nil {
		cases, err = g.Mine(ctx, u)
	}
	if err != nil {
		return nil, problemOf(err)
	}
	out := &listOutput{}
	out.Body.Applications = []CaseView{}
	for _, a := range cases {
		if in.State != "" && a.State != State(in.State) {
			continue
		}
		v, err := g.view(ctx, a, u)
		if err != nil {
			return nil, err
		}
		out.Body.Applications = append(out.Body.Applications, v)
	}
	return out, nil
}

type createInput struct {
	Body struct {
		Title    string                  `json:"title" maxLength:"200"`
		Datasets []contract.DatasetScope `json:"datasets,omitempty" doc:"The basket"`
	}
}

type createdOutput struct {
	Status int
	Body   CaseView
}

func (g *Gateway) apiCreate(ctx context.Context, in *createInput) (*createdOutput, error) {
	if err := api.Allow(ctx, access.ApplicationCreate, access.Resource{}); err != nil {
		return nil, err
	}
	u := actorOf(ctx)
	a, err := g.Create(ctx, u, strings.TrimSpace(in.Body.Title), in.Body.Datasets)
	if err != nil {
		return nil, problemOf(err)
	}
	v, err := g.view(ctx, a, u)
	return &createdOutput{http.StatusCreated, v}, err
}

func (g *Gateway) apiGet(ctx context.Context, in *idInput) (*caseOutput, error) {
	a, u, err := g.find(ctx, in.ID, always(access.ApplicationRead))
	if err != nil {
		return nil, err
	}
	return g.output(ctx, a, u, nil)
}

type saveInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Expected int64   `json:"expected_seq"`
		Answers  Answers `json:"answers"`
	}
}

func (g *Gateway) apiSave(ctx context.Context, in *saveInput) (*caseOutput, error) {
	_, u, err := g.find(ctx, in.ID, always(access.ApplicationEdit))
	if err != nil {
		return nil, err
	}
	a, err := g.Do(ctx, u, in.ID, Action{Command: CmdSave, ExpectedSeq: in.Body.Expected, Answers: &in.Body.Answers})
	return g.output(ctx, a, u, err)
}

type commandInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body Action
}

func (g *Gateway) apiCommand(ctx context.Context, in *commandInput) (*caseOutput, error) {
	_, u, err := g.find(ctx, in.ID, func(a *Application) access.Action { return policyFor(a, in.Body.Command) })
	if err != nil {
		return nil, err
	}
	a, err := g.Do(ctx, u, in.ID, in.Body)
	return g.output(ctx, a, u, err)
}

type permitOutput struct{ Body PermitView }

func (g *Gateway) permitView(ctx context.Context, u Actor, seq int64, d *Drafted, at Moment, signed *Signed) (*permitOutput, error) {
	challenge, err := d.Digest.Bytes()
	if err != nil {
		return nil, err
	}
	me, err := g.o.People(ctx, u.ID)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	v := PermitView{Seq: seq, Permit: d.Permit, Digest: d.Digest, Challenge: b64(challenge), RPID: g.o.RPID, Origins: g.o.Origins,
		Credentials: []string{}, SignableTil: at.At.Add(DraftLife)}
	for _, k := range me.Credentials {
		v.Credentials = append(v.Credentials, b64(k.CredentialID))
	}
	if signed != nil {
		v.Signed = &signed.Signed
	}
	return &permitOutput{v}, nil
}

func (g *Gateway) apiPermit(ctx context.Context, in *idInput) (*permitOutput, error) {
	a, u, err := g.find(ctx, in.ID, always(access.PermitRead))
	if err != nil {
		return nil, err
	}
	if a.Draft == nil || (a.Signed == nil && a.Names(u.ID)) {
		return nil, api.Unknown("permit")
	}
	return g.permitView(ctx, u, a.Seq, a.Draft, a.DraftAt, a.Signed)
}

func (g *Gateway) apiSign(ctx context.Context, in *signInput) (*caseOutput, error) {
	a, u, err := g.find(ctx, in.ID, always(access.PermitSign))
	if err != nil {
		return nil, err
	}
	if in.Expected == 0 {
		in.Expected = a.Seq
	}
	a, err = g.Do(ctx, u, in.ID, Action{Command: CmdSign, ExpectedSeq: in.Expected, Assertion: &in.Body})
	return g.output(ctx, a, u, err)
}

type signedOutput struct{ Body contract.SignedPermit }

func (g *Gateway) apiPermitByID(ctx context.Context, in *idInput) (*signedOutput, error) {
	u := actorOf(ctx)
	if u.ID == "" {
		return nil, api.Allow(ctx, access.PermitRead, access.Resource{})
	}
	s, err := g.Permit(ctx, u, in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	return &signedOutput{*s}, nil
}

type mandateOutput struct{ Body MandateView }

type mandatesOutput struct {
	Body struct {
		Mandates []MandateView `json:"mandates"`
	}
}

func (g *Gateway) mandateView(m *Mandate) MandateView {
	return MandateView{m.ID, m.Seq, m.Scope, m.Signed != nil, m.InForce(g.Now()), m.Permit.ID, m.Permit.ValidUntil}
}

type mandatesInput struct {
	InForce bool `query:"in_force" doc:"Only mandates under which counts can be asked for now"`
}

func (g *Gateway) apiMandates(ctx context.Context, in *mandatesInput) (*mandatesOutput, error) {
	if err := api.Allow(ctx, access.PermitRead, access.Resource{}); err != nil {
		return nil, err
	}
	list, err := g.Mandates(ctx, actorOf(ctx))
	if err != nil {
		return nil, problemOf(err)
	}
	out := &mandatesOutput{}
	out.Body.Mandates = []MandateView{}
	for _, m := range list {
		if in.InForce && !m.InForce(g.Now()) {
			continue
		}
		out.Body.Mandates = append(out.Body.Mandates, g.mandateView(m))
	}
	return out, nil
}

type createMandateInput struct {
	Body struct {
		Title      string                  `json:"title" maxLength:"200"`
		Controller string                  `json:"controller,omitempty" maxLength:"300"`
		Datasets   []contract.DatasetScope `json:"datasets"`
		Period     contract.Period         `json:"period"`
	}
}

func (g *Gateway) apiCreateMandate(ctx context.Context, in *createMandateInput) (*mandateOutput, error) {
	if err := api.Allow(ctx, access.PermitSign, access.Resource{}); err != nil {
		return nil, err
	}
	m, err := g.CreateMandate(ctx, actorOf(ctx), MandateScope{Title: in.Body.Title, Controller: in.Body.Controller, Datasets: in.Body.Datasets, Period: in.Body.Period})
	if err != nil {
		return nil, problemOf(err)
	}
	return &mandateOutput{g.mandateView(m)}, nil
}

type redraftInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Expected int64 `json:"expected_seq"`
	}
}

func (g *Gateway) apiRedraftMandate(ctx context.Context, in *redraftInput) (*mandateOutput, error) {
	if err := api.Allow(ctx, access.PermitSign, access.Resource{}); err != nil {
		return nil, err
	}
	m, err := g.RedraftMandate(ctx, actorOf(ctx), in.ID, in.Body.Expected)
	if err != nil {
		return nil, problemOf(err)
	}
	return &mandateOutput{g.mandateView(m)}, nil
}

func (g *Gateway) apiMandatePermit(ctx context.Context, in *idInput) (*permitOutput, error) {
	if err := api.Allow(ctx, access.PermitRead, access.Resource{}); err != nil {
		return nil, err
	}
	u := actorOf(ctx)
	m, err := g.Mandate(ctx, u, in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	return g.permitView(ctx, u, m.Seq, m.Draft, m.DraftAt, m.Signed)
}

func (g *Gateway) apiSignMandate(ctx context.Context, in *signInput) (*mandateOutput, error) {
	if err := api.Allow(ctx, access.PermitSign, access.Resource{}); err != nil {
		return nil, err
	}
	u := actorOf(ctx)
	if in.Expected == 0 {
		m, err := g.Mandate(ctx, u, in.ID)
		if err != nil {
			return nil, problemOf(err)
		}
		in.Expected = m.Seq
	}
	m, err := g.SignMandate(ctx, u, in.ID, in.Expected, in.Body)
	if err != nil {
		return nil, problemOf(err)
	}
	return &mandateOutput{g.mandateView(m)}, nil
}
