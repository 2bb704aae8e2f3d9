// Package apitest checks an API against a table of cases: each operation of a room must have at least
// one case in which somebody may, one in which somebody may not, and one about something that does not
// exist. Only tests import it.
package apitest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// Kinds of case.
const (
	Allowed = "allowed"
	Denied  = "denied"  // not needed for operations without security
	Unknown = "unknown" // of a thing that is not there, or a request that makes no sense
)

// Case is one request and the status that must come back.
type Case struct {
	Operation string // operation id
	Kind      string
	Name      string
	As        string // who asks; handed to Serve
	Path      string
	Body      string
	Header    http.Header
	Status    int
	Has       string // part of the answer
	Not       string // must not be in it
}

// Run makes every request and requires that the table is complete for the operations tagged room.
func Run(t *testing.T, a huma.API, room string, serve func(as string, w http.ResponseWriter, r *http.Request), cases []Case) {
	t.Helper()
	methods := map[string]string{}
	need := map[string][]string{}
	for _, item := range a.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch} {
			if op == nil || !slices.Contains(op.Tags, room) {
				continue
			}
			methods[op.OperationID] = method
			need[op.OperationID] = []string{Allowed, Unknown}
			if op.Security != nil {
				need[op.OperationID] = append(need[op.OperationID], Denied)
			}
		}
	}
	if len(methods) == 0 {
		t.Fatalf("no operation is tagged %q", room)
	}
	for _, c := range cases {
		method, ok := methods[c.Operation]
		if !ok {
			t.Errorf("case for operation %q, which room %s does not have", c.Operation, room)
			continue
		}
		need[c.Operation] = slices.DeleteFunc(need[c.Operation], func(k string) bool { return k == c.Kind })
		t.Run(c.Operation+"/"+c.Kind+"/"+c.Name, func(t *testing.T) {
			r := httptest.NewRequest(method, c.Path, strings.NewReader(c.Body))
			if c.Body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			for k, v := range c.Header {
				r.Header[k] = v
			}
			w := httptest.NewRecorder()
			serve(c.As, w, r)
			body := w.Body.String()
			if w.Code != c.Status {
				t.Fatalf("%s %s: status %d, want %d: %s", method, c.Path, w.Code, c.Status, body)
			}
			if c.Kind == Denied && w.Code != 401 && w.Code != 403 || c.Kind == Allowed && w.Code >= 400 || c.Kind == Unknown && w.Code < 400 {
				t.Errorf("status %d does not fit a case of kind %s", w.Code, c.Kind)
			}
			if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
			if !strings.Contains(body, c.Has) || (c.Not != "" && strings.Contains(body, c.Not)) {
				t.Errorf("answer has %q or lacks %q: %s", c.Not, c.Has, body)
			}
		})
	}
	for op, kinds := range need {
		if len(kinds) > 0 {
			t.Errorf("operation %s has no case of kind %s", op, strings.Join(kinds, ", "))
		}
	}
}
