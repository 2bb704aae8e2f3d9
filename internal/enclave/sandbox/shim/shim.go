// Package shim is the last step before a user's program: a process inside the bubblewrap sandbox that
// takes limits, Landlock and a seccomp filter upon itself and then becomes the program. The binary calls
// it as "mitral sandbox-exec"; only internal/enclave/sandbox builds its arguments. It must never open a
// file of the user, and must never start a program when one layer could not be set.
package shim

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Command is the sub-command of the binary that runs Main.
const Command = "sandbox-exec"

// ExitSetup is the exit code when a layer could not be set. It is only a hint for people: the parent
// decides by the ready pipe, which the user's program never holds.
const ExitSetup = 97

// Ready is what Main writes to the ready pipe when every layer is set, just before exec.
const Ready = "ready"

// Spec is what the parent asks for. Zero limits are refused: a limit that was forgotten is no limit.
type Spec struct {
	AddressSpace int64    `json:"as"`     // bytes of virtual memory for one process
	CPUSeconds   int64    `json:"cpu"`    // processor time for one process
	Processes    int64    `json:"nproc"`  // processes and threads of the sandbox's user
	FileSize     int64    `json:"fsize"`  // bytes of one written file
	OpenFiles    int64    `json:"nofile"` // descriptors of one process
	ReadOnly     []string `json:"ro"`
	ReadWrite    []string `json:"rw"`
	ReadyFD      int      `json:"ready_fd"`
}

// Main takes the layers on and executes args after the specification. It returns only on failure.
func Main(args []string) int {
	var s Spec
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "sandbox-exec: want SPEC PROGRAM [ARGUMENT…]; it is called by the enclave, not by people")
		return ExitSetup
	}
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox-exec: specification:", err)
		return ExitSetup
	}
	ready := os.NewFile(uintptr(s.ReadyFD), "ready")
	if s.ReadyFD < 3 || ready == nil {
		fmt.Fprintln(os.Stderr, "sandbox-exec: no ready pipe")
		return ExitSetup
	}
	// Nothing that anybody forgot to close reaches the user's program, and it cannot speak for the shim.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprint(ready, "open descriptors: "+err.Error())
		return ExitSetup
	}
	if err := confine(s); err != nil {
		fmt.Fprint(ready, err.Error())
		return ExitSetup
	}
	if _, err := ready.WriteString(Ready); err != nil {
		return ExitSetup
	}
	err := syscall.Exec(args[1], args[1:], os.Environ())
	fmt.Fprintf(os.Stderr, "sandbox: %s cannot be started: %v\n", args[1], err)
	return ExitSetup
}

// confine sets the three layers in an order in which none hinders the next.
func confine(s Spec) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := restrictFiles(s); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	if err := loadFilter(); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	if err := setLimits(s); err != nil {
		return fmt.Errorf("rlimits: %w", err)
	}
	return nil
}

// restrictFiles repeats the mount table as Landlock rules, so that a mistake in one of the two does not
// open anything. It uses the newest rules that the kernel knows, and refuses a kernel that knows none.
func restrictFiles(s Spec) error {
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return fmt.Errorf("the kernel does not offer Landlock (version %d, %v)", abi, err)
	}
	var rules []landlock.Rule
	for _, p := range s.ReadOnly {
		r, err := pathRule(p, landlock.RODirs, landlock.ROFiles)
		if err != nil {
			return err
		}
		rules = append(rules, r)
	}
	for _, p := range s.ReadWrite {
		r, err := pathRule(p, func(p ...string) landlock.FSRule { return landlock.RWDirs(p...).WithRefer() }, landlock.RWFiles)
		if err != nil {
			return err
		}
		rules = append(rules, r)
	}
	return landlock.V6.BestEffort().Restrict(rules...)
}

func pathRule(path string, dir, file func(...string) landlock.FSRule) (landlock.Rule, error) {
	info, err := os.Stat(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return dir(path), nil
	}
	return file(path), nil
}

func setLimits(s Spec) error {
	for _, l := range []struct {
		name  string
		which int
		value int64
	}{
		{"address space", unix.RLIMIT_AS, s.AddressSpace},
		{"processor time", unix.RLIMIT_CPU, s.CPUSeconds},
		{"processes", unix.RLIMIT_NPROC, s.Processes},
		{"file size", unix.RLIMIT_FSIZE, s.FileSize},
		{"open files", unix.RLIMIT_NOFILE, s.OpenFiles},
	} {
		if l.value <= 0 {
			return fmt.Errorf("%s: no limit given", l.name)
		}
		v := uint64(l.value)
		if err := syscall.Setrlimit(l.which, &syscall.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	zero := syscall.Rlimit{}
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &zero); err != nil { // a core file is a copy of the data
		return fmt.Errorf("core files: %w", err)
	}
	return nil
}
