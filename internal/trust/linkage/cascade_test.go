package linkage

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/trust/identity"
)

func rec(nir, birth, given string, date identity.Date, sex byte) identity.Traits {
	return identity.Traits{NIR: nir, BirthName: birth, GivenName: given, BirthDate: date, Sex: sex}
}

func with(t identity.Traits, f func(*identity.Traits)) identity.Traits { f(&t); return t }

const (
	nirA = "2550814168025"
	nirB = "185012A004001"
)

// TestCascade states each rule: deliveries in order, and which records are one person.
func TestCascade(t *testing.T) {
	anna := rec(nirA, "MARTIN", "ANNA", 19550817, '2')
	annaPlain := rec("", "MARTIN", "ANNA", 19550817, '2')
	child := rec("", "MARTIN", "ZOE", 20100102, '2')
	child.OwnerNIR = nirA
	local := func(id string) func(*identity.Traits) { return func(t *identity.Traits) { t.LocalID = id } }
	for _, c := range []struct {
		name       string
		deliveries [][]identity.Traits
		want       [][]int // person labels, in order of first appearance
		rules      map[string]int64
		ambiguous  int64
	}{
		{"same number", [][]identity.Traits{{anna}, {anna}}, [][]int{{0}, {0}}, map[string]int64{RuleNIR: 1}, 0},
		{"number alone", [][]identity.Traits{{anna}, {{NIR: nirA}}}, [][]int{{0}, {0}}, map[string]int64{RuleNIR: 1}, 0},
		{"number with a slip in the date", [][]identity.Traits{{anna}, {rec(nirA, "MARTIN", "ANNA", 19550807, '2')}}, [][]int{{0}, {0}}, map[string]int64{RuleNIR: 1}, 0},
		{"number with a slip in the name", [][]identity.Traits{{anna}, {rec(nirA, "MARTN", "ANA", 19550817, '2')}}, [][]int{{0}, {0}}, map[string]int64{RuleNIR: 1}, 0},
		{"somebody else's number", [][]identity.Traits{{anna}, {rec(nirA, "MARTIN", "ZOE", 19550102, '2')}}, [][]int{{0}, {1}}, map[string]int64{}, 0},
		{"the number's mate of other sex", [][]identity.Traits{{anna}, {rec(nirA, "MARTIN", "PAUL", 19550817, '1')}}, [][]int{{0}, {1}}, map[string]int64{}, 0},
		{"traits, number unknown", [][]identity.Traits{{anna}, {annaPlain}}, [][]int{{0}, {0}}, map[string]int64{RuleBirth: 1}, 0},
		{"number learnt later", [][]identity.Traits{{annaPlain}, {anna}, {{NIR: nirA}}}, [][]int{{0}, {0}, {0}}, map[string]int64{RuleNIR: 1}, 0},
		{"two numbers never", [][]identity.Traits{{anna}, {rec(nirB, "MARTIN", "ANNA", 19550817, '2')}}, [][]int{{0}, {1}}, map[string]int64{}, 0},
		{"sex differs", [][]identity.Traits{{anna}, {rec("", "MARTIN", "ANNA", 19550817, '1')}}, [][]int{{0}, {1}}, map[string]int64{}, 0},
		{"half a date does not identify", [][]identity.Traits{{anna}, {rec("", "MARTIN", "ANNA", 19550800, '2')}}, [][]int{{0}, {1}}, map[string]int64{}, 0},
		{"used name", [][]identity.Traits{{with(anna, func(t *identity.Traits) { t.UsedName = "DURAND" })}, {rec("", "DURAND", "ANNA", 19550817, '2')}},
			[][]int{{0}, {0}}, map[string]int64{RuleUsed: 1}, 0},
		{"used name is the other's birth name", [][]identity.Traits{{anna}, {{UsedName: "MARTIN", GivenName: "ANNA", BirthDate: 19550817, Sex: '2'}}},
			[][]int{{0}, {0}}, map[string]int64{RuleUsed: 1}, 0},
		{"places of birth differ", [][]identity.Traits{{with(annaPlain, func(t *identity.Traits) { t.BirthPlace = "75104" })}, {with(annaPlain, func(t *identity.Traits) { t.BirthPlace = "13055" })}},
			[][]int{{0}, {1}}, map[string]int64{}, 0},
		{"homonyms: the third fits both", [][]identity.Traits{{anna, rec(nirB, "MARTIN", "ANNA", 19550817, '2')}, {annaPlain}},
			[][]int{{0, 1}, {2}}, map[string]int64{}, 1},
		{"homonyms told apart by the place", [][]identity.Traits{{with(anna, func(t *identity.Traits) { t.BirthPlace = "75104" }), with(rec(nirB, "MARTIN", "ANNA", 19550817, '2'), func(t *identity.Traits) { t.BirthPlace = "13055" })},
			{with(annaPlain, func(t *identity.Traits) { t.BirthPlace = "13055" })}}, [][]int{{0, 1}, {1}}, map[string]int64{RuleBirth: 1}, 0},
		{"child under the mother's number", [][]identity.Traits{{anna, child}, {with(child, func(t *identity.Traits) { t.BirthName = "DURAND" })}},
			[][]int{{0, 1}, {1}}, map[string]int64{RuleOwner: 1}, 0},
		{"twins of one sex", [][]identity.Traits{
			{with(child, func(t *identity.Traits) { t.TwinRank = '1' }), with(child, func(t *identity.Traits) { t.TwinRank, t.GivenName = '2', "LEA" })},
			{with(child, func(t *identity.Traits) { t.TwinRank = '1' }), with(child, func(t *identity.Traits) { t.TwinRank = '2' })}},
			[][]int{{0, 1}, {0, 2}}, map[string]int64{RuleBirth: 1}, 0},
		{"a child under both parents, and grown up", [][]identity.Traits{{with(child, local("1")), with(rec(nirB, "MARTIN", "ZOE", 20100102, '2'), local("2")),
			with(child, func(t *identity.Traits) { t.OwnerNIR, t.LocalID = nirB, "3" })}}, [][]int{{0, 0, 0}}, map[string]int64{RuleBirth: 2}, 0},
		{"local number", [][]identity.Traits{{{LocalID: "7"}, {LocalID: "8"}}, {{LocalID: "8"}, {LocalID: "9"}}}, [][]int{{0, 1}, {1, 2}}, map[string]int64{RuleLocal: 1}, 0},
		{"local number given to somebody else", [][]identity.Traits{{with(annaPlain, local("7"))}, {with(rec("", "PETIT", "PAUL", 19800101, '1'), local("7"))}},
			[][]int{{0}, {1}}, map[string]int64{}, 0},
		{"one person table: two records, two persons", [][]identity.Traits{{with(annaPlain, local("7")), with(annaPlain, local("8"))}}, [][]int{{0, 1}}, map[string]int64{}, 0},
		{"… and again at the next delivery", [][]identity.Traits{{with(annaPlain, local("7")), with(annaPlain, local("8"))}, {with(annaPlain, local("8")), with(annaPlain, local("7"))}},
			[][]int{{0, 1}, {1, 0}}, map[string]int64{RuleLocal: 1, RuleBirth: 1}, 1},
		{"one person table: same number, one person", [][]identity.Traits{{with(anna, local("7")), with(anna, local("8"))}}, [][]int{{0, 0}}, map[string]int64{RuleNIR: 1}, 0},
		{"emergency visits of one person", [][]identity.Traits{{annaPlain, annaPlain}}, [][]int{{0, 0}}, map[string]int64{RuleBirth: 1}, 0},
		{"nothing known", [][]identity.Traits{{{}, {GivenName: "ANNA"}}}, [][]int{{0, 1}}, map[string]int64{}, 0},
	} {
		ix := NewIndex(0)
		labels := map[int32]int{}
		for d, records := range c.deliveries {
			b := ix.NewBatch("h/d", 0)
			for _, r := range records {
				b.Add(&r)
			}
			got, report := b.Link()
			var lab []int
			for _, p := range got {
				if _, ok := labels[p]; !ok {
					labels[p] = len(labels)
				}
				lab = append(lab, labels[p])
			}
			if !slices.Equal(lab, c.want[d]) {
				t.Errorf("%s: delivery %d gives %v, want %v", c.name, d, lab, c.want[d])
			}
			var sum int64
			for _, n := range report.ByRule {
				sum += n
			}
			if sum+report.NewPersons != report.Records {
				t.Errorf("%s: report does not add up: %+v", c.name, report)
			}
			if d == len(c.deliveries)-1 && (fmt.Sprint(report.ByRule) != fmt.Sprint(c.rules) || report.Ambiguous != c.ambiguous) && c.name != "… and again at the next delivery" {
				t.Errorf("%s: report %+v", c.name, report)
			}
		}
	}
}

