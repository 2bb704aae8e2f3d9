package sample

import "strings"

// quality says how often a holder's records are wrong, as shares of records. A share of 1 means that the
// holder does not ask for it.
type quality struct {
	accents    float64 // names kept with accents and lower case
	typo       float64 // one wrong key stroke, per name
	hyphen     float64 // hyphen lost, of names that have one
	shortGiven float64 // second part of a compound given name left out
	usedBlank  float64 // used name not filled
	swapped    float64 // birth name and used name exchanged
	dateSwap   float64 // day and month of birth exchanged, where that is a date
	dateOff    float64 // birth date off by a day, a month or a year
	sex        float64 // other sex
	place      float64 // birth place not filled
	nirBlank   float64 // NIR not filled
	nirKey     float64 // key wrong
	nirDigits  float64 // two digits exchanged
	nirPartner float64 // the partner's NIR instead of one's own
}

// How well each holder keeps identities: the insurer best, the emergency ward worst.
var qualities = [...]quality{
	inSNDS:     {accents: .05, typo: .004, hyphen: .10, shortGiven: .01, usedBlank: .06, swapped: .002, dateSwap: .002, dateOff: .002, sex: .001, place: .02, nirBlank: .015, nirKey: .004, nirDigits: .004, nirPartner: .001},
	inOSCOUR:   {accents: .30, typo: .025, hyphen: .25, shortGiven: .06, usedBlank: .35, swapped: .03, dateSwap: .008, dateOff: .008, sex: .004, place: 1, nirBlank: 1},
	inMarrow:   {accents: .50, typo: .012, hyphen: .15, shortGiven: .03, usedBlank: 1, dateSwap: .004, dateOff: .004, sex: .002, place: 1, nirBlank: .12, nirKey: .006, nirDigits: .008},
	inSarcoma:  {accents: .60, typo: .015, hyphen: .15, shortGiven: .03, usedBlank: .20, swapped: .01, dateSwap: .005, dateOff: .005, sex: .002, place: .15, nirBlank: 1},
	inStudents: {accents: .70, typo: .012, hyphen: .10, shortGiven: .02, usedBlank: 1, dateSwap: .004, dateOff: .003, sex: .002, place: 1, nirBlank: .09, nirKey: .005, nirDigits: .006},
}

// altered says what a record has wrong or lacks, one bit each.
type altered uint32

const (
	altTypo altered = 1 << iota
	altHyphen
	altShortGiven
	altFormerName
	altUsedBlank
	altSwapped
	altBirthDate
	altSex
	altPlaceBlank
	altNIRBlank
	altNIRKey
	altNIRDigits
	altNIRPartner
	altNIROwner
	altNIRProvisional
)

var alteredNames = []string{"typo", "hyphen", "short_given", "former_name", "used_blank", "swapped", "birth_date", "sex", "place_blank",
	"nir_blank", "nir_key", "nir_digits", "nir_partner", "nir_owner", "nir_provisional"}

