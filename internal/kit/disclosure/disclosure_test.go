package disclosure

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func tablePNG(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rows(n int, f func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(f(i))
		b.WriteByte('\n')
	}
	return b.String()
}

func TestExamine(t *testing.T) {
	picture := tablePNG(t)
	withText := append(slices.Clone(picture[:33]), append([]byte("\x00\x00\x00\x03tEXtabc\x00\x00\x00\x00"), picture[33:]...)...)
	known := NewKnown()
	known.Add("P-000123")
	for _, c := range []struct {
		name, file, content string
		want                Outcome
		message             string // one that must be among the findings
		row                 int    // of that message; 0: do not look
		column              string
	}{
		{"good table", "a.csv", "region,n\nBretagne,11\nCorse,250\n", Pass, "counts_ok", 0, ""},
		{"good table, French", "a.csv", "région;année;effectif\nBretagne;2021;11\nCorse;2022;250\n", Pass, "counts_ok", 0, ""},
		{"good table, Finnish", "a.csv", "sukupuoli;lukumäärä\nnainen;11\nmies;250\n", Pass, "counts_ok", 0, ""},
		{"one under the threshold", "a.csv", "region,n\nBretagne,11\nCorse,10\n", Fail, "below_threshold", 3, "n"},
		{"decimal spelling under the threshold", "a.csv", "region,n\nBretagne,11\nCorse,1.0e1\n", Fail, "below_threshold", 3, "n"},
		{"second count column", "a.csv", "region,n_patients,deaths\nBretagne,110,3\n", Fail, "below_threshold", 2, "deaths"},
		{"zero is for a person to judge", "a.csv", "region,n\nBretagne,11\nCorse,0\n", Review, "zero", 3, "n"},
		{"hidden cell is for a person to judge", "a.csv", "region,n\nBretagne,11\nCorse,\n", Review, "suppressed", 3, "n"},
		{"hidden as under 11", "a.csv", "region,n\nBretagne,11\nCorse,<11\n", Review, "suppressed", 3, "n"},
		{"hidden mark that tells more than the threshold", "a.csv", "region,n\nBretagne,11\nCorse,<3\n", Fail, "not_a_count", 3, "n"},
		{"negative", "a.csv", "region,n\nBretagne,-11\n", Fail, "not_a_count", 2, "n"},
		{"not whole", "a.csv", "region,n\nBretagne,11.5\n", Fail, "not_a_count", 2, "n"},
		{"count with percentage", "a.csv", "region,n\nBretagne,5 (3%)\nCorse,12\n", Fail, "not_a_count", 2, "n"},
		{"percentages beside a label", "a.csv", "region,value,n\nBretagne,5 (3%),20\n", Review, "mixed", 0, "value"},
		{"rows of persons", "a.csv", "sex,birth\n" + rows(30, func(i int) string { return fmt.Sprintf("%d,19%02d", i%2, 30+i) }), Fail, "no_count_rows", 0, ""},
		{"short table without counts", "a.csv", "term,estimate\nage,0.31\nsex,1.20\n", Review, "no_count", 0, ""},
		{"counts under another name", "a.csv", "region,val\nBretagne,4\nCorse,250\n", Fail, "small_numbers", 0, "val"},
		{"wide table of large counts", "a.csv", "region,2020,2021\nBretagne,40,41\nCorse,250,251\n", Review, "no_count", 0, ""},
		{"means beside counts", "a.csv", "region,n,mean_age\nBretagne,40,61.2\n", Review, "numbers", 0, "mean_age"},
		{"extremes", "a.csv", "region,n,max_age\nBretagne,40,103\n", Review, "extremes", 0, "max_age"},
		{"cost is no count", "a.csv", "region,n,total_cost\nBretagne,40,3.5\n", Review, "numbers", 0, "total_cost"},
		{"UUID", "a.csv", "x,n\n6fa459ea-ee8a-3ca4-894e-db77e160355e,40\n", Fail, "pseudonym", 2, "x"},
		{"UUID inside a text", "a.csv", "x,n\nid:6FA459EA-EE8A-3CA4-894E-DB77E160355E!,40\n", Fail, "pseudonym", 2, "x"},
		{"hexadecimal", "a.csv", "x,n\n6fa459eaee8a3ca4894edb77e160355e,40\n", Fail, "pseudonym", 2, "x"},
		{"base64", "a.csv", "x,n\nb6RZ6u6KPKSJTtt34WA1Xg==,40\n", Fail, "pseudonym", 2, "x"},
		{"base32", "a.csv", "x,n\n0w3hf8q2t5v7kdnsm9xbjcz4ag,40\n", Fail, "pseudonym", 2, "x"},
		{"a long word is none", "a.csv", "x,n\nabcdefghjkmnpqrstvwxyzabcd,40\n", Pass, "counts_ok", 0, ""},
		{"NIR", "a.csv", "x,n\n255081416802538,40\n", Fail, "identity_number", 2, "x"},
		{"NIR with spaces and Corsica", "a.csv", "x,n\n2 55 08 2A 168 025 38,40\n", Fail, "identity_number", 2, "x"},
		{"medicine code is no person", "a.csv", "cip,n\n3400930000001,40\n3400930000002,41\n", Pass, "counts_ok", 0, ""},
		{"known person", "a.csv", "x,n\np-000123,40\n", Fail, "known_person", 2, "x"},
		{"pseudonym as a column name", "a.csv", "6fa459eaee8a3ca4894edb77e160355e,n\nx,40\n", Fail, "pseudonym", 1, ""},
		{"opaque codes", "a.csv", "x,n\n" + rows(20, func(i int) string { return fmt.Sprintf("k%07dz,40", i*7919) }), Review, "opaque", 0, "x"},
		{"a few opaque codes", "a.csv", "x,n\n6FA459EA-EE8A,40\n7FB459EA-EE8B,40\n8FA459EC-EE9A,40\n", Review, "opaque", 0, "x"},
		{"opaque codes without counts", "a.csv", "x,y\n" + rows(11, func(i int) string { return fmt.Sprintf("k%07dz,red", i*7919) }), Fail, "opaque", 0, "x"},
		{"unique numbers", "a.csv", "patient_key,n\n" + rows(60, func(i int) string { return fmt.Sprintf("%d,40", 1000+i) }), Review, "unique", 0, "patient_key"},
		{"exact days beside counts", "a.csv", "day,n\n2021-03-04,40\n", Review, "exact_dates", 0, "day"},
		{"exact days without counts", "a.csv", "day,x\n2021-03-04,red\n", Fail, "exact_dates", 0, "day"},
		{"formula", "a.csv", "x,n\n\"=HYPERLINK(\"\"http://x\"\")\",40\n", Review, "formula", 2, "x"},
		{"too many rows", "a.csv", "x,n\n" + rows(5001, func(i int) string { return "a,40" }), Fail, "too_many_rows", 0, ""},
		{"uneven lines", "a.csv", "x,n\na,40\nb\n", Fail, "csv_damaged", 3, ""},
		{"open quotation mark", "a.csv", "x,n\n\"a,40\n", Fail, "csv_damaged", 0, ""},
		{"lone carriage return", "a.csv", "x,n\na,4\r0,12\n", Fail, "csv_damaged", 0, ""},
		{"two separators", "a.csv", "x;y,n\na;b,40\n", Fail, "csv_ambiguous", 0, ""},
		{"no header", "a.csv", "5,x\n12,y\n", Fail, "csv_no_header", 1, ""},
		{"same name twice", "a.csv", "n,N\n12,12\n", Fail, "csv_header", 1, ""},
		{"header only", "a.csv", "x,n\n", Review, "no_rows", 0, ""},
		{"table named txt", "a.txt", "x,n\na,4\nb,12\n", Fail, "below_threshold", 2, "n"},
		{"table without suffix", "a", "x,n\na,40\nb,12\n", Fail, "type_disguised", 0, ""},
		{"text", "notes.txt", "The model converged.\n", Review, "type_text", 0, ""},
		{"text with a pseudonym", "notes.txt", "We looked at 6fa459ea-ee8a-3ca4-894e-db77e160355e.\n", Fail, "pseudonym", 1, ""},
		{"text with a packed blob", "notes.txt", strings.Repeat("QUJD", 50) + "\n", Fail, "blob", 1, ""},
		{"long text", "notes.txt", strings.Repeat("word word\n", 8000), Fail, "too_large", 0, ""},
		{"text named csv", "a.csv", "The model converged.\n", Review, "no_rows", 0, ""},
		{"latin-1", "a.csv", "r\xe9gion,n\nx,40\n", Fail, "encoding", 0, ""},
		{"zero-width characters", "a.csv", "region,n\nx\u200b,40\n", Fail, "encoding", 0, ""},
		{"NUL", "a.csv", "region,n\nx\x00,40\n", Fail, "type_unknown", 0, ""},
		{"archive", "a.csv", "PK\x03\x04\x14\x00\x00\x00", Fail, "type_unknown", 0, ""},
		{"gzip", "a.csv", "\x1f\x8b\x08\x00\x00\x00", Fail, "type_unknown", 0, ""},
		{"Parquet", "a.parquet", "PAR1\x15\x04\x15\x00", Fail, "type_unknown", 0, ""},
		{"SVG is text of another name", "a.svg", "<svg><circle cx='1'/></svg>\n", Fail, "type_disguised", 0, ""},
		{"picture", "a.png", string(picture), Review, "type_picture", 0, ""},
		{"picture named csv", "a.csv", string(picture), Fail, "type_disguised", 0, ""},
		{"picture with a text block", "a.png", string(withText), Fail, "picture_hidden", 0, ""},
		{"picture with a tail", "a.png", string(picture) + "secret", Fail, "picture_tail", 0, ""},
		{"picture cut short", "a.png", string(picture[:40]), Fail, "picture_damaged", 0, ""},
		{"empty", "a.csv", "", Fail, "type_empty", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Examine(c.file, []byte(c.content), Policy{Known: known})
			if r.Outcome != c.want {
				t.Errorf("outcome %s, want %s: %+v", r.Outcome, c.want, r.Findings)
			}
			i := slices.IndexFunc(r.Findings, func(f Finding) bool {
				return f.Message == c.message && (c.row == 0 || f.Row == c.row) && (c.column == "" || f.Column == c.column)
			})
			if i < 0 {
				t.Errorf("no finding %s at row %d, column %q: %+v", c.message, c.row, c.column, r.Findings)
			} else if s := r.Findings[i].Reason(); s == "" || strings.Contains(s, "{") {
				t.Errorf("reason of %s is %q", c.message, s)
			}
		})
	}
}

