package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
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

// signInEnclave opens a session at the enclave's own front door.
func (h *Hub) signInEnclave(ctx context.Context, id string) (*client, error) {
	c := newClient(h.EnclaveURL())
	return c, c.call(ctx, http.MethodPost, "/demo/sign-in", map[string]string{"id": id}, nil)
}

// run submits a job and waits for its end.
func (w *walk) run(ctx context.Context, kind, title, code string) (job, error) {
	var j job
	path := "/api/v1/workspaces/" + w.workspace + "/jobs"
	if err := w.researcher.call(ctx, http.MethodPost, path, map[string]string{"kind": kind, "title": title, "code": code}, &j); err != nil {
		return j, err
	}
	err := until(ctx, 5*time.Minute, "the end of job "+title, func() (bool, error) {
		err := w.researcher.call(ctx, http.MethodGet, path+"/"+j.ID, nil, &j)
		return j.State != "queued" && j.State != "running", err
	})
	return j, err
}

// compute: the workspace is open to the person the permit names and to nobody else; jobs run in the
// sandbox; forbidden things fail there.
func (w *walk) compute(ctx context.Context) (result, error) {
	var res result
	var err error
	waiting := until(ctx, time.Minute, "the workspace", func() (bool, error) {
		w.researcher, err = w.h.signInEnclave(ctx, "acct-demo-researcher-1")
		var refused *apiError
		if errors.As(err, &refused) {
			return false, nil // no workspace names her yet
		}
		if err != nil {
			return false, err
		}
		var list struct {
			Workspaces []struct {
				ID       string `json:"id"`
				State    string `json:"state"`
				PermitID string `json:"permit_id"`
			} `json:"workspaces"`
		}
		if err := w.researcher.call(ctx, http.MethodGet, "/api/v1/workspaces", nil, &list); err != nil {
			return false, err
		}
		for _, ws := range list.Workspaces {
			if ws.PermitID == w.permit && ws.State == "open" {
				w.workspace = ws.ID
				return true, nil
			}
		}
		return false, nil
	})
	if waiting != nil {
		return res, waiting
	}
	if _, err := w.h.signInEnclave(ctx, "acct-demo-researcher-2"); err == nil {
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

// cohortCheck fails inside the sandbox unless the data are what the permit says.
const cohortCheck = `SELECT CASE
  WHEN (SELECT count(*) FROM snds.ER_PHA_F) = 0 THEN error('no drugs were delivered')
  WHEN (SELECT count(*) FROM (SELECT person_id FROM snds.ER_PHA_F GROUP BY person_id HAVING count(*) FILTER (PHA_ATC_CLA LIKE 'A10%') = 0)) > 0 THEN error('somebody is not in the cohort')
  WHEN (SELECT count(*) FROM snds.ER_PHA_F WHERE EXE_SOI_DTD < DATE '2023-01-01' OR EXE_SOI_DTD > DATE '2025-12-31') > 0 THEN error('an event lies outside the period')
  ELSE 'as permitted' END AS verdict, (SELECT count(DISTINCT person_id) FROM snds.ER_PHA_F) AS persons;`

// noWayOut is Python that fails unless everything it tries is refused.
const noWayOut = `
import os, socket
def refused(what, f):
    try:
        f()
    except OSError:
        return
    raise SystemExit(what + " was possible")
def connect():
    socket.create_connection(("127.0.0.1", 1), timeout=2)
refused("a connection", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
refused("writing to the data", lambda: open("/data/new", "w"))
refused("reading the machine's passwords", lambda: open("/etc/shadow"))
names = sorted(os.listdir("/data"))
assert names, "no data"
with open("/out/tables.txt", "w") as f:
    f.write("\n".join(names) + "\n")
`

const smallTable = `SELECT b.BEN_SEX_COD AS sex, b.BEN_NAI_ANN AS born, count(DISTINCT b.person_id) AS persons
FROM snds.IR_BEN_R b GROUP BY ALL ORDER BY ALL;`

const safeTable = `SELECT b.BEN_SEX_COD AS sex, CASE WHEN b.BEN_NAI_ANN > 1965 THEN 'under 60' ELSE '60 and over' END AS age, count(DISTINCT b.person_id) AS persons
FROM snds.IR_BEN_R b GROUP BY ALL HAVING count(DISTINCT b.person_id) >= 11 ORDER BY ALL;`

// release: a table with small cells is stopped; a safe one goes through two reviewers, neither of them
// the author; it and only it reaches the portal.
func (w *walk) release(ctx context.Context) (result, error) {
	var res result
	path := "/api/v1/workspaces/" + w.workspace + "/exports"
	ask := func(job, title string) (export, error) {
		var e export
		err := w.researcher.call(ctx, http.MethodPost, path, map[string]any{"job": job, "title": title,
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
	if err := w.researcher.call(ctx, http.MethodPost, path+"/"+small.ID+"/submit", nil, nil); err == nil {
		return res, errors.New("a table that failed its checks could be submitted")
	}
	safe, err := ask(w.safe, "Persons by sex and age group")
	if err != nil {
		return res, err
	}
	if err := w.researcher.call(ctx, http.MethodPost, path+"/"+safe.ID+"/submit", nil, &safe); err != nil {
		return res, fmt.Errorf("submit: %w (checks: %+v)", err, safe.Checks)
	}
	for i, id := range []string{"acct-demo-reviewer-1", "acct-demo-reviewer-2"} {
		reviewer, err := w.h.signInEnclave(ctx, id)
		if err != nil {
			return res, err
		}
		verdict := map[string]any{"approve": true, "reason": "Counts only, all of 11 or more.", "files_digest": safe.FilesDigest}
		if err := reviewer.call(ctx, http.MethodPost, "/api/v1/reviews/"+safe.ID, verdict, nil); err != nil {
			return res, err
		}
		if i == 0 {
			if err := reviewer.call(ctx, http.MethodPost, "/api/v1/reviews/"+safe.ID, verdict, nil); err == nil {
				return res, errors.New("one reviewer could vote twice")
			}
		}
	}
	err = until(ctx, time.Minute, "the release", func() (bool, error) {
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
	if err := w.applicant.call(ctx, http.MethodGet, "/applications/"+w.application+"/results/"+w.export+"/"+w.released, nil, &file); err != nil {
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
