package agent

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/text/encoding/charmap"

	"github.com/mitral-health/mitral/internal/contract"
)

// maxRecord is the longest record of a CSV file, in bytes. A quote that is never closed makes one record of all
// the rest of the file; this keeps it out of memory.
const maxRecord = 4 << 20

// csvSource reads CSV files (RFC 4180 with any separator), an empty field being a missing value.
type csvSource struct {
	t     *tablePlan
	found *findings
	paths []string // still to be read

	path   string
	file   *os.File
	unpack *gzip.Reader
	size   *counter
	guard  *guard
	in     *csv.Reader
	at     []int // field → column of the schema
	done   int64 // bytes reported
}

func newCSVSource(t *tablePlan, found *findings) *csvSource {
	return &csvSource{t: t, found: found, paths: t.paths}
}

func (s *csvSource) types() []arrow.DataType {
	var out []arrow.DataType
	for _, c := range s.t.Columns {
		out = append(out, columnType(c.Type))
	}
	return out
}

func (s *csvSource) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

func (s *csvSource) name() string { return filepath.Base(s.path) }

// open starts the next file. ok is false when its header is so wrong that it cannot be read.
func (s *csvSource) open() (ok bool, err error) {
	s.path, s.paths = s.paths[0], s.paths[1:]
	if s.file, err = os.Open(s.path); err != nil {
		return false, err
	}
	s.size = &counter{r: s.file}
	s.done = 0
	var r io.Reader = s.size
	if s.t.files.Format == formatGzip {
		if s.unpack, err = gzip.NewReader(r); err != nil {
			return false, s.found.add(s.name(), 0, "", "is not a gzip file")
		}
		r = s.unpack
	}
	buffered := bufio.NewReaderSize(r, 1<<20)
	switch s.t.files.Encoding {
	case "latin-1":
		r = charmap.ISO8859_1.NewDecoder().Reader(buffered)
	case "windows-1252":
		r = charmap.Windows1252.NewDecoder().Reader(buffered)
	default:
		if b, err := buffered.Peek(3); err == nil && bytes.Equal(b, []byte("\xef\xbb\xbf")) {
			if _, err := buffered.Discard(3); err != nil {
				return false, err
			}
		}
		r = buffered
	}
	s.guard = &guard{r: r}
	s.in = csv.NewReader(s.guard)
	s.in.Comma = []rune(s.t.files.Separator)[0]
	s.in.ReuseRecord = true
	return s.header()
}

func (s *csvSource) header() (ok bool, err error) {
	record, err := s.in.Read()
	if errors.Is(err, io.EOF) {
		return false, s.found.add(s.name(), 0, "", "is empty: the line with the names of the columns is missing")
	}
	if err != nil {
		return false, s.broken(err)
	}
	s.guard.reset()
	s.at = make([]int, len(record))
	seen := make([]bool, len(s.t.Columns))
	ok = true
	for i, name := range record {
		at := slices.IndexFunc(s.t.Columns, func(c contract.Column) bool { return c.Name == name })
		reason := ""
		switch {
		case at < 0 && !contract.ValidName(name):
			name, reason = fmt.Sprintf("#%d", i+1), "the name of this column cannot be read; is the separator or the encoding another one?"
		case at < 0:
			reason = "is not a column of this table"
		case seen[at]:
			reason = "stands twice in the first line"
		default:
			seen[at], s.at[i] = true, at
		}
		if reason != "" {
			ok = false
			if err := s.found.add(s.name(), 1, name, "%s", reason); err != nil {
				return false, err
			}
		}
	}
	for i, c := range s.t.Columns {
		if !seen[i] {
			ok = false
			if err := s.found.add(s.name(), 1, c.Name, "the column is missing"); err != nil {
				return false, err
			}
		}
	}
	return ok, nil
}

// broken turns an error of the CSV reader into a finding, or returns it when it is not the file's fault.
func (s *csvSource) broken(err error) error {
	var p *csv.ParseError
	switch {
	case errors.Is(err, errLong):
		line, _ := s.in.FieldPos(0)
		return s.found.add(s.name(), int64(line), "", "the record that starts here is longer than %d MB: a quote is opened and never closed", maxRecord>>20)
	case errors.As(err, &p) && errors.Is(p.Err, csv.ErrFieldCount):
		return s.found.add(s.name(), int64(p.StartLine), "", "does not have %d fields, as the first line has", len(s.at))
	case errors.As(err, &p) && errors.Is(p.Err, csv.ErrQuote) && p.Line > p.StartLine:
		return s.found.add(s.name(), int64(p.StartLine), "", "a quote is opened in this record and never closed")
	case errors.As(err, &p) && errors.Is(p.Err, csv.ErrQuote):
		return s.found.add(s.name(), int64(p.Line), "", `a quote (") is never closed or closed too early, at character %d`, p.Column)
	case errors.As(err, &p):
		return s.found.add(s.name(), int64(p.Line), "", `a quote (") stands where none may, at character %d`, p.Column)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return s.found.add(s.name(), 0, "", "the gzip file is damaged or cut short")
	}
	return damagedGzip(s, err)
}

func (s *csvSource) next() (*batch, error) {
	for {
		if s.file == nil {
			if len(s.paths) == 0 {
				return nil, io.EOF
			}
			ok, err := s.open()
			if err != nil {
				return nil, err
			}
			if !ok {
				if err := s.close(); err != nil {
					return nil, err
				}
				continue
			}
		}
		b, end, err := s.read()
		if err != nil {
			return nil, err
		}
		if end {
			if err := s.close(); err != nil {
				return nil, err
			}
		}
		if b.rows > 0 {
			return b, nil
		}
		b.release()
	}
}

