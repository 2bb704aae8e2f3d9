package engine_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

func TestSQL(t *testing.T) {
	h := startHub(t)
	data := sample(1, 30, 300)
	h.deliver("d1", data)
	run := func(query string, asJSON bool) string {
		t.Helper()
		var out bytes.Buffer
		if err := engine.SQL(t.Context(), h.dir, query, &out, asJSON); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return out.String()
	}
	if got := run("SELECT count(*) AS n FROM cnam.snds.PRS", true); strings.TrimSpace(got) != string(mustJSON(t, map[string]int{"n": len(data.Rows["PRS"])})) {
		t.Errorf("%s", got)
	}
	joined := run("SELECT count(DISTINCT p.person) FROM cnam.snds.PRS p JOIN cnam.snds.BEN b ON p.person = b.person", true)
	if !strings.Contains(joined, "30") {
		t.Errorf("persons do not join: %s", joined)
	}
	if got := run("WITH x AS (SELECT CODE, min(DAY) AS first FROM cnam.snds.PRS GROUP BY 1) SELECT * FROM x ORDER BY CODE NULLS LAST LIMIT 2", false); !strings.Contains(got, "C50") || !strings.HasPrefix(got, "CODE") {
		t.Errorf("%s", got)
	}
	// The person's number means nothing outside a statement.
	one := "SELECT person FROM cnam.snds.BEN ORDER BY YEAR, DPT, person LIMIT 30"
	first, second := run(one, true), run(one, true)
	if first == second {
		t.Error("two statements show the same number for a person")
	}
	person := laketest.H(1)
	if strings.Contains(first, string(person[:])) {
		t.Error("a hub pseudonym is shown")
	}
	file, err := filepath.Glob(filepath.Join(h.dir, "lake", "cnam", "snds", "d1", "PRS", "b=00", "*.parquet"))
	if err != nil || len(file) != 1 {
		t.Fatal(file, err)
	}
	for name, query := range map[string]string{
		"hub pseudonym":     "SELECT h FROM cnam.snds.PRS",
		"file by function":  "SELECT * FROM read_parquet('" + file[0] + "')",
		"file by name":      "SELECT * FROM '" + file[0] + "'",
		"file in subquery":  "SELECT (SELECT count(*) FROM parquet_scan('" + file[0] + "'))",
		"text of a file":    "SELECT * FROM read_text('" + filepath.Join(h.dir, "identity.age") + "')",
		"definition":        "SELECT sql FROM duckdb_views()",
		"catalogue":         "SELECT * FROM sqlite_master",
		"schemas":           "SELECT view_definition FROM information_schema.views",
		"own name":          "WITH sqlite_master2 AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master2",
		"write":             "COPY (SELECT 1) TO '" + filepath.Join(h.dir, "lake", "x") + "'",
		"create":            "CREATE TABLE x AS SELECT 1",
		"drop":              "DROP VIEW cnam.snds.PRS",
		"attach":            "ATTACH '" + filepath.Join(h.dir, "state.db") + "'",
		"setting":           "SET enable_external_access = true",
		"pragma":            "PRAGMA database_list",
		"two statements":    "SELECT 1; SELECT 2",
		"nothing":           "",
		"not SQL":           "give me everything",
		"indirect by query": "SELECT * FROM query('SELECT h FROM read_parquet(''" + file[0] + "'')')",
	} {
		var out bytes.Buffer
		if err := engine.SQL(t.Context(), h.dir, query, &out, true); err == nil {
			t.Errorf("%s was allowed: %.200s", name, out.String())
		}
	}
	noted := 0
	for _, e := range h.entries(7) {
		if e.Action == "sql.statement" {
			noted++
			if e.Details["statement"] == "" || strings.Contains(string(mustJSON(t, e)), "SELECT") {
				t.Errorf("%+v", e)
			}
		}
	}
	if noted < 5 {
		t.Errorf("%d statements in the ledger", noted)
	}
	text, err := os.ReadFile(filepath.Join(h.dir, "sql.log"))
	check(t, err)
	var line struct{ Statement string }
	check(t, json.Unmarshal([]byte(strings.SplitN(string(text), "\n", 2)[0]), &line))
	if contract.DigestOf([]byte(line.Statement)) == "" || !strings.HasPrefix(line.Statement, "SELECT count(*)") {
		t.Errorf("sql.log: %q", line.Statement)
	}
}
