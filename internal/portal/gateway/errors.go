package gateway

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknown: there is no such case, account or permit.
var ErrUnknown = errors.New("unknown case")

// Denied says why an actor may not do something. Code is stable: "wrong_state", "not_yours",
// "wrong_role", "own_case" (named in the case), "other_role" (acted in another role on it), "not_readable".
type Denied struct {
	Code    string
	Command Command
}

func (e *Denied) Error() string { return fmt.Sprintf("%s is not allowed: %s", e.Command, e.Code) }

// Conflict: somebody changed the case since the actor looked at it.
type Conflict struct{ Expected, Found int64 }

func (e *Conflict) Error() string {
	return fmt.Sprintf("the case has changed: expected event %d, found %d", e.Expected, e.Found)
}

// Problem is one thing to mend. Its message is gateway.problem.<Code>.
type Problem struct {
	Page  string            `json:"page"`
	Field string            `json:"field"`
	Code  string            `json:"code"`
	Args  map[string]string `json:"args,omitempty"`
}

// Invalid lists all that is wrong with what was sent or with an application that is not complete.
type Invalid struct{ Problems []Problem }

func (e *Invalid) Error() string {
	var parts []string
	for _, p := range e.Problems {
		parts = append(parts, p.Page+"."+p.Field+": "+p.Code)
	}
	return "not valid: " + strings.Join(parts, "; ")
}

// bad builds an Invalid with one problem; args are name, value, ….
func bad(page, field, code string, args ...string) error {
	return &Invalid{[]Problem{problem(page, field, code, args...)}}
}

func problem(page, field, code string, args ...string) Problem {
	p := Problem{Page: page, Field: field, Code: code}
	for i := 0; i+1 < len(args); i += 2 {
		if p.Args == nil {
			p.Args = map[string]string{}
		}
		p.Args[args[i]] = args[i+1]
	}
	return p
}
