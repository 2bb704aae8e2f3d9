package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

type order struct {
	ID, Workspace string
	Digest        contract.Digest
	Receipt       *contract.Receipt // final; nil while unfinished
}

func (s *Service) order(ctx context.Context, q store.Querier, id string) (*order, error) {
	o := &order{ID: id}
	var receipt string
	err := q.QueryRow(ctx, `SELECT digest, workspace, receipt FROM enclave_orders WHERE id = ?`, id).Scan(&o.Digest, &o.Workspace, &receipt)
	if err != nil {
		return nil, err
	}
	if receipt != "" {
		o.Receipt = &contract.Receipt{}
		if err := json.Unmarshal([]byte(receipt), o.Receipt); err != nil {
			return nil, fmt.Errorf("order %s: %w", id, err)
		}
	}
	return o, nil
}

func (s *Service) insertOrder(ctx context.Context, tx *store.Tx, id string, digest contract.Digest, workspace string) error {
	_, err := tx.Exec(ctx, `INSERT INTO enclave_orders (id, digest, workspace, receipt, taken_at) VALUES (?, ?, ?, '', ?)`,
		id, string(digest), workspace, store.Micros(s.Clock.Now()))
	return err
}

// finish stores the final receipt of an order and has it sent.
func (s *Service) finish(ctx context.Context, tx *store.Tx, r contract.Receipt) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE enclave_orders SET receipt = ? WHERE id = ?`, string(b), r.OrderID); err != nil {
		return err
	}
	return s.outbox(ctx, tx, r)
}

const workspaceColumns = `id, number, digest, signed, order_id, state, reason, handover, created_at, opened_at, closed_at`

func scanWorkspace(row interface{ Scan(...any) error }) (*Workspace, error) {
	w := &Workspace{}
	var signed, handover string
	var created, opened, closed int64
	if err := row.Scan(&w.ID, &w.Number, &w.Digest, &signed, &w.OrderID, &w.State, &w.Reason, &handover, &created, &opened, &closed); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(signed), &w.Signed); err != nil {
		return nil, fmt.Errorf("workspace %s: %w", w.ID, err)
	}
	if err := json.Unmarshal(w.Signed.Permit, &w.Permit); err != nil {
		return nil, fmt.Errorf("workspace %s: %w", w.ID, err)
	}
	if handover != "" {
		w.Handover = &contract.Handover{}
		if err := json.Unmarshal([]byte(handover), w.Handover); err != nil {
			return nil, fmt.Errorf("workspace %s: %w", w.ID, err)
		}
	}
	w.CreatedAt, w.OpenedAt, w.ClosedAt = store.FromMicros(created), store.FromMicros(opened), store.FromMicros(closed)
	return w, nil
}

func (s *Service) workspace(ctx context.Context, q store.Querier, id string) (*Workspace, error) {
	return scanWorkspace(q.QueryRow(ctx, `SELECT `+workspaceColumns+` FROM enclave_workspaces WHERE id = ?`, id))
}

func (s *Service) workspaces(ctx context.Context) ([]*Workspace, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+workspaceColumns+` FROM enclave_workspaces ORDER BY created_at DESC, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Workspace
	for rows.Next() {
		w, err := scanWorkspace(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

func (s *Service) insertWorkspace(ctx context.Context, tx *store.Tx, w *Workspace) error {
	signed, err := json.Marshal(w.Signed)
	if err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) + 1 FROM enclave_workspaces`).Scan(&w.Number); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO enclave_workspaces (id, number, permit_id, version, digest, signed, order_id, state, reason, handover, created_at, opened_at, closed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, 0, 0)`,
		w.ID, w.Number, w.Permit.ID, int64(w.Permit.Version), string(w.Digest), string(signed), w.OrderID, StateWaiting, store.Micros(s.Clock.Now()))
	return err
}

// renew puts a newer version of the permit under a workspace, which then waits for its data.
func (s *Service) renew(ctx context.Context, tx *store.Tx, w *Workspace) error {
	signed, err := json.Marshal(w.Signed)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE enclave_workspaces SET version = ?, digest = ?, signed = ?, order_id = ?, state = ?, reason = '', closed_at = 0 WHERE id = ?`,
		int64(w.Permit.Version), string(w.Digest), string(signed), w.OrderID, StateWaiting, w.ID)
	return err
}

func (s *Service) setOpen(ctx context.Context, tx *store.Tx, w *Workspace, h *contract.Handover, at time.Time) (bool, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, `UPDATE enclave_workspaces SET state = ?, handover = ?, opened_at = ? WHERE id = ? AND state = ? AND digest = ?`,
		StateOpen, string(b), store.Micros(at), w.ID, StateWaiting, string(w.Digest))
	return n == 1, err
}

func (s *Service) setClosed(ctx context.Context, tx *store.Tx, id, reason string, at time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE enclave_workspaces SET state = ?, reason = ?, closed_at = ? WHERE id = ? AND state <> ?`,
		StateClosed, reason, store.Micros(at), id, StateClosed)
	return n == 1, err
}

