package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

// Run is the conformance suite of kit/store: whatever database open returns, empty, must behave the same.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	for _, c := range []struct {
		name string
		f    func(*testing.T, *store.DB)
	}{
		{"round trip", roundTrip}, {"placeholders", placeholders}, {"not found", notFound}, {"conflict", conflict},
		{"upsert", upsert}, {"text", text}, {"commit and rollback", commitAndRollback}, {"panic", panicRollsBack},
		{"after commit", afterCommit}, {"migrations", migrations}, {"broken migration", brokenMigration},
		{"counters", counters}, {"write skew", writeSkew}, {"reads while writing", readsWhileWriting},
		{"cancelled", cancelled}, {"times", times},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(t, open(t)) })
	}
}

func migrate(t *testing.T, db *store.DB, sql string) {
	t.Helper()
	if err := db.Migrate(t.Context(), "test", Migration(sql)); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, q store.Querier, want int64, sql string, args ...any) {
	t.Helper()
	n, err := q.Exec(t.Context(), sql, args...)
	if err != nil || n != want {
		t.Fatalf("%s: %d rows, %v; want %d", sql, n, err, want)
	}
}

func count(t *testing.T, q store.Querier, sql string, args ...any) (n int64) {
	t.Helper()
	if err := q.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func roundTrip(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, n BIGINT NOT NULL, note TEXT);`)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, 2, `INSERT INTO a (id, n, note) VALUES (?, ?, ?), (?, ?, ?)`, "x", int64(-1<<63), "Äijälä – ñ – 心", "y", int64(1<<63-1), nil)
	rows, err := db.Query(t.Context(), `SELECT id, n, note FROM a ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rows.Next() {
		var id string
		var n int64
		var note *string
		if err := rows.Scan(&id, &n, &note); err != nil {
			t.Fatal(err)
		}
		s := "NULL"
		if note != nil {
			s = *note
		}
		got = append(got, fmt.Sprint(id, n, s))
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if want := "x-9223372036854775808Äijälä – ñ – 心 y9223372036854775807NULL"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	exec(t, db, 2, `UPDATE a SET n = ?`, 1)
	exec(t, db, 0, `DELETE FROM a WHERE id = ?`, "z")
	exec(t, db, 2, `DELETE FROM a`)
}

func placeholders(t *testing.T, db *store.DB) {
	var a, b, c string
	err := db.QueryRow(t.Context(), `SELECT ?, 'what? it''s ?', "x?" FROM (SELECT ? AS "x?") AS q`, "1", "2").Scan(&a, &b, &c)
	if err != nil || a != "1" || b != "what? it's ?" || c != "2" {
		t.Errorf("%q %q %q %v", a, b, c, err)
	}
	args, marks, want := []any{}, []string{}, int64(0)
	for i := range 120 { // numbers of more than one digit
		args, marks, want = append(args, int64(i)), append(marks, "CAST(? AS BIGINT)"), want+int64(i)
	}
	if n := count(t, db, "SELECT "+strings.Join(marks, " + "), args...); n != want {
		t.Errorf("%d, want %d", n, want)
	}
}

func notFound(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	var id string
	if err := db.QueryRow(t.Context(), `SELECT id FROM a WHERE id = ?`, "x").Scan(&id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		if err := tx.QueryRow(t.Context(), `SELECT id FROM a`).Scan(&id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("in a transaction: %v, want ErrNotFound", err)
		}
		exec(t, tx, 1, `INSERT INTO a (id) VALUES (?)`, "y") // the transaction goes on
		return nil
	})
	if err != nil || count(t, db, `SELECT COUNT(*) FROM a`) != 1 {
		t.Error(err)
	}
}

func conflict(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, n BIGINT NOT NULL CHECK (n > 0));`)
	const insert = `INSERT INTO a (id, email, n) VALUES (?, ?, ?)`
	exec(t, db, 1, insert, "1", "a@example", 1)
	for name, args := range map[string][]any{"primary key": {"1", "b@example", 1}, "unique column": {"2", "a@example", 1}} {
		if _, err := db.Exec(t.Context(), insert, args...); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
		var id string
		if err := db.QueryRow(t.Context(), insert+" RETURNING id", args...).Scan(&id); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s, returning: %v, want ErrConflict", name, err)
		}
		err := db.InTx(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(t.Context(), insert, args...); return err })
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s, in a transaction: %v, want ErrConflict", name, err)
		}
	}
	for name, args := range map[string][]any{"check": {"3", "c@example", 0}, "not null": {"3", nil, 1}} {
		if _, err := db.Exec(t.Context(), insert, args...); err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v; want an error that is no conflict", name, err)
		}
	}
}

func upsert(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, n BIGINT NOT NULL);`)
	exec(t, db, 1, `INSERT INTO a (id, n) VALUES (?, ?) ON CONFLICT DO NOTHING`, "x", 1)
	exec(t, db, 0, `INSERT INTO a (id, n) VALUES (?, ?) ON CONFLICT DO NOTHING`, "x", 2)
	exec(t, db, 1, `INSERT INTO a (id, n) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = a.n + excluded.n`, "x", 10)
	if n := count(t, db, `SELECT n FROM a`); n != 11 {
		t.Errorf("n = %d, want 11", n)
	}
}

