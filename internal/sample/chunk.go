package sample

import "math"

// chunk is the work on one run of consecutive person numbers: everything about these people, in rows of
// every table. A worker keeps one and uses it again and again.
type chunk struct {
	seed       uint64
	start, end day // the period, both included
	people     []person
	births     []int32 // children born in the period or soon after its start, by index
	scratch    []byte

	ben, prs, pha, mco, cci, rpu, gre, pat, sui, etu, que *rows
	truth, records                                        *rows

	passage  int32 // number of visits of the person in hand
	citizens []Citizen
	counts   Counts
	life     life
}

// Counts describe what was generated, for tests and the summary.
type Counts struct {
	People   int64 `json:"people"`
	Births   int64 `json:"births"`
	Deaths   int64 `json:"deaths"`
	Records  int64 `json:"person_records"`
	Altered  int64 `json:"altered_records"` // records with at least one thing wrong or lacking
	Twins    int64 `json:"twins"`
	Sarcoma  int64 `json:"sarcoma_patients"`
	Grafts   int64 `json:"transplants"`
	Students int64 `json:"students"`
}

func (c *Counts) add(o Counts) {
	c.People += o.People
	c.Births += o.Births
	c.Deaths += o.Deaths
	c.Records += o.Records
	c.Altered += o.Altered
	c.Twins += o.Twins
	c.Sarcoma += o.Sarcoma
	c.Grafts += o.Grafts
	c.Students += o.Students
}

func newChunk(seed uint64, start, end day) *chunk {
	return &chunk{seed: seed, start: start, end: end,
		ben: newRows(beneficiaries), prs: newRows(claims), pha: newRows(pharmacy), mco: newRows(stays), cci: newRows(deaths), rpu: newRows(emergencies),
		gre: newRows(transplants), pat: newRows(sarcomaPatients), sui: newRows(sarcomaFollowUp), etu: newRows(students), que: newRows(questionnaires),
		truth: newRows(truePersons), records: newRows(trueRecords)}
}

// all lists the rows in the order of outputs.
func (w *chunk) all() []*rows {
	return []*rows{w.ben, w.prs, w.pha, w.mco, w.cci, w.rpu, w.gre, w.pat, w.sui, w.etu, w.que, w.truth, w.records}
}

func (w *chunk) reset() {
	for _, b := range w.all() {
		b.reset()
	}
	w.citizens, w.counts = nil, Counts{}
}

// live makes the people of a chunk and writes their lives. orders holds the order number of the NIR of
// each person of the chunk.
func (w *chunk) live(number, first int64, want int, orders []uint16) {
	w.settleIn(number, first, want, orders)
	for i := range w.people {
		w.livePerson(int32(i))
	}
}

// settleIn makes the people of a chunk, without their lives.
func (w *chunk) settleIn(number, first int64, want int, orders []uint16) {
	w.people = settle(w.people, w.seed, number, first, want, w.start, w.end)
	w.births = w.births[:0]
	for i := range w.people {
		p := &w.people[i]
		p.nir = makeNIR('0'+p.sex, p.birth, places[p.birthPlace].code, int(orders[i]))
		if p.birth >= w.start && p.mother >= 0 {
			w.births = append(w.births, int32(i))
		}
	}
}

func (w *chunk) livePerson(i int32) {
	p, l := &w.people[i], &w.life
	*l = life{w: w, p: p, r: stream(w.seed, streamLife, p.number), from: max(w.start, p.birth), to: w.end, covered: missing, second: missing}
	for t := range l.keys {
		l.keys[t] = [2]int32{missing, missing}
	}
	var mine [6]int32
	n, last := 0, missing
	for _, c := range w.births {
		if w.people[c].mother == i && n < len(mine) {
			mine[n] = c
			n++
			last = w.people[c].birth
		}
	}
	l.fallIll()
	l.die(last)
	w.passage = 0
	dirt := stream(w.seed, streamDirt, p.number)
	before := w.prs.count()
	kept := w.enrol(l, &dirt)
	l.live(mine[:n])
	if w.prs.count() > before { // BEN_TOP_CNS of her records
		for k := range kept {
			w.ben.cells[(w.ben.count()-1-k)*w.ben.width+beneficiaryConsumes] = 1
		}
	}
	w.cohorts(l, i)
	w.tellTruth(p)
	w.counts.People++
	if p.birth >= w.start {
		w.counts.Births++
	}
	if p.death != missing {
		w.counts.Deaths++
	}
	if p.twin >= 0 {
		w.counts.Twins++
	}
}

