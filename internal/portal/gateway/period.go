package gateway

import (
	"fmt"
	"time"
)

// Unit is the unit a legal period is expressed in.
type Unit string

const (
	Days        Unit = "days"
	WorkingDays Unit = "working_days"
	Weeks       Unit = "weeks"
	Months      Unit = "months"
	Years       Unit = "years"
)

// Valid reports whether u is one of the five units of the rule table.
func (u Unit) Valid() bool {
	switch u {
	case Days, WorkingDays, Weeks, Months, Years:
		return true
	}
	return false
}

// Calendar says which days are public holidays. Days are written as times at midnight UTC whatever the
// time zone: they are civil dates, not instants.
type Calendar struct {
	// Fixed holidays, "MM-DD".
	Fixed []string `yaml:"fixed"`
	// Easter holidays as days after (or before) Easter Sunday: 1 is Easter Monday.
	Easter []int `yaml:"easter"`

	fixed  map[[2]int]bool
	easter map[int]bool
}

// prepare checks the calendar and builds its look-up tables.
func (c *Calendar) prepare() error {
	c.fixed, c.easter = map[[2]int]bool{}, map[int]bool{}
	for _, s := range c.Fixed {
		d, err := time.Parse("01-02", s)
		if err != nil || len(s) != 5 {
			return fmt.Errorf("holiday %q: want MM-DD", s)
		}
		c.fixed[[2]int{int(d.Month()), d.Day()}] = true
	}
	for _, n := range c.Easter {
		if n < -100 || n > 100 {
			return fmt.Errorf("holiday %d days from Easter: want -100 to 100", n)
		}
		c.easter[n] = true
	}
	return nil
}

// Holiday reports whether d is a public holiday.
func (c *Calendar) Holiday(d time.Time) bool {
	if c.fixed[[2]int{int(d.Month()), d.Day()}] {
		return true
	}
	return c.easter[daysBetween(EasterSunday(d.Year()), d)]
}

// WorkingDay reports whether d is neither a holiday nor a Saturday nor a Sunday
// (Regulation 1182/71, Art. 2).
func (c *Calendar) WorkingDay(d time.Time) bool {
	return d.Weekday() != time.Saturday && d.Weekday() != time.Sunday && !c.Holiday(d)
}

// NextWorkingDay returns d, or the first working day after it.
func (c *Calendar) NextWorkingDay(d time.Time) time.Time {
	for !c.WorkingDay(d) {
		d = d.AddDate(0, 0, 1)
	}
	return d
}

// LastDay returns the day with whose last hour a period ends, by Regulation (EEC, Euratom) No 1182/71:
// the day of the event is not counted (Art. 3(1)); weeks, months and years end on the same weekday or
// date, or on the last day of a month that has no such date (Art. 3(2)(c)); extra days, during which the
// clock stood still, are added; a period that ends on a holiday, Saturday or Sunday runs to the next
// working day (Art. 3(4)); a period of two days or more holds at least two working days (Art. 3(5)).
func (c *Calendar) LastDay(event time.Time, length int, unit Unit, extra int) time.Time {
	event = dayOf(event)
	var end time.Time
	switch unit {
	case WorkingDays:
		end = event
		for n := length; n > 0; {
			end = end.AddDate(0, 0, 1)
			if c.WorkingDay(end) {
				n--
			}
		}
	case Weeks:
		end = event.AddDate(0, 0, 7*length)
	case Months:
		end = addMonths(event, length)
	case Years:
		end = addMonths(event, 12*length)
	default:
		end = event.AddDate(0, 0, length)
	}
	end = c.NextWorkingDay(end.AddDate(0, 0, extra))
	if length < 2 && (unit == Days || unit == WorkingDays) {
		return end
	}
	for c.workingDays(event, end) < 2 {
		end = c.NextWorkingDay(end.AddDate(0, 0, 1))
	}
	return end
}

// workingDays counts the working days after event up to and including end, and stops at two.
func (c *Calendar) workingDays(event, end time.Time) int {
	n := 0
	for d := event.AddDate(0, 0, 1); !d.After(end) && n < 2; d = d.AddDate(0, 0, 1) {
		if c.WorkingDay(d) {
			n++
		}
	}
	return n
}

// addMonths goes n months ahead to the same date, or to the last day of a shorter month.
func addMonths(d time.Time, n int) time.Time {
	first := time.Date(d.Year(), d.Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(d.Day(), last)-1)
}

// dayOf drops the time of day and the zone: the civil date that t shows.
func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// daysBetween counts the days from a to b; both are civil dates.
func daysBetween(a, b time.Time) int { return int(b.Sub(a) / (24 * time.Hour)) }

// EasterSunday is the Gregorian Easter (the anonymous algorithm of Meeus, Jones and Butcher).
func EasterSunday(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	g := (8*b + 13) / 25
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 19*l) / 433
	month := (h + l - 7*m + 90) / 25
	day := (h + l - 7*m + 33*month + 19) % 32
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
}
