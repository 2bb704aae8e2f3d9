package gateway

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// permitData is the dot of the page that shows a permit in plain words and lets the officer sign it. A
// feasibility mandate is shown on the same page.
type permitData struct {
	page.Form
	ID, Title string
	Mandate   bool
	Seq       int64
	Base      string // address below which assertions are posted
	Redraft   string // address that drafts anew
	Back      string
	Permit    *contract.Permit
	Purposes  []string
	Datasets  string
	Period    string
	Cohort    string
	OptOut    string
	Digest    contract.Digest
	Canonical string // the exact bytes that are signed

	Signed   bool
	SignedAt time.Time
	CanSign  bool // the reader may sign, and the draft is fresh
	CanDraft bool
	Stale    bool

	Challenge   string // base64url
	RPID        string
	Credentials string // base64url, separated by blanks: the reader's passkeys
	NoKey       bool   // the reader has no passkey
	DemoKey     string // address of the demonstration key's page
	ReturnTo    string // where that page comes back to
}

func (s *Site) describe(r *http.Request, d *permitData, draft *Drafted, signed *Signed) {
	p := d.Permit
	for _, c := range p.Purposes {
		d.Purposes = append(d.Purposes, s.purpose(r, c))
	}
	d.Datasets, d.Period = s.datasetLines(r, p.Datasets), s.period(r, p.Period)
	d.Cohort, d.OptOut = s.cohort(r, &CohortPage{p.Cohort}), s.optOut(r, p.OptOut)
	d.Digest, d.Canonical = draft.Digest, string(draft.Permit)
	if signed != nil {
		d.Signed, d.Canonical = true, string(signed.Signed.Permit)
		d.Digest = contract.DigestOf(signed.Signed.Permit)
	}
}

