package access

import (
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/mitral-health/mitral/policies"
)

// Action is something a person wants to do. The policies decide; a new action needs a line in a policy
// and a line in the table of policy_test.go.
type Action string

// Actions of the portal.
const (
	DatasetRead     Action = "dataset.read"     // a dataset description; Resource.Public for published ones
	DatasetDescribe Action = "dataset.describe" // write a draft; Resource.Holders: the dataset's holder
	DatasetPublish  Action = "dataset.publish"
	DatasetImport   Action = "dataset.import" // descriptions of many holders at once

	CountAsk Action = "count.ask" // feasibility count

	ApplicationCreate    Action = "application.create"
	ApplicationRead      Action = "application.read"
	ApplicationEdit      Action = "application.edit"   // answers, documents, replies to questions
	ApplicationSubmit    Action = "application.submit" // submit, withdraw, appeal
	ApplicationBoard     Action = "application.board"  // the list of all cases
	ApplicationCheck     Action = "application.check"  // completeness, questions to the applicant, moving on
	ApplicationOpine     Action = "application.opine"  // committee's opinion
	ApplicationAuthorise Action = "application.authorise"
	HolderAnswer         Action = "holder.answer" // a data holder answers a case; Resource.Holders

	PermitDraft Action = "permit.draft"
	PermitSign  Action = "permit.sign"
	PermitRead  Action = "permit.read"

	OrderRead  Action = "order.read" // runs of the inner zones and their reports
	OrderRetry Action = "order.retry"

	WorkspaceOpen Action = "workspace.open" // see where one's workspace is; Resource.Members
	ExportRead    Action = "export.read"    // released files before they are public

	RegisterRead Action = "register.read"

	ObjectionFile Action = "objection.file"
	ObjectionRead Action = "objection.read" // one's own: Resource.Owner
	ObjectionUndo Action = "objection.undo"

	SessionList    Action = "session.list"
	SessionRevoke  Action = "session.revoke"
	AccountManage  Action = "account.manage" // accounts and their roles
	OperationsRead Action = "operations.read"

	PasskeyEnrol  Action = "passkey.enrol"
	EnrolmentRead Action = "enrolment.read" // one's own passkey as enrolment file for the inner zones
)

// Actions lists every action.
var Actions = []Action{DatasetRead, DatasetDescribe, DatasetPublish, DatasetImport, CountAsk, ApplicationCreate, ApplicationRead,
	ApplicationEdit, ApplicationSubmit, ApplicationBoard, ApplicationCheck, ApplicationOpine, ApplicationAuthorise,
	HolderAnswer, PermitDraft, PermitSign, PermitRead, OrderRead, OrderRetry, WorkspaceOpen, ExportRead, RegisterRead,
	ObjectionFile, ObjectionRead, ObjectionUndo, SessionList, SessionRevoke, AccountManage, OperationsRead,
	PasskeyEnrol, EnrolmentRead}

// Resource is what an action is about, as far as policies look at it.
type Resource struct {
	ID      string
	Owner   string   // account id of the person it belongs to
	Members []string // account ids of the team
	Holders []string // data holders concerned
	State   string
	Public  bool
}

// Denied is the answer of Allow when the policies do not permit an action.
type Denied struct {
	Action   Action
	SignedIn bool
}

func (d *Denied) Error() string { return fmt.Sprintf("access denied: %s", d.Action) }

// Status is 401 when signing in might help, else 403.
func (d *Denied) Status() int {
	if d.SignedIn {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// Policies is the parsed set of policies.
type Policies struct{ set *cedar.PolicySet }

// LoadPolicies parses every *.cedar file; a file that does not parse is an error at start.
func LoadPolicies(fsys fs.FS) (*Policies, error) {
	files, err := fs.Glob(fsys, "*.cedar")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("policies: no *.cedar file found (%v)", err)
	}
	set := cedar.NewPolicySet()
	for _, f := range files {
		src, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, fmt.Errorf("policies: %w", err)
		}
		list, err := cedar.NewPolicyListFromBytes(f, src)
		if err != nil {
			return nil, fmt.Errorf("policies: %s: %w", f, err)
		}
		for i, p := range list {
			set.Add(cedar.PolicyID(fmt.Sprintf("%s#%d", strings.TrimSuffix(path.Base(f), ".cedar"), i+1)), p)
		}
	}
	return &Policies{set}, nil
}

// Built are the policies that the binary carries.
func Built() (*Policies, error) { return LoadPolicies(policies.Files) }

// Check asks the policies. A policy that fails to evaluate counts as one that does not permit.
func (p *Policies) Check(u *User, a Action, res Resource) error {
	id, holder := "", ""
	var parents []types.EntityUID
	if u != nil {
		id, holder = u.ID, u.Holder
		for _, r := range u.Roles {
			parents = append(parents, types.NewEntityUID("Role", types.String(r)))
		}
	}
	who := types.NewEntityUID("User", types.String(id))
	if u == nil {
		who = types.NewEntityUID("Visitor", "visitor")
	}
	what := types.NewEntityUID("Thing", types.String(res.ID))
	members := make([]types.Value, len(res.Members))
	for i, m := range res.Members {
		members[i] = types.NewEntityUID("User", types.String(m))
	}
	holders := make([]types.Value, len(res.Holders))
	for i, h := range res.Holders {
		holders[i] = types.String(h)
	}
	entities := types.EntityMap{
		who: {UID: who, Parents: types.NewEntityUIDSet(parents...), Attributes: types.NewRecord(types.RecordMap{
			"holder": types.String(holder),
		})},
		what: {UID: what, Attributes: types.NewRecord(types.RecordMap{
			"owner":   types.NewEntityUID("User", types.String(res.Owner)),
			"members": types.NewSet(members...),
			"holders": types.NewSet(holders...),
			"state":   types.String(res.State),
			"public":  types.Boolean(res.Public),
		})},
	}
	decision, _ := cedar.Authorize(p.set, entities, cedar.Request{Principal: who, Action: types.NewEntityUID("Action", types.String(a)),
		Resource: what, Context: types.NewRecord(nil)})
	if decision == cedar.Allow {
		return nil
	}
	return &Denied{Action: a, SignedIn: u != nil}
}

// Allow asks whether the person of the request may do a to res; nil means yes, else a *Denied. A
// request that did not pass the room's middleware is denied.
func Allow(r *http.Request, a Action, res Resource) error {
	p, ok := r.Context().Value(policyKey).(*Policies)
	u := UserFrom(r.Context())
	if !ok {
		return &Denied{Action: a, SignedIn: u != nil}
	}
	return p.Check(u, a, res)
}
