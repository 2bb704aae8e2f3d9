package airlock

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/disclosure"
)

func request(needed int, o disclosure.Outcome) *Request {
	return &Request{Title: "t", Context: "c", Files: []File{{Name: "a.csv"}}, Reports: []disclosure.Report{{File: "a.csv", Outcome: o}}, Needed: needed}
}

// The oracle knows the rules as sentences, written without the engine's switch: an export is what the list
// of accepted happenings says.
type oracle struct {
	asked, sent, withdrawn, releasing, released, stopped bool
	fail                                                 bool
	needed                                               int
	yes, no                                              []string
	keys                                                 []string
}

func (o *oracle) state() State {
	votes := len(o.yes) + len(o.no)
	switch {
	case !o.asked:
		return ""
	case o.released:
		return Released
	case o.withdrawn:
		return Withdrawn
	case o.stopped:
		return Rejected
	case !o.sent:
		return Pending
	case votes == 0:
		return Submitted
	case votes < o.needed:
		return PartiallyReviewed
	case len(o.no) > 0:
		return Rejected
	}
	return Approved
}

// accepts says whether the event may happen, and lets it happen.
func (o *oracle) accepts(ev Event) bool {
	undecided := o.asked && !o.withdrawn && !o.stopped && len(o.yes)+len(o.no) < o.needed
	approved := o.state() == Approved
	switch ev.Kind {
	case EventRequested:
		if o.asked || ev.Actor != "author" {
			return false
		}
		o.asked, o.needed, o.fail = true, ev.Request.Needed, ev.Request.Reports[0].Outcome == disclosure.Fail
	case EventSubmitted:
		if !undecided || o.sent || o.fail || ev.Actor != "author" {
			return false
		}
		o.sent = true
	case EventReviewed:
		who := ev.Actor
		if !undecided || !o.sent || who == "author" || slices.Contains(append(o.yes, o.no...), who) || slices.Contains(o.keys, string(ev.Verdict.Key)) ||
			(!ev.Verdict.Approved && ev.Verdict.Reason == "") {
			return false
		}
		o.keys = append(o.keys, string(ev.Verdict.Key))
		if ev.Verdict.Approved {
			o.yes = append(slices.Clone(o.yes), who)
		} else {
			o.no = append(slices.Clone(o.no), who)
		}
	case EventReleasing:
		if !approved || o.releasing {
			return false
		}
		o.releasing = true
	case EventReleased:
		if !approved || !o.releasing {
			return false
		}
		o.released = true
	case EventStopped:
		if !approved {
			return false
		}
		o.stopped = true
	case EventWithdrawn:
		if !undecided || ev.Actor != "author" {
			return false
		}
		o.withdrawn = true
	}
	return true
}

