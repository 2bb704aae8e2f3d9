package gateway

import (
	"slices"
	"time"
)

// ClockStatus is how a clock stands.
type ClockStatus string

const (
	ClockRunning ClockStatus = "running"
	ClockStopped ClockStatus = "stopped" // waiting for the applicant
	ClockMet     ClockStatus = "met"
	ClockEnded   ClockStatus = "ended" // the case was decided or withdrawn first
)

// Span is a time during which a clock stood still; To is zero while it still does.
type Span struct{ From, To time.Time }

// Clock is one legal time limit as it applies to one case, with all that explains its date.
type Clock struct {
	Rule  *Rule
	Start Event // the event that the period is counted from
	// Stops are the times it stood still. After a restart Start is the answer and Stops is empty.
	Stops    []Span
	Waited   int    // days it stood still, without the present stop
	Extended *Event // why and when it was prolonged
	Status   ClockStatus
	// Due is the last day, a civil date of the procedure's country; Until is the instant it is over.
	Due   time.Time
	Until time.Time
	// MetAt is when the awaited event came.
	MetAt time.Time
}

// Late reports whether the limit had passed at now, or when the awaited event came.
func (c Clock) Late(now time.Time) bool {
	switch c.Status {
	case ClockRunning:
		return !now.Before(c.Until)
	case ClockMet:
		return !c.MetAt.Before(c.Until)
	}
	return false
}

// Clocks computes every time limit of a case. It is a pure function of the events and the procedure:
// nothing is stored, so a date can always be computed again and explained.
func Clocks(p *Procedure, events []Event) []Clock {
	var out []Clock
	for i := range p.Rules {
		out = append(out, runRule(p, &p.Rules[i], events)...)
	}
	slices.SortStableFunc(out, func(a, b Clock) int { return int(a.Start.Seq - b.Start.Seq) })
	return out
}

// runRule follows one rule through the events. A rule that starts anew (a second question to the
// applicant) gives a clock for each start.
func runRule(p *Procedure, r *Rule, events []Event) []Clock {
	var out []Clock
	var cur *Clock
	for _, e := range events {
		switch {
		case cur == nil && r.starts(e.Kind):
			cur = &Clock{Rule: r, Start: e, Status: ClockRunning}
		case cur == nil:
		case slices.Contains(r.Ends, e.Kind):
			cur.Status, cur.MetAt = ClockMet, e.At
			out, cur = append(out, cur.dated(p)), nil
		case endsCase(e.Kind):
			cur.Status = ClockEnded
			out, cur = append(out, cur.dated(p)), nil
		case e.Kind == KindExtended && cur.Extended == nil:
			var x Extended
			if e.decode(&x) == nil && x.Rule == r.ID {
				cur.Extended = &e
			}
		case e.Kind == KindAsked && r.Waiting != WaitRun && cur.Status == ClockRunning:
			cur.Status = ClockStopped
			cur.Stops = append(cur.Stops, Span{From: e.At})
		case e.Kind == KindAnswered && cur.Status == ClockStopped:
			cur.Status = ClockRunning
			if r.Waiting == WaitRestart {
				cur.Start, cur.Stops = e, nil
			} else {
				cur.Stops[len(cur.Stops)-1].To = e.At
			}
		}
	}
	if cur != nil {
		out = append(out, cur.dated(p))
	}
	return out
}

// endsCase reports whether an event ends all clocks.
func endsCase(k Kind) bool { return k == KindWithdrawn || k == KindRefused || k == KindSigned }

// dated computes the due date. While the clock stands still the date holds for an answer on the day it
// stopped; it moves with each day of waiting, so it is shown as stopped and not as a date to keep.
func (c Clock) dated(p *Procedure) Clock {
	length := c.Rule.Length
	c.Waited = 0
	if c.Extended != nil {
		length += c.Rule.Extension
	}
	for _, s := range c.Stops {
		if !s.To.IsZero() {
			c.Waited += daysBetween(dayOf(s.From.In(p.zone)), dayOf(s.To.In(p.zone)))
		}
	}
	c.Due = p.Calendar.LastDay(c.Start.At.In(p.zone), length, c.Rule.Unit, c.Waited)
	c.Until = time.Date(c.Due.Year(), c.Due.Month(), c.Due.Day()+1, 0, 0, 0, 0, p.zone).UTC()
	return c
}

// Settle appends the events that the passing of time alone has caused by now: where the procedure counts
// silence as favourable, the opinion is deemed given at the end of the last day. It is computed on every
// look at a case; the next command writes it into the stream together with its own events. The seq of
// the events it adds follows on.
func Settle(p *Procedure, events []Event, now time.Time) []Event {
	settled := events
	for {
		next, ok := silent(p, settled, now)
		if !ok {
			return settled
		}
		settled = append(slices.Clip(settled), next)
	}
}

// silent returns the event that silence has caused, if one is due.
func silent(p *Procedure, events []Event, now time.Time) (Event, bool) {
	for _, s := range p.Steps {
		if s.Silence != SilenceFavourable {
			continue
		}
		for _, c := range Clocks(p, events) {
			if c.Rule.ID == s.Rule && c.Status == ClockRunning && !now.Before(c.Until) {
				e := newEvent(KindOpinionDeemed, Actor{ID: ClockActor}, ClockActor, c.Until,
					OpinionIssued{Opinion: OpinionFavourable, Reasons: c.Rule.ID})
				e.Stream, e.Seq = c.Start.Stream, int64(len(events)+1)
				return e, true
			}
		}
	}
	return Event{}, false
}
