package test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demo"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
)

// TestPowerCuts walks the journey while every zone is killed (kill -9) at once, again and again: each
// time something is waited for, so that there is always work in hand. The journey must go on where it
// stopped, with the rows that it has without kills (its own steps compare them), and every ledger must
// still be proven, with no entry twice.
func TestPowerCuts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var h *demo.Hub
	var mu sync.Mutex
	cuts, cut := 0, map[string]int{}
	h = startHub(t, func(o *demo.Options) {
		o.People = 400
		o.Disturb = func(what string) {
			mu.Lock()
			defer mu.Unlock()
			kind := strings.Join(strings.Fields(what)[:2], " ")
			if cut[kind]++; cut[kind] > 2 { // twice for each kind of work
				return
			}
			cuts++
			for _, zone := range allZones {
				h.Process(zone).Kill()
			}
		}
	})
	r := h.Walk(ctx, testWriter{t})
	if !r.Passed {
		t.Fatal(r.Failure)
	}
	t.Logf("%d power cuts, at %v", cuts, cut)
	if cuts < 10 {
		t.Fatalf("only %d power cuts: the test does not show what it should", cuts)
	}
	for _, zone := range allZones {
		dir := filepath.Join(h.ZoneDir(zone), "ledger")
		report, err := ledger.Verify(ctx, dir)
		if err != nil || !report.OK {
			t.Errorf("%s: %v %v", zone, err, report.Findings)
		}
		entries, err := ledger.Entries(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, e := range entries {
			if seen[e.ID] {
				t.Errorf("%s: entry %s (%s) stands twice in the ledger", zone, e.ID, e.Action)
			}
			seen[e.ID] = true
		}
	}
}

// TestStopAndStart stops a hub and starts it again: nothing is lost, nothing is delivered twice.
func TestStopAndStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	h := startHub(t, func(o *demo.Options) { o.People = 300 })
	if r := h.Walk(ctx, testWriter{t}); !r.Passed || len(r.Steps) != 12 {
		t.Fatal(r.Failure)
	}
	dir := h.Dir()
	h.Close()
	again, err := demo.Open(demo.Options{Dir: dir, Binary: program})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if !again.Delivered() {
		t.Fatal("the holders' data are gone")
	}
	if _, err := demo.Open(demo.Options{Dir: dir, Binary: program}); err == nil {
		t.Fatal("two supervisors could work in one directory")
	}
}

// TestOnPostgreSQL walks the journey with portal and trust on a real PostgreSQL server.
func TestOnPostgreSQL(t *testing.T) {
	portal, trust := pgtest.Start(t), pgtest.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	h := startHub(t, func(o *demo.Options) { o.People, o.PortalDB, o.TrustDB = 300, portal, trust })
	if r := h.Walk(ctx, testWriter{t}); !r.Passed {
		t.Fatal(r.Failure)
	}
	for _, zone := range []string{contract.ZonePortal, contract.ZoneTrust} {
		if found, _ := filepath.Glob(filepath.Join(h.ZoneDir(zone), "*.db")); len(found) > 0 {
			t.Errorf("%s wrote %v beside PostgreSQL", zone, found)
		}
	}
}