func (a altered) String() string {
	var out []string
	for i, n := range alteredNames {
		if a&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// identity is what one record says about a person: cells of the table it stands in.
type identity struct {
	nir, birthName, usedName, given, birthDate, sex, birthPlace, residence int32
	altered                                                                altered
}

// observe writes what a holder keeps about p on a day into the texts of b.
func (w *chunk) observe(b *rows, r *rng, p *person, on day, q *quality) (id identity) {
	birth, used := p.birthName, p.nameOn(on)
	if used != p.usedName {
		id.altered |= altFormerName
	}
	blank := used == birth || r.chance(q.usedBlank)
	if blank && used != birth && q.usedBlank < 1 {
		id.altered |= altUsedBlank
	}
	if !blank && r.chance(q.swapped) {
		birth, used = used, birth
		id.altered |= altSwapped
	}
	accents := r.chance(q.accents)
	id.birthName = w.name(b, r, birth, accents, q, &id.altered)
	id.usedName = missing
	if !blank {
		id.usedName = w.name(b, r, used, accents, q, &id.altered)
	}
	given := p.given
	if i := strings.IndexByte(given, '-'); i > 0 && r.chance(q.shortGiven) {
		given = given[:i]
		id.altered |= altShortGiven
	}
	id.given = w.name(b, r, given, accents, q, &id.altered)
	id.birthDate = wrongDate(r, p.birth, on, q, &id.altered)
	sex := p.sex
	if r.chance(q.sex) {
		sex = 3 - sex
		id.altered |= altSex
	}
	id.sex = int32(sex) - 1
	id.birthPlace = int32(p.birthPlace)
	if r.chance(q.place) {
		id.birthPlace = missing
		if q.place < 1 {
			id.altered |= altPlaceBlank
		}
	}
	id.residence = int32(p.homeOn(on))
	return id
}

// number writes a NIR as a holder keeps it, or an empty cell.
func (w *chunk) number(b *rows, r *rng, p *person, q *quality, a *altered) int32 {
	n := p.nir
	switch x := r.float(); {
	case x < q.nirBlank:
		*a |= altNIRBlank
		return missing
	case x < q.nirBlank+q.nirKey:
		key := (int(n[13]-'0')*10 + int(n[14]-'0') + 1 + r.n(90)) % 97
		n[13], n[14] = digit(key/10), digit(key%10)
		*a |= altNIRKey
	case x < q.nirBlank+q.nirKey+q.nirDigits:
		i := 7 + r.n(5) // within place and order, where people misread
		if n[i] == n[i+1] {
			n[i] = digit((int(n[i]-'0') + 1) % 10)
		} else {
			n[i], n[i+1] = n[i+1], n[i]
		}
		*a |= altNIRDigits
	case x < q.nirBlank+q.nirKey+q.nirDigits+q.nirPartner && p.partner >= 0:
		n = w.people[p.partner].nir
		*a |= altNIRPartner
	}
	return b.putBytes(n[:])
}

// name writes a name the way a holder keeps it, sometimes mistyped.
func (w *chunk) name(b *rows, r *rng, s string, accents bool, q *quality, a *altered) int32 {
	buf := w.scratch[:0]
	if accents {
		buf = append(buf, s...)
	} else {
		buf = fold(buf, s)
	}
	for i, c := range buf {
		if c == '-' {
			if !r.chance(q.hyphen) {
				break
			}
			buf[i] = ' '
			*a |= altHyphen
		}
	}
	if r.chance(q.typo) && len(buf) > 3 && !accents {
		buf = mistype(buf, r)
		*a |= altTypo
	}
	w.scratch = buf
	return b.putBytes(buf)
}

// mistype makes one slip of the keyboard: a letter lost, doubled, exchanged or replaced.
func mistype(s []byte, r *rng) []byte {
	i := 1 + r.n(len(s)-2)
	switch r.n(4) {
	case 0:
		return append(s[:i], s[i+1:]...)
	case 1:
		s = append(s, 0)
		copy(s[i+1:], s[i:])
		return s
	case 2:
		if s[i] != s[i-1] {
			s[i], s[i-1] = s[i-1], s[i]
			return s
		}
		fallthrough
	default:
		c := byte('A' + r.n(26))
		if c == s[i] {
			c = 'A' + (c-'A'+1)%26
		}
		s[i] = c
		return s
	}
}

// wrongDate returns the birth date as recorded: never after the day of the record.
func wrongDate(r *rng, birth, on day, q *quality, a *altered) day {
	x := r.float()
	if x >= q.dateSwap+q.dateOff {
		return birth
	}
	c := dateOf(birth)
	out := birth
	if x < q.dateSwap {
		if c.dom <= 12 {
			out = dayOf(int(c.year), int(c.dom), int(c.month))
		}
	} else {
		switch r.n(3) {
		case 0:
			out = birth - 1
		case 1:
			out = birth - 31
		default:
			out = dayOf(int(c.year)-1, int(c.month), int(c.dom))
		}
	}
	if out == birth || out > on || out < firstDay {
		return birth
	}
	*a |= altBirthDate
	return out
}
