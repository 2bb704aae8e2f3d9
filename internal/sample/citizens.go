package sample

// Citizen is a living adult with her true identity, for the demonstration's identity provider.
type Citizen struct {
	Person    int64  `json:"person"` // number in the truth file
	GivenName string `json:"given_name"`
	// FamilyName is the birth name, as the national identity has it; UsedName the name she goes by.
	FamilyName string   `json:"family_name"`
	UsedName   string   `json:"used_name"`
	BirthDate  string   `json:"birthdate"` // YYYY-MM-DD
	Sex        string   `json:"sex"`       // "1" man, "2" woman
	BirthPlace string   `json:"birth_place"`
	NIR        string   `json:"nir"`
	Tags       []string `json:"tags"` // why she is interesting
}

// Why a citizen is interesting.
const (
	tagTwin       = "twin"
	tagNameChange = "name_change"
	tagParentNIR  = "parent_nir" // has an older record under a parent's number
	tagCorsica    = "corsica"
	tagOverseas   = "overseas"
	tagAbroad     = "born_abroad"
	tagSarcoma    = "sarcoma"
	tagStudent    = "student"
	tagMoved      = "moved"
	tagOrdinary   = "ordinary"
)

// citizensPerTag makes 30 citizens with the ten tags.
const citizensPerTag = 3

// propose offers a person as an interesting citizen, when she is a living adult.
func (w *chunk) propose(p *person, tag string) {
	if p.death != missing || ageAt(p.birth, w.end) < 18 {
		return
	}
	n := 0
	for i := range w.citizens {
		c := &w.citizens[i]
		if c.Person == p.number {
			c.Tags = append(c.Tags, tag)
			return
		}
		if c.Tags[0] == tag {
			n++
		}
	}
	if n >= citizensPerTag {
		return
	}
	w.citizens = append(w.citizens, Citizen{Person: p.number, GivenName: p.given, FamilyName: p.birthName, UsedName: p.usedName, BirthDate: dateText(p.birth),
		Sex: sexCodes[p.sex-1], BirthPlace: places[p.birthPlace].code, NIR: string(p.nir[:]), Tags: []string{tag}})
}

func (w *chunk) proposeUsual(p *person) {
	switch code := places[p.birthPlace].code; {
	case p.twin >= 0 && w.people[p.twin].sex == p.sex:
		w.propose(p, tagTwin)
	case p.married != missing:
		w.propose(p, tagNameChange)
	case code[0] == '2' && (code[1] == 'A' || code[1] == 'B'):
		w.propose(p, tagCorsica)
	case code[:2] == "97":
		w.propose(p, tagOverseas)
	case p.abroad:
		w.propose(p, tagAbroad)
	case p.moved != missing:
		w.propose(p, tagMoved)
	default:
		w.propose(p, tagOrdinary)
	}
}

// choose takes the first candidates of each tag, in the order of the tags; found holds the candidates of
// the chunks in order.
func choose(found []Citizen) []Citizen {
	out := []Citizen{}
	taken := map[int64]bool{}
	for _, tag := range []string{tagTwin, tagNameChange, tagParentNIR, tagSarcoma, tagStudent, tagCorsica, tagOverseas, tagAbroad, tagMoved, tagOrdinary} {
		n := 0
		for _, c := range found {
			if n < citizensPerTag && c.Tags[0] == tag && !taken[c.Person] {
				taken[c.Person] = true
				out = append(out, c)
				n++
			}
		}
	}
	return out
}
