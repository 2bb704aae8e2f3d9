package sample

import (
	"sync"
	"time"
)

// day counts days since 1970-01-01, the same as a Parquet DATE. missing stands for an empty cell in any
// column.
type day = int32

const missing = int32(-1 << 31)

// civil dates of every day that can occur, so that no row needs calendar arithmetic.
const (
	firstDay day = -25567 // 1900-01-01
	lastDay  day = 47481  // 2099-12-31
)

type civil struct {
	year  int16
	month uint8
	dom   uint8
	flux  day      // when the claims of this day reach the data: first day of the second month after
	text  [10]byte // YYYY-MM-DD
}

// calendar holds every day from firstDay to lastDay; load fills it.
var calendar []civil

// load fills the two large tables, once: other commands of the same program should not pay for them.
var load = sync.OnceFunc(func() {
	calendar = makeCalendar()
	surnames = makeSurnames()
})

func makeCalendar() []civil {
	out := make([]civil, lastDay-firstDay+1)
	t := time.Unix(int64(firstDay)*86400, 0).UTC()
	for i := range out {
		y, m, d := t.Date()
		c := civil{year: int16(y), month: uint8(m), dom: uint8(d)}
		t.AppendFormat(c.text[:0], time.DateOnly)
		c.flux = dayOf(y, int(m)+2, 1)
		out[i] = c
		t = t.AddDate(0, 0, 1)
	}
	return out
}

func dateOf(d day) *civil { return &calendar[d-firstDay] }

func dayOf(year, month, dom int) day {
	return day(time.Date(year, time.Month(month), dom, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func dateText(d day) string { return string(dateOf(d).text[:]) }

// ageAt is the age in completed years on a day.
func ageAt(birth, at day) int {
	b, a := dateOf(birth), dateOf(at)
	age := int(a.year) - int(b.year)
	if a.month < b.month || (a.month == b.month && a.dom < b.dom) {
		age--
	}
	return age
}
