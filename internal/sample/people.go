package sample

import "math"

// person is one inhabitant, as she truly is.
type person struct {
	number                        int64 // from 1
	sex                           uint8 // 1 man, 2 woman
	birth                         day
	death                         day // missing while alive at the end of the period
	birthName, usedName           string
	given                         string
	birthPlace, home, formerHome  int16 // indexes into places
	moved                         day   // when home became home; missing if before the period
	married                       day   // when usedName became usedName; missing if before the period or never
	nir                           nir
	mother, father, partner, twin int32 // indexes in the chunk, -1 none
	twinRank                      uint8 // 1, 2 … when born with a twin
	abroad                        bool
}

// nameOn is the name in use on a day.
func (p *person) nameOn(d day) string {
	if p.married != missing && d < p.married {
		return p.birthName
	}
	return p.usedName
}

// homeOn is the place of residence on a day.
func (p *person) homeOn(d day) int16 {
	if p.moved != missing && d < p.moved {
		return p.formerHome
	}
	return p.home
}

// settlement builds the people of one chunk, household by household, until it holds exactly want
// persons. Families never cross chunks, so chunks can be made in any order.
type settlement struct {
	r          rng
	people     []person
	first      int64
	want       int
	start, end day // the period, both included
}

// settle appends the people of chunk number c to buf.
func settle(buf []person, seed uint64, c int64, first int64, want int, start, end day) []person {
	s := settlement{r: stream(seed, streamHouseholds, c), people: buf[:0], first: first, want: want, start: start, end: end}
	for len(s.people) < want {
		s.household()
	}
	s.people = s.people[:want]
	for i := range s.people {
		p := &s.people[i]
		p.number = first + int64(i)
		p.mother, p.father, p.partner, p.twin = s.kept(p.mother), s.kept(p.father), s.kept(p.partner), s.kept(p.twin)
		if p.twin < 0 {
			p.twinRank = 0
		}
	}
	return s.people
}

// kept drops references to people who fell out of a full chunk.
func (s *settlement) kept(i int32) int32 {
	if int(i) >= s.want {
		return -1
	}
	return i
}

// add appends a person born in year, with empty family ties, and returns its index.
func (s *settlement) add(sex uint8, birth day, name string, home int16) int32 {
	p := person{sex: sex, birth: birth, death: missing, birthName: name, usedName: name, home: home, formerHome: home,
		moved: missing, married: missing, mother: -1, father: -1, partner: -1, twin: -1}
	p.given = givenName(&s.r, sex, int(dateOf(birth).year))
	s.people = append(s.people, p)
	return int32(len(s.people) - 1)
}

// bornAged draws a birth day for someone who has the age at the start of the period.
func (s *settlement) bornAged(age int) day {
	d := s.start - day(float64(age)*365.25) - day(s.r.n(365)) - 1
	return max(d, firstDay+400)
}

// household adds one household: the mix of kinds and ages gives an age pyramid like the French one.
func (s *settlement) household() {
	r := &s.r
	home := communeIn(r, anyDepartment(r))
	switch x := r.float(); {
	case x < 0.09:
		s.single(home, r.between(18, 34))
	case x < 0.19:
		s.single(home, r.between(30, 64)) // many of the fathers whom lone mothers live without
	case x < 0.24:
		a, b := s.couple(home, r.between(22, 34), 0.12)
		if r.chance(0.5) {
			s.children(s.parents(a, b))
		}
	case x < 0.48:
		a, b := s.couple(home, r.between(26, 54), 0.05)
		s.children(s.parents(a, b))
	case x < 0.57:
		s.loneParent(home, r.between(25, 54))
	case x < 0.69:
		s.couple(home, r.between(45, 62), 0)
	case x < 0.86:
		s.couple(home, 60+int(30*math.Pow(r.float(), 1.1)), 0)
	default:
		s.single(home, 63+int(31*math.Pow(r.float(), 1.15)))
	}
}

// origins sets birth places: at home, in another department, or abroad.
func (s *settlement) origins(i int32, stay float64) {
	p, r := &s.people[i], &s.r
	dept := places[p.home].dept
	switch {
	case r.chance(stay):
		p.birthPlace = communeIn(r, dept)
	case r.chance(0.22):
		p.birthPlace, p.abroad = anyCountry(r), true
	default:
		p.birthPlace = communeIn(r, anyDepartment(r))
	}
}

// move lets a household change its home within the period, one time in six, mostly far.
func (s *settlement) move(members ...int32) {
	r := &s.r
	if !r.chance(0.17) {
		return
	}
	when := s.start + day(r.n(int(s.end-s.start)))
	old := s.people[members[0]].home
	home := communeIn(r, places[old].dept)
	if r.chance(0.6) {
		home = communeIn(r, anyDepartment(r))
	}
	for _, i := range members {
		p := &s.people[i]
		if p.birth < when {
			p.formerHome, p.moved = old, when
		}
		p.home = home
	}
}

func (s *settlement) sexAt(age int) uint8 {
	women := 0.5
	switch {
	case age > 60:
		women += float64(age-60) * 0.007
	case age >= 30:
		women = 0.32
	}
	if s.r.chance(women) {
		return 2
	}
	return 1
}