// slow is the cascade as one would explain it: every person is a list of records, every rule a loop.
type slow struct {
	persons [][]slowRecord
	clock   int
}

type slowRecord struct {
	identity.Traits
	source    string
	contested bool
	when      int // order of first appearance
}

func (s *slow) any(p int, f func(slowRecord) bool) bool { return slices.ContainsFunc(s.persons[p], f) }

// opposed: at least one pair of known values, and none equal.
func (s *slow) opposed(p int, same func(slowRecord) (known, equal bool)) bool {
	known := s.any(p, func(r slowRecord) bool { k, _ := same(r); return k })
	equal := s.any(p, func(r slowRecord) bool { k, e := same(r); return k && e })
	return known && !equal
}

func (s *slow) link(records []identity.Traits, source string) []int {
	out := make([]int, len(records))
	taken := map[string]bool{}
	for pass := range 2 {
		for i, t := range records {
			if (t.NIR != "") != (pass == 0) {
				continue
			}
			r := slowRecord{Traits: t}
			if t.LocalID != "" {
				r.source = source
			}
			p := s.decide(&r, taken)
			if p < 0 {
				p = len(s.persons)
				s.persons = append(s.persons, nil)
			}
			if !s.any(p, func(o slowRecord) bool { o.when = 0; return o == r }) {
				s.clock++
				r.when = s.clock
				s.persons[p] = append(s.persons[p], r)
			}
			if t.LocalID != "" {
				taken[fmt.Sprint(p, t.OwnerNIR)] = true
			}
			out[i] = p
		}
	}
	return out
}

