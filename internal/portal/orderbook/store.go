package orderbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

func insertOrder(ctx context.Context, tx *store.Tx, o contract.Order, doc string) error {
	var old string
	err := tx.QueryRow(ctx, `SELECT document FROM orderbook_orders WHERE id = ?`, o.ID).Scan(&old)
	switch {
	case err == nil && old == doc:
		return nil
	case err == nil:
		return fmt.Errorf("%w: order %s is there with other content", store.ErrConflict, o.ID)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	// The counter row serialises writers of one zone, so a reader never sees number n+1 before n.
	var seq int64
	err = tx.QueryRow(ctx, `INSERT INTO orderbook_queues (zone, last) VALUES (?, 1)
		ON CONFLICT (zone) DO UPDATE SET last = orderbook_queues.last + 1 RETURNING last`, o.Zone).Scan(&seq)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO orderbook_orders (id, zone, seq, kind, document) VALUES (?, ?, ?, ?, ?)`,
		o.ID, o.Zone, seq, string(o.Kind), doc)
	return err
}

func selectOrder(ctx context.Context, q store.Querier, id string) (o contract.Order, finished bool, err error) {
	var doc string
	var done int64
	err = q.QueryRow(ctx, `SELECT document, finished FROM orderbook_orders WHERE id = ?`, id).Scan(&doc, &done)
	if errors.Is(err, store.ErrNotFound) {
		return o, false, ErrUnknownOrder
	}
	if err != nil {
		return o, false, fmt.Errorf("order: %w", err)
	}
	if err := json.Unmarshal([]byte(doc), &o); err != nil {
		return o, false, fmt.Errorf("order %s: %w", id, err)
	}
	return o, done == 1, nil
}

func selectOpenOrders(ctx context.Context, q store.Querier, zone string, after int64, limit int) ([]contract.NumberedOrder, error) {
	rows, err := q.Query(ctx, `SELECT seq, document FROM orderbook_orders
		WHERE zone = ? AND finished = 0 AND seq > ? ORDER BY seq LIMIT ?`, zone, after, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	defer rows.Close()
	var list []contract.NumberedOrder
	for rows.Next() {
		var n contract.NumberedOrder
		var doc string
		if err := rows.Scan(&n.Seq, &doc); err != nil {
			return nil, fmt.Errorf("orders: %w", err)
		}
		if err := json.Unmarshal([]byte(doc), &n.Order); err != nil {
			return nil, fmt.Errorf("order %d of %s: %w", n.Seq, zone, err)
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// insertReceipt reports whether the receipt is news.
func insertReceipt(ctx context.Context, tx *store.Tx, r contract.Receipt, doc string) (bool, error) {
	at := store.Micros(r.At)
	if !r.Status.Final() {
		var newer int64
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM orderbook_receipts WHERE order_id = ? AND at > ?`, r.OrderID, at).Scan(&newer)
		if err != nil || newer > 0 {
			return false, err
		}
	}
	n, err := tx.Exec(ctx, `INSERT INTO orderbook_receipts (zone, id, order_id, status, at, document) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (zone, id) DO NOTHING`, r.Zone, r.ID, r.OrderID, string(r.Status), at, doc)
	if err != nil || n == 0 {
		return false, err
	}
	// Of progress only the latest is of interest, and nothing once the order is finished.
	if r.Status == contract.ReceiptProgress || r.Status.Final() {
		if _, err := tx.Exec(ctx, `DELETE FROM orderbook_receipts WHERE order_id = ? AND status = ? AND id <> ?`,
			r.OrderID, string(contract.ReceiptProgress), r.ID); err != nil {
			return false, err
		}
	}
	if r.Status.Final() {
		if _, err := tx.Exec(ctx, `UPDATE orderbook_orders SET finished = 1 WHERE id = ?`, r.OrderID); err != nil {
			return false, err
		}
	}
	return true, nil
}

func selectReceipts(ctx context.Context, q store.Querier, orderID string) ([]contract.Receipt, error) {
	rows, err := q.Query(ctx, `SELECT document FROM orderbook_receipts WHERE order_id = ? ORDER BY at, id`, orderID)
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	defer rows.Close()
	var list []contract.Receipt
	for rows.Next() {
		var doc string
		var r contract.Receipt
		if err := rows.Scan(&doc); err != nil {
			return nil, fmt.Errorf("receipts: %w", err)
		}
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return nil, fmt.Errorf("receipts: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// insertNotice reports whether the notice is news.
func insertNotice(ctx context.Context, tx *store.Tx, n contract.Notice, doc string) (bool, error) {
	added, err := tx.Exec(ctx, `INSERT INTO orderbook_notices (zone, id, kind, at, document) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (zone, id) DO NOTHING`, n.Zone, n.ID, n.Kind, store.Micros(n.At), doc)
	return added == 1, err
}

// ZoneCheckpoint is the signed head of a zone's ledger as the portal publishes it.
type ZoneCheckpoint struct {
	Zone        string
	Size        int64  // entries in the ledger
	Root        string // base64 of the tree's root
	VerifierKey string
	Checkpoint  string // C2SP signed note
	At          time.Time
}

func latestCheckpoint(ctx context.Context, q store.Querier, zone string) (ZoneCheckpoint, error) {
	c := ZoneCheckpoint{Zone: zone}
	var at int64
	err := q.QueryRow(ctx, `SELECT size, root, verifier_key, checkpoint, at FROM orderbook_checkpoints
		WHERE zone = ? ORDER BY size DESC LIMIT 1`, zone).Scan(&c.Size, &c.Root, &c.VerifierKey, &c.Checkpoint, &at)
	c.At = store.FromMicros(at)
	return c, err
}

func insertCheckpoint(ctx context.Context, tx *store.Tx, c ZoneCheckpoint) error {
	_, err := tx.Exec(ctx, `INSERT INTO orderbook_checkpoints (zone, size, root, verifier_key, checkpoint, at) VALUES (?, ?, ?, ?, ?, ?)`,
		c.Zone, c.Size, c.Root, c.VerifierKey, c.Checkpoint, store.Micros(c.At))
	return err
}

func insertExport(ctx context.Context, tx *store.Tx, e contract.Export, closedAt time.Time, doc string) error {
	_, err := tx.Exec(ctx, `INSERT INTO orderbook_exports (id, permit_id, closed_at, document) VALUES (?, ?, ?, ?)`,
		e.ID, e.PermitID, store.Micros(closedAt), doc)
	return err
}

func selectExport(ctx context.Context, q store.Querier, id string) (e contract.Export, doc string, err error) {
	if err = q.QueryRow(ctx, `SELECT document FROM orderbook_exports WHERE id = ?`, id).Scan(&doc); err != nil {
		return e, "", err
	}
	return e, doc, json.Unmarshal([]byte(doc), &e)
}

func selectExportsOf(ctx context.Context, q store.Querier, permitID string) ([]contract.Export, error) {
	rows, err := q.Query(ctx, `SELECT document FROM orderbook_exports WHERE permit_id = ? ORDER BY closed_at, id`, permitID)
	if err != nil {
		return nil, fmt.Errorf("exports: %w", err)
	}
	defer rows.Close()
	var list []contract.Export
	for rows.Next() {
		var doc string
		var e contract.Export
		if err := rows.Scan(&doc); err != nil {
			return nil, fmt.Errorf("exports: %w", err)
		}
		if err := json.Unmarshal([]byte(doc), &e); err != nil {
			return nil, fmt.Errorf("exports: %w", err)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
