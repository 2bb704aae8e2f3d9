package gateway

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
)

// formValues writes a page of the answers as form fields, parseForm reads them back. Both know the names
// of all fields of the application form.
func formValues(page string, a Answers) url.Values {
	v := url.Values{}
	switch page {
	case "project":
		p := or(a.Project)
		v.Set("title", p.Title)
		v.Set("lay_summary", p.LaySummary)
		v.Set("controller", p.Controller)
		if a.Project != nil {
			v.Set("public_body", yesNo(p.PublicBody))
		}
	case "purpose":
		p := or(a.Purpose)
		v["purposes"] = p.Purposes
		v.Set("aim", p.Aim)
		if p.NoProhibitedUse {
			v.Set("no_prohibited_use", "yes")
		}
	case "data":
		p := or(a.Data)
		v.Set("need", p.Need)
		for _, d := range p.Datasets {
			v.Add("dataset", d.Holder+"/"+d.Dataset)
			for _, t := range d.Tables {
				for _, c := range t.Columns {
					v.Add("column", strings.Join([]string{d.Holder, d.Dataset, t.Table, c}, "/"))
				}
			}
		}
	case "period":
		p := or(a.Period)
		setDate(v, "from", p.Period.From)
		setDate(v, "to", p.Period.To)
		if p.DurationMonths > 0 {
			v.Set("duration", strconv.Itoa(p.DurationMonths))
		}
	case "cohort":
		if a.Cohort == nil {
			break
		}
		c := a.Cohort.Cohort
		if c.All {
			v.Set("who", "all")
		} else if len(c.AnyOf) > 0 {
			v.Set("who", "criteria")
		}
		setDate(v, "from", c.Period.From)
		setDate(v, "to", c.Period.To)
		for i, k := range c.AnyOf {
			v.Set(fmt.Sprintf("criterion-%d", i), strings.Join([]string{k.Holder, k.Dataset, k.Table, k.Column}, "/"))
			v.Set(fmt.Sprintf("codes-%d", i), strings.Join(k.Codes, ", "))
			if k.Prefix {
				v.Set(fmt.Sprintf("prefix-%d", i), "yes")
			}
		}
	case "persons":
		for _, p := range or(a.Persons).Persons {
			v.Add("account", p.Account)
			v.Set("affiliation-"+p.Account, p.Affiliation)
			if p.Principal {
				v.Set("principal", p.Account)
			}
		}
	case "optout":
		if a.OptOut != nil {
			v.Set("honoured", yesNo(a.OptOut.OptOut.Honoured))
			v.Set("justification", a.OptOut.OptOut.Justification)
		}
	}
	return v
}

// parseForm reads one page of the form. It never fails: what makes no sense is found by the checks.
func parseForm(page string, v url.Values) Answers {
	text := func(name string) string {
		return strings.TrimSpace(strings.ReplaceAll(v.Get(name), "\r\n", "\n"))
	}
	switch page {
	case "project":
		return Answers{Project: &ProjectPage{Title: text("title"), LaySummary: text("lay_summary"), Controller: text("controller"), PublicBody: v.Get("public_body") == "yes"}}
	case "purpose":
		return Answers{Purpose: &PurposePage{Purposes: v["purposes"], Aim: text("aim"), NoProhibitedUse: v.Get("no_prohibited_use") == "yes"}}
	case "data":
		return Answers{Data: &DataPage{Datasets: parseColumns(v["dataset"], v["column"]), Need: text("need")}}
	case "period":
		months, err := strconv.Atoi(text("duration"))
		if err != nil || months < 0 {
			months = 0
		}
		return Answers{Period: &PeriodPage{Period: contract.Period{From: joinDate(v, "from"), To: joinDate(v, "to")}, DurationMonths: months}}
	case "cohort":
		c := contract.Cohort{All: v.Get("who") == "all", Period: contract.Period{From: joinDate(v, "from"), To: joinDate(v, "to")}}
		if v.Get("who") == "criteria" {
			c.AnyOf = parseCriteria(v)
		}
		return Answers{Cohort: &CohortPage{c}}
	case "persons":
		return Answers{Persons: &PersonsPage{parsePersons(v)}}
	case "optout":
		o := contract.OptOut{Honoured: v.Get("honoured") == "yes"}
		if !o.Honoured {
			o.Justification = text("justification")
		}
		if v.Get("honoured") == "" {
			return Answers{}
		}
		return Answers{OptOut: &OptOutPage{o}}
	}
	return Answers{}
}

