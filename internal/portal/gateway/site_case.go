package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// caseData is the dot of the page of a case.
type caseData struct {
	page.Form
	ID, Title, State, Sentence string
	Seq                        int64
	Draft                      bool
	Procedure, Step, Article   string
	May                        map[string]bool // command → the reader may
	Can                        []string        // the same, in order
	Next                       Command         // the one button that matters
	Reader                     string          // "applicant", "official"
	Questions                  []Question
	Timeline                   []map[string]any
	Clocks                     []clockLine
	Sections                   []answerSection
	Tasks                      []taskLine
	Pages                      []string
	Opinions                   []string
	Extension                  string // rule text of what can be extended
	Permit                     *contract.Permit
	Progress                   []progressLine
	Provision                  *contract.ProvisionReport
	Flow                       [3]string // matched, objected, delivered, as shown
	Workspace                  string
	Results                    []contract.Export
	ExportRead                 bool
	Refused                    string // reasons
}

type clockLine struct {
	Rule, Status, Explanation string
	Due                       time.Time
	Late                      bool
}

type taskLine struct {
	Page string
	Done bool
}

type progressLine struct {
	Zone, Status, Unit string
	Done, Total        int64
	At                 time.Time
}

func (s *Site) showCase(w http.ResponseWriter, r *http.Request) {
	if a, u, ok := s.find(w, r, always(access.ApplicationRead)); ok {
		s.renderCase(w, r, http.StatusOK, a, u, page.Form{})
	}
}

func (s *Site) renderCase(w http.ResponseWriter, r *http.Request, status int, a *Application, u Actor, f page.Form) {
	now, l := s.g.Now(), lang(r)
	d := caseData{Form: f, ID: a.ID, Title: a.Title(), State: stateKey(a), Sentence: Sentence(s.g.o.Text, l, a, now), Seq: a.Seq,
		Draft: a.State == StateDraft, Procedure: a.Procedure.Title.In(l), May: map[string]bool{}, Questions: a.Questions,
		Sections: s.sections(r, a), Pages: Pages[:len(Pages)-1], Opinions: Opinions, Permit: a.Permit, Results: a.Results, Reader: "official"}
	if a.Names(u.ID) {
		d.Reader = "applicant"
	}
	if st := a.OpenStep(); st != nil {
		d.Step, d.Article = st.Title.In(l), st.Article.In(l)
	}
	for _, c := range a.May(u, now) {
		// Both must agree: the policies about the role, the procedure about this step.
		if access.Allow(r, policyFor(a, c), resource(a)) == nil {
			d.May[string(c)] = true
			d.Can = append(d.Can, string(c))
		}
	}
	d.Next = nextCommand(a, d.May)
	d.Timeline = s.timeline(r, a)
	for _, c := range a.Clocks {
		d.Clocks = append(d.Clocks, clockLine{c.Rule.ID, string(c.Status), Explain(s.g.o.Text, l, c), c.Due, c.Late(now)})
	}
	if c := a.OpenClock(); c != nil {
		d.Extension = c.Rule.Text.In(l)
	}
	missing := s.g.Incomplete(r.Context(), a)
	for _, p := range Pages[:len(Pages)-1] {
		d.Tasks = append(d.Tasks, taskLine{p, !slices.ContainsFunc(missing, func(x Problem) bool { return x.Page == p })})
	}
	if a.Refusal != nil {
		d.Refused = a.Refusal.Reasons
	}
	if err := s.afterDecision(r, a, &d); err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Pages.Render(w, r, status, "portal/case/show", d)
}

