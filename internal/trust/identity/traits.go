package identity

import (
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// Traits are the normalised identity of one record. Empty fields are unknown.
type Traits struct {
	// NIR is the person's own number (13 characters); "" unless it is valid and agrees with birth date and sex.
	NIR string
	// OwnerNIR is the number of the opener of rights under which the person is known, valid or provisional.
	OwnerNIR  string
	TwinRank  byte // '1' … '9'; 0 unknown
	BirthName string
	UsedName  string
	GivenName string
	BirthDate Date
	Sex       byte // '1' male, '2' female, 0 unknown (INSEE)
	// BirthPlace is the INSEE code of the commune or country of birth.
	BirthPlace string
	LocalID    string
	// NIRKind says what became of the number as it was written.
	NIRKind NIRKind
}

// Normalise brings a record to its comparable form. It never fails: what cannot be used is left empty.
func Normalise(id *contract.Identity, now time.Time) Traits {
	t := Traits{
		BirthName:  FamilyName(id.BirthName),
		UsedName:   FamilyName(id.UsedName),
		GivenName:  GivenName(id.GivenName),
		Sex:        Sex(id.Sex),
		BirthPlace: Place(id.BirthPlace),
		LocalID:    strings.TrimSpace(id.LocalID),
	}
	t.BirthDate, _ = ParseDate(strings.TrimSpace(id.BirthDate), now)
	if r := strings.TrimSpace(id.TwinRank); len(r) == 1 && r[0] >= '1' && r[0] <= '9' {
		t.TwinRank = r[0]
	}
	owner := ParseNIR(id.OwnerNIR)
	if owner.Kind == NIRValid || owner.Kind == NIRProvisional {
		t.OwnerNIR = owner.Number
	}
	own := ParseNIR(id.NIR)
	t.NIRKind = own.Kind
	switch {
	case own.Kind != NIRValid:
	case own.Agrees(t.BirthDate, t.Sex):
		t.NIR = own.Number
		if t.Sex == 0 {
			t.Sex = own.Sex
		}
	case t.OwnerNIR == "":
		// A sound number that cannot be this person's own: the parent's, as it is for most children.
		t.OwnerNIR = own.Number
	}
	if t.OwnerNIR == t.NIR {
		t.OwnerNIR = "" // the person's own rights
	}
	return t
}

// Sex reads "1" and "2" (INSEE), "M", "H" and "F", and OpenID's "male" and "female".
func Sex(s string) byte {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "1", "M", "H", "MALE":
		return '1'
	case "2", "F", "FEMALE":
		return '2'
	}
	return 0
}

// Place normalises the INSEE code of the place of birth: five characters, else unknown.
func Place(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) != 5 || s == "00000" || isFiller(s+s) {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if !digit(s[i]) && !(i == 1 && (s[i] == 'A' || s[i] == 'B')) {
			return ""
		}
	}
	return s
}
