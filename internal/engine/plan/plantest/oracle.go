// Package plantest is the slow and obvious reference of what engine selects: every row of the lake is
// read, without DuckDB, and looked at on its own. Tests compare engine with it.
package plantest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

// Set is a set of hub pseudonyms.
type Set map[[16]byte]bool

// Selection is what a permit gives.
type Selection struct {
	Matched, Objected, Delivered Set
	Tables                       []Table // as the permit lists them
}

// Table is one table of a selection.
type Table struct {
	Name    string
	RowsIn  int64
	Rows    []laketest.Row // permitted columns, and "h" in tables that belong to persons
	Dropped map[string]int64
}

// Cohort returns the persons of a cohort; scope are the tables that "all" means.
func Cohort(t laketest.T, c contract.Cohort, scope []contract.DatasetScope, s *lake.Snapshot) Set {
	t.Helper()
	out := Set{}
	if c.All {
		for _, d := range scope {
			for _, table := range d.Tables {
				for _, row := range rows(t, s, d.Holder, d.Dataset, table.Table) {
					if h, ok := row["h"].([16]byte); ok {
						out[h] = true
					}
				}
			}
		}
	}
	for _, k := range c.AnyOf {
		_, declared := table(t, s, k.Holder, k.Dataset, k.Table)
		for _, row := range rows(t, s, k.Holder, k.Dataset, k.Table) {
			if declared.EventDate != "" && !within(row[declared.EventDate], c.Period) {
				continue
			}
			if row[k.Column] != nil && fits(fmt.Sprint(row[k.Column]), k) {
				out[row["h"].([16]byte)] = true
			}
		}
	}
	return out
}

func fits(value string, k contract.Criterion) bool {
	for _, code := range k.Codes {
		if value == code || (k.Prefix && strings.HasPrefix(value, code)) {
			return true
		}
	}
	return false
}

// within compares days as text: YYYY-MM-DD sorts as dates do.
func within(v any, p contract.Period) bool {
	s, ok := v.(string)
	return ok && s[:10] >= p.From && s[:10] <= p.To
}

// Select applies a permit row by row.
func Select(t laketest.T, p *contract.Permit, s *lake.Snapshot, objectors Set) Selection {
	t.Helper()
	out := Selection{Matched: Cohort(t, p.Cohort, p.Datasets, s), Objected: Set{}, Delivered: Set{}}
	for h := range out.Matched {
		if p.OptOut.Honoured && objectors[h] {
			out.Objected[h] = true
		} else {
			out.Delivered[h] = true
		}
	}
	for _, d := range p.Datasets {
		for _, scope := range d.Tables {
			noted, declared := table(t, s, d.Holder, d.Dataset, scope.Table)
			res := Table{Name: scope.Table, Dropped: map[string]int64{}}
			for _, row := range rows(t, s, d.Holder, d.Dataset, scope.Table) {
				res.RowsIn++
				if why := drop(row, noted, declared, p, out); why != "" {
					res.Dropped[why]++
					continue
				}
				kept := laketest.Row{}
				for column, v := range row {
					if column == "h" || slices.Contains(scope.Columns, column) {
						kept[column] = v
					}
				}
				res.Rows = append(res.Rows, kept)
			}
			out.Tables = append(out.Tables, res)
		}
	}
	return out
}

// drop says why a row is not delivered, or "".
func drop(row laketest.Row, noted *lake.Table, declared *contract.Table, p *contract.Permit, sel Selection) string {
	h, keyed := row["h"].([16]byte)
	switch {
	case !keyed:
		return "" // a reference table
	case !sel.Matched[h]:
		return "not_in_cohort"
	case sel.Objected[h]:
		return "objected"
	case declared.EventDate == "" && !noted.PersonTable:
		return "no_date"
	case declared.EventDate == "":
		return ""
	case row[declared.EventDate] == nil:
		return "no_date"
	case !within(row[declared.EventDate], p.Period):
		return "outside_period"
	}
	return ""
}

func table(t laketest.T, s *lake.Snapshot, holder, dataset, name string) (*lake.Table, *contract.Table) {
	t.Helper()
	m, ok := s.Dataset(holder, dataset)
	if !ok {
		t.Fatalf("no dataset %s/%s", holder, dataset)
	}
	noted, ok := m.Table(name)
	if !ok {
		t.Fatalf("no table %s", name)
	}
	declared, _ := m.Structure.Table(name)
	return noted, declared
}

func rows(t laketest.T, s *lake.Snapshot, holder, dataset, name string) []laketest.Row {
	t.Helper()
	noted, _ := table(t, s, holder, dataset, name)
	m, _ := s.Dataset(holder, dataset)
	return laketest.ReadRows(t, m.Files(noted)...)
}

// Draw draws a permit over the tables of laketest.Claims in the given datasets ("holder/dataset").
func Draw(r laketest.Source, p contract.Permit, datasets ...string) contract.Permit {
	chance := func(n int) bool { return r.IntN(n) == 0 }
	days := laketest.Days
	period := func() contract.Period {
		a, b := r.IntN(len(days)), r.IntN(len(days))
		return contract.Period{From: days[min(a, b)], To: days[max(a, b)]}
	}
	schema := laketest.Claims()
	p.Datasets = nil
	for _, full := range datasets {
		holder, dataset, _ := strings.Cut(full, "/")
		d := contract.DatasetScope{Holder: holder, Dataset: dataset}
		for _, t := range schema.Tables {
			var columns []string
			for _, c := range t.Columns {
				if c.Role == contract.RolePayload && !chance(3) {
					columns = append(columns, c.Name)
				}
			}
			if len(columns) > 0 && !chance(4) {
				d.Tables = append(d.Tables, contract.TableScope{Table: t.Name, Columns: columns})
			}
		}
		if len(d.Tables) > 0 {
			p.Datasets = append(p.Datasets, d)
		}
	}
	p.Period, p.Cohort = period(), DrawCohort(r, datasets...)
	if chance(4) {
		p.OptOut = contract.OptOut{Justification: "public health emergency"}
	}
	return p
}

// DrawCohort draws criteria, or all.
func DrawCohort(r laketest.Source, datasets ...string) contract.Cohort {
	days := laketest.Days
	a, b := r.IntN(len(days)), r.IntN(len(days))
	c := contract.Cohort{Period: contract.Period{From: days[min(a, b)], To: days[max(a, b)]}}
	if r.IntN(5) == 0 {
		c.All = true
		return c
	}
	for range 1 + r.IntN(3) {
		holder, dataset, _ := strings.Cut(datasets[r.IntN(len(datasets))], "/")
		k := contract.Criterion{Holder: holder, Dataset: dataset, Prefix: r.IntN(2) == 0}
		switch r.IntN(5) {
		case 0:
			k.Table, k.Column, k.Codes = "BEN", "DPT", []string{"2A"}
		case 1:
			k.Table, k.Column, k.Codes = "BEN", "YEAR", []string{"195", "1960"}
		case 2:
			k.Table, k.Column = "RPU", "DIAG"
		default:
			k.Table, k.Column = "PRS", "CODE"
		}
		for len(k.Codes) == 0 || r.IntN(3) == 0 {
			k.Codes = append(k.Codes, laketest.Codes[r.IntN(len(laketest.Codes))])
		}
		c.AnyOf = append(c.AnyOf, k)
	}
	return c
}
