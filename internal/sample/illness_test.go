package sample

import (
	"slices"
	"strings"
	"testing"
)

// patient is what the course of one life left behind.
type patient struct {
	person person
	onset  history
	to     day
	drugs  []dispensed
}

type dispensed struct {
	atc string
	at  day
}

// livedThrough runs chunks through the generator itself and keeps, beside the rows, the illnesses that no
// file holds.
func livedThrough(t *testing.T, chunks int) []patient {
	t.Helper()
	start, end := dayOf(2023, 1, 1), dayOf(2025, 12, 31)
	w := newChunk(11, start, end)
	orders := make([]uint16, chunkPeople)
	var out []patient
	for c := range chunks {
		w.reset()
		w.settleIn(int64(c), int64(c)*chunkPeople+1, chunkPeople, orders)
		for i := range w.people {
			before := w.pha.count()
			w.livePerson(int32(i))
			p := patient{person: w.people[i], onset: w.life.onset, to: w.life.to}
			for k := before; k < w.pha.count(); k++ {
				row := w.pha.cells[k*w.pha.width:]
				p.drugs = append(p.drugs, dispensed{drugs[row[cellCIP]].atc, row[cellDispensed]})
			}
			out = append(out, p)
		}
	}
	return out
}

// Columns of ER_PHA_F.
var (
	cellCIP       = slices.IndexFunc(pharmacy.columns, func(c column) bool { return c.Name == "PHA_PRS_C13" })
	cellDispensed = slices.IndexFunc(pharmacy.columns, func(c column) bool { return c.Name == "EXE_SOI_DTD" })
)

// Drugs that only long illnesses lead to are dispensed to their patients alone, and after the onset.
func TestDrugsGoWithDiagnoses(t *testing.T) {
	leads := map[string][]int{}
	free := map[string]bool{}
	for i, ill := range illnesses {
		for _, u := range ill.drugs {
			leads[u.atc] = append(leads[u.atc], i)
			if !ill.chronic {
				free[u.atc] = true
			}
		}
	}
	for _, atc := range otherDrugs {
		free[atc] = true
	}
	insulin, checked := 0, 0
	for _, p := range livedThrough(t, 2) {
		for _, d := range p.drugs {
			if free[d.atc] {
				continue
			}
			checked++
			if d.atc == "A10AB05" || d.atc == "A10AE04" {
				insulin++
			}
			if !slices.ContainsFunc(leads[d.atc], func(i int) bool { return p.onset[i] != missing && p.onset[i] <= d.at }) {
				t.Fatalf("person %d got %s on %s without an illness that leads to it", p.person.number, d.atc, dateText(d.at))
			}
		}
	}
	if insulin < 100 || checked < 10000 {
		t.Errorf("%d insulin lines among %d lines checked: too few to mean anything", insulin, checked)
	}
}

func TestIllnessFollowsAgeAndSex(t *testing.T) {
	lives := livedThrough(t, 6)
	share := func(name string, sex uint8, from, to int) float64 {
		i, n, ill := illnessIndex[name], 0, 0
		for _, p := range lives {
			age := ageAt(p.person.birth, dayOf(2025, 12, 31))
			if p.person.sex != sex || age < from || age >= to {
				continue
			}
			n++
			if p.onset[i] != missing {
				ill++
			}
		}
		if n == 0 {
			t.Fatalf("nobody of sex %d aged %d to %d", sex, from, to)
		}
		return float64(ill) / float64(n)
	}
	for _, name := range []string{"hypertension", "diabetes2", "ischaemic", "fibrillation", "osteoarthritis"} {
		for sex := uint8(1); sex <= 2; sex++ {
			young, middle, old := share(name, sex, 20, 45), share(name, sex, 45, 65), share(name, sex, 65, 85)
			if !(young < middle && middle < old) {
				t.Errorf("%s, sex %d: %.3f, %.3f, %.3f does not rise with age", name, sex, young, middle, old)
			}
		}
	}
	for name, sex := range map[string]uint8{"prostate cancer": 2, "prostate hyperplasia": 2, "endometriosis": 1} {
		if got := share(name, sex, 0, 120); got != 0 {
			t.Errorf("%s strikes sex %d: %.4f", name, sex, got)
		}
	}
	if men, women := share("breast cancer", 1, 40, 90), share("breast cancer", 2, 40, 90); women < 10*men || women < .01 {
		t.Errorf("breast cancer: men %.4f, women %.4f", men, women)
	}
	with, without := 0.0, 0.0
	nWith, nWithout := 0, 0
	for _, p := range lives {
		if age := ageAt(p.person.birth, dayOf(2023, 1, 1)); age < 50 || age > 80 {
			continue
		}
		ill := 0.0
		if p.onset[illnessIndex["ischaemic"]] != missing {
			ill = 1
		}
		if p.onset[illnessIndex["diabetes2"]] != missing {
			with, nWith = with+ill, nWith+1
		} else {
			without, nWithout = without+ill, nWithout+1
		}
	}
	if with/float64(nWith) < 1.3*without/float64(nWithout) {
		t.Errorf("diabetes does not raise ischaemic heart disease: %.3f with, %.3f without", with/float64(nWith), without/float64(nWithout))
	}
}