// afterDecision fills in what the inner zones have reported.
func (s *Site) afterDecision(r *http.Request, a *Application, d *caseData) error {
	if a.Signed == nil {
		d.Permit = nil
		return nil
	}
	progress, err := s.g.Progress(r.Context(), a)
	if err != nil {
		return err
	}
	for _, p := range progress {
		d.Progress = append(d.Progress, progressLine{p.Zone, string(p.Status), p.Unit, p.Done, p.Total, p.At})
	}
	if a.Provision != nil {
		d.Provision = a.Provision.Report
		p := d.Provision.Persons
		for i, n := range []int64{p.Matched, p.Objected, p.Delivered} {
			d.Flow[i] = s.protected(r, n, a.Permit.MinCell)
		}
	}
	if a.Workspace != nil && access.Allow(r, access.WorkspaceOpen, resource(a)) == nil {
		d.Workspace = a.Workspace.Workspace.URL
	}
	d.ExportRead = access.Allow(r, access.ExportRead, resource(a)) == nil
	return nil
}

// protected writes a person count as the public report has it: -1 is one that was hidden.
func (s *Site) protected(r *http.Request, n int64, minCell int) string {
	if n < 0 {
		return s.o.Pages.T(r, "gateway.fewer", "count", minCell)
	}
	return s.g.o.Text.Number(lang(r), n)
}

// nextCommand is the one thing to do, among what the reader may.
func nextCommand(a *Application, may map[string]bool) Command {
	order := []Command{CmdSubmit, CmdAnswer, CmdComplete, CmdOpinion, CmdAuthorise, CmdSign, CmdDraft}
	for _, c := range order {
		if may[string(c)] {
			return c
		}
	}
	return ""
}

// timeline lists every event with the clock it started or met, and last what is awaited.
func (s *Site) timeline(r *http.Request, a *Application) []map[string]any {
	l := lang(r)
	var out []map[string]any
	for _, e := range a.Events {
		var notes []string
		for _, c := range a.Clocks {
			if c.Start.Seq == e.Seq {
				notes = append(notes, Explain(s.g.o.Text, l, c))
			}
		}
		if n := s.eventText(r, a, e); n != "" {
			notes = append([]string{n}, notes...)
		}
		item := map[string]any{"title": s.g.o.Text.T(l, i18n.Key("gateway.event.", string(e.Kind))), "at": e.At,
			"by": s.g.o.Text.T(l, i18n.Key("gateway.by.", roleKey(e.Role))), "text": strings.Join(notes, " ")}
		if e.Kind == KindSigned || (e.Kind == KindDrafted && !a.Names(actorOf(r.Context()).ID)) {
			item["href"], item["hrefText"] = "/applications/"+a.ID+"/permit", s.g.o.Text.T(l, "gateway.permit.see")
		}
		out = append(out, item)
	}
	if st := a.OpenStep(); st != nil {
		out = append(out, map[string]any{"title": st.Title.In(l), "text": Sentence(s.g.o.Text, l, a, s.g.Now()), "now": true})
		after := false
		for _, x := range a.Procedure.Steps {
			if after {
				out = append(out, map[string]any{"title": x.Title.In(l), "text": x.Article.In(l), "future": true})
			}
			after = after || x.ID == st.ID
		}
	}
	return out
}

// roleKey names the role of an event for people; accounts of officials are not shown.
func roleKey(role string) string {
	switch role {
	case RoleApplicant, RoleHandler, RoleCommittee, RoleAuthority, RoleOfficer, ClockActor:
		return role
	}
	return "zone"
}

