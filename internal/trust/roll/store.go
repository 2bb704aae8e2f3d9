package roll

import (
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store keeps the roll in trust's database.
type Store struct{ db *store.DB }

// NewStore brings the tables up to date.
func NewStore(ctx context.Context, db *store.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "roll", sub); err != nil {
		return nil, err
	}
	return &Store{db: db}, nil
}

// Record adds an event in the caller's transaction. filed is when the citizen filed, now trust's own time.
// The same number and action again changes nothing and returns what was recorded the first time.
func (s *Store) Record(ctx context.Context, tx *store.Tx, person [16]byte, number, action string, filed, now time.Time) (Event, error) {
	if action != Object && action != Withdraw {
		return Event{}, fmt.Errorf("objection roll: unknown action %q", action)
	}
	fail := func(err error) (Event, error) { return Event{}, fmt.Errorf("objection roll: %w", err) }
	e := Event{Person: person, Number: number, Action: action}
	var effective int64
	var text string
	err := tx.QueryRow(ctx, "SELECT seq, person, effective FROM roll_events WHERE number = ? AND action = ?", number, action).Scan(&e.Seq, &text, &effective)
	if err == nil {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) != len(e.Person) {
			return fail(errors.New("a person's number is damaged"))
		}
		e.Person, e.Effective = [16]byte(b), store.FromMicros(effective)
		return e, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fail(err)
	}
	text = base64.StdEncoding.EncodeToString(person[:])
	var frontier, seq, last int64
	if err := tx.QueryRow(ctx, "SELECT answered FROM roll_frontier WHERE one = 1").Scan(&frontier); err != nil {
		return fail(err)
	}
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(seq), 0) FROM roll_events").Scan(&seq); err != nil {
		return fail(err)
	}
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(effective), 0) FROM roll_events WHERE person = ?", text).Scan(&last); err != nil {
		return fail(err)
	}
	e.Seq = seq + 1
	// Filed in the future is a wrong clock, not a wish. After the frontier, so that no answer changes; after the
	// person's former event, so that the order of a citizen's declarations is the order in which they came.
	effective = max(min(store.Micros(filed), store.Micros(now)), frontier+1, last+1)
	e.Effective = store.FromMicros(effective)
	_, err = tx.Exec(ctx, "INSERT INTO roll_events (seq, person, number, action, effective, recorded_at) VALUES (?, ?, ?, ?, ?, ?)",
		e.Seq, text, number, action, effective, store.Micros(now))
	if err != nil {
		return fail(err)
	}
	return e, nil
}

// AsOf returns the persons whose objection was in force at an instant, sorted by number. Once it has
// answered, the answer for that instant never changes.
func (s *Store) AsOf(ctx context.Context, at time.Time) ([][16]byte, error) {
	var events []Event
	err := s.db.InTx(ctx, func(tx *store.Tx) error {
		events = events[:0]
		us := store.Micros(at)
		if _, err := tx.Exec(ctx, "UPDATE roll_frontier SET answered = ? WHERE one = 1 AND answered < ?", us, us); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT seq, person, number, action, effective FROM roll_events WHERE effective <= ?", us)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Event
			var text string
			var effective int64
			if err := rows.Scan(&e.Seq, &text, &e.Number, &e.Action, &effective); err != nil {
				return err
			}
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(b) != len(e.Person) {
				return errors.New("a person's number is damaged")
			}
			e.Person, e.Effective = [16]byte(b), store.FromMicros(effective)
			events = append(events, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("objection roll: %w", err)
	}
	return objecting(events, at), nil
}
