package sample

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// nirValid is a slow, obvious check of a national number: the key by long division of the whole number.
func nirValid(s string) bool {
	if len(s) != 15 {
		return false
	}
	body := s[:13]
	switch body[5:7] {
	case "2A":
		body = body[:5] + "19" + body[7:]
	case "2B":
		body = body[:5] + "18" + body[7:]
	}
	n, ok := new(big.Int).SetString(body, 10)
	if !ok {
		return false
	}
	key := 97 - new(big.Int).Mod(n, big.NewInt(97)).Int64()
	want := string(rune('0'+key/10)) + string(rune('0'+key%10))
	return s[13:] == want
}

func TestNIRKeyOfAKnownNumber(t *testing.T) {
	// The specimen that French public services print on model cards.
	if key := nirKey([]byte("2550814168025")); key != 38 {
		t.Errorf("key %d, want 38", key)
	}
}

func TestNIRKeyAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		birth := day(rapid.Int32Range(firstDay, 20000).Draw(t, "birth"))
		at := places[rapid.IntRange(0, len(places)-1).Draw(t, "place")]
		first := rapid.SampledFrom([]byte("1278")).Draw(t, "first")
		order := rapid.IntRange(1, 999).Draw(t, "order")
		n := makeNIR(first, birth, at.code, order)
		if !nirValid(string(n[:])) {
			t.Fatalf("%s is not valid", n)
		}
	})
}

func TestTrueNumbers(t *testing.T) {
	c := theCountry(t)
	seen := map[string]bool{}
	corsica, overseas, abroad := 0, 0, 0
	for n, p := range c.people(t) {
		switch {
		case !nirValid(p.nir):
			t.Fatalf("person %d: %s is not valid", n, p.nir)
		case seen[p.nir]:
			t.Fatalf("person %d: %s is somebody else's", n, p.nir)
		case p.nir[:1] != p.sex || p.nir[1:3] != p.birth[2:4] || p.nir[3:5] != p.birth[5:7]:
			t.Fatalf("person %d: %s does not fit sex %s and birth %s", n, p.nir, p.sex, p.birth)
		}
		seen[p.nir] = true
		switch d := p.nir[5:7]; {
		case d == "2A" || d == "2B":
			corsica++
		case d == "97":
			overseas++
		case d == "99":
			abroad++
		}
		if p.birth < "1976" && (p.nir[5:7] == "2A" || p.nir[5:7] == "2B") {
			t.Errorf("person %d: born %s in Corsica, number %s; the departments were one, 20", n, p.birth, p.nir)
		}
	}
	if corsica == 0 || overseas < testPeople/200 || abroad < testPeople/50 {
		t.Errorf("%d born in Corsica, %d overseas, %d abroad", corsica, overseas, abroad)
	}
}

// What is wrong with records is what the truth file says, at the rates of the holder.
func TestDirtOfInsurer(t *testing.T) {
	c := theCountry(t)
	people, owners := c.people(t), c.owners(t, "cnam/snds")
	truth := c.table(t, "truth-records")
	wrong := map[string]string{}
	for _, r := range truth.rows {
		if truth.get(r, "DATASET") == "cnam/snds" {
			wrong[truth.get(r, "RECORD")] = truth.get(r, "ALTERED")
		}
	}
	x := c.table(t, "cnam/snds/IR_BEN_R")
	counts := map[string]int{}
	perPerson := map[int]int{}
	for _, r := range x.rows {
		key := x.get(r, "BEN_IDT_ANO")
		p, notes := people[owners[key]], strings.Fields(wrong[key])
		perPerson[owners[key]]++
		has := func(s string) bool { return slices.Contains(notes, s) }
		for _, n := range notes {
			counts[n]++
		}
		got := x.get(r, "BEN_NIR")
		switch {
		case has("nir_owner"):
			if owner := x.get(r, "ASS_NIR"); !nirValid(owner) || owner == p.nir {
				t.Fatalf("%s: number of the parent is %q", key, owner)
			}
		case has("nir_provisional"):
			if !nirValid(got) || (got[0] != '7' && got[0] != '8') {
				t.Fatalf("%s: provisional number %q", key, got)
			}
		case has("nir_blank"):
			if got != "" {
				t.Fatalf("%s: number %q, should be blank", key, got)
			}
		case has("nir_key"), has("nir_digits"):
			if nirValid(got) {
				t.Fatalf("%s: number %q is valid, should be damaged", key, got)
			}
		case has("nir_partner"):
			if !nirValid(got) || got == p.nir {
				t.Fatalf("%s: number %q, should be the partner's", key, got)
			}
		default:
			if got != p.nir {
				t.Fatalf("%s: number %q, want %q", key, got, p.nir)
			}
		}
		if birth := x.get(r, "BEN_NAI_DTE"); (birth != p.birth) != has("birth_date") {
			t.Fatalf("%s: birth date %s, truth %s, notes %v", key, birth, p.birth, notes)
		}
		if sex := x.get(r, "BEN_SEX"); (sex != p.sex) != has("sex") {
			t.Fatalf("%s: sex %s, truth %s, notes %v", key, sex, p.sex, notes)
		}
		clean := !has("typo") && !has("hyphen") && !has("swapped")
		if clean && string(fold(nil, x.get(r, "BEN_NOM_NAI"))) != string(fold(nil, p.birthName)) {
			t.Fatalf("%s: name %q, truth %q, notes %v", key, x.get(r, "BEN_NOM_NAI"), p.birthName, notes)
		}
	}
	n := float64(len(x.rows))
	for name, bound := range map[string][2]float64{"nir_blank": {.004, .03}, "nir_key": {.0005, .01}, "nir_digits": {.0005, .01}, "typo": {.003, .02}, "birth_date": {.0005, .008}, "nir_owner": {.15, .35}, "nir_provisional": {.001, .015}} {
		if got := float64(counts[name]) / n; got < bound[0] || got > bound[1] {
			t.Errorf("%s in %.4f of the records, want %.4f to %.4f", name, got, bound[0], bound[1])
		}
	}
	two := 0
	for _, k := range perPerson {
		if k == 2 {
			two++
		}
	}
	if share := float64(two) / testPeople; len(perPerson) != testPeople || share < .03 || share > .12 {
		t.Errorf("%d persons with a record, %.3f with two", len(perPerson), share)
	}
}

