package lake

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
)

// join turns the parts of one delivery into the lake's files.
type join struct {
	db       *duck.DB
	d        contract.Delivery
	incoming string
	build    string
	opts     Options
}

// Years outside these mark a damaged date rather than history.
const (
	firstYear = 1800
	lastYear  = 2200
)

var duckType = map[contract.ColumnType]string{
	contract.TypeString: "VARCHAR", contract.TypeInteger: "BIGINT", contract.TypeNumber: "DOUBLE",
	contract.TypeDate: "DATE", contract.TypeTime: "TIMESTAMP",
}

// accepted lists the physical types that hold a column without loss.
var accepted = map[contract.ColumnType][]string{
	contract.TypeString:  {"VARCHAR"},
	contract.TypeInteger: {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"},
	contract.TypeNumber:  {"FLOAT", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER"},
	contract.TypeDate:    {"DATE"},
	contract.TypeTime:    {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"},
}

func (l *Lake) newJoin(ctx context.Context, d contract.Delivery, incoming, build, temp string, sheet *Sheet) (*join, error) {
	db, err := duck.Open(ctx, duck.Options{
		Dirs: []string{incoming, build}, Temp: temp, Memory: l.opts.Memory, Threads: l.opts.Threads,
		Prepare: []string{"SET TimeZone = 'UTC'", "SET preserve_insertion_order = false"},
	})
	if err != nil {
		return nil, err
	}
	j := &join{db: db, d: d, incoming: incoming, build: build, opts: l.opts}
	if err := j.loadSheet(ctx, sheet); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

func (j *join) close() { j.db.Close() }

func (j *join) loadSheet(ctx context.Context, sheet *Sheet) error {
	if _, err := j.db.ExecContext(ctx, "CREATE TABLE sheet (ticket UUID, h UUID, b UTINYINT)"); err != nil {
		return err
	}
	err := j.db.Append(ctx, "sheet", func(add func(...driver.Value) error) error {
		for i := range sheet.Len() {
			ticket, h := sheet.Row(i)
			// h is the output of a keyed hash: its first four bits make 16 equal buckets.
			if err := add(duck.Bytes16(ticket), duck.Bytes16(h), h[0]>>4); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var distinct int64
	if err := j.db.QueryRowContext(ctx, "SELECT count(DISTINCT ticket) FROM sheet").Scan(&distinct); err != nil {
		return err
	}
	if distinct != int64(sheet.Len()) {
		return contract.Refuse("invalid", "the ticket sheet holds a ticket twice")
	}
	return nil
}

// check compares every part with the declared structure before anything is written.
func (j *join) check(ctx context.Context) error {
	for i := range j.d.Dataset.Tables {
		t := &j.d.Dataset.Tables[i]
		out := &Table{Name: t.Name, Keyed: Keyed(t), Columns: payload(t)}
		if len(out.Columns) == 0 && !out.Keyed {
			return contract.Refuse("invalid", "table %s has no column that may come here", t.Name)
		}
		for _, p := range j.d.Parts {
			if p.Table != t.Name {
				continue
			}
			if err := j.checkPart(ctx, out, p, filepath.Join(j.incoming, t.Name, p.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// table joins one table and notes its rows by year.
func (j *join) table(ctx context.Context, t *contract.Table, years map[string]int64) (*Table, error) {
	out := &Table{Name: t.Name, Keyed: Keyed(t), EventDate: t.EventDate, Columns: payload(t)}
	if err := os.MkdirAll(filepath.Join(j.build, t.Name), 0o700); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	var parts []string
	for _, p := range j.d.Parts {
		if p.Table == t.Name {
			parts = append(parts, filepath.Join(j.incoming, t.Name, p.Name))
			out.Rows += p.Rows
		}
	}
	if err := j.write(ctx, out, parts); err != nil {
		return nil, j.blame(out, err)
	}
	if err := j.checkRequired(ctx, out); err != nil {
		return nil, err
	}
	if err := j.describe(ctx, out, parts, years); err != nil {
		return nil, err
	}
	return out, nil
}

// checkPart compares a part's columns and rows with the declared structure.
func (j *join) checkPart(ctx context.Context, t *Table, p contract.FilePart, path string) error {
	at := "table " + t.Name + ", part " + p.Name + ": "
	rows, err := j.db.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+duck.Parquet([]string{path})+")")
	if err != nil {
		return contract.Refuse("invalid", "%sis not a Parquet file that can be read", at)
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var name, physical string
		if err := rows.Scan(&name, &physical); err != nil {
			return err
		}
		seen[name] = true
		if name == "ticket" && t.Keyed {
			if physical != "UUID" {
				return contract.Refuse("invalid", "%scolumn ticket is %s, want UUID", at, physical)
			}
			continue
		}
		c, ok := t.Column(name)
		if !ok {
			return contract.Refuse("invalid", "%scolumn %s is not in the payload that the dataset declares", at, name)
		}
		if !slices.Contains(accepted[c.Type], physical) {
			return contract.Refuse("invalid", "%scolumn %s is %s, declared is %s", at, name, physical, c.Type)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, c := range t.Columns {
		if !seen[c.Name] {
			return contract.Refuse("invalid", "%scolumn %s is missing", at, c.Name)
		}
	}
	if t.Keyed && !seen["ticket"] {
		return contract.Refuse("invalid", "%scolumn ticket is missing", at)
	}
	var n int64
	if err := j.db.QueryRowContext(ctx, "SELECT num_rows FROM parquet_file_metadata("+duck.Text(path)+")").Scan(&n); err != nil {
		return err
	}
	if n != p.Rows {
		return contract.Refuse("counts_differ", "%sholds %d rows, the delivery speaks of %d", at, n, p.Rows)
	}
	return nil
}

// columns lists the payload columns, cast to the lake's types, each name prefixed by from.
func columns(t *Table, from string) []string {
	out := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		out[i] = fmt.Sprintf("CAST(%s%s AS %s) AS %[2]s", from, duck.Ident(c.Name), duckType[c.Type])
	}
	return out
}

const parquetZstd = " (FORMAT parquet, COMPRESSION zstd)"

// write makes the table's files.
func (j *join) write(ctx context.Context, t *Table, parts []string) error {
	dir := filepath.Join(j.build, t.Name)
	if len(parts) == 0 {
		list := []string{}
		if t.Keyed {
			list = append(list, "NULL::UUID AS h")
		}
		for _, c := range t.Columns {
			list = append(list, fmt.Sprintf("NULL::%s AS %s", duckType[c.Type], duck.Ident(c.Name)))
		}
		return j.copyTo(ctx, t, "SELECT "+strings.Join(list, ", ")+" WHERE false", "part-0.parquet")
	}
	if !t.Keyed {
		return j.copyTo(ctx, t, "SELECT "+strings.Join(columns(t, "p."), ", ")+" FROM "+duck.Parquet(parts)+" p", "part-0.parquet")
	}
	order := "h"
	if t.EventDate != "" {
		order += ", " + duck.Ident(t.EventDate)
	}
	joined := func(first string) string {
		return "SELECT " + strings.Join(append([]string{first}, columns(t, "p.")...), ", ") + " FROM " + duck.Parquet(parts) + " p JOIN sheet s ON p.ticket = s.ticket"
	}
	if t.Rows <= j.opts.BucketRows {
		if err := j.copyTo(ctx, t, joined("s.h AS h")+" ORDER BY "+order, filepath.Join("b=00", "part-0.parquet")); err != nil {
			return err
		}
		return j.allMatched(ctx, t, parts)
	}
	// Two passes: the whole table would not fit in memory to be sorted, a sixteenth does.
	stage := filepath.Join(dir, ".stage")
	if _, err := j.db.ExecContext(ctx, "COPY ("+joined("s.h AS h, s.b AS b")+") TO "+duck.Text(stage)+
		" (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (b), WRITE_PARTITION_COLUMNS false)"); err != nil {
		return err
	}
	for b := range 16 {
		files, err := filepath.Glob(filepath.Join(stage, "b="+strconv.Itoa(b), "*.parquet"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			continue
		}
		name := filepath.Join(fmt.Sprintf("b=%02d", b), "part-0.parquet")
		if err := j.copyTo(ctx, t, "SELECT * FROM "+duck.Parquet(files)+" ORDER BY "+order, name); err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	return j.allMatched(ctx, t, parts)
}

// copyTo writes a query to a file of the table and notes it.
func (j *join) copyTo(ctx context.Context, t *Table, query, name string) error {
	f := File{Path: filepath.Join(t.Name, name)}
	path := filepath.Join(j.build, f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if _, err := j.db.ExecContext(ctx, "COPY ("+query+") TO "+duck.Text(path)+parquetZstd); err != nil {
		return err
	}
	if err := j.db.QueryRowContext(ctx, "SELECT num_rows FROM parquet_file_metadata("+duck.Text(path)+")").Scan(&f.Rows); err != nil {
		return err
	}
	t.Files = append(t.Files, f)
	return nil
}

// allMatched refuses rows whose ticket is not in the sheet: the inner join left them out.
func (j *join) allMatched(ctx context.Context, t *Table, parts []string) error {
	var written int64
	for _, f := range t.Files {
		written += f.Rows
	}
	if written == t.Rows {
		return nil
	}
	var empty, unknown int64
	err := j.db.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE p.ticket IS NULL), count(*) FILTER (WHERE p.ticket IS NOT NULL AND s.ticket IS NULL) FROM "+
		duck.Parquet(parts)+" p LEFT JOIN sheet s ON p.ticket = s.ticket").Scan(&empty, &unknown)
	if err != nil {
		return err
	}
	return contract.Refuse("unknown_ticket", "table %s: %d rows have no ticket and %d have one that the trusted third party does not know", t.Name, empty, unknown)
}

// checkRequired refuses empty values in required columns, as the written files' statistics count them.
func (j *join) checkRequired(ctx context.Context, t *Table) error {
	for _, c := range t.Columns {
		if !c.Required || t.Rows == 0 {
			continue
		}
		var empty int64
		if err := j.db.QueryRowContext(ctx, "SELECT count(*) FROM "+duck.Parquet(j.paths(t))+" WHERE "+duck.Ident(c.Name)+" IS NULL").Scan(&empty); err != nil {
			return err
		}
		if empty > 0 {
			return contract.Refuse("invalid", "table %s: required column %s is empty in %d rows", t.Name, c.Name, empty)
		}
	}
	return nil
}

// describe notes what readers want to know without a scan: persons, period, rows by year.
func (j *join) describe(ctx context.Context, t *Table, parts []string, years map[string]int64) error {
	if t.Keyed {
		f := File{Path: filepath.Join(t.Name, "persons.parquet")}
		path := filepath.Join(j.build, f.Path)
		if _, err := j.db.ExecContext(ctx, "COPY (SELECT DISTINCT h FROM "+duck.Parquet(j.paths(t))+" ORDER BY h) TO "+duck.Text(path)+parquetZstd); err != nil {
			return j.blame(t, err)
		}
		if err := j.db.QueryRowContext(ctx, "SELECT num_rows FROM parquet_file_metadata("+duck.Text(path)+")").Scan(&f.Rows); err != nil {
			return err
		}
		t.PersonsFile, t.Persons = &f, f.Rows
	}
	if t.EventDate == "" {
		if !t.Keyed || len(parts) == 0 {
			return nil
		}
		var tickets int64
		if err := j.db.QueryRowContext(ctx, "SELECT count(DISTINCT ticket) FROM "+duck.Parquet(parts)).Scan(&tickets); err != nil {
			return err
		}
		t.PersonTable = tickets == t.Rows
		return nil
	}
	rows, err := j.db.QueryContext(ctx, "SELECT year(d), min(d)::DATE::VARCHAR, max(d)::DATE::VARCHAR, count(*) FROM (SELECT "+duck.Ident(t.EventDate)+
		" AS d FROM "+duck.Parquet(j.paths(t))+") WHERE d IS NOT NULL GROUP BY 1 ORDER BY 1")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var year sql.NullInt64 // NULL for an infinite date
		var from, to string
		var n int64
		if err := rows.Scan(&year, &from, &to, &n); err != nil {
			return err
		}
		if !year.Valid || year.Int64 < firstYear || year.Int64 > lastYear {
			return contract.Refuse("invalid", "table %s: column %s holds dates outside the years %d to %d in %d rows", t.Name, t.EventDate, firstYear, lastYear, n)
		}
		if t.From == "" {
			t.From = from
		}
		t.To = to
		years[strconv.FormatInt(year.Int64, 10)] += n
	}
	return rows.Err()
}

func (j *join) paths(t *Table) []string {
	out := make([]string, len(t.Files))
	for i, f := range t.Files {
		out[i] = filepath.Join(j.build, f.Path)
	}
	return out
}

// persons counts the distinct hub pseudonyms of the delivery.
func (j *join) persons(ctx context.Context, m *Manifest) (n int64, err error) {
	var lists []string
	for i := range m.Tables {
		if f := m.Tables[i].PersonsFile; f != nil {
			lists = append(lists, filepath.Join(j.build, f.Path))
		}
	}
	if len(lists) == 0 {
		return 0, nil
	}
	err = j.db.QueryRowContext(ctx, "SELECT count(DISTINCT h) FROM "+duck.Parquet(lists)).Scan(&n)
	return n, err
}

// blame tells a damaged delivery from a fault of ours: a value that cannot be read is the delivery's.
func (j *join) blame(t *Table, err error) error {
	if contract.RefusalCode(err) != "error" {
		return err
	}
	text := err.Error()
	for _, kind := range []string{"Conversion Error", "Invalid Input Error", "Out of Range Error", "Invalid unicode", "TProtocolException"} {
		if strings.Contains(text, kind) && !duck.DiskFull(err) {
			// DuckDB's text may quote a value: it stays out of the reason.
			return contract.Refuse("invalid", "table %s: a part is damaged or holds a value that does not fit its column's type", t.Name)
		}
	}
	return fmt.Errorf("publish: table %s: %w", t.Name, err)
}
