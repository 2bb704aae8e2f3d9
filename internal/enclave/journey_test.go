package enclave

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

const goodSQL = `SELECT PRS_NAT_REF AS code, count(DISTINCT person_id) AS n FROM snds.ER_PRS_F GROUP BY 1 HAVING n >= 11 ORDER BY 1`

func TestJourney(t *testing.T) {
	h := newHub(t)
	_, base, ws, permit := h.opened()

	var opened contract.WorkspaceOpened
	if err := json.Unmarshal(h.receipt("order-1").Body, &opened); err != nil || opened.WorkspaceID != ws || opened.URL != h.cfg.Door.URL {
		t.Errorf("receipt says %+v, %v", opened, err)
	}
	author := h.as(base, "p1")
	bad := author.job(ws, "sql", `SELECT PRS_NAT_REF AS code, count(DISTINCT person_id) AS n FROM ER_PRS_F GROUP BY 1 ORDER BY 1`)
	if bad.State != "done" || len(bad.Outputs) != 1 {
		t.Fatalf("job: %+v", bad)
	}
	stopped := author.export(ws, bad.ID)
	if stopped.Outcome != "fail" || stopped.State != "PENDING" {
		t.Errorf("a count of 3 was not stopped: %+v", stopped)
	}
	if status, body := author.call("POST", "/api/v1/workspaces/"+ws+"/exports/"+stopped.ID+"/submit", nil, nil); status != 409 || !strings.Contains(body, "check_failed") {
		t.Errorf("a failed check could be submitted: %d %s", status, body)
	}
	micro := author.job(ws, "sql", `SELECT person_id AS code, 12 AS n FROM ER_PRS_F LIMIT 5`)
	if e := author.export(ws, micro.ID); e.Outcome != "fail" {
		t.Errorf("pseudonyms were not stopped: %+v", e)
	}
	// Cut, it has no shape of a pseudonym any more; a column of codes that differ in each row is still seen.
	hidden := author.job(ws, "sql", `SELECT upper(substr(person_id, 1, 12)) AS code, 12 AS n FROM ER_PRS_F LIMIT 5`)
	if e := author.export(ws, hidden.ID); e.Outcome == "pass" {
		t.Errorf("cut pseudonyms passed without a look: %+v", e)
	}

	good := author.job(ws, "sql", goodSQL)
	e := author.export(ws, good.ID)
	if e.Outcome != "pass" {
		t.Fatalf("checks: %+v", e.Checks)
	}
	path := "/api/v1/workspaces/" + ws + "/exports/" + e.ID
	r1, r2, r3 := h.as(base, "rev-1"), h.as(base, "rev-2"), h.as(base, "rev-3")
	if status, _ := r1.call("GET", "/api/v1/reviews/"+e.ID, nil, nil); status != 404 {
		t.Errorf("a reviewer sees an export that was not submitted: %d", status)
	}
	if status, body := author.call("POST", path+"/submit", nil, &e); status != 200 || e.State != "SUBMITTED" {
		t.Fatalf("submit: %d %s", status, body)
	}
	verdict := map[string]any{"approve": true, "files_digest": e.FilesDigest}
	if status, _ := author.call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 403 {
		t.Errorf("the author reviewed: %d", status)
	}
	if status, body := r1.call("POST", "/api/v1/reviews/"+e.ID, map[string]any{"approve": true, "files_digest": contract.DigestOf([]byte("other"))}, nil); status != 409 {
		t.Errorf("a verdict about other files was taken: %d %s", status, body)
	}
	if status, body := r1.call("POST", "/api/v1/reviews/"+e.ID, map[string]any{"approve": false, "files_digest": e.FilesDigest}, nil); status != 400 {
		t.Errorf("a rejection without reason was taken: %d %s", status, body)
	}
	var seen exportDoc
	if status, body := r1.call("POST", "/api/v1/reviews/"+e.ID, verdict, &seen); status != 200 || seen.State != "PARTIALLY_REVIEWED" || len(seen.Reviews) != 1 {
		t.Fatalf("review: %d %s", status, body)
	}
	if status, body := r1.call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 409 || !strings.Contains(body, "voted") {
		t.Errorf("voted twice: %d %s", status, body)
	}
	for _, b := range []*browser{r2, author} { // blind until both are in
		p := "/api/v1/reviews/" + e.ID
		if b == author {
			p = path
		}
		if _, body := b.call("GET", p, nil, &seen); len(seen.Reviews) != 0 {
			t.Errorf("a verdict is seen too early: %s", body)
		}
	}
	if len(h.files) != 0 {
		t.Error("a file left before the second verdict")
	}
	if status, body := r2.call("POST", "/api/v1/reviews/"+e.ID, verdict, &seen); status != 200 || len(seen.Reviews) != 2 {
		t.Fatalf("second review: %d %s", status, body)
	}
	if status, _ := r3.call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 409 {
		t.Errorf("a third verdict was taken: %d", status)
	}
	var released contract.Export
	if err := json.Unmarshal(h.exportsSent(1)[0], &released); err != nil {
		t.Fatal(err)
	}
	want := "code,n\nA,40\nB,15\n"
	if got := string(h.files[e.ID+"/result.csv"]); got != want || len(h.files) != 1 {
		t.Errorf("released %q in %d files", got, len(h.files))
	}
	if released.Author != "p1" || len(released.Reviews) != 2 || len(released.Files) != 1 || released.Files[0].Digest != contract.DigestOf([]byte(want)) || released.PermitID != "permit-test" {
		t.Errorf("record %+v", released)
	}

	// At rest nothing is plain: no result, no pseudonym, no key.
	h.absent("A,40", events()[0].Person, events()[57].Person, h.identity.String(), "PAR1")
	left, err := os.ReadDir(h.cfg.Sandbox.Scratch)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.IsDir() {
			t.Errorf("%s was left in the scratch directory", f.Name())
		}
	}
	// The same order again is harmless; the same permit in another order is a replay.
	h.send(h.order("order-again", &permit))
	if r := h.receipt("order-again"); r.Status != contract.ReceiptRefused || r.Code != "replayed" {
		t.Errorf("second order for one permit: %+v", r)
	}
}

