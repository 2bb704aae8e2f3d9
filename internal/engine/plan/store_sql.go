package plan

import (
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
)

// Persons is a query for the hub pseudonyms of the cohort; a person may come more than once.
func (c *Cohort) Persons() string {
	var parts []string
	if c.All {
		for _, s := range c.Tables {
			parts = append(parts, "SELECT h FROM "+duck.Parquet([]string{s.Manifest.PersonsFile(s.Table)}))
		}
	}
	for _, k := range c.Criteria {
		where := k.matches()
		if k.EventDate != "" {
			where += " AND " + InPeriod(k.Table, "", c.Period)
		}
		parts = append(parts, "SELECT h FROM "+duck.Parquet(k.Manifest.Files(k.Table))+" WHERE "+where)
	}
	if len(parts) == 0 {
		return "SELECT NULL::UUID AS h WHERE false"
	}
	return strings.Join(parts, " UNION ALL ")
}

// matches is the condition on the code column.
func (k *Criterion) matches() string {
	column := duck.Ident(k.Column.Name)
	if k.Column.Type == contract.TypeInteger {
		column = "CAST(" + column + " AS VARCHAR)"
	}
	if !k.Prefix {
		return column + " IN (" + duck.Texts(k.Codes) + ")"
	}
	alternatives := make([]string, len(k.Codes))
	for i, code := range k.Codes {
		alternatives[i] = "prefix(" + column + ", " + duck.Text(code) + ")"
	}
	return "(" + strings.Join(alternatives, " OR ") + ")"
}

// InPeriod is the condition that a row's event lies on one of the period's days; unknown (NULL) when
// the row has no date. from prefixes the column's name. The column is compared as it is, so that files'
// statistics can be used. The period's dates must be valid.
func InPeriod(t *lake.Table, from string, p contract.Period) string {
	column := from + duck.Ident(t.EventDate)
	c, _ := t.Column(t.EventDate)
	if c.Type == contract.TypeDate {
		return "(" + column + " BETWEEN DATE " + duck.Text(p.From) + " AND DATE " + duck.Text(p.To) + ")"
	}
	end := p.To
	if day, err := time.Parse(time.DateOnly, p.To); err == nil {
		end = day.AddDate(0, 0, 1).Format(time.DateOnly)
	}
	return "(" + column + " >= TIMESTAMP " + duck.Text(p.From+" 00:00:00") + " AND " + column + " < TIMESTAMP " + duck.Text(end+" 00:00:00") + ")"
}
