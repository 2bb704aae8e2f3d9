package sample

import (
	"fmt"

	"github.com/mitral-health/mitral/internal/contract"
)

// kind says how a column's cells are kept in memory: always one int32 each, so that a row is one append.
type kind uint8

const (
	asInt    kind = iota // the number itself
	asDate               // days since 1970-01-01
	asMinute             // minutes since 1970-01-01 00:00, local time
	asCents              // hundredths
	asCode               // index into the column's code list
	asText               // index into the texts of the table in hand
)

// column is a variable with the way it is kept.
type column struct {
	contract.Column
	kind  kind
	codes []string // for asCode
}

// table is the definition of one table and its place in the output.
type table struct {
	name      string
	title     map[string]string
	columns   []column
	eventDate string
}

// dataset is the definition of one dataset of one holder.
type dataset struct {
	holder, name string
	tables       []*table
}

func (d *dataset) schema() contract.DatasetSchema {
	s := contract.DatasetSchema{Holder: d.holder, Dataset: d.name, Version: 1}
	for _, t := range d.tables {
		ct := contract.Table{Name: t.name, Title: t.title, EventDate: t.eventDate}
		for _, c := range t.columns {
			ct.Columns = append(ct.Columns, c.Column)
		}
		s.Tables = append(s.Tables, ct)
	}
	return s
}

// rows holds rows of one table, row after row, until they are written.
type rows struct {
	table *table
	width int
	cells []int32
	text  []byte  // texts of this table, one after another
	ends  []int32 // where each text ends
}

func newRows(t *table) *rows { return &rows{table: t, width: len(t.columns)} }

func (b *rows) count() int { return len(b.cells) / b.width }

// add appends one row; cells stand in the order of the table's columns.
func (b *rows) add(cells ...int32) {
	if len(cells) != b.width {
		panic(fmt.Sprintf("table %s has %d columns, row has %d", b.table.name, b.width, len(cells)))
	}
	b.cells = append(b.cells, cells...)
}

// put keeps a text and returns its cell; an empty text is an empty cell.
func (b *rows) put(s string) int32 {
	if s == "" {
		return missing
	}
	b.text = append(b.text, s...)
	b.ends = append(b.ends, int32(len(b.text)))
	return int32(len(b.ends) - 1)
}

// putBytes is put for bytes.
func (b *rows) putBytes(s []byte) int32 {
	if len(s) == 0 {
		return missing
	}
	b.text = append(b.text, s...)
	b.ends = append(b.ends, int32(len(b.text)))
	return int32(len(b.ends) - 1)
}

// at returns the text of a cell.
func (b *rows) at(i int32) []byte {
	from := int32(0)
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.text[from:b.ends[i]]
}

// reset forgets the rows and keeps the room.
func (b *rows) reset() { b.cells, b.text, b.ends = b.cells[:0], b.text[:0], b.ends[:0] }

// names is a title in the three languages.
func names(fr, en, fi string) map[string]string {
	return map[string]string{"fr": fr, "en": en, "fi": fi}
}

// Short ways to write column definitions.

func intCol(name, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeInteger, Title: names(fr, en, fi)}, kind: asInt}
}

func dateCol(name, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeDate, Title: names(fr, en, fi)}, kind: asDate}
}

func timeCol(name, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeTime, Title: names(fr, en, fi)}, kind: asMinute}
}

func amountCol(name, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeNumber, Title: names(fr, en, fi)}, kind: asCents}
}

func textCol(name, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeString, Title: names(fr, en, fi)}, kind: asText}
}

// codeCol is a text column whose values come from a list known beforehand.
func codeCol(name, list string, codes []string, fr, en, fi string) column {
	return column{Column: contract.Column{Name: name, Type: contract.TypeString, CodeList: list, Title: names(fr, en, fi)}, kind: asCode, codes: codes}
}

// list names the code list of an integer column.
func (c column) list(name string) column { c.CodeList = name; return c }

func (c column) role(r contract.ColumnRole) column { c.Role = r; return c }

func (c column) required() column { c.Required = true; return c }
