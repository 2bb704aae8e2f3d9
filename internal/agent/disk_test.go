package agent

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullDisk: a spool that is too small stops the delivery before anything is sent, and keeps no half of it.
func TestFullDisk(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(1, 1)), 2000, 20000), Files{Format: formatCSV})
	if err := os.Mkdir(h.cfg.Spool, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", h.cfg.Spool, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a small file system cannot be mounted (it needs root): %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(h.cfg.Spool, syscall.MNT_DETACH) })
	if _, err := Deliver(t.Context(), h.cfg, silent); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if len(h.trust.parts)+len(h.engine.parts) > 0 {
		t.Error("something was sent")
	}
	if left, err := filepath.Glob(filepath.Join(h.cfg.Spool, "*", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("the spool keeps %v", left)
	}
}
