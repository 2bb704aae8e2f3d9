package sample

// Kinds of care (PRS_NAT_REF) used here.
const (
	natGP          = 1111
	natSpecialist  = 1112
	natHomeVisit   = 1211
	natTechnical   = 1321
	natImaging     = 1351
	natUltrasound  = 1352
	natDental      = 1411
	natScaling     = 1422
	natNursing     = 3125
	natTravel      = 3128
	natPhysio      = 3122
	natMidwife     = 3110
	natLab         = 3211
	natLabDraw     = 3221
	natDrug65      = 3313
	natDrug15      = 3312
	natDrug100     = 3317
	natTransport   = 4211
	natDevice      = 3519
	natEmergency   = 1361
	natOptics      = 3521
	natPsychology  = 1128
	natOrthophonia = 3131
)

// Professions (PSE_ACT_NAT).
const (
	actDoctor    = 0
	actDentist   = 19
	actMidwife   = 21
	actNurse     = 24
	actPhysio    = 26
	actSpeech    = 28
	actLab       = 30
	actPharmacy  = 50
	actTransport = 55
	actSupplier  = 60
)

// eventTables number the insurer's tables that refer to a person key.
const (
	tablePRS = iota
	tablePHA
	tableMCO
	tableCCI
	eventTables
)

// recordOn picks the record at the insurer under which care on a day was filed.
func (l *life) recordOn(d day) int {
	switch {
	case l.second == missing:
		return 0
	case l.mixed:
		return int(uint32(l.ticket) * 2654435761 >> 31)
	case d >= l.second:
		return 1
	}
	return 0
}

func (l *life) key(t int, b *rows, d day) int32 {
	rec := l.recordOn(d)
	if l.keys[t][rec] == missing {
		l.keys[t][rec] = b.put(l.record[rec])
	}
	return l.keys[t][rec]
}

// act is one line of a statement.
type act struct {
	nat, spec, prof int32
	carer           int32 // which of the carers of the department
	qty             int32 // hundredths
	cents           int32
	rate            int32
	prescribed      day
	qualifier       int32 // DPN_QLF; 71 is care in a public hospital reported for information, which studies leave out
}

// statement is a set of lines billed together.
type statement struct {
	l            *life
	at           day
	emitter, dct int32 // with the month of the flow and the line, what the tables are joined by
	line         int32
	key          int32
	exo          int32
	dept         int32
	age          int32
}

func (l *life) open(at day) statement {
	l.ticket++
	s := statement{l: l, at: at, emitter: int32(l.p.number >> 17), dct: int32(l.p.number)&(1<<17-1)<<12 | l.ticket&4095, key: l.key(tablePRS, l.w.prs, at),
		dept: int32(places[l.p.homeOn(at)].dept), age: int32(ageAt(l.p.birth, at))}
	if l.covered != missing && at >= l.covered {
		s.exo = 42
		if l.ticket%5 == 0 {
			s.exo = 41
		}
	}
	return s
}

// workday moves a Sunday, when practices and pharmacies are closed, to a day of the week after.
func (l *life) workday(at day) day {
	if (at+4)%7 != 0 { // 1970-01-01 was a Thursday
		return at
	}
	if later := at + 1 + l.ticket%6; later <= l.to {
		return later
	}
	return at
}

// bill writes one claim line.
func (s *statement) bill(a act) {
	s.line++
	rate := a.rate
	if s.exo == 42 {
		rate = 100
	}
	presc := a.prescribed
	switch {
	case presc == 0:
		presc = missing
	case presc < s.l.p.birth:
		presc = s.l.p.birth
	}
	s.l.w.prs.add(s.key, dateOf(s.at).flux, s.emitter, s.dct, s.line, s.at, presc, a.nat, a.spec, a.prof,
		s.dept*carersPerDepartment+a.carer, a.qty, a.cents, a.cents*rate/100, rate, s.exo, a.qualifier, s.age, int32(s.l.p.sex), s.dept)
}

