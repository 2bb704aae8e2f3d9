package enclave

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"
)

// browser is one person's session at the front door.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func newBrowser(t *testing.T, base string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, base, &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as signs somebody in without a passkey, which the demonstration mode of the test's enclave allows.
func (h *hub) as(base, id string) *browser {
	h.t.Helper()
	b := newBrowser(h.t, base)
	if status, body := b.call("POST", "/demo/sign-in", map[string]string{"id": id}, nil); status != 200 {
		h.t.Fatalf("sign in as %s: %d %s", id, status, body)
	}
	return b
}

// call sends JSON and decodes the answer.
func (b *browser) call(method, path string, in, out any) (int, string) {
	b.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return b.send(req, out)
}

// form posts an HTML form.
func (b *browser) form(path, values string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequest("POST", b.base+path, strings.NewReader(values))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(req, nil)
}

func (b *browser) send(req *http.Request, out any) (int, string) {
	b.t.Helper()
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(raw, out); err != nil {
			b.t.Fatalf("%s %s: %v: %s", req.Method, req.URL.Path, err, raw)
		}
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return resp.StatusCode, resp.Header.Get("Location")
	}
	return resp.StatusCode, string(raw)
}

type jobAnswer struct {
	ID, State, Reason, Detail string
	Outputs                   []struct{ Name string }
}

// job submits a program and waits until it is final.
func (b *browser) job(ws, kind, code string) jobAnswer {
	b.t.Helper()
	var j jobAnswer
	if status, body := b.call("POST", "/api/v1/workspaces/"+ws+"/jobs", map[string]string{"kind": kind, "title": "A test", "code": code}, &j); status != 201 {
		b.t.Fatalf("submit: %d %s", status, body)
	}
	return b.await(ws, j.ID)
}

func (b *browser) await(ws, id string) jobAnswer {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); <-tick.C {
		var j jobAnswer
		if status, body := b.call("GET", "/api/v1/workspaces/"+ws+"/jobs/"+id, nil, &j); status != 200 {
			b.t.Fatalf("job: %d %s", status, body)
		}
		if j.State != "queued" && j.State != "running" {
			return j
		}
	}
	b.t.Fatal("the job does not end")
	return jobAnswer{}
}

// export asks for result.csv of a job to leave.
func (b *browser) export(ws, job string) exportDoc {
	b.t.Helper()
	var e exportDoc
	if status, body := b.call("POST", "/api/v1/workspaces/"+ws+"/exports", map[string]any{"job": job, "title": "Counts", "context": "Persons by code", "files": []string{"result.csv"}}, &e); status != 201 {
		b.t.Fatalf("export: %d %s", status, body)
	}
	return e
}
