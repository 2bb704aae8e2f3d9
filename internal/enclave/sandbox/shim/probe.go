package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProbeCommand is the sub-command of the binary that runs Probe.
const ProbeCommand = "sandbox-probe"

// Targets is what the self-test planted outside the sandbox for its probes to reach.
type Targets struct {
	LoopbackPort int    `json:"loopback_port"` // a listening service of the host
	AbstractUnix string `json:"abstract_unix"` // an abstract socket of the host
	OtherFile    string `json:"other_file"`    // a file of another workspace, host path
	SecretFile   string `json:"secret_file"`   // a secret of the host, host path
	HostPID      int    `json:"host_pid"`      // a process outside
}

// Attempt is the outcome of one forbidden action tried inside the sandbox.
type Attempt struct {
	Name    string `json:"name"`
	Blocked bool   `json:"blocked"`
	Detail  string `json:"detail"`
}

// Probe tries forbidden actions, and with "works" what an ordinary program must be able to do. With "quiet TARGETS" it tries all that end by themselves and prints one
// JSON Attempt a line; "forkbomb", "memory", "sleep", "linger" and "fill" are each run alone, because they
// end by being stopped.
func Probe(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "sandbox-probe: want quiet, forkbomb, memory, sleep, linger or fill")
		return 2
	}
	switch args[0] {
	case "quiet":
		var t Targets
		if len(args) != 2 || json.Unmarshal([]byte(args[1]), &t) != nil {
			return 2
		}
		enc := json.NewEncoder(os.Stdout)
		for _, p := range quietProbes {
			blocked, detail := p.try(t)
			enc.Encode(Attempt{p.name, blocked, detail})
		}
		return 0
	case "works":
		return works()
	case "forkbomb":
		return forkBomb()
	case "memory":
		return memoryHog()
	case "sleep":
		time.Sleep(time.Hour)
		return 0
	case "linger":
		return linger()
	case "beat":
		for {
			os.WriteFile("/out/beat", []byte(strconv.FormatInt(time.Now().UnixNano(), 10)), 0o600)
			time.Sleep(20 * time.Millisecond)
		}
	case "fill":
		block := make([]byte, 1<<20)
		for i := 0; ; i++ {
			if err := os.WriteFile("/out/fill-"+strconv.Itoa(i), block, 0o600); err != nil {
				fmt.Println("stopped by", err)
				return 3
			}
		}
	}
	return 2
}

type probe struct {
	name string
	try  func(Targets) (blocked bool, detail string)
}

// fails is for an action that must return an error.
func fails(err error) (bool, string) {
	if err == nil {
		return false, "it worked"
	}
	return true, err.Error()
}

