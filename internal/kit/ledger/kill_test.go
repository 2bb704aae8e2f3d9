package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/transparency-dev/tessera/api"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

// The test binary runs itself as the process that is killed.
func TestMain(m *testing.M) {
	if dsn := os.Getenv("MITRAL_TEST_DSN"); dsn != "" {
		if err := victim(dsn, os.Getenv("MITRAL_TEST_DIR"), os.Getenv("MITRAL_TEST_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim commits business rows with their ledger entries, and reports each, until it is killed.
func victim(dsn, dir, round string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	c := jobs.New(db, slog.New(slog.DiscardHandler))
	l, err := ledger.Open(ctx, ledger.Options{Dir: dir, Zone: "engine", DB: db, Jobs: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", round, i)
		err := db.InTx(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO business (id) VALUES (?)`, id); err != nil {
				return err
			}
			return l.Record(ctx, tx, ledger.Entry{Action: "row.written", Target: id, Outcome: "done"})
		})
		if err != nil {
			return err
		}
		fmt.Println(id)
	}
}

// After any number of kills the log holds exactly one entry for each committed row, and verifies.
func TestKill(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testKill(t, "sqlite:"+t.TempDir()+"/state.db") })
	t.Run("postgres", func(t *testing.T) { testKill(t, pgtest.Start(t)) })
}

func testKill(t *testing.T, dsn string) {
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "business", storetest.Migration(`CREATE TABLE business (id TEXT PRIMARY KEY);`)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	reported := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MITRAL_TEST_DSN="+dsn, "MITRAL_TEST_DIR="+dir, fmt.Sprintf("MITRAL_TEST_ROUND=r%d", round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatalf("round %d: nothing was committed", round)
		}
		timer := time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		})
		for reported++; lines.Scan(); reported++ {
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("round %d: the process was to be killed, but ended by itself: %v", round, err)
		}
		timer.Stop()
		if rep := verify(t, dir); !rep.OK {
			t.Fatalf("round %d: the log of the killed process: %v", round, rep.Findings)
		}
	}
	r := openLedger(t, db, dir)
	r.settle(t)
	r.stop(t)
	rep := verify(t, dir)
	if !rep.OK {
		t.Fatalf("%v", rep.Findings)
	}
	count := map[string]int{}
	for _, e := range readAll(t, dir) {
		count[e.Target]++
	}
	rows, err := db.Query(t.Context(), `SELECT id FROM business`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if n++; count[id] != 1 {
			t.Errorf("%s was committed and is %d times in the log", id, count[id])
		}
	}
	if err := rows.Err(); err != nil || n < reported || uint64(n) != rep.Size {
		t.Errorf("%d rows committed, %d reported, %d entries in the log, %v", n, reported, rep.Size, err)
	}
	t.Logf("6 rounds of kill -9: %d rows, %d entries, each once", n, rep.Size)
}

// readAll reads the entries of a log that is closed.
func readAll(t testing.TB, dir string) (all []ledger.Entry) {
	t.Helper()
	rep := verify(t, dir)
	for b := uint64(0); b*256 < rep.Size; b++ {
		path := fmt.Sprintf("tile/entries/%03d", b)
		if n := rep.Size - b*256; n < 256 {
			path += fmt.Sprintf(".p/%d", n)
		}
		raw, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(raw); err != nil {
			t.Fatal(err)
		}
		for _, data := range bundle.Entries {
			e, err := ledger.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
	return all
}