// dispense writes a drug: the claim line and the pharmacy line that goes with it.
func (s *statement) dispense(d int32, boxes int32, prescribed day) {
	m := &drugs[d]
	nat := int32(natDrug65)
	switch m.rate {
	case 15:
		nat = natDrug15
	case 100:
		nat = natDrug100
	}
	s.bill(act{nat: nat, prof: actPharmacy, carer: pharmacyCarer(s.l.p), qty: boxes * 100, cents: m.cents * boxes, rate: m.rate, prescribed: prescribed})
	s.l.w.pha.add(s.l.key(tablePHA, s.l.w.pha, s.at), dateOf(s.at).flux, s.emitter, s.dct, s.line, s.at, d, d/presentations, boxes, m.cents)
}

// Carers of a department by what they do: 0-19 general practitioners, 20-31 pharmacies, 32-59 others.
func gpCarer(p *person) int32       { return int32(uint64(p.number) * 7 % 20) }
func pharmacyCarer(p *person) int32 { return 20 + int32(uint64(p.number)*5%12) }
func otherCarer(spec int32) int32   { return 32 + spec%28 }

// drugs dispenses a list once, on the prescription of a visit.
func (l *life) pharmacy(at, prescribed day, list []int32, share []float64) {
	if at > l.to {
		return
	}
	var s statement
	opened := false
	for i, d := range list {
		if !l.r.chance(share[i]) {
			continue
		}
		if !opened {
			s, opened = l.open(l.workday(at)), true
		}
		s.dispense(d+int32(l.r.n(presentations)), 1+int32(l.r.n(5)/4), prescribed)
	}
}

// seeGP is a visit to the general practitioner, at home for the very old.
func (l *life) seeGP(at day) {
	if at > l.to || at < l.from {
		return
	}
	s := l.open(l.workday(at))
	nat, cents := int32(natGP), int32(3000)
	if s.age >= 82 && l.r.chance(0.5) {
		nat = natHomeVisit
	}
	s.bill(act{nat: nat, spec: gpSpecialty, carer: gpCarer(l.p), qty: 100, cents: cents, rate: 70})
	if nat == natHomeVisit {
		s.bill(act{nat: natTravel, spec: gpSpecialty, carer: gpCarer(l.p), qty: 100, cents: 1000, rate: 70})
	}
}

// seeSpecialist is a visit to a specialist, sometimes with a technical act.
func (l *life) seeSpecialist(at day, spec int32) {
	if at > l.to || at < l.from {
		return
	}
	s := l.open(l.workday(at))
	s.bill(act{nat: natSpecialist, spec: spec, carer: otherCarer(spec), qty: 100, cents: 3150 + spec*40, rate: 70})
	if l.r.chance(0.4) {
		s.bill(act{nat: natTechnical, spec: spec, carer: otherCarer(spec), qty: 100, cents: 4800 + spec*90, rate: 70})
	}
}

// laboratory is an order of analyses: the analyses, and the draw when a nurse comes home for it.
func (l *life) laboratory(at, prescribed day) {
	if at > l.to || at < l.from {
		return
	}
	s := l.open(l.workday(at))
	lab := otherCarer(8 + int32(l.p.number&3))
	groups := 1 + l.r.n(3)
	for range groups {
		n := int32(l.r.between(12, 110))
		s.bill(act{nat: natLab, prof: actLab, carer: lab, qty: n * 100, cents: n * 25, rate: 60, prescribed: prescribed})
	}
	if l.r.chance(0.45) { // the others are drawn at the laboratory
		s.bill(act{nat: natLabDraw, prof: actLab, carer: lab, qty: 100, cents: 389, rate: 60, prescribed: prescribed})
	}
}

// nursing is a series of visits of a nurse at home, billed week by week.
func (l *life) nursing(at day, visits int, gap int32) {
	prescribed := at
	for v := 0; v < visits && at <= l.to; {
		s := l.open(at)
		s.bill(act{nat: natTravel, prof: actNurse, carer: otherCarer(2), qty: 700, cents: 7 * 275, rate: 60, prescribed: prescribed})
		for k := 0; k < 7 && v < visits && s.at <= l.to; k++ {
			s.bill(act{nat: natNursing, prof: actNurse, carer: otherCarer(2), qty: 150, cents: 473, rate: 60, prescribed: prescribed})
			v++
			s.at += gap
		}
		at = s.at
	}
}

