package sample

// live writes everything that happens to one person within the period.
func (l *life) live(births []int32) {
	l.chronic()
	l.regimen()
	l.acute()
	l.ordinary()
	for _, c := range births {
		l.giveBirth(&l.w.people[c])
	}
	if l.p.birth >= l.w.start {
		l.beBorn()
	}
	if l.p.death != missing {
		l.end()
	}
}

// each calls f at random days of a process with the given events per year.
func (l *life) each(perYear float64, from day, f func(at day)) {
	if perYear <= 0 {
		return
	}
	for at := max(from, l.from) + l.r.gap(perYear); at <= l.to; at += l.r.gap(perYear) {
		f(at)
	}
}

// chronic writes what long illness brings beside drugs: visits, tests, series of care, emergencies and
// stays, and the treatment of cancer and of kidney failure.
func (l *life) chronic() {
	gp := 0.0
	for i := range illnesses {
		if !illnesses[i].chronic || l.onset[i] == missing || l.onset[i] > l.to {
			continue
		}
		ill, from := &illnesses[i], max(l.onset[i], l.from)
		code := ready[i].codes[int(uint64(l.p.number)%uint64(len(ready[i].codes)))]
		gp += ill.gp * float64(l.to-from) / float64(max(l.to-l.from, 1))
		if ill.visits > 0 {
			l.each(ill.visits, from, func(at day) { l.seeSpecialist(at, ill.special) })
		}
		l.each(ill.labs, from, func(at day) { l.laboratory(at, at-day(l.r.n(15))) })
		l.each(ill.nurse, from, func(at day) { l.nursing(at, l.r.between(5, 35), 1) })
		l.each(ill.physio, from, func(at day) { l.sessions(at, l.r.between(6, 14), 3, natPhysio, actPhysio, 1700) })
		l.each(ill.er, from, func(at day) { l.crisis(at, code, ill.days, 0.35) })
		l.each(ill.stay, from, func(at day) { l.planned(at, code, ill.days) })
		if l.onset[i] >= l.from && ill.stay > 0.1 { // the stay that finds it
			l.planned(l.onset[i], code, ill.days)
		}
		if ready[i].cancer {
			l.chemotherapy(i, code)
		}
	}
	if at := l.onset[illnessIndex["dialysis"]]; at != missing {
		l.dialysis(at)
	}
	l.each(min(gp*0.8, 6), l.from, l.seeGP)
}

// crisis is an emergency visit that ends in a stay with the given probability, more often for the old.
func (l *life) crisis(at day, code int32, days float64, admit float64) {
	if ageAt(l.p.birth, at) >= 75 {
		admit = min(1, admit*1.4)
	}
	admitted := l.r.chance(admit)
	left := l.emergency(at, code, admitted, days > 5)
	if admitted {
		l.after(l.hospital(left, l.nights(days), code, missing, true, missing, missing))
	}
}

func (l *life) nights(days float64) int32 {
	if days <= 0 {
		return 0
	}
	return int32(l.r.poisson(min(days, 12))) + int32(days/2*l.r.float()*l.r.float())
}

// planned is a stay without emergency.
func (l *life) planned(at day, code int32, days float64) {
	if at > l.to {
		return
	}
	l.after(l.hospital(at, l.nights(days), code, missing, false, missing, missing))
}

// after is what follows a stay: a visit, often drugs and a nurse.
func (l *life) after(out day) {
	if l.p.death != missing && out >= l.p.death {
		return
	}
	if l.r.chance(0.25) && out < l.to {
		l.transport(out)
	}
	if l.r.chance(0.6) {
		l.seeGP(out + day(l.r.between(3, 20)))
	}
	if l.r.chance(0.18) {
		l.nursing(out+1, l.r.between(4, 25), 1)
	}
}

