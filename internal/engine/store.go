package engine

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
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, "engine", files)
}

// States of a delivery (docs/protocols.md).
const (
	statusReceiving = "receiving"
	statusJoining   = "joining"
	statusPublished = "published"
	statusRefused   = "refused"
)

type delivery struct {
	id, holder, status, reason string
	manifest                   string // canonical; "" while receiving
}

type part struct {
	table, name, digest string
	bytes               int64
}

// beginDelivery notes a delivery for the first holder that uses its id.
func beginDelivery(ctx context.Context, tx *store.Tx, id, holder string, now time.Time) error {
	at := store.Micros(now)
	_, err := tx.Exec(ctx, `INSERT INTO engine_deliveries (id, holder, status, reason, manifest, created_at, changed_at)
		VALUES (?, ?, ?, '', '', ?, ?) ON CONFLICT (id) DO NOTHING`, id, holder, statusReceiving, at, at)
	return err
}

// getDelivery returns store.ErrNotFound when nobody has begun it.
func getDelivery(ctx context.Context, q store.Querier, id string) (delivery, error) {
	d := delivery{id: id}
	err := q.QueryRow(ctx, `SELECT holder, status, reason, manifest FROM engine_deliveries WHERE id = ?`, id).Scan(&d.holder, &d.status, &d.reason, &d.manifest)
	return d, err
}

func updateDelivery(ctx context.Context, q store.Querier, d delivery, now time.Time) error {
	_, err := q.Exec(ctx, `UPDATE engine_deliveries SET status = ?, reason = ?, manifest = ?, changed_at = ? WHERE id = ?`,
		d.status, d.reason, d.manifest, store.Micros(now), d.id)
	return err
}

// settledDeliveries lists the ids of deliveries whose parts are of no more use.
func settledDeliveries(ctx context.Context, q store.Querier) (map[string]bool, error) {
	rows, err := q.Query(ctx, `SELECT id FROM engine_deliveries WHERE status = ? OR status = ?`, statusPublished, statusRefused)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

func listParts(ctx context.Context, q store.Querier, id string) ([]part, error) {
	rows, err := q.Query(ctx, `SELECT table_name, name, digest, bytes FROM engine_parts WHERE delivery = ? ORDER BY table_name, name`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []part
	for rows.Next() {
		var p part
		if err := rows.Scan(&p.table, &p.name, &p.digest, &p.bytes); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// getPart returns store.ErrNotFound when the part has not arrived.
func getPart(ctx context.Context, q store.Querier, id, table, name string) (part, error) {
	p := part{table: table, name: name}
	err := q.QueryRow(ctx, `SELECT digest, bytes FROM engine_parts WHERE delivery = ? AND table_name = ? AND name = ?`, id, table, name).Scan(&p.digest, &p.bytes)
	return p, err
}

func addPart(ctx context.Context, tx *store.Tx, id string, p part) error {
	_, err := tx.Exec(ctx, `INSERT INTO engine_parts (delivery, table_name, name, digest, bytes) VALUES (?, ?, ?, ?, ?)`, id, p.table, p.name, p.digest, p.bytes)
	return err
}

// order is one order as engine remembers it.
type order struct {
	id       string
	kind     contract.OrderKind
	digest   contract.Digest
	document contract.Order
	pointers map[string]string // the lake's snapshot that the run sees; nil before it began
	attempts int64
	receipt  *contract.Receipt // the final one; nil while unfinished
}

// getOrder returns store.ErrNotFound for an order that was never taken.
func getOrder(ctx context.Context, q store.Querier, id string) (order, error) {
	o := order{id: id}
	var kind, digest, document, pointers, receipt string
	err := q.QueryRow(ctx, `SELECT kind, digest, document, pointers, attempts, receipt FROM engine_orders WHERE id = ?`, id).
		Scan(&kind, &digest, &document, &pointers, &o.attempts, &receipt)
	if err != nil {
		return o, err
	}
	o.kind, o.digest = contract.OrderKind(kind), contract.Digest(digest)
	return o, errors.Join(decode(document, &o.document), decode(pointers, &o.pointers), decode(receipt, &o.receipt))
}

func decode(text string, into any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("engine state: %w", err)
	}
	return nil
}

func insertOrder(ctx context.Context, tx *store.Tx, o order, now time.Time) error {
	document, err := json.Marshal(o.document)
	if err != nil {
		return err
	}
	receipt, finished := "", int64(0)
	if o.receipt != nil {
		b, err := json.Marshal(o.receipt)
		if err != nil {
			return err
		}
		receipt, finished = string(b), store.Micros(now)
	}
	_, err = tx.Exec(ctx, `INSERT INTO engine_orders (id, kind, digest, document, pointers, attempts, receipt, created_at, finished_at)
		VALUES (?, ?, ?, ?, '', 0, ?, ?, ?)`, o.id, string(o.kind), string(o.digest), string(document), receipt, store.Micros(now), finished)
	return err
}

// beginAttempt counts an attempt and keeps the snapshot that the first one saw.
func beginAttempt(ctx context.Context, q store.Querier, id string, pointers map[string]string) error {
	b, err := json.Marshal(pointers)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, `UPDATE engine_orders SET attempts = attempts + 1, pointers = ? WHERE id = ?`, string(b), id)
	return err
}

func finishOrder(ctx context.Context, tx *store.Tx, id string, r contract.Receipt, now time.Time) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE engine_orders SET receipt = ?, finished_at = ? WHERE id = ? AND receipt = ''`, string(b), store.Micros(now), id)
	return err
}

// pinned lists the deliveries ("holder/dataset delivery") that unfinished runs see.
func pinned(ctx context.Context, q store.Querier) (map[string]bool, error) {
	rows, err := q.Query(ctx, `SELECT pointers FROM engine_orders WHERE receipt = '' AND pointers <> ''`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]bool{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var pointers map[string]string
		if err := decode(text, &pointers); err != nil {
			return nil, err
		}
		for dataset, id := range pointers {
			out[dataset+" "+id] = true
		}
	}
	return out, rows.Err()
}

// claimPermit notes that an order provisions a permit's version, and returns the order that does: another
// one when somebody was first.
func claimPermit(ctx context.Context, tx *store.Tx, p *contract.Permit, orderID string) (owner string, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO engine_provisions (permit, version, order_id) VALUES (?, ?, ?) ON CONFLICT (permit, version) DO NOTHING`,
		p.ID, int64(p.Version), orderID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `SELECT order_id FROM engine_provisions WHERE permit = ? AND version = ?`, p.ID, int64(p.Version)).Scan(&owner)
	return owner, err
}

// releasePermit lets another order provision the version, after one that could not be done.
func releasePermit(ctx context.Context, tx *store.Tx, orderID string) error {
	_, err := tx.Exec(ctx, `DELETE FROM engine_provisions WHERE order_id = ?`, orderID)
	return err
}

// askedToday counts one more question of an asker and returns how many there are on that day.
func askedToday(ctx context.Context, tx *store.Tx, asker, day string) (n int64, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO engine_questions (asker, day, asked) VALUES (?, ?, 1)
		ON CONFLICT (asker, day) DO UPDATE SET asked = engine_questions.asked + 1`, asker, day); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT asked FROM engine_questions WHERE asker = ? AND day = ?`, asker, day).Scan(&n)
	return n, err
}
