package sample

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// recordTables say which tables hold person records, under which column they are numbered in the truth
// file, and which tables refer to them.
var recordTables = []struct {
	dataset, table, key string
	referring           []string
}{
	{"cnam/snds", "IR_BEN_R", "BEN_IDT_ANO", []string{"ER_PRS_F", "ER_PHA_F", "T_MCOaaB", "KI_CCI_R"}},
	{"sante-publique/oscour", "RPU", "NUM_PASSAGE", nil},
	{"registre-moelle/greffes", "GREFFE", "NUM_GREFFE", nil},
	{"institut-sarcome/cohorte", "PATIENT", "NUM_PATIENT", []string{"SUIVI"}},
	{"universites/etudiants", "ETUDIANT", "NUM_ETUDIANT", []string{"QUESTIONNAIRE"}},
}

func TestSchemasAndFilesAgree(t *testing.T) {
	c := theCountry(t)
	for _, d := range datasets {
		dir := filepath.Join(c.dir, "holders", d.holder, d.name)
		raw, err := os.ReadFile(filepath.Join(dir, "schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		var s contract.DatasetSchema
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s/%s: %v", d.holder, d.name, err)
		}
		for _, table := range s.Tables {
			x := c.table(t, d.holder+"/"+d.name+"/"+table.Name)
			var want []string
			for _, col := range table.Columns {
				want = append(want, col.Name)
				for _, language := range []string{"fr", "en", "fi"} {
					if col.Title[language] == "" || table.Title[language] == "" {
						t.Errorf("%s.%s has no title in %s", table.Name, col.Name, language)
					}
				}
			}
			if !slices.Equal(want, x.head) {
				t.Errorf("%s: header %v, schema %v", table.Name, x.head, want)
			}
			for n, row := range x.rows {
				for i, col := range table.Columns {
					if err := readable(col, row[i]); err != nil {
						t.Fatalf("%s line %d, %s: %v", table.Name, n+2, col.Name, err)
					}
				}
			}
			if got := c.summary.Rows[d.holder+"/"+d.name+"/"+table.Name]; got != int64(len(x.rows)) {
				t.Errorf("%s: summary says %d rows, file has %d", table.Name, got, len(x.rows))
			}
		}
	}
}

type unreadable string

func (u unreadable) Error() string { return string(u) }

// readable checks a cell against its column, in the formats that a delivery accepts.
func readable(c contract.Column, v string) error {
	if v == "" {
		if c.Required {
			return unreadable("required cell is empty")
		}
		return nil
	}
	var err error
	switch c.Type {
	case contract.TypeInteger:
		_, err = strconv.ParseInt(v, 10, 64)
	case contract.TypeNumber:
		_, err = strconv.ParseFloat(v, 64)
	case contract.TypeDate:
		_, err = time.Parse(time.DateOnly, v)
	case contract.TypeTime:
		_, err = time.Parse("2006-01-02T15:04:05", v)
	}
	return err
}

func TestDescriptionsAreComplete(t *testing.T) {
	c := theCountry(t)
	for _, d := range datasets {
		raw, err := os.ReadFile(filepath.Join(c.dir, "holders", d.holder, d.name, "description.json"))
		if err != nil {
			t.Fatal(err)
		}
		var got Description
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if got.Holder != d.holder || got.Dataset != d.name || got.PeriodFrom != "2023-01-01" || got.PeriodTo != "2025-12-31" || got.Records == 0 || got.Individuals == 0 {
			t.Errorf("%s/%s: %+v", d.holder, d.name, got)
		}
		for _, language := range []string{"fr", "en", "fi"} {
			for i, text := range []Text{got.HolderName, got.Title, got.Description, got.Purpose, got.Provenance, got.Population, got.Access, got.Contact.Name} {
				if text[language] == "" {
					t.Errorf("%s/%s: text %d is missing in %s", d.holder, d.name, i, language)
				}
			}
			if len(got.Keywords[language]) < 3 {
				t.Errorf("%s/%s: few keywords in %s", d.holder, d.name, language)
			}
		}
		if len(got.Categories) == 0 || slices.ContainsFunc(got.Categories, func(s string) bool { return len(s) != 1 || s < "a" || s > "q" }) {
			t.Errorf("%s/%s: categories %v are not letters of Art. 51(1)", d.holder, d.name, got.Categories)
		}
	}
}

// Every key of an event table is a person record, every person record has exactly one true person, and
// no record is invented.
func TestReferencesHold(t *testing.T) {
	c := theCountry(t)
	people := c.people(t)
	if len(people) != testPeople {
		t.Fatalf("%d people, want %d", len(people), testPeople)
	}
	for _, r := range recordTables {
		x := c.table(t, r.dataset+"/"+r.table)
		owners := c.owners(t, r.dataset)
		seen := map[string]bool{}
		for _, row := range x.rows {
			key := x.get(row, r.key)
			if seen[key] {
				t.Fatalf("%s: key %s stands twice", r.table, key)
			}
			seen[key] = true
			if _, ok := people[owners[key]]; !ok {
				t.Fatalf("%s: record %s has no true person", r.table, key)
			}
		}
		if len(seen) != len(owners) {
			t.Errorf("%s: %d records, truth names %d", r.table, len(seen), len(owners))
		}
		for _, ref := range r.referring {
			y := c.table(t, r.dataset+"/"+ref)
			for _, row := range y.rows {
				if !seen[y.get(row, r.key)] {
					t.Fatalf("%s refers to unknown person %s", ref, y.get(row, r.key))
				}
			}
		}
	}
}

// A drug line joins exactly one claim line, on the keys that the real tables are joined by.
func TestPharmacyJoinsClaims(t *testing.T) {
	c := theCountry(t)
	claims, drugs := c.table(t, "cnam/snds/ER_PRS_F"), c.table(t, "cnam/snds/ER_PHA_F")
	key := func(x *cells, r []string) string {
		return x.get(r, "FLX_DIS_DTD") + " " + x.get(r, "FLX_EMT_NUM") + " " + x.get(r, "DCT_ORD_NUM") + " " + x.get(r, "PRS_ORD_NUM")
	}
	kinds := make(map[string]string, len(claims.rows))
	for _, r := range claims.rows {
		k := key(claims, r)
		if kinds[k] != "" {
			t.Fatalf("claim line %s stands twice", k)
		}
		kinds[k] = claims.get(r, "PRS_NAT_REF") + " " + claims.get(r, "BEN_IDT_ANO") + " " + claims.get(r, "EXE_SOI_DTD")
	}
	pharmacy := 0
	for _, kind := range kinds {
		switch kind[:4] {
		case "3312", "3313", "3317":
			pharmacy++
		}
	}
	if pharmacy != len(drugs.rows) {
		t.Errorf("%d pharmacy claims, %d drug lines", pharmacy, len(drugs.rows))
	}
	for _, r := range drugs.rows {
		if want := " " + drugs.get(r, "BEN_IDT_ANO") + " " + drugs.get(r, "EXE_SOI_DTD"); kinds[key(drugs, r)][4:] != want {
			t.Fatalf("drug line %s joins %q", key(drugs, r), kinds[key(drugs, r)])
		}
	}
}

func TestNothingBeforeBirthOrAfterDeath(t *testing.T) {
	c := theCountry(t)
	people := c.people(t)
	for _, r := range recordTables {
		owners := c.owners(t, r.dataset)
		for _, name := range append([]string{r.table}, r.referring...) {
			x := c.table(t, r.dataset+"/"+name)
			for _, column := range []string{"EXE_SOI_DTD", "EXE_SOI_DTF", "PRE_PRE_DTD", "BEN_DCD_DTE", "ENTREE", "SORTIE", "DATE_GREFFE", "DATE_DIAGNOSTIC", "DATE_DERNIERE_NOUVELLE", "DATE_SUIVI", "DATE_INCLUSION", "DATE_REPONSE"} {
				i, ok := x.at[column]
				if !ok {
					continue
				}
				for n, row := range x.rows {
					p, at := people[owners[x.get(row, r.key)]], row[i]
					if at == "" {
						continue
					}
					at = at[:10]
					if at < p.birth || (p.death != "" && at > p.death) || at > "2025-12-31" {
						t.Fatalf("%s line %d: %s is %s; born %s, died %q", name, n+2, column, at, p.birth, p.death)
					}
				}
			}
		}
	}
	// Care lies within the period as a whole.
	for _, name := range []string{"ER_PRS_F", "ER_PHA_F", "T_MCOaaB"} {
		x := c.table(t, "cnam/snds/"+name)
		for n, row := range x.rows {
			if at := x.get(row, "EXE_SOI_DTD"); at < "2023-01-01" {
				t.Fatalf("%s line %d: care on %s, before the period", name, n+2, at)
			}
		}
	}
}

func TestIntensity(t *testing.T) {
	c := theCountry(t)
	per := float64(c.summary.Events) / testPeople
	if per < 100 || per > 160 {
		t.Errorf("%.1f event rows per person, want 100 to 160", per)
	}
}
