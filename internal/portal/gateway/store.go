package gateway

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

func migrate(ctx context.Context, db *store.DB) error {
	m, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "gateway", m)
}

// loadStream reads all events of one case, in order. An unknown stream is ErrUnknown.
func loadStream(ctx context.Context, q store.Querier, stream string) ([]Event, error) {
	rows, err := q.Query(ctx, `SELECT seq, kind, at, actor, role, data FROM gateway_events WHERE stream = ? ORDER BY seq`, stream)
	if err != nil {
		return nil, fmt.Errorf("load case: %w", err)
	}
	defer rows.Close()
	var out []Event
	for rows.Next() {
		e := Event{Stream: stream}
		var at int64
		var kind, data string
		if err := rows.Scan(&e.Seq, &kind, &at, &e.Actor, &e.Role, &data); err != nil {
			return nil, fmt.Errorf("load case: %w", err)
		}
		e.Kind, e.At = Kind(kind), store.FromMicros(at)
		if data != "" {
			e.Data = json.RawMessage(data)
		}
		if e.Seq != int64(len(out)+1) {
			return nil, fmt.Errorf("load case %s: event %d is missing", stream, len(out)+1)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("load case: %w", err)
	}
	if len(out) == 0 {
		return nil, ErrUnknown
	}
	return out, nil
}

// appendEvents adds events after number last. If somebody else added one first, it is a Conflict and
// nothing is written.
func appendEvents(ctx context.Context, tx *store.Tx, stream string, last int64, events []Event) error {
	for i := range events {
		e := &events[i]
		e.Stream, e.Seq = stream, last+int64(i)+1
		_, err := tx.Exec(ctx, `INSERT INTO gateway_events (stream, seq, kind, at, actor, role, data) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			e.Stream, e.Seq, string(e.Kind), store.Micros(e.At), e.Actor, e.Role, string(e.Data))
		if errors.Is(err, store.ErrConflict) {
			return &Conflict{Expected: last, Found: e.Seq}
		}
		if err != nil {
			return fmt.Errorf("append event: %w", err)
		}
	}
	return nil
}

// applicationStreams lists the streams of all applications.
func applicationStreams(ctx context.Context, q store.Querier) ([]string, error) {
	return textColumn(ctx, q, `SELECT stream FROM gateway_events WHERE seq = 1 AND kind = ? ORDER BY stream`, string(KindCreated))
}

// saveCase brings the index of cases up to date with a folded case.
func saveCase(ctx context.Context, tx *store.Tx, a *Application) error {
	due := int64(0)
	if c := a.OpenClock(); c != nil {
		due = store.Micros(c.Until)
	}
	_, err := tx.Exec(ctx, `INSERT INTO gateway_cases (stream, applicant, state, step, due, updated) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (stream) DO UPDATE SET state = excluded.state, step = excluded.step, due = excluded.due, updated = excluded.updated`,
		a.ID, a.Applicant, string(a.State), a.Step, due, store.Micros(a.Updated))
	if err != nil {
		return fmt.Errorf("index case: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM gateway_named WHERE stream = ?`, a.ID); err != nil {
		return fmt.Errorf("index case: %w", err)
	}
	names := map[string]bool{a.Applicant: true}
	for _, p := range or(a.Answers.Persons).Persons {
		names[p.Account] = true
	}
	for n := range names {
		if _, err := tx.Exec(ctx, `INSERT INTO gateway_named (account, stream) VALUES (?, ?)`, n, a.ID); err != nil {
			return fmt.Errorf("index case: %w", err)
		}
	}
	return nil
}

// casesNaming lists the cases of an account, latest change first.
func casesNaming(ctx context.Context, q store.Querier, account string, limit int) ([]string, error) {
	return textColumn(ctx, q, `SELECT c.stream FROM gateway_named n JOIN gateway_cases c ON c.stream = n.stream
		WHERE n.account = ? ORDER BY c.updated DESC, c.stream LIMIT ?`, account, limit)
}

// openCases lists submitted cases that are not decided or withdrawn: those with a date first, what runs
// out first on top.
func openCases(ctx context.Context, q store.Querier, limit int) ([]string, error) {
	return textColumn(ctx, q, `SELECT stream FROM gateway_cases WHERE state IN (?, ?, ?)
		ORDER BY CASE WHEN due = 0 THEN 1 ELSE 0 END, due, updated, stream LIMIT ?`,
		string(StatePreScreening), string(StateAwaiting), string(StateProcessing), limit)
}

func insertPermit(ctx context.Context, tx *store.Tx, stream string, p *contract.Permit) error {
	_, err := tx.Exec(ctx, `INSERT INTO gateway_permits (permit_id, stream, kind, valid_from, valid_until) VALUES (?, ?, ?, ?, ?)`,
		p.ID, stream, string(p.Kind), store.Micros(p.ValidFrom), store.Micros(p.ValidUntil))
	if err != nil {
		return fmt.Errorf("index permit: %w", err)
	}
	return nil
}

// permitStream finds the stream that a permit was signed in.
func permitStream(ctx context.Context, q store.Querier, id string) (string, error) {
	return textValue(ctx, q, `SELECT stream FROM gateway_permits WHERE permit_id = ?`, id)
}

// permitInForce finds the stream of the latest permit of a kind that is valid at now.
func permitInForce(ctx context.Context, q store.Querier, kind contract.PermitKind, now time.Time) (string, error) {
	us := store.Micros(now)
	return textValue(ctx, q, `SELECT stream FROM gateway_permits WHERE kind = ? AND valid_from <= ? AND valid_until > ?
		ORDER BY valid_from DESC, permit_id LIMIT 1`, string(kind), us, us)
}

// mandateStreams lists mandates, the youngest first.
func mandateStreams(ctx context.Context, q store.Querier, limit int) ([]string, error) {
	return textColumn(ctx, q, `SELECT stream FROM gateway_events WHERE seq = 1 AND kind = ? ORDER BY at DESC, stream LIMIT ?`, string(KindMandate), limit)
}

func insertOrder(ctx context.Context, tx *store.Tx, stream, order string) error {
	if _, err := tx.Exec(ctx, `INSERT INTO gateway_orders (order_id, stream) VALUES (?, ?)`, order, stream); err != nil {
		return fmt.Errorf("index order: %w", err)
	}
	return nil
}

// orderStream finds the case that an order belongs to.
func orderStream(ctx context.Context, q store.Querier, order string) (string, error) {
	return textValue(ctx, q, `SELECT stream FROM gateway_orders WHERE order_id = ?`, order)
}

// saveProgress keeps the latest receipt of an order.
func saveProgress(ctx context.Context, tx *store.Tx, stream string, r contract.Receipt) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO gateway_progress (order_id, stream, receipt) VALUES (?, ?, ?)
		ON CONFLICT (order_id) DO UPDATE SET receipt = excluded.receipt`, r.OrderID, stream, string(raw))
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	return nil
}

// loadProgress returns the latest receipt of each order of a case.
func loadProgress(ctx context.Context, q store.Querier, stream string) ([]contract.Receipt, error) {
	docs, err := textColumn(ctx, q, `SELECT receipt FROM gateway_progress WHERE stream = ? ORDER BY order_id`, stream)
	if err != nil {
		return nil, err
	}
	out := make([]contract.Receipt, len(docs))
	for i, d := range docs {
		if err := json.Unmarshal([]byte(d), &out[i]); err != nil {
			return nil, fmt.Errorf("progress: %w", err)
		}
	}
	return out, nil
}

// textColumn reads a query's single text column.
func textColumn(ctx context.Context, q store.Querier, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// textValue reads one text value; none is ErrUnknown.
func textValue(ctx context.Context, q store.Querier, query string, args ...any) (string, error) {
	var s string
	err := q.QueryRow(ctx, query, args...).Scan(&s)
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrUnknown
	}
	if err != nil {
		return "", fmt.Errorf("gateway: %w", err)
	}
	return s, nil
}
