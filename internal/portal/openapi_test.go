package portal_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rooms have the complete table of allowed, denied and unknown cases for their operations in their own
// tests; an operation of another room fails here until it has one.
var rooms = []string{"access", "catalogue", "feasibility", "gateway", "objection", "register"}

// TestOperationsAndStrangers walks the OpenAPI document of the whole portal: each operation belongs to a
// known room, and one that needs a person never does anything for a visitor.
func TestOperationsAndStrangers(t *testing.T) {
	h := configure(t, false).start()
	_, raw, _ := h.get(browser(t), "/api/openapi.json")
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Tags        []string              `json:"tags"`
			Security    []map[string][]string `json:"security"`
			RequestBody any                   `json:"requestBody"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(raw), &doc); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	seen := map[string]bool{}
	protected := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if len(op.Tags) != 1 || !slices.Contains(rooms, op.Tags[0]) || op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s %s: operation %q of %v", method, path, op.OperationID, op.Tags)
			}
			seen[op.OperationID] = true
			if op.Security == nil {
				continue
			}
			protected++
			var body io.Reader
			if op.RequestBody != nil {
				body = strings.NewReader("{}")
			}
			r, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), h.url+parameter.ReplaceAllString(path, "none"), body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			// A body that does not fit the schema is refused before anybody looks at who sent it.
			malformed := op.RequestBody != nil && (resp.StatusCode == 400 || resp.StatusCode == 422)
			if resp.StatusCode != 401 && resp.StatusCode != 403 && !malformed {
				t.Errorf("%s %s for a visitor: %d %s", method, path, resp.StatusCode, answer)
			}
			if resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: content type %q", method, path, resp.Header.Get("Content-Type"))
			}
		}
	}
	if protected < 20 {
		t.Errorf("only %d protected operations were found", protected)
	}
}
