package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Record is where a dataset's description stands.
type Record struct {
	Holder, Dataset string
	Latest          int // newest version, possibly a draft
	Published       int // version that everybody sees; 0 when never published
	Withdrawn       bool
	Updated         time.Time
}

// State is the record's state in one word: "draft", "published", "changed" (published, with a newer
// draft) or "withdrawn".
func (r Record) State() string {
	switch {
	case r.Withdrawn:
		return "withdrawn"
	case r.Published == 0:
		return "draft"
	case r.Published < r.Latest:
		return "changed"
	}
	return "published"
}

// Visible reports whether everybody may see the dataset.
func (r Record) Visible() bool { return r.Published > 0 && !r.Withdrawn }

// Change is one entry of a dataset's history.
type Change struct {
	What    string // "saved", "published", "withdrawn"
	Version int
	Actor   string
	At      time.Time
}

const recordColumns = `holder, dataset, latest, published, withdrawn, updated`

func scanRecord(row store.Row) (Record, error) {
	var r Record
	var latest, published, withdrawn, updated int64
	if err := row.Scan(&r.Holder, &r.Dataset, &latest, &published, &withdrawn, &updated); err != nil {
		return r, err
	}
	r.Latest, r.Published, r.Withdrawn, r.Updated = int(latest), int(published), withdrawn == 1, store.FromMicros(updated)
	return r, nil
}

func selectRecord(ctx context.Context, q store.Querier, holder, dataset string) (Record, error) {
	r, err := scanRecord(q.QueryRow(ctx, `SELECT `+recordColumns+` FROM catalogue_datasets WHERE holder = ? AND dataset = ?`, holder, dataset))
	if errors.Is(err, store.ErrNotFound) {
		return r, ErrUnknown
	}
	return r, err
}

// selectRecords lists the records of a holder, or of all holders when holder is "".
func selectRecords(ctx context.Context, q store.Querier, holder string) ([]Record, error) {
	rows, err := q.Query(ctx, `SELECT `+recordColumns+` FROM catalogue_datasets WHERE holder = ? OR ? = '' ORDER BY holder, dataset`, holder, holder)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	defer rows.Close()
	var list []Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, fmt.Errorf("records: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// insertVersion adds version base+1. store.ErrConflict means that somebody else did.
func insertVersion(ctx context.Context, tx *store.Tx, d *Description, base int, author string, now time.Time) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	at := store.Micros(now)
	var n int64
	if base == 0 {
		n, err = tx.Exec(ctx, `INSERT INTO catalogue_datasets (holder, dataset, latest, updated) VALUES (?, ?, 1, ?) ON CONFLICT (holder, dataset) DO NOTHING`,
			d.Holder, d.Dataset, at)
	} else {
		n, err = tx.Exec(ctx, `UPDATE catalogue_datasets SET latest = latest + 1, updated = ? WHERE holder = ? AND dataset = ? AND latest = ?`,
			at, d.Holder, d.Dataset, int64(base))
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrConflict
	}
	if _, err := tx.Exec(ctx, `INSERT INTO catalogue_versions (holder, dataset, version, author, at, document) VALUES (?, ?, ?, ?, ?, ?)`,
		d.Holder, d.Dataset, int64(base+1), author, at, string(doc)); err != nil {
		return err
	}
	return insertChange(ctx, tx, d.Holder, d.Dataset, Change{What: "saved", Version: base + 1, Actor: author, At: now})
}

func insertChange(ctx context.Context, tx *store.Tx, holder, dataset string, c Change) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalogue_changes (holder, dataset, number, what, version, actor, at)
		SELECT ?, ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ? FROM catalogue_changes WHERE holder = ? AND dataset = ?`,
		holder, dataset, c.What, int64(c.Version), c.Actor, store.Micros(c.At), holder, dataset)
	return err
}

func selectChanges(ctx context.Context, q store.Querier, holder, dataset string) ([]Change, error) {
	rows, err := q.Query(ctx, `SELECT what, version, actor, at FROM catalogue_changes WHERE holder = ? AND dataset = ? ORDER BY number DESC`, holder, dataset)
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	defer rows.Close()
	var list []Change
	for rows.Next() {
		var c Change
		var version, at int64
		if err := rows.Scan(&c.What, &version, &c.Actor, &at); err != nil {
			return nil, fmt.Errorf("changes: %w", err)
		}
		c.Version, c.At = int(version), store.FromMicros(at)
		list = append(list, c)
	}
	return list, rows.Err()
}

func selectVersion(ctx context.Context, q store.Querier, holder, dataset string, version int) (*Description, error) {
	var doc string
	err := q.QueryRow(ctx, `SELECT document FROM catalogue_versions WHERE holder = ? AND dataset = ? AND version = ?`,
		holder, dataset, int64(version)).Scan(&doc)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	var d Description
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return nil, fmt.Errorf("version %d of %s/%s: %w", version, holder, dataset, err)
	}
	return &d, nil
}

func setPublished(ctx context.Context, tx *store.Tx, holder, dataset string, version int, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE catalogue_datasets SET published = ?, withdrawn = 0, updated = ? WHERE holder = ? AND dataset = ?`,
		int64(version), store.Micros(now), holder, dataset)
	return err
}

