package gateway

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
)

// Sizes that answers may have, in characters and entries.
const (
	maxTitle   = 200
	maxLine    = 300
	maxProse   = 10_000
	maxEntries = 500
	maxColumns = 5_000
)

// Schemas finds the published structure of a dataset.
type Schemas func(holder, dataset string) (*contract.DatasetSchema, bool)

// wellFormed checks what is saved in a draft: sizes and names only, so that half an answer can be kept.
func (a Answers) wellFormed() error {
	var ps []Problem
	text := func(page, field, v string, limit int) {
		switch {
		case !utf8.ValidString(v):
			ps = append(ps, problem(page, field, "not_text"))
		case utf8.RuneCountInString(v) > limit:
			ps = append(ps, problem(page, field, "too_long", "max", fmt.Sprint(limit)))
		}
	}
	if p := a.Project; p != nil {
		text("project", "title", p.Title, maxTitle)
		text("project", "controller", p.Controller, maxLine)
		text("project", "lay_summary", p.LaySummary, maxProse)
	}
	if p := a.Purpose; p != nil {
		text("purpose", "aim", p.Aim, maxProse)
		for _, c := range p.Purposes {
			if !slices.Contains(PurposeCodes, c) {
				ps = append(ps, problem("purpose", "purposes", "unknown_purpose"))
			}
		}
	}
	if p := a.Data; p != nil {
		text("data", "need", p.Need, maxProse)
		ps = append(ps, scopesWellFormed(p.Datasets)...)
	}
	if p := a.Period; p != nil {
		text("period", "from", p.Period.From, 10)
		text("period", "to", p.Period.To, 10)
		if p.DurationMonths < 0 || p.DurationMonths > 120 {
			ps = append(ps, problem("period", "duration", "duration", "max", "120"))
		}
	}
	if p := a.Cohort; p != nil {
		ps = append(ps, cohortWellFormed(p.Cohort)...)
	}
	if p := a.Persons; p != nil {
		if len(p.Persons) > maxEntries {
			ps = append(ps, problem("persons", "persons", "too_many", "max", fmt.Sprint(maxEntries)))
		}
		seen := map[string]bool{}
		for _, x := range p.Persons {
			text("persons", "affiliation", x.Affiliation, maxLine)
			if x.Account == "" || seen[x.Account] {
				ps = append(ps, problem("persons", "persons", "person_twice"))
			}
			seen[x.Account] = true
		}
	}
	if p := a.OptOut; p != nil {
		text("optout", "justification", p.OptOut.Justification, maxProse)
	}
	if len(ps) > 0 {
		return &Invalid{ps}
	}
	return nil
}

func scopesWellFormed(ds []contract.DatasetScope) []Problem {
	var ps []Problem
	seen, columns := map[string]bool{}, 0
	for _, d := range ds {
		if !contract.ValidName(d.Holder) || !contract.ValidName(d.Dataset) || seen[d.Holder+"/"+d.Dataset] {
			ps = append(ps, problem("data", "datasets", "bad_dataset", "name", clip(d.Holder+"/"+d.Dataset)))
		}
		seen[d.Holder+"/"+d.Dataset] = true
		tables := map[string]bool{}
		for _, t := range d.Tables {
			if !contract.ValidName(t.Table) || tables[t.Table] {
				ps = append(ps, problem("data", "datasets", "bad_table", "name", clip(t.Table)))
			}
			tables[t.Table] = true
			columns += len(t.Columns)
			for _, c := range t.Columns {
				if !contract.ValidName(c) {
					ps = append(ps, problem("data", "datasets", "bad_column", "name", clip(t.Table+"."+c)))
				}
			}
		}
	}
	if len(ds) > maxEntries || columns > maxColumns {
		ps = append(ps, problem("data", "datasets", "too_many", "max", fmt.Sprint(maxColumns)))
	}
	return ps
}

func cohortWellFormed(c contract.Cohort) []Problem {
	var ps []Problem
	codes := 0
	for _, k := range c.AnyOf {
		codes += len(k.Codes)
		if !contract.ValidName(k.Holder) || !contract.ValidName(k.Dataset) || !contract.ValidName(k.Table) || !contract.ValidName(k.Column) {
			ps = append(ps, problem("cohort", "criteria", "bad_column", "name", clip(k.Table+"."+k.Column)))
		}
	}
	if len(c.AnyOf) > maxEntries || codes > maxColumns {
		ps = append(ps, problem("cohort", "criteria", "too_many", "max", fmt.Sprint(maxColumns)))
	}
	return ps
}

// clip keeps a wrong name short enough to be shown.
func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}

// PurposeCodes of Art. 53(1).
var PurposeCodes = []string{"a", "b", "c", "d", "e", "f"}

// publicOnly reports whether a purpose is open to public bodies only (Art. 53(2)).
func publicOnly(code string) bool { return code == "a" || code == "b" || code == "c" }

