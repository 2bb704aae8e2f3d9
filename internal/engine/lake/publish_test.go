package lake_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// key makes a row comparable.
func key(r laketest.Row, columns []contract.Column, h any) string {
	parts := []string{}
	add := func(v any) { parts = append(parts, cmp.Diff(nil, v)) }
	add(h)
	for _, c := range columns {
		add(r[c.Name])
	}
	return strings.Join(parts, "|")
}

func TestPublishKeepsEveryRowUnderItsPerson(t *testing.T) {
	for _, buckets := range []int64{0, 1} { // one file, and sixteen buckets
		dir := t.TempDir()
		l, err := lake.Open(filepath.Join(dir, "lake"), filepath.Join(dir, "tmp"), lake.Options{Memory: "500MB", Threads: 2, BucketRows: buckets})
		if err != nil {
			t.Fatal(err)
		}
		data := laketest.Sample(seeded(1), 0, 40, 600)
		m := laketest.Publish(t, l, filepath.Join(dir, "incoming"), "d1", data)
		persons := map[[16]byte]bool{}
		for _, h := range data.Tickets {
			persons[h] = true
		}
		if m.Persons != int64(len(persons)) {
			t.Errorf("%d persons, want %d", m.Persons, len(persons))
		}
		for i := range m.Tables {
			table := &m.Tables[i]
			rows := laketest.ReadRows(t, m.Files(table)...)
			var want, got []string
			for _, r := range data.Rows[table.Name] {
				var h any
				if ticket, ok := r["ticket"].([16]byte); ok {
					h = data.Tickets[ticket]
				}
				want = append(want, key(r, table.Columns, h))
			}
			var last [16]byte
			for _, r := range rows {
				if _, ok := r["ticket"]; ok {
					t.Fatalf("%s: a ticket is in the lake", table.Name)
				}
				wantColumns := len(table.Columns)
				if table.Keyed {
					wantColumns++
					h := r["h"].([16]byte)
					if slices.Compare(last[:], h[:]) > 0 {
						t.Fatalf("%s: not sorted by person", table.Name)
					}
					last = h
				}
				if len(r) != wantColumns {
					t.Fatalf("%s: columns %v", table.Name, r)
				}
				got = append(got, key(r, table.Columns, r["h"]))
			}
			slices.Sort(want)
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s, bucket rows %d: %s", table.Name, buckets, d)
			}
			if table.Rows != int64(len(want)) {
				t.Errorf("%s: %d rows noted", table.Name, table.Rows)
			}
			if buckets == 1 && table.Name == "PRS" && len(table.Files) < 8 {
				t.Errorf("only %d buckets", len(table.Files))
			}
			for _, f := range table.Files {
				b, err := os.ReadFile(filepath.Join(l.Dir(), "cnam", "snds", "d1", f.Path))
				if err != nil {
					t.Fatal(err)
				}
				if contract.DigestOf(b) != f.Digest || int64(len(b)) != f.Bytes {
					t.Errorf("%s: size or digest is wrong", f.Path)
				}
			}
		}
		ben, _ := m.Table("BEN")
		note, _ := m.Table("NOTE")
		ref, _ := m.Table("REF")
		prs, _ := m.Table("PRS")
		if !ben.PersonTable || note.PersonTable || ref.Keyed || prs.PersonTable {
			t.Errorf("kinds of tables: %v %v %v %v", ben.PersonTable, note.PersonTable, ref.Keyed, prs.PersonTable)
		}
		if prs.From != "2019-12-31" || prs.To != "2023-01-01" {
			t.Errorf("period %s to %s", prs.From, prs.To)
		}
		years := map[string]int64{}
		for _, tab := range []string{"PRS", "RPU"} {
			for _, r := range data.Rows[tab] {
				for _, c := range []string{"DAY", "ENTRY"} {
					if d, ok := r[c].(string); ok {
						years[d[:4]]++
					}
				}
			}
		}
		if d := cmp.Diff(years, m.Years); d != "" {
			t.Error(d)
		}
	}
}

