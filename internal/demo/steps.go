package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/portal/feasibility"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/sample"
)

// Citizen is somebody whom the demonstration identity provider knows.
type Citizen struct {
	Person     int64  `json:"person"`
	GivenName  string `json:"given_name"`
	FamilyName string `json:"family_name"`
}

// Citizens are those whom the identity provider knows, all of them alive and in the holders' files.
func (h *Hub) Citizens() ([]Citizen, error) {
	var out []Citizen
	return out, readJSON(h.path("sample", "citizens.json"), &out)
}

var loginRequest = regexp.MustCompile(`name="request" value="([^"]+)"`)

// SignInCitizen goes through the identity provider's pages as a browser without scripts would.
func (h *Hub) SignInCitizen(ctx context.Context, c Citizen) (*Client, error) {
	cl := NewClient(h.PortalURL())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.PortalURL()+"/sign-in/citizen", nil)
	if err != nil {
		return nil, err
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	m := loginRequest.FindSubmatch(body)
	if m == nil {
		return nil, fmt.Errorf("no login form at %s (%s)", resp.Request.URL, resp.Status)
	}
	idp := &Client{base: h.idpURL(), http: cl.http}
	return cl, idp.Form(ctx, "/login", url.Values{"request": {string(m[1])}, "citizen": {fmt.Sprintf("citizen-%d", c.Person)}})
}

// Objection is an objection as the portal's interface shows it.
type Objection struct {
	Number string `json:"number"`
	State  string `json:"state"`
}

// FileObjection has a citizen object and waits until trust has answered.
func (h *Hub) FileObjection(ctx context.Context, c Citizen) (Objection, error) {
	var o Objection
	cl, err := h.SignInCitizen(ctx, c)
	if err != nil {
		return o, err
	}
	if err := cl.Call(ctx, http.MethodPost, "/api/v1/objections", nil, &o); err != nil {
		return o, err
	}
	if o.Number == "" {
		return o, errors.New("the objection has no receipt number")
	}
	return o, h.awaitObjection(ctx, cl, &o, "in_force", "recorded")
}

func (h *Hub) awaitObjection(ctx context.Context, cl *Client, o *Objection, states ...string) error {
	return h.until(ctx, 30*time.Second, "trust's answer to objection "+o.Number, func() (bool, error) {
		err := cl.Call(ctx, http.MethodGet, "/api/v1/objections/"+o.Number, nil, o)
		if o.State == "not_identified" || o.State == "refused" {
			return false, fmt.Errorf("trust answered %q", o.State)
		}
		return slices.Contains(states, o.State), err
	})
}

// WithdrawObjection undoes an objection; the citizen signs in again, since a sign-in is good for one statement.
func (h *Hub) WithdrawObjection(ctx context.Context, c Citizen, number string) error {
	cl, err := h.SignInCitizen(ctx, c)
	if err != nil {
		return err
	}
	o := Objection{Number: number}
	if err := cl.Call(ctx, http.MethodPost, "/api/v1/objections/"+number+"/withdraw", nil, &o); err != nil {
		return err
	}
	return h.awaitObjection(ctx, cl, &o, "withdrawn", "ended")
}

// object: a citizen objects, undoes it, and objects again; trust finds her each time.
func (w *walk) object(ctx context.Context) (result, error) {
	var res result
	citizens, err := w.h.Citizens()
	if err != nil {
		return res, err
	}
	w.objector = citizens[0]
	first, err := w.h.FileObjection(ctx, w.objector)
	if err != nil {
		return res, err
	}
	if err := w.h.WithdrawObjection(ctx, w.objector, first.Number); err != nil {
		return res, err
	}
	again, err := w.h.FileObjection(ctx, w.objector)
	if err != nil {
		return res, err
	}
	res.documents = 6 // three statements, three receipts
	res.border = "portal → trust: statements sealed to trust; trust → portal: receipts by number"
	res.verified = fmt.Sprintf("receipt %s recorded and withdrawn, receipt %s on the roll", first.Number, again.Number)
	return res, nil
}

// The researcher's project, in the terms of the sample country.
const (
	projectTitle = "Diabetes care after an emergency visit"
	cohortPrefix = "A10" // ATC: drugs used in diabetes
)

var studyPeriod = contract.Period{From: "2023-01-01", To: "2025-12-31"}

