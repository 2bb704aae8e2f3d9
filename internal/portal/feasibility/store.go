package feasibility

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mitral-health/mitral/internal/kit/store"
)

func insertQuestion(ctx context.Context, tx *store.Tx, account string, a *Asked) error {
	q, err := json.Marshal(a.Question)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO feasibility_questions (id, account, asked_at, question, status) VALUES (?, ?, ?, ?, ?)`,
		a.ID, account, store.Micros(a.AskedAt), string(q), string(a.Status))
	return err
}

// finishQuestion does nothing when the order was not a question.
func finishQuestion(ctx context.Context, tx *store.Tx, id string, status Status, code, answer string) error {
	_, err := tx.Exec(ctx, `UPDATE feasibility_questions SET status = ?, code = ?, answer = ? WHERE id = ? AND status = ?`,
		string(status), code, answer, id, string(Waiting))
	return err
}

const questionColumns = `id, asked_at, question, status, code, answer`

func scanQuestion(row store.Row) (*Asked, error) {
	var a Asked
	var at int64
	var question, status, answer string
	if err := row.Scan(&a.ID, &at, &question, &status, &a.Code, &answer); err != nil {
		return nil, err
	}
	a.AskedAt, a.Status = store.FromMicros(at), Status(status)
	if err := json.Unmarshal([]byte(question), &a.Question); err != nil {
		return nil, fmt.Errorf("question %s: %w", a.ID, err)
	}
	if answer != "" {
		if err := json.Unmarshal([]byte(answer), &a.Answer); err != nil {
			return nil, fmt.Errorf("answer to %s: %w", a.ID, err)
		}
	}
	return &a, nil
}

func selectQuestion(ctx context.Context, q store.Querier, account, id string) (*Asked, error) {
	a, err := scanQuestion(q.QueryRow(ctx, `SELECT `+questionColumns+` FROM feasibility_questions WHERE account = ? AND id = ?`, account, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknown
	}
	return a, err
}

func selectQuestions(ctx context.Context, q store.Querier, account string, limit int) ([]Asked, error) {
	rows, err := q.Query(ctx, `SELECT `+questionColumns+` FROM feasibility_questions WHERE account = ? ORDER BY asked_at DESC, id LIMIT ?`, account, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("questions: %w", err)
	}
	defer rows.Close()
	var list []Asked
	for rows.Next() {
		a, err := scanQuestion(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, *a)
	}
	return list, rows.Err()
}