var quietProbes = []probe{
	// First, because later attempts open descriptors of their own.
	{"leaks: open descriptors", func(Targets) (bool, string) {
		for fd := 3; fd < 256; fd++ {
			target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			// Go's own poller is the only thing that may be open.
			if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "/sys/") {
				return false, fmt.Sprintf("descriptor %d is %s", fd, target)
			}
		}
		return true, "none inherited"
	}},
	{"network: internet", func(Targets) (bool, string) {
		return fails(dial("tcp", "192.0.2.1:80")) // TEST-NET-1: even a routed host has no such service, so the error must be "unreachable"
	}},
	{"network: service on the host's loopback", func(t Targets) (bool, string) {
		return fails(dial("tcp", "127.0.0.1:"+strconv.Itoa(t.LoopbackPort)))
	}},
	{"network: abstract socket of the host", func(t Targets) (bool, string) { return fails(dial("unix", "@"+t.AbstractUnix)) }},
	{"network: name lookup", func(Targets) (bool, string) {
		c, err := net.DialTimeout("udp", "192.0.2.53:53", time.Second)
		if err == nil {
			_, err = c.Write([]byte("x"))
			c.Close()
		}
		return fails(err)
	}},
	{"network: sockets of every other family", func(Targets) (bool, string) {
		for family := range 64 {
			if family == unix.AF_UNIX || family == unix.AF_INET || family == unix.AF_INET6 {
				continue
			}
			for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW} {
				if fd, err := unix.Socket(family, kind, 0); err != unix.EPERM {
					unix.Close(fd)
					return false, fmt.Sprintf("family %d, kind %d: %v", family, kind, err)
				}
			}
		}
		if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); err == nil {
			unix.Close(fd)
			return false, "a raw socket opened"
		}
		return true, "refused by the filter"
	}},
	{"terminal: push characters into it", func(Targets) (bool, string) {
		c := byte('x')
		for _, request := range []uintptr{tiocsti, tioclinux} {
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, 0, request, uintptr(unsafe.Pointer(&c))); e != unix.EPERM {
				return false, e.Error()
			}
		}
		return true, "refused by the filter"
	}},
	{"files: another workspace", func(t Targets) (bool, string) { _, err := os.ReadFile(t.OtherFile); return fails(err) }},
	{"files: secrets of the host", func(t Targets) (bool, string) {
		for _, f := range []string{t.SecretFile, "/etc/shadow", "/etc/passwd", "/root", "/home", "/var", "/run/secrets", "/sys/kernel"} {
			if _, err := os.Stat(f); err == nil {
				return false, f + " is there"
			}
		}
		return true, "none is there"
	}},
	{"files: through another process's root", func(t Targets) (bool, string) {
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", t.HostPID, t.SecretFile))
		if err == nil {
			return false, "host file read through /proc"
		}
		_, err = os.ReadFile("/proc/1/root" + t.SecretFile)
		return fails(err)
	}},
	{"files: write to the data", func(Targets) (bool, string) {
		if f, err := os.OpenFile("/data/canary", os.O_WRONLY|os.O_APPEND, 0); err == nil {
			f.Close()
			return false, "opened for writing"
		}
		return fails(os.WriteFile("/data/new", []byte("x"), 0o600))
	}},
	{"files: make the data writable", func(Targets) (bool, string) {
		if err := unix.Mount("", "/data", "", unix.MS_REMOUNT|unix.MS_BIND, ""); err == nil {
			return false, "remounted"
		}
		return fails(os.Chmod("/data/canary", 0o777))
	}},
	{"files: write outside /out and /tmp", func(Targets) (bool, string) {
		for _, f := range []string{"/x", "/usr/x", "/usr/bin/x", "/etc/x", "/run/x", "/proc/sys/kernel/core_pattern", GuestPath} {
			if w, err := os.OpenFile(f, os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
				w.Close()
				return false, f + " can be written"
			}
		}
		return true, "nothing else can be written"
	}},
	{"files: hard link from data to out", func(Targets) (bool, string) { return fails(os.Link("/data/canary", "/out/link")) }},
	{"files: open by handle", func(Targets) (bool, string) {
		_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/usr", 0)
		return fails(err)
	}},
	{"rights: become root", func(Targets) (bool, string) {
		if err := syscall.Setuid(0); err == nil {
			return false, "setuid(0) worked"
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return false, err.Error()
		}
		for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), want) {
				return false, "status lacks " + strings.ReplaceAll(want, "\t", " ")
			}
		}
		return true, "no capability, no new privileges"
	}},
	{"rights: setuid program", func(Targets) (bool, string) {
		for _, p := range []string{"/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/sudo", "/usr/bin/pkexec", "/usr/bin/newgrp"} {
			info, err := os.Stat(p)
			if err != nil || info.Mode()&os.ModeSetuid == 0 {
				continue
			}
			// The file is setuid root; the kernel must start it as the same powerless user.
			cmd := exec.Command(p, "--help")
			if err := cmd.Start(); err != nil {
				return true, p + ": " + err.Error()
			}
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			cmd.Wait()
			for _, line := range strings.Split(string(b), "\n") {
				if strings.HasPrefix(line, "Uid:") && strings.Contains(line, "\t0") {
					return false, p + " ran as root"
				}
			}
			return true, p + " kept the job's user"
		}
		return true, "no setuid program is visible"
	}},
	{"rights: new user namespace", func(Targets) (bool, string) {
		if err := unix.Unshare(unix.CLONE_NEWUSER); err == nil {
			return false, "unshare worked"
		}
		cmd := exec.Command("/usr/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		return fails(cmd.Run())
	}},
	{"rights: mount", func(Targets) (bool, string) { return fails(unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "")) }},
	{"rights: device nodes", func(Targets) (bool, string) {
		if err := unix.Mknod("/tmp/sda", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))); err == nil {
			return false, "mknod worked"
		}
		for _, d := range []string{"/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/dev/net/tun"} {
			if _, err := os.Stat(d); err == nil {
				return false, d + " is there"
			}
		}
		return true, "none can be made, none is there"
	}},
	{"kernel: modules, bpf, perf, keys, io_uring, userfaultfd", func(Targets) (bool, string) {
		for name, nr := range map[string]uintptr{"init_module": unix.SYS_INIT_MODULE, "bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN,
			"add_key": unix.SYS_ADD_KEY, "keyctl": unix.SYS_KEYCTL, "io_uring_setup": unix.SYS_IO_URING_SETUP, "userfaultfd": unix.SYS_USERFAULTFD} {
			if _, _, e := unix.Syscall6(nr, 0, 0, 0, 0, 0, 0); e != unix.EPERM {
				return false, fmt.Sprintf("%s answered %v", name, e)
			}
		}
		return true, "all refused by the filter"
	}},
	{"kernel: 32-bit system calls", func(Targets) (bool, string) {
		const x32 = 0x40000000
		if _, _, e := unix.Syscall(x32|unix.SYS_GETPID, 0, 0, 0); e == 0 {
			return false, "an x32 call worked"
		}
		return true, "refused"
	}},
	{"kernel: settings", func(Targets) (bool, string) {
		return fails(os.WriteFile("/proc/sys/kernel/hostname", []byte("x"), 0))
	}},
	{"processes: see those outside", func(t Targets) (bool, string) {
		pids, err := filepath.Glob("/proc/[0-9]*")
		if err != nil || len(pids) > 20 {
			return false, fmt.Sprintf("%d processes are visible", len(pids))
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", t.HostPID)); err == nil && len(b) > 0 && t.HostPID > 50 {
			return false, "the environment of a process outside can be read"
		}
		return true, fmt.Sprintf("%d processes are visible, all of the sandbox", len(pids))
	}},
	{"processes: trace or read one outside", func(t Targets) (bool, string) {
		for _, pid := range []int{t.HostPID, 1} {
			if err := unix.PtraceAttach(pid); err == nil {
				return false, "attached"
			}
			buf := make([]byte, 8)
			local := []unix.Iovec{{Base: &buf[0], Len: 8}}
			remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&buf[0])), Len: 8}}
			if _, err := unix.ProcessVMReadv(pid, local, remote, 0); err == nil {
				return false, "memory read"
			}
		}
		return true, "refused"
	}},
	{"processes: signal one outside", func(t Targets) (bool, string) { return fails(unix.Kill(t.HostPID, 0)) }},
	{"leaks: environment of the enclave", func(Targets) (bool, string) {
		for _, e := range os.Environ() {
			name, _, _ := strings.Cut(e, "=")
			switch name {
			case "PATH", "HOME", "TMPDIR", "LANG", "TZ", "PWD":
			default:
				return false, name + " came through"
			}
		}
		return true, "only fixed variables"
	}},
	{"leaks: kernel memory and messages", func(Targets) (bool, string) {
		for _, f := range []string{"/proc/kcore", "/proc/kallsyms", "/proc/kmsg", "/proc/sysrq-trigger"} {
			if b, err := readSome(f); err == nil && len(strings.Trim(string(b), "0 \n\x00")) > 0 && f != "/proc/kallsyms" {
				return false, f + " can be read"
			}
		}
		return true, "not readable"
	}},
}

