package disclosure

import (
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Words in column names, in English, French and Finnish, without accents.
var (
	countWords = words("n nb nbr num number count counts freq frequency frequencies effectif effectifs nombre persons person people patients patient individuals " +
		"personnes personne individus beneficiaires sejours cases cas events total totals deces deaths lukumaara lkm maara henkilot henkiloita potilaat tapaukset kuolemat yhteensa")
	dimensionWords = words("year years annee annees an vuosi month mois kuukausi quarter trimestre week semaine viikko sex sexe sukupuoli gender " +
		"age class classe group groupe ryhma ikaryhma code codes cip cip13 cip7 atc icd icd10 cim cim10 ccam ghm dept departement region department")
	extremeWords = words("min max minimum maximum median mediane mediaani quantile quartile percentile decile p5 p10 p25 p50 p75 p90 p95 p99 q1 q2 q3 first last premier dernier")
	// A word of measure beside a count word turns the column into no count: "mean_n", "pct_patients".
	measureWords = words("mean moyenne keskiarvo avg average sd std se var variance pct percent percentage pourcentage prosentti share part rate taux ratio " +
		"proportion sum somme summa p pvalue coef coefficient estimate cost costs cout couts prix price montant amount euro euros eur depense depenses hinta duration duree days jours length odds hr or rr ci low high lower upper id ids identifier identifiant key")
	hiddenMarks = words("* ** - . .. … ns nd na n/a null hidden masked suppressed secret cache c x")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

var (
	uuidShape     = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hexShape      = regexp.MustCompile(`(?i)(^|[^0-9a-z])(0x|\\x)?[0-9a-f]{32,}($|[^0-9a-z])`)
	base32Shape   = regexp.MustCompile(`(?i)(^|[^0-9a-z])[0-9a-hjkmnp-tv-z]{26}($|[^0-9a-z])`) // 16 bytes in Crockford's alphabet
	base64Shape   = regexp.MustCompile(`(^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{22}==($|[^=])`)
	numberShape   = regexp.MustCompile(`(^|[^0-9.,])([0-9][ .]?){12,}[0-9]($|[^0-9])`)
	nirShape      = regexp.MustCompile(`(?i)(^|[^0-9])[1-8] ?[0-9]{2} ?(0[1-9]|1[0-2]|[2-9][0-9]) ?([0-9]{2}|2[ab]) ?[0-9]{3} ?[0-9]{3}( ?[0-9]{2})?($|[^0-9])`)
	medicineShape = regexp.MustCompile(`^34009[0-9]{8}$`) // CIP13, the French code of a medicine pack
	dayShape      = regexp.MustCompile(`^([0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}|(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01]))([T ].*)?$`)
	yearShape     = regexp.MustCompile(`^(19|20)[0-9]{2}$`)
	plainNumber   = regexp.MustCompile(`^[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]{1,2})?$`)
)

// identifier looks for what points to one person.
func (e *examiner) identifier(row int, column, cell string) {
	if len(cell) < 4 {
		return
	}
	switch {
	case e.p.Known.Has(cell):
		e.add("identifier", Fail, row, column, "known_person")
	case uuidShape.MatchString(cell), hexShape.MatchString(cell), base32Shape.MatchString(cell) && strings.ContainsAny(cell, "0123456789"), base64Shape.MatchString(cell):
		e.add("identifier", Fail, row, column, "pseudonym")
	case medicineShape.MatchString(cell):
	case nirShape.MatchString(cell), numberShape.MatchString(cell):
		e.add("identifier", Fail, row, column, "identity_number")
	}
}

type columnKind int

const (
	columnLabel   columnKind = iota // text or codes that name a group
	columnCount                     // by its name a number of persons or events
	columnNumbers                   // numbers of another meaning
)

type column struct {
	name   string
	tokens []string
	cells  []string
	kind   columnKind
}

func (c *column) has(set map[string]bool) bool {
	return slices.ContainsFunc(c.tokens, func(t string) bool { return set[t] })
}

// tokens splits a column name at everything that is no letter or digit, and at the humps of camel case,
// and takes accents off: "NbPatients_décès" gives nb, patients, deces.
func tokens(name string) []string {
	var b strings.Builder
	var last rune
	for _, r := range norm.NFD.String(name) {
		switch {
		case unicode.Is(unicode.Mn, r):
			continue
		case unicode.IsUpper(r) && unicode.IsLower(last):
			b.WriteRune(' ')
			b.WriteRune(unicode.ToLower(r))
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(' ')
		}
		last = r
	}
	return strings.Fields(b.String())
}

// number reads a plain number exactly. A comma is a decimal comma.
func number(s string) (*big.Rat, bool) {
	if len(s) > 40 || !plainNumber.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(strings.Replace(s, ",", ".", 1))
}

// hidden reports whether a cell of a count column says that its count is not given. "<11" hides only when
// it does not tell less than the threshold does.
func hidden(s string, threshold int) bool {
	if s == "" || hiddenMarks[strings.ToLower(s)] {
		return true
	}
	rest, ok := strings.CutPrefix(s, "<")
	if !ok {
		return false
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(rest, "=")))
	if err != nil {
		return false
	}
	if strings.HasPrefix(rest, "=") {
		n++
	}
	return n >= threshold
}

func (e *examiner) table(records [][]string) {
	if len(records) == 0 {
		e.add("csv", Fail, 0, "", "type_empty")
		return
	}
	rows := len(records) - 1
	e.report.Rows = rows
	cols := make([]*column, len(records[0]))
	seen := map[string]bool{}
	for i, name := range records[0] {
		key := strings.ToLower(name)
		switch {
		case name == "" || seen[key]:
			e.add("csv", Fail, 1, name, "csv_header", "number", itoa(i+1))
		case plainNumber.MatchString(name) && !yearShape.MatchString(name): // a first row of data would escape the checks
			e.add("csv", Fail, 1, name, "csv_no_header", "value", name)
		}
		seen[key] = true
		cols[i] = &column{name: name, tokens: tokens(name)}
		e.cell(1, name, name)
	}
	switch {
	case rows == 0:
		e.add("rows", Review, 0, "", "no_rows")
		return
	case rows > e.p.MaxRows:
		e.add("rows", Fail, 0, "", "too_many_rows", "rows", itoa(rows), "limit", itoa(e.p.MaxRows))
	}
	for r, rec := range records[1:] {
		for i, cell := range rec {
			cols[i].cells = append(cols[i].cells, cell)
			e.cell(r+2, cols[i].name, cell)
		}
	}
	counts := e.classify(cols)
	for _, c := range cols {
		switch c.kind {
		case columnCount:
			e.counts(c)
		case columnNumbers:
			e.numbers(c, counts > 0)
		default:
			e.labels(c, counts > 0)
		}
	}
	switch {
	case counts == 0 && rows >= e.p.Threshold:
		e.add("microdata", Fail, 0, "", "no_count_rows", "rows", itoa(rows))
	case counts == 0:
		e.add("counts", Review, 0, "", "no_count")
	case e.worst("counts") == Pass:
		var names []string
		for _, c := range cols {
			if c.kind == columnCount {
				names = append(names, c.name)
			}
		}
		e.add("counts", Pass, 0, "", "counts_ok", "columns", strings.Join(names, ", "), "threshold", itoa(e.p.Threshold))
	}
}

// cell makes the checks that hold for every cell of every table.
func (e *examiner) cell(row int, column, cell string) {
	e.identifier(row, column, cell)
	if len(cell) > 200 {
		e.add("long_text", Review, row, column, "long_text")
		for _, w := range strings.Fields(cell) {
			if len(w) > 120 {
				e.add("blob", Fail, row, column, "blob")
			}
		}
	}
	if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) && cell != "-" && !plainNumber.MatchString(cell) {
		e.add("formula", Review, row, column, "formula")
	}
}

