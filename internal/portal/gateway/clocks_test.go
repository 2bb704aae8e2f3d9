package gateway

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/procedures"
)

func allProcedures(t testing.TB) Procedures {
	t.Helper()
	ps, err := LoadProcedures(procedures.FS)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func frSnds(t testing.TB) *Procedure {
	t.Helper()
	p, ok := allProcedures(t).Latest("fr-snds")
	if !ok {
		t.Fatal("fr-snds is not there")
	}
	return p
}

// stream builds a stream from kinds and times; data is given where a kind needs it.
type stream []Event

func (s *stream) add(k Kind, at string, data any) *stream {
	t, err := time.Parse("2006-01-02 15:04", at)
	if err != nil {
		panic(err)
	}
	e := newEvent(k, Actor{ID: "someone"}, RoleHandler, t, data)
	e.Stream, e.Seq = "app-test", int64(len(*s)+1)
	*s = append(*s, e)
	return s
}

func filed() *stream {
	s := &stream{}
	return s.add(KindCreated, "2026-01-05 09:00", Created{Procedure: "fr-snds@1", Title: "Test"}).
		add(KindSubmitted, "2026-01-12 09:00", nil).add(KindAcknowledged, "2026-01-12 09:00", nil)
}

func clockOf(t testing.TB, cs []Clock, rule string) Clock {
	t.Helper()
	for i := len(cs) - 1; i >= 0; i-- {
		if cs[i].Rule.ID == rule {
			return cs[i]
		}
	}
	t.Fatalf("no clock %s", rule)
	return Clock{}
}

func TestClocksOfTheFrenchProcedure(t *testing.T) {
	p := frSnds(t)
	for _, c := range []struct {
		name   string
		events *stream
		rule   string
		due    string
		status ClockStatus
	}{
		{"completeness in 7 days", filed(), "FR01", "2026-01-19", ClockRunning},
		{"filed at 23:30 in UTC is the next day in Paris", (&stream{}).add(KindCreated, "2026-01-05 09:00", Created{Procedure: "fr-snds@1"}).
			add(KindSubmitted, "2026-01-12 23:30", nil), "FR01", "2026-01-20", ClockRunning},
		{"stopped while the applicant is asked", filed().add(KindAsked, "2026-01-14 10:00", Asked{}), "FR01", "2026-01-19", ClockStopped},
		{"the applicant has four weeks", filed().add(KindAsked, "2026-01-14 10:00", Asked{}), "C02", "2026-02-11", ClockRunning},
		{"starts anew with the answer", filed().add(KindAsked, "2026-01-14 10:00", Asked{}).add(KindAnswered, "2026-01-20 10:00", Answered{}), "FR01", "2026-01-27", ClockRunning},
		{"opinion one month", filed().add(KindComplete, "2026-01-15 10:00", nil), "FR04a", "2026-02-16", ClockRunning},
		{"extended once to two months", filed().add(KindComplete, "2026-01-15 10:00", nil).
			add(KindExtended, "2026-02-10 10:00", Extended{Rule: "FR04a"}), "FR04a", "2026-03-16", ClockRunning},
		{"opinion suspended for five days", filed().add(KindComplete, "2026-01-15 10:00", nil).add(KindAsked, "2026-01-20 10:00", Asked{}).
			add(KindAnswered, "2026-01-25 10:00", Answered{}), "FR04a", "2026-02-20", ClockRunning},
		{"authority two months from the opinion", filed().add(KindComplete, "2026-01-15 10:00", nil).
			add(KindOpinion, "2026-01-31 10:00", OpinionIssued{Opinion: OpinionFavourable}), "FR06", "2026-03-31", ClockRunning},
		{"met", filed().add(KindComplete, "2026-01-15 10:00", nil), "FR01", "2026-01-19", ClockMet},
		{"withdrawal ends it", filed().add(KindWithdrawn, "2026-01-15 10:00", Withdrawn{}), "FR01", "2026-01-19", ClockEnded},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := clockOf(t, Clocks(p, *c.events), c.rule)
			if !got.Due.Equal(day(t, c.due)) || got.Status != c.status {
				t.Errorf("got %s %s, want %s %s", got.Due.Format(time.DateOnly), got.Status, c.due, c.status)
			}
		})
	}
}