const jobColumns = `id, workspace, author, kind, title, code, state, reason, detail, exit_code, runs, cancel, outputs, refused, log_cut, created_at, started_at, finished_at`

func scanJob(row interface{ Scan(...any) error }) (*Job, error) {
	j := &Job{}
	var exit, runs, cancel, cut, created, started, finished int64
	var outputs, refused string
	if err := row.Scan(&j.ID, &j.Workspace, &j.Author, &j.Kind, &j.Title, &j.Code, &j.State, &j.Reason, &j.Detail, &exit, &runs, &cancel,
		&outputs, &refused, &cut, &created, &started, &finished); err != nil {
		return nil, err
	}
	j.ExitCode, j.runs, j.cancel, j.LogCut = int(exit), int(runs), cancel == 1, cut == 1
	if err := json.Unmarshal([]byte(outputs), &j.Outputs); err != nil {
		return nil, fmt.Errorf("job %s: %w", j.ID, err)
	}
	if err := json.Unmarshal([]byte(refused), &j.Refused); err != nil {
		return nil, fmt.Errorf("job %s: %w", j.ID, err)
	}
	j.CreatedAt, j.StartedAt, j.FinishedAt = store.FromMicros(created), store.FromMicros(started), store.FromMicros(finished)
	return j, nil
}

func (s *Service) job(ctx context.Context, q store.Querier, id string) (*Job, error) {
	return scanJob(q.QueryRow(ctx, `SELECT `+jobColumns+` FROM enclave_jobs WHERE id = ?`, id))
}

func (s *Service) jobsOf(ctx context.Context, workspace string) ([]*Job, error) {
	rows, err := s.DB.Query(ctx, `SELECT `+jobColumns+` FROM enclave_jobs WHERE workspace = ? ORDER BY created_at DESC, id LIMIT 200`, workspace)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Job
	for rows.Next() {
		j, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, rows.Err()
}

func (s *Service) insertJob(ctx context.Context, tx *store.Tx, j *Job) error {
	_, err := tx.Exec(ctx, `INSERT INTO enclave_jobs (id, workspace, author, kind, title, code, state, reason, detail, exit_code, runs, cancel, outputs, refused, log_cut, created_at, started_at, finished_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, '', '', 0, 0, 0, '[]', '[]', 0, ?, 0, 0)`,
		j.ID, j.Workspace, j.Author, j.Kind, j.Title, j.Code, JobQueued, store.Micros(j.CreatedAt))
	return err
}

func (s *Service) unfinished(ctx context.Context, tx *store.Tx, workspace string) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM enclave_jobs WHERE workspace = ? AND state IN (?, ?)`, workspace, JobQueued, JobRunning).Scan(&n)
	return n, err
}

// started marks a job as running, unless it is final or its author cancelled it meanwhile.
func (s *Service) started(ctx context.Context, tx *store.Tx, id string, at time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE enclave_jobs SET state = ?, runs = runs + 1, started_at = ? WHERE id = ? AND state IN (?, ?) AND cancel = 0`,
		JobRunning, store.Micros(at), id, JobQueued, JobRunning)
	return n == 1, err
}

func (s *Service) wantCancel(ctx context.Context, tx *store.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE enclave_jobs SET cancel = 1 WHERE id = ? AND state IN (?, ?)`, id, JobQueued, JobRunning)
	return n == 1, err
}

func (s *Service) finished(ctx context.Context, tx *store.Tx, j *Job) error {
	outputs, err := json.Marshal(j.Outputs)
	if err != nil {
		return err
	}
	refused, err := json.Marshal(j.Refused)
	if err != nil {
		return err
	}
	cut := 0
	if j.LogCut {
		cut = 1
	}
	_, err = tx.Exec(ctx, `UPDATE enclave_jobs SET state = ?, reason = ?, detail = ?, exit_code = ?, outputs = ?, refused = ?, log_cut = ?, finished_at = ? WHERE id = ?`,
		j.State, j.Reason, j.Detail, int64(j.ExitCode), string(outputs), string(refused), int64(cut), store.Micros(j.FinishedAt), j.ID)
	return err
}