// offerSigning fills in what a passkey needs, if the draft can be signed now by the reader.
func (s *Site) offerSigning(r *http.Request, d *permitData, u Actor, draft *Drafted, at Moment) error {
	if s.g.Now().Sub(at.At) > DraftLife || at.Actor != u.ID {
		d.Stale = true
		return nil
	}
	me, err := s.g.o.People(r.Context(), u.ID)
	if err != nil {
		return err
	}
	challenge, err := draft.Digest.Bytes()
	if err != nil {
		return err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var keys []string
	for _, k := range me.Credentials {
		keys = append(keys, b64(k.CredentialID))
	}
	d.NoKey, d.CanSign = len(keys) == 0, len(keys) > 0
	d.Challenge, d.RPID, d.Credentials = b64(challenge), s.g.o.RPID, strings.Join(keys, " ")
	if s.o.DemoKeyURL != "" && d.CanSign {
		d.DemoKey, d.ReturnTo = s.o.DemoKeyURL, s.o.PublicURL+d.Base+"/assertion"
	}
	return nil
}

func (s *Site) showPermit(w http.ResponseWriter, r *http.Request) {
	if a, u, ok := s.find(w, r, always(access.PermitRead)); ok {
		s.renderPermit(w, r, http.StatusOK, a, u, nil)
	}
}

func (s *Site) renderPermit(w http.ResponseWriter, r *http.Request, status int, a *Application, u Actor, errs page.Errors) {
	if a.Permit == nil || (a.Signed == nil && a.Names(u.ID)) { // a draft is the officer's own business
		s.o.Pages.NotFound(w, r)
		return
	}
	now := s.g.Now()
	d := permitData{Form: page.Form{Errors: errs}, ID: a.ID, Title: a.Title(), Seq: a.Seq, Base: "/applications/" + a.ID + "/permit",
		Redraft: "/applications/" + a.ID + "/commands/draft", Back: "/applications/" + a.ID, Permit: a.Permit, SignedAt: a.SignedAt.At}
	s.describe(r, &d, a.Draft, a.Signed)
	d.CanDraft = a.Can(u, CmdDraft, now) == nil && access.Allow(r, access.PermitDraft, resource(a)) == nil
	if a.Can(u, CmdSign, now) == nil && access.Allow(r, access.PermitSign, resource(a)) == nil {
		if err := s.offerSigning(r, &d, u, a.Draft, a.DraftAt); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.o.Pages.Render(w, r, status, "portal/decision/permit", d)
}

// assertionFields are what a passkey returns, base64url.
var assertionFields = []string{"credential_id", "authenticator_data", "client_data_json", "signature"}

// maxAssertion bounds each field of an assertion, in characters.
const maxAssertion = 8 << 10

// parseAssertion reads an assertion from form fields.
func parseAssertion(v url.Values) (contract.Assertion, error) {
	var parts [4][]byte
	for i, name := range assertionFields {
		s := strings.TrimRight(v.Get(name), "=")
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(b) == 0 || len(s) > maxAssertion {
			return contract.Assertion{}, bad("sign", "assertion", "assertion_unreadable")
		}
		parts[i] = b
	}
	return contract.Assertion{CredentialID: parts[0], AuthenticatorData: parts[1], ClientDataJSON: parts[2], Signature: parts[3]}, nil
}

// confirmData is the dot of the page between a key on another origin and the decision.
type confirmData struct {
	Title, Action, Back string
	Seq                 int64
	Fields              []struct{ Name, Value string }
}

// confirmAssertion is where a key that signs on another origin (the demonstration key) returns to, with
// the assertion in the query. It changes nothing: it shows a button that posts the assertion from our
// own origin. So the protection against cross-site requests needs no exception; the assertion itself
// cannot be forged and fits one draft only.
func (s *Site) confirmAssertion(w http.ResponseWriter, r *http.Request) {
	a, u, ok := s.find(w, r, always(access.PermitSign))
	if !ok {
		return
	}
	if err := a.Can(u, CmdSign, s.g.Now()); err != nil {
		s.fail(w, r, err)
		return
	}
	s.renderConfirm(w, r, a.Title(), "/applications/"+a.ID+"/permit", a.Seq)
}

func (s *Site) renderConfirm(w http.ResponseWriter, r *http.Request, title, base string, seq int64) {
	q := r.URL.Query()
	if len(q) == 0 { // came back without signing
		http.Redirect(w, r, base, http.StatusSeeOther)
		return
	}
	if _, err := parseAssertion(q); err != nil {
		s.fail(w, r, err)
		return
	}
	d := confirmData{Title: title, Action: base + "/assertion", Back: base, Seq: seq}
	for _, name := range assertionFields {
		d.Fields = append(d.Fields, struct{ Name, Value string }{name, q.Get(name)})
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/decision/confirm", d)
}

// postAssertion takes the officer's signature and issues the permit.
func (s *Site) postAssertion(w http.ResponseWriter, r *http.Request) {
	a, u, ok := s.find(w, r, always(access.PermitSign))
	if !ok || !s.form(w, r) {
		return
	}
	as, err := parseAssertion(r.PostForm)
	if err == nil {
		_, err = s.g.Do(r.Context(), u, a.ID, Action{Command: CmdSign, ExpectedSeq: expected(r.PostForm), Assertion: &as})
	}
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		s.renderPermit(w, r, http.StatusUnprocessableEntity, a, u, formErrors(prefixed("", invalid.Problems)))
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, "/applications/"+a.ID, http.StatusSeeOther)
	}
}

// mandateData is the dot of the officer's list of mandates and of the form for a new one.
type mandateData struct {
	page.Form
	Mandates []mandateLine
	Datasets []formDataset
	CanDraft bool
}

type mandateLine struct {
	ID, Title  string
	Signed     bool
	InForce    bool
	ValidUntil time.Time
}

func (s *Site) mandates(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.PermitRead, access.Resource{}); err != nil {
		s.o.Door.Refuse(w, r, err)
		return
	}
	s.renderMandates(w, r, http.StatusOK, page.Form{})
}

func (s *Site) renderMandates(w http.ResponseWriter, r *http.Request, status int, f page.Form) {
	u := actorOf(r.Context())
	list, err := s.g.Mandates(r.Context(), u)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := mandateData{Form: f, CanDraft: u.Has(RoleOfficer)}
	for _, m := range list {
		d.Mandates = append(d.Mandates, mandateLine{m.ID, m.Scope.Title, m.Signed != nil, m.InForce(s.g.Now()), m.Permit.ValidUntil})
	}
	if d.CanDraft {
		schemas, err := s.g.o.Datasets.Published(r.Context())
		if err != nil {
			s.fail(w, r, err)
			return
		}
		for i := range schemas {
			d.Datasets = append(d.Datasets, formOf(&schemas[i], nil, lang(r)))
		}
	}
	s.o.Pages.Render(w, r, status, "portal/decision/mandates", d)
}

