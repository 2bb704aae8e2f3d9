// Package sandbox runs one program of a user where it can reach nothing but what it was given: bubblewrap
// with namespaces of its own (no network), an unprivileged user, a minimal read-only root, Landlock,
// seccomp, resource limits, and cgroup limits where the machine offers them. The workspace room calls it.
// It knows no permit, no data format and no key, and it never runs a program when a required layer is
// missing: it says which and how to get it.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitral-health/mitral/internal/enclave/sandbox/shim"
)

// Layers of the sandbox. The first five are always required; "cgroup" may be.
const (
	LayerBubblewrap = "bubblewrap"
	LayerNamespaces = "namespaces"
	LayerLandlock   = "landlock"
	LayerSeccomp    = "seccomp"
	LayerLimits     = "rlimits"
	LayerCgroup     = "cgroup"
)

var always = []string{LayerBubblewrap, LayerNamespaces, LayerLandlock, LayerSeccomp, LayerLimits}

// ErrUnavailable wraps every reason why no sandbox can be set up; no job may run then.
var ErrUnavailable = errors.New("the sandbox cannot be set up")

// GuestBinary is where the program's own binary appears inside the sandbox.
const GuestBinary = "/run/mitral"

// Config says how to build sandboxes.
type Config struct {
	Binary  string   // this program; "" takes the running one
	Scratch string   // directory for staged files, reachable by the job's user; "" takes one in the system's temporary directory
	Require []string // layers beyond those always required: "cgroup"
}

// Limits bound one run. Every field must be set.
type Limits struct {
	Memory    int64         `yaml:"memory"`     // bytes of memory of all processes together where cgroups are there
	AddrSpace int64         `yaml:"addr_space"` // bytes of address space of one process
	CPU       time.Duration `yaml:"cpu"`        // processor time of one process
	Wall      time.Duration `yaml:"wall"`       // from start to forced end
	Processes int           `yaml:"processes"`  // processes and threads
	OpenFiles int           `yaml:"open_files"` // descriptors of one process
	FileSize  int64         `yaml:"file_size"`  // bytes of one file
	OutTotal  int64         `yaml:"out_total"`  // bytes of all files written to the writable mounts
	Temp      int64         `yaml:"temp"`       // bytes of /tmp
	Log       int           `yaml:"log"`        // bytes of output kept
}

// DefaultLimits fit a small analysis on a small machine.
func DefaultLimits() Limits {
	return Limits{Memory: 2 << 30, AddrSpace: 8 << 30, CPU: 10 * time.Minute, Wall: 15 * time.Minute, Processes: 128,
		OpenFiles: 256, FileSize: 256 << 20, OutTotal: 512 << 20, Temp: 512 << 20, Log: 1 << 20}
}

// Mount shows a host path inside the sandbox.
type Mount struct{ Host, Guest string }

// Spec is one run. Paths in ReadOnly and ReadWrite must exist and be reachable by UID.
type Spec struct {
	Name      string // letters, digits and dashes; names the cgroup
	UID       int    // user and group id on the host; used only when the enclave runs as root
	Argv      []string
	Env       map[string]string
	Dir       string // working directory inside; "" is /tmp
	ReadOnly  []Mount
	ReadWrite []Mount
	Limits    Limits
}

// Result is how a run ended.
type Result struct {
	ExitCode     int           // of the program; 128+n when a signal n ended it
	TimedOut     bool          // stopped at Limits.Wall
	OutExceeded  bool          // stopped because it wrote more than Limits.OutTotal
	Cancelled    bool          // stopped because the context was cancelled
	Log          []byte        // standard output and error as they came, at most Limits.Log bytes
	LogTruncated bool          // there was more
	Wall         time.Duration // from start to end
}

// Runner builds sandboxes.
type Runner struct {
	bwrap   string
	binary  string
	scratch string
	root    bool // the enclave runs as root and gives its rights away before bubblewrap starts
	cgroups *cgroups
}

