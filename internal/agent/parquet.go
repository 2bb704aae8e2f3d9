package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/mitral-health/mitral/internal/contract"
)

// maxDictionary is the largest dictionary page, in bytes as stored, that is passed on as a dictionary;
// above it, copying the dictionary into every row group would cost more than it saves.
const maxDictionary = 1 << 20

// parquetSource reads Parquet files, column by column and one row group at a time.
type parquetSource struct {
	t     *tablePlan
	found *findings
	paths []string

	asDictionary []bool // by column of the schema: text read as dictionary, in all files

	path   string
	in     *file.Reader
	reader *pqarrow.FileReader
	at     []int // column of the schema → column of the file
	group  int   // next row group
	rows   pqarrow.RecordReader
	first  int64
}

// newParquetSource opens every file once to see whether texts are stored as dictionaries: read as such, each
// distinct value is looked at once instead of in every row.
func newParquetSource(t *tablePlan, found *findings) (*parquetSource, error) {
	s := &parquetSource{t: t, found: found, paths: t.paths, asDictionary: make([]bool, len(t.Columns))}
	for i, c := range t.Columns {
		s.asDictionary[i] = c.Type == contract.TypeString
	}
	for _, p := range t.paths {
		if ok, err := s.open(p); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		for g := range s.in.NumRowGroups() {
			for i := range s.asDictionary {
				s.asDictionary[i] = s.asDictionary[i] && s.dictionary(g, i)
			}
		}
		if err := s.close(); err != nil {
			return nil, err
		}
	}
	if len(found.list) > 0 {
		s.paths = nil
	}
	return s, nil
}

func (s *parquetSource) dictionary(group, column int) bool {
	c, err := s.in.MetaData().RowGroup(group).ColumnChunk(s.at[column])
	if err != nil || !c.HasDictionaryPage() {
		return false
	}
	// The key is never written, so its dictionary may be large.
	return s.t.Columns[column].Role == contract.RolePersonKey || c.DataPageOffset()-c.DictionaryPageOffset() <= maxDictionary
}

func (s *parquetSource) types() []arrow.DataType {
	var out []arrow.DataType
	for i, c := range s.t.Columns {
		t := columnType(c.Type)
		if s.asDictionary[i] {
			t = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: t}
		}
		out = append(out, t)
	}
	return out
}

func (s *parquetSource) close() error {
	if s.rows != nil {
		s.rows.Release()
		s.rows = nil
	}
	if s.in == nil {
		return nil
	}
	err := s.in.Close()
	s.in = nil
	return err
}

func (s *parquetSource) name() string { return filepath.Base(s.path) }

// open opens a file and compares its columns with the schema. ok is false when it cannot be read.
func (s *parquetSource) open(path string) (ok bool, err error) {
	s.path, s.group, s.first = path, 0, 1
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	in, err := newReader(f)
	if err != nil {
		return false, errors.Join(f.Close(), s.found.add(s.name(), 0, "", "is not a whole Parquet file: its end is damaged or cut off"))
	}
	s.in = in
	schema, err := pqarrow.FromParquet(in.MetaData().Schema, nil, nil)
	if err != nil || schema.NumFields() != in.MetaData().Schema.NumColumns() {
		return false, errors.Join(s.close(), s.found.add(s.name(), 0, "", "has columns within columns; a table has plain columns only"))
	}
	s.at = make([]int, len(s.t.Columns))
	ok = true
	wrong := func(column, format string, args ...any) {
		ok = false
		err = errors.Join(err, s.found.add(s.name(), 0, column, format, args...))
	}
	for i, c := range s.t.Columns {
		at := schema.FieldIndices(c.Name)
		switch {
		case len(at) == 0:
			wrong(c.Name, "the column is missing")
		case len(at) > 1:
			wrong(c.Name, "the column stands twice in the file")
		case !readable(c.Type, schema.Field(at[0]).Type):
			wrong(c.Name, "is of type %s in the file and %s in the schema", schema.Field(at[0]).Type, c.Type)
		default:
			s.at[i] = at[0]
		}
	}
	for _, f := range schema.Fields() {
		if !slices.ContainsFunc(s.t.Columns, func(c contract.Column) bool { return c.Name == f.Name }) {
			wrong(shown(f.Name), "is not a column of this table")
		}
	}
	if !ok {
		return false, errors.Join(err, s.close())
	}
	return true, err
}