// classify decides what each column is and returns the number of count columns.
func (e *examiner) classify(cols []*column) int {
	counts := 0
	for _, c := range cols {
		numeric, filled := 0, 0
		for _, cell := range c.cells {
			if cell == "" {
				continue
			}
			filled++
			if _, ok := number(cell); ok {
				numeric++
			}
		}
		named := c.has(countWords) && !c.has(measureWords) && !c.has(extremeWords)
		switch {
		case named && (numeric > 0 || filled == 0 || allHidden(c.cells, e.p.Threshold)):
			c.kind = columnCount
			counts++
		case numeric > 0 && numeric == filled && !(c.has(dimensionWords) && !c.has(measureWords) && !c.has(extremeWords) && allWhole(c.cells)):
			c.kind = columnNumbers
		}
	}
	return counts
}

func allHidden(cells []string, threshold int) bool {
	return !slices.ContainsFunc(cells, func(s string) bool { return !hidden(s, threshold) })
}

func allWhole(cells []string) bool {
	return !slices.ContainsFunc(cells, func(s string) bool {
		n, ok := number(s)
		return s != "" && (!ok || !n.IsInt())
	})
}

// counts applies the threshold to each cell of a count column.
func (e *examiner) counts(c *column) {
	limit := new(big.Rat).SetInt64(int64(e.p.Threshold))
	for i, cell := range c.cells {
		row := i + 2
		n, ok := number(cell)
		switch {
		case !ok && hidden(cell, e.p.Threshold):
			e.add("counts", Review, row, c.name, "suppressed")
		case !ok || !n.IsInt() || n.Sign() < 0:
			e.add("counts", Fail, row, c.name, "not_a_count", "value", cell)
		case n.Sign() == 0:
			e.add("counts", Review, row, c.name, "zero")
		case n.Cmp(limit) < 0:
			e.add("counts", Fail, row, c.name, "below_threshold", "value", n.RatString(), "threshold", itoa(e.p.Threshold))
		}
	}
}

