package agent

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/uuid"
	"golang.org/x/text/encoding/charmap"

	"github.com/mitral-health/mitral/internal/contract"
)

// testSchema has one table of each kind.
var testSchema = contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{
	{Name: "ER_PRS_F", EventDate: "EXE_SOI_DTD", Columns: []contract.Column{
		{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "EXE_SOI_DTD", Type: contract.TypeDate, Required: true},
		{Name: "PRS_NAT_REF", Type: contract.TypeInteger},
		{Name: "PRS_PAI_MNT", Type: contract.TypeNumber},
		{Name: "ACT_COD", Type: contract.TypeString},
		{Name: "HEURE", Type: contract.TypeTime}}},
	{Name: "IR_BEN_R", Columns: []contract.Column{
		{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "BEN_NIR", Type: contract.TypeString, Role: contract.RoleNIR},
		{Name: "BEN_NOM", Type: contract.TypeString, Role: contract.RoleBirthName},
		{Name: "BEN_PRN", Type: contract.TypeString, Role: contract.RoleGivenName},
		{Name: "BEN_NAI_DTE", Type: contract.TypeDate, Role: contract.RoleBirthDate},
		{Name: "BEN_SEX", Type: contract.TypeInteger, Role: contract.RoleSex},
		{Name: "BEN_NAI_ANN", Type: contract.TypeInteger}}},
	{Name: "RPU", EventDate: "ENTREE", Columns: []contract.Column{
		{Name: "NOM", Type: contract.TypeString, Role: contract.RoleBirthName},
		{Name: "NAISSANCE", Type: contract.TypeDate, Role: contract.RoleBirthDate},
		{Name: "ENTREE", Type: contract.TypeTime},
		{Name: "DP", Type: contract.TypeString}}},
	{Name: "CODES", Columns: []contract.Column{
		{Name: "CODE", Type: contract.TypeString}, {Name: "FIN", Type: contract.TypeDate}}},
}}

// content is the rows of each table, as CSV cells.
type content map[string][][]string

func drawContent(rng *rand.Rand, people, claims int) content {
	c := content{}
	word := func(p string) string { return p + fmt.Sprint(rng.IntN(50)) }
	maybe := func(s string) string {
		if rng.IntN(5) == 0 {
			return ""
		}
		return s
	}
	day := func() string {
		return time.Date(2000, 1, 1+rng.IntN(9000), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	}
	for i := range people {
		c["IR_BEN_R"] = append(c["IR_BEN_R"], []string{fmt.Sprintf("K%06d", i), maybe("1850175104001"), word("Nomé, \"le\" "), maybe(word("Prénom")), maybe(day()), maybe("2"), maybe("1950")})
	}
	for range claims {
		c["ER_PRS_F"] = append(c["ER_PRS_F"], []string{fmt.Sprintf("K%06d", rng.IntN(people)), day(), maybe(fmt.Sprint(rng.IntN(9000) - 10)), maybe("12.5"), maybe(word("Açte;\n")), maybe(day() + " 10:20:30")})
	}
	for range people {
		c["RPU"] = append(c["RPU"], []string{maybe(word("Visiteur")), maybe(day()), maybe(day() + " 23:59:59.5"), maybe(word("I1"))})
	}
	c["CODES"] = [][]string{{"A1", "2099-12-31"}, {"B2", ""}}
	return c
}

func writeSchema(t testing.TB, h *hub, s contract.DatasetSchema) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.cfg.Schema, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func csvText(t *contract.Table, rows [][]string, separator string) string {
	var b strings.Builder
	line := func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				b.WriteString(separator)
			}
			if strings.ContainsAny(c, separator+"\"\n") {
				c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
			}
			b.WriteString(c)
		}
		b.WriteString("\n")
	}
	var head []string
	for _, c := range t.Columns {
		head = append(head, c.Name)
	}
	line(head)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// write puts the content into files of the format, in two files where there are rows enough.