// Every message used in the code has a sentence, and every sentence is used.
func TestSentences(t *testing.T) {
	if len(Messages()) < 30 {
		t.Fatalf("only %d messages", len(Messages()))
	}
	for _, m := range Messages() {
		if sentences[m].reason == "" {
			t.Errorf("%s has no reason", m)
		}
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(m) {
			t.Errorf("key %q", m)
		}
	}
}

// The oracle reads a generated table by hand, cell by cell, and knows which column is what because it made
// the table.
func TestCountsAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.IntRange(1, 30).Draw(t, "threshold")
		nrows := rapid.IntRange(1, 40).Draw(t, "rows")
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n", "count", "effectif", "nb_patients", "lukumäärä", "deaths"}), 1, 4, rapid.ID).Draw(t, "counts")
		cell := rapid.OneOf(
			rapid.Map(rapid.IntRange(0, 40), strconv.Itoa),
			rapid.Map(rapid.IntRange(0, 40), func(n int) string { return fmt.Sprintf("%03d", n) }),
			rapid.Map(rapid.IntRange(0, 40), func(n int) string { return strconv.Itoa(n) + ".0" }),
			rapid.SampledFrom([]string{"", "*", "-3", "1.5", "twelve", "1e1", "<100", "<2", "NA", "1 000"}),
		)
		table := [][]string{append([]string{"region"}, names...)}
		want := Pass
		var fails [][2]string // row, column
		for r := range nrows {
			rec := []string{"r" + strconv.Itoa(r)}
			for _, n := range names {
				v := cell.Draw(t, "cell")
				rec = append(rec, v)
				switch o := oracleCell(v, threshold); o {
				case Fail:
					fails = append(fails, [2]string{strconv.Itoa(r + 2), n})
					want = Fail
				case Review:
					want = Worse(want, Review)
				}
			}
			table = append(table, rec)
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.WriteAll(table); err != nil {
			t.Fatal(err)
		}
		r := Examine("t.csv", b.Bytes(), Policy{Threshold: threshold})
		// A column without a single number is no count column to the engine unless all its cells are hidden;
		// the table is then judged by its other columns, never better than by the oracle for those.
		for i, n := range names {
			hasNumber, allBlank := false, true
			for _, rec := range table[1:] {
				if _, ok := new(big.Rat).SetString(rec[i+1]); ok {
					hasNumber = true
				}
				if oracleCell(rec[i+1], threshold) != Review || rec[i+1] == "0" {
					allBlank = false
				}
			}
			if !hasNumber && !allBlank {
				t.Skip("column ", n, " holds words only")
			}
		}
		if r.Outcome != want {
			t.Fatalf("outcome %s, want %s\n%s%+v", r.Outcome, want, b.String(), r.Findings)
		}
		var got [][2]string
		for _, f := range r.Findings {
			if f.Check == "counts" && f.Outcome == Fail && f.Row > 0 {
				got = append(got, [2]string{strconv.Itoa(f.Row), f.Column})
			}
		}
		total := 0
		for _, rec := range table[1:] {
			for _, v := range rec[1:] {
				if oracleCell(v, threshold) != Pass {
					total++
				}
			}
		}
		if total <= findingsPerCheck {
			byPlace := func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) }
			slices.SortFunc(got, byPlace)
			slices.SortFunc(fails, byPlace)
			if !slices.Equal(got, fails) {
				t.Fatalf("cells %v, want %v\n%s", got, fails, b.String())
			}
		}
	})
}

