package orderbook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
)

func newBook(t testing.TB, dsn, dir string) (*orderbook.Book, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b, err := orderbook.New(t.Context(), orderbook.Options{DB: db, Dir: dir, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b, db
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

// onBoth runs a test on both databases.
func onBoth(t *testing.T, f func(t *testing.T, b *orderbook.Book, db *store.DB)) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": sqlite, "postgres": pgtest.Start} {
		t.Run(name, func(t *testing.T) {
			b, db := newBook(t, dsn(t), t.TempDir())
			f(t, b, db)
		})
	}
}

func order(id, zone string, kind contract.OrderKind) contract.Order {
	o := contract.Order{Schema: contract.OrderSchema, ID: id, Zone: zone, Kind: kind, CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Body: json.RawMessage(`{"number":"1"}`)}
	if kind != contract.OrderObjection {
		o.Permit = &contract.SignedPermit{Permit: json.RawMessage(`{}`)}
	}
	return o
}

func put(t testing.TB, b *orderbook.Book, db *store.DB, o contract.Order) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *store.Tx) error { return b.Put(t.Context(), tx, o) }); err != nil {
		t.Fatal(err)
	}
}

func receipt(id string, o contract.Order, s contract.ReceiptStatus, at time.Time) contract.Receipt {
	return contract.Receipt{ID: id, OrderID: o.ID, Zone: o.Zone, Status: s, At: at}
}