// read gathers a window of rows; end is true when the file has no more that can be read.
func (s *csvSource) read() (_ *batch, end bool, err error) {
	b := &batch{file: s.name(), lines: make([]int64, 0, 1024)}
	builders := make([]cellBuilder, len(s.t.Columns))
	for i, c := range s.t.Columns {
		builders[i] = newCellBuilder(c.Type, s.t.files.Encoding == "latin-1" || s.t.files.Encoding == "windows-1252")
		defer builders[i].b.Release()
	}
	for b.rows < windowRows {
		record, err := s.in.Read()
		s.guard.reset()
		if errors.Is(err, io.EOF) {
			end = true
			break
		}
		if err != nil {
			if ferr := s.broken(err); ferr != nil {
				return nil, false, ferr
			}
			if errors.Is(err, csv.ErrFieldCount) {
				continue // the next line can be read all the same
			}
			end = true
			break
		}
		line, _ := s.in.FieldPos(0)
		b.lines = append(b.lines, int64(line))
		b.rows++
		for i, field := range record {
			cell := &builders[s.at[i]]
			if field == "" {
				cell.b.AppendNull()
				continue
			}
			if reason := cell.add(field); reason != "" {
				at, _ := s.in.FieldPos(i)
				if err := s.found.add(s.name(), int64(at), s.t.Columns[s.at[i]].Name, "%s", reason); err != nil {
					return nil, false, err
				}
			}
		}
	}
	for _, c := range builders {
		b.columns = append(b.columns, c.b.NewArray())
	}
	b.bytes, s.done = s.size.n-s.done, s.size.n
	return b, end, nil
}

// cellBuilder appends one field to a column and says what is wrong with it. A wrong field becomes a zero,
// so that it is reported once.
type cellBuilder struct {
	b   array.Builder
	add func(field string) (reason string)
}

func newCellBuilder(t contract.ColumnType, decoded bool) cellBuilder {
	switch t {
	case contract.TypeInteger:
		b := array.NewInt64Builder(memory.DefaultAllocator)
		return cellBuilder{b, func(f string) string {
			v, err := strconv.ParseInt(f, 10, 64)
			b.Append(v)
			if err != nil || f[0] == '+' {
				return "is not a whole number"
			}
			return ""
		}}
	case contract.TypeNumber:
		b := array.NewFloat64Builder(memory.DefaultAllocator)
		return cellBuilder{b, func(f string) string {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(f, "xX_pPnN") {
				b.Append(0)
				return "is not a number (written with a point: 12.5)"
			}
			b.Append(v)
			return ""
		}}
	case contract.TypeDate:
		b := array.NewDate32Builder(memory.DefaultAllocator)
		return cellBuilder{b, func(f string) string {
			day, ok := parseDay(f)
			b.Append(arrow.Date32(day))
			if !ok {
				return "is not an existing day written YYYY-MM-DD"
			}
			return ""
		}}
	case contract.TypeTime:
		b := array.NewTimestampBuilder(memory.DefaultAllocator, columnType(t).(*arrow.TimestampType))
		return cellBuilder{b, func(f string) string {
			us, ok := parseTime(f)
			b.Append(arrow.Timestamp(us))
			if !ok {
				return "is not an existing instant written YYYY-MM-DD hh:mm:ss"
			}
			return ""
		}}
	}
	b := array.NewStringBuilder(memory.DefaultAllocator)
	return cellBuilder{b, func(f string) string {
		b.Append(f) // the text itself is checked with the whole column
		if decoded && strings.ContainsRune(f, '\uFFFD') {
			return "holds a byte that does not exist in this encoding"
		}
		return ""
	}}
}

// parseDay reads YYYY-MM-DD into days since 1970-01-01; 0 when there is no such day.
func parseDay(s string) (day int32, ok bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	y, ok1 := number(s[:4])
	m, ok2 := number(s[5:7])
	d, ok3 := number(s[8:])
	if !ok1 || !ok2 || !ok3 || m < 1 || m > 12 || d < 1 || y < 1 {
		return 0, false
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d { // 31 February becomes 3 March
		return 0, false
	}
	return int32(floorDiv(t.Unix(), 86400)), true
}

// parseTime reads "YYYY-MM-DD hh:mm:ss" or with a T, with up to six decimals, into microseconds since 1970.
func parseTime(s string) (us int64, ok bool) {
	if len(s) < 19 || (s[10] != ' ' && s[10] != 'T') || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	day, ok := parseDay(s[:10])
	h, ok1 := number(s[11:13])
	m, ok2 := number(s[14:16])
	sec, ok3 := number(s[17:19])
	if !ok || !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || sec > 59 {
		return 0, false
	}
	var fraction int64
	if rest := s[19:]; rest != "" {
		v, ok := number(rest[1:])
		if !ok || rest[0] != '.' || len(rest) > 7 {
			return 0, false
		}
		fraction = int64(v)
		for range 7 - len(rest) {
			fraction *= 10
		}
	}
	return (int64(day)*86400+int64(h*3600+m*60+sec))*1_000_000 + fraction, true
}

func number(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0
}

// counter counts the bytes of the file, for progress.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// guard ends a record that does not end.
type guard struct {
	r io.Reader
	n int
}

var errLong = errors.New("record too long")

func (g *guard) reset() { g.n = 0 }

func (g *guard) Read(p []byte) (int, error) {
	if g.n > maxRecord {
		return 0, errLong
	}
	n, err := g.r.Read(p)
	g.n += n
	return n, err
}

// damagedGzip tells a broken deflate stream, which is the file's fault, from a failing disk.
func damagedGzip(s *csvSource, err error) error {
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return s.found.add(s.name(), 0, "", "the gzip file is damaged")
	}
	return fmt.Errorf("%s: %w", s.name(), err)
}