func oracleCell(v string, threshold int) Outcome {
	switch v {
	case "", "*", "NA":
		return Review
	case "<100":
		return Review // 100 is above every threshold drawn
	case "<2":
		if threshold <= 2 {
			return Review
		}
		return Fail
	case "-3", "1.5", "twelve", "1 000":
		return Fail
	case "1e1":
		v = "10"
	}
	f, _ := strconv.ParseFloat(v, 64)
	switch {
	case f == 0:
		return Review
	case int(f) < threshold:
		return Fail
	}
	return Pass
}

// No order of rows or columns and no renaming of labels changes the outcome.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "rows")
		var recs []string
		for i := range n {
			recs = append(recs, fmt.Sprintf("g%d,%d,%d", i, rapid.IntRange(0, 30).Draw(t, "n"), rapid.IntRange(11, 99).Draw(t, "m")))
		}
		a := Examine("a.csv", []byte("g,n,deaths\n"+strings.Join(recs, "\n")+"\n"), Policy{})
		perm := rapid.Permutation(recs).Draw(t, "order")
		for i, r := range perm {
			f := strings.Split(r, ",")
			perm[i] = f[2] + "," + f[1] + "," + f[0]
		}
		b := Examine("a.csv", []byte("deaths,n,g\n"+strings.Join(perm, "\n")+"\n"), Policy{})
		if a.Outcome != b.Outcome || len(a.Findings) != len(b.Findings) {
			t.Fatalf("%s and %s: %+v, %+v", a.Outcome, b.Outcome, a.Findings, b.Findings)
		}
	})
}

