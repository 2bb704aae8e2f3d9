package sample

import (
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// rowGroupRows is how many rows are gathered before a row group is written. Tables with more rows a chunk
// write one row group a chunk.
const rowGroupRows = 100_000

var texts = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}

// arrowSchema is the Parquet schema of a table: texts as UTF-8 with a dictionary, dates as DATE, times as
// local microseconds, integers with 64 bits, amounts as double.
func (t *table) arrowSchema() *arrow.Schema {
	out := make([]arrow.Field, len(t.columns))
	for i, c := range t.columns {
		f := arrow.Field{Name: c.Name, Nullable: true}
		switch c.kind {
		case asInt:
			f.Type = arrow.PrimitiveTypes.Int64
		case asDate:
			f.Type = arrow.FixedWidthTypes.Date32
		case asMinute:
			f.Type = &arrow.TimestampType{Unit: arrow.Microsecond}
		case asCents:
			f.Type = arrow.PrimitiveTypes.Float64
		default:
			f.Type = texts
		}
		out[i] = f
	}
	return arrow.NewSchema(out, nil)
}

// parquetFile writes the rows of one table into one file.
type parquetFile struct {
	file  *os.File
	out   *pqarrow.FileWriter
	room  *columnRoom
	table *table
}

// columnRoom is memory for one column in hand, used again for every column.
type columnRoom struct {
	i32   []int32
	i64   []int64
	f64   []float64
	valid []byte
	remap []int32
}

func createParquet(path string, t *table, room *columnRoom) (*parquetFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	opts := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(1), parquet.WithDictionaryDefault(true), parquet.WithStats(false),
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithDataPageVersion(parquet.DataPageV1), parquet.WithCreatedBy("mitral"),
		parquet.WithMaxRowGroupLength(1 << 30), parquet.WithDictionaryPageSizeLimit(16 << 20), parquet.WithBatchSize(16384),
	}
	for _, c := range t.columns {
		if c.Name == "DCT_ORD_NUM" || c.Name == "RSA_NUM" || c.Name == "NUM_PASSAGE" {
			opts = append(opts, parquet.WithDictionaryFor(c.Name, false), parquet.WithEncodingFor(c.Name, parquet.Encodings.DeltaBinaryPacked))
		}
	}
	w, err := pqarrow.NewFileWriter(t.arrowSchema(), struct{ io.Writer }{f}, parquet.NewWriterProperties(opts...), pqarrow.DefaultWriterProps())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &parquetFile{file: f, out: w, room: room, table: t}, nil
}

// write makes one row group of b.
func (p *parquetFile) write(b *rows) error {
	if b.count() == 0 {
		return nil
	}
	if err := p.out.NewRowGroupChecked(); err != nil {
		return err
	}
	for i := range p.table.columns {
		a := p.room.column(b, i)
		err := p.out.WriteColumnData(a)
		a.Release()
		if err != nil {
			return fmt.Errorf("table %s, column %s: %w", p.table.name, p.table.columns[i].Name, err)
		}
	}
	return nil
}

// close ends the file and makes it durable; it returns its size in bytes.
func (p *parquetFile) close() (int64, error) {
	if err := p.out.Close(); err != nil {
		return 0, err
	}
	if err := p.file.Sync(); err != nil {
		return 0, err
	}
	info, err := p.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), p.file.Close()
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// column gathers column i of b as an Arrow array over the room's memory: valid until the next call.
func (m *columnRoom) column(b *rows, i int) arrow.Array {
	n, width, c := b.count(), b.width, &b.table.columns[i]
	m.valid = grow(m.valid, (n+7)/8)
	clear(m.valid)
	cells, nulls := b.cells, 0
	values := func(put func(k int, v int32)) {
		for k, at := 0, i; k < n; k, at = k+1, at+width {
			if v := cells[at]; v != missing {
				m.valid[k>>3] |= 1 << (k & 7)
				put(k, v)
			} else {
				nulls++
			}
		}
	}
	wrap := func(dt arrow.DataType, raw []byte) arrow.Array {
		data := array.NewData(dt, n, []*memory.Buffer{memory.NewBufferBytes(m.valid), memory.NewBufferBytes(raw)}, nil, nulls, 0)
		defer data.Release()
		return array.MakeFromData(data)
	}
	switch c.kind {
	case asInt:
		m.i64 = grow(m.i64, n)
		values(func(k int, v int32) { m.i64[k] = int64(v) })
		return wrap(arrow.PrimitiveTypes.Int64, arrow.Int64Traits.CastToBytes(m.i64))
	case asDate:
		m.i32 = grow(m.i32, n)
		values(func(k int, v int32) { m.i32[k] = v })
		return wrap(arrow.FixedWidthTypes.Date32, arrow.Int32Traits.CastToBytes(m.i32))
	case asMinute:
		m.i64 = grow(m.i64, n)
		values(func(k int, v int32) { m.i64[k] = int64(v) * 60_000_000 })
		return wrap(&arrow.TimestampType{Unit: arrow.Microsecond}, arrow.Int64Traits.CastToBytes(m.i64))
	case asCents:
		m.f64 = grow(m.f64, n)
		values(func(k int, v int32) { m.f64[k] = float64(v) / 100 })
		return wrap(arrow.PrimitiveTypes.Float64, arrow.Float64Traits.CastToBytes(m.f64))
	}
	m.i32 = grow(m.i32, n)
	size := len(c.codes)
	if c.kind == asText {
		size = len(b.ends)
	}
	m.remap = grow(m.remap, size)
	clear(m.remap)
	words := array.NewStringBuilder(memory.DefaultAllocator)
	defer words.Release()
	var used int32
	values(func(k int, v int32) { // only the words in use, in the order of their first use
		r := m.remap[v]
		if r == 0 {
			if c.kind == asCode {
				words.Append(c.codes[v])
			} else {
				words.BinaryBuilder.Append(b.at(v))
			}
			used++
			r = used
			m.remap[v] = r
		}
		m.i32[k] = r - 1
	})
	dict := words.NewArray()
	defer dict.Release()
	index := wrap(arrow.PrimitiveTypes.Int32, arrow.Int32Traits.CastToBytes(m.i32))
	defer index.Release()
	return array.NewDictionaryArray(texts, index, dict)
}
