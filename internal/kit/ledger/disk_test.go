package ledger_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

// The ledger's disk is full: entries stay in the outbox, which says why, the log stays whole, and
// everything enters it, once, when space returns.
func TestFullDisk(t *testing.T) {
	disk := storetest.SmallDisk(t, 1<<20)
	dir := filepath.Join(disk.Dir, "ledger")
	r := openLedger(t, storetest.SQLite(t), dir) // the database lies elsewhere
	r.record(t, 3)
	r.settle(t)
	disk.Fill(t)
	r.record(t, 40)
	deadline := time.Now().Add(30 * time.Second)
	for {
		stuck, err := r.jobs.Stuck(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(stuck) > 0 {
			if !strings.Contains(stuck[0].LastError, "no space left") {
				t.Errorf("the outbox does not say why: %s", stuck[0].LastError)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no entry is stuck on a full disk")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if rep := verify(t, dir); !rep.OK || rep.Size != 3 {
		t.Errorf("the log on a full disk: %+v", rep)
	}
	disk.Free(t)
	r.settle(t)
	r.stop(t)
	rep := verify(t, dir)
	if !rep.OK || rep.Size != 43 {
		t.Fatalf("%+v", rep)
	}
	seen := map[string]bool{}
	for _, e := range readAll(t, dir) {
		if seen[e.ID] {
			t.Errorf("%s is in the log twice", e.ID)
		}
		seen[e.ID] = true
	}
}
