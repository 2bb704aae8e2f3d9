package linkage

import (
	"crypto/rand"

	"github.com/mitral-health/mitral/internal/trust/identity"
)

// Number is the random number by which trust knows a person. It never leaves trust.
type Number [16]byte

// Index holds all known persons with the keys of each rule, in memory, for the time of one linkage:
// about 250 bytes per person. Strings are kept once and compared as integers.
type Index struct {
	words    map[string]uint32
	spelling []string // by code; 0 is ""

	numbers  []Number // by person
	first    []int32  // by person: its first variant, -1 none
	own      []uint64 // by person: the NIR it is known by, or once claimed; 0 none
	variants []variant

	nir    map[uint64]int32
	birth  postings[nameKey]
	any    postings[nameKey] // birth and used names
	owner  postings[ownerKey]
	locals map[localKey]int32

	saved        int // variants that are in the database
	savedPersons int
}

// variant is one way a person is written somewhere.
type variant struct {
	person, next                             int32 // next variant of the same person, -1 at the end
	birth, used, given, place, source, local uint32
	date                                     identity.Date
	nir, owner                               uint64
	sex, twin                                byte
	// contested: the NIR belongs to somebody else already. It keeps other numbers away but does not identify.
	contested bool
}

type nameKey struct {
	name, given uint32
	date        identity.Date
	sex         byte
}

type ownerKey struct {
	owner uint64
	given uint32
	date  identity.Date
	sex   byte
	twin  byte
}

type localKey struct{ source, local uint32 }

// postings is a map from a key to the persons that have it.
type postings[K comparable] struct {
	head map[K]int32
	list []posting
}

type posting struct{ person, next int32 }

func (p *postings[K]) add(k K, person int32) {
	at, ok := p.head[k]
	if !ok {
		at = -1
	}
	for i := at; i >= 0; i = p.list[i].next {
		if p.list[i].person == person {
			return
		}
	}
	p.head[k] = int32(len(p.list))
	p.list = append(p.list, posting{person, at})
}

// each calls f for the persons under k.
func (p *postings[K]) each(k K, f func(person int32)) {
	at, ok := p.head[k]
	if !ok {
		return
	}
	for ; at >= 0; at = p.list[at].next {
		f(p.list[at].person)
	}
}

// NewIndex returns an index without persons; hint is how many are expected.
func NewIndex(hint int) *Index {
	return &Index{
		words: map[string]uint32{"": 0}, spelling: []string{""},
		nir: make(map[uint64]int32, hint), locals: make(map[localKey]int32, hint),
		birth: postings[nameKey]{head: make(map[nameKey]int32, hint)},
		any:   postings[nameKey]{head: make(map[nameKey]int32, hint)},
		owner: postings[ownerKey]{head: map[ownerKey]int32{}},
	}
}

// Persons returns how many persons the index knows.
func (ix *Index) Persons() int { return len(ix.numbers) }

// Number returns the number of a person.
func (ix *Index) Number(person int32) Number { return ix.numbers[person] }

func (ix *Index) code(s string) uint32 {
	if c, ok := ix.words[s]; ok {
		return c
	}
	c := uint32(len(ix.spelling))
	ix.spelling = append(ix.spelling, s)
	ix.words[s] = c
	return c
}

// encode turns traits into the index's integers. source is "holder/dataset"; it matters only beside a local number.
func (ix *Index) encode(t *identity.Traits, source string) variant {
	v := variant{
		person: -1, next: -1,
		birth: ix.code(t.BirthName), used: ix.code(t.UsedName), given: ix.code(t.GivenName), place: ix.code(t.BirthPlace),
		date: t.BirthDate, nir: identity.CodeOf(t.NIR), owner: identity.CodeOf(t.OwnerNIR), sex: t.Sex, twin: t.TwinRank,
	}
	if t.LocalID != "" {
		v.source, v.local = ix.code(source), ix.code(t.LocalID)
	}
	return v
}

// newPerson makes a person with a random number and no trait yet.
func (ix *Index) newPerson() int32 {
	var n Number
	rand.Read(n[:])
	return ix.addPerson(n)
}

func (ix *Index) addPerson(n Number) int32 {
	ix.numbers = append(ix.numbers, n)
	ix.first = append(ix.first, -1)
	ix.own = append(ix.own, 0)
	return int32(len(ix.numbers) - 1)
}

// attach makes v one of the person's variants and files it under the keys of each rule. A variant that the
// person has already is not added twice.
func (ix *Index) attach(person int32, v variant) {
	v.person, v.next = person, -1
	last := int32(-1)
	for i := ix.first[person]; i >= 0; i = ix.variants[i].next {
		last = i
		same := ix.variants[i]
		same.next = -1
		if same == v {
			return
		}
	}
	at := int32(len(ix.variants))
	ix.variants = append(ix.variants, v)
	if last < 0 {
		ix.first[person] = at
	} else {
		ix.variants[last].next = at
	}
	if v.nir != 0 && ix.own[person] == 0 {
		ix.own[person] = v.nir
	}
	if v.nir != 0 && !v.contested {
		ix.nir[v.nir] = person
	}
	if v.identifies() {
		if v.birth != 0 {
			ix.birth.add(v.key(v.birth), person)
			ix.any.add(v.key(v.birth), person)
		}
		if v.used != 0 && v.used != v.birth {
			ix.any.add(v.key(v.used), person)
		}
	}
	if v.underOwner() {
		ix.owner.add(v.ownerKey(), person)
	}
	if v.local != 0 {
		ix.locals[localKey{v.source, v.local}] = person
	}
}

// identifies reports whether the traits besides the family name are complete.
func (v *variant) identifies() bool { return v.given != 0 && v.date.Full() && v.sex != 0 }

func (v *variant) key(name uint32) nameKey { return nameKey{name, v.given, v.date, v.sex} }

func (v *variant) underOwner() bool { return v.owner != 0 && v.identifies() }

func (v *variant) ownerKey() ownerKey { return ownerKey{v.owner, v.given, v.date, v.sex, v.twin} }

// traits is the inverse of encode.
func (ix *Index) traits(v *variant) identity.Traits {
	return identity.Traits{
		NIR: identity.NIRFromCode(v.nir), OwnerNIR: identity.NIRFromCode(v.owner), TwinRank: v.twin,
		BirthName: ix.spelling[v.birth], UsedName: ix.spelling[v.used], GivenName: ix.spelling[v.given], BirthDate: v.date,
		Sex: v.sex, BirthPlace: ix.spelling[v.place], LocalID: ix.spelling[v.local],
	}
}