// chemotherapy treats a cancer found less than two years before, in courses of three weeks, with blood
// tests; half of the patients also have radiotherapy.
func (l *life) chemotherapy(i int, code int32) {
	start := l.onset[i] + day(l.r.between(20, 60))
	if start < l.from-600 || !l.r.chance(0.65) {
		return
	}
	for k, at := 0, start; k < l.r.between(6, 14) && at <= l.to; k, at = k+1, at+21 {
		if at < l.from {
			continue
		}
		l.hospital(at, 0, icdIndex[icdChemo], code, false, 1, missing)
		l.laboratory(at-1, at-2)
		if l.r.chance(0.3) {
			l.transport(at)
		}
	}
	if l.r.chance(0.5) {
		at := start + day(l.r.between(90, 200))
		for k := 0; k < 5 && at <= l.to; k++ { // one summary a week, five sessions each
			if at >= l.from {
				l.hospital(at, 0, icdIndex[icdRadiation], code, false, 5, missing)
			}
			at += 7
		}
	}
}

// dialysis is three sessions a week, with one summary a month, and transport.
func (l *life) dialysis(from day) {
	for at := max(from, l.from) + day(l.r.n(28)); at <= l.to; at += 30 {
		l.hospital(at, 0, icdIndex[icdDialysis], icdIndex["N185"], false, 13, missing)
		l.transport(at)
	}
}

// regimen dispenses the drugs of long illnesses month by month, all on one statement.
func (l *life) regimen() {
	var list, since [24]int32
	n := 0
	for i := range illnesses {
		if !illnesses[i].chronic || l.onset[i] == missing || l.onset[i] > l.to {
			continue
		}
		for k, d := range ready[i].drugs {
			if !l.r.chance(ready[i].share[k]) || n == len(list) || taken(list[:n], d) {
				continue
			}
			list[n] = d
			if l.r.chance(0.72) { // the package for three months
				list[n]++
			}
			since[n] = max(l.onset[i]+day(l.r.between(1, 30)), l.from)
			n++
		}
	}
	if n == 0 {
		return
	}
	adherence := 0.72 + 0.26*l.r.float()
	prescribed, cycle := l.from-day(l.r.n(60)), l.r.n(3)
	for at := l.from + day(l.r.n(28)); at <= l.to; at += 28 + day(l.r.n(4)) {
		if !l.r.chance(adherence) {
			continue
		}
		if at-prescribed > 90 {
			prescribed = at - day(l.r.n(6))
		}
		var s statement
		opened := false
		cycle++
		for k := range n {
			if since[k] > at || !l.r.chance(0.93) {
				continue
			}
			if drugs[list[k]].boxDay > 60 && (cycle+k)%3 != 0 {
				continue
			}
			if !opened {
				s, opened = l.open(l.workday(at)), true
			}
			s.dispense(list[k], 1, prescribed)
		}
	}
}

func taken(list []int32, d int32) bool {
	for _, x := range list {
		if x/presentations == d/presentations {
			return true
		}
	}
	return false
}

// acute writes illness that comes and goes: a visit, an emergency, a stay, drugs.
func (l *life) acute() {
	years := float64(l.to-l.from+1) / 365.25
	age := float64((l.from+l.to)/2-l.p.birth) / 365.25
	for i := range illnesses {
		ill := &illnesses[i]
		if ill.chronic {
			continue
		}
		for range l.r.poisson(ill.atAge(age, l.p.sex) * l.factor[i] * years) {
			at := l.from + day(l.r.n(int(l.to-l.from)+1))
			if ill.winter {
				at = l.toWinter(at)
			}
			l.episode(i, ill, at)
		}
	}
}

// toWinter moves most days of the warm half of the year into the cold half before or after.
func (l *life) toWinter(at day) day {
	if m := dateOf(at).month; m >= 5 && m <= 9 && l.r.chance(0.75) {
		moved := at + 150
		if moved > l.to {
			moved = at - 150
		}
		if moved >= l.from {
			return moved
		}
	}
	return at
}

func (l *life) episode(i int, ill *illness, at day) {
	code := ready[i].codes[l.r.n(len(ready[i].codes))]
	left := at
	switch {
	case ill.er == 0 && ill.stay > 0: // planned
		if l.r.chance(ill.stay) {
			l.planned(at, code, ill.days)
		}
	case l.r.chance(ill.er):
		admitted := l.r.chance(ill.stay)
		left = l.emergency(at, code, admitted, ill.days > 5)
		if admitted {
			left = l.hospital(left, l.nights(ill.days), code, missing, true, missing, missing)
			l.after(left)
		}
	case ill.gp > 0:
		if !l.r.chance(ill.gp) {
			return // looked after itself
		}
		l.seeGP(at)
	}
	if left > l.to || (l.p.death != missing && left >= l.p.death) {
		return
	}
	l.pharmacy(left+day(l.r.n(2)), left, ready[i].drugs, ready[i].share)
	if ill.nurse > 0 && l.r.chance(ill.nurse) {
		l.nursing(left+1, l.r.between(4, 20), 1)
	}
	if ill.physio > 0 && l.r.chance(ill.physio) {
		l.sessions(left+day(l.r.between(5, 30)), l.r.between(5, 12), 3, natPhysio, actPhysio, 1700)
	}
	if ill.special != 0 && l.r.chance(0.4) {
		l.seeSpecialist(left+day(l.r.between(5, 50)), ill.special)
	}
}

