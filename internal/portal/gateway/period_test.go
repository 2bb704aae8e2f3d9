package gateway

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func day(t testing.TB, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func french(t testing.TB) *Calendar {
	t.Helper()
	return &frSnds(t).Calendar
}

func TestLastDay(t *testing.T) {
	c := french(t)
	for _, x := range []struct {
		event  string
		length int
		unit   Unit
		extra  int
		want   string
		why    string
	}{
		{"2026-03-02", 7, Days, 0, "2026-03-09", "day of the event is not counted"},
		{"2026-03-04", 10, Days, 0, "2026-03-16", "ends on a Saturday"},
		{"2026-01-31", 1, Months, 0, "2026-03-02", "no 31 February: the 28th, a Saturday, then Monday"},
		{"2028-01-31", 1, Months, 0, "2028-02-29", "leap year"},
		{"2027-01-29", 1, Months, 0, "2027-03-01", "28 February 2027 is a Sunday"},
		{"2026-03-14", 1, Months, 0, "2026-04-14", "the same date"},
		{"2026-10-31", 2, Months, 0, "2026-12-31", "both months are long"},
		{"2026-06-14", 1, Months, 0, "2026-07-15", "14 July is a holiday"},
		{"2026-03-06", 1, Months, 0, "2026-04-07", "Easter Monday 2026 is 6 April"},
		{"2026-12-24", 1, Weeks, 0, "2026-12-31", "weeks end on the same weekday"},
		{"2026-12-18", 1, Weeks, 0, "2026-12-28", "Christmas, then a weekend"},
		{"2028-02-29", 1, Years, 0, "2029-02-28", "leap day"},
		{"2026-04-30", 2, Days, 0, "2026-05-05", "Labour day, weekend: at least two working days (Art. 3(5))"},
		{"2026-04-30", 1, Days, 0, "2026-05-04", "one day needs no two working days"},
		{"2026-12-23", 3, WorkingDays, 0, "2026-12-29", "24, 28, 29"},
		{"2026-03-02", 1, Months, 5, "2026-04-07", "five days of waiting, then Easter Monday"},
	} {
		got := c.LastDay(day(t, x.event), x.length, x.unit, x.extra)
		if !got.Equal(day(t, x.want)) {
			t.Errorf("%s + %d %s + %d: got %s, want %s (%s)", x.event, x.length, x.unit, x.extra, got.Format(time.DateOnly), x.want, x.why)
		}
	}
}

func TestEaster(t *testing.T) {
	for year, want := range map[int]string{1818: "1818-03-22", 1943: "1943-04-25", 2000: "2000-04-23", 2024: "2024-03-31", 2026: "2026-04-05", 2038: "2038-04-25"} {
		if got := EasterSunday(year); !got.Equal(day(t, want)) {
			t.Errorf("%d: got %s, want %s", year, got.Format(time.DateOnly), want)
		}
	}
}

// slowLastDay counts day by day on the calendar, as a clerk would with a finger.
func slowLastDay(c *Calendar, event time.Time, length int, unit Unit, extra int) time.Time {
	d, n := event, 0
	sameDate := func() bool {
		next := d.AddDate(0, 0, 1)
		return d.Day() == event.Day() || (d.Day() < event.Day() && next.Day() == 1)
	}
	for n < length {
		d = d.AddDate(0, 0, 1)
		switch unit {
		case Days:
			n++
		case WorkingDays:
			if c.WorkingDay(d) {
				n++
			}
		case Weeks:
			if d.Weekday() == event.Weekday() {
				n++
			}
		case Months:
			if sameDate() {
				n++
			}
		case Years:
			if d.Month() == event.Month() && sameDate() {
				n++
			}
		}
	}
	for i := 0; i < extra; i++ {
		d = d.AddDate(0, 0, 1)
	}
	atLeast := 0
	if length >= 2 || (unit != Days && unit != WorkingDays) {
		atLeast = 2
	}
	for {
		working := 0
		for x := event.AddDate(0, 0, 1); !x.After(d); x = x.AddDate(0, 0, 1) {
			if c.WorkingDay(x) {
				working++
			}
		}
		if c.WorkingDay(d) && working >= atLeast {
			return d
		}
		d = d.AddDate(0, 0, 1)
	}
}

func drawDay(t *rapid.T, label string) time.Time {
	return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 3000).Draw(t, label))
}

func TestLastDayAgainstCounting(t *testing.T) {
	c := french(t)
	rapid.Check(t, func(t *rapid.T) {
		event := drawDay(t, "event")
		unit := rapid.SampledFrom([]Unit{Days, WorkingDays, Weeks, Months, Years}).Draw(t, "unit")
		length := rapid.IntRange(1, map[Unit]int{Days: 90, WorkingDays: 60, Weeks: 20, Months: 30, Years: 3}[unit]).Draw(t, "length")
		extra := rapid.IntRange(0, 40).Draw(t, "extra")
		got, want := c.LastDay(event, length, unit, extra), slowLastDay(c, event, length, unit, extra)
		if !got.Equal(want) {
			t.Fatalf("%s + %d %s + %d: got %s, counted %s", event.Format(time.DateOnly), length, unit, extra, got.Format(time.DateOnly), want.Format(time.DateOnly))
		}
		if !got.After(event) || !c.WorkingDay(got) {
			t.Fatalf("%s is not after the event or not a working day", got)
		}
		if later := c.LastDay(event.AddDate(0, 0, 1), length, unit, extra); later.Before(got) {
			t.Fatalf("an event a day later ends earlier: %s < %s", later, got)
		}
		if longer := c.LastDay(event, length+1, unit, extra); longer.Before(got) {
			t.Fatalf("a longer period ends earlier: %s < %s", longer, got)
		}
	})
}