func text(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	for _, s := range []string{"a\x00b", "\x00", "caf\xe9", "\xff\xfe"} {
		if _, err := db.Exec(t.Context(), `INSERT INTO a (id) VALUES (?)`, s); !errors.Is(err, store.ErrText) {
			t.Errorf("%q was stored: %v", s, err)
		}
		if _, err := db.Exec(t.Context(), `INSERT INTO a (id) VALUES (?)`, &s); !errors.Is(err, store.ErrText) {
			t.Errorf("a pointer to %q was stored: %v", s, err)
		}
		if _, err := db.Query(t.Context(), `SELECT id FROM a WHERE id = ?`, s); !errors.Is(err, store.ErrText) {
			t.Errorf("%q was asked for: %v", s, err)
		}
		if err := db.QueryRow(t.Context(), `SELECT id FROM a WHERE id = ?`, s).Scan(&s); !errors.Is(err, store.ErrText) {
			t.Errorf("%q was asked for: %v", s, err)
		}
	}
	long := strings.Repeat("é", 1<<20)
	exec(t, db, 1, `INSERT INTO a (id) VALUES (?)`, "")
	migrate2(t, db)
	exec(t, db, 1, `INSERT INTO b (t) VALUES (?)`, long)
	var got string
	if err := db.QueryRow(t.Context(), `SELECT t FROM b`).Scan(&got); err != nil || got != long {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(long), err)
	}
}

func migrate2(t *testing.T, db *store.DB) {
	t.Helper()
	if err := db.Migrate(t.Context(), "second", Migration(`CREATE TABLE b (t TEXT NOT NULL);`)); err != nil {
		t.Fatal(err)
	}
}

func commitAndRollback(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	no := errors.New("no")
	for _, want := range []error{nil, no} {
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			exec(t, tx, 1, `INSERT INTO a (id) VALUES (?)`, fmt.Sprint(want))
			if n := count(t, tx, `SELECT COUNT(*) FROM a WHERE id = ?`, fmt.Sprint(want)); n != 1 {
				t.Error("a transaction does not see its own row")
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if n := count(t, db, `SELECT COUNT(*) FROM a`); n != 1 {
		t.Errorf("%d rows, want the committed one", n)
	}
}

func panicRollsBack(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.InTx(t.Context(), func(tx *store.Tx) error { // it panics: there is no error to look at
			exec(t, tx, 1, `INSERT INTO a (id) VALUES (?)`, "x")
			panic("boom")
		})
	}()
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		if n := count(t, tx, `SELECT COUNT(*) FROM a`); n != 0 {
			t.Errorf("%d rows after a panic", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func afterCommit(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	var calls []string
	no := errors.New("no")
	for _, want := range []error{nil, no} {
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			tx.AfterCommit(func() {
				// Outside the transaction: it may begin another.
				err := db.InTx(t.Context(), func(tx *store.Tx) error { exec(t, tx, 1, `INSERT INTO a (id) VALUES ('x')`); return nil })
				calls = append(calls, fmt.Sprint(want, err))
			})
			if len(calls) > 0 && want == nil {
				t.Error("called before the commit")
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Error(err)
		}
	}
	if len(calls) != 1 || calls[0] != "<nil> <nil>" {
		t.Errorf("calls: %q, want one, after the commit", calls)
	}
}

func migrations(t *testing.T, db *store.DB) {
	files := fstest.MapFS{"0001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id TEXT PRIMARY KEY);\n")}}
	up := func(room string) {
		t.Helper()
		if err := db.Migrate(t.Context(), room, files); err != nil {
			t.Fatal(err)
		}
	}
	up("one")
	exec(t, db, 1, `INSERT INTO a (id) VALUES ('kept')`)
	up("one") // nothing to do
	files["0002_b.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nALTER TABLE a ADD COLUMN n BIGINT NOT NULL DEFAULT 7;\nCREATE INDEX a_n ON a (n);\n")}
	up("one")
	if n := count(t, db, `SELECT n FROM a WHERE id = 'kept'`); n != 7 {
		t.Errorf("n = %d after the second migration", n)
	}
	// Rooms count their own migrations.
	if err := db.Migrate(t.Context(), "two", Migration(`CREATE TABLE other (id TEXT PRIMARY KEY);`)); err != nil {
		t.Fatal(err)
	}
	up("one")
}

func brokenMigration(t *testing.T, db *store.DB) {
	files := fstest.MapFS{
		"0001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id TEXT PRIMARY KEY);\n")},
		"0002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id TEXT PRIMARY KEY);\nINSERT INTO nowhere (id) VALUES ('x');\n")},
	}
	err := db.Migrate(t.Context(), "one", files)
	if err == nil || !strings.Contains(err.Error(), "migrate one") {
		t.Fatalf("a broken migration: %v", err)
	}
	exec(t, db, 1, `INSERT INTO a (id) VALUES ('x')`) // the first one stands
	if _, err := db.Exec(t.Context(), `INSERT INTO b (id) VALUES ('x')`); err == nil {
		t.Error("half of the second migration stands")
	}
	files["0002_b.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE b (id TEXT PRIMARY KEY);\n")}
	if err := db.Migrate(t.Context(), "one", files); err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	exec(t, db, 1, `INSERT INTO b (id) VALUES ('x')`)
}