// eventText says in words what an event carries.
func (s *Site) eventText(r *http.Request, a *Application, e Event) string {
	t := func(key string, args ...any) string { return s.o.Pages.T(r, key, args...) }
	switch e.Kind {
	case KindSaved:
		var d Saved
		if e.decode(&d) != nil {
			return ""
		}
		var names []string
		for _, p := range d.Answers.pagesSet() {
			names = append(names, t(i18n.Key("gateway.page.", p)))
		}
		return strings.Join(names, ", ")
	case KindAsked:
		var d Asked
		if e.decode(&d) != nil {
			return ""
		}
		var qs []string
		for _, q := range d.Questions {
			qs = append(qs, t(i18n.Key("gateway.page.", q.Page))+": "+q.Text)
		}
		return strings.Join(qs, " ")
	case KindAnswered:
		var d Answered
		if e.decode(&d) == nil {
			return d.Text
		}
	case KindOpinion:
		var d OpinionIssued
		if e.decode(&d) == nil {
			return strings.TrimSpace(t(i18n.Key("gateway.opinion.", d.Opinion)) + ". " + d.Reasons + " " + d.Recommendations)
		}
	case KindOpinionDeemed:
		return t("gateway.deemed.why")
	case KindExtended:
		var d Extended
		if e.decode(&d) == nil {
			return d.Reasons
		}
	case KindAuthorised, KindRefused:
		var d Decided
		if e.decode(&d) == nil {
			return strings.TrimSpace(d.Reference + " " + d.Reasons + " " + strings.Join(d.Conditions, " "))
		}
	case KindWithdrawn:
		var d Withdrawn
		if e.decode(&d) == nil {
			return d.Reason
		}
	case KindOrderFailed:
		var d OrderAnswered
		if e.decode(&d) == nil {
			return d.Message
		}
	case KindReleased:
		var d Released
		if e.decode(&d) == nil {
			return d.Export.Title
		}
	}
	return ""
}

// command runs what a form on the case page asks for.
func (s *Site) command(w http.ResponseWriter, r *http.Request) {
	c := Command(r.PathValue("command"))
	if !slices.Contains(Commands, c) || c == CmdSave || c == CmdSign { // these have routes of their own
		s.o.Pages.NotFound(w, r)
		return
	}
	a, u, ok := s.find(w, r, func(a *Application) access.Action { return policyFor(a, c) })
	if !ok || !s.form(w, r) {
		return
	}
	v := r.PostForm
	// The page holds several forms: fields carry the command's name.
	text := func(name string) string {
		return strings.TrimSpace(strings.ReplaceAll(v.Get(string(c)+"-"+name), "\r\n", "\n"))
	}
	act := Action{Command: c, ExpectedSeq: expected(v)}
	switch c {
	case CmdAsk:
		act.Questions = []Question{{Page: text("page"), Text: text("text")}}
	case CmdAnswer:
		act.Text = text("text")
	case CmdOpinion:
		act.Opinion, act.Reasons, act.Recommendations = text("opinion"), text("reasons"), text("recommendations")
	case CmdAuthorise:
		act.Reference, act.Reasons = text("reference"), text("reasons")
		for _, line := range strings.Split(text("conditions"), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				act.Conditions = append(act.Conditions, line)
			}
		}
	case CmdExtend, CmdRefuse, CmdWithdraw:
		act.Reasons = text("reasons")
	}
	_, err := s.g.Do(r.Context(), u, a.ID, act)
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid) && (c == CmdSubmit || c == CmdAnswer):
		s.showCheck(w, r, http.StatusUnprocessableEntity, a, formErrors(prefixed(string(c), withoutPages(invalid.Problems))))
	case errors.As(err, &invalid):
		s.renderCase(w, r, http.StatusUnprocessableEntity, a, u, page.Form{Values: v, Errors: formErrors(prefixed(string(c), invalid.Problems))})
	case err != nil:
		s.fail(w, r, err)
	case c == CmdDraft:
		http.Redirect(w, r, "/applications/"+a.ID+"/permit", http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/applications/"+a.ID, http.StatusSeeOther)
	}
}

// withoutPages keeps the problems of the form at hand; those of other pages are listed on the check page.
func withoutPages(ps []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return slices.Contains(Pages, p.Page) })
}

// prefixed names fields as the case page does, which holds several forms: "opinion-reasons". A problem
// that has no field there is shown in the summary only.
func prefixed(command string, ps []Problem) []Problem {
	out := slices.Clone(ps)
	for i := range out {
		if out[i].Page == command && out[i].Field != "persons" {
			out[i].Field = command + "-" + out[i].Field
		} else {
			out[i].Field = ""
		}
	}
	return out
}
