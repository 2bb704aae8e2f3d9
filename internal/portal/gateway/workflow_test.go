package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
)

// allowed is the table of permissions written out: state, open step → command → role. It is checked
// against Can on every state that a random walk reaches.
var allowed = map[string]map[Command]string{
	"DRAFT/":                     {CmdSave: RoleApplicant, CmdSubmit: RoleApplicant, CmdWithdraw: RoleApplicant},
	"PRE_SCREENING/completeness": {CmdAsk: RoleHandler, CmdComplete: RoleHandler, CmdWithdraw: RoleApplicant},
	"PROCESSING/opinion":         {CmdAsk: RoleHandler, CmdOpinion: RoleCommittee, CmdExtend: RoleCommittee, CmdWithdraw: RoleApplicant},
	"PROCESSING/authority":       {CmdAsk: RoleHandler, CmdAuthorise: RoleAuthority, CmdRefuse: RoleAuthority, CmdExtend: RoleAuthority, CmdWithdraw: RoleApplicant},
	"PROCESSING/permit":          {CmdDraft: RoleOfficer, CmdSign: RoleOfficer, CmdRefuse: RoleOfficer, CmdWithdraw: RoleApplicant},
	"AWAITING":                   {CmdSave: RoleApplicant, CmdAnswer: RoleApplicant, CmdRefuse: RoleHandler, CmdWithdraw: RoleApplicant},
	"DECISION_ISSUED/":           {},
	"WITHDRAWN/":                 {},
}

// next are the states that may follow each state; staying is always possible.
var next = map[State][]State{
	StateDraft:        {StatePreScreening, StateWithdrawn},
	StatePreScreening: {StateAwaiting, StateProcessing, StateWithdrawn},
	StateAwaiting:     {StatePreScreening, StateProcessing, StateDecided, StateWithdrawn},
	StateProcessing:   {StateAwaiting, StateDecided, StateWithdrawn},
}

func rowOf(a *Application) map[Command]string {
	if a.State == StateAwaiting {
		return allowed["AWAITING"]
	}
	return allowed[string(a.State)+"/"+a.Step]
}

// TestWorkflowModel walks at random through commands of people with every combination of roles, and
// checks after each step: permissions are never wider than the table, transitions are only those listed,
// no one acts in two official roles or on her own case, and what is stored folds back to the same.
func TestWorkflowModel(t *testing.T) {
	ps := allProcedures(t)
	proc := frSnds(t)
	schema := &contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{{Name: "T", Columns: []contract.Column{{Name: "C", Type: contract.TypeString}}}}}
	schemas := func(string, string) (*contract.DatasetSchema, bool) { return schema, true }
	period := contract.Period{From: "2022-01-01", To: "2022-12-31"}
	full := Answers{Project: &ProjectPage{Title: "T", LaySummary: "S", Controller: "C"}, Purpose: &PurposePage{Purposes: []string{"e"}, Aim: "A", NoProhibitedUse: true},
		Data:   &DataPage{Need: "N", Datasets: []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "T", Columns: []string{"C"}}}}}},
		Period: &PeriodPage{period, 12}, Cohort: &CohortPage{contract.Cohort{All: true, Period: period}}, Persons: &PersonsPage{[]PersonRef{{Account: "u0", Principal: true}, {Account: "u1"}}},
		OptOut: &OptOutPage{contract.OptOut{Honoured: true}}}
	key := contract.Person{ID: "u0", Name: "U", Principal: true, Credentials: []contract.PublicKey{{CredentialID: []byte("c"), SPKI: []byte("k")}}}

	reached := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		users := make([]Actor, 8)
		for i := range users {
			users[i] = Actor{ID: fmt.Sprintf("u%d", i), Roles: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{RoleApplicant, RoleHandler, RoleCommittee, RoleAuthority, RoleOfficer, RoleAuditor}), 0, 3, rapid.ID[string]).Draw(t, "roles")}
		}
		now := drawDay(t, "start")
		events := []Event{newEvent(KindCreated, users[0], RoleApplicant, now, Created{Procedure: proc.Name()}), newEvent(KindSaved, users[0], RoleApplicant, now, Saved{full})}
		number := func() {
			for i := range events {
				events[i].Stream, events[i].Seq = "app", int64(i+1)
			}
		}
		number()
		fold := func() *Application {
			a, err := Fold(ps, events, now)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		a := fold()
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 9*24).Draw(t, "hours")) * time.Hour)
			before := a.State
			a = fold() // time alone may have moved it
			row := rowOf(a)
			if row == nil {
				t.Fatalf("state %s step %q is not in the table", a.State, a.Step)
			}
			reached[string(a.State)] = true
			for _, u := range users {
				for _, c := range Commands {
					if a.Can(u, c, now) != nil {
						continue
					}
					role, ok := row[c]
					switch {
					case !ok:
						t.Fatalf("%s may be done in %s/%s", c, a.State, a.Step)
					case role == RoleApplicant && u.ID != "u0" && !(c == CmdSave && u.ID == "u1"):
						t.Fatalf("%s may %s somebody else's case", u.ID, c)
					case role != RoleApplicant && (!u.Has(role) || a.Names(u.ID)):
						t.Fatalf("%s with %v may %s", u.ID, u.Roles, c)
					case role != RoleApplicant && slices.ContainsFunc(a.acted[u.ID], func(r string) bool { return r != role }):
						t.Fatalf("%s acted as %v and may %s", u.ID, a.acted[u.ID], c)
					}
				}
			}
			u := rapid.SampledFrom(users).Draw(t, "user")
			may := a.May(u, now)
			if len(may) == 0 {
				continue
			}
			c := rapid.SampledFrom(may).Draw(t, "command")
			if c == CmdWithdraw && rapid.IntRange(0, 4).Draw(t, "keep on") > 0 {
				continue
			}
			var add []Event
			var err error
			switch c {
			case CmdDraft:
				p, perr := draftPermit(a, []contract.Person{key}, now)
				if perr != nil {
					t.Fatal(perr)
				}
				d, _ := drafted(p)
				add = []Event{newEvent(KindDrafted, u, RoleOfficer, now, d)}
			case CmdSign:
				add = []Event{newEvent(KindSigned, u, RoleOfficer, now, Signed{Signed: contract.SignedPermit{Permit: a.Draft.Permit}})}
			default:
				act := Action{Command: c, Answers: &Answers{Data: full.Data}, Questions: []Question{{"data", "?"}}, Text: "x", Opinion: OpinionReserved, Reasons: "x", Reference: "x"}
				add, err = a.decide(act, u, now, schemas)
			}
			if err != nil {
				t.Fatalf("%s was allowed and failed: %v", c, err)
			}
			events = append(slices.Clone(a.Events), add...)
			number()
			after := fold()
			if after.State != a.State && !slices.Contains(next[a.State], after.State) {
				t.Fatalf("%s led from %s to %s", c, a.State, after.State)
			}
			if before == StateWithdrawn || before == StateDecided {
				t.Fatalf("something happened after %s", before)
			}
			a = after
		}
	})
	for _, s := range []State{StateDraft, StatePreScreening, StateAwaiting, StateProcessing, StateDecided, StateWithdrawn} {
		if !reached[string(s)] {
			t.Errorf("the walk never reached %s", s)
		}
	}
}