func (h *hub) write(t testing.TB, c content, f Files) {
	t.Helper()
	writeSchema(t, h, testSchema)
	for i := range testSchema.Tables {
		tab := &testSchema.Tables[i]
		rows := c[tab.Name]
		halves := [][][]string{rows}
		if len(rows) > 10 {
			halves = [][][]string{rows[:7], rows[7:]}
		}
		for n, half := range halves {
			path := filepath.Join(h.dir, fmt.Sprintf("%s.%d.%s", tab.Name, n, f.Format))
			var b []byte
			switch f.Format {
			case formatParquet:
				b = parquetBytes(t, tab, half, n == 1)
			default:
				b = []byte(csvText(tab, half, cmpOr(f.Separator, ",")))
				switch f.Encoding {
				case "latin-1":
					b, _ = charmap.ISO8859_1.NewEncoder().Bytes(b)
				case "windows-1252":
					b, _ = charmap.Windows1252.NewEncoder().Bytes(b)
				}
				if f.Format == formatGzip {
					var z bytes.Buffer
					w := gzip.NewWriter(&z)
					w.Write(b)
					w.Close()
					b = z.Bytes()
				}
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		use := f
		use.Files = filepath.Join(h.dir, tab.Name+".*."+f.Format)
		h.cfg.Tables[tab.Name] = use
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// parquetBytes writes rows with the types that other tools use: small integers, other units of time, dictionaries or none.
func parquetBytes(t testing.TB, tab *contract.Table, rows [][]string, plain bool) []byte {
	t.Helper()
	var fields []arrow.Field
	for _, c := range tab.Columns {
		f := arrow.Field{Name: c.Name, Type: columnType(c.Type), Nullable: true}
		switch {
		case c.Type == contract.TypeInteger && plain:
			f.Type = arrow.PrimitiveTypes.Int16
		case c.Type == contract.TypeTime && plain:
			f.Type = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
		}
		fields = append(fields, f)
	}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, r := range rows {
		for i, cell := range r {
			if ts, ok := fields[i].Type.(*arrow.TimestampType); ok && ts.TimeZone != "" && cell != "" {
				cell += "Z"
			}
			if cell == "" {
				b.Field(i).AppendNull()
			} else if err := b.Field(i).AppendValueFromString(cell); err != nil {
				t.Fatal(err)
			}
		}
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithDictionaryDefault(!plain), parquet.WithMaxRowGroupLength(100), parquet.WithVersion(parquet.V2_LATEST)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func silent(Progress) {}

// TestDeliver: for every format, what both sides received joins by ticket to exactly the rows of the files,
// and neither side has what belongs to the other.
func TestDeliver(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range []Files{
		{Format: formatCSV}, {Format: formatCSV, Separator: ";", Encoding: "latin-1"}, {Format: formatGzip, Separator: "|", Encoding: "windows-1252"},
		{Format: formatParquet},
	} {
		t.Run(f.Format+f.Encoding, func(t *testing.T) {
			h := newHub(t)
			c := drawContent(rng, 30, 500)
			h.write(t, c, f)
			told := map[string]Progress{}
			report, err := Deliver(t.Context(), h.cfg, func(p Progress) { told[p.Stage] = p })
			if err != nil {
				t.Fatal(err)
			}
			if split, send := told[StageSplit], told[StageSend]; split.Rows != 562 || split.Bytes > split.Total || split.Bytes < split.Total*9/10 ||
				send.Bytes != send.Total || send.Bytes != report.ToTrust+report.ToEngine {
				t.Errorf("progress %+v", told)
			}
			if !report.Published || report.Persons != 60 || report.Rows["ER_PRS_F"] != 500 || report.Rows["CODES"] != 2 {
				t.Errorf("%+v", report)
			}
			if h.trust.manifest.Tickets != 60 || h.engine.manifest.Tickets != 60 {
				t.Errorf("tickets %d and %d", h.trust.manifest.Tickets, h.engine.manifest.Tickets)
			}
			byTicket := map[string]contract.Identity{}
			for _, id := range h.identities(t) {
				byTicket[uuid.UUID(id.Ticket).String()] = id
			}
			if len(byTicket) != 60 {
				t.Fatalf("%d tickets", len(byTicket))
			}
			identity := func(table string, id contract.Identity) []string {
				if table == "RPU" {
					return []string{id.BirthName, id.BirthDate}
				}
				return []string{id.LocalID, id.NIR, id.BirthName, id.GivenName, id.BirthDate, id.Sex}
			}
			for _, tab := range testSchema.Tables {
				head, rows := h.rows(t, tab.Name)
				var got, want []string
				for _, r := range rows {
					switch kindOf(&tab) {
					case reference:
						got = append(got, strings.Join(r, "|"))
					case events:
						id, ok := byTicket[r[0]]
						if !ok {
							t.Fatalf("%s: no identity for a ticket", tab.Name)
						}
						got = append(got, strings.Join(append([]string{id.LocalID}, r[1:]...), "|"))
					default:
						got = append(got, strings.Join(append(identity(tab.Name, byTicket[r[0]]), r[1:]...), "|"))
					}
				}
				var payload []string
				if kindOf(&tab) != reference {
					payload = append(payload, "ticket")
				}
				for _, col := range tab.Columns {
					if col.Role == contract.RolePayload {
						payload = append(payload, col.Name)
					}
				}
				if !slices.Equal(head, payload) {
					t.Errorf("%s: columns %v, want %v", tab.Name, head, payload)
				}
				for _, r := range c[tab.Name] {
					want = append(want, strings.Join(slices.Clone(r), "|"))
				}
				for i := range got {
					got[i] = strings.ReplaceAll(got[i], "T", " ")
				}
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], "T", " ")
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					for i := range min(len(got), len(want)) {
						if got[i] != want[i] {
							t.Fatalf("%s: %d rows, want %d; first difference\n%q\n%q", tab.Name, len(got), len(want), got[i], want[i])
						}
					}
					t.Fatalf("%s: %d rows, want %d", tab.Name, len(got), len(want))
				}
			}
			if left, err := filepath.Glob(filepath.Join(h.cfg.Spool, "*", "*", "*")); err != nil || len(left) > 0 {
				t.Errorf("the spool keeps %v", left)
			}
		})
	}
}

// TestSplitKeepsApart plants canaries in every identity column and every payload column and looks for them in every
// decoded byte that went to the other side.
func TestSplitKeepsApart(t *testing.T) {
	for _, format := range []string{formatCSV, formatParquet} {
		h := newHub(t)
		c := drawContent(rand.New(rand.NewPCG(3, 4)), 20, 50)
		c["IR_BEN_R"][3] = []string{"Zkeycanary", "1990199999999", "Znamecanary", "Zgivencanary", "1977-07-07", "1", "66771"}
		c["ER_PRS_F"][3] = []string{"Zkeycanary", "2012-12-12", "556677", "7654.25", "Zpayloadcanary", "2013-03-03 03:03:03"}
		for _, claim := range c["ER_PRS_F"] {
			if claim[0] == "K000003" {
				claim[0] = "Zkeycanary"
			}
		}
		c["RPU"][3] = []string{"Zvisitorcanary", "1988-08-08", "2014-04-04 04:04:04", "Zdiagnosiscanary"}
		h.write(t, c, Files{Format: format})
		if _, err := Deliver(t.Context(), h.cfg, silent); err != nil {
			t.Fatal(err)
		}
		manifest, err := json.Marshal([]any{h.engine.manifest.Parts, h.engine.manifest.Tickets})
		if err != nil {
			t.Fatal(err)
		}
		toEngine := string(manifest)
		for key, raw := range h.engine.parts {
			toEngine += key + string(raw)
		}
		for _, tab := range testSchema.Tables {
			_, rows := h.rows(t, tab.Name)
			toEngine += fmt.Sprint(rows)
		}
		toTrust := fmt.Sprintf("%+v", h.identities(t))
		for _, canary := range []string{"Zkeycanary", "1990199999999", "Znamecanary", "Zgivencanary", "1977-07-07", "Zvisitorcanary", "1988-08-08"} {
			if strings.Contains(toEngine, canary) {
				t.Errorf("%s: engine received %s", format, canary)
			}
			if !strings.Contains(toTrust, canary) {
				t.Errorf("%s: trust did not receive %s", format, canary)
			}
		}
		for _, canary := range []string{"66771", "556677", "7654.25", "Zpayloadcanary", "2013-03-03", "Zdiagnosiscanary", "2012-12-12", "2014-04-04"} {
			if strings.Contains(toTrust, canary) {
				t.Errorf("%s: trust received %s", format, canary)
			}
			if !strings.Contains(toEngine, canary) {
				t.Errorf("%s: engine did not receive %s", format, canary)
			}
		}
	}
}

// TestOrderIsHidden: rows and identities leave in the order of their random tickets, not of the files.
func TestOrderIsHidden(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(5, 6)), 200, 200), Files{Format: formatCSV})
	h.cfg.Tables["IR_BEN_R"] = Files{Files: h.cfg.Tables["IR_BEN_R"].Files, Format: formatCSV}
	if _, err := Deliver(t.Context(), h.cfg, silent); err != nil {
		t.Fatal(err)
	}
	for key, raw := range h.trust.parts {
		one := &hub{trust: &receiver{parts: map[string][]byte{key: raw}}}
		ids := one.identities(t)
		if !slices.IsSortedFunc(ids, func(a, b contract.Identity) int { return bytes.Compare(a.Ticket, b.Ticket) }) {
			t.Errorf("%s is not in the order of its tickets", key)
		}
	}
	for key := range h.engine.parts {
		table := strings.Split(key, "/")[1]
		if table == "CODES" {
			continue
		}
		_, rows := h.rows(t, table)
		from := 0
		for from < len(rows) { // one run for each file
			to := from + 1
			for to < len(rows) && rows[to-1][0] <= rows[to][0] {
				to++
			}
			if to-from < 7 && to < len(rows) {
				t.Errorf("%s is not in the order of its tickets", key)
			}
			from = to
		}
	}
}

