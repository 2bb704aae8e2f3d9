// Package minimality reads a project dataset again before it is sealed and fails the run when anything
// is in it that the permit does not give: a column, a person, a day (Art. 66, 68(5)). It shares no
// code with provision on purpose, except for the names of files: a mistake there must show here.
package minimality

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
)

// Result is a project dataset to be checked.
type Result struct {
	Permit  *contract.Permit
	Persons map[string]bool // the project pseudonyms that may be in it
	Files   []File
	Dir     string // below which all files are
	Memory  string
	Threads int
}

// File is one table of the project dataset.
type File struct {
	Holder, Dataset, Table string
	Structure              contract.DatasetSchema // as the holder declared it
	Path                   string
	// Staged is the directory of the rows before the last step, with their day in column event_day and 0
	// in column reason: the day can be checked even when it is not delivered. "" for reference tables.
	Staged string
	Rows   int64
}

// Check returns an error that says what is too much, and nothing else about it.
func Check(ctx context.Context, r Result) error {
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{r.Dir}, Memory: r.Memory, Threads: r.Threads})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE allowed (id VARCHAR)"); err != nil {
		return fmt.Errorf("minimality: %w", err)
	}
	err = db.Append(ctx, "allowed", func(add func(...driver.Value) error) error {
		for id := range r.Persons {
			if err := add(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("minimality: %w", err)
	}
	for _, f := range r.Files {
		if err := checkFile(ctx, db, r.Permit, f); err != nil {
			return fmt.Errorf("minimality: file of table %s/%s.%s: %w", f.Holder, f.Dataset, f.Table, err)
		}
	}
	return nil
}

func checkFile(ctx context.Context, db *duck.DB, p *contract.Permit, f File) error {
	permitted, ok := permittedColumns(p, f)
	if !ok {
		return fmt.Errorf("the table is not in the permit")
	}
	declared, ok := f.Structure.Table(f.Table)
	if !ok {
		return fmt.Errorf("the table is not in the dataset's structure")
	}
	found, err := columnsOf(ctx, db, f.Path)
	if err != nil {
		return err
	}
	for _, name := range found {
		if name == "person_id" && f.Staged != "" {
			continue
		}
		if !slices.Contains(permitted, name) {
			return fmt.Errorf("column %s is not in the permit", name)
		}
		if c, ok := declared.Column(name); !ok || c.Role != contract.RolePayload {
			return fmt.Errorf("column %s is not payload", name)
		}
	}
	if f.Staged == "" {
		return nil // a reference table: nobody is in it
	}
	if !slices.Contains(found, "person_id") {
		return fmt.Errorf("column person_id is missing")
	}
	var rows, strangers int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM "+read(f.Path)+"), (SELECT count(*) FROM (SELECT DISTINCT person_id FROM "+read(f.Path)+
		") WHERE person_id IS NULL OR person_id NOT IN (SELECT id FROM allowed))").Scan(&rows, &strangers)
	if err != nil {
		return err
	}
	switch {
	case rows != f.Rows:
		return fmt.Errorf("it holds another number of rows than the report says")
	case strangers > 0:
		return fmt.Errorf("it holds persons who are not in the project's cohort")
	}
	return checkDays(ctx, db, p, f, declared, found)
}

// checkDays looks at the delivered dates, and at those of the staged rows that the file was made from.
func checkDays(ctx context.Context, db *duck.DB, p *contract.Permit, f File, declared *contract.Table, found []string) error {
	if declared.EventDate == "" {
		return nil
	}
	if slices.Contains(found, declared.EventDate) {
		if _, err := checkRange(ctx, db, p.Period, read(f.Path), duck.Ident(declared.EventDate)); err != nil {
			return err
		}
	}
	staged := "(SELECT * FROM " + read(filepath.Join(f.Staged, "*.parquet")) + " WHERE reason = 0)"
	n, err := checkRange(ctx, db, p.Period, staged, "event_day")
	if err != nil {
		return err
	}
	if n != f.Rows {
		return fmt.Errorf("it holds another number of rows than were selected")
	}
	return nil
}

// checkRange fails when a day lies outside the period or is missing, and returns the number of rows.
func checkRange(ctx context.Context, db *duck.DB, period contract.Period, from, column string) (rows int64, err error) {
	var dated int64
	var first, last sql.NullTime
	err = db.QueryRowContext(ctx, "SELECT count(*), count("+column+"), min("+column+"), max("+column+") FROM "+from).Scan(&rows, &dated, &first, &last)
	switch {
	case err != nil:
		return 0, err
	case dated != rows:
		return 0, fmt.Errorf("it holds rows without a date")
	case rows > 0 && (first.Time.Format(time.DateOnly) < period.From || last.Time.Format(time.DateOnly) > period.To):
		return 0, fmt.Errorf("it holds days outside the permitted period")
	}
	return rows, nil
}

func permittedColumns(p *contract.Permit, f File) ([]string, bool) {
	for _, d := range p.Datasets {
		if d.Holder == f.Holder && d.Dataset == f.Dataset {
			for _, t := range d.Tables {
				if t.Table == f.Table {
					return t.Columns, true
				}
			}
		}
	}
	return nil, false
}

func columnsOf(ctx context.Context, db *duck.DB, path string) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT column_name FROM (DESCRIBE SELECT * FROM "+read(path)+")")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, rows.Err()
}

func read(path string) string {
	return "read_parquet(" + duck.Text(path) + ", hive_partitioning = false)"
}
