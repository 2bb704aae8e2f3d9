package roll

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func record(ctx context.Context, s *Store, person byte, number, action string, filed, now time.Time) (e Event, err error) {
	err = s.db.InTx(ctx, func(tx *store.Tx) error {
		e, err = s.Record(ctx, tx, [16]byte{person}, number, action, filed, now)
		return err
	})
	return e, err
}

func TestRoll(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		s, err := NewStore(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
		do := func(person byte, number, action string, filed, now int) Event {
			t.Helper()
			e, err := record(ctx, s, person, number, action, at(filed), at(now))
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		asOf := func(m int, want ...byte) {
			t.Helper()
			got, err := s.AsOf(ctx, at(m))
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for _, p := range got {
				first = append(first, p[0])
			}
			if !slices.Equal(first, want) {
				t.Errorf("as of %d: %v, want %v", m, first, want)
			}
		}
		if e := do(1, "n1", Object, 10, 11); !e.Effective.Equal(at(10)) {
			t.Errorf("counts from %v, filed %v", e.Effective, at(10))
		}
		asOf(9)
		asOf(10, 1)
		do(2, "n2", Object, 5, 12) // filed before, arrives after an answer about minute 10
		asOf(10, 1)
		asOf(11, 1, 2)
		if first, again := do(2, "n2", Object, 5, 12), do(2, "n2", Object, 30, 31); first != again {
			t.Errorf("twice the same number: %v, %v", first, again)
		}
		do(1, "n1", Withdraw, 20, 20)
		asOf(19, 1, 2)
		asOf(20, 2)
		if e := do(3, "n3", Object, 1000, 21); !e.Effective.Equal(at(21)) {
			t.Errorf("filed in the future counts from %v", e.Effective)
		}
		if _, err := record(ctx, s, 4, "n4", "forget", at(22), at(22)); err == nil {
			t.Error("an unknown action was recorded")
		}
	})
}

// TestAnswersNeverChange: whatever is recorded later, in whatever order it arrives and whatever it says
// about when it was filed, an instant that was asked about keeps its answer; and a withdrawal that came after an
// objection of the same person is never overtaken by it.
func TestAnswersNeverChange(t *testing.T) {
	db := storetest.SQLite(t)
	s, err := NewStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		run++
		for _, q := range []string{"DELETE FROM roll_events", "UPDATE roll_frontier SET answered = 0"} {
			if _, err := db.Exec(ctx, q); err != nil {
				rt.Fatal(err)
			}
		}
		now := start
		answers := map[time.Time]string{}
		last := map[byte]string{}
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "later")) * time.Microsecond)
			instant := start.Add(time.Duration(rapid.IntRange(-5, 40).Draw(rt, "instant")) * time.Microsecond)
			if rapid.Bool().Draw(rt, "ask") {
				got, err := s.AsOf(ctx, instant)
				if err != nil {
					rt.Fatal(err)
				}
				if before, asked := answers[instant]; asked && before != fmt.Sprint(got) {
					rt.Fatalf("as of %v: first %v, now %v", instant, before, got)
				}
				answers[instant] = fmt.Sprint(got)
				continue
			}
			person := byte(rapid.IntRange(1, 3).Draw(rt, "person"))
			action := rapid.SampledFrom([]string{Object, Withdraw}).Draw(rt, "action")
			if _, err := record(ctx, s, person, fmt.Sprintf("%d-%d", run, i), action, instant, now); err != nil {
				rt.Fatal(err)
			}
			last[person] = action
		}
		for instant, before := range answers {
			if got, err := s.AsOf(ctx, instant); err != nil || fmt.Sprint(got) != before {
				rt.Fatalf("as of %v: first %v, in the end %v, %v", instant, before, got, err)
			}
		}
		final, err := s.AsOf(ctx, start.Add(time.Hour))
		if err != nil {
			rt.Fatal(err)
		}
		for p, action := range last {
			if slices.Contains(final, [16]byte{p}) != (action == Object) {
				rt.Fatalf("person %d declared %s last; roll %v", p, action, final)
			}
		}
	})
}
