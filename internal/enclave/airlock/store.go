package airlock

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mitral-health/mitral/internal/kit/store"
)

func (s *Service) insert(ctx context.Context, tx *store.Tx, e *Export) error {
	_, err := tx.Exec(ctx, `INSERT INTO enclave_exports (id, workspace, job, author, created_at) VALUES (?, ?, ?, ?, ?)`,
		e.ID, e.Workspace, e.Job, e.Author, store.Micros(e.CreatedAt))
	return err
}

// appendEvent stores the event that was just applied to e. Somebody who was faster makes it store.ErrConflict.
func (s *Service) appendEvent(ctx context.Context, tx *store.Tx, e *Export) error {
	n := len(e.Events) - 1
	b, err := json.Marshal(e.Events[n])
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO enclave_export_events (export, n, body) VALUES (?, ?, ?)`, e.ID, int64(n), string(b))
	return err
}

func (s *Service) load(ctx context.Context, q store.Querier, id string) (*Export, error) {
	e := &Export{ID: id}
	var created int64
	err := q.QueryRow(ctx, `SELECT workspace, job, author, created_at FROM enclave_exports WHERE id = ?`, id).Scan(&e.Workspace, &e.Job, &e.Author, &created)
	if err != nil {
		return nil, err
	}
	e.CreatedAt = store.FromMicros(created)
	rows, err := q.Query(ctx, `SELECT body FROM enclave_export_events WHERE export = ? ORDER BY n`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var ev Event
		if err := json.Unmarshal([]byte(body), &ev); err != nil {
			return nil, fmt.Errorf("export %s: %w", id, err)
		}
		events = append(events, ev)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return fold(e, events)
}

// ids lists exports, oldest first; of one workspace, or of all when workspace is "".
func (s *Service) ids(ctx context.Context, workspace string) ([]string, error) {
	rows, err := s.DB.Query(ctx, `SELECT id FROM enclave_exports WHERE ? = '' OR workspace = ? ORDER BY created_at, id`, workspace, workspace)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
