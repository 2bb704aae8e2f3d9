package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	maxCode       = 256 << 10 // bytes of a program
	maxUnfinished = 20        // queued and running jobs of one workspace
	maxRuns       = 2         // a job that was cut off twice by a stopping enclave is not tried again
	maxOutputs    = 50
	maxOutput     = 50 << 20 // bytes of one output, the order book's limit for a released file
	maxOutputSum  = 200 << 20
	csvGrowth     = 20 // a table as CSV is at most about this many times its Parquet file
)

// Submit queues a program. The error is a contract.Refusal for what the author can mend: "invalid",
// "too_many", "no_sandbox", or a code of Open.
func (s *Service) Submit(ctx context.Context, workspace string, author Who, kind, title, code string) (*Job, error) {
	w, err := s.Open(ctx, workspace, author)
	if err != nil {
		return nil, err
	}
	title = strings.TrimSpace(title)
	switch {
	case s.SandboxErr != nil:
		return nil, contract.Refuse("no_sandbox", "%v", s.SandboxErr)
	case kind != KindSQL && kind != KindPython:
		return nil, contract.Refuse("invalid", "kind: want sql or python")
	case title == "" || utf8.RuneCountInString(title) > 120:
		return nil, contract.Refuse("invalid", "title: 1 to 120 characters")
	case strings.TrimSpace(code) == "" || len(code) > maxCode || !utf8.ValidString(code) || strings.ContainsRune(code, 0):
		return nil, contract.Refuse("invalid", "code: 1 to %d bytes of text", maxCode)
	}
	j := &Job{ID: contract.NewID("job"), Workspace: w.ID, Author: author.ID, Kind: kind, Title: title, Code: code, State: JobQueued, CreatedAt: s.Clock.Now()}
	err = s.DB.InTx(ctx, func(tx *store.Tx) error {
		n, err := s.unfinished(ctx, tx, w.ID)
		if err != nil {
			return err
		}
		if n >= maxUnfinished {
			return contract.Refuse("too_many", "%d jobs of this workspace are waiting or running; wait until one is finished", n)
		}
		if err := s.insertJob(ctx, tx, j); err != nil {
			return err
		}
		if err := s.record(ctx, tx, author.ID, "job.submitted", j.ID, "ok", map[string]any{"workspace": w.ID, "kind": kind, "code": string(contract.DigestOf([]byte(code)))}); err != nil {
			return err
		}
		return s.Jobs.Insert(ctx, tx, "enclave.run", j.ID, map[string]string{"job": j.ID})
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// JobsOf lists a workspace's jobs, newest first, for a person whom its permit names.
func (s *Service) JobsOf(ctx context.Context, workspace string, who Who) ([]*Job, error) {
	if _, err := s.Open(ctx, workspace, who); err != nil {
		return nil, err
	}
	return s.jobsOf(ctx, workspace)
}

// Job returns one job of a workspace for a person whom its permit names.
func (s *Service) Job(ctx context.Context, workspace string, who Who, job string) (*Workspace, *Job, error) {
	w, err := s.Open(ctx, workspace, who)
	if err != nil {
		return nil, nil, err
	}
	j, err := s.job(ctx, s.DB, job)
	if errors.Is(err, store.ErrNotFound) || (err == nil && j.Workspace != workspace) {
		return nil, nil, contract.Refuse("unknown", "there is no such job")
	}
	return w, j, err
}

// Cancel stops a queued or running job.
func (s *Service) Cancel(ctx context.Context, workspace string, who Who, job string) error {
	_, j, err := s.Job(ctx, workspace, who, job)
	if err != nil {
		return err
	}
	err = s.DB.InTx(ctx, func(tx *store.Tx) error {
		wanted, err := s.wantCancel(ctx, tx, job)
		if err != nil {
			return err
		}
		if !wanted {
			return contract.Refuse("conflict", "the job has ended already")
		}
		if err := s.record(ctx, tx, who.ID, "job.cancelled", job, "ok", nil); err != nil {
			return err
		}
		if j.State == JobQueued {
			j.State, j.FinishedAt = JobCancelled, s.Clock.Now()
			return s.finished(ctx, tx, j)
		}
		return nil
	})
	if err == nil {
		s.stop(job)
	}
	return err
}

func (s *Service) stop(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.running[job]; ok {
		cancel()
	}
}

// ReadLog returns what a finished job printed.
func (s *Service) ReadLog(ctx context.Context, w *Workspace, j *Job) ([]byte, error) {
	return s.Unseal(ctx, w, filepath.Join(s.jobDir(j), "log.age"), maxOutput)
}

// ViewOutput is ReadOutput for a reader's page; the ledger keeps who looked at which job's output.
func (s *Service) ViewOutput(ctx context.Context, w *Workspace, j *Job, who Who, name string) ([]byte, error) {
	b, err := s.ReadOutput(ctx, w, j, name)
	if err != nil {
		return nil, err
	}
	return b, s.DB.InTx(ctx, func(tx *store.Tx) error {
		return s.record(ctx, tx, who.ID, "output.viewed", j.ID, "ok", nil)
	})
}

// ReadOutput returns one output of a job, checked against the digest taken when the job ended.
func (s *Service) ReadOutput(ctx context.Context, w *Workspace, j *Job, name string) ([]byte, error) {
	o, ok := j.Output(name)
	if !ok {
		return nil, contract.Refuse("unknown", "the job has no such output")
	}
	b, err := s.Unseal(ctx, w, filepath.Join(s.jobDir(j), "out", o.Name+".age"), maxOutput)
	if err != nil {
		return nil, err
	}
	if contract.DigestOf(b) != o.Digest {
		return nil, contract.Refuse("altered", "the output is not what the job wrote")
	}
	return b, nil
}

func (s *Service) jobDir(j *Job) string { return filepath.Join(s.dir(j.Workspace), "jobs", j.ID) }

// run carries out one job; it is called again when the enclave was stopped or killed meanwhile.
func (s *Service) run(ctx context.Context, payload json.RawMessage) error {
	var p struct {
		Job string `json:"job"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return err
	}
	j, err := s.job(ctx, s.DB, p.Job)
	if err != nil || j.Final() {
		return err
	}
	if j.cancel {
		return s.end(ctx, j, JobCancelled, "", "")
	}
	if j.runs >= maxRuns {
		return s.end(ctx, j, JobFailed, "interrupted", "The enclave stopped twice while the job ran. Start it again.")
	}
	var refusal *contract.Refusal
	w, err := s.InForce(ctx, j.Workspace)
	if errors.As(err, &refusal) {
		return s.end(ctx, j, JobFailed, "permit", refusal.Reason)
	}
	if err != nil {
		return err
	}
	if w.State != StateOpen {
		return s.end(ctx, j, JobFailed, "permit", "The workspace is not open.")
	}
	if s.SandboxErr != nil {
		return s.end(ctx, j, JobFailed, "sandbox", s.SandboxErr.Error())
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.running[j.ID] = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.running, j.ID)
		s.mu.Unlock()
	}()
	j.StartedAt = s.Clock.Now()
	mayRun := false
	err = s.DB.InTx(ctx, func(tx *store.Tx) error {
		mayRun, err = s.started(ctx, tx, j.ID, j.StartedAt)
		return err
	})
	if err != nil {
		return err
	}
	if !mayRun { // cancelled between the look and the start
		return s.end(ctx, j, JobCancelled, "", "")
	}
	err = s.execute(inner, w, j)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // the enclave is stopping: the job runs again at the next start
	case errors.As(err, &refusal):
		return s.end(ctx, j, JobFailed, "data", refusal.Reason)
	case errors.Is(err, sandbox.ErrUnavailable):
		return s.end(ctx, j, JobFailed, "sandbox", err.Error())
	case errors.Is(err, context.Canceled):
		return s.stopped(ctx, j)
	case err != nil:
		return err
	}
	return s.end(ctx, j, j.State, j.Reason, j.Detail)
}

// stopped ends a job that was stopped by its author or because its workspace was closed.
func (s *Service) stopped(ctx context.Context, j *Job) error {
	j.Outputs, j.Refused = nil, nil
	if w, err := s.workspace(ctx, s.DB, j.Workspace); err == nil && w.State != StateOpen {
		return s.end(ctx, j, JobFailed, "permit", "The workspace was closed while the job ran.")
	}
	return s.end(ctx, j, JobCancelled, "", "")
}

func (s *Service) end(ctx context.Context, j *Job, state, reason, detail string) error {
	j.State, j.Reason, j.Detail, j.FinishedAt = state, reason, clip(detail, 500), s.Clock.Now()
	if j.Outputs == nil {
		j.Outputs = []Output{}
	}
	if j.Refused == nil {
		j.Refused = []sandbox.Refused{}
	}
	return s.DB.InTx(ctx, func(tx *store.Tx) error {
		if err := s.finished(ctx, tx, j); err != nil {
			return err
		}
		outcome := state
		if reason != "" {
			outcome += ": " + reason
		}
		return s.record(ctx, tx, j.Author, "job.ended", j.ID, outcome, map[string]any{"workspace": j.Workspace})
	})
}

// execute decrypts the data, runs the program, and takes its outputs over. It sets the job's state.
func (s *Service) execute(ctx context.Context, w *Workspace, j *Job) error {
	id, err := s.Keys.Identity(ctx, w.Signed)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.Sandbox.Scratch(), j.ID)
	if err := os.RemoveAll(dir); err != nil { // of an earlier run that was killed
		return err
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask says, the job's user must pass
		return err
	}
	sub := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"data", "in", "out", "csv"} {
		if err := os.Mkdir(sub(d), 0o700); err != nil {
			return err
		}
	}
	if err := s.unseal(ctx, w, id, sub("data")); err != nil {
		return err
	}
	if err := s.persons(w, id, sub("data")); err != nil {
		return err
	}
	script := "script." + map[string]string{KindSQL: "sql", KindPython: "py"}[j.Kind]
	if err := os.WriteFile(filepath.Join(sub("in"), script), []byte(j.Code), 0o600); err != nil {
		return err
	}
	uid := s.UIDBase + int(w.Number%10_000)
	for _, d := range []string{"data", "in", "out", "csv"} {
		if err := s.Sandbox.Give(sub(d), uid); err != nil {
			return err
		}
	}
	spec := sandbox.Spec{Name: j.ID, UID: uid, Limits: s.Limits, Dir: "/out",
		ReadOnly:  []sandbox.Mount{{Host: sub("data"), Guest: "/data"}, {Host: sub("in"), Guest: "/in"}},
		ReadWrite: []sandbox.Mount{{Host: sub("out"), Guest: "/out"}}}
	sqlArgs := func(out, script string) []string {
		a := []string{sandbox.GuestBinary, "enclave-sql", "-data", "/data", "-out", out, "-memory", strconv.FormatInt(s.Limits.Memory/2, 10)}
		if script != "" {
			a = append(a, "-script", script)
		}
		return a
	}
	switch j.Kind {
	case KindSQL:
		spec.Argv = sqlArgs("/out", "/in/script.sql")
	case KindPython:
		// Debian's pandas reads no Parquet, so each table is also there as CSV, written in a sandbox too.
		convert := spec
		convert.Name, convert.Argv = j.ID+"-csv", sqlArgs("/csv", "")
		convert.Dir = "/csv"
		convert.Limits.FileSize, convert.Limits.OutTotal = 16<<30, 32<<30
		convert.Limits.Memory += csvGrowth * w.dataBytes() // files on a memory file system count as memory of the job
		convert.ReadWrite = []sandbox.Mount{{Host: sub("csv"), Guest: "/csv"}}
		res, err := s.Sandbox.Run(ctx, convert)
		if err != nil {
			return err
		}
		if res.Cancelled {
			return context.Canceled
		}
		if res.ExitCode != 0 {
			return contract.Refuse("no_csv", "the tables could not be written as CSV: %s", clip(string(res.Log), 200))
		}
		spec.ReadOnly = append(spec.ReadOnly, sandbox.Mount{Host: sub("csv"), Guest: "/csv"})
		spec.Argv = []string{"/usr/bin/python3", "-I", "-B", "/in/script.py"}
		spec.Env = map[string]string{"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
	}
	res, err := s.Sandbox.Run(ctx, spec)
	if err != nil {
		return err
	}
	if res.Cancelled {
		return context.Canceled
	}
	return s.takeOver(id, j, res, sub("out"))
}

// takeOver seals log and outputs into the workspace and judges how the program ended.
func (s *Service) takeOver(id Identity, j *Job, res sandbox.Result, out string) error {
	j.ExitCode, j.LogCut = res.ExitCode, res.LogTruncated
	switch {
	case res.TimedOut:
		j.State, j.Reason, j.Detail = JobFailed, "timeout", fmt.Sprintf("Stopped after %s.", s.Limits.Wall.Round(time.Second))
	case res.OutExceeded:
		j.State, j.Reason, j.Detail = JobFailed, "out_limit", fmt.Sprintf("Stopped: it wrote more than %d MiB.", s.Limits.OutTotal>>20)
	case res.ExitCode == 137:
		j.State, j.Reason, j.Detail = JobFailed, "memory", fmt.Sprintf("Stopped, most likely because it needed more than %d MiB of memory.", s.Limits.Memory>>20)
	case res.ExitCode != 0:
		j.State, j.Reason, j.Detail = JobFailed, "exit", fmt.Sprintf("The program ended with code %d. Its log says why.", res.ExitCode)
	default:
		j.State = JobDone
	}
	dir := s.jobDir(j)
	part := filepath.Join(dir, "out.part")
	for _, d := range []string{part, filepath.Join(dir, "out")} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return err
	}
	if err := sealFile(id, filepath.Join(dir, "log.age"), bytes.NewReader([]byte(strings.ToValidUTF8(string(res.Log), "�")))); err != nil {
		return err
	}
	if j.State == JobDone {
		limits := sandbox.CollectLimits{Files: maxOutputs, FileSize: maxOutput, Total: maxOutputSum}
		refused, err := sandbox.Collect(out, limits, func(name string, size int64, r io.Reader) error {
			var buf bytes.Buffer
			digest, err := digestCopy(&buf, r)
			if err != nil {
				return err
			}
			j.Outputs = append(j.Outputs, Output{Name: name, Bytes: int64(buf.Len()), Digest: digest})
			return sealFile(id, filepath.Join(part, name+".age"), &buf)
		})
		if err != nil {
			return err
		}
		j.Refused = refused
	}
	if err := errors.Join(syncDir(part), os.Rename(part, filepath.Join(dir, "out"))); err != nil {
		return err
	}
	return syncDir(dir)
}

func clip(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