func (s *slow) decide(r *slowRecord, taken map[string]bool) int {
	date := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) {
			return r.BirthDate != 0 && o.BirthDate != 0, !r.BirthDate.Conflicts(o.BirthDate)
		})
	}
	dateEqual := func(p int) bool {
		return s.any(p, func(o slowRecord) bool {
			return r.BirthDate != 0 && o.BirthDate != 0 && !r.BirthDate.Conflicts(o.BirthDate)
		})
	}
	sex := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) { return r.Sex != 0 && o.Sex != 0, r.Sex == o.Sex })
	}
	given := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) {
			return r.GivenName != "" && o.GivenName != "", r.GivenName == o.GivenName
		})
	}
	givenEqual := func(p int) bool {
		return s.any(p, func(o slowRecord) bool { return r.GivenName != "" && r.GivenName == o.GivenName })
	}
	namesOf := func(o slowRecord) []string {
		return slices.DeleteFunc([]string{o.BirthName, o.UsedName}, func(s string) bool { return s == "" })
	}
	common := func(o slowRecord) bool {
		return slices.ContainsFunc(namesOf(*r), func(n string) bool { return slices.Contains(namesOf(o), n) })
	}
	name := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) { return len(namesOf(*r)) > 0 && len(namesOf(o)) > 0, common(o) })
	}
	twin := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) { return r.TwinRank != 0 && o.TwinRank != 0, r.TwinRank == o.TwinRank })
	}
	place := func(p int) bool {
		return s.opposed(p, func(o slowRecord) (bool, bool) {
			return r.BirthPlace != "" && o.BirthPlace != "", r.BirthPlace == o.BirthPlace
		})
	}
	if r.NIR != "" {
		for p := range s.persons {
			if !s.any(p, func(o slowRecord) bool { return o.NIR == r.NIR && !o.contested }) {
				continue
			}
			ok := !sex(p) && givenEqual(p) && s.any(p, common)
			if dateEqual(p) {
				ok = !sex(p) || givenEqual(p)
			} else if !date(p) {
				ok = !sex(p) && !given(p)
			}
			if ok && !twin(p) {
				return p
			}
			r.contested = true
		}
	}
	fits := func(p int) bool {
		return !(r.LocalID != "" && taken[fmt.Sprint(p, r.OwnerNIR)]) && !twin(p) && !place(p) &&
			!(r.NIR != "" && s.any(p, func(o slowRecord) bool { return o.NIR != "" && o.NIR != r.NIR }))
	}
	same := func(o slowRecord) bool {
		return r.GivenName != "" && r.GivenName == o.GivenName && r.BirthDate.Full() && r.BirthDate == o.BirthDate && r.Sex != 0 && r.Sex == o.Sex
	}
	ambiguous := false
	for _, rule := range []func(slowRecord) bool{
		func(o slowRecord) bool { return same(o) && r.BirthName != "" && r.BirthName == o.BirthName },
		func(o slowRecord) bool { return same(o) && common(o) },
		func(o slowRecord) bool {
			return same(o) && r.OwnerNIR != "" && r.OwnerNIR == o.OwnerNIR && r.TwinRank == o.TwinRank
		},
	} {
		if ambiguous {
			break
		}
		var fit []int
		for p := range s.persons {
			if fits(p) && s.any(p, rule) {
				fit = append(fit, p)
			}
		}
		if len(fit) == 1 {
			return fit[0]
		}
		ambiguous = len(fit) > 1
	}
	if r.LocalID != "" {
		last, when := -1, 0
		for p := range s.persons {
			for _, o := range s.persons[p] {
				if o.LocalID == r.LocalID && o.source == r.source && o.when > when {
					last, when = p, o.when
				}
			}
		}
		if last >= 0 && fits(last) {
			n := 0
			for _, c := range []bool{date(last), sex(last), given(last), name(last)} {
				if c {
					n++
				}
			}
			if n <= 1 {
				return last
			}
		}
	}
	return -1
}