func studyData() []contract.DatasetScope {
	return []contract.DatasetScope{
		{Holder: sample.HolderSNDS, Dataset: sample.DatasetSNDS, Tables: []contract.TableScope{
			{Table: "IR_BEN_R", Columns: []string{"BEN_NAI_ANN", "BEN_SEX_COD", "BEN_RES_DPT"}},
			{Table: "ER_PHA_F", Columns: []string{"EXE_SOI_DTD", "PHA_ATC_CLA", "PHA_ACT_QSN"}},
			{Table: "T_MCOaaB", Columns: []string{"EXE_SOI_DTD", "EXE_SOI_DTF", "DGN_PAL", "SEJ_NBJ"}},
		}},
		{Holder: sample.HolderOSCOUR, Dataset: sample.DatasetOSCOUR, Tables: []contract.TableScope{
			{Table: "RPU", Columns: []string{"ENTREE", "GRAVITE", "DP", "ORIENT"}},
		}},
		{Holder: sample.HolderStudents, Dataset: sample.DatasetStudents, Tables: []contract.TableScope{
			{Table: "QUESTIONNAIRE", Columns: []string{"DATE_REPONSE", "PHQ9"}},
		}},
	}
}

func studyCohort() contract.Cohort {
	return contract.Cohort{Period: studyPeriod, AnyOf: []contract.Criterion{{Holder: sample.HolderSNDS, Dataset: sample.DatasetSNDS,
		Table: "ER_PHA_F", Column: "PHA_ATC_CLA", Codes: []string{cohortPrefix}, Prefix: true}}}
}

// explore: the researcher searches, reads variables, and asks for a count.
func (w *walk) explore(ctx context.Context) (result, error) {
	var res result
	var err error
	if w.applicant, err = w.h.SignIn(ctx, "researcher", "1"); err != nil {
		return res, err
	}
	var found struct {
		Datasets []struct {
			Identifier string `json:"identifier"`
		} `json:"datasets"`
	}
	if err := w.applicant.Call(ctx, http.MethodGet, "/api/v1/datasets?q=diabetes", nil, &found); err != nil {
		return res, err
	}
	if !slices.ContainsFunc(found.Datasets, func(d struct {
		Identifier string `json:"identifier"`
	}) bool {
		return d.Identifier == "cnam/snds"
	}) {
		return res, errors.New("a search for diabetes does not find the national claims")
	}
	var variables struct {
		Variables []struct {
			Name        string `json:"name"`
			CodeList    string `json:"code_list"`
			Requestable bool   `json:"requestable"`
		} `json:"variables"`
	}
	if err := w.applicant.Call(ctx, http.MethodGet, "/api/v1/datasets/cnam/snds/variables?table=ER_PHA_F", nil, &variables); err != nil {
		return res, err
	}
	question := feasibility.Question{Holder: sample.HolderSNDS, Dataset: sample.DatasetSNDS, Table: "ER_PHA_F", Column: "PHA_ATC_CLA",
		Codes: []string{cohortPrefix}, Prefix: true, From: 2023, To: 2025}
	ask := func(q feasibility.Question) (feasibility.Asked, error) {
		var a feasibility.Asked
		if err := w.applicant.Call(ctx, http.MethodPost, "/api/v1/feasibility", q, &a); err != nil {
			return a, err
		}
		if a.Status != feasibility.Answered || a.Answer == nil {
			return a, fmt.Errorf("the count was not answered: %s %s", a.Status, a.Code)
		}
		return a, nil
	}
	many, err := ask(question)
	if err != nil {
		return res, err
	}
	if many.Answer.Hidden || many.Answer.RoundTo < 2 || many.Answer.Count%int64(many.Answer.RoundTo) != 0 || many.Answer.Count == 0 {
		return res, fmt.Errorf("the count of persons with diabetes drugs is not a rounded number: %+v", *many.Answer)
	}
	question.Codes, question.Prefix = []string{"ZZZ99"}, false
	none, err := ask(question)
	if err != nil {
		return res, err
	}
	if !none.Answer.Hidden {
		return res, errors.New("a small count was shown")
	}
	res.documents = 4
	res.border = "portal → engine: questions under the mandate; engine → portal: protected counts"
	res.verified = fmt.Sprintf("%d variables read; about %d persons, rounded to %d, in %d ms; a small count stayed hidden", len(variables.Variables), many.Answer.Count, many.Answer.RoundTo, many.Answer.Millis)
	return res, nil
}

