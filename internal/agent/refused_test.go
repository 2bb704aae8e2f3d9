package agent

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

// refusedHub is a hub whose files are right, for tests that spoil one.
func refusedHub(t testing.TB, format string) *hub {
	t.Helper()
	h := newHub(t)
	c := drawContent(rand.New(rand.NewPCG(1, 1)), 5, 5)
	for i, r := range c["ER_PRS_F"] { // no line breaks in fields: line n is row n-1
		c["ER_PRS_F"][i] = []string{r[0], "2020-01-01", "1", "2.5", "A", "2020-01-01 10:00:00"}
	}
	h.write(t, c, Files{Format: format})
	return h
}

const claimsHead = "BEN_IDT_ANO,EXE_SOI_DTD,PRS_NAT_REF,PRS_PAI_MNT,ACT_COD,HEURE\n"

// TestRefusedCSV: each malformed file is refused whole, with file, line, column and reason, and nothing is sent.
func TestRefusedCSV(t *testing.T) {
	const good = "K000001,2020-01-01,1,2.5,A,2020-01-01 10:00:00\n"
	pack := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	}
	h := refusedHub(t, formatCSV)
	base := h.cfg.Tables["ER_PRS_F"]
	for _, c := range []struct {
		name, text string
		files      Files
		want       []string
	}{
		{"empty file", "", Files{}, []string{"ER.csv: is empty"}},
		{"column missing", "BEN_IDT_ANO,EXE_SOI_DTD,PRS_NAT_REF,PRS_PAI_MNT,ACT_COD\nK000001,2020-01-01,1,2,A\n", Files{}, []string{"ER.csv:1:HEURE: the column is missing"}},
		{"column too many", strings.Replace(claimsHead, "HEURE", "HEURE,BEN_NOM", 1) + good, Files{}, []string{"ER.csv:1:BEN_NOM: is not a column of this table"}},
		{"column twice", strings.Replace(claimsHead, "HEURE", "ACT_COD", 1) + good, Files{}, []string{"ER.csv:1:ACT_COD: stands twice", "ER.csv:1:HEURE: the column is missing"}},
		{"other separator", strings.ReplaceAll(claimsHead, ",", ";"), Files{}, []string{"ER.csv:1:#1: the name of this column cannot be read", "ER.csv:1:BEN_IDT_ANO: the column is missing"}},
		{"ragged rows", claimsHead + good + "K000001,2020-01-01\n" + good + "K000001,2020-01-01,1,2.5,A,2020-01-01 10:00:00,x\n", Files{}, []string{"ER.csv:3: does not have 6 fields", "ER.csv:5: does not have 6 fields"}},
		{"quote never closed", claimsHead + good + `K000001,2020-01-01,1,2.5,"A,2020-01-01 10:00:00` + "\n" + good + good, Files{}, []string{"ER.csv:3: a quote is opened in this record and never closed"}},
		{"quote never closed, endless", claimsHead + `K000001,2020-01-01,1,2.5,"A` + strings.Repeat(good, 150_000), Files{}, []string{"ER.csv:2: the record that starts here is longer than 4 MB"}},
		{"quote within", claimsHead + `K000001,2020-01-01,1,2.5,A"B,2020-01-01 10:00:00` + "\n", Files{}, []string{`ER.csv:2: a quote (") stands where none may, at character 27`}},
		{"quote closed early", claimsHead + `K000001,2020-01-01,1,2.5,"A"B,2020-01-01 10:00:00` + "\n", Files{}, []string{`ER.csv:2: a quote (") is never closed or closed too early`}},
		{"NUL", claimsHead + strings.Replace(good, ",A,", ",A\x00B,", 1), Files{}, []string{"ER.csv:2:ACT_COD: holds a NUL byte"}},
		{"latin-1 read as UTF-8", claimsHead + good + strings.Replace(good, ",A,", ",caf\xe9,", 1), Files{}, []string{"ER.csv:3:ACT_COD: is not valid UTF-8"}},
		{"byte unknown to windows-1252", claimsHead + strings.Replace(good, ",A,", ",A\x81,", 1), Files{Encoding: "windows-1252"}, []string{"ER.csv:2:ACT_COD: holds a byte that does not exist in this encoding"}},
		{"31 February", claimsHead + strings.Replace(good, "2020-01-01,", "2020-02-31,", 1), Files{}, []string{"ER.csv:2:EXE_SOI_DTD: is not an existing day"}},
		{"other way of writing dates", claimsHead + strings.Replace(good, "2020-01-01,", "01/02/2020,", 1), Files{}, []string{"ER.csv:2:EXE_SOI_DTD: is not an existing day"}},
		{"before 1850", claimsHead + strings.Replace(good, "2020-01-01,", "1849-12-31,", 1), Files{}, []string{"ER.csv:2:EXE_SOI_DTD: is a date before 1850"}},
		{"after tomorrow", claimsHead + strings.Replace(good, "2020-01-01,", "2999-01-01,", 1), Files{}, []string{"ER.csv:2:EXE_SOI_DTD: is a date after tomorrow"}},
		{"instant after tomorrow", claimsHead + strings.Replace(good, "2020-01-01 ", "2999-01-01 ", 1), Files{}, []string{"ER.csv:2:HEURE: is a date after tomorrow"}},
		{"no such hour", claimsHead + strings.Replace(good, "10:00:00", "25:00:00", 1), Files{}, []string{"ER.csv:2:HEURE: is not an existing instant"}},
		{"not a whole number", claimsHead + strings.Replace(good, ",1,", ",1.5,", 1), Files{}, []string{"ER.csv:2:PRS_NAT_REF: is not a whole number"}},
		{"too large a number", claimsHead + strings.Replace(good, ",1,", ",99999999999999999999,", 1), Files{}, []string{"ER.csv:2:PRS_NAT_REF: is not a whole number"}},
		{"decimal comma", claimsHead + strings.Replace(good, ",2.5,", `,"2,5",`, 1), Files{}, []string{"ER.csv:2:PRS_PAI_MNT: is not a number"}},
		{"NaN", claimsHead + strings.Replace(good, ",2.5,", ",NaN,", 1), Files{}, []string{"ER.csv:2:PRS_PAI_MNT: is not a number"}},
		{"infinite", claimsHead + strings.Replace(good, ",2.5,", ",1e999,", 1), Files{}, []string{"ER.csv:2:PRS_PAI_MNT: is not a number"}},
		{"required is missing", claimsHead + strings.Replace(good, "2020-01-01,", ",", 1), Files{}, []string{"ER.csv:2:EXE_SOI_DTD: is missing and required"}},
		{"person key is missing", claimsHead + strings.Replace(good, "K000001", "", 1), Files{}, []string{"ER.csv:2:BEN_IDT_ANO: is missing and required"}},
		{"unknown person", claimsHead + good + strings.Replace(good, "K000001", "K999999", 1), Files{}, []string{"ER.csv:3:BEN_IDT_ANO: the person key is not in the person table"}},
		{"line breaks in a field are counted", claimsHead + strings.Replace(good, ",A,", ",\"A\nB\",", 1) + strings.Replace(good, ",1,", ",x,", 1), Files{}, []string{"ER.csv:4:PRS_NAT_REF: is not a whole number"}},
		{"not gzip", claimsHead + good, Files{Format: formatGzip}, []string{"ER.csv: is not a gzip file"}},
		{"gzip cut short", pack(claimsHead + good)[:40], Files{Format: formatGzip}, []string{"ER.csv: the gzip file is damaged or cut short"}},
	} {
		path := filepath.Join(h.dir, "ER.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := base
		f.Files = path
		if c.files.Format != "" {
			f.Format = c.files.Format
		}
		f.Encoding = c.files.Encoding
		h.cfg.Tables["ER_PRS_F"] = f
		h.expect(t, c.name, c.want)
	}
}