func shown(name string) string {
	if !contract.ValidName(name) {
		return "?"
	}
	return name
}

// newReader reads the footer. The library panics on some damaged files.
func newReader(f *os.File) (r *file.Reader, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("parquet: %v", p)
		}
	}()
	return file.NewParquetReader(f)
}

// readable reports whether values of a file's type can be taken for the schema's without loss.
func readable(want contract.ColumnType, got arrow.DataType) bool {
	ids := map[contract.ColumnType][]arrow.Type{
		contract.TypeString:  {arrow.STRING, arrow.LARGE_STRING},
		contract.TypeInteger: {arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32},
		contract.TypeNumber:  {arrow.FLOAT32, arrow.FLOAT64, arrow.INT8, arrow.INT16, arrow.INT32},
		contract.TypeDate:    {arrow.DATE32, arrow.DATE64},
		contract.TypeTime:    {arrow.TIMESTAMP},
	}
	return slices.Contains(ids[want], got.ID())
}

func (s *parquetSource) next() (*batch, error) {
	for {
		if s.in == nil {
			if len(s.paths) == 0 {
				return nil, io.EOF
			}
			path := s.paths[0]
			s.paths = s.paths[1:]
			if ok, err := s.open(path); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
			if err := s.begin(); err != nil {
				return nil, err
			}
		}
		if s.rows == nil {
			if s.group == s.in.NumRowGroups() {
				if err := s.close(); err != nil {
					return nil, err
				}
				continue
			}
			rows, err := s.reader.GetRecordReader(context.Background(), nil, []int{s.group})
			if err != nil {
				return nil, errors.Join(s.damaged(), s.close())
			}
			s.rows = rows
			s.group++
		}
		b, err := s.read()
		if err != nil || b != nil {
			return b, err
		}
	}
}

func (s *parquetSource) begin() (err error) {
	props := pqarrow.ArrowReadProperties{BatchSize: windowRows}
	for i, dict := range s.asDictionary {
		if dict {
			props.SetReadDict(s.at[i], true)
		}
	}
	s.reader, err = pqarrow.NewFileReader(s.in, props, memory.DefaultAllocator)
	return err
}

func (s *parquetSource) damaged() error {
	return s.found.add(s.name(), s.first, "", "the file is damaged after this row")
}

// read returns the next rows of the row group; nil at its end.
func (s *parquetSource) read() (b *batch, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some damaged pages
			b, err = nil, errors.Join(s.damaged(), s.close())
		}
	}()
	if !s.rows.Next() {
		err := s.rows.Err()
		s.rows.Release()
		s.rows = nil
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.Join(s.damaged(), s.close())
		}
		return nil, nil
	}
	rec := s.rows.RecordBatch()
	b = &batch{file: s.name(), rows: int(rec.NumRows()), first: s.first}
	s.first += rec.NumRows()
	types := s.types()
	for i := range s.t.Columns {
		a := rec.Column(s.at[i])
		if arrow.TypeEqual(a.DataType(), types[i]) {
			a.Retain()
		} else if a, err = convert(a, types[i]); err != nil {
			b.release()
			return nil, errors.Join(s.found.add(s.name(), b.first, s.t.Columns[i].Name, "holds values that do not fit the schema's type"), s.close())
		}
		b.columns = append(b.columns, a)
	}
	if all := s.in.NumRows(); all > 0 {
		b.bytes = s.fileSize() * rec.NumRows() / all
	}
	return b, nil
}

func (s *parquetSource) fileSize() int64 {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0 // progress only
	}
	return info.Size()
}

// convert casts a column to the type that is sent. Instants lose their zone: they are UTC.
func convert(a arrow.Array, to arrow.DataType) (arrow.Array, error) {
	if ts, ok := a.DataType().(*arrow.TimestampType); ok {
		if ts.TimeZone != "" {
			plain := array.NewData(&arrow.TimestampType{Unit: ts.Unit}, a.Len(), a.Data().Buffers(), nil, a.NullN(), a.Data().Offset())
			defer plain.Release()
			a = array.MakeFromData(plain)
			defer a.Release()
		}
		opts := compute.SafeCastOptions(to)
		opts.AllowTimeTruncate = true // nanoseconds of a hospital's clock
		return compute.CastArray(context.Background(), a, opts)
	}
	return compute.CastArray(context.Background(), a, compute.SafeCastOptions(to))
}
