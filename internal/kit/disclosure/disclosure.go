// Package disclosure examines a file that somebody wants to take out of a secure environment and says what
// speaks against it: counts of too few persons, rows about single persons, identifiers, hidden content. It
// is called before people review the file and never replaces them. It knows no zone, no permit and no
// database, and it never passes what it does not understand.
package disclosure

import (
	"slices"
	"strings"
)

// Outcome of a check. The worst outcome of all checks is that of the file.
type Outcome string

const (
	Pass   Outcome = "pass"   // nothing speaks against it
	Review Outcome = "review" // a person must look at it
	Fail   Outcome = "fail"   // it does not leave
)

// Kind is what a file is by its content, whatever its name says.
type Kind string

const (
	KindTable   Kind = "table"   // delimited text
	KindText    Kind = "text"    // other text
	KindPNG     Kind = "png"     // picture
	KindUnknown Kind = "unknown" // anything else, which never leaves
)

// Policy holds the thresholds of a permit.
type Policy struct {
	// Threshold is the smallest number of persons a published count may stand for (CASD rule for hospital
	// data in France: 11).
	Threshold int
	MaxRows   int   // rows of a table
	MaxBytes  int64 // bytes of any file
	MaxText   int64 // bytes of a text that is no table
	Known     *Known
}

// Defaults fills what is not set.
func (p Policy) Defaults() Policy {
	if p.Threshold < 1 {
		p.Threshold = 11
	}
	if p.MaxRows < 1 {
		p.MaxRows = 5000
	}
	if p.MaxBytes < 1 {
		p.MaxBytes = 5 << 20
	}
	if p.MaxText < 1 {
		p.MaxText = 64 << 10
	}
	return p
}

// Finding is the outcome of one check on one place. Row 0 stands for the whole file, else it counts the
// lines of the table from 1, the header being row 1. Message and Args name a sentence: Reason and Mend
// give it in English, other languages have it under the same key.
type Finding struct {
	Check   string            `json:"check"`
	Outcome Outcome           `json:"outcome"`
	Row     int               `json:"row,omitempty"`
	Column  string            `json:"column,omitempty"`
	Message string            `json:"message"`
	Args    map[string]string `json:"args,omitempty"`
}

// Report is all that was found in one file.
type Report struct {
	File     string    `json:"file"`
	Kind     Kind      `json:"kind"`
	Rows     int       `json:"rows,omitempty"` // of a table, without the header
	Outcome  Outcome   `json:"outcome"`
	Findings []Finding `json:"findings"`
}

// findingsPerCheck bounds how many places one check names; the count of the others is given.
const findingsPerCheck = 25

// Examine checks one file. Name is only shown, and used to notice a name that hides the content.
func Examine(name string, content []byte, p Policy) Report {
	e := &examiner{p: p.Defaults(), report: Report{File: name, Outcome: Pass}, perCheck: map[string]int{}}
	e.examine(name, content)
	for check, n := range e.perCheck {
		if n > findingsPerCheck {
			e.report.Findings = append(e.report.Findings, Finding{Check: check, Outcome: e.worst(check), Message: "more",
				Args: map[string]string{"number": itoa(n - findingsPerCheck)}})
		}
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return rank(b.Outcome) - rank(a.Outcome) })
	return e.report
}

type examiner struct {
	p        Policy
	report   Report
	perCheck map[string]int
}

func (e *examiner) worst(check string) Outcome {
	w := Pass
	for _, f := range e.report.Findings {
		if f.Check == check {
			w = Worse(w, f.Outcome)
		}
	}
	return w
}

// add records a finding. args are name, value, name, value, …
func (e *examiner) add(check string, o Outcome, row int, column, message string, args ...string) {
	e.report.Outcome = Worse(e.report.Outcome, o)
	e.perCheck[check]++
	if e.perCheck[check] > findingsPerCheck {
		return
	}
	f := Finding{Check: check, Outcome: o, Row: row, Column: clip(column), Message: message}
	for i := 0; i+1 < len(args); i += 2 {
		if f.Args == nil {
			f.Args = map[string]string{}
		}
		f.Args[args[i]] = clip(args[i+1])
	}
	e.report.Findings = append(e.report.Findings, f)
}

func rank(o Outcome) int {
	switch o {
	case Pass:
		return 0
	case Review:
		return 1
	}
	return 2 // an outcome that nobody knows is no pass
}