func TestPublishRefusesAndLeavesTheLakeAsItWas(t *testing.T) {
	l, incoming := laketest.Open(t)
	laketest.Publish(t, l, incoming, "good", laketest.Sample(seeded(1), 0, 10, 50))
	before, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	type setup struct {
		data  laketest.Data
		d     contract.Delivery
		dir   string
		sheet []byte
	}
	for name, c := range map[string]struct {
		code, says string
		data       func(*laketest.Data) // before it is written
		change     func(*setup)         // after
	}{
		"ticket unknown to trust": {"unknown_ticket", "1 have one", nil, func(s *setup) {
			for ticket, h := range s.data.Tickets { // another ticket in its place: the numbers agree
				delete(s.data.Tickets, ticket)
				s.data.Tickets[laketest.Ticket()] = h
				break
			}
			s.sheet = laketest.SheetBytes(t, "bad", s.data)
		}},
		"row without ticket": {"unknown_ticket", "1 rows have no ticket", func(d *laketest.Data) { d.Rows["PRS"][0]["ticket"] = nil }, nil},
		"sheet shorter":      {"counts_differ", "ticket sheet", nil, func(s *setup) { s.d.Tickets++ }},
		"rows differ":        {"counts_differ", "part part-0", nil, func(s *setup) { s.d.Parts[0].Rows++ }},
		"not Parquet": {"invalid", "not a Parquet file", nil, func(s *setup) {
			os.WriteFile(filepath.Join(s.dir, "PRS", "part-0"), []byte("PAR1 but no more"), 0o600)
		}},
		"truncated": {"invalid", "not a Parquet file", nil, func(s *setup) {
			os.Truncate(filepath.Join(s.dir, "PRS", "part-0"), 100)
		}},
		"column missing": {"invalid", "column QTY is missing", nil, func(s *setup) {
			other := laketest.Sample(seeded(2), 0, 10, 50)
			other.Schema.Tables[1].Columns = other.Schema.Tables[1].Columns[:4]
			laketest.WriteParts(t, s.dir, "bad", other, 1)
		}},
		"identity among the payload": {"invalid", "column NIR is not in the payload", nil, func(s *setup) {
			other := laketest.Sample(seeded(2), 0, 10, 50)
			other.Schema.Tables[0].Columns[1].Role = contract.RolePayload
			laketest.WriteParts(t, s.dir, "bad", other, 1)
		}},
		"other type": {"invalid", "column QTY is VARCHAR, declared is integer", nil, func(s *setup) {
			other := laketest.Sample(seeded(2), 0, 10, 50)
			other.Schema.Tables[1].Columns[4].Type = contract.TypeString
			laketest.WriteParts(t, s.dir, "bad", other, 1)
		}},
		"required empty": {"invalid", "required column YEAR is empty in 1 rows", func(d *laketest.Data) { d.Rows["BEN"][3]["YEAR"] = nil }, nil},
		"absurd date":    {"invalid", "outside the years", func(d *laketest.Data) { d.Rows["PRS"][0]["DAY"] = "0201-01-01" }, nil},
		"far future":     {"invalid", "outside the years", func(d *laketest.Data) { d.Rows["PRS"][0]["DAY"] = "9999-12-31" }, nil},
		"infinite date":  {"invalid", "outside the years", func(d *laketest.Data) { d.Rows["PRS"][0]["DAY"] = "infinity" }, nil},
		"reserved name":  {"invalid", "reserved", func(d *laketest.Data) { d.Schema.Tables[4].Columns[0].Name = "Person_ID" }, nil},
		"names that differ by case": {"invalid", "but for the case", nil, func(s *setup) {
			s.d.Dataset.Tables[1].Columns[2].Name = "qty"
		}},
		"identities sent here": {"invalid", "trusted third party", nil, func(s *setup) {
			s.d.Parts = append(s.d.Parts, contract.FilePart{Name: "ids", Digest: contract.DigestOf(nil)})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup{data: laketest.Sample(seeded(2), 0, 10, 50), dir: filepath.Join(t.TempDir(), "in")}
			if c.data != nil {
				c.data(&s.data)
			}
			s.d = laketest.WriteParts(t, s.dir, "bad", s.data, 1)
			s.sheet = laketest.SheetBytes(t, "bad", s.data)
			if c.change != nil {
				c.change(&s)
			}
			sheet, err := lake.ParseSheet(s.sheet, "bad")
			if err == nil {
				_, err = l.Publish(t.Context(), s.d, s.dir, sheet, nil)
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if contract.RefusalCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused with %v, want %s: … %s …", err, c.code, c.says)
			}
			after, err := l.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if after.ID != before.ID {
				t.Error("the lake changed")
			}
			left, _ := filepath.Glob(filepath.Join(l.Dir(), ".build", "*"))
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if _, err := os.Stat(filepath.Join(l.Dir(), "cnam", "snds", "bad")); err == nil {
				t.Error("a directory of the refused delivery is there")
			}
		})
	}
}