func (s *Site) createMandate(w http.ResponseWriter, r *http.Request) {
	if err := access.Allow(r, access.PermitSign, access.Resource{}); err != nil {
		s.o.Door.Refuse(w, r, err)
		return
	}
	if !s.form(w, r) {
		return
	}
	scope := MandateScope{Title: r.PostForm.Get("title"), Period: contract.Period{From: joinDate(r.PostForm, "from"), To: joinDate(r.PostForm, "to")}}
	// A mandate covers whole datasets: counts are protected whatever column they select by.
	for _, key := range r.PostForm["column"] {
		holder, dataset, _ := strings.Cut(key, "/")
		schema, err := s.g.o.Datasets.Schema(r.Context(), holder, dataset)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		scope.Datasets = append(scope.Datasets, wholeDataset(schema))
	}
	m, err := s.g.CreateMandate(r.Context(), actorOf(r.Context()), scope)
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		s.renderMandates(w, r, http.StatusUnprocessableEntity, page.Form{Values: r.PostForm, Errors: formErrors(invalid.Problems)})
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, "/decisions/mandates/"+m.ID, http.StatusSeeOther)
	}
}

// wholeDataset is the scope of every payload column of a dataset.
func wholeDataset(schema *contract.DatasetSchema) contract.DatasetScope {
	d := contract.DatasetScope{Holder: schema.Holder, Dataset: schema.Dataset}
	for _, t := range schema.Tables {
		ts := contract.TableScope{Table: t.Name}
		for _, c := range t.Columns {
			if c.Role == contract.RolePayload {
				ts.Columns = append(ts.Columns, c.Name)
			}
		}
		if len(ts.Columns) > 0 {
			d.Tables = append(d.Tables, ts)
		}
	}
	return d
}

// findMandate loads the mandate of the request, or has already answered.
func (s *Site) findMandate(w http.ResponseWriter, r *http.Request, action access.Action) (*Mandate, Actor, bool) {
	u := actorOf(r.Context())
	if err := access.Allow(r, action, access.Resource{}); err != nil {
		s.o.Door.Refuse(w, r, err)
		return nil, u, false
	}
	m, err := s.g.Mandate(r.Context(), u, r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return nil, u, false
	}
	return m, u, true
}

func (s *Site) showMandate(w http.ResponseWriter, r *http.Request) {
	if m, u, ok := s.findMandate(w, r, access.PermitRead); ok {
		s.renderMandate(w, r, http.StatusOK, m, u, nil)
	}
}

func (s *Site) renderMandate(w http.ResponseWriter, r *http.Request, status int, m *Mandate, u Actor, errs page.Errors) {
	base := "/decisions/mandates/" + m.ID
	d := permitData{Form: page.Form{Errors: errs}, ID: m.ID, Title: m.Scope.Title, Mandate: true, Seq: m.Seq, Base: base,
		Redraft: base + "/draft", Back: "/decisions/mandates", Permit: m.Permit, SignedAt: m.SignedAt.At}
	s.describe(r, &d, m.Draft, m.Signed)
	if m.Signed == nil && u.Has(RoleOfficer) {
		d.CanDraft = true
		if err := s.offerSigning(r, &d, u, m.Draft, m.DraftAt); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.o.Pages.Render(w, r, status, "portal/decision/permit", d)
}

func (s *Site) redraftMandate(w http.ResponseWriter, r *http.Request) {
	m, u, ok := s.findMandate(w, r, access.PermitSign)
	if !ok || !s.form(w, r) {
		return
	}
	if _, err := s.g.RedraftMandate(r.Context(), u, m.ID, expected(r.PostForm)); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/decisions/mandates/"+m.ID, http.StatusSeeOther)
}

// confirmMandate is confirmAssertion for a mandate.
func (s *Site) confirmMandate(w http.ResponseWriter, r *http.Request) {
	if m, _, ok := s.findMandate(w, r, access.PermitSign); ok {
		s.renderConfirm(w, r, m.Scope.Title, "/decisions/mandates/"+m.ID, m.Seq)
	}
}

func (s *Site) postMandate(w http.ResponseWriter, r *http.Request) {
	m, u, ok := s.findMandate(w, r, access.PermitSign)
	if !ok || !s.form(w, r) {
		return
	}
	as, err := parseAssertion(r.PostForm)
	if err == nil {
		_, err = s.g.SignMandate(r.Context(), u, m.ID, expected(r.PostForm), as)
	}
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		s.renderMandate(w, r, http.StatusUnprocessableEntity, m, u, formErrors(prefixed("", invalid.Problems)))
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, "/decisions/mandates/"+m.ID, http.StatusSeeOther)
	}
}
