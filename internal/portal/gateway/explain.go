package gateway

import (
	"time"

	"github.com/mitral-health/mitral/internal/kit/i18n"
)

// Explain says in a sentence how a due date came about: rule, start, what moved it, source.
func Explain(b *i18n.Bundle, lang string, c Clock) string {
	r := c.Rule
	event := b.T(lang, i18n.Key("gateway.event.", string(c.Start.Kind)))
	text := b.T(lang, "gateway.clock.counted", "text", r.Text.In(lang), "event", event, "start", c.Start.At, "source", r.Source.In(lang))
	if c.Waited > 0 {
		text += " " + b.T(lang, "gateway.clock.waited", "count", c.Waited)
	}
	if c.Extended != nil {
		text += " " + b.T(lang, "gateway.clock.extended", "date", c.Extended.At)
	}
	switch c.Status {
	case ClockStopped:
		return text + " " + b.T(lang, "gateway.clock.stopped", "date", c.Stops[len(c.Stops)-1].From)
	case ClockEnded:
		return text + " " + b.T(lang, "gateway.clock.ended")
	}
	return text + " " + b.T(lang, "gateway.clock.due", "date", c.Due)
}

// Sentence says where the case stands, what is waited for, until when and under which rule.
func Sentence(b *i18n.Bundle, lang string, a *Application, now time.Time) string {
	switch a.State {
	case StateDraft:
		return b.T(lang, "gateway.sentence.draft")
	case StateWithdrawn:
		return b.T(lang, "gateway.sentence.withdrawn", "date", a.Closed)
	case StateDecided:
		if a.Decision == DecisionPositive {
			return b.T(lang, "gateway.sentence.permit", "date", a.SignedAt.At, "until", a.Permit.ValidUntil)
		}
		return b.T(lang, "gateway.sentence.refused", "date", a.Closed)
	}
	waits := b.T(lang, "gateway.sentence.awaiting")
	if s := a.OpenStep(); s != nil && a.State != StateAwaiting {
		waits = s.Waits.In(lang)
	}
	c := a.OpenClock()
	if c == nil {
		return b.T(lang, "gateway.sentence.open", "waits", waits)
	}
	args := []any{"waits", waits, "due", c.Due, "text", c.Rule.Text.In(lang), "source", c.Rule.Source.In(lang), "missed", c.Rule.Missed.In(lang)}
	if c.Late(now) {
		return b.T(lang, "gateway.sentence.late", args...)
	}
	return b.T(lang, "gateway.sentence.until", args...)
}
