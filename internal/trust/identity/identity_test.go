package identity

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
)

var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// withKey is the textbook rule, in big integers: the oracle of ParseNIR.
func withKey(n13 string) string {
	digits := strings.Replace(strings.Replace(n13, "2A", "19", 1), "2B", "18", 1)
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return n13 + "00"
	}
	return fmt.Sprintf("%s%02d", n13, 97-new(big.Int).Mod(n, big.NewInt(97)).Int64())
}

func TestParseNIR(t *testing.T) {
	for _, c := range []struct {
		in, reason string
		kind       NIRKind
		number     string
		sex        byte
		month      int
	}{
		{in: "255081416802538", kind: NIRValid, number: "2550814168025", sex: '2', month: 8}, // INSEE's own specimen
		{in: "2 55 08 14 168 025 38", kind: NIRValid, number: "2550814168025", sex: '2', month: 8},
		{in: "255081416802539", kind: NIRInvalid, reason: "key"},
		{in: "2550814168025", kind: NIRInvalid, reason: "key is missing"},
		{in: withKey("185012A004001"), kind: NIRValid, number: "185012A004001", sex: '1', month: 1},
		{in: strings.ToLower(withKey("185012B004001")), kind: NIRValid, number: "185012B004001", sex: '1', month: 1},
		{in: withKey("185013A004001"), kind: NIRInvalid, reason: "Corsican"},
		{in: withKey("1850120004001"), kind: NIRValid, number: "1850120004001", sex: '1', month: 1}, // Corsica before 1976
		{in: withKey("1852075104001"), kind: NIRValid, number: "1852075104001", sex: '1'},
		{in: withKey("1853475104001"), kind: NIRValid, number: "1853475104001", sex: '1'},
		{in: withKey("1859975104001"), kind: NIRValid, number: "1859975104001", sex: '1'},
		{in: withKey("1851375104001"), kind: NIRInvalid, reason: "month"},
		{in: withKey("1854575104001"), kind: NIRInvalid, reason: "month"},
		{in: withKey("1850075104001"), kind: NIRInvalid, reason: "month"},
		{in: withKey("1850199352001"), kind: NIRValid, number: "1850199352001", sex: '1', month: 1}, // Algeria
		{in: withKey("1850199000001"), kind: NIRInvalid, reason: "country 000"},
		{in: withKey("1850197411001"), kind: NIRValid, number: "1850197411001", sex: '1', month: 1}, // Réunion
		{in: withKey("1850197011001"), kind: NIRInvalid, reason: "overseas department 970"},
		{in: withKey("1850198800001"), kind: NIRInvalid, reason: "overseas commune"},
		{in: withKey("1850100104001"), kind: NIRInvalid, reason: "department 00"},
		{in: withKey("1850175000001"), kind: NIRInvalid, reason: "commune 000"},
		{in: withKey("1850175104000"), kind: NIRInvalid, reason: "order number"},
		{in: withKey("7850175104001"), kind: NIRProvisional, number: "7850175104001", sex: '1', month: 1, reason: "provisional"},
		{in: withKey("8850175104001"), kind: NIRProvisional, number: "8850175104001", sex: '2', month: 1, reason: "provisional"},
		{in: withKey("3850199104001"), kind: NIRProvisional, number: "3850199104001", sex: '1', month: 1, reason: "provisional"},
		{in: withKey("6850199104001"), kind: NIRMigrant, number: "6850199104001", sex: '2', month: 1, reason: "migrant"},
		{in: withKey("9850175104001"), kind: NIRInvalid, reason: "first digit"},
		{in: "xxxxxxxxxxxxxxxxx", kind: NIRSentinel, reason: "filler"},
		{in: "000000000000000", kind: NIRSentinel, reason: "filler"},
		{in: "", kind: NIRNone, reason: "missing"},
		{in: "  ", kind: NIRNone, reason: "missing"},
		{in: "25508141680253\x00", kind: NIRInvalid, reason: "key"},
		{in: "2550814168025380", kind: NIRInvalid, reason: "longer"},
		{in: "25508é416802538", kind: NIRInvalid, reason: "longer"},
		{in: "25508O416802538", kind: NIRInvalid, reason: "digit"},
	} {
		got := ParseNIR(c.in)
		if got.Kind != c.kind || got.Number != c.number || !strings.Contains(got.Reason, c.reason) || (c.reason == "") != (got.Reason == "") {
			t.Errorf("%q: %+v, want %v %q %q", c.in, got, c.kind, c.number, c.reason)
		}
		if c.sex != 0 && (got.Sex != c.sex || got.Month != c.month) {
			t.Errorf("%q: sex %c month %d, want %c %d", c.in, got.Sex, got.Month, c.sex, c.month)
		}
	}
}