// sessions is a series with a therapist.
func (l *life) sessions(at day, n int, gap int32, nat, prof int32, cents int32) {
	prescribed := at
	for k := 0; k < n && at <= l.to; k++ {
		s := l.open(at)
		s.bill(act{nat: nat, prof: prof, carer: otherCarer(prof), qty: 100, cents: cents, rate: 60, prescribed: prescribed})
		at += gap + int32(l.r.n(2))
	}
}

// transport is an ambulance or taxi, there and back.
func (l *life) transport(at day) {
	s := l.open(at)
	for range 2 {
		s.bill(act{nat: natTransport, prof: actTransport, carer: otherCarer(6), qty: 100, cents: int32(l.r.between(2500, 9500)), rate: 65, prescribed: at})
	}
}

// hospital is one stay. related is missing unless the stay is for care of another illness (sessions).
func (l *life) hospital(at day, nights int32, diagnosis, related int32, emergency bool, sessions, weight int32) day {
	p := l.p
	out := min(at+nights, l.to)
	mode, from, leave := int32(8), missing, int32(8)
	if emergency {
		from = 5
	}
	switch {
	case out == p.death && (nights > 0 || emergency):
		leave = 9
	case nights > 10 && l.r.chance(0.3):
		leave = 6
	}
	l.stay++
	dept := int32(places[p.homeOn(at)].dept)
	which := int32(0)
	if !emergency {
		which = int32(l.r.n(hospitalsPerDepartment))
	}
	c := dateOf(out)
	l.w.mco.add(l.key(tableMCO, l.w.mco, at), dept*hospitalsPerDepartment+which, int32(p.number)<<8|l.stay&255, at, out, int32(c.year), int32(c.month),
		int32(ageAt(p.birth, at)), int32(p.sex)-1, dept, mode, from, leave, out-at, diagnosis, related, int32(l.r.n(4)), sessions, weight)
	return out
}

// emergency is a visit to the emergency ward; admitted says that a stay follows. It returns the day of
// departure.
func (l *life) emergency(at day, diagnosis int32, admitted bool, severe bool) day {
	p, r, b := l.p, &l.r, l.w.rpu
	id := l.w.observe(b, r, p, at, &qualities[inOSCOUR])
	age := int32(ageAt(p.birth, at))
	minute := at*1440 + arrival(r)
	length := int32(40 + r.n(200) + r.n(240))
	if admitted {
		length += int32(r.n(300))
	}
	leave := minute + length
	if leave/1440 > l.to {
		leave = max(l.to*1440+1439, minute)
	}
	dept := int32(places[p.homeOn(at)].dept)
	if r.chance(0.06) { // away from home
		dept = int32(anyDepartment(r))
	}
	grave := int32(1 + r.n(2))
	carried := int32(0)
	if severe || admitted {
		grave = int32(1 + r.n(4))
		carried = int32(r.n(4))
	} else if r.chance(0.12) {
		carried = int32(1 + r.n(2))
	}
	out, orient := int32(8), missing
	if admitted {
		out, orient = 6, int32(r.n(len(orientations)))
	}
	visit := l.w.visits(p)
	b.add(visit, dept*hospitalsPerDepartment, id.birthName, id.usedName, id.given, id.birthDate, id.sex, id.residence, minute, leave, age, int32(p.sex),
		int32(places[p.homeOn(at)].dept), 8, carried, grave, diagnosis, out, orient)
	l.w.recordOf(inOSCOUR, visit, p, id.altered)
	if !admitted {
		s := l.open(at)
		s.bill(act{nat: natEmergency, qty: 100, cents: 2528, rate: 80, carer: otherCarer(20), qualifier: 71})
	}
	return leave / 1440
}

// arrival draws a minute of the day: few at night, most in the late morning and the evening.
func arrival(r *rng) int32 {
	hour := r.weighted(arrivals)
	return int32(hour*60 + r.n(60))
}

var arrivals = runningSum([]float64{2, 1.5, 1.2, 1, 1, 1.1, 1.6, 2.4, 4, 5.6, 6.4, 6.2, 5.4, 5.4, 5.8, 5.8, 5.8, 6, 6, 5.6, 5, 4.4, 3.6, 2.8})
