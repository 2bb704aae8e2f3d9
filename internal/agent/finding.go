package agent

import (
	"errors"
	"fmt"
	"strings"
)

// maxFindings is how many are gathered before reading stops.
const maxFindings = 20

// Finding is one thing that is wrong with a file. Reason never repeats the value: reports of an agent are
// sent around.
type Finding struct {
	File   string `json:"file"`
	Line   int64  `json:"line,omitempty"`   // line of the CSV file (the header is line 1), row of the Parquet file (from 1); 0: the whole file
	Column string `json:"column,omitempty"` // "" when it is the whole line
	Reason string `json:"reason"`
}

func (f Finding) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
	}
	if f.Column != "" {
		s += ":" + f.Column
	}
	return s + ": " + f.Reason
}

// FilesRefused means that files are wrong. Nothing was sent.
type FilesRefused struct {
	Findings []Finding
	More     bool // reading stopped at the 20th finding
}

func (e *FilesRefused) Error() string {
	var b strings.Builder
	b.WriteString("nothing was sent, because files are wrong:")
	for _, f := range e.Findings {
		b.WriteString("\n  " + f.String())
	}
	if e.More {
		fmt.Fprintf(&b, "\n  … reading stopped after %d findings", len(e.Findings))
	}
	return b.String()
}

// errEnough stops reading when enough was found.
var errEnough = errors.New("enough findings")

// findings gathers what is wrong.
type findings struct{ list []Finding }

// add appends one finding and returns errEnough when it was the last one wanted.
func (f *findings) add(file string, line int64, column, format string, args ...any) error {
	f.list = append(f.list, Finding{file, line, column, fmt.Sprintf(format, args...)})
	if len(f.list) >= maxFindings {
		return errEnough
	}
	return nil
}

func (f *findings) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &FilesRefused{Findings: f.list, More: len(f.list) >= maxFindings}
}