// at reads the case as its reader sees it.
func (w *walk) at(ctx context.Context, c *Client) (gateway.CaseView, error) {
	var v gateway.CaseView
	return v, c.Call(ctx, http.MethodGet, "/api/v1/applications/"+w.application, nil, &v)
}

// act sends a command to the case as somebody in a role.
func (w *walk) act(ctx context.Context, c *Client, a gateway.Action) (gateway.CaseView, error) {
	v, err := w.at(ctx, c)
	if err != nil {
		return v, err
	}
	a.ExpectedSeq = v.Seq
	err = c.Call(ctx, http.MethodPost, "/api/v1/applications/"+w.application+"/commands", a, &v)
	if err != nil {
		return v, fmt.Errorf("%s: %w", a.Command, err)
	}
	return v, nil
}

// advance moves the hub's clock, as the demonstration's banner lets a person do.
func (w *walk) advance(ctx context.Context, c *Client, days int) error {
	return c.Call(ctx, http.MethodPost, "/demo/clock", map[string]int{"days": days}, nil)
}

// apply: the application is filled in and goes through the French procedure, each act on a later day.
func (w *walk) apply(ctx context.Context) (result, error) {
	var res result
	var v gateway.CaseView
	if err := w.applicant.Call(ctx, http.MethodPost, "/api/v1/applications", map[string]any{"title": projectTitle, "datasets": studyData()}, &v); err != nil {
		return res, err
	}
	w.application = v.ID
	answers := StudyAnswers()
	if _, err := w.act(ctx, w.applicant, gateway.Action{Command: gateway.CmdSave, Answers: &answers}); err != nil {
		return res, err
	}
	if _, err := w.act(ctx, w.applicant, gateway.Action{Command: gateway.CmdSubmit}); err != nil {
		return res, err
	}
	rules := []string{}
	for _, move := range []struct {
		role   string
		days   int
		action gateway.Action
	}{
		{"handler", 3, gateway.Action{Command: gateway.CmdComplete}},
		{"committee", 12, gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionFavourable, Reasons: "In the public interest; data limited to what the aim needs."}},
		{"authority", 20, gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-2026-001", Reasons: "Lawful and proportionate."}},
	} {
		if err := w.advance(ctx, w.applicant, move.days); err != nil {
			return res, err
		}
		official, err := w.h.SignIn(ctx, move.role, "")
		if err != nil {
			return res, err
		}
		before, err := w.at(ctx, official)
		if err != nil {
			return res, err
		}
		i := slices.IndexFunc(before.Clocks, func(c gateway.ClockView) bool { return c.Status == gateway.ClockRunning })
		if i < 0 || before.Clocks[i].Explanation == "" || before.Clocks[i].Source == "" || before.Clocks[i].Late {
			return res, fmt.Errorf("before %s no clock runs, or it does not explain itself", move.action.Command)
		}
		rules = append(rules, before.Clocks[i].Rule)
		if v, err = w.act(ctx, official, move.action); err != nil {
			return res, err
		}
	}
	res.verified = fmt.Sprintf("case %s authorised on time under clocks %s; 35 days passed on the hub's clock", w.application, strings.Join(rules, ", "))
	return res, nil
}

// sign: the officer drafts and signs; the register shows it at once; a signature over another permit is refused.
func (w *walk) sign(ctx context.Context) (result, error) {
	var res result
	officer, err := w.h.SignIn(ctx, "officer", "")
	if err != nil {
		return res, err
	}
	if _, err := w.act(ctx, officer, gateway.Action{Command: gateway.CmdDraft}); err != nil {
		return res, err
	}
	if err := w.h.SignPermit(ctx, officer, "/api/v1/applications/"+w.application+"/permit"); err != nil {
		return res, err
	}
	v, err := w.at(ctx, w.applicant)
	if err != nil {
		return res, err
	}
	w.permit = v.PermitID
	var signed contract.SignedPermit
	if err := w.applicant.Call(ctx, http.MethodGet, "/api/v1/permits/"+w.permit, nil, &signed); err != nil {
		return res, err
	}
	roll, err := contract.LoadRoll(filepath.Join(w.h.ZoneDir(contract.ZoneVault), "officers.json"))
	if err != nil {
		return res, err
	}
	if _, err := contract.VerifyPermit(signed, roll, w.h.clock().Now()); err != nil {
		return res, fmt.Errorf("the published permit does not verify: %w", err)
	}
	entry, err := w.registered(ctx)
	if err != nil {
		return res, err
	}
	if entry.Permit == nil || entry.Permit.ID != w.permit {
		return res, errors.New("the register does not show the permit")
	}
	res.documents, res.bytes = 2, int64(len(signed.Permit))*2
	res.border = "portal → engine, enclave: orders with the signed permit"
	res.verified = fmt.Sprintf("permit %s verifies against vault's list of officers; the register shows it", w.permit)
	return res, nil
}