// Columns of IR_BEN_R that are set after the row was written.
const beneficiaryConsumes = 17

// enrol writes the records of a person at the insurer, one or two, and returns how many. Two happen to
// children insured under both parents, to young people who got rights of their own within the period, and
// to people whose first number was provisional.
func (w *chunk) enrol(l *life, r *rng) int {
	p := l.p
	age := ageAt(p.birth, w.start)
	q := &qualities[inSNDS]
	mother, father := p.mother, p.father
	owner := mother
	if owner < 0 || (father >= 0 && r.chance(0.42)) {
		owner = father
	}
	grown := p.birth + 18*365 + day(r.n(700)) // when rights of one's own begin
	if p.death != missing && grown > p.death {
		grown = w.end + 1
	}
	l.record[0] = recordKey(w.seed, p.number, 0)
	switch {
	case owner >= 0 && age < 19 && grown > w.end: // insured under a parent all the time
		w.insure(r, p, 0, owner, l.record[0], p.birth, q)
		other := mother + father - owner
		if mother < 0 || father < 0 || !r.chance(0.22) {
			return 1
		}
		l.record[1], l.second, l.mixed = recordKey(w.seed, p.number, 1), l.from, true
		w.insure(r, p, 0, other, l.record[1], p.birth+30, q)
		return 2
	case owner >= 0 && grown >= w.start && grown <= w.end && p.birth < w.start:
		w.insure(r, p, 0, owner, l.record[0], p.birth, q)
		l.record[1], l.second = recordKey(w.seed, p.number, 1), grown
		w.insure(r, p, 1, -1, l.record[1], grown, q)
		w.propose(p, tagParentNIR)
		return 2
	case p.abroad && age < 45 && r.chance(0.12): // provisional number first
		w.insure(r, p, 2, -1, l.record[0], w.start, q)
		if !r.chance(0.7) {
			return 1
		}
		l.record[1], l.second = recordKey(w.seed, p.number, 1), w.start+day(r.n(int(w.end-w.start)))
		w.insure(r, p, 1, -1, l.record[1], l.second, q)
		return 2
	}
	entered := p.birth
	if age > 25 {
		entered = p.birth + 18*365
	}
	w.insure(r, p, 1, -1, l.record[0], entered, q)
	w.proposeUsual(p)
	return 1
}

// insure writes one row of IR_BEN_R. own is 0 when the record stands under a parent's number, 1 under her
// own, 2 under a provisional one.
func (w *chunk) insure(r *rng, p *person, own int, owner int32, key string, since day, q *quality) {
	b := w.ben
	seen := w.end // what the insurer knows today …
	if p.married != missing && r.chance(0.3) {
		seen = p.married - 1 // … or before she told it of her marriage
	}
	seen = max(seen, p.birth)
	id := w.observe(b, r, p, seen, q)
	number, parent, rank, kind := missing, missing, missing, int32(0)
	switch own {
	case 0:
		parent = b.putBytes(w.people[owner].nir[:])
		id.altered |= altNIROwner
		if r.chance(0.25) { // the child's own number is known as well
			number = w.number(b, r, p, q, &id.altered)
		}
		if p.twinRank > 0 {
			rank = b.put(digits9[p.twinRank])
		}
	case 1:
		number = w.number(b, r, p, q, &id.altered)
	case 2:
		n := makeNIR('6'+p.sex, p.birth, places[p.birthPlace].code, 1+r.n(998))
		number, kind = b.putBytes(n[:]), 1
		id.altered |= altNIRProvisional
	}
	c := dateOf(p.birth)
	death := missing
	if p.death != missing {
		death = p.death
	}
	b.add(b.put(key), number, id.birthName, id.usedName, id.given, id.birthDate, id.sex, id.birthPlace, id.residence, parent, rank,
		int32(c.year), int32(c.month), int32(p.sex), int32(places[id.residence].dept), death, kind, 0, since)
	w.record(inSNDS, key, p, id.altered)
}