func TestExportAgainstOracle(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		e := &Export{ID: "e", Author: "author"}
		o := &oracle{}
		needed := rapid.IntRange(1, 3).Draw(t, "needed")
		outcome := rapid.SampledFrom([]disclosure.Outcome{disclosure.Pass, disclosure.Pass, disclosure.Review, disclosure.Fail}).Draw(t, "checks")
		kinds := []EventKind{EventRequested, EventSubmitted, EventReviewed, EventReviewed, EventReviewed, EventReleasing, EventReleased, EventStopped, EventWithdrawn}
		for i := range rapid.IntRange(1, 25).Draw(t, "events") {
			ev := Event{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: at.Add(time.Duration(i) * time.Minute),
				Actor: rapid.SampledFrom([]string{"author", "r1", "r2", "r3", "r4"}).Draw(t, "actor")}
			if i == 0 {
				ev.Kind, ev.Actor = EventRequested, "author"
			}
			switch ev.Kind {
			case EventRequested:
				ev.Request = request(needed, outcome)
			case EventReviewed:
				// r4 is r1 with another name: the same passkey.
				ev.Verdict = &Verdict{Approved: rapid.Bool().Draw(t, "approved"), Reason: rapid.SampledFrom([]string{"", "too small"}).Draw(t, "reason"),
					Key: contract.Digest(strings.Replace(ev.Actor, "r4", "r1", 1))}
			case EventStopped:
				ev.Reason = "altered"
			}
			before := len(e.Events)
			err := e.apply(ev)
			if want := o.accepts(ev); (err == nil) != want {
				t.Fatalf("%s by %s: error %v, the rules say accepted=%v", ev.Kind, ev.Actor, err, want)
			}
			if err != nil && contract.RefusalCode(err) == "error" {
				t.Fatalf("a refusal without a code: %v", err)
			}
			if err != nil && len(e.Events) != before {
				t.Fatal("a refused event changed the history")
			}
			if e.State != o.state() {
				t.Fatalf("state %s, the rules say %s", e.State, o.state())
			}
			if e.State == Approved || e.State == Released {
				if len(o.yes) != needed || len(o.no) > 0 || outcome == disclosure.Fail {
					t.Fatalf("%s with %d approvals of %d, %d rejections, checks %s", e.State, len(o.yes), needed, len(o.no), outcome)
				}
			}
			// Blind: before the last verdict nobody knows another's.
			if e.State == PartiallyReviewed {
				for _, reader := range []string{"author", "r1", "r2", "r3", "r4", "", "enclave"} {
					for _, r := range e.SeenBy(reader) {
						if r.Reviewer != reader {
							t.Fatalf("%s sees the verdict of %s", reader, r.Reviewer)
						}
					}
				}
			}
		}
		// The history alone gives the same export.
		raw, err := json.Marshal(e.Events)
		if err != nil {
			t.Fatal(err)
		}
		var events []Event
		if err := json.Unmarshal(raw, &events); err != nil {
			t.Fatal(err)
		}
		again, err := fold(&Export{ID: "e", Author: "author"}, events)
		if err != nil || again.State != e.State || fmt.Sprint(again.Reviews) != fmt.Sprint(e.Reviews) {
			t.Fatalf("folded again: %s, %v; was %s", again.State, err, e.State)
		}
	})
}

// A stored history that breaks the rules is not loaded.
func TestFoldRefusesForgedHistory(t *testing.T) {
	at := time.Now()
	ask := Event{Kind: EventRequested, At: at, Actor: "author", Request: request(2, disclosure.Pass)}
	yes := func(who string) Event {
		return Event{Kind: EventReviewed, At: at, Actor: who, Verdict: &Verdict{Approved: true, Key: contract.Digest(who)}}
	}
	send := Event{Kind: EventSubmitted, At: at, Actor: "author"}
	for name, events := range map[string][]Event{
		"released without a review":    {ask, send, {Kind: EventReleased, At: at, Actor: "enclave"}},
		"author reviews":               {ask, send, yes("author")},
		"one person twice":             {ask, send, yes("r1"), yes("r1")},
		"third verdict":                {ask, send, yes("r1"), yes("r2"), yes("r3")},
		"submitted with failed checks": {{Kind: EventRequested, At: at, Actor: "author", Request: request(2, disclosure.Fail)}, send},
		"unknown outcome":              {{Kind: EventRequested, At: at, Actor: "author", Request: request(2, "fine")}, send},
		"unknown event":                {ask, {Kind: "blessed", At: at}},
		"no request first":             {send},
		"no reviewers":                 {{Kind: EventRequested, At: at, Actor: "author", Request: request(0, disclosure.Pass)}},
	} {
		if e, err := fold(&Export{ID: "e", Author: "author"}, events); err == nil {
			t.Errorf("%s: accepted as %s", name, e.State)
		}
	}
}

// The digest that verdicts are about names files and content, and hides small counts behind its salt.
func TestFilesDigest(t *testing.T) {
	r := request(2, disclosure.Pass)
	r.Salt = "s1"
	a, err := filesDigest(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Files[0].Digest = "sha256:other"
	b, _ := filesDigest(r)
	r.Files[0].Digest, r.Salt = "", "s2"
	c, _ := filesDigest(r)
	if a == b || a == c {
		t.Error("another file or another salt gives the same digest")
	}
}
