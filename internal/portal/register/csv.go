package register

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Columns of the CSV, in English whatever the page's language, so that programs can rely on them.
var csvColumns = []string{"id", "status", "title", "controller", "public_body", "purposes", "lay_summary", "datasets",
	"submitted_at", "decided_at", "reasons_for_refusal", "opinion", "authority_reference", "permit_id", "persons",
	"valid_from", "valid_until", "objections_honoured", "exception", "results"}

// WriteCSV writes the entries that q selects, all pages, the latest first.
func (r *Register) WriteCSV(ctx context.Context, w io.Writer, q Query) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvColumns); err != nil {
		return fmt.Errorf("register csv: %w", err)
	}
	const batch = 1000
	for offset := 0; ; offset += batch {
		docs, err := selectDocs(ctx, r.db, q, batch, offset)
		if err != nil {
			return err
		}
		entries, err := decode(docs)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := out.Write(csvRow(e)); err != nil {
				return fmt.Errorf("register csv: %w", err)
			}
		}
		if len(docs) < batch {
			out.Flush()
			return out.Error()
		}
	}
}

func csvRow(e Entry) []string {
	var datasets, results []string
	for _, d := range e.Datasets {
		datasets = append(datasets, d.Holder+"/"+d.Dataset)
	}
	for _, x := range e.Results {
		results = append(results, x.ReleasedAt.UTC().Format(time.DateOnly)+" "+x.Title)
	}
	row := []string{e.ID, string(e.Status), e.Title, e.Controller, strconv.FormatBool(e.PublicBody), strings.Join(e.Purposes, " "),
		e.LaySummary, strings.Join(datasets, " "), e.SubmittedAt.UTC().Format(time.RFC3339), "", e.Reasons, e.Opinion, e.Authority,
		"", "", "", "", "", "", strings.Join(results, "\n")}
	if e.DecidedAt != nil {
		row[9] = e.DecidedAt.UTC().Format(time.RFC3339)
	}
	if p := e.Permit; p != nil {
		row[13], row[14] = p.ID, strconv.Itoa(p.Persons)
		row[15], row[16] = p.ValidFrom.UTC().Format(time.RFC3339), p.ValidUntil.UTC().Format(time.RFC3339)
		row[17], row[18] = strconv.FormatBool(p.ObjectionsHonoured), p.Exception
	}
	for i := range row {
		row[i] = plainCell(row[i])
	}
	return row
}

// plainCell keeps a spreadsheet from taking a title for a formula: such a cell gets an apostrophe first
// (OWASP, CSV injection).
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