func (s *settlement) single(home int16, age int) {
	sex := s.sexAt(age)
	i := s.add(sex, s.bornAged(age), surname(&s.r), home)
	s.origins(i, 0.45)
	if sex == 2 && age >= 50 && s.r.chance(0.75) { // widowed or divorced, still under a married name
		s.people[i].usedName = surname(&s.r)
	}
	s.move(i)
}

// couple adds two partners; weddings is the probability that they marry within the period.
func (s *settlement) couple(home int16, age int, weddings float64) (a, b int32) {
	r := &s.r
	other := max(18, age+r.between(-5, 4))
	sexA, sexB := uint8(1), uint8(2)
	if r.chance(0.012) {
		sexA = uint8(1 + r.n(2))
		sexB = sexA
	}
	a = s.add(sexA, s.bornAged(age), surname(r), home)
	b = s.add(sexB, s.bornAged(other), surname(r), home)
	s.origins(a, 0.5)
	s.origins(b, 0.5)
	s.people[a].partner, s.people[b].partner = b, a
	wed := 0.45 + 0.4*math.Min(1, float64(max(0, age-30))/30)
	switch {
	case r.chance(weddings):
		s.wed(a, b, s.start+day(r.n(int(s.end-s.start))))
	case r.chance(wed):
		s.wed(a, b, missing)
	}
	s.move(a, b)
	return a, b
}

// wed lets one partner take the other's name, alone or beside her own.
func (s *settlement) wed(a, b int32, when day) {
	pa, pb, r := &s.people[a], &s.people[b], &s.r
	switch x := r.float(); {
	case x < 0.70:
		pb.usedName = pa.birthName
	case x < 0.78:
		pb.usedName = pb.birthName + "-" + pa.birthName
	case x < 0.80:
		pa.usedName = pb.birthName
	default:
		return
	}
	if pa.usedName != pa.birthName {
		pa.married = when
	} else {
		pb.married = when
	}
}

// parents tells who of two partners are mother and father; -1 for neither.
func (s *settlement) parents(a, b int32) (mother, father int32) {
	switch sa, sb := s.people[a].sex, s.people[b].sex; {
	case sa == 2 && sb == 1:
		return a, b
	case sa == 1 && sb == 2:
		return b, a
	case sa == 2:
		return a, -1
	}
	return -1, a
}

func (s *settlement) loneParent(home int16, age int) {
	sex := uint8(2)
	if s.r.chance(0.17) {
		sex = 1
	}
	i := s.add(sex, s.bornAged(age), surname(&s.r), home)
	s.origins(i, 0.5)
	s.move(i)
	if sex == 2 {
		s.children(i, -1)
	} else {
		s.children(-1, i)
	}
}

// children gives a mother's births year by year from her age of 19 on, up to the end of the period.
// Children over 18 may have left: they then live in a department of their own.
func (s *settlement) children(mother, father int32) {
	r := &s.r
	head := mother
	if head < 0 {
		head = father
	}
	from := s.people[head].birth + day(r.between(21, 34)*365)
	name := s.people[head].birthName
	if father >= 0 && mother >= 0 {
		switch x := r.float(); {
		case x < 0.80:
			name = s.people[father].birthName
		case x < 0.90:
			name = s.people[father].birthName + "-" + s.people[mother].birthName
		default:
			name = s.people[mother].birthName
		}
	}
	limit := s.people[head].birth + 44*365
	for n := 0; n < 5; n++ {
		birth := from + day(r.n(900))
		if birth > limit || birth > s.end {
			return
		}
		s.birth(birth, mother, father, name, -1)
		if r.chance(0.017) { // twins: half of them of one sex at least, often identical
			first := int32(len(s.people) - 1)
			s.birth(birth, mother, father, name, first)
		}
		if !r.chance([]float64{0.80, 0.38, 0.25, 0.2, 0}[n]) {
			return
		}
		from = birth + 420
	}
}

func (s *settlement) birth(birth day, mother, father int32, name string, twin int32) {
	r := &s.r
	parent := mother
	if parent < 0 {
		parent = father
	}
	pp := s.people[parent]
	sex := uint8(1 + r.n(2))
	if twin >= 0 && r.chance(0.35) {
		sex = s.people[twin].sex
	}
	i := s.add(sex, birth, name, pp.home)
	p := &s.people[i]
	p.mother, p.father = mother, father
	p.formerHome, p.moved = pp.formerHome, pp.moved
	if p.moved != missing && birth >= p.moved {
		p.moved, p.formerHome = missing, p.home
	}
	p.birthPlace = communeIn(r, places[pp.homeOn(birth)].dept)
	if twin >= 0 {
		t := &s.people[twin]
		p.birthPlace, p.twin, p.twinRank = t.birthPlace, twin, 2
		t.twin, t.twinRank = i, 1
		for p.given == t.given {
			p.given = givenName(r, sex, int(dateOf(birth).year))
		}
		return
	}
	if age := ageAt(birth, s.start); age >= 19 && r.chance(0.1*float64(age-17)) {
		p.home = communeIn(r, anyDepartment(r))
		p.formerHome, p.moved = p.home, missing
		if r.chance(0.2) {
			p.formerHome, p.moved = pp.home, s.start+day(r.n(int(s.end-s.start)))
		}
	}
}