// absent searches every byte of the enclave's directory.
func (h *hub) absent(needles ...string) {
	h.t.Helper()
	err := filepath.WalkDir(h.cfg.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, n := range needles {
			if bytes.Contains(b, []byte(n)) {
				h.t.Errorf("%q stands in %s", n, p)
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestJobs(t *testing.T) {
	h := newHub(t)
	h.cfg.Sandbox.Limits.Wall = 4e9
	_, base, ws, _ := h.opened()
	b := h.as(base, "p2")
	for _, c := range []struct{ name, kind, code, state, reason string }{
		{"SQL error", "sql", "SELEC", "failed", "exit"},
		{"file of the host", "sql", "SELECT * FROM read_csv('/etc/passwd')", "failed", "exit"},
		{"Python error", "python", "raise SystemExit(3)", "failed", "exit"},
		{"Python over time", "python", "while True: pass", "failed", "timeout"},
		{"Python network", "python", "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", "failed", "exit"},
		{"Python writes to data", "python", "open('/data/x', 'w')", "failed", "exit"},
		{"Python reads CSV", "python", "import csv\nrows = list(csv.DictReader(open('/csv/snds.ER_PRS_F.csv')))\nassert len(rows) == 58\nopen('/out/n.csv', 'w').write('n\\n%d\\n' % len(rows))", "done", ""},
		{"Python plants links", "python", "import os\nos.symlink('/etc/passwd', '/out/a.csv')\nos.mkdir('/out/b.csv')\nopen('/out/ok.csv', 'w').write('n\\n12\\n')", "done", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := b.job(ws, c.kind, c.code)
			if j.State != c.state || j.Reason != c.reason {
				_, page := b.call("GET", "/workspaces/"+ws+"/jobs/"+j.ID, nil, nil)
				t.Errorf("%+v\n%s", j, page)
			}
			if c.state == "done" && len(j.Outputs) != 1 {
				t.Errorf("outputs %+v", j.Outputs)
			}
		})
	}
	t.Run("pandas", func(t *testing.T) {
		if exec.Command("/usr/bin/python3", "-c", "import pandas").Run() != nil {
			t.Skip("python3-pandas is not installed")
		}
		j := b.job(ws, "python", "import pandas as pd\nd = pd.read_csv('/csv/snds.ER_PRS_F.csv')\nd.groupby('year').size().rename('n').to_csv('/out/by_year.csv')")
		if j.State != "done" || len(j.Outputs) != 1 {
			t.Errorf("%+v", j)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		var j jobAnswer
		if status, body := b.call("POST", "/api/v1/workspaces/"+ws+"/jobs", map[string]string{"kind": "python", "title": "Long", "code": "import time\ntime.sleep(60)"}, &j); status != 201 {
			t.Fatal(status, body)
		}
		if status, body := b.call("POST", "/api/v1/workspaces/"+ws+"/jobs/"+j.ID+"/cancel", nil, nil); status != 200 {
			t.Fatal(status, body)
		}
		if j := b.await(ws, j.ID); j.State != "cancelled" {
			t.Errorf("%+v", j)
		}
	})
}
