// Package plan resolves what a permit or a feasibility query asks for against a snapshot of the lake:
// which tables and columns, which criteria, which days. Provision and feasibility run what it returns.
// It reads no data, and it must never widen what the signed permit says.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake"
)

// Plan is a data permit resolved against a snapshot.
type Plan struct {
	Permit *contract.Permit
	Tables []Table
	Cohort Cohort
}

// Table is one table to be delivered.
type Table struct {
	*lake.Table
	Manifest *lake.Manifest
	// Keep are the permitted columns in the lake's order; Drop names the others.
	Keep []contract.Column
	Drop []string
	// Name of the delivered file, without ".age".
	FileName string
}

// Cohort is a selection of persons.
type Cohort struct {
	// All: everybody with a row in one of Tables. Otherwise everybody who fits one of Criteria.
	All      bool
	Tables   []Source
	Criteria []Criterion
	Period   contract.Period
}

// Source is a table with its delivery.
type Source struct {
	*lake.Table
	Manifest *lake.Manifest
}

// Criterion matches rows of one table by codes.
type Criterion struct {
	Source
	Column contract.Column
	Codes  []string
	Prefix bool
}

// problems collects everything that is wrong, so that a permit is mended once and not five times.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p problems) refusal() error {
	if len(p) == 0 {
		return nil
	}
	return contract.Refuse("out_of_scope", "%s", strings.Join(p, "; "))
}

// Provision resolves a data permit. A *contract.Refusal lists every dataset, table and column that the
// lake does not have.
func Provision(p *contract.Permit, s *lake.Snapshot) (*Plan, error) {
	if p.Kind != contract.PermitData {
		return nil, contract.Refuse("out_of_scope", "a permit of kind %s delivers no data", p.Kind)
	}
	out := &Plan{Permit: p}
	var bad problems
	seen := map[string]bool{}
	names := map[string]bool{}
	for _, d := range p.Datasets {
		m, ok := s.Dataset(d.Holder, d.Dataset)
		if !ok {
			bad.add("no data of dataset %s/%s has been delivered", d.Holder, d.Dataset)
			continue
		}
		for _, scope := range d.Tables {
			full := d.Holder + "/" + d.Dataset + "." + scope.Table
			if seen[full] {
				bad.add("table %s is listed twice", full)
				continue
			}
			seen[full] = true
			t, ok := m.Table(scope.Table)
			if !ok {
				bad.add("table %s does not exist", full)
				continue
			}
			table := Table{Table: t, Manifest: m, FileName: d.Dataset + "." + t.Name + ".parquet"}
			if file := strings.ToLower(table.FileName); names[file] {
				bad.add("two holders have a table %s.%s: the files of one project would have the same name", d.Dataset, t.Name)
			} else {
				names[file] = true
			}
			checkColumns(&bad, full, m, t, scope.Columns)
			for _, c := range t.Columns {
				if slices.Contains(scope.Columns, c.Name) {
					table.Keep = append(table.Keep, c)
				} else {
					table.Drop = append(table.Drop, c.Name)
				}
			}
			out.Tables = append(out.Tables, table)
		}
	}
	out.Cohort = resolve(&bad, p.Cohort, s)
	if p.Cohort.All {
		for _, t := range out.Tables {
			if t.Keyed {
				out.Cohort.Tables = append(out.Cohort.Tables, Source{t.Table, t.Manifest})
			}
		}
		if len(out.Cohort.Tables) == 0 && len(bad) == 0 {
			bad.add("none of the tables belongs to persons: there is no cohort")
		}
	}
	if err := bad.refusal(); err != nil {
		return nil, err
	}
	return out, nil
}

