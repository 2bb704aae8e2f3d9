package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
)

type input struct {
	Kind string `path:"kind"`
	Body struct {
		N int `json:"n" minimum:"1" maximum:"9"`
	}
}

type output struct {
	Body struct {
		N int `json:"n"`
	}
}

// TestErrorsSayNothingInternal: each kind of error of a room, and each fault of a request, becomes a
// problem document with its status and code, and never shows the text of an unknown error.
func TestErrorsSayNothingInternal(t *testing.T) {
	failures := map[string]error{
		"secret":  errors.New("open /var/lib/portal/state.db: password hunter2"),
		"refusal": contract.Refuse("invalid", "codes: between 1 and 200 codes"),
		"other":   contract.Refuse("replayed", "seen before"),
		"denied":  &access.Denied{Action: access.CountAsk, SignedIn: true},
		"visitor": &access.Denied{Action: access.CountAsk},
		"known":   &httpx.Error{Status: http.StatusRequestTimeout, Code: "stalled", Detail: "No byte arrived."},
		"unknown": api.Unknown("dataset"),
	}
	mux := http.NewServeMux()
	a := api.New(mux, "test")
	api.Register(a, "test", "try", http.MethodPost, "/try/{kind}", "Fails as asked", false, func(_ context.Context, in *input) (*output, error) {
		if err, ok := failures[in.Kind]; ok {
			return nil, err
		}
		out := &output{}
		out.Body.N = in.Body.N
		return out, nil
	}, api.MaxBody(1000))
	api.Register(a, "test", "ask", http.MethodGet, "/ask", "Outside the middleware nobody may", false, func(ctx context.Context, _ *struct{}) (*output, error) {
		return &output{}, api.Allow(ctx, access.RegisterRead, access.Resource{Public: true})
	})
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, has                string
	}{
		{"works", "POST", "/api/v1/try/fine", `{"n":3}`, 200, "", `"n":3`},
		{"internal", "POST", "/api/v1/try/secret", `{"n":3}`, 500, "internal", "on our side"},
		{"refusal", "POST", "/api/v1/try/refusal", `{"n":3}`, 422, "invalid", "between 1 and 200"},
		{"other refusal", "POST", "/api/v1/try/other", `{"n":3}`, 409, "replayed", ""},
		{"denied", "POST", "/api/v1/try/denied", `{"n":3}`, 403, "denied", ""},
		{"visitor", "POST", "/api/v1/try/visitor", `{"n":3}`, 401, "sign_in", ""},
		{"known", "POST", "/api/v1/try/known", `{"n":3}`, 408, "stalled", ""},
		{"unknown thing", "POST", "/api/v1/try/unknown", `{"n":3}`, 404, "unknown", "no such dataset"},
		{"out of range", "POST", "/api/v1/try/fine", `{"n":10}`, 422, "invalid", "body.n"},
		{"unknown field", "POST", "/api/v1/try/fine", `{"n":3,"x":1}`, 422, "invalid", "body"},
		{"no JSON", "POST", "/api/v1/try/fine", `{"n":`, 400, "invalid", ""},
		{"too large", "POST", "/api/v1/try/fine", `{"n":3,"x":"` + strings.Repeat("a", 2000) + `"}`, 413, "invalid", ""},
		{"outside the middleware", "GET", "/api/v1/ask", "", 401, "sign_in", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			var p api.ProblemError
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.status || p.Code != c.code || !strings.Contains(w.Body.String(), c.has) || strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if c.status >= 400 && (w.Header().Get("Content-Type") != "application/problem+json" || p.Status != c.status || p.Title == "") {
				t.Errorf("%s %+v", w.Header().Get("Content-Type"), p)
			}
		})
	}
}
