// Package storetest runs tests on both databases and holds the conformance suite of kit/store. Tests of
// every room use Both; no program does.
package storetest

import (
	"path/filepath"
	"testing"

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

func open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}
