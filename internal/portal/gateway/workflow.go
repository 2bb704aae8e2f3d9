package gateway

import (
	"slices"
	"time"
)

// Command is what somebody may do to a case.
type Command string

const (
	CmdSave      Command = "save"
	CmdSubmit    Command = "submit"
	CmdAsk       Command = "ask"
	CmdAnswer    Command = "answer"
	CmdComplete  Command = "complete"
	CmdOpinion   Command = "opinion"
	CmdExtend    Command = "extend"
	CmdAuthorise Command = "authorise"
	CmdRefuse    Command = "refuse"
	CmdDraft     Command = "draft"
	CmdSign      Command = "sign"
	CmdWithdraw  Command = "withdraw"
)

// Commands lists all of them in the order a case meets them.
var Commands = []Command{CmdSave, CmdSubmit, CmdAsk, CmdAnswer, CmdComplete, CmdOpinion, CmdExtend,
	CmdAuthorise, CmdRefuse, CmdDraft, CmdSign, CmdWithdraw}

// Roles in which people act on a case. RoleApplicant is whoever opened it; the others are official and
// exclude one another on the same case.
const (
	RoleApplicant = "researcher"
	RoleHandler   = "handler"
	RoleCommittee = "committee"
	RoleAuthority = "authority"
	RoleOfficer   = "officer"
	RoleAuditor   = "auditor" // reads, changes nothing
)

var officialRoles = map[string]bool{RoleHandler: true, RoleCommittee: true, RoleAuthority: true, RoleOfficer: true}

// masterStep is a stage of the master workflow, which every procedure restricts.
type masterStep struct {
	state    State
	role     string
	commands []Command
	needs    []Command // without them a case could never leave the step
	required bool
	silence  bool // the procedure may count silence as favourable
}

var masterOrder = []string{"completeness", "opinion", "authority", "permit"}

var masterSteps = map[string]masterStep{
	"completeness": {state: StatePreScreening, role: RoleHandler, required: true,
		commands: []Command{CmdAsk, CmdComplete}, needs: []Command{CmdComplete}},
	"opinion": {state: StateProcessing, role: RoleCommittee, silence: true,
		commands: []Command{CmdAsk, CmdOpinion, CmdExtend}, needs: []Command{CmdOpinion}},
	"authority": {state: StateProcessing, role: RoleAuthority,
		commands: []Command{CmdAsk, CmdAuthorise, CmdRefuse, CmdExtend}, needs: []Command{CmdAuthorise}},
	"permit": {state: StateProcessing, role: RoleOfficer, required: true,
		commands: []Command{CmdDraft, CmdSign, CmdRefuse}, needs: []Command{CmdDraft, CmdSign}},
}

var knownKinds = map[Kind]bool{KindCreated: true, KindSaved: true, KindSubmitted: true, KindAcknowledged: true,
	KindAsked: true, KindAnswered: true, KindComplete: true, KindOpinion: true, KindOpinionDeemed: true,
	KindExtended: true, KindAuthorised: true, KindRefused: true, KindDrafted: true, KindSigned: true,
	KindWithdrawn: true, KindProvisioned: true, KindOpened: true, KindOrderFailed: true, KindReleased: true}

// Actor is who acts: an account with its roles.
type Actor struct {
	ID    string
	Name  string
	Roles []string
}

// Has reports whether the account holds a role.
func (u Actor) Has(role string) bool { return slices.Contains(u.Roles, role) }

// reads reports whether the account holds a role that may read other people's cases.
func (u Actor) reads() bool {
	return slices.ContainsFunc(u.Roles, func(r string) bool { return officialRoles[r] || r == RoleAuditor })
}

// Can reports whether the actor may do c now, as nil, or the reason why not. The answer depends on the
// state, the procedure's step, the role, and what the actor has done on this case before; pages show
// exactly what Can allows.
func (a *Application) Can(u Actor, c Command, now time.Time) error {
	role, ok := a.roleFor(c, now)
	if !ok {
		return &Denied{Code: "wrong_state", Command: c}
	}
	if role == RoleApplicant { // the team writes, only the applicant sends, answers and withdraws
		if u.ID != a.Applicant && (c != CmdSave || !a.Names(u.ID)) {
			return &Denied{Code: "not_yours", Command: c}
		}
		return nil
	}
	if !u.Has(role) {
		return &Denied{Code: "wrong_role", Command: c}
	}
	if a.Names(u.ID) {
		return &Denied{Code: "own_case", Command: c}
	}
	for _, other := range a.acted[u.ID] {
		if other != role {
			return &Denied{Code: "other_role", Command: c}
		}
	}
	return nil
}

// roleFor returns which role may do c in the present state, false when nobody may.
func (a *Application) roleFor(c Command, now time.Time) (string, bool) {
	switch c {
	case CmdSave:
		return RoleApplicant, a.State == StateDraft || a.State == StateAwaiting
	case CmdSubmit:
		return RoleApplicant, a.State == StateDraft
	case CmdAnswer:
		return RoleApplicant, a.State == StateAwaiting
	case CmdWithdraw:
		return RoleApplicant, a.Active()
	case CmdRefuse:
		// Not answered in time: the file may be refused as incomplete (Art. 68(4)).
		if a.State == StateAwaiting {
			k := a.OpenClock()
			return RoleHandler, k != nil && k.Late(now)
		}
	}
	s := a.OpenStep()
	if s == nil || a.State != s.State || !slices.Contains(s.Commands, c) {
		return "", false
	}
	switch c {
	case CmdAsk, CmdComplete:
		return RoleHandler, true
	case CmdExtend:
		k := a.OpenClock()
		return s.Role, k != nil && k.Extended == nil && !k.Late(now)
	case CmdSign:
		return s.Role, a.Draft != nil
	}
	return s.Role, true
}

// May lists what the actor may do now, in the order of Commands.
func (a *Application) May(u Actor, now time.Time) []Command {
	var out []Command
	for _, c := range Commands {
		if a.Can(u, c, now) == nil {
			out = append(out, c)
		}
	}
	return out
}

// Readable reports whether the actor may read the case: those it names, always; officials and auditors,
// once it has been submitted.
func (a *Application) Readable(u Actor) bool {
	return a.Names(u.ID) || (u.reads() && !a.Submitted.IsZero())
}
