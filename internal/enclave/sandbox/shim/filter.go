package shim

import (
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// denied lists the system calls that no analysis needs and that kernel escapes are made of. What is not
// listed here but known to the filter's table is allowed; what the table does not know is refused, and so
// is every call through another ABI (32 bits, x32).
var denied = []string{
	// mounts and roots
	"mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	// namespaces
	"unshare", "setns",
	// other processes
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
	// kernel code, kernel memory, tracing
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open",
	"userfaultfd", "lookup_dcookie", "syslog", "fanotify_init",
	// asynchronous calls run outside the filter
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	// keys of the kernel
	"add_key", "request_key", "keyctl",
	// handles that cross mounts
	"open_by_handle_at", "name_to_handle_at",
	// the machine
	"reboot", "swapon", "swapoff", "acct", "quotactl", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime",
	"sethostname", "setdomainname", "vhangup", "iopl", "ioperm", "nfsservctl", "mknod", "mknodat",
}

const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// tiocsti and tioclinux push characters into the terminal that started the process (CVE-2017-5226).
const (
	tiocsti    = 0x5412
	tioclinux  = 0x541C
	errnoShift = 0xffff
)

// errno builds the filter's answer "fail with e".
func errno(e unix.Errno) seccomp.Action {
	return seccomp.ActionErrno | seccomp.Action(uint32(e)&errnoShift)
}

// policy is the filter for this machine's architecture.
func policy() (seccomp.Policy, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return seccomp.Policy{}, err
	}
	var allowed []string
	for name := range info.SyscallNames {
		switch {
		case slices.Contains(denied, name), name == "clone", name == "clone3", name == "ioctl", name == "socket":
		default:
			allowed = append(allowed, name)
		}
	}
	slices.Sort(allowed)
	families := func(fs ...uint64) (out []seccomp.NameWithConditions) {
		for _, f := range fs {
			out = append(out, seccomp.NameWithConditions{Name: "socket",
				Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: f}}})
		}
		return out
	}
	return seccomp.Policy{
		DefaultAction: seccomp.ActionErrno, // EPERM
		// The order matters: a condition leaves an argument where the call's number was, so groups with
		// conditions come last, and within them the calls whose refused arguments are no call number of a
		// later entry. The probes "quiet" and "works" try the refused and the allowed side.
		Syscalls: []seccomp.SyscallGroup{
			{Names: allowed, Action: seccomp.ActionAllow},
			// ENOSYS makes the C library fall back to clone, whose flags the filter can read.
			{Names: []string{"clone3"}, Action: errno(unix.ENOSYS)},
			{Action: seccomp.ActionAllow, NamesWithCondtions: append([]seccomp.NameWithConditions{
				{Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaceFlags}}},
				{Name: "ioctl", Conditions: seccomp.ArgumentConditions{
					{Argument: 1, Operation: seccomp.NotEqual, Value: tiocsti}, {Argument: 1, Operation: seccomp.NotEqual, Value: tioclinux}}},
			},
				// Local sockets only; the network namespace is empty, so this is a second lock on the same door.
				families(unix.AF_UNIX, unix.AF_INET, unix.AF_INET6)...)},
		},
	}, nil
}

func loadFilter() error {
	p, err := policy()
	if err != nil {
		return err
	}
	return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: p})
}
