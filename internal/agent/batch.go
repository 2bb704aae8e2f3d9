package agent

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/mitral-health/mitral/internal/contract"
)

// windowRows is how many rows are in hand at once, and the size of a row group and of a part of the
// identities.
const windowRows = 1 << 17

// batch is consecutive rows of one file, column by column in the order of the schema, each of the type
// that columnType gives (or a dictionary of it).
type batch struct {
	file    string
	columns []arrow.Array
	rows    int
	first   int64   // Parquet: number of the first row, from 1
	lines   []int64 // CSV: line on which each row starts
	bytes   int64   // of the file that were read for it
}

func (b *batch) line(i int) int64 {
	if b.lines != nil {
		return b.lines[i]
	}
	return b.first + int64(i)
}

func (b *batch) release() {
	for _, c := range b.columns {
		c.Release()
	}
}

// source reads the files of one table.
type source interface {
	// next returns the next rows, io.EOF at the end, or errEnough.
	next() (*batch, error)
	// types are those of the columns of every batch.
	types() []arrow.DataType
	close() error
}

// columnType is the type of a column in the payload that is sent.
func columnType(t contract.ColumnType) arrow.DataType {
	switch t {
	case contract.TypeInteger:
		return arrow.PrimitiveTypes.Int64
	case contract.TypeNumber:
		return arrow.PrimitiveTypes.Float64
	case contract.TypeDate:
		return arrow.FixedWidthTypes.Date32
	case contract.TypeTime:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	default:
		return arrow.BinaryTypes.String
	}
}

// checker holds what values of a table must fulfil.
type checker struct {
	table    *contract.Table
	kind     tableKind
	from, to int32 // days since 1970 between which dates of persons lie
	found    *findings
}

// firstDay is the earliest date taken seriously in data about persons.
var firstDay = int32(time.Date(1850, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400)

func newChecker(t *contract.Table, kind tableKind, now time.Time, found *findings) *checker {
	c := &checker{table: t, kind: kind, from: firstDay, to: int32(now.Unix()/86400) + 1, found: found}
	if kind == reference { // a code list may end in 2099
		c.from, c.to = math.MinInt32, math.MaxInt32
	}
	return c
}

// check looks at every value of the batch.
func (c *checker) check(b *batch) error {
	for i, col := range c.table.Columns {
		if err := c.column(b, &col, b.columns[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) column(b *batch, col *contract.Column, a arrow.Array) error {
	bad := func(i int, format string, args ...any) error {
		return c.found.add(b.file, b.line(i), col.Name, format, args...)
	}
	if (col.Required || col.Role == contract.RolePersonKey) && a.NullN() > 0 {
		for i := range b.rows {
			if a.IsNull(i) {
				if err := bad(i, "is missing and required"); err != nil {
					return err
				}
			}
		}
	}
	each := func(wrong func(i int) string) error {
		for i := range b.rows {
			if reason := wrong(i); reason != "" && a.IsValid(i) {
				if err := bad(i, "%s", reason); err != nil {
					return err
				}
			}
		}
		return nil
	}
	switch a := a.(type) {
	case *array.Date32:
		days := a.Date32Values()
		return each(func(i int) string { return c.day(int32(days[i])) })
	case *array.Timestamp:
		us := a.TimestampValues()
		return each(func(i int) string { return c.day(int32(floorDiv(int64(us[i]), 86_400_000_000))) })
	case *array.Float64:
		v := a.Float64Values()
		return each(func(i int) string {
			if math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
				return "is not a finite number"
			}
			return ""
		})
	case *array.String:
		return each(func(i int) string { return wrongText(a.Value(i)) })
	case *array.Dictionary:
		values := a.Dictionary().(*array.String)
		reasons, any := make([]string, values.Len()), false
		for i := range reasons {
			reasons[i] = wrongText(values.Value(i))
			any = any || reasons[i] != ""
		}
		if !any {
			return nil
		}
		return each(func(i int) string {
			if a.IsNull(i) {
				return ""
			}
			return reasons[a.GetValueIndex(i)]
		})
	}
	return nil
}

func (c *checker) day(d int32) string {
	switch {
	case d < c.from:
		return "is a date before 1850"
	case d > c.to:
		return "is a date after tomorrow"
	}
	return ""
}

func wrongText(s string) string {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return "holds a NUL byte"
	case !utf8.ValidString(s):
		return "is not valid UTF-8; is the file in another encoding?"
	}
	return ""
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// textOf returns a function that gives the value in a row as a holder would write it, "" when missing.
func textOf(a arrow.Array) func(i int) string {
	var f func(i int) string
	switch a := a.(type) {
	case *array.String:
		f = a.Value
	case *array.Dictionary:
		values := a.Dictionary().(*array.String)
		f = func(i int) string { return values.Value(a.GetValueIndex(i)) }
	case *array.Int64:
		f = func(i int) string { return strconv.FormatInt(a.Value(i), 10) }
	case *array.Float64:
		f = func(i int) string { return strconv.FormatFloat(a.Value(i), 'f', -1, 64) }
	case *array.Date32:
		f = func(i int) string { return a.Value(i).ToTime().Format(time.DateOnly) }
	case *array.Timestamp:
		f = func(i int) string { return time.UnixMicro(int64(a.Value(i))).UTC().Format(time.DateOnly) }
	default:
		panic(fmt.Sprintf("agent: column of type %s", a.DataType())) // sources make no other type
	}
	return func(i int) string {
		if a.IsNull(i) {
			return ""
		}
		return f(i)
	}
}
