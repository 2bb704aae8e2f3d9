package access_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/portal/access"
)

// allowed says which roles may do an action to a resource that speaks for them: it is theirs, or of
// their holder, and sent. "*" is anybody, signed in or not.
var allowed = map[access.Action][]access.Role{
	access.DatasetRead:          {access.Holder, access.Handler, access.Committee, access.Authority, access.Officer, access.Engineer, access.Auditor},
	access.DatasetDescribe:      {access.Holder},
	access.DatasetPublish:       {access.Holder},
	access.DatasetImport:        {access.Operator},
	access.CountAsk:             {access.Researcher},
	access.ApplicationCreate:    {access.Researcher},
	access.ApplicationRead:      {access.Researcher, access.Holder, access.Handler, access.Committee, access.Authority, access.Officer, access.Auditor},
	access.ApplicationEdit:      {access.Researcher},
	access.ApplicationSubmit:    {access.Researcher},
	access.ApplicationBoard:     {access.Handler, access.Committee, access.Authority, access.Officer, access.Auditor},
	access.ApplicationCheck:     {access.Handler},
	access.ApplicationOpine:     {access.Committee},
	access.ApplicationAuthorise: {access.Authority},
	access.HolderAnswer:         {access.Holder},
	access.PermitDraft:          {access.Handler, access.Officer},
	access.PermitSign:           {access.Officer},
	access.PermitRead:           {access.Researcher, access.Holder, access.Handler, access.Committee, access.Authority, access.Officer, access.Engineer, access.Reviewer, access.Auditor},
	access.OrderRead:            {access.Researcher, access.Handler, access.Officer, access.Engineer, access.Operator, access.Auditor},
	access.OrderRetry:           {access.Engineer, access.Operator},
	access.WorkspaceOpen:        {access.Researcher},
	access.ExportRead:           {access.Researcher, access.Handler, access.Reviewer, access.Auditor},
	access.RegisterRead:         {},
	access.ObjectionFile:        {access.Citizen},
	access.ObjectionRead:        {access.Citizen},
	access.ObjectionUndo:        {access.Citizen},
	access.SessionList:          {access.Operator, access.Auditor},
	access.SessionRevoke:        {access.Operator},
	access.AccountManage:        {access.Operator},
	access.OperationsRead:       {access.Operator, access.Auditor},
	access.PasskeyEnrol:         {access.Researcher, access.Holder, access.Handler, access.Committee, access.Authority, access.Officer, access.Engineer, access.Reviewer, access.Operator, access.Auditor},
	access.EnrolmentRead:        {access.Officer, access.Reviewer},
}

// assessing must not be done by whom it belongs to, so for these actions the resource is another's.
var assessing = []access.Action{access.ApplicationCheck, access.ApplicationOpine, access.ApplicationAuthorise, access.PermitDraft, access.PermitSign}