func drawNIR(t *rapid.T) string {
	dept := rapid.SampledFrom([]string{"01", "13", "2A", "2B", "33", "59", "75", "95", "99"}).Draw(t, "dept")
	return fmt.Sprintf("%d%02d%02d%s%03d%03d", rapid.IntRange(1, 2).Draw(t, "sex"), rapid.IntRange(0, 99).Draw(t, "year"),
		rapid.IntRange(1, 12).Draw(t, "month"), dept, rapid.IntRange(1, 990).Draw(t, "commune"), rapid.IntRange(1, 999).Draw(t, "order"))
}

func TestNIRProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n13 := drawNIR(t)
		full := withKey(n13)
		n := ParseNIR(full)
		if n.Kind != NIRValid || n.Number != n13 {
			t.Fatalf("%s: %+v", full, n)
		}
		// One digit mistyped, or two neighbours swapped, is always found (97 is prime).
		i := rapid.IntRange(0, 14).Draw(t, "i")
		b := []byte(full)
		if b[i] >= '0' && b[i] <= '9' {
			b[i] = '0' + (b[i]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
			if got := ParseNIR(string(b)); got.Kind == NIRValid {
				t.Fatalf("%s passes for %s", b, full)
			}
		}
		other := drawNIR(t)
		if a, b := n.Code(), ParseNIR(withKey(other)).Code(); (a == b) != (n13 == other) {
			t.Fatalf("codes of %s and %s: %d %d", n13, other, a, b)
		}
	})
}

