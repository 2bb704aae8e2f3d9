package trust

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Status of a delivery.
const (
	statusReceiving = "receiving"
	statusLinking   = "linking"
	statusLinked    = "linked"
	statusRefused   = "refused"
)

type delivery struct {
	id, holder, dataset, status, reason string
	manifest                            string // contract.Delivery as it came; "" while receiving
	sheet                               string // file in sheets/
}

type part struct {
	name, digest string
	bytes        int64
}

// deliveryStore keeps deliveries, orders and tokens in trust's database.
type deliveryStore struct{ db *store.DB }

func newDeliveryStore(ctx context.Context, db *store.DB) (deliveryStore, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return deliveryStore{}, err
	}
	return deliveryStore{db}, db.Migrate(ctx, "trust", sub)
}

func (s deliveryStore) get(ctx context.Context, q store.Querier, id string) (d delivery, err error) {
	d.id = id
	err = q.QueryRow(ctx, "SELECT holder, dataset, status, reason, manifest, sheet FROM trust_deliveries WHERE id = ?", id).
		Scan(&d.holder, &d.dataset, &d.status, &d.reason, &d.manifest, &d.sheet)
	return d, err
}

// begin makes the delivery if it is not there yet.
func (s deliveryStore) begin(ctx context.Context, tx *store.Tx, id, holder string, at time.Time) error {
	us := store.Micros(at)
	_, err := tx.Exec(ctx, `INSERT INTO trust_deliveries (id, holder, dataset, status, reason, manifest, sheet, created_at, updated_at)
		VALUES (?, ?, '', ?, '', '', '', ?, ?) ON CONFLICT (id) DO NOTHING`, id, holder, statusReceiving, us, us)
	return err
}

func (s deliveryStore) update(ctx context.Context, tx *store.Tx, d delivery, at time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE trust_deliveries SET dataset = ?, status = ?, reason = ?, manifest = ?, sheet = ?, updated_at = ? WHERE id = ?",
		d.dataset, d.status, d.reason, d.manifest, d.sheet, store.Micros(at), d.id)
	return err
}

func (s deliveryStore) parts(ctx context.Context, q store.Querier, id string) ([]part, error) {
	rows, err := q.Query(ctx, "SELECT part, digest, bytes FROM trust_parts WHERE delivery = ? ORDER BY part", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []part
	for rows.Next() {
		var p part
		if err := rows.Scan(&p.name, &p.digest, &p.bytes); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func (s deliveryStore) addPart(ctx context.Context, tx *store.Tx, id string, p part) error {
	_, err := tx.Exec(ctx, "INSERT INTO trust_parts (delivery, part, digest, bytes) VALUES (?, ?, ?, ?)", id, p.name, p.digest, p.bytes)
	return err
}

// supersede takes the sheets of the dataset's former deliveries out of use and returns their files.
func (s deliveryStore) supersede(ctx context.Context, tx *store.Tx, d delivery) ([]string, error) {
	const where = " FROM trust_deliveries WHERE holder = ? AND dataset = ? AND id <> ? AND sheet <> ''"
	rows, err := tx.Query(ctx, "SELECT sheet"+where, d.holder, d.dataset, d.id)
	if err != nil {
		return nil, err
	}
	files, err := texts(rows)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	_, err = tx.Exec(ctx, "UPDATE trust_deliveries SET sheet = '' WHERE holder = ? AND dataset = ? AND id <> ? AND sheet <> ''", d.holder, d.dataset, d.id)
	return files, err
}

// inUse returns the sheet files that deliveries name and the deliveries whose parts are still needed.
func (s deliveryStore) inUse(ctx context.Context) (sheets, open map[string]bool, err error) {
	set := func(q string, args ...any) (map[string]bool, error) {
		rows, err := s.db.Query(ctx, q, args...)
		if err != nil {
			return nil, err
		}
		list, err := texts(rows)
		out := map[string]bool{}
		for _, t := range list {
			out[t] = true
		}
		return out, err
	}
	if sheets, err = set("SELECT sheet FROM trust_deliveries WHERE sheet <> ''"); err != nil {
		return nil, nil, err
	}
	open, err = set("SELECT id FROM trust_deliveries WHERE status IN (?, ?)", statusReceiving, statusLinking)
	return sheets, open, err
}

func texts(rows store.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// order returns the digest and receipt of an order that was taken before; found is false when it was not.
func (s deliveryStore) order(ctx context.Context, q store.Querier, id string) (digest, receipt string, found bool, err error) {
	err = q.QueryRow(ctx, "SELECT digest, receipt FROM trust_orders WHERE id = ?", id).Scan(&digest, &receipt)
	if errors.Is(err, store.ErrNotFound) {
		return "", "", false, nil
	}
	return digest, receipt, err == nil, err
}

func (s deliveryStore) finishOrder(ctx context.Context, tx *store.Tx, id, digest, receipt string, at time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO trust_orders (id, digest, receipt, at) VALUES (?, ?, ?, ?)", id, digest, receipt, store.Micros(at))
	return err
}

// useToken marks a token as used for a declaration and reports whether it was not used for another one before.
func (s deliveryStore) useToken(ctx context.Context, tx *store.Tx, digest, action, number string) (bool, error) {
	if _, err := tx.Exec(ctx, "INSERT INTO trust_tokens (digest, action, number) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING", digest, action, number); err != nil {
		return false, err
	}
	var usedAction, usedNumber string
	err := tx.QueryRow(ctx, "SELECT action, number FROM trust_tokens WHERE digest = ?", digest).Scan(&usedAction, &usedNumber)
	return usedAction == action && usedNumber == number, err
}

func (s deliveryStore) fact(ctx context.Context, name string) (value string, err error) {
	err = s.db.QueryRow(ctx, "SELECT value FROM trust_facts WHERE name = ?", name).Scan(&value)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return value, err
}

func (s deliveryStore) setFact(ctx context.Context, name, value string) error {
	if _, err := s.db.Exec(ctx, "INSERT INTO trust_facts (name, value) VALUES (?, ?)", name, value); err != nil {
		return fmt.Errorf("fact %s: %w", name, err)
	}
	return nil
}