func TestMortality(t *testing.T) {
	c := theCountry(t)
	rate := float64(c.summary.Counts.Deaths) / testPeople / 3 * 1000
	if rate < 7 || rate > 13 {
		t.Errorf("%.1f deaths per 1,000 and year, want 7 to 13", rate)
	}
	births := float64(c.summary.Counts.Births) / testPeople / 3 * 1000
	if births < 7 || births > 13 {
		t.Errorf("%.1f births per 1,000 and year, want 7 to 13", births)
	}
	if got := len(c.table(t, "cnam/snds/KI_CCI_R").rows); int64(got) != c.summary.Counts.Deaths {
		t.Errorf("%d death certificates, %d deaths", got, c.summary.Counts.Deaths)
	}
}

// A stay that says it came from the emergency ward has the visit, on the day of admission, at the same
// person; every admitted visit has its stay.
func TestStaysFollowEmergencies(t *testing.T) {
	c := theCountry(t)
	visits, stays := c.table(t, "sante-publique/oscour/RPU"), c.table(t, "cnam/snds/T_MCOaaB")
	insured, seen := c.owners(t, "cnam/snds"), c.owners(t, "sante-publique/oscour")
	type event struct {
		person int
		day    string
	}
	admitted := map[event]string{}
	n := 0
	for _, r := range visits.rows {
		if visits.get(r, "MODE_SORTIE") == "6" {
			p := seen[visits.get(r, "NUM_PASSAGE")]
			for _, at := range []string{visits.get(r, "ENTREE")[:10], visits.get(r, "SORTIE")[:10]} {
				admitted[event{p, at}] = visits.get(r, "DP")
			}
			n++
		}
	}
	fromWard := 0
	for _, r := range stays.rows {
		if stays.get(r, "ENT_PRV") != "5" {
			continue
		}
		fromWard++
		dp, ok := admitted[event{insured[stays.get(r, "BEN_IDT_ANO")], stays.get(r, "EXE_SOI_DTD")}]
		if !ok || dp != stays.get(r, "DGN_PAL") {
			t.Errorf("stay %s from the emergency ward on %s for %s: visit %q", stays.get(r, "RSA_NUM"), stays.get(r, "EXE_SOI_DTD"), stays.get(r, "DGN_PAL"), dp)
		}
	}
	if fromWard != n || n < 100 {
		t.Errorf("%d stays from the emergency ward, %d admitted visits", fromWard, n)
	}
}

// Women give birth, in a stay on the day their child is born with a stay of its own.
func TestBirthsAreStays(t *testing.T) {
	c := theCountry(t)
	people, insured := c.people(t), c.owners(t, "cnam/snds")
	stays := c.table(t, "cnam/snds/T_MCOaaB")
	delivered := map[string]bool{}
	born := map[int]bool{}
	for _, r := range stays.rows {
		p := people[insured[stays.get(r, "BEN_IDT_ANO")]]
		switch dp := stays.get(r, "DGN_PAL"); {
		case strings.HasPrefix(dp, "O8"):
			if p.sex != "2" {
				t.Fatalf("a man delivered: %+v", p)
			}
			delivered[p.nir+stays.get(r, "EXE_SOI_DTD")] = true
		case dp == icdNewborn:
			born[insured[stays.get(r, "BEN_IDT_ANO")]] = true
		}
	}
	for n, p := range people {
		if p.birth < "2023-01-01" {
			continue
		}
		if !born[n] {
			t.Errorf("person %d, born %s, has no stay at birth", n, p.birth)
		}
		if p.mother != 0 && !delivered[people[p.mother].nir+p.birth] {
			t.Errorf("person %d, born %s: the mother has no delivery", n, p.birth)
		}
	}
}

// The cohorts are drawn from the sick, and answers follow illness.
func TestCohortsComeFromTheSick(t *testing.T) {
	c := theCountry(t)
	sarcoma := c.table(t, "institut-sarcome/cohorte/PATIENT")
	for _, r := range sarcoma.rows {
		if code := sarcoma.get(r, "CIM10"); !slices.Contains(illnesses[illnessIndex["sarcoma"]].codes, code) {
			t.Errorf("sarcoma patient with %s", code)
		}
	}
	grafts := c.table(t, "registre-moelle/greffes/GREFFE")
	for _, r := range grafts.rows {
		if code := grafts.get(r, "INDICATION"); !slices.Contains(illnesses[illnessIndex["blood cancer"]].codes, code) {
			t.Errorf("transplant for %s", code)
		}
		if grafts.get(r, "DATE_GREFFE") <= grafts.get(r, "DATE_DIAGNOSTIC") {
			t.Errorf("transplant %s before the diagnosis %s", grafts.get(r, "DATE_GREFFE"), grafts.get(r, "DATE_DIAGNOSTIC"))
		}
	}
	people, owners := c.people(t), c.owners(t, "universites/etudiants")
	answers := c.table(t, "universites/etudiants/QUESTIONNAIRE")
	for _, r := range answers.rows {
		p := people[owners[answers.get(r, "NUM_ETUDIANT")]]
		if age := ageAt(parseDay(t, p.birth), parseDay(t, answers.get(r, "DATE_REPONSE"))); age < 18 || age > 32 {
			t.Errorf("student aged %d", age)
		}
		if v := number(t, answers.get(r, "PHQ9")); v < 0 || v > 27 {
			t.Errorf("PHQ-9 of %d", v)
		}
	}
}
