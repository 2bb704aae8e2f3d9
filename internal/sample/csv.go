package sample

import (
	"bytes"
	"strconv"
)

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendHeader writes the names of the columns as a CSV line.
func (t *table) appendHeader(dst []byte) []byte {
	for i, c := range t.columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c.Name...)
	}
	return append(dst, '\n')
}

// appendCSV writes all rows as CSV: comma, line feed, empty cell for a missing value, quotes only where
// RFC 4180 needs them.
func (b *rows) appendCSV(dst []byte) []byte {
	cols := b.table.columns
	for at := 0; at < len(b.cells); at += b.width {
		row := b.cells[at : at+b.width]
		for i, v := range row {
			if i > 0 {
				dst = append(dst, ',')
			}
			if v == missing {
				continue
			}
			switch cols[i].kind {
			case asInt:
				dst = strconv.AppendInt(dst, int64(v), 10)
			case asDate:
				dst = append(dst, dateOf(v).text[:]...)
			case asMinute:
				dst = appendMinute(dst, v)
			case asCents:
				dst = appendCents(dst, v)
			case asCode:
				dst = append(dst, cols[i].codes[v]...)
			case asText:
				dst = appendField(dst, b.at(v))
			}
		}
		dst = append(dst, '\n')
	}
	return dst
}

func appendMinute(dst []byte, v int32) []byte {
	d, m := v/1440, v%1440
	if m < 0 {
		d, m = d-1, m+1440
	}
	dst = append(dst, dateOf(d).text[:]...)
	return append(dst, 'T', digit(int(m/600)), digit(int(m/60%10)), ':', digit(int(m%60/10)), digit(int(m%10)), ':', '0', '0')
}

func appendCents(dst []byte, v int32) []byte {
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	dst = strconv.AppendInt(dst, int64(v/100), 10)
	return append(dst, '.', digit(int(v/10%10)), digit(int(v%10)))
}

func appendField(dst, s []byte) []byte {
	if !bytes.ContainsAny(s, ",\"\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