// Worse returns the worse of two outcomes.
func Worse(a, b Outcome) Outcome {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// fill puts args into a sentence with {names}.
func fill(sentence string, args map[string]string) string {
	for k, v := range args {
		sentence = strings.ReplaceAll(sentence, "{"+k+"}", v)
	}
	return sentence
}

// Reason says in English what was found.
func (f Finding) Reason() string { return fill(sentences[f.Message].reason, f.Args) }

// Mend says in English how to mend it; "" when there is nothing to do.
func (f Finding) Mend() string { return fill(sentences[f.Message].mend, f.Args) }

// Messages lists the keys of all sentences, so that a translator's work can be tested for completeness.
func Messages() []string {
	var out []string
	for k := range sentences {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

var sentences = map[string]struct{ reason, mend string }{
	"more":            {"{number} more places like these.", ""},
	"type_ok":         {"The file is a table in plain text.", ""},
	"type_text":       {"The file is text; only a person can judge what it tells.", ""},
	"type_picture":    {"The file is a picture; only a person can judge whether its points are single persons.", ""},
	"type_unknown":    {"The file is neither a table, nor text, nor a PNG picture; archives, spreadsheets and program files do not leave.", "Write the result as CSV, as text or as a PNG picture."},
	"type_disguised":  {"The name ends in {suffix}, but the content is of another kind.", "Give the file the name that fits its content."},
	"type_empty":      {"The file is empty.", "Leave it out."},
	"too_large":       {"The file has {bytes} bytes; at most {limit} may leave at once.", "Aggregate further, or split the table by topic."},
	"encoding":        {"The text is not valid UTF-8 or has control characters.", "Write the file as UTF-8 text."},
	"picture_hidden":  {"The picture carries a block of kind {chunk}, which can hide data.", "Save the picture without metadata."},
	"picture_tail":    {"The picture carries {bytes} bytes after its end, which can hide data.", "Save the picture again as PNG."},
	"picture_damaged": {"The picture is cut short, damaged or too large.", "Save it again as PNG."},
	"csv_damaged":     {"The table cannot be read from this line on.", "Write the same number of cells in each line and close every quotation mark."},
	"csv_header":      {"Column {number} has no name, or a name that another column has.", "Give each column a name of its own."},
	"csv_no_header":   {"“{value}” stands where a column name is expected.", "Begin the table with a line of column names."},
	"csv_ambiguous":   {"It is not clear which character separates the cells.", "Separate cells with commas or semicolons only."},
	"too_many_rows":   {"The table has {rows} rows; at most {limit} may leave.", "Aggregate further."},
	"no_rows":         {"The table has no rows.", ""},
	"counts_ok":       {"Every count in {columns} stands for at least {threshold} persons.", ""},
	"below_threshold": {"A count of {value} is under the threshold of {threshold}.", "Join categories, or leave the cell empty and make sure that no total gives it back."},
	"zero":            {"A count of zero can tell that nobody of a group has a property.", "Join categories if the group is small."},
	"suppressed":      {"The count is hidden; a total or another table could give it back.", "Hide a second cell of the same row and column, or leave out the total."},
	"not_a_count":     {"“{value}” in a count column is no plain number.", "Write counts as digits only; leave hidden cells empty."},
	"no_count_rows":   {"The table has {rows} rows and no column that says how many persons each row stands for, so rows may be single persons.", "Aggregate, and add a column such as n with the number of persons."},
	"no_count":        {"No column says how many persons each row stands for.", "Add a column such as n with the number of persons."},
	"small_numbers":   {"Small whole numbers in “{name}” may be counts under the threshold of {threshold}, and no column of the table is named as a count.", "Name count columns n or count; name others for what they measure and add a count column."},
	"numbers":         {"“{name}” holds numbers that are not counts; a person must judge what they rest on.", "Say in the context how many persons each number rests on."},
	"mixed":           {"Cells of “{name}” mix numbers with text; counts may hide in them.", "Write counts and percentages in columns of their own."},
	"extremes":        {"“{name}” looks like a smallest, largest or quantile value, which can be that of one person.", "Give means, or classes, with their counts."},
	"pseudonym":       {"The cell looks like the pseudonym of a person.", "Take the column out, or count distinct persons instead."},
	"known_person":    {"The cell holds the pseudonym of a person of this project.", "Take the column out."},
	"identity_number": {"The cell looks like a number that identifies a person.", "Take the column out."},
	"opaque":          {"“{name}” holds a different code in almost each row, like an identifier.", "Take the column out, or group its values."},
	"unique":          {"“{name}” has a different value in each of {rows} rows.", "Check that it is a category and not an identifier; group its values if not."},
	"exact_dates":     {"“{name}” holds exact days; an event on a day can point to a person.", "Give months or years."},
	"long_text":       {"A cell holds a long text.", "Keep cells short; put explanations into the context."},
	"blob":            {"The text holds a long run of characters without a space, in which data can be packed.", "Take it out."},
	"formula":         {"The cell begins like a spreadsheet formula.", "Put an apostrophe or a word before it."},
}
