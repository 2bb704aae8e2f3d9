package duck_test

import (
	"database/sql/driver"
	"os"
	"path/filepath"
	"testing"

	"github.com/mitral-health/mitral/internal/engine/duck"
)

func open(t *testing.T, o duck.Options) *duck.DB {
	t.Helper()
	db, err := duck.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestOpenIsLockedDown(t *testing.T) {
	inside, outside, temp := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret.csv"), []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, duck.Options{Dirs: []string{inside}, Temp: temp, Threads: 1})
	if _, err := db.Exec("COPY (SELECT 1 AS a) TO " + duck.Text(filepath.Join(inside, "a.parquet"))); err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]string{
		"read outside":      "SELECT * FROM read_csv(" + duck.Text(filepath.Join(outside, "secret.csv")) + ")",
		"write outside":     "COPY (SELECT 1) TO " + duck.Text(filepath.Join(outside, "x.parquet")),
		"path trick":        "SELECT * FROM read_csv(" + duck.Text(inside+"/../"+filepath.Base(outside)+"/secret.csv") + ")",
		"attach a file":     "ATTACH " + duck.Text(filepath.Join(outside, "x.db")),
		"network":           "SELECT * FROM read_csv('https://example.org/x.csv')",
		"install":           "INSTALL httpfs",
		"load":              "LOAD httpfs",
		"unlock":            "SET lock_configuration = false",
		"open up":           "SET enable_external_access = true",
		"more directories":  "SET allowed_directories = ['/']",
		"other memory":      "SET memory_limit = '100GB'",
		"other temp":        "SET temp_directory = '/tmp'",
		"environment":       "SELECT getenv('HOME')",
		"copy from outside": "CREATE TABLE t AS FROM " + duck.Text(filepath.Join(outside, "secret.csv")),
	} {
		if _, err := db.Exec(q); err == nil {
			t.Errorf("%s: %s was allowed", name, q)
		}
	}
}

func TestWithoutTempNothingIsSpilled(t *testing.T) {
	work := t.TempDir()
	t.Chdir(work)
	db := open(t, duck.Options{Memory: "40MB", Threads: 1})
	if _, err := db.Exec("CREATE TABLE t AS SELECT uuid() AS u, i FROM range(3000000) r(i)"); err == nil {
		t.Fatal("50 MB of values fitted in 40 MB: they must have gone somewhere")
	}
	files, err := os.ReadDir(work)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 0 {
		t.Fatalf("files were written: %v", files)
	}
}

func TestUUIDBytesSurvive(t *testing.T) {
	dir := t.TempDir()
	db := open(t, duck.Options{Dirs: []string{dir}})
	if _, err := db.Exec("CREATE TABLE t (u UUID)"); err != nil {
		t.Fatal(err)
	}
	values := [][]byte{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		{0xff, 1, 2, 3, 4, 5, 6, 7, 0x80, 9, 10, 11, 12, 13, 14, 0xff},
	}
	if err := db.Append(t.Context(), "t", func(add func(...driver.Value) error) error {
		for _, v := range values {
			if err := add(duck.Bytes16(v)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "t.parquet")
	if _, err := db.Exec("COPY (SELECT * FROM t ORDER BY u) TO " + duck.Text(file)); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT u FROM " + duck.Parquet([]string{file}) + " ORDER BY u")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		var u duck.ScanUUID
		if err := rows.Scan(&u); err != nil {
			t.Fatal(err)
		}
		if string(u[:]) != string(values[i]) { // UUID order is byte order
			t.Errorf("row %d: %x, want %x", i, u, values[i])
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestQuoting(t *testing.T) {
	db := open(t, duck.Options{})
	for _, s := range []string{`it's`, `a"b`, `'); DROP TABLE t; --`, "a\\", "é\n"} {
		var got string
		if err := db.QueryRow("SELECT x." + duck.Ident(s) + " FROM (SELECT " + duck.Text(s) + " AS " + duck.Ident(s) + ") x").Scan(&got); err != nil || got != s {
			t.Errorf("%q came back as %q, %v", s, got, err)
		}
	}
}