func TestFamilies(t *testing.T) {
	people := theCountry(t).people(t)
	twins, children := 0, 0
	for n, p := range people {
		if p.mother != 0 {
			m := people[p.mother]
			if m.sex != "2" || ageAt(parseDay(t, m.birth), parseDay(t, p.birth)) < 18 || (m.death != "" && m.death < p.birth) {
				t.Errorf("person %d, born %s: mother born %s, sex %s, died %q", n, p.birth, m.birth, m.sex, m.death)
			}
			children++
		}
		if p.twin != 0 {
			other := people[p.twin]
			if other.twin != n || other.birth != p.birth || other.mother != p.mother || other.given == p.given || other.nir == p.nir {
				t.Errorf("persons %d and %d are no twins: %+v, %+v", n, p.twin, p, other)
			}
			twins++
		}
	}
	if children < testPeople/6 || twins < 10 {
		t.Errorf("%d children with a mother, %d twins", children, twins)
	}
}

func parseDay(t *testing.T, s string) day {
	t.Helper()
	return dayOf(number(t, s[:4]), number(t, s[5:7]), number(t, s[8:10]))
}

func TestCitizens(t *testing.T) {
	c := theCountry(t)
	raw, err := os.ReadFile(filepath.Join(c.dir, "citizens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []Citizen
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	people := c.people(t)
	tags := map[string]int{}
	for _, z := range list {
		p := people[int(z.Person)]
		if p.death != "" || p.birth > "2007-12-31" || z.NIR != p.nir || z.FamilyName != p.birthName || z.UsedName != p.usedName || z.GivenName != p.given || z.BirthDate != p.birth || z.Sex != p.sex {
			t.Errorf("citizen %+v is not the living adult %+v", z, p)
		}
		for _, tag := range z.Tags {
			tags[tag]++
		}
	}
	for _, tag := range []string{tagTwin, tagNameChange, tagParentNIR, tagCorsica, tagOverseas, tagAbroad, tagStudent, tagMoved, tagOrdinary} {
		if tags[tag] == 0 {
			t.Errorf("nobody with tag %s among %d citizens", tag, len(list))
		}
	}
}

func TestFoldLeavesCapitals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(surnames).Draw(t, "name")
		for _, r := range string(fold(nil, s)) {
			if !(r >= 'A' && r <= 'Z') && r != ' ' && r != '-' && r != '\'' {
				t.Fatalf("%q folds to %q", s, fold(nil, s))
			}
		}
	})
	for _, eras := range givenByEra {
		for _, list := range eras {
			for _, s := range list {
				if f := string(fold(nil, s)); strings.ContainsFunc(f, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsLower(r) }) {
					t.Errorf("%q folds to %q", s, f)
				}
			}
		}
	}
}

func TestMistypeChangesOneStroke(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[A-Z]{4,12}`).Draw(t, "name")
		r := stream(rapid.Uint64().Draw(t, "seed"), 0, 0)
		got := mistype([]byte(s), &r)
		if d := len(got) - len(s); d < -1 || d > 1 || string(got) == "" || got[0] != s[0] && got[0] != s[1] {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