func setWithdrawn(ctx context.Context, tx *store.Tx, holder, dataset string, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE catalogue_datasets SET withdrawn = 1, updated = ? WHERE holder = ? AND dataset = ?`,
		store.Micros(now), holder, dataset)
	return err
}

func insertDelivery(ctx context.Context, tx *store.Tx, n contract.DeliveryNotice, at time.Time) error {
	doc, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO catalogue_deliveries (holder, dataset, delivery, at, document) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (holder, dataset, delivery) DO NOTHING`, n.Holder, n.Dataset, n.Delivery, store.Micros(at), string(doc))
	return err
}

// Delivered is what is known of the newest delivery of a dataset.
type Delivered struct {
	contract.DeliveryNotice
	At time.Time
}

func selectDelivery(ctx context.Context, q store.Querier, holder, dataset string) (*Delivered, error) {
	var doc string
	var at int64
	err := q.QueryRow(ctx, `SELECT document, at FROM catalogue_deliveries WHERE holder = ? AND dataset = ? ORDER BY at DESC, delivery DESC LIMIT 1`,
		holder, dataset).Scan(&doc, &at)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delivery: %w", err)
	}
	d := &Delivered{At: store.FromMicros(at)}
	return d, json.Unmarshal([]byte(doc), &d.DeliveryNotice)
}

// selectDeliveries returns the newest delivery of each dataset by its identifier.
func selectDeliveries(ctx context.Context, q store.Querier) (map[string]*Delivered, error) {
	rows, err := q.Query(ctx, `SELECT d.holder, d.dataset, d.at, d.document FROM catalogue_deliveries d
		WHERE d.at = (SELECT MAX(e.at) FROM catalogue_deliveries e WHERE e.holder = d.holder AND e.dataset = d.dataset) ORDER BY d.delivery`)
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	defer rows.Close()
	all := map[string]*Delivered{}
	for rows.Next() {
		var holder, dataset, doc string
		var at int64
		if err := rows.Scan(&holder, &dataset, &at, &doc); err != nil {
			return nil, fmt.Errorf("deliveries: %w", err)
		}
		d := &Delivered{At: store.FromMicros(at)}
		if err := json.Unmarshal([]byte(doc), &d.DeliveryNotice); err != nil {
			return nil, fmt.Errorf("deliveries: %w", err)
		}
		all[holder+"/"+dataset] = d
	}
	return all, rows.Err()
}

// Code is one entry of a code list.
type Code struct {
	Code  string `json:"code"`
	Label string `json:"label,omitempty"`
}

// CodeList is a list of values with their meaning.
type CodeList struct {
	Name  string `json:"name"`
	Codes []Code `json:"codes"`
}

// upsertCodeList reports whether the list is new or changed.
func upsertCodeList(ctx context.Context, tx *store.Tx, l CodeList) (bool, error) {
	doc, err := json.Marshal(l.Codes)
	if err != nil {
		return false, err
	}
	digest := string(contract.DigestOf(doc))
	n, err := tx.Exec(ctx, `INSERT INTO catalogue_code_lists (name, codes, digest, document) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET codes = excluded.codes, digest = excluded.digest, document = excluded.document
		WHERE catalogue_code_lists.digest <> excluded.digest`, l.Name, int64(len(l.Codes)), digest, string(doc))
	return n == 1, err
}

func selectCodeList(ctx context.Context, q store.Querier, name string) (*CodeList, error) {
	var doc string
	err := q.QueryRow(ctx, `SELECT document FROM catalogue_code_lists WHERE name = ?`, name).Scan(&doc)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("code list: %w", err)
	}
	l := &CodeList{Name: name}
	return l, json.Unmarshal([]byte(doc), &l.Codes)
}

func selectCodeListSizes(ctx context.Context, q store.Querier) (map[string]int, error) {
	rows, err := q.Query(ctx, `SELECT name, codes FROM catalogue_code_lists`)
	if err != nil {
		return nil, fmt.Errorf("code lists: %w", err)
	}
	defer rows.Close()
	sizes := map[string]int{}
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, fmt.Errorf("code lists: %w", err)
		}
		sizes[name] = int(n)
	}
	return sizes, rows.Err()
}

func addToBasket(ctx context.Context, q store.Querier, account, holder, dataset string, now time.Time) error {
	_, err := q.Exec(ctx, `INSERT INTO catalogue_baskets (account, holder, dataset, at) VALUES (?, ?, ?, ?) ON CONFLICT (account, holder, dataset) DO NOTHING`,
		account, holder, dataset, store.Micros(now))
	return err
}

func removeFromBasket(ctx context.Context, q store.Querier, account, holder, dataset string) error {
	_, err := q.Exec(ctx, `DELETE FROM catalogue_baskets WHERE account = ? AND holder = ? AND dataset = ?`, account, holder, dataset)
	return err
}

func selectBasket(ctx context.Context, q store.Querier, account string) ([][2]string, error) {
	rows, err := q.Query(ctx, `SELECT holder, dataset FROM catalogue_baskets WHERE account = ? ORDER BY at, holder, dataset`, account)
	if err != nil {
		return nil, fmt.Errorf("basket: %w", err)
	}
	defer rows.Close()
	var list [][2]string
	for rows.Next() {
		var p [2]string
		if err := rows.Scan(&p[0], &p[1]); err != nil {
			return nil, fmt.Errorf("basket: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
