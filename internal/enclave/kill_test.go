package enclave

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/ledger"
)

// process is an enclave as a process of its own.
type process struct {
	h    *hub
	cmd  *exec.Cmd
	base string
}

// spawn starts the enclave as a child of this test and waits until its door answers.
func (h *hub) spawn() *process {
	h.t.Helper()
	file := filepath.Join(h.dir, "enclave.yaml")
	if err := conf.Save(file, h.cfg); err != nil {
		h.t.Fatal(err)
	}
	p := &process{h: h, base: "http://" + h.cfg.Door.Listen, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "MITRAL_TEST_ENCLAVE="+file)
	var log strings.Builder
	p.cmd.Stdout, p.cmd.Stderr = &log, &log
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		p.kill()
		if h.t.Failed() {
			h.t.Log(log.String())
		}
	})
	h.until(func() bool {
		c, err := net.DialTimeout("tcp", h.cfg.Door.Listen, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill() // SIGKILL
		p.cmd.Wait()
	}
}

// freeAddress is an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestKilledWhileAJobRuns(t *testing.T) {
	h := newHub(t)
	h.cfg.Door.Listen = freeAddress(t)
	permit := h.permit(nil)
	h.send(h.order("order-1", &permit))
	h.handOver(permit, nil)
	p := h.spawn()
	h.receipt("order-1")
	b := h.as(p.base, "p1")
	var j jobAnswer
	// The first run waits to be killed; the second, which finds nothing of it, ends.
	code := "import time, os\ntime.sleep(4)\nopen('/out/n.csv', 'w').write('n\\n12\\n')"
	if status, body := b.call("POST", "/api/v1/workspaces/ws-test/jobs", map[string]string{"kind": "python", "title": "Long", "code": code}, &j); status != 201 {
		t.Fatal(status, body)
	}
	h.until(func() bool { return len(processesOf(t, j.ID, "/in/script.py")) > 0 })
	p.kill()
	h.until(func() bool { return len(processesOf(t, j.ID)) == 0 }) // the sandbox died with the enclave
	if data, _ := filepath.Glob(filepath.Join(h.cfg.Sandbox.Scratch, j.ID, "data", "*.parquet")); len(data) != 1 {
		t.Errorf("the kill came too late to leave decrypted data: %v", data)
	}

	p = h.spawn()
	again := &browser{t: t, base: p.base, http: b.http} // the session outlives the process
	if got := again.await("ws-test", j.ID); got.State != "done" || len(got.Outputs) != 1 {
		t.Errorf("after the kill: %+v", got)
	}
	h.scratchEmpties()
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/mitral/" + j.ID + "-*"); len(left) > 0 {
		t.Errorf("control groups of the killed run are left: %v", left)
	}
}

// processesOf lists the processes whose command line holds all words; bubblewrap's has the job's id.
func processesOf(t *testing.T, words ...string) (out []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(string(b), w) }) {
			out = append(out, f)
		}
	}
	return out
}

// The worst instants: a file, or the closing document, has reached the portal and its answer has not come.
func TestKilledWhileReleasing(t *testing.T) {
	for _, instant := range []string{"file", "close"} {
		t.Run(instant, func(t *testing.T) {
			h := newHub(t)
			h.cfg.Door.Listen = freeAddress(t)
			permit := h.permit(nil)
			h.send(h.order("order-1", &permit))
			h.handOver(permit, nil)
			p := h.spawn()
			h.receipt("order-1")
			b := h.as(p.base, "p1")
			e := b.export("ws-test", b.job("ws-test", "sql", goodSQL).ID)
			path := "/api/v1/workspaces/ws-test/exports/" + e.ID
			b.call("POST", path+"/submit", nil, &e)
			h.mu.Lock()
			h.hangAt, h.arrived, h.hold = instant, make(chan struct{}), make(chan struct{})
			arrived, hold := h.arrived, h.hold
			h.mu.Unlock()
			verdict := map[string]any{"approve": true, "files_digest": e.FilesDigest}
			for _, r := range []string{"rev-1", "rev-2"} {
				if status, body := h.as(p.base, r).call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 200 {
					t.Fatal(status, body)
				}
			}
			<-arrived
			p.kill()
			close(hold)

			p = h.spawn()
			again := &browser{t: t, base: p.base, http: b.http} // the session outlives the process
			h.until(func() bool { again.call("GET", path, nil, &e); return e.State == "RELEASED" })
			sent := h.exportsSent(1)
			if want := map[string]int{"file": 1, "close": 2}[instant]; len(sent) != want {
				t.Errorf("%d closing documents, want %d", len(sent), want)
			}
			for _, other := range sent[1:] {
				if string(other) != string(sent[0]) {
					t.Errorf("sent again, the closing document differs:\n%s\n%s", sent[0], other)
				}
			}
			var doc contract.Export
			if err := json.Unmarshal(sent[0], &doc); err != nil || doc.ID != e.ID {
				t.Errorf("record %s, %v", sent[0], err)
			}
			if len(h.files) != 1 || string(h.files[e.ID+"/result.csv"]) != "code,n\nA,40\nB,15\n" {
				t.Errorf("files %v", h.files)
			}
			p.kill()
			report, err := ledger.Verify(t.Context(), filepath.Join(h.cfg.Dir, "ledger"))
			if err != nil || !report.OK {
				t.Errorf("ledger: %+v, %v", report, err)
			}
		})
	}
}
