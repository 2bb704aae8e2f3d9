package provision

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/minimality"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

// finish is the second half: the final files, their counts, and the check that nothing is in them that
// the permit does not give.
func (r *Run) finish(ctx context.Context, sel *selection) ([]contract.TableProvision, error) {
	final, temp := filepath.Join(r.Work, "final"), filepath.Join(r.Work, "temp")
	for _, d := range []string{final, temp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("provision: %w", err)
		}
	}
	// One thread for each table, so that the order of rows and groups in a file depends on nothing but
	// the data; tables are independent of each other and run side by side.
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{r.LakeDir, r.Work}, Temp: temp, Memory: r.Memory, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	out := make([]contract.TableProvision, len(r.Plan.Tables))
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(max(1, r.Threads))
	for i := range r.Plan.Tables {
		g.Go(func() error {
			t := &r.Plan.Tables[i]
			p, err := r.finishTable(within, db, t, sel.staged[i], filepath.Join(final, t.FileName))
			if err != nil {
				return fmt.Errorf("provision: table %s: %w", t.Name, err)
			}
			out[i] = *p
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := r.checkMinimality(ctx, sel, final, out); err != nil {
		return nil, err
	}
	return out, nil
}

// rowGroup is fixed, because the bytes of a file depend on it.
const rowGroup = 122_880

func (r *Run) finishTable(ctx context.Context, db *duck.DB, t *plan.Table, staged, path string) (*contract.TableProvision, error) {
	p := &contract.TableProvision{
		Holder: t.Manifest.Holder, Dataset: t.Manifest.Dataset, Table: t.Name, RowsIn: t.Rows,
		Dropped: map[string]int64{}, ColumnsKept: []string{}, ColumnsDropped: slices.Clone(t.Drop),
	}
	if t.Drop == nil {
		p.ColumnsDropped = []string{}
	}
	var list, order []string
	from, where := duck.Parquet(t.Manifest.Files(t.Table)), ""
	if t.Keyed {
		files, err := filepath.Glob(filepath.Join(staged, "*.parquet"))
		if err != nil {
			return nil, err
		}
		from, where = duck.Parquet(files), " WHERE reason = 0"
		list, order = append(list, PersonColumn), append(order, PersonColumn)
		if err := countReasons(ctx, db, from, p); err != nil {
			return nil, err
		}
	}
	for i, c := range t.Keep {
		p.ColumnsKept = append(p.ColumnsKept, c.Name)
		name := duck.Ident(c.Name)
		if t.Keyed {
			name = fmt.Sprintf("c%d AS %s", i, name)
		}
		list, order = append(list, name), append(order, duck.Ident(c.Name)+" NULLS FIRST")
	}
	// Sorting by every column leaves only equal rows without an order of their own.
	query := "COPY (SELECT " + strings.Join(list, ", ") + " FROM " + from + where + " ORDER BY " + strings.Join(order, ", ") + ") TO " +
		duck.Text(path) + fmt.Sprintf(" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE %d)", rowGroup)
	if _, err := db.ExecContext(ctx, query); err != nil {
		return nil, err
	}
	if err := db.QueryRowContext(ctx, "SELECT num_rows FROM parquet_file_metadata("+duck.Text(path)+")").Scan(&p.RowsOut); err != nil {
		return nil, err
	}
	if t.Keyed {
		matched := p.RowsOut + p.Dropped[Objected] + p.Dropped[NoDate] + p.Dropped[OutsidePeriod]
		if p.Dropped[NotInCohort] = p.RowsIn - matched; p.Dropped[NotInCohort] < 0 {
			return nil, fmt.Errorf("%d rows came out of %d", matched, p.RowsIn)
		}
	} else if p.RowsOut != p.RowsIn {
		return nil, fmt.Errorf("%d rows of a reference table came out of %d", p.RowsOut, p.RowsIn)
	}
	file, err := digestFile(path)
	if err != nil {
		return nil, err
	}
	file.Table, file.Name, file.Rows = t.Name, t.FileName, p.RowsOut
	p.Files = []contract.FilePart{*file}
	return p, nil
}

// countReasons notes the dropped rows of matched persons.
func countReasons(ctx context.Context, db *duck.DB, from string, p *contract.TableProvision) error {
	for _, reason := range reasons[1:] {
		p.Dropped[reason] = 0
	}
	rows, err := db.QueryContext(ctx, "SELECT reason, count(*) FROM "+from+" WHERE reason > 0 GROUP BY reason")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var reason int
		var n int64
		if err := rows.Scan(&reason, &n); err != nil {
			return err
		}
		p.Dropped[reasons[reason]] = n
	}
	return rows.Err()
}

func digestFile(path string) (*contract.FilePart, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return nil, err
	}
	return &contract.FilePart{Bytes: n, Digest: digestOf(sum)}, nil
}

func (r *Run) checkMinimality(ctx context.Context, sel *selection, final string, tables []contract.TableProvision) error {
	files := make([]minimality.File, len(r.Plan.Tables))
	for i := range r.Plan.Tables {
		t := &r.Plan.Tables[i]
		files[i] = minimality.File{
			Holder: t.Manifest.Holder, Dataset: t.Manifest.Dataset, Table: t.Name, Structure: t.Manifest.Structure,
			Path: filepath.Join(final, t.FileName), Staged: sel.staged[i], Rows: tables[i].RowsOut,
		}
	}
	return minimality.Check(ctx, minimality.Result{Permit: r.Plan.Permit, Persons: sel.persons, Files: files, Dir: r.Work, Memory: r.Memory, Threads: r.Threads})
}
