// Package test tests the whole hub with its real processes: journeys in a browser, attacks, kills. What
// a room can show alone is tested beside the room.
package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/demo"
)

// program is what is under test, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mitral-test-")
	if err == nil {
		program = filepath.Join(dir, "mitral")
		build := exec.Command("go", "build", "-o", program, "../cmd/mitral")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the program cannot be built:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// startHub starts a hub of its own for a test, small unless change says otherwise, and stops it after. The
// holders' data are not delivered yet: see Hub.Seed and Hub.Walk.
func startHub(t testing.TB, change func(*demo.Options)) *demo.Hub {
	t.Helper()
	h := openHub(t, change)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return h
}

// openHub prepares a hub's directory without starting anything.
func openHub(t testing.TB, change func(*demo.Options)) *demo.Hub {
	t.Helper()
	opts := demo.Options{Dir: t.TempDir(), Binary: program, People: 1000, Seed: 7, Years: 3, Format: "csv"}
	if change != nil {
		change(&opts)
	}
	h, err := demo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(h.Dir(), "logs", "*.log"))
			for _, l := range logs {
				if out, err := exec.Command("tail", "-n", "15", l).Output(); err == nil {
					t.Logf("end of %s:\n%s", filepath.Base(l), out)
				}
			}
		}
	})
	return h
}
