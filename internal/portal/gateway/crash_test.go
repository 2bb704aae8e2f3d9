package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
	"github.com/mitral-health/mitral/internal/portal/register"
)

const crashDatabase = "MITRAL_TEST_CRASH_DATABASE"

// TestCrashChild is the process that TestKilledWhileDeciding kills: it takes one case after another from
// draft to signed permit until it dies.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashDatabase)
	if path == "" {
		t.Skip("runs only as a child of TestKilledWhileDeciding")
	}
	db, err := store.Open(context.Background(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	h := gatewaytest.New(t, db, gatewaytest.NewClock())
	for {
		fmt.Println("signed", h.Signed().ID)
	}
}

// TestKilledWhileDeciding kills a process with SIGKILL at a random instant while it decides, several
// times on one database, and then looks: each case is either signed with everything that belongs to it
// (permit index, both orders, register, ledger entries), or not at all.
func TestKilledWhileDeciding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portal.db")
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v")
		cmd.Env = append(os.Environ(), crashDatabase+"="+path, "TMPDIR="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 3+round && lines.Scan(); {
			if len(lines.Text()) > 6 && lines.Text()[:6] == "signed" {
				n++
			}
		}
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond) // somewhere within a case
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}

	ctx := t.Context()
	db, err := store.Open(ctx, "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h := gatewaytest.New(t, db, gatewaytest.NewClock())
	count := func(query string, args ...any) (n int64) {
		t.Helper()
		if err := db.QueryRow(ctx, query, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	signed, open, events := 0, 0, int64(0)
	var cases []*gateway.Application
	err = db.InTx(ctx, func(tx *store.Tx) error {
		return h.Each(ctx, tx, func(a *gateway.Application) error {
			cases = append(cases, a)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range cases {
		events += a.Seq
		permits := count(`SELECT COUNT(*) FROM gateway_permits WHERE stream = ?`, a.ID)
		orders := count(`SELECT COUNT(*) FROM gateway_orders WHERE stream = ?`, a.ID)
		entry := register.Status("")
		err := db.QueryRow(ctx, `SELECT status FROM register_entries WHERE id = ?`, a.ID).Scan((*string)(&entry))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if a.Signed == nil {
			open++
			if permits != 0 || orders != 0 || entry == register.Authorised {
				t.Errorf("%s is not signed but has %d permits, %d orders, register %q", a.ID, permits, orders, entry)
			}
			continue
		}
		signed++
		if permits != 1 || orders != 2 || entry != register.Authorised {
			t.Errorf("%s is signed but has %d permits, %d orders, register %q", a.ID, permits, orders, entry)
		}
		for _, id := range a.Signed.Orders {
			if _, err := h.Book.Order(ctx, db, id); err != nil {
				t.Errorf("order %s: %v", id, err)
			}
		}
	}
	if n, err := h.Jobs.Pending(ctx); err != nil || n != events {
		t.Errorf("%d ledger entries for %d events: %v", n, events, err)
	}
	if signed < 5 {
		t.Errorf("only %d cases were signed", signed)
	}
	t.Logf("%d cases signed, %d cut short, none half-issued", signed, open)
}