func TestNIRAgrees(t *testing.T) {
	n := ParseNIR(withKey("2550814168025"))
	for _, c := range []struct {
		d    Date
		sex  byte
		want bool
	}{
		{19550817, '2', true}, {19550817, '1', false}, {19550817, 0, true}, {0, '2', true}, {0, 0, true},
		{19560817, '2', true},  // a slip in the year
		{19550917, '2', true},  // a slip in the month
		{19850417, '2', false}, // the daughter, under her mother's number
		{19550000, '2', true},
		{18550817, '2', true}, // the century is not in the number
	} {
		if got := n.Agrees(c.d, c.sex); got != c.want {
			t.Errorf("%d %c: %v", c.d, c.sex, got)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"Lefèvre": "LEFEVRE", "LE FÈVRE": "LEFEVRE", "le-fevre": "LEFEVRE", "L'Hôpital": "LHOPITAL", "L’HÔPITAL": "LHOPITAL",
		"de La Tour": "LATOUR", "La Tour": "LATOUR", "d'Estaing": "ESTAING", "D’Estaing": "ESTAING", "du Pont": "PONT", "Dupont": "DUPONT",
		"DE": "DE", "Martin-Dupont": "MARTINDUPONT", "Cœur": "COEUR", "Lætitia": "LAETITIA", "Ste-Marie": "SAINTEMARIE", "St Exupéry": "SAINTEXUPERY",
		"  ": "", "XXX": "", "Inconnu": "", "SANS NOM": "", "O’Brien": "OBRIEN", "Müller": "MULLER", "Großmann": "GROSSMANN", "Łukasz": "LUKASZ",
		"N'Diaye": "NDIAYE", "Nguyễn": "NGUYEN", "Иванов": "ИВАНОВ", "Иванов\u0301": "ИВАНОВ", "Martin2": "MARTIN", "A\x00B": "AB",
	} {
		if got := FamilyName(in); got != want {
			t.Errorf("FamilyName(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"Jean-Pierre": "JEANPIERRE", "Jean Pierre, Marie": "JEANPIERRE", "JEAN": "JEAN", "Loïc": "LOIC", "Bébé": "", "Zoé,": "ZOE", ",Anne": "",
	} {
		if got := GivenName(in); got != want {
			t.Errorf("GivenName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNamesAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		n := FamilyName(s)
		if got := GivenName(n); got != n && n != "ST" && n != "STE" {
			t.Fatalf("%q → %q → %q", s, n, got)
		}
		plain := rapid.StringMatching(`[A-Za-z]{2,12}([ '-][A-Za-z]{3,12})?`).Draw(t, "plain")
		if FamilyName(plain) != FamilyName(strings.ToLower(plain)) || FamilyName(plain) != FamilyName(strings.ReplaceAll(plain, "-", " ")) {
			t.Fatalf("%q: case or hyphen matters", plain)
		}
	})
}

func TestParseDate(t *testing.T) {
	for _, c := range []struct {
		in     string
		want   Date
		reason string
	}{
		{"1955-08-17", 19550817, ""}, {"17/08/1955", 19550817, ""}, {"19550817", 19550817, ""},
		{"1955-08", 19550800, ""}, {"1955", 19550000, ""}, {"1955-00-00", 19550000, ""}, {"1955-08-00", 19550800, ""},
		{"1955-00-17", 0, "month"}, {"1955-02-31", 0, "day"}, {"2000-02-29", 20000229, ""}, {"1900-02-29", 0, "day"}, {"1955-13-01", 0, "month"},
		{"1849-12-31", 0, "1850"}, {"2026-06-02", 0, "future"}, {"2026-06-01", 20260601, ""}, {"1600-01-01", 0, "filler"}, {"1900-01-01", 0, "filler"},
		{"", 0, "missing"}, {"hier", 0, "not a date"}, {"1955/08/17", 0, "not a date"}, {"19550-8-17", 0, "not a date"}, {"-955-08-17", 0, "not a date"},
	} {
		d, reason := ParseDate(c.in, today)
		if d != c.want || !strings.Contains(reason, c.reason) || (c.reason == "") != (reason == "") {
			t.Errorf("%q: %d %q, want %d %q", c.in, d, reason, c.want, c.reason)
		}
	}
}

// The standard library's calendar is the oracle.
func TestDatesAgreeWithTheCalendar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y, m, d := rapid.IntRange(1850, 2025).Draw(t, "y"), rapid.IntRange(1, 12).Draw(t, "m"), rapid.IntRange(1, 31).Draw(t, "d")
		s := fmt.Sprintf("%04d-%02d-%02d", y, m, d)
		_, err := time.Parse(time.DateOnly, s)
		got, reason := ParseDate(s, today)
		if s == "1900-01-01" {
			return
		}
		if (err == nil) != got.Full() || (reason == "") != got.Full() {
			t.Fatalf("%s: calendar %v, ours %d %q", s, err, got, reason)
		}
	})
}

func TestNormalise(t *testing.T) {
	mother := withKey("2550814168025")
	daughter := contract.Identity{NIR: mother, BirthName: "Lefèvre", GivenName: "Zoé", BirthDate: "1985-04-17", Sex: "2", LocalID: " 12 "}
	got := Normalise(&daughter, today)
	want := Traits{OwnerNIR: "2550814168025", BirthName: "LEFEVRE", GivenName: "ZOE", BirthDate: 19850417, Sex: '2', LocalID: "12", NIRKind: NIRValid}
	if got != want {
		t.Errorf("a child under the mother's number: %+v", got)
	}
	self := Normalise(&contract.Identity{NIR: mother, OwnerNIR: mother, BirthDate: "1955-08-17", TwinRank: "1", BirthPlace: "2a004"}, today)
	if self != (Traits{NIR: "2550814168025", BirthDate: 19550817, Sex: '2', TwinRank: '1', BirthPlace: "2A004", NIRKind: NIRValid}) {
		t.Errorf("her own record: %+v", self)
	}
	for _, n := range []string{withKey("7850175104001"), withKey("6850199104001"), "xxxxxxxxxxxxxxxxx", "255081416802539"} {
		if got := Normalise(&contract.Identity{NIR: n}, today); got.NIR != "" || got.OwnerNIR != "" {
			t.Errorf("%s links: %+v", n, got)
		}
	}
}

func FuzzParseNIR(f *testing.F) {
	f.Add("255081416802538")
	f.Add("18501 2A 004001-12")
	f.Fuzz(func(t *testing.T, s string) {
		n := ParseNIR(s)
		if (n.Number != "") != (n.Kind >= NIRValid) || (n.Kind == NIRValid) != (n.Reason == "") {
			t.Fatalf("%q: %+v", s, n)
		}
		if n.Number != "" && ParseNIR(withKey(n.Number)).Number != n.Number {
			t.Fatalf("%q: %+v does not read back", s, n)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("de La Tour-d’Auvergne")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{FamilyName(s), GivenName(s)} {
			if strings.ContainsAny(got, " -'’\x00") || strings.ToUpper(got) != got {
				t.Fatalf("%q → %q", s, got)
			}
		}
	})
}

func FuzzParseDate(f *testing.F) {
	f.Add("1955-08-17")
	f.Fuzz(func(t *testing.T, s string) {
		d, reason := ParseDate(s, today)
		if (d == 0) != (reason != "") || d != 0 && (d.Year() < firstYear || d.Month() > 12 || d.Day() > 31) {
			t.Fatalf("%q: %d %q", s, d, reason)
		}
	})
}

func BenchmarkNormalise(b *testing.B) {
	id := contract.Identity{NIR: withKey("2550814168025"), BirthName: "Lefèvre", UsedName: "de La Tour", GivenName: "Zoé", BirthDate: "1955-08-17", Sex: "2"}
	for b.Loop() {
		Normalise(&id, today)
	}
}
