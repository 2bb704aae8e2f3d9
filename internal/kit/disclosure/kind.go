package disclosure

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"image/png"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

var pngSignature = []byte("\x89PNG\r\n\x1a\n")

// plainChunks are the PNG chunks that only describe the picture.
const plainChunks = " IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB pHYs sBIT bKGD "

const maxPictureSide = 8000 // pixels; more would exhaust memory when decoded

func (e *examiner) examine(name string, content []byte) {
	suffix := strings.ToLower(filepath.Ext(name))
	switch {
	case len(content) == 0:
		e.report.Kind = KindUnknown
		e.add("type", Fail, 0, "", "type_empty")
		return
	case int64(len(content)) > e.p.MaxBytes:
		e.report.Kind = KindUnknown
		e.add("size", Fail, 0, "", "too_large", "bytes", itoa(len(content)), "limit", strconv.FormatInt(e.p.MaxBytes, 10))
		return
	case bytes.HasPrefix(content, pngSignature):
		e.report.Kind = KindPNG
		e.picture(content)
	case !isText(content):
		e.report.Kind = KindUnknown
		if plausibleText(content) {
			e.add("type", Fail, 0, "", "encoding")
		} else {
			e.add("type", Fail, 0, "", "type_unknown")
		}
		return
	default:
		e.text(suffix, bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))
	}
	want := map[string]Kind{".csv": KindTable, ".tsv": KindTable, ".txt": KindText, ".md": KindText, ".log": KindText, ".png": KindPNG}
	k, known := want[suffix]
	switch {
	case known && k == KindText && e.report.Kind == KindTable: // a table named .txt is examined as a table
	case !known || k != e.report.Kind:
		e.add("type", Fail, 0, "", "type_disguised", "suffix", "“"+suffix+"”")
	}
}

// isText accepts UTF-8 without control characters other than tab and line ends, and without characters
// that are not seen: those can carry data past a reader.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for i, r := range string(b) {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
		case r == 0xfeff && i == 0: // byte order mark
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Variation_Selector, r):
			return false
		}
	}
	return true
}

// plausibleText tells text in another encoding from binary content, to give the better advice.
func plausibleText(b []byte) bool {
	b = b[:min(len(b), 4096)]
	odd := 0
	for _, c := range b {
		if c == 0 {
			return false
		}
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			odd++
		}
	}
	return odd == 0
}

func (e *examiner) picture(content []byte) {
	e.add("type", Review, 0, "", "type_picture")
	rest := content[len(pngSignature):]
	ended := false
	for len(rest) > 0 && !ended {
		if len(rest) < 12 {
			break
		}
		n := int64(binary.BigEndian.Uint32(rest))
		kind := string(rest[4:8])
		if n+12 > int64(len(rest)) {
			break
		}
		if !strings.Contains(plainChunks, " "+kind+" ") {
			e.add("picture", Fail, 0, "", "picture_hidden", "chunk", "“"+strings.ToValidUTF8(kind, "?")+"”")
		}
		ended = kind == "IEND"
		rest = rest[n+12:]
	}
	if !ended {
		e.add("picture", Fail, 0, "", "picture_damaged")
		return
	}
	if len(rest) > 0 {
		e.add("picture", Fail, 0, "", "picture_tail", "bytes", itoa(len(rest)))
	}
	cfg, err := png.DecodeConfig(bytes.NewReader(content))
	if err == nil && (cfg.Width > maxPictureSide || cfg.Height > maxPictureSide) {
		err = errors.New("it is too large")
	}
	if err == nil {
		_, err = png.Decode(bytes.NewReader(content))
	}
	if err != nil {
		e.add("picture", Fail, 0, "", "picture_damaged")
	}
}

// text decides between a table and other text. What is named as a table, or can be read as one with at
// least two columns and two rows, is examined as one.
func (e *examiner) text(suffix string, content []byte) {
	comma, ok := separator(content)
	named := suffix == ".csv" || suffix == ".tsv"
	if !named {
		records, err := parse(content, comma)
		if !ok || err != nil || len(records) < 3 || len(records[0]) < 2 {
			e.report.Kind = KindText
			e.freeText(content)
			return
		}
	}
	e.report.Kind = KindTable
	if !ok {
		e.add("csv", Fail, 0, "", "csv_ambiguous")
		return
	}
	records, err := parse(content, comma)
	if err != nil {
		row := 1
		var pe *csv.ParseError
		if errors.As(err, &pe) {
			row = pe.Line
		}
		e.add("csv", Fail, row, "", "csv_damaged")
		return
	}
	e.add("type", Pass, 0, "", "type_ok")
	e.table(records)
}

// separator finds the character between cells from the first line. Two candidates in it are ambiguous:
// the reader of the file might see other columns than we do.
func separator(content []byte) (rune, bool) {
	line := string(content)
	if i := strings.IndexAny(line, "\r\n"); i >= 0 {
		line = line[:i]
	}
	found, n := ',', 0
	quoted := false
	seen := map[rune]bool{}
	for _, r := range line {
		if r == '"' {
			quoted = !quoted
		}
		if !quoted && strings.ContainsRune(",;\t|", r) && !seen[r] {
			seen[r] = true
			found = r
			n++
		}
	}
	return found, n <= 1
}

// parse reads strictly: the same number of cells in each line, quotation marks only where the standard
// (RFC 4180) has them.
func parse(content []byte, comma rune) ([][]string, error) {
	// encoding/csv reads a lone carriage return as content; a spreadsheet may read it as a line end.
	for i, c := range content {
		if c == '\r' && (i+1 == len(content) || content[i+1] != '\n') {
			return nil, errors.New("a carriage return inside a line")
		}
	}
	r := csv.NewReader(bytes.NewReader(content))
	r.Comma = comma
	var out [][]string
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range rec {
			rec[i] = strings.TrimSpace(rec[i])
		}
		out = append(out, rec)
	}
}

func (e *examiner) freeText(content []byte) {
	if int64(len(content)) > e.p.MaxText {
		e.add("size", Fail, 0, "", "too_large", "bytes", itoa(len(content)), "limit", strconv.FormatInt(e.p.MaxText, 10))
		return
	}
	e.add("type", Review, 0, "", "type_text")
	for i, line := range strings.Split(string(content), "\n") {
		for _, word := range strings.Fields(line) {
			if len(word) > 120 {
				e.add("blob", Fail, i+1, "", "blob")
			}
			e.identifier(i+1, "", word)
		}
	}
}
