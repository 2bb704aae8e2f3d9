// Package orderbook is what the inner zones see of the portal: orders go out, receipts, notices and
// released files come in. The zones dial it; it never dials them. Other rooms of the portal put orders
// and register hooks; the handler is served on the portal's mutual-TLS listener and nowhere else.
//
// Nothing here may decide anything: an order is worth what the permit inside it is worth, which the
// zone that takes it verifies for itself. Health data, identities and pseudonyms never pass through.
package orderbook

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrUnknownOrder means that no order has this id, or that it is another zone's.
var ErrUnknownOrder = errors.New("unknown order")

// recheck is how often a waiting caller looks in the database although nobody woke it: orders may have
// been put by another portal process on the same PostgreSQL.
const recheck = time.Second

// Hooks run inside the transaction that stores what arrived. An error rolls everything back and the
// zone sends again, so a hook writes through tx only and has no other side effect.
type (
	ReceiptHook func(ctx context.Context, tx *store.Tx, r contract.Receipt) error
	NoticeHook  func(ctx context.Context, tx *store.Tx, n contract.Notice) error
	ExportHook  func(ctx context.Context, tx *store.Tx, e contract.Export) error
)

// Book is the order book. Its methods may be called from several goroutines; hooks are registered
// before the handler is served.
type Book struct {
	db    *store.DB
	dir   string
	clock clock.Clock
	log   *slog.Logger

	onReceipt []ReceiptHook
	onNotice  []NoticeHook
	onExport  []ExportHook

	news  broadcast
	files keyedMutex

	maxFile int64
}

// Options are what a Book needs.
type Options struct {
	DB    *store.DB
	Dir   string // the portal's directory; released files go to Dir/exports
	Clock clock.Clock
	Log   *slog.Logger
}

// New migrates the room's tables and prepares the directory for released files.
func New(ctx context.Context, o Options) (*Book, error) {
	m, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "orderbook", m); err != nil {
		return nil, err
	}
	b := &Book{
		db: o.DB, dir: filepath.Join(o.Dir, "exports"), clock: o.Clock, log: o.Log,
		maxFile: MaxExportFile,
	}
	if err := os.MkdirAll(filepath.Join(b.dir, incoming), 0o700); err != nil {
		return nil, fmt.Errorf("order book: %w", err)
	}
	return b, nil
}

// OnReceipt registers a hook for receipts of all orders; it picks its own by order id.
func (b *Book) OnReceipt(h ReceiptHook) { b.onReceipt = append(b.onReceipt, h) }

// OnNotice registers a hook for notices of all kinds.
func (b *Book) OnNotice(h NoticeHook) { b.onNotice = append(b.onNotice, h) }

// OnExport registers a hook for exports that were released and closed.
func (b *Book) OnExport(h ExportHook) { b.onExport = append(b.onExport, h) }

// zoneOf says which zone takes orders of each kind.
var zoneOf = map[contract.OrderKind]string{
	contract.OrderFeasibility: contract.ZoneEngine,
	contract.OrderProvision:   contract.ZoneEngine,
	contract.OrderWorkspace:   contract.ZoneEnclave,
	contract.OrderObjection:   contract.ZoneTrust,
}

// innerZones may call the order book.
var innerZones = []string{contract.ZoneEnclave, contract.ZoneEngine, contract.ZoneTrust, contract.ZoneVault}

// Put writes an order into the book as part of the caller's transaction and gives it the next number of
// its zone. Zones that wait are woken once the transaction is committed. The same order again changes
// nothing; the same id with other content is store.ErrConflict.
func (b *Book) Put(ctx context.Context, tx *store.Tx, o contract.Order) error {
	if o.Schema != contract.OrderSchema || !contract.ValidName(o.ID) || o.CreatedAt.IsZero() {
		return contract.Refuse("invalid", "order: schema %q, id %q", o.Schema, o.ID)
	}
	if zone, ok := zoneOf[o.Kind]; !ok || zone != o.Zone {
		return contract.Refuse("invalid", "order: kind %q does not go to zone %q", o.Kind, o.Zone)
	}
	if (o.Permit == nil) != (o.Kind == contract.OrderObjection) {
		return contract.Refuse("unsigned", "order: every order but an objection carries a permit")
	}
	doc, err := contract.Canonical(o)
	if err != nil {
		return err
	}
	if err := insertOrder(ctx, tx, o, string(doc)); err != nil {
		return fmt.Errorf("put order: %w", err)
	}
	tx.AfterCommit(b.news.wake)
	return nil
}

