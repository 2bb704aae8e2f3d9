package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { storetest.Run(t, func(t *testing.T) *store.DB { return storetest.SQLite(t) }) })
	t.Run("postgres", func(t *testing.T) { storetest.Run(t, func(t *testing.T) *store.DB { return storetest.Postgres(t) }) })
}

func TestOpenRefuses(t *testing.T) {
	for _, dsn := range []string{
		"", "state.db", "mysql://x", "sqlite:" + filepath.Join(t.TempDir(), "no", "such", "directory", "state.db"),
		"postgres://user:hunter2@127.0.0.1:1/x?connect_timeout=1", "postgres://user:hunter2@[bad/x",
	} {
		db, err := store.Open(t.Context(), dsn)
		if err == nil {
			db.Close()
			t.Errorf("%q was opened", dsn)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

// What was committed is there after closing and opening again.
func TestReopen(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "a directory with ?#%& in it.db")
	for i := range 3 {
		db, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), "test", storetest.Migration(`CREATE TABLE a (n BIGINT NOT NULL);`)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), `INSERT INTO a (n) VALUES (?)`, i); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM a`).Scan(&n); err != nil || n != i+1 {
			t.Errorf("%d rows, %v; want %d", n, err, i+1)
		}
		db.Close()
	}
}

// A full disk: a clear error, nothing half-written, and work goes on when space returns.
func TestFullDisk(t *testing.T) {
	disk := storetest.SmallDisk(t, 4<<20)
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(disk.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "test", storetest.Migration(`CREATE TABLE a (id BIGINT PRIMARY KEY, pair TEXT NOT NULL);`)); err != nil {
		t.Fatal(err)
	}
	// Each transaction writes two large rows, so that the disk fills up inside one.
	id := int64(0)
	write := func() error {
		return db.InTx(t.Context(), func(tx *store.Tx) error {
			for range 2 {
				if _, err := tx.Exec(t.Context(), `INSERT INTO a (id, pair) VALUES (?, ?)`, id+1, strings.Repeat("x", 20_000)); err != nil {
					return err
				}
				id++
			}
			return nil
		})
	}
	rows := func() (n int64) {
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM a`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	before, kept := id, rows()
	disk.Fill(t)
	for range 100 { // pages that are reserved already may still take a few
		if err = write(); err != nil {
			break
		}
		before, kept = id, rows()
	}
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("on a full disk: %v", err)
	}
	if n := rows(); n != kept || n%2 != 0 {
		t.Fatalf("%d rows, %d were committed", n, kept)
	}
	disk.Free(t)
	id = before
	if err := write(); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if n := rows(); n != kept+2 {
		t.Fatalf("%d rows, want %d", n, kept+2)
	}
	var ok string
	if err := db.QueryRow(t.Context(), `PRAGMA integrity_check`).Scan(&ok); err != nil || ok != "ok" {
		t.Fatalf("integrity: %s %v", ok, err)
	}
}