// New checks that every layer is there. The error wraps ErrUnavailable and names the layer.
func New(cfg Config) (*Runner, error) {
	r := &Runner{root: os.Geteuid() == 0, scratch: cfg.Scratch}
	for _, l := range cfg.Require {
		if l != LayerCgroup && !slices.Contains(always, l) {
			return nil, fmt.Errorf("%w: unknown layer %q is required; known: %s, %s", ErrUnavailable, l, strings.Join(always, ", "), LayerCgroup)
		}
	}
	var err error
	if r.bwrap, err = exec.LookPath("bwrap"); err != nil {
		return nil, fmt.Errorf("%w: %s is not installed; on Debian: apt-get install bubblewrap", ErrUnavailable, LayerBubblewrap)
	}
	if r.scratch == "" {
		r.scratch = filepath.Join(os.TempDir(), "mitral-sandbox-"+strconv.Itoa(os.Geteuid()))
	}
	if err := ownDir(r.scratch); err != nil {
		return nil, fmt.Errorf("%w: scratch directory: %v", ErrUnavailable, err)
	}
	if r.root && !reachable(r.scratch) {
		return nil, fmt.Errorf("%w: the scratch directory %s lies below a directory that the job's user may not pass", ErrUnavailable, r.scratch)
	}
	if cfg.Binary == "" {
		cfg.Binary = "/proc/self/exe"
	}
	if r.binary, err = r.stage(cfg.Binary); err != nil {
		return nil, fmt.Errorf("%w: own binary: %v", ErrUnavailable, err)
	}
	r.cgroups = findCgroups()
	if r.cgroups == nil && slices.Contains(cfg.Require, LayerCgroup) {
		return nil, fmt.Errorf("%w: %s limits are required, but this machine gives the enclave no memory and pids controller", ErrUnavailable, LayerCgroup)
	}
	// One real run shows that namespaces, Landlock, seccomp and limits can be set by this user here.
	res, err := r.Run(context.Background(), Spec{Name: "start", UID: 65534, Argv: []string{"/usr/bin/true"}, Limits: DefaultLimits()})
	if err != nil {
		return nil, err
	}
	if res.ExitCode != 0 {
		return nil, fmt.Errorf("%w: a first empty run ended with code %d: %s", ErrUnavailable, res.ExitCode, firstLine(res.Log))
	}
	return r, nil
}

// Layers names the layers in use.
func (r *Runner) Layers() []string {
	out := slices.Clone(always)
	if r.cgroups != nil {
		out = append(out, LayerCgroup+" "+r.cgroups.version)
	}
	return out
}

// Scratch is the directory whose sub-directories every job's user can reach.
func (r *Runner) Scratch() string { return r.scratch }

// Give hands a directory tree to the user a run will have, and to nobody else.
func (r *Runner) Give(dir string, uid int) error {
	return filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		if r.root {
			if err := os.Lchown(p, uid, uid); err != nil {
				return err
			}
		}
		if d.Type()&os.ModeSymlink != 0 {
			return fmt.Errorf("symbolic link %s in a directory for a job", d.Name())
		}
		return os.Chmod(p, mode)
	})
}

