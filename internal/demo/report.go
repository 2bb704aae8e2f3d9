package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Step is one line of the journey's table.
type Step struct {
	Number    int     `json:"number"`
	Name      string  `json:"name"`
	Actor     string  `json:"actor"`
	Border    string  `json:"border"`    // what crossed which border, in words
	Documents int64   `json:"documents"` // that crossed a border between zones
	Rows      int64   `json:"rows"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	Verified  string  `json:"verified"` // what was checked, with the figures found
}

// Report is the whole journey.
type Report struct {
	People  int       `json:"people"`
	Started time.Time `json:"started"`
	Steps   []Step    `json:"steps"`
	Seconds float64   `json:"seconds"`
	Passed  bool      `json:"passed"`
	Failure string    `json:"failure,omitempty"`
	// PeakMemory is the greatest resident size of each process, in bytes.
	PeakMemory map[string]int64 `json:"peak_memory,omitempty"`
}

// WriteJSON prints the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// tableColumns are the widths of the table for people, in characters; the last column wraps below.
var tableColumns = []struct {
	title string
	width int
	right bool
}{{"", 3, true}, {"Step", 42, false}, {"Who acted", 22, false}, {"Docs", 5, true}, {"Rows", 12, true}, {"Bytes", 9, true}, {"Seconds", 8, true}}

// header prints the head of the table.
func writeHeader(w io.Writer) {
	var cells, rule []string
	for _, c := range tableColumns {
		cells = append(cells, pad(c.title, c.width, c.right))
		rule = append(rule, strings.Repeat("─", c.width))
	}
	fmt.Fprintln(w, strings.Join(cells, "  "))
	fmt.Fprintln(w, strings.Join(rule, "──"))
}

// writeStep prints one step: its figures, then what crossed which border, then what was verified.
func writeStep(w io.Writer, s Step) {
	values := []string{fmt.Sprint(s.Number), s.Name, s.Actor, count(s.Documents), count(s.Rows), size(s.Bytes), fmt.Sprintf("%.2f", s.Seconds)}
	var cells []string
	for i, c := range tableColumns {
		cells = append(cells, pad(values[i], c.width, c.right))
	}
	fmt.Fprintln(w, strings.Join(cells, "  "))
	if s.Border != "" {
		fmt.Fprintf(w, "     → %s\n", s.Border)
	}
	fmt.Fprintf(w, "     ✓ %s\n", s.Verified)
}

func pad(s string, width int, right bool) string {
	n := utf8.RuneCountInString(s)
	if n > width {
		return string([]rune(s)[:width-1]) + "…"
	}
	if right {
		return strings.Repeat(" ", width-n) + s
	}
	return s + strings.Repeat(" ", width-n)
}

// count writes 1234567 as "1 234 567"; 0 is left blank, since most steps move no rows.
func count(n int64) string {
	if n == 0 {
		return ""
	}
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func size(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GB", float64(n)/(1<<30))
}
