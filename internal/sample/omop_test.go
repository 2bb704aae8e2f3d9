package sample

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/shareddata"
)

func TestGiBleedIsDelivered(t *testing.T) {
	from := shareddata.Path(t, "omop", "gibleed")
	out := filepath.Join(t.TempDir(), "s")
	s := generate(t, Options{People: 60, Seed: 1, Years: 1, Out: out, Format: CSV, OMOP: from})
	if got := s.Rows["recherche/gibleed/person"]; got != 2694 {
		t.Errorf("%d persons, want 2,694", got)
	}
	dir := filepath.Join(out, "holders", HolderResearch, DatasetGiBleed)
	raw, err := os.ReadFile(filepath.Join(dir, "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema contract.DatasetSchema
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(); err != nil {
		t.Fatal(err)
	}
	persons := map[string]bool{}
	for _, table := range schema.Tables {
		x, err := readCSV(filepath.Join(dir, table.Name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		key, referred := x.at["person_id"]
		if referred != (table.PersonKey() == "person_id") {
			t.Errorf("%s: person key %q", table.Name, table.PersonKey())
		}
		if table.HasIdentity() != (table.Name == "person") {
			t.Errorf("%s: identity %v", table.Name, table.HasIdentity())
		}
		for n, row := range x.rows {
			for i, c := range table.Columns {
				if err := readable(c, row[i]); err != nil {
					t.Fatalf("%s line %d, %s: %v", table.Name, n+2, c.Name, err)
				}
			}
			if table.Name == "person" {
				persons[row[key]] = true
			} else if referred && !persons[row[key]] {
				t.Fatalf("%s line %d refers to unknown person %s", table.Name, n+2, row[key])
			}
		}
	}
	if bytes.Contains(raw, []byte("person_source_value")) || bytes.Contains(raw, []byte("day_of_birth")) {
		t.Error("the payload names the person")
	}
}

func TestReadOMOPRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not a number":   {"person_id,year_of_birth\n1,1950\n2,old\n", "line 3, column year_of_birth"},
		"too large":      {"person_id\n99999999999\n", "line 2, column person_id"},
		"no such date":   {"person_id,condition_start_date\n1,2023-02-30\n", "line 2, column condition_start_date"},
		"too old":        {"person_id,condition_start_date\n1,1723-02-03\n", "line 2, column condition_start_date"},
		"seconds":        {"visit_start_datetime\n2023-01-01 10:00:07\n", "line 2, column visit_start_datetime"},
		"three decimals": {"quantity\n0.125\n", "line 2, column quantity"},
		"short row":      {"person_id,year_of_birth\n1\n", "wrong number of fields"},
		"no header":      {"", "EOF"},
	} {
		if _, err := readOMOP(strings.NewReader(c.text), "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whatever is accepted is kept: the rows written again hold the same values.
func FuzzReadOMOP(f *testing.F) {
	f.Add("person_id,birth_datetime,year_of_birth,gender_source_value\n1,1949-01-27 00:00:00,1949,\"a,b\"\n")
	f.Add("measurement_id,value_as_number,measurement_date\n7,-1.25,2020-02-29\n")
	f.Add("concept_id,concept_name\n1,\"x \"\"y\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := readOMOP(strings.NewReader(text), "t")
		if err != nil || len(b.table.columns) == 0 {
			return
		}
		out := b.appendCSV(nil)
		got, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatalf("%q was written as %q: %v", text, out, err)
		}
		blank := 0 // a row of one empty cell is an empty line, which CSV readers skip
		if b.width == 1 {
			for _, v := range b.cells {
				if v == missing {
					blank++
				}
			}
		}
		if len(got)+blank != b.count() {
			t.Fatalf("%d rows read, %d written", b.count(), len(got))
		}
	})
}