// Run runs spec to its end. The error is not nil only when the sandbox could not be set up or the
// specification is wrong; a program that fails, is killed or is stopped is a Result. When Run returns, no
// process of the run is left.
func (r *Runner) Run(ctx context.Context, spec Spec) (Result, error) {
	args, err := r.arguments(spec)
	if err != nil {
		return Result{}, err
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer readyR.Close()
	infoR, infoW, err := os.Pipe()
	if err != nil {
		readyW.Close()
		return Result{}, err
	}
	defer infoR.Close()
	blockR, blockW, err := os.Pipe()
	if err != nil {
		readyW.Close()
		infoW.Close()
		return Result{}, err
	}
	defer blockW.Close()

	log := &limitedLog{max: spec.Limits.Log}
	cmd := exec.Command(r.bwrap, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{readyW, infoW, blockR} // descriptors 3, 4, 5
	cmd.WaitDelay = 2 * time.Second
	cmd.Dir = "/"
	if r.root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(spec.UID), Gid: uint32(spec.UID), Groups: []uint32{}}}
	}
	group, err := r.cgroups.create(spec.Name, spec.Limits)
	if err != nil {
		readyW.Close()
		infoW.Close()
		blockR.Close()
		return Result{}, fmt.Errorf("%w: cgroup: %v", ErrUnavailable, err)
	}
	defer group.remove()

	// die-with-parent follows the thread that forked, so that thread must live as long as the run.
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		readyW.Close()
		infoW.Close()
		blockR.Close()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	begin := time.Now()
	if err := <-started; err != nil {
		return Result{}, fmt.Errorf("%w: bubblewrap: %v", ErrUnavailable, err)
	}
	if pid := childPID(infoR); pid > 0 {
		if err := group.add(pid); err != nil {
			cmd.Process.Kill()
			<-ended
			return Result{}, fmt.Errorf("%w: cgroup: %v", ErrUnavailable, err)
		}
		blockW.Write([]byte{1})
	}
	ready := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(readyR, 4096))
		ready <- string(b)
	}()

	res := Result{}
	wall := time.NewTimer(spec.Limits.Wall)
	defer wall.Stop()
	watch := time.NewTicker(250 * time.Millisecond)
	defer watch.Stop()
	var waitErr error
	for waiting := true; waiting; {
		select {
		case waitErr = <-ended:
			waiting = false
		case <-wall.C:
			res.TimedOut = true
			cmd.Process.Kill() // bubblewrap's child dies with it, and with that process its whole pid namespace
		case <-ctx.Done():
			res.Cancelled = true
			cmd.Process.Kill()
			waitErr, waiting = <-ended, false
		case <-watch.C:
			if !res.OutExceeded && written(spec.ReadWrite) > spec.Limits.OutTotal {
				res.OutExceeded = true
				cmd.Process.Kill()
			}
		}
	}
	group.kill()
	res.Wall = time.Since(begin)
	res.Log, res.LogTruncated = log.content()
	said := ""
	select {
	case said = <-ready:
	case <-time.After(2 * time.Second): // a process that outlived bubblewrap would hold the pipe; none does
	}
	if said != shim.Ready && !res.Cancelled && !res.TimedOut {
		reason := strings.TrimSpace(said)
		if reason == "" {
			reason = firstLine(res.Log)
		}
		return Result{}, fmt.Errorf("%w: %s", ErrUnavailable, reason)
	}
	res.ExitCode = exitCode(cmd, waitErr)
	return res, nil
}

// arguments builds bubblewrap's command line.
func (r *Runner) arguments(spec Spec) ([]string, error) {
	l := spec.Limits
	if l.Memory <= 0 || l.AddrSpace <= 0 || l.CPU < time.Second || l.Wall <= 0 || l.Processes <= 0 || l.OpenFiles <= 0 ||
		l.FileSize <= 0 || l.OutTotal <= 0 || l.Temp <= 0 || l.Log <= 0 {
		return nil, fmt.Errorf("sandbox: every limit must be set: %+v", l)
	}
	if len(spec.Argv) == 0 || !filepath.IsAbs(spec.Argv[0]) {
		return nil, fmt.Errorf("sandbox: the program needs an absolute path, found %q", spec.Argv)
	}
	if r.root && spec.UID <= 0 {
		return nil, fmt.Errorf("sandbox: user id %d: a job never runs as root", spec.UID)
	}
	a := []string{
		"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
		"--disable-userns", "--uid", "65534", "--gid", "65534", "--hostname", "enclave",
		"--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
		"--info-fd", "4", "--block-fd", "5",
		"--ro-bind", "/usr", "/usr",
	}
	ro := []string{"/usr", GuestBinary}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"} {
		info, err := os.Lstat(d)
		switch {
		case err != nil:
		case info.Mode()&os.ModeSymlink != 0:
			a = append(a, "--symlink", "usr"+d, d)
		case info.IsDir():
			a = append(a, "--ro-bind", d, d)
			ro = append(ro, d)
		}
	}
	// The dynamic linker's cache and Debian's choice of libraries (numpy's BLAS is found through it).
	for _, f := range []string{"/etc/ld.so.cache", "/etc/alternatives"} {
		if _, err := os.Stat(f); err == nil {
			a = append(a, "--ro-bind", f, f)
			ro = append(ro, f)
		}
	}
	a = append(a, "--proc", "/proc", "--dev", "/dev",
		"--size", strconv.FormatInt(l.Temp, 10), "--perms", "0700", "--tmpfs", "/tmp",
		"--size", strconv.FormatInt(l.Temp, 10), "--perms", "0700", "--tmpfs", "/dev/shm",
		"--ro-bind", r.binary, GuestBinary)
	ro = append(ro, "/proc")
	rw := []string{"/tmp", "/dev"}
	for _, m := range spec.ReadOnly {
		a = append(a, "--ro-bind", m.Host, m.Guest)
		ro = append(ro, m.Guest)
	}
	for _, m := range spec.ReadWrite {
		a = append(a, "--bind", m.Host, m.Guest)
		rw = append(rw, m.Guest)
	}
	env := map[string]string{"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}
	for k, v := range spec.Env {
		env[k] = v
	}
	keys := make([]string, 0, len(env))
	for k := range env {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		a = append(a, "--setenv", k, env[k])
	}
	dir := spec.Dir
	if dir == "" {
		dir = "/tmp"
	}
	inner, err := json.Marshal(shim.Spec{AddressSpace: l.AddrSpace, CPUSeconds: int64(l.CPU / time.Second), Processes: int64(l.Processes),
		FileSize: l.FileSize, OpenFiles: int64(l.OpenFiles), ReadOnly: ro, ReadWrite: rw, ReadyFD: 3})
	if err != nil {
		return nil, err
	}
	a = append(a, "--remount-ro", "/", "--chdir", dir, "--", GuestBinary, shim.Command, string(inner))
	return append(a, spec.Argv...), nil
}