func policies(t testing.TB) *access.Policies {
	t.Helper()
	p, err := access.Built()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryActionForEveryRole(t *testing.T) {
	p := policies(t)
	for _, a := range access.Actions {
		want, ok := allowed[a]
		if !ok {
			t.Errorf("action %s has no line in this table", a)
		}
		for _, role := range access.Roles {
			res := access.Resource{ID: "x", Owner: "me", Holders: []string{"cnam"}, State: "submitted"}
			if slices.Contains(assessing, a) {
				res.Owner = "another"
			}
			err := p.Check(&access.User{ID: "me", Roles: []access.Role{role}, Holder: "cnam"}, a, res)
			if got := err == nil; got != slices.Contains(want, role) {
				t.Errorf("%s doing %s: allowed %v", role, a, got)
			}
		}
		var denied *access.Denied
		if err := p.Check(nil, a, access.Resource{ID: "x", Holders: []string{""}}); !errors.As(err, &denied) || denied.Status() != 401 {
			t.Errorf("a visitor doing %s: %v", a, err)
		}
	}
	if len(allowed) != len(access.Actions) {
		t.Errorf("%d actions, %d lines in the table", len(access.Actions), len(allowed))
	}
}

func TestPoliciesLookAtTheResource(t *testing.T) {
	p := policies(t)
	user := func(holder string, roles ...access.Role) *access.User {
		return &access.User{ID: "me", Roles: roles, Holder: holder}
	}
	for _, c := range []struct {
		name string
		u    *access.User
		a    access.Action
		res  access.Resource
		want bool
	}{
		{"visitor reads what is published", nil, access.DatasetRead, access.Resource{Public: true}, true},
		{"visitor reads the register", nil, access.RegisterRead, access.Resource{Public: true}, true},
		{"visitor reads a draft", nil, access.DatasetRead, access.Resource{}, false},
		{"holder describes another's data", user("cnam", access.Holder), access.DatasetDescribe, access.Resource{Holders: []string{"ap-hp"}}, false},
		{"holder without a holder", user("", access.Holder), access.DatasetDescribe, access.Resource{Holders: []string{""}}, false},
		{"holder reads a case before it is sent", user("cnam", access.Holder), access.ApplicationRead, access.Resource{Holders: []string{"cnam"}, State: "draft"}, false},
		{"holder answers another's case", user("cnam", access.Holder), access.HolderAnswer, access.Resource{Holders: []string{"ap-hp"}}, false},
		{"researcher reads another's application", user("", access.Researcher), access.ApplicationRead, access.Resource{Owner: "you"}, false},
		{"team member reads", user("", access.Researcher), access.ApplicationRead, access.Resource{Owner: "you", Members: []string{"me"}, State: "draft"}, true},
		{"team member edits", user("", access.Researcher), access.ApplicationEdit, access.Resource{Owner: "you", Members: []string{"me"}, State: "draft"}, true},
		{"team member sends", user("", access.Researcher), access.ApplicationSubmit, access.Resource{Owner: "you", Members: []string{"me"}, State: "draft"}, false},
		{"owner edits what is decided", user("", access.Researcher), access.ApplicationEdit, access.Resource{Owner: "me", State: "decided"}, false},
		{"handler reads a draft", user("", access.Handler), access.ApplicationRead, access.Resource{Owner: "you", State: "draft"}, false},
		{"handler checks her own", user("", access.Handler, access.Researcher), access.ApplicationCheck, access.Resource{Owner: "me"}, false},
		{"committee member opines on his team's", user("", access.Committee, access.Researcher), access.ApplicationOpine, access.Resource{Owner: "you", Members: []string{"me"}}, false},
		{"officer signs his own", user("", access.Officer), access.PermitSign, access.Resource{Owner: "me"}, false},
		{"citizen reads another's objection", user("", access.Citizen), access.ObjectionRead, access.Resource{Owner: "you"}, false},
		{"citizen undoes another's objection", user("", access.Citizen), access.ObjectionUndo, access.Resource{Owner: "you"}, false},
		{"unknown action", user("", access.Roles...), "data.export", access.Resource{Owner: "me", Public: true}, false},
	} {
		if got := p.Check(c.u, c.a, c.res) == nil; got != c.want {
			t.Errorf("%s: allowed %v", c.name, got)
		}
	}
}

// TestNobodyAssessesTheirOwn: whatever roles a person collects.
func TestNobodyAssessesTheirOwn(t *testing.T) {
	p := policies(t)
	rapid.Check(t, func(rt *rapid.T) {
		roles := rapid.SliceOfDistinct(rapid.SampledFrom(access.Roles), rapid.ID).Draw(rt, "roles")
		a := rapid.SampledFrom(assessing).Draw(rt, "action")
		res := access.Resource{ID: "x", State: rapid.SampledFrom([]string{"draft", "submitted", "decided"}).Draw(rt, "state")}
		if rapid.Bool().Draw(rt, "own") {
			res.Owner = "me"
		} else {
			res.Members = []string{"you", "me"}
		}
		if p.Check(&access.User{ID: "me", Roles: roles}, a, res) == nil {
			rt.Fatalf("%v may do %s to their own", roles, a)
		}
	})
}

func TestIncompatibleRoles(t *testing.T) {
	for _, c := range []struct {
		roles []access.Role
		ok    bool
	}{
		{[]access.Role{access.Handler, access.Officer}, true},
		{[]access.Role{access.Citizen, access.Researcher, access.Committee}, true},
		{[]access.Role{access.Reviewer, access.Operator}, true},
		{[]access.Role{access.Handler, access.Engineer}, false},
		{[]access.Role{access.Officer, access.Reviewer}, false},
		{[]access.Role{access.Engineer, access.Operator}, false},
		{[]access.Role{access.Auditor, access.Operator}, false},
		{nil, true},
	} {
		err := access.Incompatible(c.roles)
		var inc *access.ErrIncompatible
		if (err == nil) != c.ok || (err != nil && !errors.As(err, &inc)) {
			t.Errorf("%v: %v", c.roles, err)
		}
	}
}

func TestBadPoliciesStopTheStart(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"none":   {},
		"broken": {"x.cedar": {Data: []byte("permit (principal, action")}},
	} {
		if _, err := access.LoadPolicies(fsys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAllowOutsideTheMiddlewareDenies(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(access.WithUser(r.Context(), &access.User{ID: "me", Roles: access.Roles}))
	if access.Allow(r, access.RegisterRead, access.Resource{Public: true}) == nil {
		t.Error("allowed without policies")
	}
}