// TestResume cuts the agent off after a few requests, again and again: the same tickets arrive in the end, and no part
// is sent again once the spool says that it has arrived.
func TestResume(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(7, 8)), 20, 50), Files{Format: formatCSV})
	first, runs := "", 0
	arrived := map[string]int{} // part → how often it had been sent when it was marked
	for done := false; !done; {
		if runs++; runs > 60 {
			t.Fatal("never finishes")
		}
		for _, r := range []*receiver{h.trust, h.engine} {
			requests := 0
			r.mu.Lock() // the last run's requests may still be under way
			r.fail = func(*http.Request) int {
				if requests++; requests > 2 {
					return 403
				}
				return 0
			}
			r.mu.Unlock()
		}
		report, err := Deliver(t.Context(), h.cfg, silent)
		if first == "" {
			first = report.Delivery
		}
		if report.Delivery != first || report.Resumed != (runs > 1) {
			t.Fatalf("run %d: %+v, first delivery %s", runs, report, first)
		}
		done = err == nil
		for key, n := range arrived {
			if got := h.trust.puts[key] + h.engine.puts[key]; got != n {
				t.Errorf("%s was sent again after it had arrived", key)
			}
		}
		var st state
		b, err := os.ReadFile(filepath.Join(h.cfg.Spool, "cnam.snds", first, stateFile))
		if err == nil {
			err = json.Unmarshal(b, &st)
		}
		if err != nil && !done {
			t.Fatal(err)
		}
		for key := range st.TrustArrived {
			key = "identities" + key
			arrived[key] = h.trust.puts[key]
		}
		for key := range st.EngineArrived {
			key = "tables/" + key
			arrived[key] = h.engine.puts[key]
		}
	}
	if runs < 3 || len(arrived) < 4 {
		t.Fatalf("%d runs, %v", runs, arrived)
	}
	tickets := map[string]bool{}
	for _, id := range h.identities(t) {
		tickets[base64.StdEncoding.EncodeToString(id.Ticket)] = true
	}
	_, rows := h.rows(t, "ER_PRS_F")
	for _, r := range rows {
		u := uuid.MustParse(r[0])
		if !tickets[base64.StdEncoding.EncodeToString(u[:])] {
			t.Fatal("the two sides have different tickets")
		}
	}
}