func TestPublishReplacesAndCollects(t *testing.T) {
	l, incoming := laketest.Open(t)
	ids := map[string]bool{}
	for i, id := range []string{"d1", "d2", "d3", "d4"} {
		laketest.Publish(t, l, incoming, id, laketest.Sample(seeded(uint64(i)), 0, 5, 20))
		s, err := l.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if s.Pointers["cnam/snds"] != id || ids[s.ID] {
			t.Fatalf("%v", s)
		}
		ids[s.ID] = true
		time.Sleep(time.Millisecond) // publications in the same microsecond have no order
	}
	held, err := l.At(map[string]string{"cnam/snds": "d1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(func(dataset, delivery string) bool { return dataset == "cnam/snds" && delivery == "d1" }); err != nil {
		t.Fatal(err)
	}
	there := func(id string) bool {
		_, err := os.Stat(filepath.Join(l.Dir(), "cnam", "snds", id))
		return err == nil
	}
	if !there("d1") || there("d2") || !there("d3") || !there("d4") {
		t.Errorf("d1 %v d2 %v d3 %v d4 %v", there("d1"), there("d2"), there("d3"), there("d4"))
	}
	m, _ := held.Dataset("cnam", "snds")
	ben, _ := m.Table("BEN")
	if rows := laketest.ReadRows(t, m.Files(ben)...); len(rows) == 0 {
		t.Error("the snapshot in use was emptied")
	}
	if err := l.Collect(func(string, string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if there("d1") {
		t.Error("d1 is still there")
	}
	if _, err := l.At(map[string]string{"cnam/snds": "d1"}); err == nil {
		t.Error("a collected delivery was found")
	}
}

func TestPublishTwiceIsHarmless(t *testing.T) {
	l, incoming := laketest.Open(t)
	data := laketest.Sample(seeded(1), 0, 5, 20)
	laketest.Publish(t, l, incoming, "d1", data)
	first, _ := l.Snapshot()
	laketest.Publish(t, l, incoming, "d1", data)
	second, err := l.Snapshot()
	if err != nil || first.ID != second.ID {
		t.Fatalf("%v: %s then %s", err, first.ID, second.ID)
	}
}

func TestPublishCancelled(t *testing.T) {
	l, incoming := laketest.Open(t)
	data := laketest.Sample(seeded(1), 0, 5, 20)
	dir := filepath.Join(incoming, "d1")
	d := laketest.WriteParts(t, dir, "d1", data, 1)
	sheet, err := lake.ParseSheet(laketest.SheetBytes(t, "d1", data), "d1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := l.Publish(ctx, d, dir, sheet, func(done, total int) { cancel() }); err == nil {
		t.Fatal("went on after it was cancelled")
	}
	s, err := l.Snapshot()
	if err != nil || len(s.Pointers) != 0 {
		t.Fatalf("%v, %v", s, err)
	}
	if _, err := l.Publish(t.Context(), d, dir, sheet, nil); err != nil {
		t.Fatalf("resumed: %v", err)
	}
}
