package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/portal/gateway"
)

// StudyAnswers are the answers of the journey's application, which tests vary.
func StudyAnswers() gateway.Answers {
	return gateway.Answers{
		Project: &gateway.ProjectPage{Title: projectTitle, Controller: "University of Sampleville", LaySummary: "We look at how care for people with diabetes goes on after they were in an emergency ward."},
		Purpose: &gateway.PurposePage{Purposes: []string{"e"}, Aim: "To describe drug treatment and stays after an emergency visit.", NoProhibitedUse: true},
		Data:    &gateway.DataPage{Datasets: studyData(), Need: "Drugs show the disease and its treatment, visits and stays the events under study."},
		Period:  &gateway.PeriodPage{Period: studyPeriod, DurationMonths: 24},
		Cohort:  &gateway.CohortPage{Cohort: studyCohort()},
		Persons: &gateway.PersonsPage{Persons: []gateway.PersonRef{{Account: "acct-demo-researcher-1", Affiliation: "University of Sampleville", Principal: true}}},
		OptOut:  &gateway.OptOutPage{OptOut: contract.OptOut{Honoured: true}},
	}
}

// Decide takes an application through the whole French procedure at once, each act by its role, and has
// the officer sign. between runs after the permit is drafted, which fixes its date, and before it is
// signed; it may be nil. It returns the ids of the case and of the permit.
func (h *Hub) Decide(ctx context.Context, answers gateway.Answers, between func() error) (application, permit string, err error) {
	applicant, err := h.SignIn(ctx, "researcher", "1")
	if err != nil {
		return "", "", err
	}
	w := &walk{h: h, applicant: applicant}
	var v gateway.CaseView
	if err := applicant.Call(ctx, http.MethodPost, "/api/v1/applications", map[string]any{"title": answers.Project.Title}, &v); err != nil {
		return "", "", err
	}
	w.application = v.ID
	for _, move := range []struct {
		role   string
		action gateway.Action
	}{
		{"researcher", gateway.Action{Command: gateway.CmdSave, Answers: &answers}},
		{"researcher", gateway.Action{Command: gateway.CmdSubmit}},
		{"handler", gateway.Action{Command: gateway.CmdComplete}},
		{"committee", gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionFavourable, Reasons: "In the public interest."}},
		{"authority", gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-1", Reasons: "Lawful and proportionate."}},
		{"officer", gateway.Action{Command: gateway.CmdDraft}},
	} {
		c, err := h.SignIn(ctx, move.role, "")
		if err != nil {
			return w.application, "", err
		}
		if v, err = w.act(ctx, c, move.action); err != nil {
			return w.application, "", err
		}
	}
	if between != nil {
		if err := between(); err != nil {
			return w.application, "", err
		}
	}
	officer, err := h.SignIn(ctx, "officer", "")
	if err != nil {
		return w.application, "", err
	}
	if err := h.SignPermit(ctx, officer, "/api/v1/applications/"+w.application+"/permit"); err != nil {
		return w.application, "", err
	}
	if v, err = w.at(ctx, applicant); err != nil {
		return w.application, "", err
	}
	return w.application, v.PermitID, nil
}

// Workspace waits until the workspace of a permit is open and returns its id and the rows of each table,
// "dataset.table", exactly as delivered.
func (h *Hub) Workspace(ctx context.Context, permit string) (id string, rows map[string]int64, err error) {
	rows = map[string]int64{}
	err = h.until(ctx, 2*time.Minute, "the workspace of "+permit, func() (bool, error) {
		c, err := h.SignInEnclave(ctx, "acct-demo-researcher-1")
		if refusal(err) {
			return false, nil // no workspace names her yet
		}
		if err != nil {
			return false, err
		}
		var list struct {
			Workspaces []workspace `json:"workspaces"`
		}
		if err := c.Call(ctx, http.MethodGet, "/api/v1/workspaces", nil, &list); err != nil {
			return false, err
		}
		for _, ws := range list.Workspaces {
			if ws.PermitID != permit || ws.State != "open" {
				continue
			}
			id = ws.ID
			if err := c.Call(ctx, http.MethodGet, "/api/v1/workspaces/"+id, nil, &ws); err != nil {
				return false, err
			}
			for _, t := range ws.Tables {
				rows[fmt.Sprintf("%s.%s", t.Dataset, t.Table)] = t.Rows
			}
			return true, nil
		}
		return false, nil
	})
	return id, rows, err
}

// workspace is a workspace as the enclave's interface shows it.
type workspace struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	PermitID string `json:"permit_id"`
	Tables   []struct {
		Dataset string `json:"dataset"`
		Table   string `json:"table"`
		Rows    int64  `json:"rows"`
	} `json:"tables"`
}

// Key is the officer's demonstration key.
func (h *Hub) Key() *SoftKey { return h.key }

// Address is where a zone listens for other zones; that of the portal is its order book.
func (h *Hub) Address(zone string) string {
	p := h.state.Ports
	return map[string]string{contract.ZonePortal: local(p.OrderBook), contract.ZoneTrust: local(p.Trust), contract.ZoneVault: local(p.Vault),
		contract.ZoneEngine: local(p.Engine)}[zone]
}

// Advance moves the hub's clock forward.
func (h *Hub) Advance(d time.Duration) error { return clock.Shifted{Path: h.path("clock")}.Move(d) }

// Now is the hub's time.
func (h *Hub) Now() time.Time { return h.clock().Now() }

// TLS are the certificate files of a zone, for a test that plays one.
func (h *Hub) TLS(zone string) conf.TLS { return pki.Files(h.path("pki"), pki.KindZone, zone) }