// NewOrder fills in what every order has.
func (b *Book) NewOrder(kind contract.OrderKind, permit *contract.SignedPermit, body any) (contract.Order, error) {
	o := contract.Order{
		Schema: contract.OrderSchema, ID: contract.NewID("order"), Zone: zoneOf[kind], Kind: kind,
		CreatedAt: b.clock.Now().UTC().Truncate(time.Microsecond), Permit: permit,
	}
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return o, fmt.Errorf("order body: %w", err)
		}
		o.Body = raw
	}
	return o, nil
}

// Order returns an order by id, or ErrUnknownOrder.
func (b *Book) Order(ctx context.Context, q store.Querier, id string) (contract.Order, error) {
	o, _, err := selectOrder(ctx, q, id)
	return o, err
}

// Status returns the receipts of an order in the order of their times: all but progress, of which only
// the latest is kept.
func (b *Book) Status(ctx context.Context, orderID string) ([]contract.Receipt, error) {
	return selectReceipts(ctx, b.db, orderID)
}

// Wait returns the final receipt of an order as soon as there is one, or the context's error.
func (b *Book) Wait(ctx context.Context, orderID string) (contract.Receipt, error) {
	for {
		news := b.news.listen()
		rs, err := b.Status(ctx, orderID)
		if err != nil {
			return contract.Receipt{}, err
		}
		if i := slices.IndexFunc(rs, func(r contract.Receipt) bool { return r.Status.Final() }); i >= 0 {
			return rs[i], nil
		}
		if err := pause(ctx, news); err != nil {
			return contract.Receipt{}, fmt.Errorf("wait for order %s: %w", orderID, err)
		}
	}
}

// Orders returns at most 100 open orders of a zone after a number, waiting up to wait for the first.
func (b *Book) Orders(ctx context.Context, zone string, after int64, wait time.Duration) ([]contract.NumberedOrder, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		news := b.news.listen()
		// The query has the request's life, not the wait's: a wait of 0 still gets an answer.
		list, err := selectOpenOrders(context.WithoutCancel(ctx), b.db, zone, after, 100)
		if err != nil || len(list) > 0 {
			return list, err
		}
		if pause(ctx, news) != nil {
			return nil, nil
		}
	}
}

// Receive stores a receipt and runs the hooks. A receipt that is already there, one for an order that
// is finished, and news older than what is known change nothing.
func (b *Book) Receive(ctx context.Context, zone string, r contract.Receipt) error {
	switch {
	case !contract.ValidName(r.ID) || r.At.IsZero():
		return contract.Refuse("invalid", "receipt: id %q", r.ID)
	case r.Zone != zone:
		return contract.Refuse("forbidden", "receipt: of zone %q, sent by %q", r.Zone, zone)
	}
	switch r.Status {
	case contract.ReceiptAccepted, contract.ReceiptProgress, contract.ReceiptDone, contract.ReceiptRefused, contract.ReceiptFailed:
	default:
		return contract.Refuse("invalid", "receipt: unknown status %q", r.Status)
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, func(tx *store.Tx) error {
		o, finished, err := selectOrder(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		if o.Zone != zone {
			return ErrUnknownOrder
		}
		if finished {
			return nil
		}
		fresh, err := insertReceipt(ctx, tx, r, string(doc))
		if err != nil || !fresh {
			return err
		}
		for _, h := range b.onReceipt {
			if err := h(ctx, tx, r); err != nil {
				return fmt.Errorf("receipt %s: %w", r.ID, err)
			}
		}
		tx.AfterCommit(b.news.wake)
		return nil
	})
}

// pause returns when there is news, after recheck, or with the context's error.
func pause(ctx context.Context, news <-chan struct{}) error {
	t := time.NewTimer(recheck)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-news:
	case <-t.C:
	}
	return nil
}

// broadcast wakes everybody who listened before the call of wake.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *broadcast) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// keyedMutex lets one caller at a time work on one key.
type keyedMutex struct {
	mu   sync.Mutex
	held map[string]*sync.Mutex
	n    map[string]int
}

func (k *keyedMutex) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held, k.n = map[string]*sync.Mutex{}, map[string]int{}
	}
	m := k.held[key]
	if m == nil {
		m = &sync.Mutex{}
		k.held[key] = m
	}
	k.n[key]++
	k.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.n[key]--; k.n[key] == 0 {
			delete(k.held, key)
			delete(k.n, key)
		}
	}
}
