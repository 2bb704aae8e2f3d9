package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/enclave/sandbox/shim"
)

// The test binary is the sandbox's own binary: it can be called back as the shim and as the probe.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case shim.Command:
			os.Exit(shim.Main(os.Args[2:]))
		case shim.ProbeCommand:
			os.Exit(shim.Probe(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

func runner(t *testing.T) *Runner {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sandbox-test-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r, err := New(Config{Scratch: dir})
	if err != nil {
		if os.Getenv("MITRAL_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skipf("no sandbox on this machine: %v", err)
	}
	return r
}

func TestSelfTest(t *testing.T) {
	r := runner(t)
	checks, err := r.SelfTest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(checks) < 20 {
		t.Errorf("only %d checks", len(checks))
	}
	for _, c := range checks {
		t.Logf("%-50s blocked=%v %s", c.Name, c.Blocked, c.Detail)
		if !c.Blocked {
			t.Errorf("%s: not blocked: %s", c.Name, c.Detail)
		}
	}
	left, _ := os.ReadDir(r.Scratch())
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "selftest-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestFailsClosed(t *testing.T) {
	runner(t) // skip where no sandbox works at all
	scratch, err := os.MkdirTemp("/tmp", "sandbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	broken := filepath.Join(scratch, "bin")
	if err := os.Mkdir(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "bwrap"), []byte("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		cfg        Config
		want       string
	}{
		{"no bubblewrap", "/nonexistent", Config{Scratch: scratch}, "bubblewrap is not installed"},
		{"bubblewrap that may not make namespaces", broken, Config{Scratch: scratch}, "No permissions to create new namespace"},
		{"unknown layer required", os.Getenv("PATH"), Config{Scratch: scratch, Require: []string{"gvisor"}}, `unknown layer "gvisor"`},
		{"a binary that does not set the layers", os.Getenv("PATH"), Config{Scratch: scratch, Binary: "/usr/bin/true"}, "cannot be set up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PATH", c.path)
			_, err := New(c.cfg)
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrUnavailable with %q", err, c.want)
			}
		})
	}
}

// A layer that cannot be set inside must stop the program before it starts.
func TestShimRefusesMissingLimit(t *testing.T) {
	r := runner(t)
	args, err := r.arguments(Spec{UID: 65534, Argv: []string{"/usr/bin/touch", "/tmp/x"}, Limits: DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.arguments(Spec{UID: 65534, Argv: []string{"/usr/bin/true"}}); err == nil {
		t.Error("a run without limits was accepted")
	}
	if os.Geteuid() == 0 {
		if _, err := r.arguments(Spec{UID: 0, Argv: []string{"/usr/bin/true"}, Limits: DefaultLimits()}); err == nil {
			t.Error("a run as root was accepted")
		}
	}
	joined := strings.Join(args, " ")
	for _, want := range []string{"--unshare-net", "--unshare-user", "--unshare-pid", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop ALL", "--clearenv", "--remount-ro /"} {
		if !strings.Contains(joined, want) {
			t.Errorf("the command line lacks %s", want)
		}
	}
}

func TestPrograms(t *testing.T) {
	r := runner(t)
	dir, err := os.MkdirTemp(r.Scratch(), "job-")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o711)
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Give(out, 65534); err != nil {
		t.Fatal(err)
	}
	l := DefaultLimits()
	l.Log = 1000
	spec := func(script string) Spec {
		return Spec{Name: "test", UID: 65534, Argv: []string{"/bin/sh", "-c", script}, ReadWrite: []Mount{{out, "/out"}}, Dir: "/out", Limits: l}
	}
	res, err := r.Run(context.Background(), spec("echo hello; echo result > /out/a.csv; exit 7"))
	if err != nil || res.ExitCode != 7 || string(res.Log) != "hello\n" || res.LogTruncated {
		t.Errorf("got %+v, %v", res, err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "a.csv")); err != nil || string(b) != "result\n" {
		t.Errorf("output: %q, %v", b, err)
	}
}

// What is refused must not take ordinary programs with it.
func TestOrdinaryProgramsWork(t *testing.T) {
	r := runner(t)
	res, err := r.Run(context.Background(), Spec{Name: "works", UID: 65534, Argv: []string{GuestBinary, shim.ProbeCommand, "works"}, Limits: DefaultLimits()})
	if err != nil || res.ExitCode != 0 {
		t.Errorf("code %d, %s, %v", res.ExitCode, res.Log, err)
	}
}

// A scratch directory that somebody else made, or that is a link, is refused: data are decrypted in it.
func TestForeignScratch(t *testing.T) {
	runner(t)
	base, err := os.MkdirTemp("/tmp", "sandbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	link := filepath.Join(base, "link")
	if err := os.Symlink("/var", link); err != nil {
		t.Fatal(err)
	}
	foreign := []string{link}
	if os.Geteuid() == 0 {
		other := filepath.Join(base, "other")
		if err := errors.Join(os.Mkdir(other, 0o777), os.Chown(other, 1234, 1234)); err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, other)
	}
	for _, dir := range foreign {
		if _, err := New(Config{Scratch: dir}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// A binary in a closed directory is copied to where the job's user can reach it.
func TestBinaryInAClosedDirectory(t *testing.T) {
	runner(t)
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(closed, "mitral"), own, 0o700); err != nil {
		t.Fatal(err)
	}
	scratch, err := os.MkdirTemp("/tmp", "sandbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	if _, err := New(Config{Scratch: scratch, Binary: filepath.Join(closed, "mitral")}); err != nil {
		t.Error(err)
	}
}

func TestLogIsCutAndTimeOut(t *testing.T) {
	r := runner(t)
	l := DefaultLimits()
	l.Log, l.Wall = 1000, 500*time.Millisecond
	res, err := r.Run(context.Background(), Spec{Name: "test", UID: 65534, Argv: []string{"/usr/bin/yes"}, Limits: l})
	if err != nil || !res.TimedOut || len(res.Log) != 1000 || !res.LogTruncated {
		t.Errorf("got time-out %v, %d bytes, cut %v, %v", res.TimedOut, len(res.Log), res.LogTruncated, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	l.Wall = time.Minute
	res, err = r.Run(ctx, Spec{Name: "test", UID: 65534, Argv: []string{"/usr/bin/sleep", "60"}, Limits: l})
	if err != nil || !res.Cancelled || res.Wall > 5*time.Second {
		t.Errorf("got %+v, %v", res, err)
	}
}
