package enclave

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/airlock"
	"github.com/mitral-health/mitral/internal/enclave/workspace"
	"github.com/mitral-health/mitral/internal/kit/disclosure"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
)

func (d *door) pageTable() []route {
	return []route{
		{"GET /workspaces", signedIn, d.pageWorkspaces},
		{"GET /workspaces/{ws}", signedIn, d.pageWorkspace},
		{"GET /workspaces/{ws}/jobs/new", signedIn, d.pageNewJob},
		{"POST /workspaces/{ws}/jobs", signedIn, d.postJob},
		{"GET /workspaces/{ws}/jobs/{job}", signedIn, d.pageJob},
		{"POST /workspaces/{ws}/jobs/{job}/cancel", signedIn, d.postCancel},
		{"GET /workspaces/{ws}/jobs/{job}/outputs/{name}", signedIn, d.pageOutput},
		{"GET /workspaces/{ws}/jobs/{job}/export", signedIn, d.pageAsk},
		{"POST /workspaces/{ws}/jobs/{job}/export", signedIn, d.postAsk},
		{"GET /workspaces/{ws}/exports/{export}", signedIn, d.pageExport},
		{"POST /workspaces/{ws}/exports/{export}/submit", signedIn, d.postSubmit},
		{"POST /workspaces/{ws}/exports/{export}/withdraw", signedIn, d.postWithdraw},
		{"GET /reviews", reviewers, d.pageDesk},
		{"GET /reviews/{export}", reviewers, d.pageReview},
		{"POST /reviews/{export}", reviewers, d.postReview},
		{"GET /reviews/{export}/files/{name}", reviewers, d.pageReviewFile},
	}
}