// numbers judges a numeric column that is not named as a count.
func (e *examiner) numbers(c *column, haveCounts bool) {
	if c.has(extremeWords) {
		e.add("extremes", Review, 0, c.name, "extremes", "name", c.name)
		return
	}
	if !haveCounts && allWhole(c.cells) {
		small := slices.ContainsFunc(c.cells, func(s string) bool {
			n, ok := number(s)
			return ok && n.Sign() > 0 && n.Cmp(new(big.Rat).SetInt64(int64(e.p.Threshold))) < 0
		})
		if small {
			e.add("counts", Fail, 0, c.name, "small_numbers", "name", c.name, "threshold", itoa(e.p.Threshold))
			return
		}
	}
	e.unique(c, haveCounts)
	e.add("numbers", Review, 0, c.name, "numbers", "name", c.name)
}

// labels judges a column of text or codes.
func (e *examiner) labels(c *column, haveCounts bool) {
	days, mixed, filled, opaque := 0, 0, 0, 0
	for _, s := range c.cells {
		if s == "" {
			continue
		}
		filled++
		if dayShape.MatchString(s) {
			days++
			continue
		}
		if _, ok := number(s); !ok && s[0] >= '0' && s[0] <= '9' && strings.ContainsAny(s, " (%") {
			mixed++
		}
		if len(s) >= 8 && !strings.ContainsAny(s, " ") && strings.ContainsAny(s, "0123456789") && strings.IndexFunc(s, unicode.IsLetter) >= 0 {
			opaque++
		}
	}
	worse := func(o Outcome) Outcome { // without counts each row may be a person
		if !haveCounts {
			return Fail
		}
		return o
	}
	if days > 0 {
		e.add("dates", worse(Review), 0, c.name, "exact_dates", "name", c.name)
	}
	if mixed > 0 {
		e.add("mixed", Review, 0, c.name, "mixed", "name", c.name)
	}
	if filled >= 3 && opaque*10 >= filled*9 && distinct(c.cells)*10 >= filled*9 {
		o := Review
		if filled >= e.p.Threshold {
			o = worse(o)
		}
		e.add("identifier", o, 0, c.name, "opaque", "name", c.name)
		return
	}
	e.unique(c, haveCounts)
}

// unique notes a column that differs in every row of a long table. In a table of one dimension that is
// normal, so it is left to a person when the rows are counted.
func (e *examiner) unique(c *column, haveCounts bool) {
	if n := len(c.cells); n >= 50 && distinct(c.cells) == n {
		o := Review
		if !haveCounts {
			o = Fail
		}
		e.add("identifier", o, 0, c.name, "unique", "name", c.name, "rows", itoa(n))
	}
}

func distinct(cells []string) int {
	m := map[string]struct{}{}
	for _, c := range cells {
		m[c] = struct{}{}
	}
	return len(m)
}
