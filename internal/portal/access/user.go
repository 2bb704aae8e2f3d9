package access

import (
	"context"
	"fmt"
	"slices"
)

// Role is what an account may be. One account may have several, within the limits of Incompatible.
type Role string

// Roles.
const (
	Citizen    Role = "citizen"    // a patient or insured person
	Researcher Role = "researcher" // applies for data and works with them
	Holder     Role = "holder"     // describes and delivers data of one data holder
	Handler    Role = "handler"    // secretariat: moves cases on, checks completeness
	Committee  Role = "committee"  // member of the ethics and scientific committee
	Authority  Role = "authority"  // data-protection authority
	Officer    Role = "officer"    // deciding officer: signs permits with a passkey
	Engineer   Role = "engineer"   // prepares data
	Reviewer   Role = "reviewer"   // checks what leaves the enclave
	Operator   Role = "operator"   // runs the hub
	Auditor    Role = "auditor"    // looks at everything that is recorded, changes nothing
)

// Roles lists all roles in the order pages show them.
var Roles = []Role{Citizen, Researcher, Holder, Handler, Committee, Authority, Officer, Engineer, Reviewer, Operator, Auditor}

// duty is the task that a role belongs to where tasks must be kept apart.
//
// Art. 55(3) of Regulation (EU) 2025/327 asks health data access bodies to keep apart the assessment of
// applications, the preparation of data, and the running of the secure processing environment. That an
// auditor does none of what is audited is a rule of this house.
var duty = map[Role]string{
	Handler: "assessing", Committee: "assessing", Authority: "assessing", Officer: "assessing",
	Engineer: "preparing",
	Reviewer: "enclave", Operator: "enclave",
	Auditor: "audit",
}

// ErrIncompatible says which two roles cannot be held by one person.
type ErrIncompatible struct{ A, B Role }

func (e *ErrIncompatible) Error() string {
	return fmt.Sprintf("roles %s and %s must not be held by one person (Art. 55(3))", e.A, e.B)
}

// Incompatible returns an *ErrIncompatible when roles of two duties that must be kept apart meet.
func Incompatible(roles []Role) error {
	for i, a := range roles {
		for _, b := range roles[i+1:] {
			if duty[a] != "" && duty[b] != "" && duty[a] != duty[b] {
				return &ErrIncompatible{a, b}
			}
		}
	}
	return nil
}

// User is who is signed in.
type User struct {
	ID     string // account id, "acct-…"
	Name   string
	Roles  []Role
	Holder string // for role Holder: name of the data holder, "cnam"
}

// Has reports whether the user holds the role. It is nil-safe.
func (u *User) Has(role Role) bool { return u != nil && slices.Contains(u.Roles, role) }

type ctxKey int

const (
	userKey ctxKey = iota
	sessionKey
	policyKey
	identityKey
)

// UserFrom returns who is signed in, or nil.
func UserFrom(ctx context.Context) *User {
	u, _ := ctx.Value(userKey).(*User)
	return u
}

// WithUser puts a user into a context: for background work on behalf of a person, and for tests.
func WithUser(ctx context.Context, u *User) context.Context {
	return context.WithValue(ctx, userKey, u)
}