func (h *hub) expect(t *testing.T, name string, want []string) {
	t.Helper()
	_, err := Deliver(t.Context(), h.cfg, silent)
	var refused *FilesRefused
	if !errors.As(err, &refused) {
		t.Errorf("%s: %v", name, err)
		return
	}
	for i, w := range want {
		if i >= len(refused.Findings) || !strings.HasPrefix(refused.Findings[i].String(), w) {
			t.Errorf("%s: finding %d is not %q:\n%v", name, i, w, err)
		}
	}
	if name != "other separator" && len(refused.Findings) != len(want) {
		t.Errorf("%s: %d findings, want %d: %v", name, len(refused.Findings), len(want), err)
	}
	if len(h.trust.parts)+len(h.engine.parts) > 0 {
		t.Errorf("%s: something was sent", name)
	}
	if left, err := filepath.Glob(filepath.Join(h.cfg.Spool, "*", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("%s: the spool keeps %v", name, left)
	}
}

func TestDuplicatePersons(t *testing.T) {
	for _, format := range []string{formatCSV, formatParquet} {
		h := newHub(t)
		c := drawContent(rand.New(rand.NewPCG(1, 1)), 5, 0)
		for i := range c["IR_BEN_R"] {
			c["IR_BEN_R"][i][2] = "N"
		}
		c["IR_BEN_R"] = append(c["IR_BEN_R"], c["IR_BEN_R"][2])
		h.write(t, c, Files{Format: format})
		row := "7" // the header is line 1 of a CSV file
		if format == formatParquet {
			row = "6"
		}
		h.expect(t, format, []string{fmt.Sprintf("IR_BEN_R.0.%s:%s:BEN_IDT_ANO: this person key stands in an earlier row too", format, row)})
	}
}

// TestTwentyFindings: reading stops at the twentieth.
func TestTwentyFindings(t *testing.T) {
	h := refusedHub(t, formatCSV)
	path := filepath.Join(h.dir, "ER.csv")
	if err := os.WriteFile(path, []byte(claimsHead+strings.Repeat("K000001,2020-01-01,x,y,A,z\n", 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := h.cfg.Tables["ER_PRS_F"]
	f.Files = path
	h.cfg.Tables["ER_PRS_F"] = f
	_, err := Deliver(t.Context(), h.cfg, silent)
	var refused *FilesRefused
	if !errors.As(err, &refused) || len(refused.Findings) != 20 || !refused.More || refused.Findings[19].String() != "ER.csv:8:PRS_PAI_MNT: is not a number (written with a point: 12.5)" {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(err.Error(), "reading stopped after 20 findings") {
		t.Error(err)
	}
}

// TestRefusedParquet: files of another shape, and damaged ones.
func TestRefusedParquet(t *testing.T) {
	h := refusedHub(t, formatParquet)
	good := *mustTable(t, "ER_PRS_F")
	row := [][]string{{"K000001", "2020-01-01", "1", "2.5", "A", "2020-01-01 10:00:00"}}
	change := func(f func(*contract.Table)) []byte {
		tab := good
		tab.Columns = append([]contract.Column(nil), good.Columns...)
		f(&tab)
		return parquetBytes(t, &tab, nil, false)
	}
	rows := func(cell int, value string) []byte {
		r := append([]string(nil), row[0]...)
		r[cell] = value
		return parquetBytes(t, &good, append(append([][]string(nil), row...), r), false)
	}
	whole := parquetBytes(t, &good, row, false)
	damaged := bytes.Clone(whole)
	for i := 4; i < 200; i++ {
		damaged[i] ^= 0x5a
	}
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"column missing", change(func(t *contract.Table) { t.Columns = t.Columns[:5] }), []string{"ER.parquet:HEURE: the column is missing"}},
		{"column too many", change(func(t *contract.Table) {
			t.Columns = append(t.Columns, contract.Column{Name: "BEN_NOM", Type: contract.TypeString})
		}), []string{"ER.parquet:BEN_NOM: is not a column of this table"}},
		{"other type", change(func(t *contract.Table) { t.Columns[2].Type = contract.TypeString }), []string{"ER.parquet:PRS_NAT_REF: is of type utf8 in the file and integer in the schema"}},
		{"number for a date", change(func(t *contract.Table) { t.Columns[1].Type = contract.TypeInteger }), []string{"ER.parquet:EXE_SOI_DTD: is of type int64"}},
		{"cut off", whole[:len(whole)-20], []string{"ER.parquet: is not a whole Parquet file"}},
		{"empty", nil, []string{"ER.parquet: is not a whole Parquet file"}},
		{"text", []byte(claimsHead), []string{"ER.parquet: is not a whole Parquet file"}},
		{"damaged page", damaged, []string{"ER.parquet:1: the file is damaged after this row"}},
		{"before 1850", rows(1, "1700-01-01"), []string{"ER.parquet:2:EXE_SOI_DTD: is a date before 1850"}},
		{"after tomorrow", rows(5, "2999-01-01 00:00:00"), []string{"ER.parquet:2:HEURE: is a date after tomorrow"}},
		{"NaN", rows(3, "NaN"), []string{"ER.parquet:2:PRS_PAI_MNT: is not a finite number"}},
		{"NUL", rows(4, "A\x00"), []string{"ER.parquet:2:ACT_COD: holds a NUL byte"}},
		{"not UTF-8", rows(4, "caf\xe9"), []string{"ER.parquet:2:ACT_COD: is not valid UTF-8"}},
		{"required is missing", rows(1, ""), []string{"ER.parquet:2:EXE_SOI_DTD: is missing and required"}},
		{"unknown person", rows(0, "K999999"), []string{"ER.parquet:2:BEN_IDT_ANO: the person key is not in the person table"}},
		{"person key is missing", rows(0, ""), []string{"ER.parquet:2:BEN_IDT_ANO: is missing and required"}},
	} {
		path := filepath.Join(h.dir, "ER.parquet")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		h.cfg.Tables["ER_PRS_F"] = Files{Files: path, Format: formatParquet}
		h.expect(t, c.name, c.want)
	}
}

func mustTable(t *testing.T, name string) *contract.Table {
	t.Helper()
	tab, ok := testSchema.Table(name)
	if !ok {
		t.Fatal(name)
	}
	return tab
}

// TestConfig: what cannot be delivered is said before any file is read.
func TestConfig(t *testing.T) {
	h := refusedHub(t, formatCSV)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"another holder":      {func(c *Config) { c.Holder = "other" }, `holder "other"`},
		"no file":             {func(c *Config) { c.Tables["RPU"] = Files{Files: "/nowhere/*.csv", Format: "csv"} }, "no file fits"},
		"table left out":      {func(c *Config) { delete(c.Tables, "RPU") }, "each table needs at least one"},
		"unknown table":       {func(c *Config) { c.Tables["X"] = Files{} }, "not in the schema"},
		"unknown format":      {func(c *Config) { c.Tables["RPU"] = Files{Files: "x", Format: "xlsx"} }, "xlsx"},
		"unknown encoding":    {func(c *Config) { c.Tables["RPU"] = Files{Files: "x", Format: "csv", Encoding: "ebcdic"} }, "ebcdic"},
		"separator too long":  {func(c *Config) { c.Tables["RPU"] = Files{Files: "x", Format: "csv", Separator: ";;"} }, "one character"},
		"schema not there":    {func(c *Config) { c.Schema = "/nowhere.json" }, "schema"},
		"no spool":            {func(c *Config) { c.Spool = "" }, "spool"},
		"path as delivery id": {func(c *Config) { c.Delivery = "../x" }, "delivery"},
	} {
		cfg := h.cfg
		cfg.Tables = map[string]Files{}
		for k, v := range h.cfg.Tables {
			cfg.Tables[k] = v
		}
		c.change(&cfg)
		if _, err := Deliver(t.Context(), cfg, silent); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	schema := testSchema
	schema.Tables = testSchema.Tables[:1] // events without persons
	writeSchema(t, h, schema)
	h.cfg.Tables = map[string]Files{"ER_PRS_F": h.cfg.Tables["ER_PRS_F"]}
	if _, err := Deliver(t.Context(), h.cfg, silent); err == nil || !strings.Contains(err.Error(), "no table says who the persons are") {
		t.Errorf("%v", err)
	}
	schema.Tables = append([]contract.Table{testSchema.Tables[1]}, testSchema.Tables[1])
	schema.Tables[1].Name = "SECOND"
	writeSchema(t, h, schema)
	h.cfg.Tables = map[string]Files{"IR_BEN_R": {Files: filepath.Join(h.dir, "IR*"), Format: "csv"}, "SECOND": {Files: filepath.Join(h.dir, "IR*"), Format: "csv"}}
	if _, err := Deliver(t.Context(), h.cfg, silent); err == nil || !strings.Contains(err.Error(), "more than one table") {
		t.Errorf("%v", err)
	}
}

// TestOneAgentAtATime: two deliveries of one dataset from one spool exclude each other.
func TestOneAgentAtATime(t *testing.T) {
	h := refusedHub(t, formatCSV)
	sp, _, err := openSpool(h.cfg.Spool, &testSchema, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Deliver(t.Context(), h.cfg, silent); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
	if err := sp.close(); err != nil {
		t.Fatal(err)
	}
	// The half that it left behind is cleared away.
	if report, err := Deliver(t.Context(), h.cfg, silent); err != nil || report.Resumed {
		t.Errorf("%+v %v", report, err)
	}
}

// FuzzCSV: whatever a file holds, reading ends, every row is whole, and every finding has its place.
func FuzzCSV(f *testing.F) {
	f.Add([]byte(claimsHead + "K000001,2020-01-01,1,2.5,A,2020-01-01 10:00:00\n"))
	f.Add([]byte(claimsHead + "K000001,2020-01-01,1,2.5,\"A\n"))
	f.Add([]byte("\xef\xbb\xbf" + claimsHead + "\"\",,,,\x00,"))
	path := filepath.Join(f.TempDir(), "ER.csv")
	tab, _ := testSchema.Table("ER_PRS_F")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, encoding := range []string{"utf-8", "windows-1252"} {
			found := &findings{}
			plan := &tablePlan{Table: tab, kind: events, files: Files{Format: formatCSV, Separator: ",", Encoding: encoding}, paths: []string{path}}
			src := newCSVSource(plan, found)
			for {
				b, err := src.next()
				if err != nil {
					if b != nil {
						t.Fatal("rows with an error")
					}
					break
				}
				if len(b.columns) != len(tab.Columns) || len(b.lines) != b.rows {
					t.Fatalf("%d columns, %d lines for %d rows", len(b.columns), len(b.lines), b.rows)
				}
				for _, c := range b.columns {
					if c.Len() != b.rows {
						t.Fatalf("a column of %d in %d rows", c.Len(), b.rows)
					}
				}
				b.release()
			}
			src.close()
			for _, x := range found.list {
				if x.File != "ER.csv" || x.Reason == "" || x.Line > int64(bytes.Count(text, []byte("\n")))+1 {
					t.Fatalf("finding %+v in %q", x, text)
				}
			}
		}
	})
}
