package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// The researcher's programs, as she would write them in her workspace.
var (
	//go:embed programs/cohort_check.sql
	cohortCheck string
	//go:embed programs/no_way_out.py
	noWayOut string
	//go:embed programs/small_table.sql
	smallTable string
	//go:embed programs/safe_table.sql
	safeTable string
)

// job is a job as the enclave's interface shows it.
type job struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Outputs []struct {
		Name  string `json:"name"`
		Bytes int64  `json:"bytes"`
	} `json:"outputs"`
}

// export is an export request as the enclave's interface shows it.
type export struct {
	ID          string                 `json:"id"`
	State       string                 `json:"state"`
	Reason      string                 `json:"reason"`
	Outcome     string                 `json:"outcome"`
	Checks      []contract.ExportCheck `json:"checks"`
	FilesDigest contract.Digest        `json:"files_digest"`
}

// SignInEnclave opens a session at the enclave's own front door.
func (h *Hub) SignInEnclave(ctx context.Context, id string) (*Client, error) {
	c := NewClient(h.EnclaveURL())
	return c, c.signIn(ctx, map[string]string{"id": id})
}

// run submits a job and waits for its end.
func (w *walk) run(ctx context.Context, kind, title, code string) (job, error) {
	var j job
	path := "/api/v1/workspaces/" + w.workspace + "/jobs"
	if err := w.researcher.Call(ctx, http.MethodPost, path, map[string]string{"kind": kind, "title": title, "code": code}, &j); err != nil {
		return j, err
	}
	err := w.h.until(ctx, 5*time.Minute, "the end of job "+title, func() (bool, error) {
		err := w.researcher.Call(ctx, http.MethodGet, path+"/"+j.ID, nil, &j)
		return j.State != "queued" && j.State != "running", err
	})
	return j, err
}

// compute: the workspace is open to the person the permit names and to nobody else; jobs run in the
// sandbox; forbidden things fail there.
func (w *walk) compute(ctx context.Context) (result, error) {
	var res result
	var err error
	if w.workspace, _, err = w.h.Workspace(ctx, w.permit); err != nil {
		return res, err
	}
	if w.researcher, err = w.h.SignInEnclave(ctx, "acct-demo-researcher-1"); err != nil {
		return res, err
	}
	if _, err := w.h.SignInEnclave(ctx, "acct-demo-researcher-2"); err == nil {
		return res, errors.New("a researcher whom no permit names was let in")
	}
	jobs := []struct {
		kind, title, code, want string
	}{
		{"sql", "Who is in the cohort", cohortCheck, "done"},
		{"python", "No way out", noWayOut, "done"},
		{"sql", "Persons by sex and year of birth", smallTable, "done"},
		{"sql", "Persons by sex and age group", safeTable, "done"},
	}
	for _, x := range jobs {
		j, err := w.run(ctx, x.kind, x.title, x.code)
		if err != nil {
			return res, err
		}
		if j.State != x.want {
			return res, fmt.Errorf("job %q ended %s (%s)", x.title, j.State, j.Reason)
		}
		switch x.code {
		case smallTable:
			w.small = j.ID
		case safeTable:
			w.safe = j.ID
		}
	}
	res.documents = int64(len(jobs))
	res.border = "vault → enclave: the workspace's key, for the length of a job"
	res.verified = fmt.Sprintf("workspace %s open to the named person only; %d jobs ran; network, other files and data were out of reach", w.workspace, len(jobs))
	return res, nil
}

// release: a table with small cells is stopped; a safe one goes through two reviewers, neither of them
// the author; it and only it reaches the portal.
func (w *walk) release(ctx context.Context) (result, error) {
	var res result
	path := "/api/v1/workspaces/" + w.workspace + "/exports"
	ask := func(job, title string) (export, error) {
		var e export
		err := w.researcher.Call(ctx, http.MethodPost, path, map[string]any{"job": job, "title": title,
			"context": "Counts of persons in the cohort, for the description of the study population.", "files": []string{"result.csv"}}, &e)
		return e, err
	}
	small, err := ask(w.small, "Persons by sex and year of birth")
	if err != nil {
		return res, err
	}
	cells := 0
	for _, c := range small.Checks {
		if c.Outcome == "fail" {
			cells++
		}
	}
	if small.Outcome != "fail" || cells == 0 {
		return res, fmt.Errorf("a table with small cells passed the checks: %+v", small)
	}
	if err := w.researcher.Call(ctx, http.MethodPost, path+"/"+small.ID+"/submit", nil, nil); err == nil {
		return res, errors.New("a table that failed its checks could be submitted")
	}
	safe, err := ask(w.safe, "Persons by sex and age group")
	if err != nil {
		return res, err
	}
	if err := w.researcher.Call(ctx, http.MethodPost, path+"/"+safe.ID+"/submit", nil, &safe); err != nil {
		return res, fmt.Errorf("submit: %w (checks: %+v)", err, safe.Checks)
	}
	for i, id := range []string{"acct-demo-reviewer-1", "acct-demo-reviewer-2"} {
		reviewer, err := w.h.SignInEnclave(ctx, id)
		if err != nil {
			return res, err
		}
		verdict := map[string]any{"approve": true, "reason": "Counts only, all of 11 or more.", "files_digest": safe.FilesDigest}
		if err := reviewer.Call(ctx, http.MethodPost, "/api/v1/reviews/"+safe.ID, verdict, nil); err != nil {
			return res, err
		}
		if i == 0 {
			if err := reviewer.Call(ctx, http.MethodPost, "/api/v1/reviews/"+safe.ID, verdict, nil); err == nil {
				return res, errors.New("one reviewer could vote twice")
			}
		}
	}
	err = w.h.until(ctx, time.Minute, "the release", func() (bool, error) {
		v, err := w.at(ctx, w.applicant)
		if err != nil || len(v.Results) == 0 {
			return false, err
		}
		if len(v.Results) != 1 || len(v.Results[0].Files) != 1 || v.Results[0].ID != safe.ID {
			return false, fmt.Errorf("more than what was approved arrived: %+v", v.Results)
		}
		w.export, w.released = v.Results[0].ID, v.Results[0].Files[0].Name
		return true, nil
	})
	if err != nil {
		return res, err
	}
	var file []byte
	if err := w.applicant.Call(ctx, http.MethodGet, "/applications/"+w.application+"/results/"+w.export+"/"+w.released, nil, &file); err != nil {
		return res, err
	}
	if !strings.HasPrefix(string(file), "sex,age,persons\n") {
		return res, fmt.Errorf("the released file is not the table: %.80q", file)
	}
	res.documents, res.bytes = 2, int64(len(file))
	res.rows = int64(strings.Count(string(file), "\n") - 1)
	res.border = "enclave → portal: one released file and its record"
	res.verified = fmt.Sprintf("a table was stopped for %d reasons; the other was released after two reviews and read by its author", cells)
	return res, nil
}
