package identity

import (
	"strings"
)

// NIRKind says what a NIR may be used for.
type NIRKind uint8

const (
	NIRNone        NIRKind = iota // nothing written
	NIRInvalid                    // not a NIR, or its key does not fit
	NIRSentinel                   // a filler that stands for "unknown" (SNDS writes seventeen x)
	NIRValid                      // identifies one person
	NIRProvisional                // starts with 3, 4, 7 or 8: given while the person is being registered, may be replaced
	NIRMigrant                    // starts with 5 or 6: passing migrant
)

// String names the kind for reports.
func (k NIRKind) String() string {
	return [...]string{"none", "invalid", "sentinel", "valid", "provisional", "migrant"}[k]
}

// NIR is the French national number ("numéro d'inscription au répertoire", INSEE): sex 1, year 2, month 2,
// place 5, order 3, key 2. Only NIRValid may link persons.
type NIR struct {
	Kind NIRKind
	// Number is the 13 characters without the key, upper case; "" unless the whole number, key included, is well formed.
	Number string
	Sex    byte // '1' or '2'
	Year   int  // two digits: 1909 and 2009 cannot be told apart
	Month  int  // 1 to 12, or 0 when the number was given without a known month
	Reason string
}

// ParseNIR reads a NIR of 15 characters; spaces, dots and hyphens between them are ignored. The result
// says in Reason why a number is not NIRValid.
func ParseNIR(s string) NIR {
	var buf [15]byte
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case ' ', '.', '-', '\t':
			continue
		}
		if n == len(buf) {
			if isFiller(s) {
				return NIR{Kind: NIRSentinel, Reason: "filler"}
			}
			return NIR{Kind: NIRInvalid, Reason: "longer than 15 characters"}
		}
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[n] = c
		n++
	}
	if n == 0 {
		return NIR{Kind: NIRNone, Reason: "missing"}
	}
	if isFiller(s) {
		return NIR{Kind: NIRSentinel, Reason: "filler"}
	}
	bad := func(reason string) NIR { return NIR{Kind: NIRInvalid, Reason: reason} }
	switch {
	case n == 13:
		return bad("the key is missing, so the number cannot be checked")
	case n != 15:
		return bad("not 15 characters")
	}
	b := buf[:15]
	// Corsica: departments 2A and 2B count as 19 and 18 in the key (INSEE, décret 98-92).
	corsica := b[6] == 'A' || b[6] == 'B'
	if corsica && b[5] != '2' {
		return bad("a letter stands only in the Corsican departments 2A and 2B")
	}
	var value uint64
	for i, c := range b[:13] {
		switch {
		case i == 6 && c == 'A':
			c = '9'
		case i == 6 && c == 'B':
			c = '8'
		case c < '0' || c > '9':
			return bad("a character that is not a digit")
		}
		if i == 5 && corsica {
			c = '1'
		}
		value = value*10 + uint64(c-'0')
	}
	if !digit(b[13]) || !digit(b[14]) {
		return bad("the key is not two digits")
	}
	if key := uint64(two(b[13:])); key != 97-value%97 {
		return bad("the key does not fit the number")
	}
	out := NIR{Year: two(b[1:]), Month: two(b[3:]), Sex: b[0]}
	switch b[0] {
	case '1', '2':
		out.Kind = NIRValid
	case '3', '4', '7', '8':
		out.Kind, out.Sex = NIRProvisional, '1'+(b[0]-'1')%2
		out.Reason = "provisional number"
	case '5', '6':
		out.Kind, out.Sex = NIRMigrant, '1'+(b[0]-'1')%2
		out.Reason = "number of a passing migrant"
	default:
		return bad("the first digit is not 1 to 8")
	}
	switch m := out.Month; {
	case m >= 1 && m <= 12:
	case m == 20, m >= 30 && m <= 42, m >= 50: // birth act incomplete or month unknown
		out.Month = 0
	default:
		return bad("the month does not exist")
	}
	if reason := checkPlace(b[5:10]); reason != "" {
		return bad(reason)
	}
	if b[10] == '0' && b[11] == '0' && b[12] == '0' {
		return bad("order number 000")
	}
	out.Number = string(b[:13])
	return out
}

// checkPlace reads the five characters of the place of birth: department and commune, 97 or 98 with a
// third digit for overseas, 99 and the country's code for abroad.
func checkPlace(p []byte) string {
	if p[1] == 'A' || p[1] == 'B' {
		if three(p[2:]) == 0 {
			return "commune 000"
		}
		return ""
	}
	switch dept := two(p); {
	case dept == 0:
		return "department 00"
	case dept == 97 || dept == 98:
		if p[2] == '0' {
			return "overseas department " + string(p[:3])
		}
		if two(p[3:]) == 0 {
			return "overseas commune 00"
		}
	case three(p[2:]) == 0 && dept == 99:
		return "country 000"
	case three(p[2:]) == 0:
		return "commune 000"
	}
	return ""
}

// Agrees reports whether the number could be this person's own: not when the sex differs, nor when both
// the year and the month of birth do. It catches children written with a parent's number.
func (n NIR) Agrees(d Date, sex byte) bool {
	if sex != 0 && sex != n.Sex {
		return false
	}
	if d.Year() == 0 {
		return true
	}
	if d.Year()%100 == n.Year {
		return true
	}
	return n.Month != 0 && n.Month == d.Month()
}

// Code packs the 13 characters into one integer, different for each number: 2A and 2B keep their letter.
func (n NIR) Code() uint64 { return nirCode(n.Number) }

func nirCode(s string) uint64 {
	var v uint64
	for i := 0; i < len(s); i++ {
		c := s[i]
		d := uint64(c - '0')
		if c >= 'A' {
			d = uint64(c-'A') + 10
		}
		v = v*12 + d // digits, A and B: 12^13 < 2^47
	}
	return v
}

// isFiller reports one character repeated at least eight times and nothing else.
func isFiller(s string) bool {
	s = strings.TrimSpace(s)
	if len(s) < 8 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			return false
		}
	}
	return true
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func two(b []byte) int   { return int(b[0]-'0')*10 + int(b[1]-'0') }
func three(b []byte) int { return two(b)*10 + int(b[2]-'0') }

// NIRFromCode is the inverse of Code; "" for 0.
func NIRFromCode(v uint64) string {
	if v == 0 {
		return ""
	}
	var b [13]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789AB"[v%12]
		v /= 12
	}
	return string(b[:])
}

// CodeOf is Code for the 13 characters alone; 0 for "".
func CodeOf(number string) uint64 { return nirCode(number) }