// parseColumns builds the scope from chosen columns "holder/dataset/table/column". A dataset of the
// basket without a chosen column is kept, so that it is not lost before its columns are chosen.
func parseColumns(datasets, columns []string) []contract.DatasetScope {
	var out []contract.DatasetScope
	find := func(holder, dataset string) *contract.DatasetScope {
		for i := range out {
			if out[i].Holder == holder && out[i].Dataset == dataset {
				return &out[i]
			}
		}
		out = append(out, contract.DatasetScope{Holder: holder, Dataset: dataset})
		return &out[len(out)-1]
	}
	for _, d := range datasets {
		holder, dataset, _ := strings.Cut(d, "/")
		find(holder, dataset)
	}
	for _, c := range columns {
		parts := strings.Split(c, "/")
		if len(parts) != 4 {
			parts = []string{"", "", "", c} // shown as an unknown column
		}
		d := find(parts[0], parts[1])
		if n := len(d.Tables); n == 0 || d.Tables[n-1].Table != parts[2] {
			d.Tables = append(d.Tables, contract.TableScope{Table: parts[2]})
		}
		t := &d.Tables[len(d.Tables)-1]
		t.Columns = append(t.Columns, parts[3])
	}
	return out
}

// maxCriteria is how many criteria the form shows at most.
const maxCriteria = 20

func parseCriteria(v url.Values) []contract.Criterion {
	var out []contract.Criterion
	for i := range maxCriteria {
		column := v.Get(fmt.Sprintf("criterion-%d", i))
		codes := parseCodes(v.Get(fmt.Sprintf("codes-%d", i)))
		if column == "" && len(codes) == 0 {
			continue
		}
		parts := append(strings.Split(column, "/"), "", "", "", "")
		out = append(out, contract.Criterion{Holder: parts[0], Dataset: parts[1], Table: parts[2], Column: parts[3],
			Codes: codes, Prefix: v.Get(fmt.Sprintf("prefix-%d", i)) == "yes"})
	}
	return out
}

// parseCodes reads codes separated by commas, semicolons or blanks.
func parseCodes(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \t\r\n", r) })
}

// parsePersons reads the persons of the form, with the one to be added or without the one to be removed.
func parsePersons(v url.Values) []PersonRef {
	var out []PersonRef
	add := func(account, affiliation string) {
		if account = strings.TrimSpace(account); account != "" && account != v.Get("remove") {
			out = append(out, PersonRef{Account: account, Affiliation: strings.TrimSpace(affiliation), Principal: v.Get("principal") == account})
		}
	}
	for _, a := range v["account"] {
		add(a, v.Get("affiliation-"+a))
	}
	add(v.Get("new_account"), v.Get("new_affiliation"))
	return out
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// setDate spreads YYYY-MM-DD over the three fields of a date.
func setDate(v url.Values, name, date string) {
	if parts := strings.Split(date, "-"); len(parts) == 3 {
		v.Set(name+"-year", parts[0])
		v.Set(name+"-month", strings.TrimPrefix(parts[1], "0"))
		v.Set(name+"-day", strings.TrimPrefix(parts[2], "0"))
	}
}

// joinDate puts the three fields together; what is no number gives a date that the checks refuse.
func joinDate(v url.Values, name string) string {
	day, month, year := strings.TrimSpace(v.Get(name+"-day")), strings.TrimSpace(v.Get(name+"-month")), strings.TrimSpace(v.Get(name+"-year"))
	if day == "" && month == "" && year == "" {
		return ""
	}
	n := func(s string) int {
		i, err := strconv.Atoi(s)
		if err != nil || i < 0 || i > 9999 {
			return 0
		}
		return i
	}
	return fmt.Sprintf("%04d-%02d-%02d", n(year), min(n(month), 99), min(n(day), 99))
}

// purposeKey is the message key of a purpose of Art. 53(1).
func purposeKey(code string) string { return i18n.Key("gateway.purpose.", code) }

func parseDay(s string) (time.Time, error) { return time.Parse(time.DateOnly, s) }
