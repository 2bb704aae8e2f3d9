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
