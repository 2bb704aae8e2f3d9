// Package jobsql runs a user's SQL inside the enclave's sandbox: "mitral enclave-sql". It stands below
// internal/engine because DuckDB does, but it is no part of the data zone's service: it is called only as
// a program of its own, sees only the directories that the sandbox shows it, and holds no key. It must
// never open a network connection or a file outside those directories; the database is locked against it
// and the sandbox is the second lock.
package jobsql

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// Command is the sub-command of the binary that runs Main.
const Command = "enclave-sql"

// Options of one run.
type Options struct {
	Data    string // directory of "<dataset>.<table>.parquet" files
	Out     string // directory for result.csv
	Script  string // file with SQL statements; "" writes each table as CSV into Out instead
	Memory  int64  // bytes DuckDB may use
	Threads int
	MaxRows int64 // rows of the result
}

// Main runs the command and returns its exit code: 0, or 1 with a message for the user on standard error.
func Main(args []string) int {
	var o Options
	fs := flag.NewFlagSet(Command, flag.ContinueOnError)
	fs.StringVar(&o.Data, "data", "/data", "directory of Parquet files")
	fs.StringVar(&o.Out, "out", "/out", "directory for the result")
	fs.StringVar(&o.Script, "script", "", "file with SQL statements; without it each table is written as CSV")
	fs.Int64Var(&o.Memory, "memory", 1<<30, "bytes of memory")
	fs.IntVar(&o.Threads, "threads", 2, "threads")
	fs.Int64Var(&o.MaxRows, "max-rows", 1_000_000, "rows of the result")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if err := Run(context.Background(), o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Run opens an in-memory database with one view for each Parquet file and runs the statements of the
// script in order. The result of the last one that returns columns goes to result.csv. Each table can be
// named dataset.table, and by its own name alone where no other dataset has a table of that name.
func Run(ctx context.Context, o Options, log io.Writer) error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer connector.Close()
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer conn.Close()

	tables, err := tables(o.Data)
	if err != nil {
		return err
	}
	setup := []string{
		"SET memory_limit = '" + strconv.FormatInt(o.Memory>>20, 10) + "MiB'",
		"SET threads = " + strconv.Itoa(max(o.Threads, 1)),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET temp_directory = ''",
		"SET TimeZone = 'UTC'",
		"SET allowed_directories = [" + quote(o.Data) + ", " + quote(o.Out) + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
	for _, t := range tables {
		setup = append(setup, t.views()...)
	}
	for _, s := range setup {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("database: %w", err)
		}
	}
	if o.Script == "" {
		for _, t := range tables {
			file := filepath.Join(o.Out, t.dataset+"."+t.name+".csv")
			if _, err := conn.ExecContext(ctx, "COPY (SELECT * FROM "+t.qualified()+") TO "+quote(file)+" (FORMAT csv, HEADER)"); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
		return nil
	}
	script, err := os.ReadFile(o.Script)
	if err != nil {
		return err
	}
	return statements(ctx, conn, string(script), o, log)
}

type table struct {
	dataset, name, file string
	alone               bool // no other dataset has a table of this name
}

func (t table) qualified() string { return ident(t.dataset) + "." + ident(t.name) }

func (t table) views() []string {
	out := []string{
		"CREATE SCHEMA IF NOT EXISTS " + ident(t.dataset),
		"CREATE VIEW " + t.qualified() + " AS SELECT * FROM read_parquet(" + quote(t.file) + ")",
	}
	if t.alone {
		out = append(out, "CREATE VIEW main."+ident(t.name)+" AS SELECT * FROM "+t.qualified())
	}
	return out
}

// tables lists the Parquet files of a directory; their names are "<dataset>.<table>.parquet".
func tables(dir string) ([]table, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []table
	names := map[string]int{}
	for _, f := range files {
		dataset, name, ok := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".parquet"), ".")
		if !ok || dataset == "" || name == "" {
			return nil, fmt.Errorf("data file %s is not named <dataset>.<table>.parquet", filepath.Base(f))
		}
		names[strings.ToLower(name)]++ // DuckDB's names do not tell case apart
		out = append(out, table{dataset: dataset, name: name, file: f})
	}
	for i := range out {
		// A table called like a dataset would hide that dataset's schema.
		out[i].alone = names[strings.ToLower(out[i].name)] == 1 && !slices.ContainsFunc(out, func(t table) bool { return strings.EqualFold(t.dataset, out[i].name) })
	}
	return out, nil
}

// statements runs the script: the driver runs each statement in order and returns the last one's result.
func statements(ctx context.Context, conn *sql.Conn, script string, o Options, log io.Writer) error {
	begin := time.Now()
	rows, err := conn.QueryContext(ctx, script)
	if err != nil {
		return errors.New(plain(err))
	}
	defer rows.Close()
	n, err := write(rows, o)
	if err != nil {
		return errors.New(plain(err))
	}
	fmt.Fprintf(log, "%d rows in result.csv, %d ms\n", n, time.Since(begin).Milliseconds())
	return nil
}

// write puts a result into result.csv and returns its number of rows.
func write(rows *sql.Rows, o Options) (int64, error) {
	cols, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return 0, err
	}
	// The result appears whole or not at all; names with a dot in front are never taken out of /out.
	part := filepath.Join(o.Out, ".result.csv.part")
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer os.Remove(part)
	defer f.Close()
	w := csv.NewWriter(f)
	if err := w.Write(cols); err != nil {
		return 0, err
	}
	values := make([]any, len(cols))
	into := make([]any, len(cols))
	for i := range values {
		into[i] = &values[i]
	}
	record := make([]string, len(cols))
	var n int64
	for rows.Next() {
		if n++; n > o.MaxRows {
			return 0, fmt.Errorf("the result has more than %d rows; aggregate it", o.MaxRows)
		}
		if err := rows.Scan(into...); err != nil {
			return 0, err
		}
		for i, v := range values {
			record[i] = text(v, types[i].DatabaseTypeName())
		}
		if err := w.Write(record); err != nil {
			return 0, err
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if n == 0 && len(cols) == 1 && (cols[0] == "Success" || cols[0] == "Count") { // how DuckDB answers CREATE and the like
		return 0, errors.New("the last statement gives no rows; end the script with a SELECT: its result becomes result.csv")
	}
	w.Flush()
	if err := errors.Join(w.Error(), f.Close()); err != nil {
		return 0, err
	}
	return n, os.Rename(part, filepath.Join(o.Out, "result.csv"))
}

// text writes a value as a person would: dates as days, binary as hexadecimal, nothing as nothing.
func text(v any, kind string) string {
	switch x := v.(type) {
	case nil:
		return ""
	case time.Time:
		if kind == "DATE" {
			return x.Format(time.DateOnly)
		}
		return x.UTC().Format("2006-01-02T15:04:05.999999")
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case duckdb.Decimal:
		return x.String()
	case []byte:
		if kind == "UUID" && len(x) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", x[:4], x[4:6], x[6:8], x[8:10], x[10:])
		}
		return fmt.Sprintf("%x", x)
	}
	return fmt.Sprint(v)
}

// plain takes the driver's prefix off an error.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "duckdb: ") }

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
