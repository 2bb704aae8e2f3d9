package ledger_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

type running struct {
	*ledger.Ledger
	db   *store.DB
	jobs *jobs.Client
	dir  string
}

func openLedger(t testing.TB, db *store.DB, dir string) *running {
	t.Helper()
	c := jobs.New(db, slog.New(slog.DiscardHandler))
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Zone: "engine", DB: db, Jobs: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &running{l, db, c, dir}
}

func (r *running) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.jobs.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func (r *running) record(t testing.TB, n int) {
	t.Helper()
	err := r.db.InTx(t.Context(), func(tx *store.Tx) error {
		for i := range n {
			e := ledger.Entry{Actor: "zone/engine", Action: "order.taken", Target: fmt.Sprintf("order-%d", i), Outcome: "done", Details: map[string]any{"rows": 12 * i}}
			if err := r.Record(t.Context(), tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settle waits until the outbox is empty: then a published checkpoint covers every entry.
func (r *running) settle(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		n, err := r.jobs.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d entries are still in the outbox", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func verify(t testing.TB, where string) ledger.Report {
	t.Helper()
	rep, err := ledger.Verify(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestRecordAndVerify(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		r := openLedger(t, db, t.TempDir())
		r.record(t, 5)
		r.settle(t)
		began := time.Now()
		r.record(t, 1)
		r.settle(t)
		t.Logf("one entry under a checkpoint after %v", time.Since(began))
		r.record(t, 300)
		r.settle(t)
		rep := verify(t, r.dir)
		if !rep.OK || rep.Size != 306 || rep.Log != "mitral/engine" || rep.VerifierKey != r.VerifierKey() {
			t.Fatalf("%+v", rep)
		}
		srv := httptest.NewServer(http.StripPrefix("/ledger", r.Handler()))
		defer srv.Close()
		if rep := verify(t, srv.URL+"/ledger"); !rep.OK || rep.Size != 306 {
			t.Fatalf("over HTTP: %+v", rep)
		}
		r.stop(t)
		if rep := verify(t, r.dir); !rep.OK || rep.Size != 306 {
			t.Fatalf("after closing: %+v", rep)
		}
	})
}

func TestHandlerServesTheLogOnly(t *testing.T) {
	r := openLedger(t, storetest.SQLite(t), t.TempDir())
	defer r.stop(t)
	r.record(t, 3)
	r.settle(t)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/checkpoint", 200}, {"HEAD", "/checkpoint", 200}, {"GET", "/ledger.pub", 200},
		{"GET", "/tile/entries/000.p/3", 200}, {"GET", "/tile/0/000.p/3", 200},
		{"POST", "/checkpoint", 405}, {"DELETE", "/tile/0/000.p/3", 405},
		{"GET", "/", 404}, {"GET", "/ledger.key", 404}, {"GET", "/ledger.lock", 404}, {"GET", "/.state/treeState", 404},
		{"GET", "/tile/entries/001", 404}, {"GET", "/tile/../ledger.key", 404}, {"GET", "/tile/entries/../../ledger.key", 404},
		{"GET", "/tile/entries/0", 404}, {"GET", "/tile/entries/000.p/03", 404}, {"GET", "/tile/entries", 404}, {"GET", "//etc/passwd", 404},
	} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(c.method, "http://x/", nil)
		req.URL.Path = c.path
		r.Handler().ServeHTTP(w, req)
		if w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
}

func TestKeyIsPrivateAndNeverReplaced(t *testing.T) {
	db, dir := storetest.SQLite(t), t.TempDir()
	r := openLedger(t, db, dir)
	r.record(t, 1)
	r.settle(t)
	r.stop(t)
	key := filepath.Join(dir, "ledger.key")
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Open(t.Context(), ledger.Options{Dir: dir, Zone: "engine", DB: db, Jobs: jobs.New(db, slog.New(slog.DiscardHandler)), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("a log without its key was opened")
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	r = openLedger(t, db, dir)
	r.record(t, 1)
	r.settle(t)
	r.stop(t)
	if rep := verify(t, dir); !rep.OK || rep.Size != 2 {
		t.Fatalf("%+v", rep)
	}
}
