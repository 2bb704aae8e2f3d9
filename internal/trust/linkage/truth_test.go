package linkage

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/sample"
	"github.com/mitral-health/mitral/internal/trust/identity"
)

func readCSV(t testing.TB, path string) (head []string, rows [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %d rows, %v", path, len(all), err)
	}
	return all[0], all[1:]
}

// identities reads the identity columns of a holder's table as its agent would send them, with the record's name in the truth.
func identities(t testing.TB, dir string, table contract.Table) (ids []contract.Identity, names []string) {
	t.Helper()
	head, rows := readCSV(t, filepath.Join(dir, table.Name+".csv"))
	for _, row := range rows {
		var id contract.Identity
		fields := map[contract.ColumnRole]*string{
			contract.RolePersonKey: &id.LocalID, contract.RoleNIR: &id.NIR, contract.RoleOwnerNIR: &id.OwnerNIR, contract.RoleTwinRank: &id.TwinRank,
			contract.RoleBirthName: &id.BirthName, contract.RoleUsedName: &id.UsedName, contract.RoleGivenName: &id.GivenName,
			contract.RoleBirthDate: &id.BirthDate, contract.RoleSex: &id.Sex, contract.RoleBirthPlace: &id.BirthPlace,
		}
		for _, c := range table.Columns {
			if into, ok := fields[c.Role]; ok {
				*into = row[slices.Index(head, c.Name)]
			}
		}
		ids = append(ids, id)
		names = append(names, row[0])
	}
	return ids, names
}

// TestTruth links the sample country and compares with the truth about it. Precision is what counts here: at least 0.999
// of the pairs of records that are said to be one person are. Recall is printed; probabilistic linkage raises it.
func TestTruth(t *testing.T) {
	people := 3000
	if v := os.Getenv("MITRAL_TRUTH_PEOPLE"); v != "" {
		var err error
		if people, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "country")
	if _, err := sample.Generate(t.Context(), sample.Options{People: people, Seed: 11, Years: 3, Out: dir, Format: sample.CSV}); err != nil {
		t.Fatal(err)
	}
	head, rows := readCSV(t, filepath.Join(dir, "truth-records.csv"))
	truth, altered := map[[2]string]string{}, map[[2]string]string{}
	col := func(name string) int { return slices.Index(head, name) }
	for _, r := range rows {
		key := [2]string{r[col("DATASET")], r[col("RECORD")]}
		truth[key], altered[key] = r[col("PERSON")], r[col("ALTERED")]
	}
	type record struct {
		key    [2]string
		person int32
	}
	var linked []record
	ix := NewIndex(people)
	for _, source := range []string{"cnam/snds", "sante-publique/oscour", "registre-moelle/greffes", "institut-sarcome/cohorte", "universites/etudiants"} {
		folder := filepath.Join(dir, "holders", source)
		b, err := os.ReadFile(filepath.Join(folder, "schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		var schema contract.DatasetSchema
		if err := json.Unmarshal(b, &schema); err != nil {
			t.Fatal(err)
		}
		for _, table := range schema.Tables {
			if !table.HasIdentity() {
				continue
			}
			ids, names := identities(t, folder, table)
			batch := ix.NewBatch(source, len(ids))
			for i := range ids {
				traits := identity.Normalise(&ids[i], time.Now())
				batch.Add(&traits)
			}
			start := time.Now()
			persons, report := batch.Link()
			for i, p := range persons {
				linked = append(linked, record{[2]string{source, names[i]}, p})
			}
			t.Logf("%s: %d records in %.2f s, new persons %d, by rule %v, ambiguous %d, invalid NIR %d, contested %d", source, report.Records, time.Since(start).Seconds(), report.NewPersons, report.ByRule, report.Ambiguous, report.InvalidNIR, report.ContestedNIR)
		}
	}
	pairs := func(n int) int { return n * (n - 1) / 2 }
	ours, theirs, both := map[int32]int{}, map[string]int{}, map[string]map[int32]int{}
	for _, r := range linked {
		person, ok := truth[r.key]
		if !ok {
			t.Fatalf("record %v is not in the truth", r.key)
		}
		ours[r.person]++
		theirs[person]++
		if both[person] == nil {
			both[person] = map[int32]int{}
		}
		both[person][r.person]++
	}
	var said, are, right int
	for _, n := range ours {
		said += pairs(n)
	}
	for _, n := range theirs {
		are += pairs(n)
	}
	missed := map[string]int{} // by what was altered in a record that is not where most of its person's records are
	for _, clusters := range both {
		for _, n := range clusters {
			right += pairs(n)
		}
	}
	for _, r := range linked {
		clusters := both[truth[r.key]]
		if most := slices.Max(slices.Collect(mapValues(clusters))); clusters[r.person] < most {
			missed[altered[r.key]]++
		}
	}
	precision, recall := float64(right)/float64(said), float64(right)/float64(are)
	t.Logf("%d records of %d persons in %d clusters: pairwise precision %.5f (%d of %d), recall %.4f (%d of %d)", len(linked), len(theirs), len(ours), precision, right, said, recall, right, are)
	t.Logf("records apart from their person, by alteration: %v", missed)
	if precision < 0.999 {
		t.Errorf("precision %.5f is below 0.999", precision)
	}
	if recall < 0.8 {
		t.Errorf("recall %.4f: a rule of the cascade is broken", recall)
	}
}

func mapValues(m map[int32]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}
