package plan_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

var now = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

func snapshot(t *testing.T) *lake.Snapshot {
	t.Helper()
	l, incoming := laketest.Open(t)
	data := laketest.Sample(rand.New(rand.NewPCG(1, 0)), 0, 10, 80)
	laketest.Publish(t, l, incoming, "d1", data)
	data.Schema.Holder = "other"
	laketest.Publish(t, l, incoming, "d2", data)
	s, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func permit() contract.Permit {
	p := contracttest.Permit(now)
	p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{
		{Table: "PRS", Columns: []string{"QTY", "DAY"}}, {Table: "BEN", Columns: []string{"YEAR"}}}}}
	p.Cohort = contract.Cohort{Period: p.Period, AnyOf: []contract.Criterion{
		{Holder: "cnam", Dataset: "snds", Table: "PRS", Column: "CODE", Codes: []string{"E11"}}}}
	return p
}

func TestProvisionResolves(t *testing.T) {
	p := permit()
	got, err := plan.Provision(&p, snapshot(t))
	if err != nil {
		t.Fatal(err)
	}
	prs := got.Tables[0]
	if len(got.Tables) != 2 || prs.FileName != "snds.PRS.parquet" || len(prs.Keep) != 2 || prs.Keep[0].Name != "DAY" || strings.Join(prs.Drop, " ") != "CODE AMOUNT" {
		t.Fatalf("%+v", got.Tables)
	}
	p.Cohort = contract.Cohort{All: true, Period: p.Period}
	if got, err = plan.Provision(&p, snapshot(t)); err != nil || len(got.Cohort.Tables) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestProvisionRefusesWithAClearList(t *testing.T) {
	s := snapshot(t)
	for name, c := range map[string]struct {
		says   []string
		change func(*contract.Permit)
	}{
		"dataset":        {[]string{"no data of dataset cnam/other"}, func(p *contract.Permit) { p.Datasets[0].Dataset = "other" }},
		"holder":         {[]string{"no data of dataset x/snds"}, func(p *contract.Permit) { p.Datasets[0].Holder = "x" }},
		"table":          {[]string{"table cnam/snds.NO does not exist"}, func(p *contract.Permit) { p.Datasets[0].Tables[0].Table = "NO" }},
		"table by case":  {[]string{"table cnam/snds.prs does not exist"}, func(p *contract.Permit) { p.Datasets[0].Tables[0].Table = "prs" }},
		"column":         {[]string{"column NO of table cnam/snds.PRS does not exist"}, func(p *contract.Permit) { p.Datasets[0].Tables[0].Columns[0] = "NO" }},
		"hub pseudonym":  {[]string{"column h of table cnam/snds.PRS does not exist"}, func(p *contract.Permit) { p.Datasets[0].Tables[0].Columns[0] = "h" }},
		"identity":       {[]string{"column NIR of table cnam/snds.BEN is an identity"}, func(p *contract.Permit) { p.Datasets[0].Tables[1].Columns[0] = "NIR" }},
		"person key":     {[]string{"replaced by person_id"}, func(p *contract.Permit) { p.Datasets[0].Tables[1].Columns[0] = "BEN_ID" }},
		"column twice":   {[]string{"listed twice"}, func(p *contract.Permit) { p.Datasets[0].Tables[0].Columns = []string{"DAY", "DAY"} }},
		"table twice":    {[]string{"listed twice"}, func(p *contract.Permit) { p.Datasets[0].Tables[1] = p.Datasets[0].Tables[0] }},
		"dataset twice":  {[]string{"listed twice"}, func(p *contract.Permit) { p.Datasets = append(p.Datasets, p.Datasets[0]) }},
		"criterion":      {[]string{"column NO of table cnam/snds.PRS does not exist"}, func(p *contract.Permit) { p.Cohort.AnyOf[0].Column = "NO" }},
		"no codes in it": {[]string{"holds no codes"}, func(p *contract.Permit) { p.Cohort.AnyOf[0].Column = "AMOUNT" }},
		"reference":      {[]string{"does not belong to persons"}, func(p *contract.Permit) { p.Cohort.AnyOf[0].Table = "REF" }},
		"undated": {[]string{"cannot be placed in the cohort's period"}, func(p *contract.Permit) {
			p.Cohort.AnyOf[0].Table, p.Cohort.AnyOf[0].Column = "NOTE", "WORDS"
		}},
		"nobody": {[]string{"no cohort"}, func(p *contract.Permit) {
			p.Datasets[0].Tables = []contract.TableScope{{Table: "REF", Columns: []string{"CODE"}}}
			p.Cohort = contract.Cohort{All: true, Period: p.Period}
		}},
		"same names": {[]string{"two holders have a table snds.PRS"}, func(p *contract.Permit) {
			p.Datasets = append(p.Datasets, contract.DatasetScope{Holder: "other", Dataset: "snds", Tables: p.Datasets[0].Tables[:1]})
		}},
		"kind": {[]string{"delivers no data"}, func(p *contract.Permit) { p.Kind = contract.PermitFeasibility }},
		"everything at once": {[]string{"column A of", "column B of", "no data of dataset x/y"}, func(p *contract.Permit) {
			p.Datasets[0].Tables[0].Columns = []string{"A", "B"}
			p.Cohort.AnyOf[0].Holder, p.Cohort.AnyOf[0].Dataset = "x", "y"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := permit()
			c.change(&p)
			_, err := plan.Provision(&p, s)
			if contract.RefusalCode(err) != "out_of_scope" {
				t.Fatalf("%v", err)
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
		})
	}
}

func TestFeasibilityStaysWithinTheStandingPermit(t *testing.T) {
	s := snapshot(t)
	standing := permit()
	standing.Kind = contract.PermitFeasibility
	standing.Datasets[0].Tables[0].Columns = []string{"CODE"}
	standing.Datasets[0].Tables[1].Columns = nil // any column
	for name, c := range map[string]struct {
		says   string // "": accepted
		change func(*contract.Permit, *contract.Cohort)
	}{
		"within":        {"", func(*contract.Permit, *contract.Cohort) {}},
		"any column":    {"", func(_ *contract.Permit, c *contract.Cohort) { c.AnyOf[0].Table, c.AnyOf[0].Column = "BEN", "DPT" }},
		"all":           {"", func(_ *contract.Permit, c *contract.Cohort) { c.All, c.AnyOf = true, nil }},
		"other column":  {"column DAY of table cnam/snds.PRS is not open", func(_ *contract.Permit, c *contract.Cohort) { c.AnyOf[0].Column = "DAY" }},
		"other table":   {"table cnam/snds.RPU is not open", func(_ *contract.Permit, c *contract.Cohort) { c.AnyOf[0].Table = "RPU" }},
		"other dataset": {"is not open", func(_ *contract.Permit, c *contract.Cohort) { c.AnyOf[0].Dataset = "greffes" }},
		"before":        {"is not within", func(_ *contract.Permit, c *contract.Cohort) { c.Period.From = "2019-12-31" }},
		"after":         {"is not within", func(_ *contract.Permit, c *contract.Cohort) { c.Period.To = "2023-01-01" }},
		"no such day":   {"dates must be written", func(_ *contract.Permit, c *contract.Cohort) { c.Period.To = "2022-02-31" }},
		"not delivered": {"no data of dataset cnam/new", func(p *contract.Permit, c *contract.Cohort) {
			p.Datasets = append(p.Datasets, contract.DatasetScope{Holder: "cnam", Dataset: "new", Tables: []contract.TableScope{{Table: "T"}}})
			c.AnyOf[0].Dataset, c.AnyOf[0].Table = "new", "T"
		}},
		"no cohort":   {"either all persons", func(_ *contract.Permit, c *contract.Cohort) { c.AnyOf = nil }},
		"data permit": {"answers no counts", func(p *contract.Permit, _ *contract.Cohort) { p.Kind = contract.PermitData }},
	} {
		t.Run(name, func(t *testing.T) {
			p := standing
			cohort := permit().Cohort
			c.change(&p, &cohort)
			got, err := plan.Feasibility(&p, cohort, s)
			if c.says == "" {
				if err != nil || got == nil {
					t.Fatal(err)
				}
				return
			}
			if code := contract.RefusalCode(err); (code != "out_of_scope" && code != "invalid") || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v does not say %q", err, c.says)
			}
		})
	}
}
