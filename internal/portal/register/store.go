package register

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

func migrate(ctx context.Context, db *store.DB) error {
	m, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "register", m)
}

// row is one entry as stored.
type row struct {
	id, status string
	at         time.Time
	text, doc  string
}

// storedShape is the version of the stored entries, 0 when the table was never filled.
func storedShape(ctx context.Context, q store.Querier) (int64, error) {
	var v int64
	err := q.QueryRow(ctx, `SELECT version FROM register_shape WHERE name = 'entries'`).Scan(&v)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return v, nil
}

func empty(ctx context.Context, tx *store.Tx, version int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM register_entries`); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	_, err := tx.Exec(ctx, `INSERT INTO register_shape (name, version) VALUES ('entries', ?)
		ON CONFLICT (name) DO UPDATE SET version = excluded.version`, version)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

func upsert(ctx context.Context, tx *store.Tx, r row) error {
	_, err := tx.Exec(ctx, `INSERT INTO register_entries (id, status, at, text, doc) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, at = excluded.at, text = excluded.text, doc = excluded.doc`,
		r.id, r.status, store.Micros(r.at), r.text, r.doc)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

// where builds the condition of a query. Words are matched as written: the wildcards of LIKE are escaped.
func where(q Query) (string, []any) {
	cond, args := []string{"1 = 1"}, []any{}
	if q.Status != "" {
		cond, args = append(cond, "status = ?"), append(args, string(q.Status))
	}
	escape := strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`)
	for _, w := range strings.Fields(strings.ToLower(q.Text)) {
		cond, args = append(cond, "text LIKE ? ESCAPE '!'"), append(args, "%"+escape.Replace(w)+"%")
	}
	return strings.Join(cond, " AND "), args
}

func count(ctx context.Context, q store.Querier, query Query) (int64, error) {
	cond, args := where(query)
	var n int64
	if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM register_entries WHERE `+cond, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	return n, nil
}

// selectDocs returns entries, the latest first.
func selectDocs(ctx context.Context, q store.Querier, query Query, limit, offset int) ([]string, error) {
	cond, args := where(query)
	rows, err := q.Query(ctx, `SELECT doc FROM register_entries WHERE `+cond+` ORDER BY at DESC, id DESC LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var d string
		if err := rows.Scan(&d); err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

func totals(ctx context.Context, q store.Querier) (map[Status]int64, error) {
	rows, err := q.Query(ctx, `SELECT status, COUNT(*) FROM register_entries GROUP BY status`)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	defer rows.Close()
	out := map[Status]int64{}
	for rows.Next() {
		var s string
		var n int64
		if err := rows.Scan(&s, &n); err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
		out[Status(s)] = n
	}
	return out, rows.Err()
}
