// Package storetest runs tests on both databases and holds the conformance suite of kit/store. Tests of
// every room use Both; no program does.
package storetest

import (
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
)

// SQLite opens an empty SQLite database that ends with the test.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "state.db"))
}

// Postgres opens an empty database on a real PostgreSQL server (see pgtest).
func Postgres(t testing.TB) *store.DB {
	t.Helper()
	return open(t, pgtest.Start(t))
}

// Both runs f as a subtest on SQLite and on PostgreSQL, each with an empty database.
func Both(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// Migration is a room's directory of migrations with one file in it; sql comes after "-- +goose Up".
func Migration(sql string) fs.FS {
	return fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\n" + sql + "\n")}}
}

func open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}
