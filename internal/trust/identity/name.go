package identity

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Words that stand for "no name" in holders' files, already normalised.
var noName = map[string]bool{
	"X": true, "XX": true, "XXX": true, "XXXX": true, "INCONNU": true, "INCONNUE": true, "UNKNOWN": true, "ANONYME": true,
	"SANSNOM": true, "SANSPRENOM": true, "NONRENSEIGNE": true, "NONCONNU": true, "NR": true, "ND": true, "NA": true, "NULL": true,
	"SECRET": true, "ENFANT": true, "BEBE": true, "NOUVEAUNE": true, "TEST": true,
}

// Letters that Unicode does not decompose.
var letters = map[rune]string{
	'œ': "OE", 'Œ': "OE", 'æ': "AE", 'Æ': "AE", 'ß': "SS", 'ẞ': "SS", 'ø': "O", 'Ø': "O", 'ł': "L", 'Ł': "L",
	'đ': "D", 'Đ': "D", 'ð': "D", 'Ð': "D", 'þ': "TH", 'Þ': "TH", 'ı': "I", 'ŋ': "N", 'Ŋ': "N",
}

// FamilyName normalises a birth or used name: capitals without accents, hyphens, apostrophes and spaces;
// leading particles (de, du, des, d', de la, de l') dropped; "St" and "Ste" written out. "" when the
// field says that the name is unknown.
//
// Particles go because registers disagree about them: "de La Tour" is also filed as "La Tour".
func FamilyName(s string) string {
	words := fold(s)
	for len(words) > 1 && (words[0] == "DE" || words[0] == "DU" || words[0] == "DES" || words[0] == "D") {
		words = words[1:]
	}
	return join(words)
}

// GivenName normalises the first of the given names; a comma ends it ("Jean-Pierre, Marie"), a space does
// not, since "Jean Pierre" may be one name.
func GivenName(s string) string {
	if i := strings.IndexByte(s, ','); i >= 0 {
		s = s[:i]
	}
	return join(fold(s))
}

func join(words []string) string {
	for i, w := range words {
		switch w {
		case "ST":
			words[i] = "SAINT"
		case "STE":
			words[i] = "SAINTE"
		}
	}
	s := words
	var out string
	if len(s) == 1 {
		out = s[0]
	} else {
		out = strings.Join(s, "")
	}
	if noName[out] {
		return ""
	}
	return out
}

// fold cuts s into words of capital letters. Everything that is not a letter separates words, except that
// combining marks vanish. At most 100 letters are kept.
func fold(s string) []string {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if !ascii {
		s = norm.NFKD.String(s)
	}
	var words []string
	var b strings.Builder
	total := 0
	end := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	for _, r := range s {
		if total >= 100 {
			break
		}
		switch {
		case r >= 'A' && r <= 'Z':
			b.WriteByte(byte(r))
		case r >= 'a' && r <= 'z':
			b.WriteByte(byte(r) - ('a' - 'A'))
		case r < 0x80:
			end()
			continue
		case unicode.Is(unicode.Mn, r):
			continue
		case letters[r] != "":
			b.WriteString(letters[r])
		case unicode.IsLetter(r):
			b.WriteRune(unicode.ToUpper(r))
		default:
			end()
			continue
		}
		total++
	}
	end()
	return words
}
