package catalogue_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/shareddata"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

func TestImportOfTheNationalSchemas(t *testing.T) {
	dir := shareddata.Path(t, "snds")
	r := open(t, sqlite(t), t.TempDir())
	start := time.Now()
	schemas, err := catalogue.ReadTableSchemas(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := time.Since(start)
	rep, err := r.ImportTableSchemas(t.Context(), "acct-op", schemas)
	if err != nil {
		t.Fatal(err)
	}
	stored := time.Since(start)
	t.Logf("%+v; read in %s, stored after %s", *rep, read, stored)
	if rep.Tables != 188 || rep.Variables != 4815 || rep.Datasets != 12 || rep.Changed != 12 {
		t.Errorf("imported %+v, want 188 tables and 4,815 variables in 12 datasets", *rep)
	}
	if rep.CodeLists < 290 || rep.Codes < 100_000 {
		t.Errorf("%d code lists with %d codes", rep.CodeLists, rep.Codes)
	}
	if stored > 10*time.Second && !testing.Short() {
		t.Errorf("took %s, want under 10 s", stored)
	}
	again, err := r.ImportTableSchemas(t.Context(), "acct-op", schemas)
	if err != nil || again.Changed != 0 {
		t.Errorf("importing again changed %d datasets, %v", again.Changed, err)
	}
	r.settle(t)
	t.Logf("searchable after %s", time.Since(start))

	all, err := r.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tables, variables := 0, 0
	for _, e := range all {
		if broken := catalogue.Validate(e.Description); !catalogue.Publishable(broken) {
			t.Errorf("%s breaks %v", e.Identifier(), broken)
		}
		tables += len(e.Tables)
		variables += e.VariableCount()
	}
	if tables != 188 || variables != 4815 {
		t.Errorf("published: %d tables, %d variables", tables, variables)
	}
	// Every variable is found by its own name.
	missing := 0
	for _, e := range all {
		for _, tab := range e.Tables {
			v := tab.Variables[len(tab.Variables)/2]
			res, err := r.Search(t.Context(), catalogue.Search{Text: v.Name, Lang: "fr", PerPage: 100})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range res.Datasets {
				found = found || d.Entry.Identifier() == e.Identifier()
			}
			if !found {
				missing++
				t.Errorf("%s.%s.%s is not found", e.Identifier(), tab.Name, v.Name)
			}
		}
	}
	t.Run("relevance", func(t *testing.T) { relevance(t, r) })
	t.Run("index is rebuilt", func(t *testing.T) {
		if err := r.Reindex(t.Context()); err != nil {
			t.Fatal(err)
		}
		res, err := r.Search(t.Context(), catalogue.Search{Text: "décès", Lang: "fr"})
		if err != nil || res.Total == 0 {
			t.Errorf("%+v, %v", res, err)
		}
	})
	lat := make([]time.Duration, 0, 200)
	for range 20 {
		for _, q := range []string{"diabète", "hospital stay", "ER_PHA_F", "date de soins", "kuolinsyy", "medicines", "code acte", "sexe", "établissement", "E11"} {
			t0 := time.Now()
			if _, err := r.Search(t.Context(), catalogue.Search{Text: q, Lang: "fr"}); err != nil {
				t.Fatal(err)
			}
			lat = append(lat, time.Since(t0))
		}
	}
	t.Logf("search: p95 %s", percentile(lat, 95))
}

// relevance asks what a person would, and looks whether the dataset she means is near the top.
func relevance(t *testing.T, r *room) {
	for _, c := range []struct{ lang, query, want string }{
		{"fr", "séjours hospitaliers en psychiatrie", "atih/pmsi-rimp"},
		{"en", "psychiatric hospital care", "atih/pmsi-rimp"},
		{"fi", "psykiatria", "atih/pmsi-rimp"},
		{"fr", "causes de décès", "inserm-cepidc/causes-of-death"},
		{"en", "cause of death", "inserm-cepidc/causes-of-death"},
		{"fi", "kuolinsyy", "inserm-cepidc/causes-of-death"},
		{"fr", "médicaments remboursés", "cnam/dcir"},
		{"en", "reimbursed medicines", "cnam/dcir"},
		{"fi", "lääkkeiden korvaukset", "cnam/dcir"},
		{"en", "diabetes expenditure", "cnam/disease-map"},
		{"fi", "kotisairaalahoito", "atih/pmsi-had"},
		{"fr", "hospitalisation à domicile", "atih/pmsi-had"},
		{"en", "rehabilitaton", "atih/pmsi-ssr"}, // typing error
		{"fr", "psychiatire", "atih/pmsi-rimp"},  // letters swapped
		{"fr", "reeducation", "atih/pmsi-ssr"},   // without accents
		{"fr", "T_MCO", "atih/pmsi-mco"},         // beginning of a table's name
	} {
		res, err := r.Search(t.Context(), catalogue.Search{Text: c.query, Lang: c.lang})
		if err != nil {
			t.Fatal(err)
		}
		place := -1
		var got []string
		for i, d := range res.Datasets {
			got = append(got, d.Entry.Identifier())
			if d.Entry.Identifier() == c.want && place < 0 {
				place = i
			}
		}
		if place < 0 || place > 2 {
			t.Errorf("%s %q: %s is at place %d of %v", c.lang, c.query, c.want, place+1, got)
		}
	}
}

func percentile(d []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)*p/100]
}

