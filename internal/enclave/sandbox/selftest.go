package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/sandbox/shim"
)

// Check is one forbidden action of the self-test.
type Check struct {
	Name    string `json:"name"`
	Blocked bool   `json:"blocked"`
	Detail  string `json:"detail"`
}

// SelfTest tries, inside real sandboxes, what a hostile program would try. A check that could not be made
// counts as not blocked. The enclave runs it at start and takes no job when one action succeeds.
func (r *Runner) SelfTest(ctx context.Context) ([]Check, error) {
	dir, err := os.MkdirTemp(r.scratch, "selftest-")
	if err != nil {
		return nil, fmt.Errorf("self-test: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	const uid, otherUID = 65534, 65533
	paths := map[string]string{}
	for name, owner := range map[string]int{"data": uid, "out": uid, "other": otherUID} {
		p := filepath.Join(dir, name)
		if err := os.Mkdir(p, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(p, "canary"), []byte("canary"), 0o600); err != nil {
			return nil, err
		}
		if err := r.Give(p, owner); err != nil {
			return nil, err
		}
		paths[name] = p
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	abstract := contract.NewID("mitral-selftest")
	local, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		return nil, err
	}
	defer local.Close()
	targets, err := json.Marshal(shim.Targets{LoopbackPort: tcp.Addr().(*net.TCPAddr).Port, AbstractUnix: abstract,
		OtherFile: filepath.Join(paths["other"], "canary"), SecretFile: secret, HostPID: os.Getpid()})
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context, l Limits, args ...string) (Result, error) {
		return r.Run(ctx, Spec{Name: "selftest", UID: uid, Argv: append([]string{GuestBinary, shim.ProbeCommand}, args...), Limits: l,
			ReadOnly: []Mount{{paths["data"], "/data"}}, ReadWrite: []Mount{{paths["out"], "/out"}}})
	}
	limits := DefaultLimits()
	limits.Memory, limits.AddrSpace, limits.Wall, limits.Processes = 256<<20, 4<<30, time.Minute, 64
	limits.OutTotal, limits.FileSize = 16<<20, 8<<20

	res, err := run(ctx, limits, "quiet", string(targets))
	if err != nil {
		return nil, err
	}
	var out []Check
	dec := json.NewDecoder(bytes.NewReader(res.Log))
	for dec.More() {
		var a shim.Attempt
		if err := dec.Decode(&a); err != nil {
			return nil, fmt.Errorf("self-test: unreadable answer from inside: %s", firstLine(res.Log))
		}
		out = append(out, Check(a))
	}
	if want := shim.QuietProbes(); len(out) != want {
		out = append(out, Check{"all probes answered", false, fmt.Sprintf("%d of %d; code %d: %s", len(out), want, res.ExitCode, firstLine(res.Log))})
	}
	loud := []func(context.Context) Check{
		func(ctx context.Context) Check {
			res, err := run(ctx, limits, "forkbomb")
			return verdict("limits: fork bomb", err, res.ExitCode != 0 && !res.TimedOut, describe(res))
		},
		func(ctx context.Context) Check {
			l := limits
			if r.cgroups == nil { // the address space is then the only limit
				l.AddrSpace = 1 << 30
			}
			res, err := run(ctx, l, "memory")
			return verdict("limits: memory hog", err, res.ExitCode != 0 && !res.TimedOut, describe(res))
		},
		func(ctx context.Context) Check {
			l := limits
			l.Wall = 300 * time.Millisecond
			res, err := run(ctx, l, "sleep")
			return verdict("limits: run past the time limit", err, res.TimedOut && res.Wall < 15*time.Second, describe(res))
		},
		func(ctx context.Context) Check {
			res, err := run(ctx, limits, "fill")
			left, _ := filepath.Glob(filepath.Join(paths["out"], "fill-*"))
			var written int64
			for _, f := range left {
				if info, err := os.Stat(f); err == nil {
					written += info.Size()
				}
				os.Remove(f) // the next run shares the directory and would be stopped for it
			}
			// Where /out is a memory file system its pages count as the job's memory, and that limit may
			// come first.
			killed := res.ExitCode == 128+int(syscall.SIGKILL) && written <= limits.OutTotal+limits.Memory
			return verdict("limits: fill the disk", err, res.OutExceeded || killed, describe(res))
		},
		func(ctx context.Context) Check { return outlive(ctx, run, limits, filepath.Join(paths["out"], "beat")) },
	}
	for _, f := range loud {
		out = append(out, f(ctx))
	}
	return out, nil
}

// outlive cancels a run that left a process in another session, and looks whether that one still writes.
func outlive(ctx context.Context, run func(context.Context, Limits, ...string) (Result, error), l Limits, beat string) Check {
	const name = "processes: outlive a cancelled job"
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := make(chan bool, 1)
	go func() {
		defer cancel()
		for range 1200 { // a busy machine may take long to start it
			if _, err := os.Stat(beat); err == nil {
				alive <- true
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		alive <- false
	}()
	res, err := run(inner, l, "linger")
	if err != nil {
		return verdict(name, err, false, "")
	}
	if !<-alive {
		return Check{name, false, "the process to be ended never started: " + firstLine(res.Log)}
	}
	before, _ := os.ReadFile(beat)
	time.Sleep(150 * time.Millisecond)
	after, _ := os.ReadFile(beat)
	return Check{name, res.Cancelled && bytes.Equal(before, after), "after the cancel nothing writes any more: " + strconv.FormatBool(bytes.Equal(before, after))}
}

func verdict(name string, err error, blocked bool, detail string) Check {
	if err != nil {
		return Check{name, false, err.Error()}
	}
	return Check{name, blocked, detail}
}

func describe(res Result) string {
	switch {
	case res.TimedOut:
		return fmt.Sprintf("stopped after %v", res.Wall.Round(time.Millisecond))
	case res.OutExceeded:
		return "stopped at the limit of what may be written"
	case res.ExitCode == 137:
		return "killed by the kernel"
	}
	return fmt.Sprintf("ended with code %d: %s", res.ExitCode, firstLine(res.Log))
}