// recordKey makes a person number: 17 characters that mean nothing. mix64 is one to one and fills the
// first 13, so two records never share one.
func recordKey(seed uint64, number int64, record uint64) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	x := mix64(uint64(number)<<2 | record ^ seed<<40)
	y := mix64(x)
	var b [17]byte
	for i := range 13 {
		b[i] = alphabet[x&31]
		x >>= 5
	}
	for i := 13; i < 17; i++ {
		b[i] = alphabet[y&31]
		y >>= 5
	}
	return string(b[:])
}

// visits gives the next visit of a person to an emergency ward its number.
func (w *chunk) visits(p *person) int32 {
	w.passage++
	return int32(p.number)<<6 | w.passage&63
}

// record notes whose record is whose; a is what is wrong with it.
func (w *chunk) record(dataset int32, key string, p *person, a altered) {
	w.records.add(dataset, w.records.put(key), int32(p.number), w.records.put(a.String()))
	w.counts.Records++
	if a != 0 {
		w.counts.Altered++
	}
}

// recordOf is record for a numbered row.
func (w *chunk) recordOf(dataset, number int32, p *person, a altered) {
	w.scratch = appendInt(w.scratch[:0], int64(number))
	w.records.add(dataset, w.records.putBytes(w.scratch), int32(p.number), w.records.put(a.String()))
	w.counts.Records++
	if a != 0 {
		w.counts.Altered++
	}
}

func (w *chunk) tellTruth(p *person) {
	t := w.truth
	number := func(i int32) int32 {
		if i < 0 {
			return missing
		}
		return int32(w.people[i].number)
	}
	former := missing
	if p.moved != missing {
		former = int32(p.formerHome)
	}
	t.add(int32(p.number), t.putBytes(p.nir[:]), t.put(p.birthName), t.put(p.usedName), t.put(p.given), p.birth, int32(p.sex), int32(p.birthPlace),
		int32(p.home), former, p.moved, p.married, p.death, number(p.mother), number(p.father), number(p.partner), number(p.twin))
}

// cohorts enters the sick into the registries and the young into the student cohort.
func (w *chunk) cohorts(l *life, i int32) {
	r := stream(w.seed, streamCohorts, l.p.number)
	if on := l.onset[illnessIndex["sarcoma"]]; on != missing && on <= l.to && r.chance(0.85) {
		w.sarcoma(&r, l, on)
	}
	if on := l.onset[illnessIndex["blood cancer"]]; on != missing && on <= l.to {
		if age := ageAt(l.p.birth, on); age < 72 && r.chance(0.75) {
			w.graft(&r, l, on)
		}
	}
	if age := ageAt(l.p.birth, w.start); age >= 17 && age <= 28 && r.chance(0.22) {
		w.student(&r, l)
	}
}

func (w *chunk) sarcoma(r *rng, l *life, onset day) {
	p, q := l.p, &qualities[inSarcoma]
	key := "SARC-" + recordKey(w.seed, p.number, 3)[:13]
	id := w.observe(w.pat, r, p, max(onset, w.start), q)
	dept := int32(places[p.homeOn(onset)].dept)
	centre := dept*hospitalsPerDepartment + 1
	codes := ready[illnessIndex["sarcoma"]].codes
	code := codes[int(uint64(p.number)%uint64(len(codes)))]
	grade := int32(1 + r.weighted([]float64{.2, .5, 1}))
	spread := int32(0)
	if r.chance(0.08 * float64(grade)) {
		spread = 1
	}
	w.pat.add(w.pat.put(key), id.birthName, id.usedName, id.given, id.birthDate, id.sex, id.birthPlace, onset, int32(ageAt(p.birth, onset)), int32(p.sex),
		code, int32(r.n(len(histologies))), grade, int32(15+r.n(90)+r.n(90)), spread, centre)
	w.record(inSarcoma, key, p, id.altered)
	w.counts.Sarcoma++
	k := w.sui.put(key)
	worse := r.chance(0.12*float64(grade) + 0.4*float64(spread))
	for at, n := max(onset, w.start)+day(r.between(20, 50)), 0; at <= l.to; at, n = at+day(r.between(75, 115)), n+1 {
		treatment, response := int32(3), int32(2)
		switch {
		case n == 0:
			treatment, response = 0, 4
		case n < 3:
			treatment, response = int32(1+r.n(2)), int32(r.n(3))
		case worse && n > 4:
			treatment, response = int32(1+3*r.n(2)), 3
		default:
			response = int32(r.n(2) * 2)
		}
		w.sui.add(k, at, treatment, response, int32(r.n(4)), int32(r.n(4)+r.n(3)), 0)
	}
	if p.death != missing {
		w.sui.add(k, p.death, 4, 4, missing, missing, 1)
	}
	w.propose(p, tagSarcoma)
}