// GuestPath is where the enclave shows its own binary; it must not be writable.
const GuestPath = "/run/mitral"

func dial(network, addr string) error {
	c, err := net.DialTimeout(network, addr, 2*time.Second)
	if err == nil {
		c.Close()
		return nil
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() { // packets left: a silent network is still a network
		return nil
	}
	return err
}

func readSome(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 64)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// works does what ordinary programs do; a filter that refuses it would be of no use. It returns 0 when all
// went well.
func works() int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		_, err = unix.Write(pair[0], []byte("x"))
	}
	if err == nil {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err == nil {
			unix.Close(fd)
		}
	}
	if err == nil {
		if _, e := unix.IoctlGetTermios(0, unix.TCGETS); e != nil && e != unix.ENOTTY { // allowed, whatever is there
			err = e
		}
	}
	if err == nil {
		err = exec.Command("/bin/sh", "-c", "sleep 0 & wait; ls /usr > /tmp/list && ln -s list /tmp/link && mv /tmp/link /tmp/other").Run()
	}
	done := make(chan struct{})
	go func() { runtime.LockOSThread(); close(done) }() // a thread of its own
	<-done
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// forkBomb starts children until the kernel refuses; exit code 3 says it was stopped by the limit.
func forkBomb() int {
	for i := range 5000 {
		if err := exec.Command(GuestPath, ProbeCommand, "sleep").Start(); err != nil {
			fmt.Printf("stopped after %d processes: %v\n", i, err)
			return 3
		}
	}
	return 0
}

// memoryHog takes and touches memory until it is refused or killed.
func memoryHog() int {
	const step = 64 << 20
	for total := 0; total < 64<<30; total += step {
		b, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			fmt.Printf("stopped at %d MiB: %v\n", total>>20, err)
			return 3
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
	return 0
}

// linger starts a process in a session of its own that writes a heartbeat for ever, and waits.
func linger() int {
	cmd := exec.Command(GuestPath, ProbeCommand, "beat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	time.Sleep(time.Hour)
	return 0
}

// QuietProbes is how many attempts "quiet" prints.
func QuietProbes() int { return len(quietProbes) }
