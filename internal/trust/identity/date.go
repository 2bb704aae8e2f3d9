package identity

import "time"

// Date is a date of birth as YYYYMMDD, where 0 stands for an unknown part: 19500000 is "in 1950".
// The zero value is an unknown date.
type Date int32

// Year, Month and Day return 0 where that part is unknown.
func (d Date) Year() int  { return int(d) / 10000 }
func (d Date) Month() int { return int(d) / 100 % 100 }
func (d Date) Day() int   { return int(d) % 100 }

// Full reports whether the day is known, so that the date can identify.
func (d Date) Full() bool { return d.Day() != 0 }

// Conflicts reports that both dates are known and cannot be the same day.
func (d Date) Conflicts(o Date) bool {
	if d == 0 || o == 0 {
		return false
	}
	if d.Year() != o.Year() {
		return true
	}
	if d.Month() != 0 && o.Month() != 0 && d.Month() != o.Month() {
		return true
	}
	return d.Day() != 0 && o.Day() != 0 && d.Day() != o.Day()
}

// firstYear is the earliest year of birth taken seriously: nobody alive was born before.
const firstYear = 1850

// ParseDate reads YYYY-MM-DD, YYYYMMDD, DD/MM/YYYY, and partial dates (YYYY, YYYY-MM, or 00 for an unknown
// month or day). A date that does not exist, is before 1850 or after now, or stands for "unknown" in SNDS
// files (1600-01-01, 1900-01-01) is unknown; reason says why.
func ParseDate(s string, now time.Time) (d Date, reason string) {
	digits := func(s string) (int, bool) {
		n := 0
		for i := 0; i < len(s); i++ {
			if !digit(s[i]) {
				return 0, false
			}
			n = n*10 + int(s[i]-'0')
		}
		return n, len(s) > 0
	}
	var ys, ms, ds string
	switch {
	case s == "":
		return 0, "missing"
	case len(s) == 10 && s[4] == '-' && s[7] == '-':
		ys, ms, ds = s[:4], s[5:7], s[8:]
	case len(s) == 10 && s[2] == '/' && s[5] == '/':
		ys, ms, ds = s[6:], s[3:5], s[:2]
	case len(s) == 8:
		ys, ms, ds = s[:4], s[4:6], s[6:]
	case len(s) == 7 && s[4] == '-':
		ys, ms, ds = s[:4], s[5:], "00"
	case len(s) == 4:
		ys, ms, ds = s, "00", "00"
	default:
		return 0, "not a date"
	}
	y, ok1 := digits(ys)
	m, ok2 := digits(ms)
	day, ok3 := digits(ds)
	if !ok1 || !ok2 || !ok3 {
		return 0, "not a date"
	}
	switch {
	case y == 1600 || y == 9999 || (y == 1900 && m == 1 && day == 1):
		return 0, "filler"
	case y < firstYear:
		return 0, "before 1850"
	case m == 0 && day != 0 || m > 12:
		return 0, "the month does not exist"
	case day > daysIn(y, m):
		return 0, "the day does not exist"
	}
	d = Date(y*10000 + m*100 + day)
	n := now.UTC()
	if int(d) > n.Year()*10000+int(n.Month())*100+n.Day() {
		return 0, "in the future"
	}
	return d, ""
}

func daysIn(y, m int) int {
	switch m {
	case 0:
		return 0
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
