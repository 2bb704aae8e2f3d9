package objection

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(err) // embedded above
	}
	return sub
}

// statement is one declaration of a citizen, as the portal may know it.
type statement struct {
	OrderID    string
	Number     string
	Account    string
	Action     string // actionObject or actionWithdraw
	FiledAt    time.Time
	Outcome    string // "" while trust has not answered
	AnsweredAt time.Time
}

func insertStatement(ctx context.Context, tx *store.Tx, s statement) error {
	_, err := tx.Exec(ctx, `INSERT INTO objection_statements (order_id, number, account, action, filed_at) VALUES (?, ?, ?, ?, ?)`,
		s.OrderID, s.Number, s.Account, s.Action, store.Micros(s.FiledAt))
	if err != nil {
		return fmt.Errorf("objection: %w", err)
	}
	return nil
}

// setOutcome writes trust's answer once; it reports whether the order is one of this room's.
func setOutcome(ctx context.Context, tx *store.Tx, orderID, outcome string, at time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE objection_statements SET outcome = ?, answered_at = ? WHERE order_id = ?`, outcome, store.Micros(at), orderID)
	return n > 0, err
}

// selectStatements lists the statements of an account, oldest first.
func selectStatements(ctx context.Context, q store.Querier, account string) ([]statement, error) {
	return scan(q.Query(ctx, `SELECT order_id, number, account, action, filed_at, outcome, answered_at FROM objection_statements
		WHERE account = ? ORDER BY filed_at, action`, account))
}

func selectNumber(ctx context.Context, q store.Querier, number string) ([]statement, error) {
	return scan(q.Query(ctx, `SELECT order_id, number, account, action, filed_at, outcome, answered_at FROM objection_statements
		WHERE number = ? ORDER BY filed_at, action`, number))
}

func scan(rows store.Rows, err error) ([]statement, error) {
	if err != nil {
		return nil, fmt.Errorf("objections: %w", err)
	}
	defer rows.Close()
	var list []statement
	for rows.Next() {
		var s statement
		var filed, answered int64
		if err := rows.Scan(&s.OrderID, &s.Number, &s.Account, &s.Action, &filed, &s.Outcome, &answered); err != nil {
			return nil, fmt.Errorf("objections: %w", err)
		}
		s.FiledAt, s.AnsweredAt = store.FromMicros(filed), store.FromMicros(answered)
		list = append(list, s)
	}
	return list, rows.Err()
}