// perYear is a rate that depends on age: up to the age, the rate.
type perYear []struct {
	to   int
	rate float64
}

func (p perYear) at(age int) float64 {
	for _, s := range p {
		if age < s.to {
			return s.rate
		}
	}
	return p[len(p)-1].rate
}

// Care that everybody has.
var (
	gpRates      = perYear{{2, 6}, {6, 2.4}, {16, 1.2}, {30, 1.2}, {50, 1.4}, {65, 1.6}, {75, 2.0}, {200, 2.6}}
	labRates     = perYear{{16, .15}, {30, .45}, {50, .6}, {65, .8}, {200, 1.2}}
	dentalRates  = perYear{{4, .05}, {18, .9}, {75, .75}, {200, .45}}
	eyeRates     = perYear{{5, .15}, {18, .3}, {45, .25}, {200, .55}}
	imagingRates = perYear{{15, .2}, {40, .4}, {60, .75}, {200, 1.0}}
	nurseRates   = perYear{{60, .02}, {75, .07}, {85, .2}, {200, .5}}
	physioRates  = perYear{{15, .02}, {40, .06}, {60, .10}, {200, .15}}
	selfRates    = perYear{{2, 2.2}, {12, .6}, {40, .7}, {65, 1.0}, {200, 1.4}}
)

// ordinary writes the care that does not come from an illness of the list: check-ups, teeth, eyes, tests,
// contraception, vaccination, small remedies.
func (l *life) ordinary() {
	p, r := l.p, &l.r
	age := ageAt(p.birth, l.from+(l.to-l.from)/2)
	l.each(gpRates.at(age), l.from, func(at day) {
		l.seeGP(at)
		if r.chance(0.35) {
			l.pharmacy(at+day(r.n(2)), at, otherDrugIDs[3:], otherShares[3:])
		}
	})
	l.each(labRates.at(age), l.from, func(at day) { l.laboratory(at, at-day(r.n(20))) })
	l.each(dentalRates.at(age), l.from, l.dentist)
	l.each(eyeRates.at(age), l.from, func(at day) {
		l.seeSpecialist(at, eyes)
		if r.chance(0.4) {
			if at += day(r.between(5, 40)); at <= l.to {
				s := l.open(at)
				for range 3 {
					s.bill(act{nat: natOptics, prof: actSupplier, carer: otherCarer(15), qty: 100, cents: int32(r.between(3000, 12000)), rate: 60, prescribed: at - 10})
				}
			}
		}
	})
	l.each(imagingRates.at(age), l.from, func(at day) {
		s := l.open(at)
		s.bill(act{nat: natImaging, spec: radiology, carer: otherCarer(radiology), qty: 100, cents: int32(r.between(2500, 16000)), rate: 70, prescribed: at - 7})
		s.bill(act{nat: natTechnical, spec: radiology, carer: otherCarer(radiology), qty: 100, cents: 2120, rate: 70, prescribed: at - 7})
	})
	l.each(nurseRates.at(age), l.from, func(at day) { l.nursing(at, r.between(3, 35), 1) })
	l.each(physioRates.at(age), l.from, func(at day) { l.sessions(at, r.between(6, 14), 3, natPhysio, actPhysio, 1700) })
	l.each(selfRates.at(age), l.from, func(at day) { l.pharmacy(at, at, otherDrugIDs[3:], otherShares[3:]) })
	switch {
	case p.sex == 2 && age >= 16 && age < 46:
		l.each(0.55, l.from, func(at day) { l.seeSpecialist(at, gynaecology) })
		if r.chance(0.38) {
			for at := l.from + day(r.n(84)); at <= l.to; at += 84 + day(r.n(6)) {
				l.pharmacy(at, at-day(r.n(84)), otherDrugIDs[:1], otherShares[:1])
			}
		}
	case age >= 65:
		if r.chance(0.55) {
			for y := dateOf(l.from).year; y <= dateOf(l.to).year; y++ {
				at := dayOf(int(y), 10, 20) + day(r.n(40))
				if at >= l.from && at <= l.to {
					l.pharmacy(at, at-3, otherDrugIDs[1:2], otherShares[1:2])
				}
			}
		}
	case age < 4:
		l.each(1.2, l.from, func(at day) { l.seeSpecialist(at, paediatrics) })
		l.each(2, l.from, func(at day) { l.pharmacy(at, at, otherDrugIDs[2:3], otherShares[2:3]) })
	case age < 11 && r.chance(0.09):
		l.sessions(l.from+day(r.n(400)), r.between(20, 40), 7, natOrthophonia, actSpeech, 2800)
	}
}

