// Package api is the portal's JSON interface below /api/v1: OpenAPI 3.1 made from Go types, problem+json
// errors, and a page of documentation. Rooms register their operations with Register; who may do what
// is asked of the room access in each of them. Nothing internal may leave through an error here.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// Prefix is where all operations live.
const Prefix = "/api/v1"

type requestKey struct{}

// New registers /api/openapi.json and .yaml on mux and returns the API that rooms register their
// operations on.
func New(mux *http.ServeMux, version string) huma.API {
	huma.NewError = newProblem
	c := huma.DefaultConfig("Mitral", version)
	c.OpenAPI.OpenAPI = "3.1.0"
	c.Info.Description = "Interface of a Mitral health data hub. Personal health data never leave through it."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/api/openapi", "", ""
	c.CreateHooks = nil // no $schema links in answers
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: access.CookieName, Description: "The session of a person who signed in on the portal."},
	}
	a := humago.New(mux, c)
	a.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(ctx)
		next(huma.WithValue(ctx, requestKey{}, r))
	})
	return a
}

// schemaName puts the room's name before the type's, since two rooms may each have a Table.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if room := path.Base(t.PkgPath()); t.Name() != "" && room != "." {
		return strings.ToUpper(room[:1]) + room[1:] + name
	}
	return name
}

// Register adds an operation. Room is its tag; an operation that anybody may call says so with public.
func Register[I, O any](a huma.API, room, id, method, address, summary string, public bool, h func(context.Context, *I) (*O, error), more ...func(*huma.Operation)) {
	op := huma.Operation{OperationID: id, Method: method, Path: Prefix + address, Summary: summary, Tags: []string{room}, MaxBodyBytes: 4 << 20}
	op.Errors = []int{http.StatusNotFound}
	if !public {
		op.Security = []map[string][]string{{"session": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	for _, m := range more {
		m(&op)
	}
	huma.Register(a, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, Problem(ctx, err)
		}
		return out, nil
	})
}

// MaxBody raises the largest body of an operation, in bytes.
func MaxBody(n int64) func(*huma.Operation) {
	return func(op *huma.Operation) { op.MaxBodyBytes = n }
}

// Allow asks the policies about the person who makes the request of ctx.
func Allow(ctx context.Context, a access.Action, res access.Resource) error {
	r, ok := ctx.Value(requestKey{}).(*http.Request)
	if !ok {
		return &access.Denied{Action: a}
	}
	// The request that the adapter keeps is the one that passed the session's middleware.
	return access.Allow(r, a, res)
}

// ProblemError is an RFC 9457 problem document, the same as kit/httpx writes.
type ProblemError struct {
	Type   string   `json:"type" doc:"Always about:blank; code tells what it is."`
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Code   string   `json:"code" doc:"Stable, for programs."`
	Detail string   `json:"detail,omitempty" doc:"A plain sentence."`
	Errors []string `json:"errors,omitempty" doc:"What is wrong with which part of the request."`
}

func (p *ProblemError) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is part of huma.StatusError.
func (p *ProblemError) GetStatus() int { return p.Status }

// ContentType makes the answer application/problem+json.
func (p *ProblemError) ContentType(string) string { return "application/problem+json" }

// Fail builds a problem.
func Fail(status int, code, detail string, errs ...string) error {
	return &ProblemError{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Errors: errs}
}

// newProblem is what the framework calls for its own errors: bodies that do not fit the schema and the
// like. Its messages name fields and rules and nothing internal.
func newProblem(status int, msg string, errs ...error) huma.StatusError {
	p := &ProblemError{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: "invalid", Detail: msg}
	if status >= 500 {
		p.Code, p.Detail = "internal", "Something went wrong on our side. It has been logged; please try again later."
		return p
	}
	for _, e := range errs {
		var d *huma.ErrorDetail
		if errors.As(e, &d) {
			p.Errors = append(p.Errors, d.Location+": "+d.Message)
		}
	}
	return p
}

// codes gives the status of the refusals that rooms speak.
var codes = map[string]int{
	"invalid":      http.StatusUnprocessableEntity,
	"replayed":     http.StatusConflict,
	"out_of_scope": http.StatusForbidden,
}

// Problem turns an error of a room into a problem. An error that says nothing to the outside becomes a
// bare 500 and goes to the log.
func Problem(ctx context.Context, err error) error {
	var p *ProblemError
	var denied *access.Denied
	var refusal *contract.Refusal
	var known *httpx.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &denied):
		if denied.Status() == http.StatusUnauthorized {
			return Fail(http.StatusUnauthorized, "sign_in", "Sign in first.")
		}
		return Fail(http.StatusForbidden, "denied", "Your role does not include this.")
	case errors.As(err, &refusal):
		status, ok := codes[refusal.Code]
		if !ok {
			status = http.StatusUnprocessableEntity
		}
		return Fail(status, refusal.Code, refusal.Reason)
	case errors.As(err, &known):
		return Fail(known.Status, known.Code, known.Detail)
	}
	slog.ErrorContext(ctx, "api", "error", err)
	return newProblem(http.StatusInternalServerError, "")
}

// Unknown is the answer for something that does not exist, or that one may not know of.
func Unknown(what string) error {
	return Fail(http.StatusNotFound, "unknown", "There is no such "+what+".")
}
