package laketest

import (
	"context"

	"github.com/mitral-health/mitral/internal/contract"
)

func ctx(t any) context.Context {
	if c, ok := t.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	return context.Background()
}

// Claims is the structure of a small claims dataset: a person table, an event table, a table with
// identity in each row, a table without dates that is no person table, and a reference table.
func Claims() contract.DatasetSchema {
	return contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{
		{Name: "BEN", Columns: []contract.Column{
			{Name: "BEN_ID", Type: contract.TypeString, Role: contract.RolePersonKey},
			{Name: "NIR", Type: contract.TypeString, Role: contract.RoleNIR},
			{Name: "YEAR", Type: contract.TypeInteger, Required: true},
			{Name: "DPT", Type: contract.TypeString},
		}},
		{Name: "PRS", EventDate: "DAY", Columns: []contract.Column{
			{Name: "BEN_ID", Type: contract.TypeString, Role: contract.RolePersonKey},
			{Name: "DAY", Type: contract.TypeDate},
			{Name: "CODE", Type: contract.TypeString},
			{Name: "AMOUNT", Type: contract.TypeNumber},
			{Name: "QTY", Type: contract.TypeInteger},
		}},
		{Name: "RPU", EventDate: "ENTRY", Columns: []contract.Column{
			{Name: "NAME", Type: contract.TypeString, Role: contract.RoleBirthName},
			{Name: "ENTRY", Type: contract.TypeTime},
			{Name: "DIAG", Type: contract.TypeString},
		}},
		{Name: "NOTE", Columns: []contract.Column{
			{Name: "BEN_ID", Type: contract.TypeString, Role: contract.RolePersonKey},
			{Name: "WORDS", Type: contract.TypeString},
		}},
		{Name: "REF", Columns: []contract.Column{
			{Name: "CODE", Type: contract.TypeString},
			{Name: "LABEL", Type: contract.TypeString},
		}},
	}}
}

// Source draws the values of a sample; *rand.Rand of math/rand/v2 is one, a rapid draw another.
type Source interface{ IntN(n int) int }

// Codes appear in the sample; some are prefixes of others.
var Codes = []string{"E10", "E11", "E112", "I21", "C5'0", "C50"}

// Days appear in the sample, around the ends of the years that tests ask for.
var Days = []string{"2019-12-31", "2020-01-01", "2020-06-15", "2021-02-28", "2022-12-31", "2023-01-01"}

// Sample draws a delivery of Claims about persons first, first+1, …; a person may have two records.
func Sample(r Source, first, persons, rows int) Data {
	d := Data{Schema: Claims(), Tickets: map[[16]byte][16]byte{}, Rows: map[string][]Row{}}
	pick := func(list []string) any {
		if i := r.IntN(len(list) + 1); i < len(list) {
			return list[i]
		}
		return nil
	}
	var tickets [][16]byte
	for p := range persons {
		for range 1 + r.IntN(8)/7 {
			ticket := Ticket()
			tickets = append(tickets, ticket)
			d.Tickets[ticket] = H(first + p)
			d.Rows["BEN"] = append(d.Rows["BEN"], Row{"ticket": ticket, "YEAR": int64(1930 + r.IntN(80)), "DPT": pick([]string{"35", "2A", "75"})})
		}
	}
	for i := range rows {
		if len(tickets) == 0 {
			break
		}
		ticket := tickets[r.IntN(len(tickets))]
		switch r.IntN(6) {
		case 0:
			own := Ticket() // identity in each row: a ticket of its own
			d.Tickets[own] = d.Tickets[ticket]
			day := pick(Days)
			if day != nil {
				day = day.(string) + " 23:59:59"
			}
			d.Rows["RPU"] = append(d.Rows["RPU"], Row{"ticket": own, "ENTRY": day, "DIAG": pick(Codes)})
		case 1:
			d.Rows["NOTE"] = append(d.Rows["NOTE"], Row{"ticket": ticket, "WORDS": pick([]string{"a", "b"})})
		default:
			d.Rows["PRS"] = append(d.Rows["PRS"], Row{"ticket": ticket, "DAY": pick(Days), "CODE": pick(Codes),
				"AMOUNT": float64(r.IntN(1000)) / 4, "QTY": int64(i)})
		}
	}
	for _, c := range Codes {
		d.Rows["REF"] = append(d.Rows["REF"], Row{"CODE": c, "LABEL": "label of " + c})
	}
	return d
}
