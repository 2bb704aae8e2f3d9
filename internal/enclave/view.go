package enclave

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Bounds of what a page shows of a file: enough to judge a table that may leave, not a way to read data.
const (
	previewRows  = 200
	previewCells = 60
	previewText  = 64 << 10
	previewCell  = 200
)

// preview is a file as a page shows it: as a table, as text, as a picture, or not at all.
type preview struct {
	Name    string
	Bytes   int64
	Head    []string
	Rows    [][]string
	Text    string
	Picture bool
	Cut     bool // there is more than is shown
}

var pngSignature = []byte("\x89PNG\r\n\x1a\n")

func previewOf(name string, b []byte) preview {
	p := preview{Name: name, Bytes: int64(len(b))}
	switch {
	case bytes.HasPrefix(b, pngSignature):
		p.Picture = true
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0:
	case strings.EqualFold(filepath.Ext(name), ".csv") && p.table(b):
	default:
		if len(b) > previewText {
			b, p.Cut = b[:previewText], true
		}
		p.Text = strings.ToValidUTF8(string(b), "")
	}
	return p
}

// table reads CSV as far as it is shown; false when it is none.
func (p *preview) table(b []byte) bool {
	first, _, _ := strings.Cut(string(b), "\n")
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	for _, c := range ";\t|" {
		if strings.Count(first, string(c)) > strings.Count(first, string(r.Comma)) {
			r.Comma = c
		}
	}
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return p.Head != nil
		}
		if err != nil {
			p.Head, p.Rows = nil, nil
			return false
		}
		if len(rec) > previewCells {
			rec, p.Cut = rec[:previewCells], true
		}
		for i, c := range rec {
			if utf8.RuneCountInString(c) > previewCell {
				rec[i], p.Cut = string([]rune(c)[:previewCell])+"…", true
			}
		}
		switch {
		case p.Head == nil:
			p.Head = rec
		case len(p.Rows) == previewRows:
			p.Cut = true
			return true
		default:
			p.Rows = append(p.Rows, rec)
		}
	}
}
