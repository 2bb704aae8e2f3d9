// Package laketest makes small deliveries and lakes for tests and reads Parquet files back without
// DuckDB, so that what DuckDB did is checked by something else.
package laketest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
)

// Row is one row by column: nil, string, int64 or float64; dates as YYYY-MM-DD, times as
// YYYY-MM-DD hh:mm:ss; column "ticket" or "h" as [16]byte.
type Row map[string]any

// Data is a delivery in memory.
type Data struct {
	Schema  contract.DatasetSchema
	Tickets map[[16]byte][16]byte // ticket → hub pseudonym
	Rows    map[string][]Row      // by table
}

// T is what these helpers need of a *testing.T or *rapid.T.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Ticket draws a random ticket.
func Ticket() (t [16]byte) {
	rand.Read(t[:])
	return t
}

// H is the hub pseudonym that tests give to a person.
func H(person int) (h [16]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "person %d", person))
	copy(h[:], sum[:])
	return h
}

var duckType = map[contract.ColumnType]string{
	contract.TypeString: "VARCHAR", contract.TypeInteger: "BIGINT", contract.TypeNumber: "DOUBLE",
	contract.TypeDate: "DATE", contract.TypeTime: "TIMESTAMP",
}

// WriteParts writes the tables as an agent does, to dir/<table>/<part>, in as many parts as said, and
// returns the manifest that closes the delivery.
func WriteParts(t T, dir, id string, data Data, parts int) contract.Delivery {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := duck.Open(ctx(t), duck.Options{Dirs: []string{dir}, Threads: 1, Memory: "200MB"})
	check(err)
	defer db.Close()
	d := contract.Delivery{Schema: contract.DeliverySchema, ID: id, Dataset: data.Schema, CreatedAt: time.Now().UTC(), Tickets: int64(len(data.Tickets))}
	for i := range data.Schema.Tables {
		table := &data.Schema.Tables[i]
		check(os.MkdirAll(filepath.Join(dir, table.Name), 0o700))
		var columns, names []string
		if lake.Keyed(table) {
			columns, names = append(columns, "ticket UUID"), append(names, "ticket")
		}
		for _, c := range table.Columns {
			if c.Role == contract.RolePayload {
				columns = append(columns, duck.Ident(c.Name)+" "+duckType[c.Type])
				names = append(names, c.Name)
			}
		}
		rows := data.Rows[table.Name]
		for p := range parts {
			from, to := len(rows)*p/parts, len(rows)*(p+1)/parts
			if from == to && p > 0 {
				continue
			}
			_, err := db.Exec("CREATE OR REPLACE TABLE part (" + strings.Join(columns, ", ") + ")")
			check(err)
			var values []string
			for _, r := range rows[from:to] {
				v := make([]string, len(names))
				for k, n := range names {
					v[k] = literal(r[n])
				}
				values = append(values, "("+strings.Join(v, ", ")+")")
			}
			if len(values) > 0 {
				_, err = db.Exec("INSERT INTO part VALUES " + strings.Join(values, ", "))
				check(err)
			}
			name := fmt.Sprintf("part-%d", p)
			path := filepath.Join(dir, table.Name, name)
			_, err = db.Exec("COPY part TO " + duck.Text(path) + " (FORMAT parquet)")
			check(err)
			b, err := os.ReadFile(path)
			check(err)
			d.Parts = append(d.Parts, contract.FilePart{Table: table.Name, Name: name, Rows: int64(to - from), Bytes: int64(len(b)), Digest: contract.DigestOf(b)})
		}
	}
	return d
}

func literal(v any) string {
	switch x := v.(type) {
	case nil:
		return "NULL"
	case string:
		return duck.Text(x)
	case [16]byte:
		return fmt.Sprintf("'%x-%x-%x-%x-%x'::UUID", x[:4], x[4:6], x[6:8], x[8:10], x[10:])
	default:
		return fmt.Sprint(x)
	}
}

// SheetBytes is the opened ticket sheet of a delivery.
func SheetBytes(t T, id string, data Data) []byte {
	t.Helper()
	header, err := json.Marshal(contract.TicketSheetHeader{Schema: lake.SheetSchema, Delivery: id, Rows: int64(len(data.Tickets)), Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	out := append(header, '\n')
	for ticket, h := range data.Tickets {
		out = append(append(out, ticket[:]...), h[:]...)
	}
	return out
}

// Publish writes a delivery to incoming and publishes it.
func Publish(t T, l *lake.Lake, incoming, id string, data Data) *lake.Manifest {
	t.Helper()
	dir := filepath.Join(incoming, id)
	d := WriteParts(t, dir, id, data, 2)
	sheet, err := lake.ParseSheet(SheetBytes(t, id, data), id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.Publish(ctx(t), d, dir, sheet, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Open opens an empty lake in a directory of the test and returns it with a directory for parts.
func Open(t *testing.T) (l *lake.Lake, incoming string) {
	t.Helper()
	dir := t.TempDir()
	l, err := lake.Open(filepath.Join(dir, "lake"), filepath.Join(dir, "tmp"), lake.Options{Memory: "500MB", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return l, filepath.Join(dir, "incoming")
}

// ReadRows reads Parquet files without DuckDB, in the order they are written.
func ReadRows(t T, paths ...string) []Row {
	t.Helper()
	var out []Row
	for _, path := range paths {
		rows, err := readFile(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, rows...)
	}
	return out
}

func readFile(path string) (out []Row, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return nil, err
	}
	fields := pf.Schema().Fields()
	for _, g := range pf.RowGroups() {
		rows := g.Rows()
		buf := make([]parquet.Row, 256)
		for {
			n, err := rows.ReadRows(buf)
			for _, r := range buf[:n] {
				row := Row{}
				for _, v := range r {
					field := fields[v.Column()]
					row[field.Name()] = value(field, v)
				}
				out = append(out, row)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				rows.Close()
				return nil, err
			}
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// value turns a Parquet value into a Row's.
func value(field parquet.Field, v parquet.Value) any {
	if v.IsNull() {
		return nil
	}
	logical := ""
	if l := field.Type().LogicalType(); l != nil {
		logical = l.String()
	}
	switch v.Kind() {
	case parquet.Int32:
		if logical == "DATE" {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
		}
		return int64(v.Int32())
	case parquet.Int64:
		if strings.HasPrefix(logical, "TIMESTAMP") {
			return time.UnixMicro(v.Int64()).UTC().Format(time.DateTime)
		}
		return v.Int64()
	case parquet.Double:
		return v.Double()
	case parquet.FixedLenByteArray:
		return [16]byte(v.ByteArray())
	default:
		return string(v.ByteArray())
	}
}
