package linkage

import (
	"slices"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/trust/identity"
)

// Names of the rules in LinkReport.ByRule.
const (
	RuleNIR   = "nir"
	RuleBirth = "birth_traits"
	RuleUsed  = "used_traits"
	RuleOwner = "owner_nir"
	RuleLocal = "local_id"
)

// Batch is the records of one delivery, encoded for one index.
type Batch struct {
	ix      *Index
	source  string
	records []variant
	report  contract.LinkReport
}

// NewBatch starts a delivery of the dataset source ("holder/dataset").
func (ix *Index) NewBatch(source string, records int) *Batch {
	return &Batch{ix: ix, source: source, records: make([]variant, 0, records), report: contract.LinkReport{ByRule: map[string]int64{}}}
}

// Add appends a record; it is number Len()-1 in what Link returns.
func (b *Batch) Add(t *identity.Traits) {
	b.records = append(b.records, b.ix.encode(t, b.source))
	switch t.NIRKind {
	case identity.NIRInvalid, identity.NIRSentinel:
		b.report.InvalidNIR++
	}
}

// Len returns how many records were added.
func (b *Batch) Len() int { return len(b.records) }

// Link gives each record its person, by the cascade, and adds new persons and new spellings to the index.
// Records with an own NIR go first, so that the outcome depends as little as possible on the order.
func (b *Batch) Link() ([]int32, contract.LinkReport) {
	ix, known := b.ix, int32(b.ix.Persons())
	persons := make([]int32, len(b.records))
	// Persons that records of this person table are about already, and the owners under whom they stand there.
	taken := map[int32][]uint64{}
	seen := map[int32]bool{} // of the persons known before
	b.report.Records = int64(len(b.records))
	for _, withNIR := range []bool{true, false} {
		for i := range b.records {
			v := &b.records[i]
			if (v.nir != 0) != withNIR {
				continue
			}
			person, rule, ambiguous := ix.decide(v, func(p int32) bool { return v.local != 0 && slices.Contains(taken[p], v.owner) })
			switch {
			case rule != "":
				b.report.ByRule[rule]++
			default:
				person = ix.newPerson()
				b.report.NewPersons++
				if ambiguous {
					b.report.Ambiguous++
				} else if v.nir == 0 && v.local == 0 && !v.underOwner() && !(v.identifies() && (v.birth != 0 || v.used != 0)) {
					b.report.Unlinkable++
				}
			}
			if v.contested {
				b.report.ContestedNIR++
			}
			if person < known && !seen[person] {
				seen[person] = true
				b.report.KnownPersons++
			}
			if v.local != 0 {
				taken[person] = append(taken[person], v.owner)
			}
			ix.attach(person, *v)
			persons[i] = person
		}
	}
	return persons, b.report
}

// decide runs the cascade for one record; it changes nothing but v.contested. excluded names persons that
// another record of the same person table is about under the same owner. rule is "" when no rule gives exactly one person.
func (ix *Index) decide(v *variant, excluded func(int32) bool) (person int32, rule string, ambiguous bool) {
	if v.nir != 0 {
		if p, ok := ix.nir[v.nir]; ok {
			if ix.agrees(v, p) {
				return p, RuleNIR, false
			}
			v.contested = true // one number, two persons: it identifies the first only
		}
	}
	fits := func(p int32) bool {
		return !excluded(p) && (v.nir == 0 || ix.own[p] == 0 || ix.own[p] == v.nir) && !ix.apart(v, p)
	}
	var found int32
	var n int
	collect := func(p int32) {
		if fits(p) {
			found = p
			n++
		}
	}
	if v.identifies() {
		if v.birth != 0 {
			ix.birth.each(v.key(v.birth), collect)
			if n == 1 {
				return found, RuleBirth, false
			}
		}
		if n == 0 {
			var a, b int32 = -1, -1 // the same person may be found under both names
			one := func(into *int32) func(int32) {
				return func(p int32) {
					if fits(p) && p != a && p != b {
						*into = p
						n++
					}
				}
			}
			if v.birth != 0 {
				ix.any.each(v.key(v.birth), one(&a))
			}
			if v.used != 0 && v.used != v.birth && n < 2 {
				ix.any.each(v.key(v.used), one(&b))
			}
			if n == 1 {
				return max(a, b), RuleUsed, false
			}
		}
	}
	ambiguous = n > 1
	if !ambiguous && v.underOwner() {
		n = 0
		ix.owner.each(v.ownerKey(), collect)
		if n == 1 {
			return found, RuleOwner, false
		}
		ambiguous = n > 1
	}
	if v.local != 0 {
		p, ok := ix.locals[localKey{v.source, v.local}]
		if ok && fits(p) && ix.conflicts(v, p) <= 1 {
			return p, RuleLocal, false
		}
	}
	return -1, "", ambiguous
}

// apart reports what keeps two persons of equal names and birth date apart: twin ranks or places of birth
// that are known and differ from all that the person is known by.
func (ix *Index) apart(v *variant, p int32) bool {
	twin, place := compare{}, compare{}
	for i := ix.first[p]; i >= 0; i = ix.variants[i].next {
		o := &ix.variants[i]
		twin.see(uint32(v.twin), uint32(o.twin))
		place.see(v.place, o.place)
	}
	return twin.differs() || place.differs()
}

// compare gathers whether a value equals one of several known ones.
type compare struct{ known, equal bool }

func (c *compare) see(a, b uint32) {
	if a != 0 && b != 0 {
		c.known = true
		c.equal = c.equal || a == b
	}
}

func (c compare) differs() bool { return c.known && !c.equal }

// view compares a record's traits with all that a person is known by.
type view struct{ date, sex, given, name, twin compare }

func (ix *Index) view(v *variant, p int32) view {
	var w view
	for i := ix.first[p]; i >= 0; i = ix.variants[i].next {
		o := &ix.variants[i]
		if v.date != 0 && o.date != 0 {
			w.date.known = true
			w.date.equal = w.date.equal || !v.date.Conflicts(o.date)
		}
		w.sex.see(uint32(v.sex), uint32(o.sex))
		w.given.see(v.given, o.given)
		w.twin.see(uint32(v.twin), uint32(o.twin))
		w.name.see(v.birth, o.birth)
		w.name.see(v.birth, o.used)
		w.name.see(v.used, o.birth)
		w.name.see(v.used, o.used)
	}
	return w
}

// agrees is the trait check of the NIR rule: a number alone may have been written by mistake for a child,
// a twin or a neighbour in the list.
func (ix *Index) agrees(v *variant, p int32) bool {
	w := ix.view(v, p)
	switch {
	case w.twin.differs():
		return false
	case w.date.equal:
		return !w.sex.differs() || w.given.equal
	case !w.date.known:
		return !w.sex.differs() && !w.given.differs()
	default: // a slip in the date of birth, if all else is equal
		return !w.sex.differs() && w.given.equal && w.name.equal
	}
}

// conflicts counts the traits in which a record contradicts a person.
func (ix *Index) conflicts(v *variant, p int32) int {
	w := ix.view(v, p)
	n := 0
	for _, c := range []compare{w.date, w.sex, w.given, w.name} {
		if c.differs() {
			n++
		}
	}
	return n
}

// Find returns the one person that the traits fit, reading only. found is false when none or more than
// one does.
func (ix *Index) Find(t *identity.Traits) (Number, bool) {
	v := ix.encode(t, "")
	p, rule, _ := ix.decide(&v, func(int32) bool { return false })
	if rule == "" {
		return Number{}, false
	}
	return ix.numbers[p], true
}