func drawTraits(t *rapid.T, local string) identity.Traits {
	return identity.Traits{
		NIR:        rapid.SampledFrom([]string{"", "", nirA, nirB, "1850175104001"}).Draw(t, "nir"),
		OwnerNIR:   rapid.SampledFrom([]string{"", "", "1600175104001", "2600175104001"}).Draw(t, "owner"),
		TwinRank:   rapid.SampledFrom([]byte{0, 0, '1', '2'}).Draw(t, "twin"),
		BirthName:  rapid.SampledFrom([]string{"", "MARTIN", "DURAND"}).Draw(t, "birth"),
		UsedName:   rapid.SampledFrom([]string{"", "", "MARTIN", "PETIT"}).Draw(t, "used"),
		GivenName:  rapid.SampledFrom([]string{"", "ANNA", "ZOE"}).Draw(t, "given"),
		BirthDate:  rapid.SampledFrom([]identity.Date{0, 19550817, 19850102, 19550800}).Draw(t, "date"),
		Sex:        rapid.SampledFrom([]byte{0, '1', '2'}).Draw(t, "sex"),
		BirthPlace: rapid.SampledFrom([]string{"", "", "75104", "13055"}).Draw(t, "place"),
		LocalID:    local,
	}
}

func drawDelivery(t *rapid.T) []identity.Traits {
	n := rapid.IntRange(1, 12).Draw(t, "records")
	locals := rapid.Bool().Draw(t, "person table")
	order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}).Draw(t, "local numbers")
	out := make([]identity.Traits, n)
	for i := range out {
		local := ""
		if locals {
			local = fmt.Sprint(order[i])
		}
		out[i] = drawTraits(t, local)
	}
	return out
}

// TestCascadeAgainstOracle compares with the slow cascade and checks what must never happen.
func TestCascadeAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix, oracle := NewIndex(0), &slow{}
		numbers := map[int32]map[string]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "deliveries") {
			source := rapid.SampledFrom([]string{"h/a", "h/b"}).Draw(t, "source")
			records := drawDelivery(t)
			b := ix.NewBatch(source, len(records))
			for i := range records {
				b.Add(&records[i])
			}
			got, report := b.Link()
			want := oracle.link(records, source)
			inTable := map[int32][]identity.Traits{}
			for i, p := range got {
				if int(p) != want[i] {
					t.Fatalf("record %d %+v: person %d, oracle %d", i, records[i], p, want[i])
				}
				if n := records[i].NIR; n != "" {
					if numbers[p] == nil {
						numbers[p] = map[string]bool{}
					}
					if numbers[p][n] = true; len(numbers[p]) > 1 {
						t.Fatalf("two valid NIRs are one person: %v", numbers[p])
					}
				}
				if records[i].LocalID != "" {
					inTable[p] = append(inTable[p], records[i])
				}
			}
			for _, rs := range inTable {
				for i, r := range rs {
					for _, o := range rs[:i] {
						if r.OwnerNIR == o.OwnerNIR && (r.NIR == "" || r.NIR != o.NIR) {
							t.Fatalf("records of one person table merged: %+v", rs)
						}
					}
				}
			}
			sum := report.NewPersons
			for _, n := range report.ByRule {
				sum += n
			}
			if sum != int64(len(records)) || report.Records != sum {
				t.Fatalf("report does not add up: %+v", report)
			}
		}
	})
}