func TestOrdersAreNumberedWithoutGapsByConcurrentWriters(t *testing.T) {
	onBoth(t, func(t *testing.T, b *orderbook.Book, db *store.DB) {
		var wg sync.WaitGroup
		errs := make(chan error, 40)
		for i := range 40 {
			wg.Go(func() {
				zone, kind := contract.ZoneEngine, contract.OrderProvision
				if i%2 == 1 {
					zone, kind = contract.ZoneTrust, contract.OrderObjection
				}
				o := order(fmt.Sprintf("order-%d", i), zone, kind)
				errs <- db.InTx(t.Context(), func(tx *store.Tx) error {
					if err := b.Put(t.Context(), tx, o); err != nil {
						return err
					}
					return b.Put(t.Context(), tx, o) // again: no second number
				})
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, zone := range []string{contract.ZoneEngine, contract.ZoneTrust} {
			list, err := b.Orders(t.Context(), zone, 0, 0)
			if err != nil || len(list) != 20 {
				t.Fatalf("%s: %d orders, %v", zone, len(list), err)
			}
			for i, n := range list {
				if n.Seq != int64(i+1) || n.Order.Zone != zone {
					t.Errorf("%s: place %d has number %d of %s", zone, i, n.Seq, n.Order.Zone)
				}
			}
		}
	})
}

func TestPutRefuses(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	put(t, b, db, order("order-a", contract.ZoneEngine, contract.OrderProvision))
	for name, o := range map[string]contract.Order{
		"same id, other content": order("order-a", contract.ZoneTrust, contract.OrderObjection),
		"kind of another zone":   order("order-b", contract.ZoneVault, contract.OrderProvision),
		"unknown kind":           order("order-b", contract.ZoneEngine, "delete"),
		"bad id":                 order("../x", contract.ZoneEngine, contract.OrderProvision),
		"no permit": func() contract.Order {
			o := order("order-b", contract.ZoneEngine, contract.OrderProvision)
			o.Permit = nil
			return o
		}(),
		"no schema": {ID: "order-b", Zone: contract.ZoneTrust, Kind: contract.OrderObjection, CreatedAt: time.Now()},
	} {
		if err := db.InTx(t.Context(), func(tx *store.Tx) error { return b.Put(t.Context(), tx, o) }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// A rolled back order was never there.
	boom := errors.New("boom")
	o := order("order-c", contract.ZoneEngine, contract.OrderProvision)
	if err := db.InTx(t.Context(), func(tx *store.Tx) error { return errors.Join(b.Put(t.Context(), tx, o), boom) }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if list, err := b.Orders(t.Context(), contract.ZoneEngine, 0, 0); err != nil || len(list) != 1 {
		t.Errorf("%d orders, %v", len(list), err)
	}
}

func TestAnOrderWakesThePollAtOnce(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	got := make(chan time.Time)
	go func() {
		list, err := b.Orders(context.WithoutCancel(t.Context()), contract.ZoneEngine, 0, 20*time.Second)
		if err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		got <- time.Now()
	}()
	put(t, b, db, order("order-other", contract.ZoneTrust, contract.OrderObjection)) // not ours: stays asleep
	put(t, b, db, order("order-a", contract.ZoneEngine, contract.OrderProvision))
	committed := time.Now()
	if d := (<-got).Sub(committed); d > 500*time.Millisecond {
		t.Errorf("woken after %s", d)
	}
}

func TestReceipts(t *testing.T) {
	onBoth(t, func(t *testing.T, b *orderbook.Book, db *store.DB) {
		var hooked atomic.Int64
		var fail atomic.Bool
		b.OnReceipt(func(ctx context.Context, tx *store.Tx, r contract.Receipt) error {
			if fail.Load() {
				return errors.New("hook fails")
			}
			hooked.Add(1)
			return nil
		})
		ctx, t0 := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
		o := order("order-a", contract.ZoneEngine, contract.OrderProvision)
		put(t, b, db, o)
		waited := make(chan contract.Receipt, 1)
		go func() {
			r, err := b.Wait(context.WithoutCancel(ctx), o.ID)
			if err != nil {
				t.Error(err)
			}
			waited <- r
		}()
		send := func(r contract.Receipt) {
			t.Helper()
			if err := b.Receive(ctx, contract.ZoneEngine, r); err != nil {
				t.Fatal(err)
			}
		}
		send(receipt("r1", o, contract.ReceiptAccepted, t0))
		send(receipt("r2", o, contract.ReceiptProgress, t0.Add(1*time.Second)))
		send(receipt("r3", o, contract.ReceiptProgress, t0.Add(2*time.Second)))
		send(receipt("r2", o, contract.ReceiptProgress, t0.Add(1*time.Second))) // late copy of older news
		if rs, err := b.Status(ctx, o.ID); err != nil || len(rs) != 2 || rs[1].ID != "r3" {
			t.Fatalf("status %v, %v", rs, err)
		}
		fail.Store(true)
		if err := b.Receive(ctx, contract.ZoneEngine, receipt("r4", o, contract.ReceiptDone, t0.Add(3*time.Second))); err == nil {
			t.Fatal("a failing hook did not stop the receipt")
		}
		fail.Store(false)
		if rs, err := b.Status(ctx, o.ID); err != nil || len(rs) != 2 {
			t.Fatalf("after a failed hook: %v, %v", rs, err)
		}
		final := receipt("r4", o, contract.ReceiptDone, t0.Add(3*time.Second))
		send(final)
		send(final)
		send(receipt("r5", o, contract.ReceiptFailed, t0.Add(4*time.Second))) // finished is finished
		if r := <-waited; r.ID != "r4" || r.Status != contract.ReceiptDone {
			t.Errorf("waited for %+v", r)
		}
		rs, err := b.Status(ctx, o.ID)
		if err != nil || len(rs) != 2 || rs[0].ID != "r1" || rs[1].ID != "r4" {
			t.Errorf("status %v, %v", rs, err)
		}
		if hooked.Load() != 4 {
			t.Errorf("hooks ran %d times, want 4", hooked.Load())
		}
		if list, err := b.Orders(ctx, contract.ZoneEngine, 0, 0); err != nil || len(list) != 0 {
			t.Errorf("a finished order is still offered: %v, %v", list, err)
		}
		for name, r := range map[string]contract.Receipt{
			"another zone's order": {ID: "x", OrderID: o.ID, Zone: contract.ZoneTrust, Status: contract.ReceiptDone, At: t0},
			"unknown order":        {ID: "x", OrderID: "order-none", Zone: contract.ZoneTrust, Status: contract.ReceiptDone, At: t0},
			"unknown status":       {ID: "x", OrderID: o.ID, Zone: contract.ZoneTrust, Status: "maybe", At: t0},
			"other zone's name":    {ID: "x", OrderID: o.ID, Zone: contract.ZoneEngine, Status: contract.ReceiptDone, At: t0},
			"no id":                {OrderID: o.ID, Zone: contract.ZoneTrust, Status: contract.ReceiptDone, At: t0},
		} {
			if err := b.Receive(ctx, contract.ZoneTrust, r); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

// TestReceiptsInAnyOrderAndNumber compares the book with the obvious rule: whatever is sent, and
// however often, the first final receipt that arrives counts, and hooks see each receipt at most once.
func TestReceiptsInAnyOrderAndNumber(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	seen := map[string]int{}
	b.OnReceipt(func(_ context.Context, _ *store.Tx, r contract.Receipt) error { seen[r.ID]++; return nil })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		o := order(fmt.Sprintf("order-%d", n), contract.ZoneEngine, contract.OrderProvision)
		put(t, b, db, o)
		t0 := time.Now()
		statuses := []contract.ReceiptStatus{contract.ReceiptAccepted, contract.ReceiptProgress, contract.ReceiptDone, contract.ReceiptFailed}
		var first string
		for range rapid.IntRange(1, 12).Draw(rt, "sends") {
			i := rapid.IntRange(0, 5).Draw(rt, "receipt")
			r := receipt(fmt.Sprintf("r%d-%d", n, i), o, statuses[min(i, 3)], t0.Add(time.Duration(i)*time.Second))
			if err := b.Receive(t.Context(), contract.ZoneEngine, r); err != nil {
				rt.Fatal(err)
			}
			if first == "" && r.Status.Final() {
				first = r.ID
			}
		}
		rs, err := b.Status(t.Context(), o.ID)
		if err != nil {
			rt.Fatal(err)
		}
		var finals []string
		for _, r := range rs {
			if r.Status.Final() {
				finals = append(finals, r.ID)
			}
			if seen[r.ID] != 1 {
				rt.Fatalf("hook saw %s %d times", r.ID, seen[r.ID])
			}
		}
		if (first == "" && len(finals) > 0) || (first != "" && (len(finals) != 1 || finals[0] != first)) {
			rt.Fatalf("final receipts %v, first sent %q", finals, first)
		}
	})
}

func checkpoint(t testing.TB, signer note.Signer, size int, root string) json.RawMessage {
	t.Helper()
	return checkpointKey(t, signer, "", size, root)
}

func checkpointKey(t testing.TB, signer note.Signer, vkey string, size int, root string) json.RawMessage {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("mitral/engine\n%d\n%s\n", size, root)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(contract.CheckpointNotice{Checkpoint: string(msg), VerifierKey: vkey})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestCheckpointsAreWitnessed(t *testing.T) {
	onBoth(t, func(t *testing.T, b *orderbook.Book, db *store.DB) {
		skey, vkey, err := note.GenerateKey(nil, "mitral/engine")
		if err != nil {
			t.Fatal(err)
		}
		skey2, vkey2, err := note.GenerateKey(nil, "mitral/engine")
		if err != nil {
			t.Fatal(err)
		}
		s1, err1 := note.NewSigner(skey)
		s2, err2 := note.NewSigner(skey2)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		const rootA, rootB = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "AAAAEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
		n := 0
		send := func(body json.RawMessage) error {
			n++
			return b.Notice(t.Context(), contract.ZoneEngine, contract.Notice{ID: fmt.Sprintf("n%d", n), Zone: contract.ZoneEngine, Kind: "checkpoint", At: time.Now(), Body: body})
		}
		for i, c := range []struct {
			body json.RawMessage
			ok   bool
		}{
			{checkpointKey(t, s1, vkey, 3, rootA), true},
			{checkpointKey(t, s1, vkey, 3, rootA), true},   // again
			{checkpointKey(t, s1, vkey, 3, rootB), false},  // split view
			{checkpointKey(t, s2, vkey2, 4, rootA), false}, // another key
			{checkpointKey(t, s2, vkey, 4, rootA), false},  // not signed by the key it names
			{checkpoint(t, s1, 5, rootA), false},           // no key
			{checkpointKey(t, s1, vkey, 7, rootB), true},
			{checkpointKey(t, s1, vkey, 2, rootA), true}, // late, older
			{json.RawMessage(`{"checkpoint":"x","verifier_key":"` + vkey + `"}`), false},
		} {
			if err := send(c.body); (err == nil) != c.ok {
				t.Errorf("checkpoint %d: %v", i, err)
			}
		}
		list, err := b.Checkpoints(t.Context())
		if err != nil || len(list) != 1 || list[0].Size != 7 || list[0].Root != rootB || list[0].VerifierKey != vkey {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestDeliveryNoticeRunsHooksOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, b *orderbook.Book, db *store.DB) {
		n := 0
		b.OnNotice(func(_ context.Context, _ *store.Tx, _ contract.Notice) error { n++; return nil })
		body, err := json.Marshal(contract.DeliveryNotice{Delivery: "delivery-1", Holder: "cnam", Dataset: "snds", Rows: map[string]int64{"ER_PRS_F": 3}})
		if err != nil {
			t.Fatal(err)
		}
		notice := contract.Notice{ID: "n1", Zone: contract.ZoneEngine, Kind: "delivery", At: time.Now(), Body: body}
		for range 3 {
			if err := b.Notice(t.Context(), contract.ZoneEngine, notice); err != nil {
				t.Fatal(err)
			}
		}
		if n != 1 {
			t.Errorf("hook ran %d times", n)
		}
		for name, bad := range map[string]contract.Notice{
			"from trust":   {ID: "n2", Zone: contract.ZoneTrust, Kind: "delivery", At: time.Now(), Body: body},
			"unknown kind": {ID: "n2", Zone: contract.ZoneTrust, Kind: "weather", At: time.Now(), Body: body},
			"no body":      {ID: "n2", Zone: contract.ZoneEngine, Kind: "delivery", At: time.Now(), Body: bytes.TrimSpace([]byte(" {} "))},
		} {
			if err := b.Notice(t.Context(), bad.Zone, bad); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}