func TestKnown(t *testing.T) {
	k := NewKnown()
	k.Add("6fa459ea")
	k.Add("ABC-123")
	var b bytes.Buffer
	if _, err := k.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("ABC")) || bytes.Contains(b.Bytes(), []byte{0x6f, 0xa4, 0x59, 0xea}) {
		t.Error("the stored form shows an identifier")
	}
	cut := b.Bytes()[:b.Len()-3]
	back, err := ReadKnown(bytes.NewReader(b.Bytes()))
	if err != nil || back.Len() != 2 {
		t.Fatalf("%d, %v", back.Len(), err)
	}
	for _, s := range []string{"6fa459ea", "6FA4-59EA", "{6fa459ea}", "abc123"} {
		if !back.Has(s) {
			t.Errorf("%q is not found", s)
		}
	}
	if back.Has("6fa459eb") || (*Known)(nil).Has("6fa459ea") {
		t.Error("found what was not put in")
	}
	if _, err := ReadKnown(bytes.NewReader(cut)); err == nil {
		t.Error("a truncated set was read")
	}
}

// Whatever the bytes: no crash, and a pass means a strict table whose every count is large enough.
func FuzzExamine(f *testing.F) {
	for _, s := range []string{"region,n\na,11\n", "n\n5\n", "a;n\n\"x\";12\n", "\xef\xbb\xbfn\n12\n", "\x89PNG\r\n\x1a\n", "n,x\n=1,2\n", "a\tn\n1\t20\n", "n\n\"1\n2\"\n"} {
		f.Add("t.csv", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		r := Examine(name, b, Policy{})
		for _, x := range r.Findings {
			if sentences[x.Message].reason == "" {
				t.Fatalf("finding without a sentence: %+v", x)
			}
		}
		if r.Outcome != Pass {
			return
		}
		if r.Kind != KindTable || r.Rows == 0 {
			t.Fatalf("passed: %+v", r)
		}
		comma, _ := separator(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
		recs, err := parse(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), comma)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range recs[0] {
			if h != "n" {
				continue
			}
			for _, rec := range recs[1:] {
				n, err := strconv.ParseFloat(strings.Replace(rec[i], ",", ".", 1), 64)
				if err != nil || n < 11 {
					t.Fatalf("a count of %q passed", rec[i])
				}
			}
		}
	})
}
