package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// deliveryPayload is the payload of the jobs of a delivery.
type deliveryPayload struct {
	Delivery string `json:"delivery"`
}

// sheetJob waits for trust to link a delivery and brings its sealed ticket sheet.
func (m *Main) sheetJob(ctx context.Context, raw json.RawMessage) error {
	d, err := m.unsettled(ctx, raw)
	if err != nil || d == nil {
		return err
	}
	if err := os.MkdirAll(m.cfg.incoming(d.id), 0o700); err != nil { // a delivery may have no parts at all
		return m.wait(ctx, *d, err)
	}
	pause := 50 * time.Millisecond
	for {
		err := m.fetchSheet(ctx, d.id, m.cfg.sheet(d.id))
		var refusal *contract.Refusal
		switch {
		case err == nil:
			return m.db.InTx(ctx, func(tx *store.Tx) error { return m.jobs.Insert(ctx, tx, jobJoin, d.id, deliveryPayload{d.id}) })
		case errors.As(err, &refusal):
			return m.refuseDelivery(ctx, *d, refusal)
		case !errors.Is(err, errNotReady):
			return m.wait(ctx, *d, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// joinJob publishes a delivery whose sheet is here.
func (m *Main) joinJob(ctx context.Context, raw json.RawMessage) error {
	d, err := m.unsettled(ctx, raw)
	if err != nil || d == nil {
		return err
	}
	manifest, published, err := m.join(ctx, *d)
	var refusal *contract.Refusal
	switch {
	case errors.As(err, &refusal):
		return m.refuseDelivery(ctx, *d, refusal)
	case err != nil:
		return m.wait(ctx, *d, err)
	}
	d.status, d.reason = statusPublished, ""
	notice, err := m.deliveryNotice(manifest, published)
	if err != nil {
		return err
	}
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		now := m.clock.Now()
		if err := updateDelivery(ctx, tx, *d, now); err != nil {
			return err
		}
		if m.book != nil {
			if err := m.jobs.Insert(ctx, tx, jobNotice, notice.ID, notice); err != nil {
				return err
			}
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{Actor: "zone/engine", Action: "delivery.published", Target: d.id, Outcome: "done", At: now,
			Details: map[string]any{"dataset": published.Holder + "/" + published.Dataset, "rows": totalRows(published)}})
	})
	if err != nil {
		return err
	}
	// From here on a crash only leaves files that the next start, or the next delivery, removes.
	if err := os.RemoveAll(m.cfg.incoming(d.id)); err != nil {
		m.log.Warn("parts of a published delivery stay", "delivery", d.id, "err", err)
	}
	if err := m.collect(ctx); err != nil {
		m.log.Warn("former deliveries stay", "err", err)
	}
	return nil
}

// unsettled returns the job's delivery, or nil when it has been published or refused already.
func (m *Main) unsettled(ctx context.Context, raw json.RawMessage) (*delivery, error) {
	var p deliveryPayload
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	d, err := getDelivery(ctx, m.db, p.Delivery)
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", p.Delivery, err)
	}
	if d.status != statusJoining {
		return nil, nil
	}
	return &d, nil
}

func (m *Main) join(ctx context.Context, d delivery) (*contract.Delivery, *lake.Manifest, error) {
	var manifest contract.Delivery
	if err := json.Unmarshal([]byte(d.manifest), &manifest); err != nil {
		return nil, nil, fmt.Errorf("manifest: %w", err)
	}
	plain, err := openSheet(m.cfg.sheet(d.id), m.identity)
	if err != nil {
		return nil, nil, err
	}
	sheet, err := lake.ParseSheet(plain, d.id)
	if err != nil {
		return nil, nil, err
	}
	published, err := m.lake.Publish(ctx, manifest, m.cfg.incoming(d.id), sheet, func(done, total int) {
		m.log.Info("joining", "delivery", d.id, "tables", done, "of", total)
	})
	return &manifest, published, err
}

func openSheet(path string, id *age.X25519Identity) ([]byte, error) {
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ticket sheet: %w", err)
	}
	return contract.Open(id, sealed)
}

// refuseDelivery ends a delivery that is at fault itself. Nothing of it stays.
func (m *Main) refuseDelivery(ctx context.Context, d delivery, refusal *contract.Refusal) error {
	d.status, d.reason = statusRefused, refusal.Error()
	err := m.db.InTx(ctx, func(tx *store.Tx) error {
		now := m.clock.Now()
		if err := updateDelivery(ctx, tx, d, now); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{Actor: "zone/engine", Action: "delivery.published", Target: d.id, Outcome: refusal.Code, At: now})
	})
	if err != nil {
		return err
	}
	m.log.Warn("delivery refused", "delivery", d.id, "code", refusal.Code, "reason", refusal.Reason)
	return os.RemoveAll(m.cfg.incoming(d.id))
}

// wait notes why a delivery does not go on and returns err, so that it is tried again.
func (m *Main) wait(ctx context.Context, d delivery, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // the zone is stopping
	}
	d.reason = "waiting, will be tried again: the trusted third party cannot be reached or a fault inside engine"
	if duck.DiskFull(err) {
		d.reason = "waiting, will be tried again: engine's disk is full; its operator must make room"
	}
	return errors.Join(err, updateDelivery(ctx, m.db, d, m.clock.Now()))
}

// collect removes former deliveries that no unfinished run sees.
func (m *Main) collect(ctx context.Context) error {
	held, err := pinned(ctx, m.db)
	if err != nil {
		return err
	}
	return m.lake.Collect(func(dataset, id string) bool { return held[dataset+" "+id] })
}

// leastRows is the smallest count of rows that a notice tells (CASD PMSI rule: 11).
const leastRows = 11

// deliveryNotice tells the catalogue what arrived: rows, persons rounded to 10, years with enough rows.
func (m *Main) deliveryNotice(d *contract.Delivery, published *lake.Manifest) (contract.Notice, error) {
	n := contract.DeliveryNotice{
		Delivery: d.ID, Holder: published.Holder, Dataset: published.Dataset,
		Rows: map[string]int64{}, Years: map[string]int64{}, Persons: (published.Persons + 5) / 10 * 10,
	}
	for _, t := range published.Tables {
		n.Rows[t.Name] = t.Rows
	}
	for year, rows := range published.Years {
		if rows >= leastRows {
			n.Years[year] = rows
		}
	}
	body, err := json.Marshal(n)
	if err != nil {
		return contract.Notice{}, err
	}
	return contract.Notice{ID: noticeID(d.ID), Zone: contract.ZoneEngine, Kind: "delivery", At: m.clock.Now(), Body: body}, nil
}

// noticeID is the same for the same delivery, and a valid name however long the delivery's is.
func noticeID(delivery string) string {
	return "delivery-" + string(contract.DigestOf([]byte(delivery)))[len("sha256:"):][:32]
}

func totalRows(m *lake.Manifest) (n int64) {
	for _, t := range m.Tables {
		n += t.Rows
	}
	return n
}

// noticeJob sends a notice.
func (m *Main) noticeJob(ctx context.Context, raw json.RawMessage) error {
	return m.book.PostNotice(ctx, raw)
}

// place is where a part lies until its delivery is published.
func (m *Main) place(id, table, name string) string {
	return filepath.Join(m.cfg.incoming(id), table, name)
}

// own returns the holder's delivery; another holder's is not even known to exist.
func own(ctx context.Context, q store.Querier, id, holder string) (delivery, error) {
	d, err := getDelivery(ctx, q, id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && d.holder != holder) {
		return d, problem(http.StatusNotFound, "unknown_delivery", "There is no such delivery of this holder.")
	}
	return d, err
}