// counters has 8 writers read a number and write it back increased: none of the steps may be lost.
func counters(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, n BIGINT NOT NULL);`)
	exec(t, db, 1, `INSERT INTO a (id, n) VALUES ('x', 0)`)
	const writers, steps = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < steps; {
				err := db.InTx(t.Context(), func(tx *store.Tx) error {
					var n int64
					if err := tx.QueryRow(t.Context(), `SELECT n FROM a WHERE id = 'x'`).Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(t.Context(), `UPDATE a SET n = ? WHERE id = 'x'`, n+1)
					return err
				})
				if err != nil {
					t.Errorf("a writer was turned away: %v", err)
					return
				}
				done++
			}
		})
	}
	wg.Wait()
	if n := count(t, db, `SELECT n FROM a`); n != writers*steps && !t.Failed() {
		t.Errorf("n = %d, want %d", n, writers*steps)
	}
}

// writeSkew is the anomaly that serializable transactions exclude: two reviewers each resign because the
// other is still there.
func writeSkew(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, duty BIGINT NOT NULL);`)
	for range 10 {
		exec(t, db, count(t, db, `SELECT COUNT(*) FROM a`), `DELETE FROM a`)
		exec(t, db, 2, `INSERT INTO a (id, duty) VALUES ('x', 1), ('y', 1)`)
		var wg sync.WaitGroup
		for _, id := range []string{"x", "y"} {
			wg.Go(func() {
				err := db.InTx(t.Context(), func(tx *store.Tx) error {
					var n int64
					if err := tx.QueryRow(t.Context(), `SELECT SUM(duty) FROM a`).Scan(&n); err != nil {
						return err
					}
					if n < 2 {
						return nil
					}
					_, err := tx.Exec(t.Context(), `UPDATE a SET duty = 0 WHERE id = ?`, id)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := count(t, db, `SELECT SUM(duty) FROM a`); n != 1 {
			t.Fatalf("%d on duty, want 1", n)
		}
	}
}

func readsWhileWriting(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY, n BIGINT NOT NULL);`)
	exec(t, db, 2, `INSERT INTO a (id, n) VALUES ('x', 0), ('y', 0)`)
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		exec(t, tx, 2, `UPDATE a SET n = 1`)
		if n := count(t, db, `SELECT SUM(n) FROM a`); n != 0 { // another connection
			t.Errorf("a reader sees %d of a transaction that is not committed", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT SUM(n) FROM a`); n != 2 {
		t.Errorf("a reader sees %d after the commit", n)
	}
}

func cancelled(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (id TEXT PRIMARY KEY);`)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.InTx(ctx, func(tx *store.Tx) error {
		exec(t, tx, 1, `INSERT INTO a (id) VALUES ('x')`)
		cancel()
		return nil
	})
	if err == nil {
		t.Error("a cancelled transaction was committed")
	}
	if err := db.InTx(ctx, func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a transaction began after the end: %v", err)
	}
	if n := count(t, db, `SELECT COUNT(*) FROM a`); n != 0 {
		t.Errorf("%d rows", n)
	}
	exec(t, db, 1, `INSERT INTO a (id) VALUES ('x')`) // the database is free again
}

func times(t *testing.T, db *store.DB) {
	migrate(t, db, `CREATE TABLE a (at BIGINT NOT NULL);`)
	for _, at := range []time.Time{{}, time.UnixMicro(1), time.Date(1900, 1, 1, 0, 0, 0, 123456000, time.UTC), time.Date(2026, 11, 23, 8, 0, 0, 999999000, time.FixedZone("", 7200))} {
		exec(t, db, 1, `INSERT INTO a (at) VALUES (?)`, store.Micros(at))
		if got := store.FromMicros(count(t, db, `SELECT at FROM a`)); !got.Equal(at) || got.Location() != time.UTC {
			t.Errorf("%v came back as %v", at, got)
		}
		exec(t, db, 1, `DELETE FROM a`)
	}
}
