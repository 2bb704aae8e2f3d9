package main

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

const holder, dataset = "cnam", "snds"

// table is one table of the lake: its share of the event rows and the SQL of its columns over the row
// number i, the person number p and a day.
type table struct {
	name    string
	percent int64 // of the event rows; 0: one row for each person
	event   string
	columns []column
}

type column struct {
	name string
	kind contract.ColumnType
	sql  string
}

const day = "DATE '2020-01-01' + (hash(i, 1) % 1096)::INTEGER"

// One person in a hundred has diabetes stays; the codes of everybody else are spread over 300 others.
const diagnosis = "CASE WHEN p % 100 = 7 AND i % 3 = 0 THEN 'E11' || (i % 10) ELSE chr((65 + hash(i, 2) % 3)::INTEGER) || (10 + hash(i, 3) % 90) || (i % 10) END"

var tables = []table{
	{"IR_BEN_R", 0, "", []column{
		{"BEN_NAI_ANN", contract.TypeInteger, "1930 + hash(p, 1) % 90"}, {"BEN_SEX_COD", contract.TypeString, "(1 + p % 2)::VARCHAR"},
		{"BEN_RES_DPT", contract.TypeString, "lpad((1 + hash(p, 2) % 95)::VARCHAR, 2, '0')"}}},
	{"ER_PRS_F", 60, "EXE_SOI_DTD", []column{
		{"EXE_SOI_DTD", contract.TypeDate, day}, {"PRS_NAT_REF", contract.TypeInteger, "1000 + hash(i, 4) % 3000"},
		{"PRS_ACT_QTE", contract.TypeInteger, "1 + i % 4"}, {"PRS_PAI_MNT", contract.TypeNumber, "(hash(i, 5) % 20000) / 100"},
		{"BSE_REM_MNT", contract.TypeNumber, "(hash(i, 6) % 15000) / 100"}, {"PSE_SPE_COD", contract.TypeInteger, "hash(i, 7) % 80"},
		{"ETB_PRE_FIN", contract.TypeString, "lpad((hash(i, 8) % 40000)::VARCHAR, 9, '0')"}, {"FLX_DIS_DTD", contract.TypeDate, day + " + 30"}}},
	{"ER_PHA_F", 35, "EXE_SOI_DTD", []column{
		{"EXE_SOI_DTD", contract.TypeDate, day}, {"PHA_PRS_C13", contract.TypeString, "'34009' || lpad((hash(i, 4) % 12000)::VARCHAR, 8, '0')"},
		{"PHA_ACT_QSN", contract.TypeInteger, "1 + i % 3"}, {"PHA_DEC_PRX", contract.TypeNumber, "(hash(i, 6) % 9000) / 100"}}},
	{"T_MCOaaB", 5, "EXE_SOI_DTD", []column{
		{"EXE_SOI_DTD", contract.TypeDate, day}, {"DGN_PAL", contract.TypeString, diagnosis}, {"SEJ_NBJ", contract.TypeInteger, "i % 12"},
		{"GRG_GHM", contract.TypeString, "lpad((hash(i, 9) % 2600)::VARCHAR, 6, '0')"}}},
}

// kept are the columns of the permit.
var kept = map[string][]string{
	"IR_BEN_R": {"BEN_NAI_ANN", "BEN_SEX_COD"},
	"ER_PRS_F": {"EXE_SOI_DTD", "PRS_NAT_REF", "PRS_ACT_QTE", "PRS_PAI_MNT", "PSE_SPE_COD"},
	"ER_PHA_F": {"EXE_SOI_DTD", "PHA_PRS_C13", "PHA_ACT_QSN"},
	"T_MCOaaB": {"EXE_SOI_DTD", "DGN_PAL", "SEJ_NBJ"},
}

func schema() contract.DatasetSchema {
	s := contract.DatasetSchema{Holder: holder, Dataset: dataset, Version: 1}
	for _, t := range tables {
		out := contract.Table{Name: t.name, EventDate: t.event, Columns: []contract.Column{{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey}}}
		for _, c := range t.columns {
			out.Columns = append(out.Columns, contract.Column{Name: c.name, Type: c.kind})
		}
		s.Tables = append(s.Tables, out)
	}
	return s
}

// permitOf asks for two of three years of the persons with a stay for diabetes, or for one other code, in
// all three: one person in a hundred.
func permitOf() *contract.Permit {
	p := &contract.Permit{
		Schema: contract.PermitSchema, ID: "permit-bench", Version: 1, Kind: contract.PermitData, MinCell: 11, Reviewers: 2,
		Period:          contract.Period{From: "2020-01-01", To: "2021-12-31"},
		Cohort:          contract.Cohort{Period: contract.Period{From: "2020-01-01", To: "2022-12-31"}},
		OptOut:          contract.OptOut{Honoured: true},
		PseudonymDomain: "bench", Datasets: []contract.DatasetScope{{Holder: holder, Dataset: dataset}},
	}
	p.Cohort.AnyOf = []contract.Criterion{{Holder: holder, Dataset: dataset, Table: "T_MCOaaB", Column: "DGN_PAL", Codes: []string{"E11", "A101"}, Prefix: true}}
	for _, t := range tables {
		p.Datasets[0].Tables = append(p.Datasets[0].Tables, contract.TableScope{Table: t.name, Columns: kept[t.name]})
	}
	return p
}