func TestSilenceIsFavourableByTheClockAlone(t *testing.T) {
	ps := allProcedures(t)
	events := *filed().add(KindComplete, "2026-01-15 10:00", nil) // due Monday 16 February, over at 23:00 UTC
	over := time.Date(2026, 2, 16, 23, 0, 0, 0, time.UTC)

	before, err := Fold(ps, events, over.Add(-time.Microsecond))
	if err != nil || before.Step != "opinion" || before.Opinion != nil {
		t.Fatalf("before the end of the last day: step %s, opinion %v, %v", before.Step, before.Opinion, err)
	}
	after, err := Fold(ps, events, over)
	if err != nil {
		t.Fatal(err)
	}
	if after.Step != "authority" || !after.Deemed || !after.OpinionAt.At.Equal(over) || after.Seq != 4 {
		t.Fatalf("after: step %s, deemed %v at %s, seq %d", after.Step, after.Deemed, after.OpinionAt.At, after.Seq)
	}
	if c := after.OpenClock(); c == nil || c.Rule.ID != "FR06" || !c.Due.Equal(day(t, "2026-04-17")) {
		t.Fatalf("the authority's clock: %+v", c)
	}
	waiting, err := Fold(ps, append(slices.Clone(events), *(&stream{}).add(KindAsked, "2026-02-01 10:00", Asked{})...), over.AddDate(0, 2, 0))
	if err != nil || waiting.Deemed || waiting.State != StateAwaiting {
		t.Fatalf("silence took effect while the applicant was asked: %v %v", waiting.State, err)
	}
	late, err := Fold(ps, events, over.AddDate(5, 0, 0))
	if err != nil || late.Step != "authority" {
		t.Fatalf("the authority's silence decided: step %s, %v", late.Step, err)
	}
}

// slowDue finds the due date of a rule by walking over the events once for each question, and over the
// calendar day by day.
func slowDue(p *Procedure, r *Rule, events []Event) (due time.Time, running bool) {
	start, length, waited := -1, r.Length, 0
	asked := -1
	local := func(i int) time.Time { return dayOf(events[i].At.In(p.zone)) }
	for i, e := range events {
		switch {
		case start < 0 && r.starts(e.Kind):
			start, length, waited, asked = i, r.Length, 0, -1
		case start < 0:
		case slices.Contains(r.Ends, e.Kind) || endsCase(e.Kind):
			start = -1
		case e.Kind == KindExtended:
			var x Extended
			if err := e.decode(&x); err != nil {
				panic(err)
			}
			if x.Rule == r.ID && length == r.Length {
				length += r.Extension
			}
		case e.Kind == KindAsked && r.Waiting != WaitRun && asked < 0:
			asked = i
		case e.Kind == KindAnswered && asked >= 0:
			if r.Waiting == WaitRestart {
				start = i
			} else {
				for d := local(asked); d.Before(local(i)); d = d.AddDate(0, 0, 1) {
					waited++
				}
			}
			asked = -1
		}
	}
	if start < 0 || asked >= 0 {
		return time.Time{}, false
	}
	return slowLastDay(&p.Calendar, local(start), length, r.Unit, waited), true
}

