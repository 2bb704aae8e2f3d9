package enclave

import (
	"net/http"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/airlock"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/enclave/workspace"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// The JSON API shows what the pages show, except the content of outputs: files leave through the airlock,
// never by a request of a program.
func (d *door) apiTable() []route {
	return []route{
		{"POST /api/v1/sign-in/options", anyone, d.challenge},
		{"POST /api/v1/sign-in", anyone, d.signIn},
		{"POST /api/v1/sign-out", signedIn, d.signOut},
		{"GET /api/v1/me", signedIn, d.apiMe},
		{"GET /api/v1/workspaces", signedIn, d.apiWorkspaces},
		{"GET /api/v1/workspaces/{ws}", signedIn, d.apiWorkspace},
		{"GET /api/v1/workspaces/{ws}/jobs", signedIn, d.apiJobs},
		{"POST /api/v1/workspaces/{ws}/jobs", signedIn, d.apiSubmitJob},
		{"GET /api/v1/workspaces/{ws}/jobs/{job}", signedIn, d.apiJob},
		{"POST /api/v1/workspaces/{ws}/jobs/{job}/cancel", signedIn, d.apiCancelJob},
		{"GET /api/v1/workspaces/{ws}/exports", signedIn, d.apiExports},
		{"POST /api/v1/workspaces/{ws}/exports", signedIn, d.apiAsk},
		{"GET /api/v1/workspaces/{ws}/exports/{export}", signedIn, d.apiExport},
		{"POST /api/v1/workspaces/{ws}/exports/{export}/submit", signedIn, d.apiSubmitExport},
		{"POST /api/v1/workspaces/{ws}/exports/{export}/withdraw", signedIn, d.apiWithdraw},
		{"GET /api/v1/reviews", reviewers, d.apiDesk},
		{"GET /api/v1/reviews/{export}", reviewers, d.apiReview},
		{"POST /api/v1/reviews/{export}", reviewers, d.apiVerdict},
	}
}

func (d *door) apiMe(w http.ResponseWriter, r *http.Request, v *visitor) {
	httpx.JSON(w, http.StatusOK, map[string]any{"id": v.Person, "name": v.Name, "researcher": v.Member, "reviewer": v.Reviewer != nil})
}

// workspaceDoc is a workspace as its members see it.
type workspaceDoc struct {
	ID         string     `json:"id"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	PermitID   string     `json:"permit_id"`
	Version    int        `json:"permit_version"`
	Title      string     `json:"title"`
	ValidUntil time.Time  `json:"valid_until"`
	MinCell    int        `json:"min_cell"`
	Reviewers  int        `json:"reviewers"`
	Tables     []tableDoc `json:"tables"`
}

// tableDoc is one table of a project dataset; in SQL its name is dataset.table.
type tableDoc struct {
	Holder  string   `json:"holder"`
	Dataset string   `json:"dataset"`
	Table   string   `json:"table"`
	Rows    int64    `json:"rows"`
	Columns []string `json:"columns"`
}

func docOf(ws *workspace.Workspace) workspaceDoc {
	doc := workspaceDoc{ID: ws.ID, State: ws.State, Reason: ws.Reason, PermitID: ws.Permit.ID, Version: ws.Permit.Version, Title: ws.Permit.Title,
		ValidUntil: ws.Permit.ValidUntil, MinCell: ws.Permit.MinCell, Reviewers: ws.Permit.Reviewers, Tables: []tableDoc{}}
	if ws.Handover != nil {
		for _, t := range ws.Handover.Report.Tables {
			doc.Tables = append(doc.Tables, tableDoc{t.Holder, t.Dataset, t.Table, t.RowsOut, t.ColumnsKept})
		}
	}
	return doc
}

func (d *door) apiWorkspaces(w http.ResponseWriter, r *http.Request, v *visitor) {
	list, err := d.workspaces.Of(r.Context(), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	out := []workspaceDoc{}
	for _, ws := range list {
		doc := docOf(ws)
		doc.Tables = nil
		out = append(out, doc)
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"workspaces": out})
}

func (d *door) apiWorkspace(w http.ResponseWriter, r *http.Request, v *visitor) {
	ws, err := d.workspaces.Open(r.Context(), r.PathValue("ws"), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, docOf(ws))
}

func (d *door) apiJobs(w http.ResponseWriter, r *http.Request, v *visitor) {
	list, err := d.workspaces.JobsOf(r.Context(), r.PathValue("ws"), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if list == nil {
		list = []*workspace.Job{}
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"jobs": list})
}

func (d *door) apiSubmitJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		Kind  string `json:"kind"`
		Title string `json:"title"`
		Code  string `json:"code"`
	}
	if err := httpx.Decode(r, maxForm, &in); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	j, err := d.workspaces.Submit(r.Context(), r.PathValue("ws"), v.Who, in.Kind, in.Title, in.Code)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusCreated, withLists(j))
}

// withLists makes empty lists of a new job lists, not null.
func withLists(j *workspace.Job) *workspace.Job {
	if j.Outputs == nil {
		j.Outputs = []workspace.Output{}
	}
	if j.Refused == nil {
		j.Refused = []sandbox.Refused{}
	}
	return j
}

func (d *door) apiJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	_, j, err := d.workspaces.Job(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, j)
}

func (d *door) apiCancelJob(w http.ResponseWriter, r *http.Request, v *visitor) {
	if err := d.workspaces.Cancel(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("job")); err != nil {
		d.fail(w, r, err)
		return
	}
	d.apiJob(w, r, v)
}

// exportDoc is an export as one reader may see it.
type exportDoc struct {
	ID          string                  `json:"id"`
	Workspace   string                  `json:"workspace"`
	Job         string                  `json:"job"`
	Author      string                  `json:"author"`
	Title       string                  `json:"title"`
	Context     string                  `json:"context"`
	State       airlock.State           `json:"state"`
	Reason      string                  `json:"reason,omitempty"`
	Outcome     string                  `json:"outcome"` // worst of the checks
	Checks      []contract.ExportCheck  `json:"checks"`
	Files       []airlock.File          `json:"files"`
	FilesDigest contract.Digest         `json:"files_digest"` // what a verdict is about
	Needed      int                     `json:"reviewers_needed"`
	Reviews     []contract.ExportReview `json:"reviews"`
	CreatedAt   time.Time               `json:"created_at"`
}

func exportOf(e *airlock.Export, reader string) exportDoc {
	doc := exportDoc{ID: e.ID, Workspace: e.Workspace, Job: e.Job, Author: e.Author, Title: e.Request.Title, Context: e.Request.Context, State: e.State,
		Reason: e.Reason, Outcome: string(e.Outcome()), Checks: airlock.Checks(e.Request.Reports), Files: e.Request.Files, FilesDigest: e.Request.Digest,
		Needed: e.Request.Needed, Reviews: []contract.ExportReview{}, CreatedAt: e.CreatedAt}
	for _, v := range e.SeenBy(reader) {
		doc.Reviews = append(doc.Reviews, contract.ExportReview{Reviewer: v.Reviewer, Approved: v.Approved, Reason: v.Reason, At: v.At})
	}
	return doc
}

func exportsOf(list []*airlock.Export, reader string) []exportDoc {
	out := []exportDoc{}
	for _, e := range list {
		out = append(out, exportOf(e, reader))
	}
	return out
}

// answerExport answers with an export or the reason why there is none.
func (d *door) answerExport(w http.ResponseWriter, r *http.Request, v *visitor, status int, e *airlock.Export, err error) {
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, status, exportOf(e, v.Person))
}

func (d *door) apiExports(w http.ResponseWriter, r *http.Request, v *visitor) {
	list, err := d.airlock.Of(r.Context(), r.PathValue("ws"), v.Who)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"exports": exportsOf(list, v.Person)})
}

func (d *door) apiAsk(w http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		Job     string   `json:"job"`
		Title   string   `json:"title"`
		Context string   `json:"context"`
		Files   []string `json:"files"`
	}
	if err := httpx.Decode(r, 64<<10, &in); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	e, err := d.airlock.Ask(r.Context(), r.PathValue("ws"), v.Who, in.Job, in.Title, in.Context, in.Files)
	d.answerExport(w, r, v, http.StatusCreated, e, err)
}

func (d *door) apiExport(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Get(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	d.answerExport(w, r, v, http.StatusOK, e, err)
}

func (d *door) apiSubmitExport(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Submit(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	d.answerExport(w, r, v, http.StatusOK, e, err)
}

func (d *door) apiWithdraw(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, err := d.airlock.Withdraw(r.Context(), r.PathValue("ws"), v.Who, r.PathValue("export"))
	d.answerExport(w, r, v, http.StatusOK, e, err)
}

func (d *door) apiDesk(w http.ResponseWriter, r *http.Request, v *visitor) {
	waiting, judged, err := d.airlock.Desk(r.Context(), *v.Reviewer)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"waiting": exportsOf(waiting, v.Person), "judged": exportsOf(judged, v.Person)})
}

func (d *door) apiReview(w http.ResponseWriter, r *http.Request, v *visitor) {
	e, _, err := d.airlock.ForReview(r.Context(), *v.Reviewer, r.PathValue("export"))
	d.answerExport(w, r, v, http.StatusOK, e, err)
}

func (d *door) apiVerdict(w http.ResponseWriter, r *http.Request, v *visitor) {
	var in struct {
		Approve     bool            `json:"approve"`
		Reason      string          `json:"reason"`
		FilesDigest contract.Digest `json:"files_digest"`
	}
	if err := httpx.Decode(r, 16<<10, &in); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	e, err := d.airlock.Review(r.Context(), *v.Reviewer, r.PathValue("export"), in.FilesDigest, in.Approve, in.Reason)
	d.answerExport(w, r, v, http.StatusOK, e, err)
}