func (w *chunk) graft(r *rng, l *life, onset day) {
	p, q := l.p, &qualities[inMarrow]
	at := max(onset+day(r.between(90, 400)), w.start-900+day(r.n(900)))
	at = max(at, onset+60)
	codes := ready[illnessIndex["blood cancer"]].codes
	code := codes[int(uint64(p.number)%uint64(len(codes)))]
	for rank := int32(1); rank <= 2 && at <= l.to; rank++ {
		id := w.observe(w.gre, r, p, max(at, p.birth), q)
		number := w.number(w.gre, r, p, q, &id.altered)
		key := "G" + digits9[rank] + recordKey(w.seed, p.number, 2)[:13]
		kind, gvh := int32(0), missing
		if icdCodes[code] != "C900" && r.chance(0.7) || r.chance(0.1) {
			kind, gvh = int32(1+r.n(3)), int32(r.weighted([]float64{.5, .2, .2, .07, .03}))
		}
		state, seen := int32(0), min(at+day(r.between(200, 1500)), w.end)
		if p.death != missing {
			state, seen = 1, p.death
		} else if r.chance(0.05) {
			state = 2
		}
		dept := int32(places[p.homeOn(at)].dept)
		w.gre.add(w.gre.put(key), number, id.birthName, id.given, id.birthDate, id.sex, at, dept*hospitalsPerDepartment, int32(ageAt(p.birth, at)),
			code, onset, kind, int32(r.weighted([]float64{.2, .75, .05})), rank, gvh, state, seen)
		w.record(inMarrow, key, p, id.altered)
		w.counts.Grafts++
		if !r.chance(0.11) {
			return
		}
		at += day(r.between(200, 700))
	}
}

// student enters a young person in the student cohort, with a questionnaire a year. Answers follow her
// illnesses: who is treated for depression scores higher.
func (w *chunk) student(r *rng, l *life) {
	p, q := l.p, &qualities[inStudents]
	at := w.start + day(r.n(200))
	if age := ageAt(p.birth, at); age < 18 {
		at = p.birth + 18*365 + 20
	}
	if at > l.to {
		return
	}
	id := w.observe(w.etu, r, p, at, q)
	number := w.number(w.etu, r, p, q, &id.altered)
	key := "E" + recordKey(w.seed, p.number, 2)[:13]
	level := int32(1 + r.n(4))
	dept := int32(places[p.homeOn(at)].dept)
	w.etu.add(w.etu.put(key), number, id.birthName, id.given, id.birthDate, id.sex, at, int32(dateOf(p.birth).year), int32(p.sex), dept,
		int32(r.n(len(fields))), level, int32(r.n(5)/3))
	w.record(inStudents, key, p, id.altered)
	w.counts.Students++
	w.propose(p, tagStudent)
	ill := func(name string) bool { on := l.onset[illnessIndex[name]]; return on != missing && on <= l.to }
	low, fear, smoke := 3.5, 3.5, r.chance(0.18)
	if p.sex == 2 {
		low, fear = low+1.2, fear+1.5
	}
	if ill("depression") {
		low += 7
	}
	if ill("anxiety") {
		fear += 6
	}
	mass := 1880 + r.n(500) + r.n(400)
	if ill("obesity") {
		mass += 900
	}
	k := w.que.put(key)
	for ; at <= l.to; at += 365 + day(r.n(40)) {
		if !r.chance(0.82) {
			continue
		}
		w.que.add(k, at, score(r, low, 27), score(r, fear, 21), int32(sleep(r, low)), flag(smoke), score(r, 3.2, 12), int32(mass+r.n(120)),
			flag(ill("migraine")), flag(r.chance(0.28)))
	}
}

func score(r *rng, mean float64, top int) int32 { return int32(min(r.poisson(mean), top)) }

// sleep in hundredths of an hour: the worse the mood the shorter.
func sleep(r *rng, low float64) int {
	h := 7.6 - 0.06*low + (r.float()+r.float()+r.float()-1.5)*1.4
	return int(math.Round(h*4)) * 25
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