// stage returns a path of the binary that the job's user can reach, copying it when it must. The copy also
// means that a binary replaced on disk does not change what runs inside.
func (r *Runner) stage(binary string) (string, error) {
	real, err := filepath.EvalSymlinks(binary)
	if err == nil && (!r.root || reachable(real)) {
		return real, nil
	}
	src, err := os.Open(binary)
	if err != nil {
		return "", err
	}
	defer src.Close()
	dir, err := r.stageDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "program")
	tmp, err := os.CreateTemp(dir, "program-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	if _, err := io.Copy(tmp, src); err != nil {
		tmp.Close()
		return "", err
	}
	if err := errors.Join(tmp.Chmod(0o755), tmp.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(tmp.Name(), path)
}

// stageDir is the scratch directory, or, when nothing may be executed there, one of our own below the
// system's temporary directory.
func (r *Runner) stageDir() (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(r.scratch, &st); err != nil || st.Flags&unix.ST_NOEXEC == 0 {
		return r.scratch, err
	}
	dir := filepath.Join(os.TempDir(), "mitral-program-"+filepath.Base(r.scratch))
	return dir, ownDir(dir)
}

// ownDir makes a directory that everybody may pass and only this user may change. In a directory for all
// users, such as /tmp or /dev/shm, somebody else may have made one of this name before us: that is refused.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else", dir)
	}
	return os.Chmod(dir, 0o711)
}

// reachable reports whether any user may pass all directories to path and read it.
func reachable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o001 == 0 || (!info.IsDir() && info.Mode().Perm()&0o004 == 0) {
		return false
	}
	for d := filepath.Dir(path); ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if d == "/" {
			return true
		}
	}
}

func childPID(info io.Reader) int {
	var doc struct {
		Child int `json:"child-pid"`
	}
	if json.NewDecoder(info).Decode(&doc) != nil {
		return 0
	}
	return doc.Child
}

// written sums the sizes of what lies below the writable mounts, 4 KiB more for each name, so that empty
// files without end count too. Names that vanish meanwhile do not count.
func written(mounts []Mount) (total int64) {
	for _, m := range mounts {
		filepath.WalkDir(m.Host, func(_ string, d os.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			total += 4096
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
			return nil
		})
	}
	return total
}

func exitCode(cmd *exec.Cmd, waitErr error) int {
	if cmd.ProcessState == nil {
		return -1
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

func firstLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	if s == "" {
		s = "bubblewrap ended without a message"
	}
	return s
}