func TestImportRefusesWhatIsNoSchema(t *testing.T) {
	write := func(t *testing.T, files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const good = `{"name":"T_X","title":"Table X","produit":"DCIR","fields":[{"name":"A","description":"Une variable","type":"string","nomenclature":"IR_X_V:COD"}]}`
	for name, files := range map[string]map[string]string{
		"nothing":     {"README": "x"},
		"not JSON":    {"schemas/a.json": "{"},
		"no fields":   {"schemas/a.json": `{"name":"T_X","fields":[]}`},
		"bad name":    {"schemas/a.json": `{"name":"T X; DROP","fields":[{"name":"A"}]}`},
		"bad archive": {"schemas/a.json": good, "nomenclatures.tar.xz": "not xz"},
	} {
		if _, err := catalogue.ReadTableSchemas(write(t, files)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r := open(t, sqlite(t), t.TempDir())
	s, err := catalogue.ReadTableSchemas(write(t, map[string]string{"schemas/a.json": strings.ReplaceAll(good, "DCIR", "unheard of")}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ImportTableSchemas(t.Context(), "acct-op", s); err == nil || !strings.Contains(err.Error(), "unheard of") {
		t.Errorf("unknown family: %v", err)
	}
	s, err = catalogue.ReadTableSchemas(write(t, map[string]string{"schemas/sub/a.json": good, "nomenclatures/IR_X_V.csv": "COD;X_LIB\n1;Un\n1;Un encore\n2;Deux\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := r.ImportTableSchemas(t.Context(), "acct-op", s); err != nil || rep.Codes != 2 || rep.Variables != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	e, err := r.Published(t.Context(), "cnam", "dcir")
	if err != nil || e.Tables[0].Variables[0].CodeList != "IR_X_V" {
		t.Errorf("%+v, %v", e, err)
	}
	l, err := r.CodeList(t.Context(), "IR_X_V")
	if err != nil || l.Codes[1] != (catalogue.Code{Code: "2", Label: "Deux"}) {
		t.Errorf("%+v, %v", l, err)
	}
}

func FuzzReadTableSchemas(f *testing.F) {
	f.Add(`{"name":"T_X","title":"x","produit":"DCIR","fields":[{"name":"A","type":"string"}]}`, "COD;LIB\n1;a\n")
	f.Add(`{}`, "\ufeff\"")
	f.Fuzz(func(t *testing.T, schema, list string) {
		dir := t.TempDir()
		for _, d := range []string{"schemas", "nomenclatures"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "schemas", "a.json"), []byte(schema), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "nomenclatures", "L.csv"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := catalogue.ReadTableSchemas(dir)
		if err != nil {
			return
		}
		for _, l := range s.CodeLists {
			for _, c := range l.Codes {
				if c.Code == "" {
					t.Errorf("empty code in %s", l.Name)
				}
			}
		}
		if list, err := s.Descriptions(); err == nil && len(list) == 0 {
			t.Error("no description and no error")
		}
	})
}
