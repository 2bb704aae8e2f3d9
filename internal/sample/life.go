package sample

import "math"

// illnessCount bounds the state kept per person.
const illnessCount = 80

// onset of each chronic illness of one person; missing when she does not have it.
type history [illnessCount]day

// prepared holds what is looked up per illness, computed once.
type prepared struct {
	codes  []int32 // into icdCodes
	drugs  []int32 // into drugs, first presentation
	share  []float64
	causes []struct {
		of     int
		factor float64
	}
	cancer bool
}

var (
	ready        = prepare()
	illnessIndex = func() map[string]int {
		m := map[string]int{}
		for i := range illnesses {
			m[illnesses[i].name] = i
		}
		return m
	}()
)

func prepare() []prepared {
	at := map[string]int{}
	for i, ill := range illnesses {
		at[ill.name] = i
	}
	out := make([]prepared, len(illnesses))
	for i, ill := range illnesses {
		p := &out[i]
		for _, c := range ill.codes {
			p.codes = append(p.codes, icdIndex[c])
		}
		for _, u := range ill.drugs {
			p.drugs = append(p.drugs, int32(drugByID[u.atc]))
			p.share = append(p.share, u.share)
		}
		for _, c := range ill.causes {
			of, ok := at[c.of]
			if !ok || of <= i {
				panic("illness " + ill.name + " raises " + c.of + ", which does not follow it")
			}
			p.causes = append(p.causes, struct {
				of     int
				factor float64
			}{of, c.factor})
		}
		p.cancer = ill.chronic && ill.codes[0][0] == 'C'
	}
	return out
}

// atAge interpolates a rate between the middles of the decades of age.
func (ill *illness) atAge(age float64, sex uint8) float64 {
	if ill.below > 0 && age >= ill.below {
		return 0
	}
	x := (age - 5) / 10
	var v float64
	switch i := int(math.Floor(x)); {
	case x <= 0:
		v = ill.byAge[0]
	case i >= 9:
		v = ill.byAge[9]
	default:
		f := x - float64(i)
		v = ill.byAge[i]*(1-f) + ill.byAge[i+1]*f
	}
	if sex == 1 {
		return v * ill.men
	}
	return v * ill.women
}

// life is one person going through the period.
type life struct {
	w        *chunk
	p        *person
	r        rng
	from, to day // what of the period she lives through, both included
	onset    history
	factor   [illnessCount]float64
	ticket   int32
	stay     int32
	lastRisk float64
	covered  day // first day of full cover for a long-term illness; missing none

	keys   [eventTables][2]int32 // cells of the person key per table and record; unset is missing
	record [2]string             // person numbers of her records at the insurer
	second day                   // from when on the second record is used; missing if there is one record
	mixed  bool                  // both records are used at the same time
}

// fallIll draws the chronic illnesses: those she has when the period opens and those that come within it.
func (l *life) fallIll() {
	p, r := l.p, &l.r
	age := float64(l.from-p.birth) / 365.25
	years := float64(l.to-l.from) / 365.25
	for i := range illnesses {
		l.factor[i] = 1
	}
	for i := range illnesses {
		l.onset[i] = missing
		ill := &illnesses[i]
		if !ill.chronic {
			continue
		}
		rate := ill.atAge(age, p.sex) * l.factor[i]
		x := r.float()
		switch {
		case rate <= 0:
			continue
		case x < min(rate, 0.9):
			before := day(math.Min(age, 14) * 365.25 * r.float())
			l.onset[i] = max(l.from-before, p.birth)
		case x < min(rate, 0.9)+rate*ill.fresh*years:
			l.onset[i] = l.from + day(r.n(int(l.to-l.from)+1))
		default:
			continue
		}
		for _, c := range ready[i].causes {
			l.factor[c.of] *= c.factor
		}
		if ill.longALD && (l.covered == missing || l.onset[i] < l.covered) {
			l.covered = l.onset[i]
		}
	}
}

// die draws whether and when she dies within the period. notBefore keeps a mother alive for a birth.
func (l *life) die(notBefore day) {
	p, r := l.p, &l.r
	for from := l.from; from <= l.to; from += 365 {
		age := float64(from-p.birth) / 365.25
		risk := 1.0
		for i := range illnesses {
			if l.onset[i] != missing && l.onset[i] <= from+180 {
				risk *= illnesses[i].risk
			}
		}
		if !r.chance(1 - math.Exp(-hazard(age, p.sex)*math.Min(risk, 30))) {
			continue
		}
		at := from + day(r.n(365))
		if at > l.to || at <= notBefore {
			continue
		}
		p.death = at
		l.to = at
		return
	}
}

// hazard of death a year of somebody without illness: Gompertz, with a higher first year of life. The
// constants make the country's death rate about that of France (9.5 per 1,000 and year), illness included.
func hazard(age float64, sex uint8) float64 {
	if age < 1 {
		return 0.0032
	}
	if sex == 1 {
		return math.Exp(-10.85 + 0.083*age)
	}
	return math.Exp(-11.65 + 0.087*age)
}

// causeOfDeath draws the underlying cause among her illnesses and what kills without one.
func (l *life) causeOfDeath() int32 {
	age := float64(l.p.death-l.p.birth) / 365.25
	var weights [illnessCount + 6]float64
	sum := 0.0
	for i := range illnesses {
		ill := &illnesses[i]
		w := 0.0
		if ill.chronic {
			if l.onset[i] != missing && l.onset[i] <= l.p.death {
				w = ill.lethal
			}
		} else {
			w = ill.lethal * ill.atAge(age, l.p.sex) * 20
		}
		sum += w
		weights[i] = sum
	}
	n := len(illnesses)
	for k, w := range [...]float64{1.5, math.Max(0, (age-80)/6), math.Max(0, (age-65)/15), road(age), suicide(age), math.Max(0, (age-35)/20)} {
		sum += w
		weights[n+k] = sum
	}
	if age < 1 {
		return icdIndex[icdInfant]
	}
	k := l.r.weighted(weights[:n+6])
	if k < n {
		return ready[k].codes[l.r.n(len(ready[k].codes))]
	}
	return icdIndex[[...]string{icdUnknown, icdSenility, icdFall, icdRoad, icdSuicide, icdSudden}[k-n]]
}

func road(age float64) float64 {
	if age > 15 && age < 45 {
		return 2
	}
	return 0.3
}

func suicide(age float64) float64 {
	if age < 12 {
		return 0
	}
	return 0.45
}