// drawCase draws a stream that the workflow allows.
func drawCase(t *rapid.T, ps Procedures) []Event {
	s := &stream{}
	at := drawDay(t, "first").Add(time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "minute")) * time.Minute)
	s.add(KindCreated, at.Format("2006-01-02 15:04"), Created{Procedure: "fr-snds@1", Title: "T"})
	for n := rapid.IntRange(0, 14).Draw(t, "events"); n > 0; n-- {
		at = at.Add(time.Duration(rapid.IntRange(1, 20*24*60).Draw(t, "wait")) * time.Minute)
		a, err := Fold(ps, *s, at)
		if err != nil {
			t.Fatal(err)
		}
		// What silence caused is part of the stream by now.
		*s = append(stream{}, a.Events...)
		var next []Event
		add := func(k Kind, data any) {
			next = append(next, (*(&stream{}).add(k, at.Format("2006-01-02 15:04"), data))...)
		}
		switch {
		case a.State == StateDraft:
			add(KindSubmitted, nil)
			add(KindAcknowledged, nil)
		case a.State == StateAwaiting:
			add(KindAnswered, Answered{"x"})
		case !a.Active():
			return *s
		default:
			switch rapid.IntRange(0, 4).Draw(t, "choice") {
			case 0:
				add(KindAsked, Asked{[]Question{{"data", "?"}}})
			case 1:
				if c := a.OpenClock(); c != nil && c.Extended == nil && c.Rule.Extension > 0 {
					add(KindExtended, Extended{Rule: c.Rule.ID, Reasons: "x"})
				}
			case 2:
				if rapid.IntRange(0, 9).Draw(t, "give up") == 0 {
					add(KindWithdrawn, Withdrawn{})
				}
			default:
				switch a.Step {
				case "completeness":
					add(KindComplete, nil)
				case "opinion":
					add(KindOpinion, OpinionIssued{Opinion: OpinionReserved})
				case "authority":
					add(KindAuthorised, Decided{Reference: "x"})
				}
			}
		}
		for _, e := range next {
			e.Seq = int64(len(*s) + 1)
			*s = append(*s, e)
		}
	}
	return *s
}

func TestClocksAgainstSlowReference(t *testing.T) {
	ps := allProcedures(t)
	p := frSnds(t)
	rapid.Check(t, func(t *rapid.T) {
		events := drawCase(t, ps)
		clocks := Clocks(p, events)
		for i := range p.Rules {
			r := &p.Rules[i]
			want, running := slowDue(p, r, events)
			var got *Clock
			for j := range clocks {
				if clocks[j].Rule == r && clocks[j].Status == ClockRunning {
					got = &clocks[j]
				}
			}
			if running != (got != nil) {
				t.Fatalf("%s: running %v, reference %v", r.ID, got != nil, running)
			}
			if running && !got.Due.Equal(want) {
				t.Fatalf("%s: due %s, reference %s", r.ID, got.Due.Format(time.DateOnly), want.Format(time.DateOnly))
			}
		}
		for _, c := range clocks {
			if !c.Until.After(c.Start.At) {
				t.Fatalf("%s ends before it starts", c.Rule.ID)
			}
			if c.Extended != nil {
				short := c
				short.Extended = nil
				if c.Due.Before(short.dated(p).Due) {
					t.Fatalf("%s: the extension shortened it", c.Rule.ID)
				}
			}
		}
	})
}

// Time passing changes a case only through silence: folding at a later time keeps all that was before,
// and settling what is settled changes nothing.
func TestSettleIsStable(t *testing.T) {
	ps := allProcedures(t)
	p := frSnds(t)
	rapid.Check(t, func(t *rapid.T) {
		events := drawCase(t, ps)
		now := events[len(events)-1].At.Add(time.Duration(rapid.IntRange(0, 400*24).Draw(t, "hours")) * time.Hour)
		settled := Settle(p, events, now)
		if len(settled) > len(events)+1 {
			t.Fatalf("silence caused %d events", len(settled)-len(events))
		}
		for i, e := range settled {
			if e.Seq != int64(i+1) || (i < len(events) && !e.At.Equal(events[i].At)) || e.At.After(now) {
				t.Fatalf("event %d: %+v", i, e)
			}
			if i > 0 && e.At.Before(settled[i-1].At) {
				t.Fatalf("event %d is before the one before it", i)
			}
		}
		if again := Settle(p, settled, now); len(again) != len(settled) {
			t.Fatal("settling twice adds more")
		}
	})
}
