package minimality_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/engine/minimality"
)

const good = "SELECT 'p1' AS person_id, DATE '2020-01-01' AS DAY, 'E11' AS CODE UNION ALL SELECT 'p2', DATE '2022-12-31', NULL"

// write makes a file from SQL, as provision's last step does.
func write(t *testing.T, dir, path, query string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := duck.Open(t.Context(), duck.Options{Dirs: []string{dir}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("COPY (" + query + ") TO " + duck.Text(path) + " (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		final, staged string // queries; "" for what fits
		change        func(*minimality.Result)
		says          string // "": nothing is wrong
	}{
		"as permitted":             {"", "", nil, ""},
		"fewer columns":            {"SELECT 'p1' AS person_id, 'E11' AS CODE UNION ALL SELECT 'p2', 'x'", "", nil, ""},
		"column too many":          {"SELECT *, 1 AS QTY FROM (" + good + ")", "", nil, "column QTY is not in the permit"},
		"hub pseudonym":            {"SELECT *, uuid() AS h FROM (" + good + ")", "", nil, "column h is not in the permit"},
		"no person":                {"SELECT DAY, CODE FROM (" + good + ")", "", nil, "person_id is missing"},
		"stranger":                 {"SELECT 'p3' AS person_id, DAY, CODE FROM (" + good + ")", "", nil, "persons who are not"},
		"nobody":                   {"SELECT NULL::VARCHAR AS person_id, DAY, CODE FROM (" + good + ")", "", nil, "persons who are not"},
		"day before":               {"SELECT person_id, DAY - 1 AS DAY, CODE FROM (" + good + ")", "", nil, "outside the permitted period"},
		"day after":                {"SELECT person_id, DAY + 1 AS DAY, CODE FROM (" + good + ")", "", nil, "outside the permitted period"},
		"no day":                   {"SELECT person_id, NULL::DATE AS DAY, CODE FROM (" + good + ")", "", nil, "without a date"},
		"row too many":             {good + " UNION ALL SELECT 'p1', DATE '2021-01-01', 'x'", "", nil, "number of rows"},
		"day not delivered":        {"SELECT person_id, CODE FROM (" + good + ")", "SELECT 0 AS reason, DATE '2019-12-31' AS event_day UNION ALL SELECT 0, DATE '2020-01-01'", nil, "outside the permitted period"},
		"other rows than selected": {"", "SELECT 0 AS reason, DATE '2020-01-01' AS event_day UNION ALL SELECT 1, NULL", nil, "number of rows than were selected"},
		"identity in the permit": {"SELECT *, 'x' AS NAME FROM (" + good + ")", "", func(r *minimality.Result) {
			r.Permit.Datasets[0].Tables[0].Columns = append(r.Permit.Datasets[0].Tables[0].Columns, "NAME")
			r.Files[0].Structure.Tables[1].Columns = append(r.Files[0].Structure.Tables[1].Columns, contract.Column{Name: "NAME", Type: contract.TypeString, Role: contract.RoleBirthName})
		}, "column NAME is not payload"},
		"table not permitted": {"", "", func(r *minimality.Result) { r.Files[0].Table = "BEN" }, "not in the permit"},
		"nobody is allowed":   {"", "", func(r *minimality.Result) { r.Persons = nil }, "persons who are not"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.final == "" {
				c.final = good
			}
			if c.staged == "" {
				c.staged = "SELECT 0 AS reason, DATE '2020-01-01' AS event_day UNION ALL SELECT 0, DATE '2022-12-31' UNION ALL SELECT 3, NULL"
			}
			final, staged := filepath.Join(dir, "final.parquet"), filepath.Join(dir, "staged")
			write(t, dir, final, c.final)
			write(t, dir, filepath.Join(staged, "data_0.parquet"), c.staged)
			p := contracttest.Permit(time.Now())
			p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "PRS", Columns: []string{"DAY", "CODE"}}}}}
			p.Period = contract.Period{From: "2020-01-01", To: "2022-12-31"}
			r := minimality.Result{Permit: &p, Persons: map[string]bool{"p1": true, "p2": true}, Dir: dir, Memory: "200MB", Threads: 1,
				Files: []minimality.File{{Holder: "cnam", Dataset: "snds", Table: "PRS", Structure: laketest.Claims(), Path: final, Staged: staged, Rows: 2}}}
			if c.change != nil {
				c.change(&r)
			}
			err := minimality.Check(t.Context(), r)
			switch {
			case c.says == "" && err != nil:
				t.Fatal(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Fatalf("want an error that says %q, got %v", c.says, err)
			}
		})
	}
}

func TestCheckReferenceTables(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ref.parquet")
	write(t, dir, path, "SELECT 'E11' AS CODE, 'x' AS LABEL")
	p := contracttest.Permit(time.Now())
	p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "REF", Columns: []string{"CODE", "LABEL"}}}}}
	r := minimality.Result{Permit: &p, Dir: dir, Memory: "200MB", Threads: 1,
		Files: []minimality.File{{Holder: "cnam", Dataset: "snds", Table: "REF", Structure: laketest.Claims(), Path: path, Rows: 1}}}
	if err := minimality.Check(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	write(t, dir, path, "SELECT 'E11' AS CODE, 'p1' AS person_id")
	if err := minimality.Check(t.Context(), r); err == nil || !strings.Contains(err.Error(), "person_id is not in the permit") {
		t.Fatalf("%v", err)
	}
}