var (
	otherDrugIDs = func() []int32 {
		var out []int32
		for _, code := range otherDrugs {
			out = append(out, int32(drugByID[code]))
		}
		return out
	}()
	otherShares = []float64{.98, .98, .9, .5, .22, .14, .06, .10, .08, .05, .05, .04, .05}
)

func (l *life) dentist(at day) {
	s := l.open(l.workday(at))
	s.bill(act{nat: natDental, spec: 36, prof: actDentist, carer: otherCarer(19), qty: 100, cents: 2300, rate: 60})
	for range l.r.n(3) {
		s.bill(act{nat: natScaling, spec: 36, prof: actDentist, carer: otherCarer(19), qty: 100, cents: int32(l.r.between(2892, 12000)), rate: 60})
	}
}

// giveBirth writes a pregnancy and the delivery that ends it.
func (l *life) giveBirth(child *person) {
	if child.twinRank == 2 {
		return // the same delivery
	}
	at, r := child.birth, &l.r
	for k := day(1); k <= 7; k++ {
		visit := at - 30*k - day(r.n(20))
		if visit < l.from {
			continue
		}
		s := l.open(visit)
		s.bill(act{nat: natMidwife, spec: 0, prof: actMidwife, carer: otherCarer(21), qty: 100, cents: 2500, rate: 100})
		if k == 2 || k == 4 || k == 6 {
			s.bill(act{nat: natUltrasound, spec: gynaecology, carer: otherCarer(gynaecology), qty: 100, cents: 8090, rate: 100})
		}
		l.laboratory(visit+1, visit)
	}
	code, nights := icdIndex[icdDelivery], int32(3)
	if r.chance(0.21) {
		code, nights = icdIndex[icdCaesarean], 5
	}
	l.hospital(at, nights+int32(r.n(2)), code, missing, false, missing, missing)
	l.sessions(at+40, 8, 7, natPhysio, actPhysio, 1700)
}

// beBorn writes the newborn's own stay.
func (l *life) beBorn() {
	grams := int32(3300)
	if l.p.twinRank > 0 {
		grams = 2450
	}
	for range 6 {
		grams += int32(l.r.between(-220, 220))
	}
	l.hospital(l.p.birth, 3+int32(l.r.n(2)), icdIndex[icdNewborn], missing, false, missing, max(grams, 700))
}

// end writes the death and the last stay that half of the dying have.
func (l *life) end() {
	p, r := l.p, &l.r
	cause := l.causeOfDeath()
	where := int32(1)
	if r.chance(0.55) {
		where = 2
		if at := p.death - day(r.n(14)); at >= l.from {
			emergency := r.chance(0.6)
			if emergency {
				l.emergency(at, cause, true, true)
			}
			l.hospital(at, p.death-at, cause, missing, emergency, missing, missing)
		}
	} else if r.chance(0.3) && ageAt(p.birth, p.death) > 75 {
		where = 4
	}
	dept := int32(places[p.homeOn(p.death)].dept)
	b, c := dateOf(p.birth), dateOf(p.death)
	l.w.cci.add(l.key(tableCCI, l.w.cci, p.death), int32(c.year), p.death, dept, dept, where, int32(b.year), int32(b.month), int32(p.sex), cause)
}
