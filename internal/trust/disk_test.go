package trust

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

// TestFullDisk: a part that does not fit is refused with a plain reason and leaves nothing; when there is room, the same
// part is accepted.
func TestFullDisk(t *testing.T) {
	h := newHub(t, "")
	m, _ := h.start(t)
	small := h.cfg.incoming("")
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system cannot be mounted (it needs root): %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	agent := h.client(m.Addr(), "agent", "cnam")
	part := make([]byte, 1<<20)
	rand.Read(part)
	put := func() (int, string) {
		status, b := agent.do(t, "PUT", "/v1/deliveries/d1/identities/part-0001", part, contract.DigestOf(part))
		return status, code(b)
	}
	if status, code := put(); status != 507 || code != "disk_full" {
		t.Errorf("%d %s", status, code)
	}
	if left, err := filepath.Glob(filepath.Join(small, "d1", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if halves, err := os.ReadDir(filepath.Join(small, "d1")); err != nil || len(halves) > 0 {
		t.Errorf("left behind: %v, %v", halves, err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if status, code := put(); status != 200 {
		t.Errorf("with room: %d %s", status, code)
	}
}