// Incomplete is the technical completeness check: all that must be mended before the application can be
// sent, in the order of the form. It never judges merit.
func Incomplete(p *Procedure, a Answers, schemas Schemas) []Problem {
	var ps []Problem
	need := func(ok bool, page, field, code string, args ...string) {
		if !ok {
			ps = append(ps, problem(page, field, code, args...))
		}
	}
	project := or(a.Project)
	need(project.Title != "", "project", "title", "title_missing")
	need(project.Controller != "", "project", "controller", "controller_missing")
	need(project.LaySummary != "", "project", "lay_summary", "summary_missing")

	purpose := or(a.Purpose)
	need(len(purpose.Purposes) > 0, "purpose", "purposes", "purpose_missing")
	for _, c := range purpose.Purposes {
		need(!publicOnly(c) || project.PublicBody, "purpose", "purposes", "purpose_public_only", "code", c)
	}
	need(purpose.Aim != "", "purpose", "aim", "aim_missing")
	need(purpose.NoProhibitedUse, "purpose", "no_prohibited_use", "declaration_missing")

	data := or(a.Data)
	need(len(data.Datasets) > 0, "data", "datasets", "data_missing")
	ps = append(ps, unknownData(data.Datasets, schemas)...)
	need(data.Need != "", "data", "need", "need_missing")

	period := or(a.Period)
	need(period.Period.Validate() == nil, "period", "from", "period_wrong")
	need(period.DurationMonths >= 1 && period.DurationMonths <= p.Permit.MaxMonths, "period", "duration", "duration",
		"max", fmt.Sprint(p.Permit.MaxMonths))

	if a.Cohort == nil {
		ps = append(ps, problem("cohort", "who", "cohort_missing"))
	} else {
		ps = append(ps, cohortProblems(a.Cohort.Cohort, schemas)...)
	}

	persons := or(a.Persons).Persons
	need(len(persons) > 0, "persons", "persons", "persons_missing")
	principals := 0
	for _, x := range persons {
		if x.Principal {
			principals++
		}
	}
	need(len(persons) == 0 || principals == 1, "persons", "principal", "principal_one")

	need(a.OptOut != nil, "optout", "honoured", "optout_missing")
	need(a.OptOut == nil || a.OptOut.OptOut.Honoured || a.OptOut.OptOut.Justification != "", "optout", "justification", "justification_missing")
	return ps
}

// or returns the page, or an empty one.
func or[P any](p *P) P {
	if p == nil {
		return *new(P)
	}
	return *p
}

// unknownData checks every table and column against the catalogue: nothing may be asked for that is not
// described, and never an identity trait or the person key.
func unknownData(ds []contract.DatasetScope, schemas Schemas) []Problem {
	var ps []Problem
	for _, d := range ds {
		s, ok := schemas(d.Holder, d.Dataset)
		if !ok {
			ps = append(ps, problem("data", "datasets", "dataset_unknown", "name", d.Holder+"/"+d.Dataset))
			continue
		}
		if len(d.Tables) == 0 {
			ps = append(ps, problem("data", "datasets", "no_table", "name", d.Holder+"/"+d.Dataset))
		}
		for _, t := range d.Tables {
			table, ok := s.Table(t.Table)
			if !ok {
				ps = append(ps, problem("data", "datasets", "table_unknown", "name", t.Table))
				continue
			}
			if len(t.Columns) == 0 {
				ps = append(ps, problem("data", "datasets", "no_column", "name", t.Table))
			}
			for _, c := range t.Columns {
				if col, ok := table.Column(c); !ok || col.Role != contract.RolePayload {
					ps = append(ps, problem("data", "datasets", "column_unknown", "name", t.Table+"."+c))
				}
			}
		}
	}
	return ps
}

func cohortProblems(c contract.Cohort, schemas Schemas) []Problem {
	var ps []Problem
	if c.All == (len(c.AnyOf) > 0) {
		return []Problem{problem("cohort", "who", "cohort_missing")}
	}
	if c.Period.Validate() != nil {
		ps = append(ps, problem("cohort", "from", "period_wrong"))
	}
	for _, k := range c.AnyOf {
		name := k.Table + "." + k.Column
		s, ok := schemas(k.Holder, k.Dataset)
		var col contract.Column
		if ok {
			if t, found := s.Table(k.Table); found {
				col, ok = t.Column(k.Column)
			} else {
				ok = false
			}
		}
		if !ok || col.Role != contract.RolePayload {
			ps = append(ps, problem("cohort", "criteria", "column_unknown", "name", name))
		}
		if len(k.Codes) == 0 || slices.Contains(k.Codes, "") {
			ps = append(ps, problem("cohort", "criteria", "codes_missing", "name", name))
		}
	}
	return ps
}
