package jobsql

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
)

// dataset writes Parquet files with the names that the handover has.
func dataset(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for file, query := range map[string]string{
		"snds.IR_BEN_R.parquet": "SELECT uuid() AS p, 1 + i % 2 AS BEN_SEX_COD, 1950 + i % 40 AS BEN_NAI_ANN FROM range(100) t(i)",
		"snds.ER_PRS_F.parquet": "SELECT i AS n, DATE '2021-01-01' + (i % 300)::INTEGER AS EXE_SOI_DTD, 1.5 * i AS amount, 'x' || i AS code FROM range(500) t(i)",
		"oscour.RPU.parquet":    "SELECT 1 AS a",
		"other.RPU.parquet":     "SELECT 2 AS a",
	} {
		if _, err := db.Exec("COPY (" + query + ") TO '" + filepath.Join(dir, file) + "' (FORMAT parquet)"); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, data, script string) (string, string, error) {
	t.Helper()
	out := t.TempDir()
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	err := Run(context.Background(), Options{Data: data, Out: out, Script: file, Memory: 256 << 20, Threads: 1, MaxRows: 1000}, &log)
	b, _ := os.ReadFile(filepath.Join(out, "result.csv"))
	return string(b), log.String(), err
}

func TestRun(t *testing.T) {
	data := dataset(t)
	for _, c := range []struct{ name, script, want, err string }{
		{"count by group", "SELECT BEN_SEX_COD AS sex, count(*) AS n FROM IR_BEN_R GROUP BY 1 ORDER BY 1", "sex,n\n1,50\n2,50\n", ""},
		{"qualified name", `SELECT count(*) AS n FROM snds."ER_PRS_F";`, "n\n500\n", ""},
		{"same name in two datasets", "SELECT a FROM oscour.RPU UNION ALL SELECT a FROM other.RPU ORDER BY 1", "a\n1\n2\n", ""},
		{"ambiguous short name", "SELECT a FROM RPU", "", "RPU"},
		{"several statements, the last counts", "CREATE TEMP TABLE t AS SELECT 7 AS x; SELECT 1; SELECT x, NULL AS y, DATE '2021-02-03' AS d, 2.5::DECIMAL(9,2) AS m, 'a,b' AS s FROM t;", "x,y,d,m,s\n7,,2021-02-03,2.5,\"a,b\"\n", ""},
		{"no rows", "CREATE TABLE t (a INT)", "", "no rows"},
		{"no statement", "  ", "", ""},
		{"syntax", "SELEC 1", "", "syntax error"},
		{"too many rows", "SELECT * FROM range(200000)", "", "more than 1000 rows"},
		{"another file", "SELECT * FROM read_csv('/etc/passwd')", "", "disabled"},
		{"write elsewhere", "COPY (SELECT 1) TO '/tmp/escape.csv'", "", "disabled"},
		{"network", "SELECT * FROM read_parquet('http://127.0.0.1/x.parquet')", "", ""},
		{"extension", "INSTALL httpfs", "", "disabled"},
		{"unlock", "SET enable_external_access = true; SELECT 1", "", "Cannot"},
		{"raise memory", "SET memory_limit = '100GB'; SELECT 1", "", "locked"},
		{"attach", "ATTACH '/tmp/x.db'; SELECT 1", "", "disabled"},
		{"environment", "SELECT getenv('PATH') AS p", "", "getenv"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, log, err := run(t, data, c.script)
			if c.want != "" {
				if err != nil || got != c.want {
					t.Errorf("got %q, %v (log %q), want %q", got, err, log, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %q, error %v, want one with %q", got, err, c.err)
			}
			if got != "" {
				t.Errorf("a failed run left %q", got)
			}
		})
	}
}

func TestTablesAsCSV(t *testing.T) {
	data, out := dataset(t), t.TempDir()
	if err := Run(context.Background(), Options{Data: data, Out: out, Memory: 256 << 20, Threads: 1, MaxRows: 10}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "snds.ER_PRS_F.csv"))
	if err != nil || strings.Count(string(b), "\n") != 501 || !strings.HasPrefix(string(b), "n,EXE_SOI_DTD,amount,code\n") {
		t.Errorf("%d lines, %v", strings.Count(string(b), "\n"), err)
	}
}

func TestBadDataNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nodot.parquet"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tables(dir); err == nil {
		t.Error("a file without dataset was accepted")
	}
}
