package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

var tables = storetest.Migration(`CREATE TABLE business (id TEXT PRIMARY KEY, done BIGINT NOT NULL);`)

func stop(t *testing.T, c *jobs.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func insert(t *testing.T, db *store.DB, c *jobs.Client, kind, key string, payload any) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error { return c.Insert(t.Context(), tx, kind, key, payload) })
	if err != nil {
		t.Fatal(err)
	}
}

func wait[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived within 20 s")
	}
	return v
}

func TestRunsOnceForEachKey(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		c := jobs.New(db, slog.New(slog.DiscardHandler))
		got := make(chan string, 10)
		c.Handle("greet", jobs.Options{Queue: "q"}, func(ctx context.Context, raw json.RawMessage) error {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			got <- fmt.Sprint(s, jobs.Attempt(ctx))
			return nil
		})
		if err := c.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		insert(t, db, c, "greet", "a", "before")
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, c)
		if s := wait(t, got); s != "before1" {
			t.Fatalf("got %q", s)
		}
		began := time.Now()
		insert(t, db, c, "greet", "a", "again") // the key is taken, also by a job that is done
		insert(t, db, c, "greet", "b", "other")
		if s := wait(t, got); s != "other1" {
			t.Fatalf("got %q, want the job with the new key", s)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("a job took %v to start, want well under a second", d)
		}
		select {
		case s := <-got:
			t.Fatalf("the repeated key ran: %q", s)
		case <-time.After(200 * time.Millisecond):
		}
	})
}

func TestRollbackTakesTheJobAlong(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		c := jobs.New(db, slog.New(slog.DiscardHandler))
		c.Handle("x", jobs.Options{}, func(context.Context, json.RawMessage) error { return nil })
		if err := c.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		no := errors.New("no")
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			if err := c.Insert(t.Context(), tx, "x", "k", 1); err != nil {
				return err
			}
			return no
		})
		if !errors.Is(err, no) {
			t.Fatal(err)
		}
		n, err := c.Pending(t.Context())
		if err != nil || n != 0 {
			t.Fatalf("%d jobs pending, %v; want none", n, err)
		}
	})
}

func TestRetriesAndStuck(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		c := jobs.New(db, slog.New(slog.DiscardHandler))
		third := make(chan int, 10)
		c.Handle("flaky", jobs.Options{}, func(ctx context.Context, _ json.RawMessage) error {
			if n := jobs.Attempt(ctx); n < 3 {
				return errors.New("not yet")
			}
			third <- jobs.Attempt(ctx)
			return nil
		})
		c.Handle("hopeless", jobs.Options{MaxAttempts: 2}, func(context.Context, json.RawMessage) error { panic("broken") })
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, c)
		insert(t, db, c, "hopeless", "h", nil)
		insert(t, db, c, "flaky", "f", nil)
		if n := wait(t, third); n != 3 {
			t.Fatalf("attempt %d", n)
		}
		deadline := time.Now().Add(20 * time.Second)
		for {
			stuck, err := c.Stuck(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(stuck) == 1 && stuck[0].Kind == "hopeless" && stuck[0].Key == "h" && stuck[0].State == "discarded" && stuck[0].Attempts == 2 && stuck[0].LastError != "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("stuck: %+v", stuck)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func TestRefusesMistakes(t *testing.T) {
	db := storetest.SQLite(t)
	c := jobs.New(db, slog.New(slog.DiscardHandler))
	c.Handle("x", jobs.Options{}, func(context.Context, json.RawMessage) error { return nil })
	try := func(kind, key string, payload any) error {
		return db.InTx(t.Context(), func(tx *store.Tx) error { return c.Insert(t.Context(), tx, kind, key, payload) })
	}
	if try("x", "k", 1) == nil {
		t.Error("a job was inserted before Migrate")
	}
	if err := c.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		kind, key string
		payload   any
	}{{"y", "k", 1}, {"x", "", 1}, {"x", "k", make(chan int)}} {
		if try(bad.kind, bad.key, bad.payload) == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if err := try("x", "k", 1); err != nil {
		t.Error(err)
	}
}

// Eight writers commit business rows with jobs while River works on the same database: no writer may
// ever see "database is locked", and each row is handled exactly once.
func TestManyWriters(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		const writers, each = 8, 25
		if err := db.Migrate(t.Context(), "business", tables); err != nil {
			t.Fatal(err)
		}
		c := jobs.New(db, slog.New(slog.DiscardHandler))
		done := make(chan string, writers*each)
		c.Handle("finish", jobs.Options{Queue: "q", Workers: 8}, func(ctx context.Context, raw json.RawMessage) error {
			var id string
			if err := json.Unmarshal(raw, &id); err != nil {
				return err
			}
			err := db.InTx(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE business SET done = done + 1 WHERE id = ?`, id)
				return err
			})
			if err == nil {
				done <- id
			}
			return err
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, c)
		var wg sync.WaitGroup
		began := time.Now()
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					id := fmt.Sprintf("%d-%d", w, i)
					err := db.InTx(t.Context(), func(tx *store.Tx) error {
						if _, err := tx.Exec(t.Context(), `INSERT INTO business (id, done) VALUES (?, 0)`, id); err != nil {
							return err
						}
						return c.Insert(t.Context(), tx, "finish", id, id)
					})
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			})
		}
		wg.Wait()
		written := time.Since(began)
		if t.Failed() {
			return
		}
		for range writers * each {
			wait(t, done)
		}
		t.Logf("%d transactions in %v, all jobs done after %v", writers*each, written, time.Since(began))
		var rows, sum int64
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*), SUM(done) FROM business`).Scan(&rows, &sum); err != nil {
			t.Fatal(err)
		}
		if rows != writers*each || sum != rows {
			t.Fatalf("%d rows, handled %d times", rows, sum)
		}
	})
}

// A zone may take requests, and insert jobs for them, while its jobs are still being started.
func TestInsertWhileStarting(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		c := jobs.New(db, slog.New(slog.DiscardHandler))
		done := make(chan struct{}, 1)
		c.Handle("echo", jobs.Options{}, func(context.Context, json.RawMessage) error { done <- struct{}{}; return nil })
		if err := c.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		inside, started := make(chan struct{}), make(chan error, 1)
		go func() {
			<-inside
			started <- c.Start(t.Context())
		}()
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			close(inside)
			time.Sleep(50 * time.Millisecond) // Start is now waiting for this transaction
			return c.Insert(t.Context(), tx, "echo", "k", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		defer stop(t, c)
		wait(t, done)
	})
}