// registerEntry is what the journey reads of the public register.
type registerEntry struct {
	Status string `json:"status"`
	Permit *struct {
		ID string `json:"id"`
	} `json:"permit"`
	Results []struct {
		Title string   `json:"title"`
		Files []string `json:"files"`
	} `json:"results"`
}

func (w *walk) registered(ctx context.Context) (registerEntry, error) {
	var e registerEntry
	return e, NewClient(w.h.PortalURL()).Call(ctx, http.MethodGet, "/api/v1/register/"+w.application, nil, &e)
}

// provision: engine's run, seen from the case page.
func (w *walk) provision(ctx context.Context) (result, error) {
	var res result
	var v gateway.CaseView
	err := w.h.until(ctx, 30*time.Minute, "the project data", func() (done bool, err error) {
		v, err = w.at(ctx, w.applicant)
		if len(v.Failures) > 0 {
			return false, fmt.Errorf("%+v", v.Failures)
		}
		return v.Provision != nil, err
	})
	if err != nil {
		return res, err
	}
	r := v.Provision
	digest, err := w.permitDigest(ctx)
	if err != nil {
		return res, err
	}
	if r.PermitID != w.permit || r.PermitDigest != digest {
		return res, errors.New("the report is of another permit")
	}
	var in, out int64
	for _, t := range r.Tables {
		in += t.RowsIn
		out += t.RowsOut
		// The portal's copy rounds counts of persons to 10 and hides small ones (-1), so its sums fit only
		// that closely; the exact report lies in the workspace.
		sum := max(t.RowsOut, 0)
		for _, n := range t.Dropped {
			sum += max(n, 0)
		}
		if off := t.RowsIn - sum; off > int64(11*(1+len(t.Dropped))) || off < -int64(11*(1+len(t.Dropped))) {
			return res, fmt.Errorf("table %s: %d rows in, %d out, dropped %v do not add up", t.Table, t.RowsIn, t.RowsOut, t.Dropped)
		}
		for _, f := range t.Files {
			res.bytes += f.Bytes
			res.documents++
		}
	}
	if out == 0 || out >= in {
		return res, fmt.Errorf("%d rows in, %d out", in, out)
	}
	res.rows = in
	res.seconds = r.FinishedAt.Sub(r.StartedAt).Seconds()
	res.border = fmt.Sprintf("engine → enclave: %d sealed files, %d rows", res.documents, out)
	res.verified = fmt.Sprintf("%d of %d rows; every dropped row has its reason; about %d persons of %d matched", out, in, r.Persons.Delivered, r.Persons.Matched)
	return res, nil
}

func (w *walk) permitDigest(ctx context.Context) (contract.Digest, error) {
	var signed contract.SignedPermit
	err := w.applicant.Call(ctx, http.MethodGet, "/api/v1/permits/"+w.permit, nil, &signed)
	return contract.DigestOf(signed.Permit), err
}

// prove: the register shows the result, the released file is there for the researcher and nothing else
// is, and every zone's ledger is proven.
func (w *walk) prove(ctx context.Context) (result, error) {
	var res result
	var entry registerEntry
	err := w.h.until(ctx, 30*time.Second, "the result in the register", func() (done bool, err error) {
		entry, err = w.registered(ctx)
		return len(entry.Results) > 0, err
	})
	if err != nil {
		return res, err
	}
	if len(entry.Results) != 1 || !slices.Equal(entry.Results[0].Files, []string{w.released}) {
		return res, fmt.Errorf("the register shows %+v, one file was released", entry.Results)
	}
	var sizes []string
	for _, zone := range zones {
		var report ledger.Report
		if report, err = w.verifyLedger(ctx, zone); err != nil {
			return res, err
		}
		if report.Size == 0 {
			return res, fmt.Errorf("the ledger of %s is empty", zone)
		}
		sizes = append(sizes, fmt.Sprintf("%s %d", zone, report.Size))
		res.documents++
	}
	res.border = "zones → everybody: signed heads of the ledgers"
	res.verified = "result in the register; ledgers proven: " + strings.Join(sizes, ", ") + " entries"
	return res, nil
}