func TestRefusedByAZone(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(9, 1)), 5, 5), Files{Format: formatCSV})
	h.engine.refuse = "table ER_PRS_F: the schema has moved"
	report, err := Deliver(t.Context(), h.cfg, silent)
	var refused *DeliveryRefused
	if !errors.As(err, &refused) || refused.Zone != "engine" || !strings.Contains(err.Error(), "the schema has moved") || report.Published {
		t.Fatalf("%+v %v", report, err)
	}
	h.engine.refuse = ""
	h.trust.parts, h.trust.manifest, h.engine.parts, h.engine.manifest = map[string][]byte{}, nil, map[string][]byte{}, nil
	again, err := Deliver(t.Context(), h.cfg, silent)
	if err != nil || again.Delivery == report.Delivery || again.Resumed {
		t.Fatalf("%+v %v", again, err)
	}
}

// TestTrouble: a zone that is not well is asked again; what it says about the request itself is final.
func TestTrouble(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(9, 1)), 5, 5), Files{Format: formatCSV})
	seen := 0
	h.engine.fail = func(*http.Request) int {
		if seen++; seen == 1 {
			return 503
		}
		return 0
	}
	notes := ""
	if _, err := Deliver(t.Context(), h.cfg, func(p Progress) { notes += p.Note }); err != nil || !strings.Contains(notes, "trying again") {
		t.Fatalf("%v, %s", err, notes)
	}
	other := newHub(t)
	other.write(t, drawContent(rand.New(rand.NewPCG(9, 1)), 5, 5), Files{Format: formatCSV})
	other.cfg.TLS = h.cfg.TLS // a certificate of another hub
	other.cfg.TLS.CA = filepath.Join(t.TempDir(), "missing.crt")
	if _, err := Deliver(t.Context(), other.cfg, silent); err == nil || len(other.trust.parts) > 0 {
		t.Fatalf("%v", err)
	}
}

