package jobs

import (
	"context"
	"log/slog"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/mitral-health/mitral/internal/kit/store"
)

// migrateTables brings River's tables up to date.
func migrateTables(ctx context.Context, db *store.DB, log *slog.Logger) error {
	cfg := &rivermigrate.Config{Logger: log}
	if db.SQLite != nil {
		m, err := rivermigrate.New(riversqlite.New(db.SQLite), cfg)
		if err != nil {
			return err
		}
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	}
	m, err := rivermigrate.New(riverpgxv5.New(db.Pool), cfg)
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// openBackend opens a River client on the database.
func openBackend(db *store.DB, cfg *river.Config) (backend, error) {
	if db.SQLite != nil {
		c, err := river.NewClient(riversqlite.New(db.SQLite), cfg)
		return sqliteBackend{c}, err
	}
	c, err := river.NewClient(riverpgxv5.New(db.Pool), cfg)
	return pgBackend{c}, err
}

// resume makes what a crash left as running available again, and ends the dead process's leadership, so
// that nobody waits for it to expire. The attempt that was cut off stays counted.
func resume(ctx context.Context, db *store.DB) error {
	return db.InTx(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM river_leader`)
		return err
	})
}

// markedRunning lists the jobs that the database believes to be running.
func markedRunning(ctx context.Context, db *store.DB) (ids []int64, err error) {
	rows, err := db.Query(ctx, `SELECT id FROM river_job WHERE state = 'running'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// free makes a job available that the database believes to be running.
func free(ctx context.Context, db *store.DB, id int64) error {
	_, err := db.Exec(ctx, `UPDATE river_job SET state = 'available' WHERE id = ? AND state = 'running'`, id)
	return err
}

func pending(ctx context.Context, db *store.DB) (int64, error) {
	var n int64
	err := db.QueryRow(ctx, `SELECT COUNT(*) FROM river_job WHERE state NOT IN ('completed', 'discarded', 'cancelled')`).Scan(&n)
	return n, err
}

// quiet lets River's warnings through and not its chatter.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(warnings{log.Handler()})
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(g string) slog.Handler      { return warnings{w.Handler.WithGroup(g)} }
