package gateway

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
)

// Action is a command with all it needs. Fields that a command does not use must be empty.
type Action struct {
	Command Command `json:"command"`
	// ExpectedSeq is the number of the last event the actor saw; another one is a Conflict.
	ExpectedSeq     int64               `json:"expected_seq"`
	Answers         *Answers            `json:"answers,omitempty"`         // save
	Questions       []Question          `json:"questions,omitempty"`       // ask
	Text            string              `json:"text,omitempty"`            // answer
	Opinion         string              `json:"opinion,omitempty"`         // opinion
	Recommendations string              `json:"recommendations,omitempty"` // opinion
	Reasons         string              `json:"reasons,omitempty"`         // opinion, extend, refuse, withdraw
	Reference       string              `json:"reference,omitempty"`       // authorise, refuse: the authority's number
	Conditions      []string            `json:"conditions,omitempty"`      // authorise
	Assertion       *contract.Assertion `json:"assertion,omitempty"`       // sign
}

// decide turns an allowed action into events, or says what is wrong with it. It is pure: drafting and
// signing, which need keys of other rooms, are done by the service.
func (a *Application) decide(act Action, u Actor, now time.Time, schemas Schemas) ([]Event, error) {
	role, _ := a.roleFor(act.Command, now)
	event := func(k Kind, data any) []Event { return []Event{newEvent(k, u, role, now, data)} }
	if err := act.sizes(); err != nil {
		return nil, err
	}
	switch act.Command {
	case CmdSave:
		if act.Answers == nil || act.Answers.empty() {
			return nil, bad("check", "answers", "nothing_sent")
		}
		if err := act.Answers.wellFormed(); err != nil {
			return nil, err
		}
		if a.State == StateAwaiting {
			for _, page := range act.Answers.pagesSet() {
				if !slices.ContainsFunc(a.Questions, func(q Question) bool { return q.Page == page }) {
					return nil, bad(page, "", "page_not_asked")
				}
			}
		}
		return event(KindSaved, Saved{*act.Answers}), nil
	case CmdSubmit:
		if ps := Incomplete(a.Procedure, a.Answers, schemas); len(ps) > 0 {
			return nil, &Invalid{ps}
		}
		return append(event(KindSubmitted, nil), newEvent(KindAcknowledged, Actor{ID: ClockActor}, ClockActor, now, nil)), nil
	case CmdAsk:
		if len(act.Questions) == 0 {
			return nil, bad("ask", "questions", "question_missing")
		}
		for _, q := range act.Questions {
			if strings.TrimSpace(q.Text) == "" {
				return nil, bad("ask", "text", "question_missing")
			}
			if q.Page == "check" || !slices.Contains(Pages, q.Page) {
				return nil, bad("ask", "page", "page_missing")
			}
		}
		return event(KindAsked, Asked{act.Questions}), nil
	case CmdAnswer:
		if ps := Incomplete(a.Procedure, a.Answers, schemas); len(ps) > 0 {
			return nil, &Invalid{ps}
		}
		if blank(act.Text) {
			return nil, bad("answer", "text", "answer_missing")
		}
		return event(KindAnswered, Answered{act.Text}), nil
	case CmdComplete:
		return event(KindComplete, nil), nil
	case CmdOpinion:
		switch {
		case !slices.Contains(Opinions, act.Opinion):
			return nil, bad("opinion", "opinion", "opinion_missing")
		case act.Opinion != OpinionFavourable && blank(act.Reasons):
			return nil, bad("opinion", "reasons", "reasons_missing")
		case act.Opinion == OpinionRecommendations && blank(act.Recommendations):
			return nil, bad("opinion", "recommendations", "recommendations_missing")
		}
		return event(KindOpinion, OpinionIssued{act.Opinion, act.Reasons, act.Recommendations}), nil
	case CmdExtend:
		if blank(act.Reasons) {
			return nil, bad("extend", "reasons", "reasons_missing")
		}
		return event(KindExtended, Extended{Rule: a.OpenStep().Rule, Reasons: act.Reasons}), nil
	case CmdAuthorise:
		if blank(act.Reference) {
			return nil, bad("authorise", "reference", "reference_missing")
		}
		return event(KindAuthorised, Decided{act.Reference, act.Reasons, act.Conditions}), nil
	case CmdRefuse:
		if blank(act.Reasons) { // a refusal is published with its justification, Art. 57(1)(j)(iii)
			return nil, bad("refuse", "reasons", "reasons_missing")
		}
		return event(KindRefused, Decided{Reference: act.Reference, Reasons: act.Reasons}), nil
	case CmdWithdraw:
		return event(KindWithdrawn, Withdrawn{act.Reasons}), nil
	}
	return nil, &Denied{Code: "wrong_state", Command: act.Command}
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// sizes bounds everything that people write outside the form.
func (act Action) sizes() error {
	page := string(act.Command)
	check := func(field, v string, limit int) error {
		switch {
		case !utf8.ValidString(v):
			return bad(page, field, "not_text")
		case utf8.RuneCountInString(v) > limit:
			return bad(page, field, "too_long", "max", itoa(limit))
		}
		return nil
	}
	fields := []struct {
		name, v string
		limit   int
	}{{"text", act.Text, maxProse}, {"reasons", act.Reasons, maxProse}, {"recommendations", act.Recommendations, maxProse}, {"reference", act.Reference, maxLine}}
	for _, q := range act.Questions {
		fields = append(fields, struct {
			name, v string
			limit   int
		}{"text", q.Text, maxProse})
	}
	for _, c := range act.Conditions {
		fields = append(fields, struct {
			name, v string
			limit   int
		}{"conditions", c, maxProse})
	}
	if len(act.Questions) > maxEntries || len(act.Conditions) > maxEntries {
		return bad(page, "questions", "too_many", "max", itoa(maxEntries))
	}
	for _, f := range fields {
		if err := check(f.name, f.v, f.limit); err != nil {
			return err
		}
	}
	return nil
}