func TestDryRun(t *testing.T) {
	h := newHub(t)
	h.write(t, drawContent(rand.New(rand.NewPCG(9, 1)), 5, 9), Files{Format: formatCSV})
	report, err := DryRun(t.Context(), h.cfg, silent)
	if err != nil || report.Rows["ER_PRS_F"] != 9 || report.Persons != 10 || report.Published {
		t.Fatalf("%+v %v", report, err)
	}
	got := map[string]string{}
	for _, c := range report.Columns {
		got[c.Table+"."+c.Column] = c.To
	}
	for column, to := range map[string]string{"IR_BEN_R.BEN_NIR": "trust", "IR_BEN_R.BEN_IDT_ANO": "trust (as local number)", "ER_PRS_F.BEN_IDT_ANO": "nobody",
		"ER_PRS_F.PRS_NAT_REF": "engine", "ER_PRS_F.ticket": "engine", "RPU.ticket": "trust and engine", "CODES.CODE": "engine"} {
		if got[column] != to {
			t.Errorf("%s goes to %q, want %q", column, got[column], to)
		}
	}
	if len(h.trust.parts)+len(h.engine.parts) > 0 {
		t.Error("a dry run sent something")
	}
	if left, err := filepath.Glob(filepath.Join(h.cfg.Spool, "*", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("a dry run keeps %v", left)
	}
}