func ticket(p int64) [16]byte { return md5.Sum(fmt.Appendf(nil, "%d", p)) }
func hub(p int64) [16]byte    { return md5.Sum(fmt.Appendf(nil, "hub %d", p)) }

// roll is the objection of one person in 49.
func roll(people int64) (out []byte) {
	for p := int64(0); p < people; p += 49 { // 49 and 100 have no common divisor: some of them are in the cohort
		h := hub(p)
		out = append(out, h[:]...)
	}
	return out
}

// fill makes a delivery, in the order in which events happened, and publishes it.
func fill(ctx context.Context, o options, base string, l *lake.Lake) (*lake.Snapshot, error) {
	incoming := filepath.Join(base, "incoming")
	if err := os.RemoveAll(incoming); err != nil {
		return nil, err
	}
	begun := time.Now()
	d := contract.Delivery{Schema: contract.DeliverySchema, ID: "bench", Dataset: schema(), CreatedAt: begun.UTC(), Tickets: o.People}
	if err := os.MkdirAll(filepath.Join(base, "tmp"), 0o700); err != nil {
		return nil, err
	}
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{base}, Temp: filepath.Join(base, "tmp"), Memory: o.Memory, Threads: o.Threads, Prepare: []string{"SET preserve_insertion_order = false"}})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, fmt.Sprintf("CREATE TABLE persons AS SELECT p, md5(p::VARCHAR)::UUID AS ticket FROM range(%d) t(p)", o.People)); err != nil {
		return nil, err
	}
	for _, t := range tables {
		if err := os.MkdirAll(filepath.Join(incoming, t.name), 0o700); err != nil {
			return nil, err
		}
		rows := o.Rows * t.percent / 100
		source := fmt.Sprintf("(SELECT i, hash(i) %% %d AS p FROM range(%d) r(i))", o.People, rows)
		if t.percent == 0 {
			rows, source = o.People, fmt.Sprintf("(SELECT i, i AS p FROM range(%d) r(i))", o.People)
		}
		list := []string{"ticket"}
		for _, c := range t.columns {
			list = append(list, fmt.Sprintf("CAST(%s AS %s) AS %s", c.sql, map[contract.ColumnType]string{
				contract.TypeString: "VARCHAR", contract.TypeInteger: "BIGINT", contract.TypeNumber: "DOUBLE", contract.TypeDate: "DATE"}[c.kind], duck.Ident(c.name)))
		}
		path := filepath.Join(incoming, t.name, "part-0")
		if _, err := db.ExecContext(ctx, "COPY (SELECT "+strings.Join(list, ", ")+" FROM "+source+" e JOIN persons USING (p)) TO "+duck.Text(path)+" (FORMAT parquet, COMPRESSION zstd)"); err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		d.Parts = append(d.Parts, contract.FilePart{Table: t.name, Name: "part-0", Rows: rows, Bytes: info.Size(), Digest: contract.DigestOf(nil)})
	}
	db.Close()
	fmt.Printf("delivery made in %.0f s\n", time.Since(begun).Seconds())
	sheet, err := lake.ParseSheet(sheetBytes(o.People), d.ID)
	if err != nil {
		return nil, err
	}
	p, err := measure(func() error {
		_, err := l.Publish(ctx, d, incoming, sheet, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	fmt.Printf("published in %s, %.2f million rows/s, peak memory %s\n", p, float64(o.Rows+o.People)/1e6/p.clock.Seconds(), peak())
	if err := os.RemoveAll(incoming); err != nil {
		return nil, err
	}
	return l.Snapshot()
}

func sheetBytes(people int64) []byte {
	header, err := json.Marshal(contract.TicketSheetHeader{Schema: lake.SheetSchema, Delivery: "bench", Rows: people, Epoch: 1})
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	out := append(header, '\n')
	for p := range people {
		t, h := ticket(p), hub(p)
		out = append(append(out, t[:]...), h[:]...)
	}
	return out
}

// filteringJoin is the bare SQL: the cohort's persons, and each table's permitted columns of their rows in
// the period. No objections, pseudonyms, counts, order, digests or seals.
func filteringJoin(ctx context.Context, o options, lakeDir string, resolved *plan.Plan, out string) error {
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{lakeDir, out}, Memory: o.Memory, Threads: o.Threads, Prepare: []string{"SET preserve_insertion_order = false"}})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE cohort AS SELECT DISTINCT h FROM ("+resolved.Cohort.Persons()+")"); err != nil {
		return err
	}
	for _, t := range resolved.Tables {
		list := []string{"t.h"}
		for _, c := range t.Keep {
			list = append(list, "t."+duck.Ident(c.Name))
		}
		where := ""
		if t.EventDate != "" {
			where = " WHERE " + plan.InPeriod(t.Table, "t.", resolved.Permit.Period)
		}
		if _, err := db.ExecContext(ctx, "COPY (SELECT "+strings.Join(list, ", ")+" FROM "+duck.Parquet(t.Manifest.Files(t.Table))+" t JOIN cohort c ON t.h = c.h"+where+") TO "+
			duck.Text(filepath.Join(out, t.FileName))+" (FORMAT parquet, COMPRESSION zstd)"); err != nil {
			return err
		}
	}
	return nil
}
