package gateway

import (
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
)

var drawName = rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_-]{0,8}`)

func drawPeriod(t *rapid.T, label string) contract.Period {
	d := drawDay(t, label)
	return contract.Period{From: d.Format("2006-01-02"), To: d.AddDate(0, 0, rapid.IntRange(0, 900).Draw(t, "days")).Format("2006-01-02")}
}

func drawScopes(t *rapid.T) []contract.DatasetScope {
	var out []contract.DatasetScope
	for _, ds := range rapid.SliceOfNDistinct(drawName, 1, 3, rapid.ID[string]).Draw(t, "datasets") {
		d := contract.DatasetScope{Holder: "cnam", Dataset: ds}
		for _, table := range rapid.SliceOfNDistinct(drawName, 0, 3, rapid.ID[string]).Draw(t, "tables") {
			d.Tables = append(d.Tables, contract.TableScope{Table: table, Columns: rapid.SliceOfNDistinct(drawName, 1, 4, rapid.ID[string]).Draw(t, "columns")})
		}
		out = append(out, d)
	}
	return out
}

// What a page shows of saved answers, sent back unchanged, is the same answers.
func TestFormShowsWhatItReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zé&<]([a-zé&< ]{0,20}[a-z])?`)
		cohort := contract.Cohort{Period: drawPeriod(t, "cohort")}
		if rapid.Bool().Draw(t, "all") {
			cohort.All = true
		} else {
			for range rapid.IntRange(1, 4).Draw(t, "criteria") {
				cohort.AnyOf = append(cohort.AnyOf, contract.Criterion{Holder: "cnam", Dataset: "snds", Table: drawName.Draw(t, "t"), Column: drawName.Draw(t, "c"),
					Codes: rapid.SliceOfN(rapid.StringMatching(`[A-Z][0-9.]{0,4}`), 1, 4).Draw(t, "codes"), Prefix: rapid.Bool().Draw(t, "prefix")})
			}
		}
		accounts := rapid.SliceOfNDistinct(rapid.StringMatching(`acct-[a-z0-9]{1,6}`), 1, 4, rapid.ID[string]).Draw(t, "accounts")
		var persons []PersonRef
		for i, a := range accounts {
			persons = append(persons, PersonRef{Account: a, Affiliation: text.Draw(t, "affiliation"), Principal: i == 0})
		}
		optOut := contract.OptOut{Honoured: rapid.Bool().Draw(t, "honoured")}
		if !optOut.Honoured {
			optOut.Justification = text.Draw(t, "justification")
		}
		want := Answers{
			Project: &ProjectPage{Title: text.Draw(t, "title"), LaySummary: text.Draw(t, "summary"), Controller: text.Draw(t, "controller"), PublicBody: rapid.Bool().Draw(t, "public")},
			Purpose: &PurposePage{Purposes: rapid.SliceOfNDistinct(rapid.SampledFrom(PurposeCodes), 1, 3, rapid.ID[string]).Draw(t, "purposes"), Aim: text.Draw(t, "aim"), NoProhibitedUse: rapid.Bool().Draw(t, "declared")},
			Data:    &DataPage{Datasets: drawScopes(t), Need: text.Draw(t, "need")},
			Period:  &PeriodPage{Period: drawPeriod(t, "period"), DurationMonths: rapid.IntRange(1, 120).Draw(t, "months")},
			Cohort:  &CohortPage{cohort}, Persons: &PersonsPage{persons}, OptOut: &OptOutPage{optOut},
		}
		if err := want.wellFormed(); err != nil {
			t.Fatal(err)
		}
		var got Answers
		for _, page := range Pages {
			got.merge(parseForm(page, formValues(page, want)))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// Whatever a browser sends: it is kept or refused with reasons, never a crash, and what is kept is
// within the limits.
func FuzzParseForm(f *testing.F) {
	f.Add("data", "dataset=cnam/snds&column=cnam/snds/T/C&column=x")
	f.Add("cohort", "who=criteria&criterion-0=a/b/c/d&codes-0=E10,E11&from-day=31&from-month=2&from-year=2024")
	f.Add("persons", "account=a&account=a&remove=b&new_account=%ff")
	f.Add("period", "duration=-9&to-day=99999999999999999999")
	proc := frSnds(f)
	f.Fuzz(func(t *testing.T, page, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		a := parseForm(page, v)
		if err := a.wellFormed(); err == nil && a.Data != nil {
			for _, d := range a.Data.Datasets {
				if !contract.ValidName(d.Dataset) {
					t.Errorf("kept dataset %q", d.Dataset)
				}
			}
		}
		Incomplete(proc, a, func(string, string) (*contract.DatasetSchema, bool) { return nil, false })
	})
}

func TestIncomplete(t *testing.T) {
	schema := &contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{{Name: "T", Columns: []contract.Column{
		{Name: "KEY", Type: contract.TypeString, Role: contract.RolePersonKey}, {Name: "NIR", Type: contract.TypeString, Role: contract.RoleNIR}, {Name: "CODE", Type: contract.TypeString}}}}}
	schemas := func(holder, dataset string) (*contract.DatasetSchema, bool) { return schema, dataset == "snds" }
	full := func() Answers {
		p := contract.Period{From: "2022-01-01", To: "2022-12-31"}
		return Answers{Project: &ProjectPage{Title: "T", LaySummary: "S", Controller: "C"}, Purpose: &PurposePage{Purposes: []string{"e"}, Aim: "A", NoProhibitedUse: true},
			Data:   &DataPage{Need: "N", Datasets: []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "T", Columns: []string{"CODE"}}}}}},
			Period: &PeriodPage{p, 12}, Cohort: &CohortPage{contract.Cohort{All: true, Period: p}}, Persons: &PersonsPage{[]PersonRef{{Account: "a", Principal: true}}},
			OptOut: &OptOutPage{contract.OptOut{Honoured: true}}}
	}
	for _, c := range []struct {
		name string
		edit func(*Answers)
		want []string
	}{
		{"complete", func(*Answers) {}, nil},
		{"no title", func(a *Answers) { a.Project.Title = "" }, []string{"title_missing"}},
		{"policy, not a public body", func(a *Answers) { a.Purpose.Purposes = []string{"b", "e"} }, []string{"purpose_public_only"}},
		{"policy, public body", func(a *Answers) { a.Purpose.Purposes = []string{"b"}; a.Project.PublicBody = true }, nil},
		{"no declaration", func(a *Answers) { a.Purpose.NoProhibitedUse = false }, []string{"declaration_missing"}},
		{"identity trait", func(a *Answers) { a.Data.Datasets[0].Tables[0].Columns = []string{"NIR"} }, []string{"column_unknown"}},
		{"person key", func(a *Answers) { a.Data.Datasets[0].Tables[0].Columns = []string{"KEY"} }, []string{"column_unknown"}},
		{"unknown dataset", func(a *Answers) { a.Data.Datasets[0].Dataset = "x" }, []string{"dataset_unknown"}},
		{"dates the wrong way round", func(a *Answers) { a.Period.Period.From = "2023-01-01" }, []string{"period_wrong"}},
		{"31 February", func(a *Answers) { a.Period.Period.From = "2022-02-31" }, []string{"period_wrong"}},
		{"eleven years", func(a *Answers) { a.Period.DurationMonths = 132 }, []string{"duration"}},
		{"two principals", func(a *Answers) {
			a.Persons.Persons = append(a.Persons.Persons, PersonRef{Account: "b", Principal: true})
		}, []string{"principal_one"}},
		{"exception without a reason", func(a *Answers) { a.OptOut.OptOut.Honoured = false }, []string{"justification_missing"}},
		{"cohort by an identity trait", func(a *Answers) {
			a.Cohort.Cohort = contract.Cohort{Period: a.Period.Period, AnyOf: []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "T", Column: "NIR", Codes: []string{"1"}}}}
		}, []string{"column_unknown"}},
		{"criterion without codes", func(a *Answers) {
			a.Cohort.Cohort = contract.Cohort{Period: a.Period.Period, AnyOf: []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "T", Column: "CODE"}}}
		}, []string{"codes_missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := full()
			c.edit(&a)
			var got []string
			for _, p := range Incomplete(frSnds(t), a, schemas) {
				got = append(got, p.Code)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