func (d *door) home(w http.ResponseWriter, r *http.Request, v *visitor) {
	to := "/sign-in"
	switch {
	case v != nil && v.Reviewer != nil && !v.Member:
		to = "/reviews"
	case v != nil:
		to = "/workspaces"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// signInPage offers the passkey, and in a demonstration the people one can be.
func (d *door) signInPage(w http.ResponseWriter, r *http.Request, v *visitor) {
	next := r.URL.Query().Get("next")
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) {
		next = "/"
	}
	data := struct {
		Next   string
		People []session
	}{Next: next}
	if d.cfg.Demo {
		var err error
		if data.People, err = d.demoPeople(r.Context()); err != nil {
			d.fail(w, r, err)
			return
		}
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/sign-in", data)
}

func (d *door) pageWorkspaces(w http.ResponseWriter, r *http.Request, v *visitor) {
	list, err := d.workspaces.Of(r.Context(), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/workspaces", map[string]any{"Workspaces": list})
}

func (d *door) pageWorkspace(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, err := d.workspaces.Open(r.Context(), r.PathValue("ws"), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	jobs, err := d.workspaces.JobsOf(r.Context(), ws.ID, v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	exports, err := d.airlock.Of(r.Context(), ws.ID, v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/workspace", map[string]any{"Workspace": ws, "Doc": docOf(ws), "Jobs": jobs, "Exports": exports,
		"NoJobs": d.workspaces.SandboxErr != nil})
}

// jobForm is the page of a new job.
type jobForm struct {
	page.Form
	Workspace *workspace.Workspace
	Doc       workspaceDoc
}

func (d *door) pageNewJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, err := d.workspaces.Open(r.Context(), r.PathValue("ws"), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	values := url.Values{"kind": {workspace.KindSQL}}
	if _, old, err := d.workspaces.Job(r.Context(), ws.ID, v.Who, r.URL.Query().Get("from")); err == nil {
		values = url.Values{"kind": {old.Kind}, "title": {old.Title}, "code": {old.Code}}
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/job-new", jobForm{page.Form{Values: values}, ws, docOf(ws)})
}

func (d *door) postJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, err := d.workspaces.Open(r.Context(), r.PathValue("ws"), v.Who)
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		d.fail(w, r, badForm(err))
		return
	}
	form := jobForm{page.Form{Values: r.PostForm}, ws, docOf(ws)}
	title, code := strings.TrimSpace(form.Value("title")), form.Value("code")
	if title == "" || utf8.RuneCountInString(title) > 120 {
		form.Bad("title", "enclave.error.title")
	}
	if k := form.Value("kind"); k != workspace.KindSQL && k != workspace.KindPython {
		form.Bad("kind", "enclave.error.kind")
	}
	if strings.TrimSpace(code) == "" || len(code) > 256<<10 {
		form.Bad("code", "enclave.error.code")
	}
	if len(form.Errors) > 0 {
		d.pages.Render(w, r, http.StatusBadRequest, "enclave/job-new", form)
		return
	}
	j, err := d.workspaces.Submit(r.Context(), ws.ID, v.Who, form.Value("kind"), title, code)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, jobPath(j), http.StatusSeeOther)
}

// badForm turns an unreadable form into a refusal, and leaves refusals as they are.
func badForm(err error) error {
	var refusal *contract.Refusal
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		return err
	case errors.As(err, &tooLarge):
		return contract.Refuse("invalid", "the form is too large")
	}
	return contract.Refuse("invalid", "the form cannot be read")
}

func jobPath(j *workspace.Job) string { return "/workspaces/" + j.Workspace + "/jobs/" + j.ID }

func exportPath(e *airlock.Export) string {
	return "/workspaces/" + e.Workspace + "/exports/" + e.ID
}

func (d *door) pageJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, j, err := d.workspaces.Job(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	data := map[string]any{"Workspace": ws, "Job": j, "Log": ""}
	if j.State == workspace.JobDone || j.State == workspace.JobFailed {
		var refusal *contract.Refusal
		log, err := d.workspaces.ReadLog(r.Context(), ws, j)
		if err != nil && !errors.As(err, &refusal) { // a job that failed before it ran has no log
			d.fail(w, r, err)
			return
		}
		data["Log"] = string(log)
	}
	if !j.Final() {
		w.Header().Set("Refresh", "3") // the page follows the job without a script
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/job", data)
}

func (d *door) postCancel(w http.ResponseWriter, r *http.Request, v *visitor) {
	if err := d.workspaces.Cancel(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job")); err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/workspaces/"+url.PathEscape(r.PathValue("ws"))+"/jobs/"+url.PathEscape(r.PathValue("job")), http.StatusSeeOther)
}

func (d *door) pageOutput(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, j, err := d.workspaces.Job(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	b, err := d.workspaces.ViewOutput(r.Context(), ws, j, v.Who, r.PathValue("name"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.show(w, r, "enclave/output", b, r.PathValue("name"), jobPath(j))
}

// show renders a file, or with ?picture=1 the picture itself for the page's img element.
func (d *door) show(w http.ResponseWriter, r *http.Request, name string, b []byte, file, back string) {
	p := previewOf(file, b)
	if p.Picture && r.URL.Query().Get("picture") == "1" {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(b)
		return
	}
	d.pages.Render(w, r, http.StatusOK, name, map[string]any{"File": p, "Back": back})
}

// askForm is the page on which an author asks for outputs to leave.
type askForm struct {
	page.Form
	Workspace *workspace.Workspace
	Job       *workspace.Job
}

func (d *door) pageAsk(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, j, err := d.workspaces.Job(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	values := url.Values{"title": {j.Title}}
	if len(j.Outputs) == 1 {
		values.Set("files", j.Outputs[0].Name)
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/export-new", askForm{page.Form{Values: values}, ws, j})
}

func (d *door) postAsk(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, j, err := d.workspaces.Job(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job"))
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		d.fail(w, r, badForm(err))
		return
	}
	form := askForm{page.Form{Values: r.PostForm}, ws, j}
	title, why := strings.TrimSpace(form.Value("title")), strings.TrimSpace(form.Value("context"))
	if title == "" || utf8.RuneCountInString(title) > 120 {
		form.Bad("title", "enclave.error.title")
	}
	if why == "" || utf8.RuneCountInString(why) > 4000 {
		form.Bad("context", "enclave.error.context")
	}
	files := form.Values["files"]
	if len(files) == 0 || slices.ContainsFunc(files, func(f string) bool { _, ok := j.Output(f); return !ok }) {
		form.Bad("files", "enclave.error.files")
	}
	if len(form.Errors) > 0 {
		d.pages.Render(w, r, http.StatusBadRequest, "enclave/export-new", form)
		return
	}
	e, err := d.airlock.Ask(r.Context(), ws.ID, v.Who, j.ID, title, why, files)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, exportPath(e), http.StatusSeeOther)
}

// finding is one line of the list of checks.
type finding struct {
	File string
	disclosure.Finding
}

// findings lists what the checks found, the worst first.
func findings(reports []disclosure.Report) []finding {
	var out []finding
	for _, r := range reports {
		for _, f := range r.Findings {
			out = append(out, finding{r.File, f})
		}
	}
	order := map[disclosure.Outcome]int{disclosure.Fail: 0, disclosure.Review: 1, disclosure.Pass: 2}
	slices.SortStableFunc(out, func(a, b finding) int { return cmp.Compare(order[a.Outcome], order[b.Outcome]) })
	return out
}

// sentences puts a finding's text into the reader's language.
func (d *door) sentences(r *http.Request, list []finding) []map[string]any {
	var out []map[string]any
	for _, f := range list {
		var args []any
		for k, v := range f.Args {
			args = append(args, k, v)
		}
		mend := ""
		if f.Mend() != "" {
			mend = d.pages.T(r, i18n.Key("enclave.mend.", f.Message), args...)
		}
		out = append(out, map[string]any{"File": f.File, "Outcome": string(f.Outcome), "Row": f.Row, "Column": f.Column,
			"Reason": d.pages.T(r, i18n.Key("enclave.check.", f.Message), args...), "Mend": mend})
	}
	return out
}

func (d *door) pageExport(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Get(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/export", map[string]any{"Export": e, "Findings": d.sentences(r, findings(e.Request.Reports)),
		"Outcome": string(e.Outcome()), "State": string(e.State), "Reviews": e.SeenBy(v.Person), "Author": e.Author == v.Person,
		"Open":    e.State == airlock.Pending || e.State == airlock.Submitted || e.State == airlock.PartiallyReviewed,
		"CanSend": e.State == airlock.Pending && e.Outcome() != disclosure.Fail})
}

func (d *door) postSubmit(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Submit(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, exportPath(e), http.StatusSeeOther)
}

func (d *door) postWithdraw(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Withdraw(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, exportPath(e), http.StatusSeeOther)
}

func (d *door) pageDesk(w http.ResponseWriter, r *http.Request, v *visitor) {
	waiting, judged, err := d.airlock.Desk(r.Context(), *v.Reviewer)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/reviews", map[string]any{"Waiting": waiting, "Judged": judged})
}

// reviewForm is the page on which a reviewer judges.
type reviewForm struct {
	page.Form
	Export   *airlock.Export
	Permit   contract.Permit
	Findings []map[string]any
	Files    []preview
	Own      *airlock.Review // her verdict, when it is in
	Reviews  []airlock.Review
	CanJudge bool
}

func (d *door) reviewData(r *http.Request, v *visitor) (*reviewForm, error) {
	e, ws, err := d.airlock.ForReview(r.Context(), *v.Reviewer, r.PathValue("export"))
	if err != nil {
		return nil, err
	}
	data := &reviewForm{Form: page.Form{Values: url.Values{}}, Export: e, Permit: ws.Permit, Findings: d.sentences(r, findings(e.Request.Reports)), Reviews: e.SeenBy(v.Person)}
	for i := range e.Reviews {
		if e.Reviews[i].Reviewer == v.Person {
			data.Own = &e.Reviews[i]
		}
	}
	data.CanJudge = data.Own == nil && e.Author != v.Person && (e.State == airlock.Submitted || e.State == airlock.PartiallyReviewed)
	for _, f := range e.Request.Files {
		b, err := d.airlock.ReadFile(r.Context(), ws, e, v.Person, f.Name)
		if err != nil {
			return nil, err
		}
		data.Files = append(data.Files, previewOf(f.Name, b))
	}
	return data, nil
}

func (d *door) pageReview(w http.ResponseWriter, r *http.Request, v *visitor) {
	data, err := d.reviewData(r, v)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.pages.Render(w, r, http.StatusOK, "enclave/review", data)
}

func (d *door) postReview(w http.ResponseWriter, r *http.Request, v *visitor) {
	if err := r.ParseForm(); err != nil {
		d.fail(w, r, badForm(err))
		return
	}
	verdict, reason := r.PostForm.Get("verdict"), strings.TrimSpace(r.PostForm.Get("reason"))
	var bad page.Form
	if verdict != "approve" && verdict != "reject" {
		bad.Bad("verdict", "enclave.error.verdict")
	}
	if verdict == "reject" && reason == "" || utf8.RuneCountInString(reason) > 2000 {
		bad.Bad("reason", "enclave.error.reason")
	}
	if len(bad.Errors) > 0 {
		data, err := d.reviewData(r, v)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		data.Form = page.Form{Values: r.PostForm, Errors: bad.Errors}
		d.pages.Render(w, r, http.StatusBadRequest, "enclave/review", data)
		return
	}
	e, err := d.airlock.Review(r.Context(), *v.Reviewer, r.PathValue("export"), contract.Digest(r.PostForm.Get("files_digest")), verdict == "approve", reason)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/reviews/"+e.ID, http.StatusSeeOther)
}

// pageReviewFile shows one file whole-page, and gives the review page its pictures.
func (d *door) pageReviewFile(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, ws, err := d.airlock.ForReview(r.Context(), *v.Reviewer, r.PathValue("export"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	b, err := d.airlock.ReadFile(r.Context(), ws, e, v.Person, r.PathValue("name"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.show(w, r, "enclave/output", b, r.PathValue("name"), "/reviews/"+e.ID)
}
