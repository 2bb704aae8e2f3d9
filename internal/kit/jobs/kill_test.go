package jobs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

// The test binary runs itself as the process that is killed: MITRAL_TEST_DSN names its database,
// MITRAL_TEST_ROUND the round.
func TestMain(m *testing.M) {
	if dsn := os.Getenv("MITRAL_TEST_DSN"); dsn != "" {
		if err := victim(dsn, os.Getenv("MITRAL_TEST_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start opens the database and runs jobs that copy a business row into the table of effects, slowly.
func start(ctx context.Context, db *store.DB, pause time.Duration) (*jobs.Client, error) {
	c := jobs.New(db, slog.New(slog.DiscardHandler))
	c.Handle("copy", jobs.Options{Queue: "copies", Workers: 4}, func(ctx context.Context, raw json.RawMessage) error {
		var id string
		if err := json.Unmarshal(raw, &id); err != nil {
			return err
		}
		time.Sleep(pause / 2) // the kill falls before the effect …
		_, err := db.Exec(ctx, `INSERT INTO effect (id, times) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET times = effect.times + 1`, id)
		time.Sleep(pause / 2) // … or between the effect and the end of the job
		return err
	})
	return c, c.Start(ctx)
}

// victim writes business rows with their jobs and reports each that is committed, until it is killed.
func victim(dsn, round string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	c, err := start(ctx, db, 10*time.Millisecond)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", round, i)
		err := db.InTx(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO business (id, done) VALUES (?, 0)`, id); err != nil {
				return err
			}
			return c.Insert(ctx, tx, "copy", id, id)
		})
		if err != nil {
			return err
		}
		fmt.Println(id)
	}
}

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
	if err := db.Migrate(t.Context(), "business", tables); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "effect", storetest.Migration(`CREATE TABLE effect (id TEXT PRIMARY KEY, times BIGINT NOT NULL);`)); err != nil {
		t.Fatal(err)
	}
	committed := map[string]bool{}
	const rounds = 5
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MITRAL_TEST_DSN="+dsn, fmt.Sprintf("MITRAL_TEST_ROUND=r%d", round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		killAfter := 5 + rand.IntN(30)
		for n := 0; lines.Scan(); n++ {
			committed[lines.Text()] = true
			if n == killAfter {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("round %d: the process was to be killed, but ended by itself: %v", round, err)
		}
	}

	c, err := start(t.Context(), db, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	deadline := time.Now().Add(30 * time.Second)
	for {
		n, err := c.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs still wait", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	var rows, effected, orphans, twice int64
	for q, dest := range map[string]*int64{
		`SELECT COUNT(*) FROM business`:                                                   &rows,
		`SELECT COUNT(*) FROM effect`:                                                     &effected,
		`SELECT COUNT(*) FROM effect WHERE id NOT IN (SELECT id FROM business)`:           &orphans,
		`SELECT COUNT(*) FROM effect WHERE times > 1 AND id IN (SELECT id FROM business)`: &twice,
	} {
		if err := db.QueryRow(t.Context(), q).Scan(dest); err != nil {
			t.Fatal(err)
		}
	}
	for id := range committed {
		var n int64
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM effect WHERE id = ?`, id).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s was committed before a kill and has %d effects (%v)", id, n, err)
		}
	}
	// A kill between commit and report leaves at most one row per round that nobody heard of.
	if rows < int64(len(committed)) || rows > int64(len(committed))+rounds || effected != rows || orphans != 0 {
		t.Errorf("%d rows committed, %d reported, %d effects, %d of them without a row", rows, len(committed), effected, orphans)
	}
	// Only a job that was running at a kill may have run twice.
	if twice > rounds*4 {
		t.Errorf("%d jobs ran twice; at most 4 run at once in each of %d rounds", twice, rounds)
	}
	t.Logf("%d rounds of kill -9: %d rows, %d effects, %d jobs ran again after their effect", rounds, rows, effected, twice)
}
