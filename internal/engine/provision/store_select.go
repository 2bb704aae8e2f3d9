package provision

import (
	"context"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

// selection is what the first half of a run leaves: staging files without hub pseudonyms.
type selection struct {
	counts contract.PersonCounts
	// persons are the project pseudonyms of the project dataset.
	persons map[string]bool
	staged  []string // per table of the plan, the directory of its staging files; "" for reference tables
}

// Values of the staging column "reason"; 0 is a row to be delivered.
var reasons = []string{1: Objected, 2: NoDate, 3: OutsidePeriod}

// stage is the first half: cohort, objections, crosswalk, one streaming pass over each table.
func (r *Run) stage(ctx context.Context) (*selection, error) {
	var roll []byte
	if r.Plan.Permit.OptOut.Honoured {
		var err error
		if roll, err = r.Roll(ctx); err != nil {
			return nil, fmt.Errorf("objection roll: %w", err)
		}
		if len(roll)%contract.TicketSize != 0 {
			return nil, fmt.Errorf("objection roll: %d bytes are not whole pseudonyms", len(roll))
		}
	}
	db, err := duck.Open(ctx, duck.Options{
		Dirs: []string{r.LakeDir, r.Work}, Memory: r.Memory, Threads: r.Threads, // no Temp: the crosswalk is in here
		Prepare: []string{"SET preserve_insertion_order = false"},
	})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	sel, err := r.crosswalk(ctx, db, roll)
	if err != nil {
		return nil, err
	}
	for i := range r.Plan.Tables {
		t := &r.Plan.Tables[i]
		dir := ""
		if t.Keyed {
			dir = filepath.Join(r.Work, "stage", t.FileName)
			if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
				return nil, fmt.Errorf("provision: %w", err)
			}
			if _, err := db.ExecContext(ctx, r.selectRows(t, dir)); err != nil {
				return nil, fmt.Errorf("provision: table %s: %w", t.Name, err)
			}
		}
		sel.staged = append(sel.staged, dir)
		if r.Progress != nil {
			r.Progress(i+1, len(r.Plan.Tables))
		}
	}
	return sel, nil
}

// crosswalk selects the persons and fills the table "crosswalk" with every matched person; person_id is
// NULL for those who objected.
func (r *Run) crosswalk(ctx context.Context, db *duck.DB, roll []byte) (*selection, error) {
	for _, q := range []string{
		"CREATE TABLE objectors (h UUID)",
		"CREATE TABLE crosswalk (h UUID, person_id VARCHAR)",
		"CREATE TABLE matched AS SELECT DISTINCT h FROM (" + r.Plan.Cohort.Persons() + ") WHERE h IS NOT NULL",
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return nil, fmt.Errorf("provision: select the cohort: %w", err)
		}
	}
	err := db.Append(ctx, "objectors", func(add func(...driver.Value) error) error {
		for ; len(roll) > 0; roll = roll[contract.TicketSize:] {
			if err := add(duck.Bytes16(roll)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sel := &selection{persons: map[string]bool{}}
	objected, err := hubPseudonyms(ctx, db, "SELECT h FROM matched WHERE h IN (SELECT h FROM objectors)")
	if err != nil {
		return nil, err
	}
	delivered, err := hubPseudonyms(ctx, db, "SELECT h FROM matched WHERE h NOT IN (SELECT h FROM objectors) ORDER BY h")
	if err != nil {
		return nil, err
	}
	sel.counts.Objected = int64(len(objected)) / contract.TicketSize
	sel.counts.Delivered = int64(len(delivered)) / contract.TicketSize
	sel.counts.Matched = sel.counts.Objected + sel.counts.Delivered
	err = db.Append(ctx, "crosswalk", func(add func(...driver.Value) error) error {
		for ; len(objected) > 0; objected = objected[contract.TicketSize:] {
			if err := add(duck.Bytes16(objected), nil); err != nil {
				return err
			}
		}
		for len(delivered) > 0 {
			batch := delivered[:min(len(delivered), Batch*contract.TicketSize)]
			delivered = delivered[len(batch):]
			projects, err := r.Pseudonyms(ctx, batch)
			if err != nil {
				return fmt.Errorf("project pseudonyms: %w", err)
			}
			if len(projects) != len(batch) {
				return fmt.Errorf("project pseudonyms: asked for %d bytes, got %d", len(batch), len(projects))
			}
			for ; len(batch) > 0; batch, projects = batch[contract.TicketSize:], projects[contract.TicketSize:] {
				id := PersonID(projects[:contract.TicketSize])
				if sel.persons[id] {
					return fmt.Errorf("project pseudonyms: two persons would become one")
				}
				sel.persons[id] = true
				if err := add(duck.Bytes16(batch), id); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	return sel, nil
}

// hubPseudonyms reads a query's one column into one slice.
func hubPseudonyms(ctx context.Context, db *duck.DB, query string) ([]byte, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("provision: select the cohort: %w", err)
	}
	defer rows.Close()
	var out []byte
	var h duck.ScanUUID
	for rows.Next() {
		if err := rows.Scan(&h); err != nil {
			return nil, fmt.Errorf("provision: select the cohort: %w", err)
		}
		out = append(out, h[:]...)
	}
	return out, rows.Err()
}

// selectRows streams the rows of matched persons to staging files. Rows that will not be delivered keep
// nothing but the reason, so that they are counted without a second scan. Rows of everybody else are
// never looked at beyond their pseudonym: their number is the rest.
func (r *Run) selectRows(t *plan.Table, dir string) string {
	list := []string{
		r.reason(t) + " AS reason",
		"CASE WHEN reason = 0 THEN c.person_id END AS " + PersonColumn,
	}
	if t.EventDate != "" {
		// For the minimality check, also when the date itself is not delivered.
		list = append(list, "CASE WHEN reason = 0 THEN CAST(t."+duck.Ident(t.EventDate)+" AS DATE) END AS event_day")
	}
	for i, c := range t.Keep {
		list = append(list, fmt.Sprintf("CASE WHEN reason = 0 THEN t.%s END AS c%d", duck.Ident(c.Name), i))
	}
	return "COPY (SELECT " + strings.Join(list, ", ") + " FROM " + duck.Parquet(t.Manifest.Files(t.Table)) +
		" t JOIN crosswalk c ON t.h = c.h) TO " + duck.Text(dir) + " (FORMAT parquet, COMPRESSION snappy, PER_THREAD_OUTPUT true)"
}

// reason is the expression of why a matched person's row is dropped; 0 when it is delivered.
func (r *Run) reason(t *plan.Table) string {
	objected := "CASE WHEN c.person_id IS NULL THEN 1 "
	switch {
	case t.EventDate != "":
		return objected + "WHEN t." + duck.Ident(t.EventDate) + " IS NULL THEN 2 WHEN NOT " +
			plan.InPeriod(t.Table, "t.", r.Plan.Permit.Period) + " THEN 3 ELSE 0 END"
	case t.PersonTable:
		return objected + "ELSE 0 END"
	default:
		// Undated rows that do not describe the person cannot be shown to lie in the permitted period.
		return objected + "ELSE 2 END"
	}
}
