package jobs

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

// A job whose end was not written runs again without a restart; one that is still being worked on does not.
func TestLostJobRunsAgain(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		c := New(db, slog.New(slog.DiscardHandler))
		c.watchEvery = 20 * time.Millisecond
		quick, slow, release := make(chan int, 10), make(chan int, 10), make(chan struct{})
		c.Handle("quick", Options{Queue: "a"}, func(ctx context.Context, _ json.RawMessage) error { quick <- Attempt(ctx); return nil })
		c.Handle("slow", Options{Queue: "b"}, func(ctx context.Context, _ json.RawMessage) error {
			slow <- Attempt(ctx)
			<-release
			return nil
		})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			if err := c.Insert(t.Context(), tx, "quick", "k", nil); err != nil {
				return err
			}
			return c.Insert(t.Context(), tx, "slow", "k", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		<-slow
		if n := <-quick; n != 1 {
			t.Fatalf("attempt %d", n)
		}
		for { // until River has written the end, which is then undone
			n, err := db.Exec(t.Context(), `UPDATE river_job SET state = 'running', finalized_at = NULL WHERE kind = 'quick' AND state = 'completed'`)
			if err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if n := <-quick; n != 2 {
			t.Fatalf("attempt %d", n)
		}
		if len(slow) != 0 {
			t.Error("a job that is being worked on was started again")
		}
		close(release)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}