// checkColumns notes permitted columns that the table does not have, and why.
func checkColumns(bad *problems, full string, m *lake.Manifest, t *lake.Table, permitted []string) {
	declared, _ := m.Structure.Table(t.Name)
	for i, name := range permitted {
		if slices.Contains(permitted[:i], name) {
			bad.add("column %s of table %s is listed twice", name, full)
			continue
		}
		if _, ok := t.Column(name); ok {
			continue
		}
		switch c, ok := declared.Column(name); {
		case ok && c.Role == contract.RolePersonKey:
			bad.add("column %s of table %s is the holder's number of the person, which is replaced by person_id", name, full)
		case ok && c.Role.Identity():
			bad.add("column %s of table %s is an identity, which never comes here", name, full)
		default:
			bad.add("column %s of table %s does not exist", name, full)
		}
	}
}

// resolve finds the tables and columns of a cohort's criteria.
func resolve(bad *problems, c contract.Cohort, s *lake.Snapshot) Cohort {
	out := Cohort{All: c.All, Period: c.Period}
	for _, k := range c.AnyOf {
		full := k.Holder + "/" + k.Dataset + "." + k.Table
		m, ok := s.Dataset(k.Holder, k.Dataset)
		if !ok {
			bad.add("no data of dataset %s/%s has been delivered", k.Holder, k.Dataset)
			continue
		}
		t, ok := m.Table(k.Table)
		if !ok {
			bad.add("table %s does not exist", full)
			continue
		}
		column, ok := t.Column(k.Column)
		switch {
		case !ok:
			bad.add("column %s of table %s does not exist", k.Column, full)
		case column.Type != contract.TypeString && column.Type != contract.TypeInteger:
			bad.add("column %s of table %s is of type %s and holds no codes", k.Column, full, column.Type)
		case !t.Keyed:
			bad.add("table %s does not belong to persons and cannot select them", full)
		case t.EventDate == "" && !t.PersonTable && t.Rows > 0:
			bad.add("table %s has no event date: its rows cannot be placed in the cohort's period", full)
		default:
			out.Criteria = append(out.Criteria, Criterion{Source: Source{t, m}, Column: column, Codes: k.Codes, Prefix: k.Prefix})
		}
	}
	return out
}

// Feasibility resolves a count under a standing permit: criteria may only touch the permit's tables,
// its columns where it lists any, and its period.
func Feasibility(p *contract.Permit, c contract.Cohort, s *lake.Snapshot) (*Cohort, error) {
	if p.Kind != contract.PermitFeasibility {
		return nil, contract.Refuse("out_of_scope", "a permit of kind %s answers no counts", p.Kind)
	}
	if err := c.Validate(); err != nil {
		return nil, contract.Refuse("invalid", "cohort: %v", err)
	}
	var bad problems
	if c.Period.From < p.Period.From || c.Period.To > p.Period.To {
		bad.add("the period %s to %s is not within %s to %s", c.Period.From, c.Period.To, p.Period.From, p.Period.To)
	}
	for _, k := range c.AnyOf {
		scope, ok := scopeOf(p, k.Holder, k.Dataset, k.Table)
		if !ok {
			bad.add("table %s/%s.%s is not open to counts", k.Holder, k.Dataset, k.Table)
		} else if len(scope.Columns) > 0 && !slices.Contains(scope.Columns, k.Column) {
			bad.add("column %s of table %s/%s.%s is not open to counts", k.Column, k.Holder, k.Dataset, k.Table)
		}
	}
	if err := bad.refusal(); err != nil {
		return nil, err
	}
	out := resolve(&bad, c, s)
	if c.All {
		for _, d := range p.Datasets {
			// A dataset that has not been delivered yet has nobody in it.
			m, ok := s.Dataset(d.Holder, d.Dataset)
			if !ok {
				continue
			}
			for _, scope := range d.Tables {
				if t, ok := m.Table(scope.Table); ok && t.Keyed {
					out.Tables = append(out.Tables, Source{t, m})
				}
			}
		}
	}
	if err := bad.refusal(); err != nil {
		return nil, err
	}
	return &out, nil
}

func scopeOf(p *contract.Permit, holder, dataset, table string) (contract.TableScope, bool) {
	for _, d := range p.Datasets {
		if d.Holder != holder || d.Dataset != dataset {
			continue
		}
		for _, t := range d.Tables {
			if t.Table == table {
				return t, true
			}
		}
	}
	return contract.TableScope{}, false
}
