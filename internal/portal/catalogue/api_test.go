package catalogue_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/api/apitest"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

// people of the tests, by the name that cases use.
var people = map[string]*access.User{
	"holder":     {ID: "acct-h", Roles: []access.Role{access.Holder}, Holder: "registre-moelle"},
	"other":      {ID: "acct-o", Roles: []access.Role{access.Holder}, Holder: "cnam"},
	"researcher": {ID: "acct-r", Roles: []access.Role{access.Researcher}},
	"operator":   {ID: "acct-op", Roles: []access.Role{access.Operator}},
}

// front puts the session's middleware and one of the people before a handler.
func front(t testing.TB, r *room, h http.Handler) func(as string, w http.ResponseWriter, req *http.Request) {
	t.Helper()
	acc, err := access.New(t.Context(), access.Options{DB: r.db, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Dir: t.TempDir(),
		PublicURL: "https://portal.example", RPID: "portal.example"})
	if err != nil {
		t.Fatal(err)
	}
	return func(as string, w http.ResponseWriter, req *http.Request) {
		i18n.Middleware(acc.Middleware(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if u := people[as]; u != nil {
				req = req.WithContext(access.WithUser(req.Context(), u))
			}
			h.ServeHTTP(w, req)
		}))).ServeHTTP(w, req)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAPI(t *testing.T) {
	r := open(t, sqlite(t), t.TempDir())
	published := complete()
	if _, err := r.Save(t.Context(), "acct-h", published, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), "acct-h", published.Holder, published.Dataset, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.SaveCodeList(t.Context(), catalogue.CodeList{Name: "icd10", Codes: []catalogue.Code{{Code: "C920", Label: "Leucémie myéloïde aiguë"}, {Code: "E112", Label: "Diabète"}}}); err != nil {
		t.Fatal(err)
	}
	r.settle(t)
	mux := http.NewServeMux()
	a := api.New(mux, "test")
	r.Operations(a)
	fresh := complete()
	fresh.Dataset = "fresh"
	freshJSON := asJSON(t, fresh)
	incomplete := complete()
	incomplete.Dataset, incomplete.HDAB = "incomplete", catalogue.Party{}
	schemas := asJSON(t, catalogue.TableSchemas{Tables: []catalogue.TableSchema{{Name: "T_X", Title: "Table", Product: "DCIR", Fields: []catalogue.TableSchemaField{{Name: "A", Description: "Une variable", Type: "string"}}}}})
	const base = "/api/v1/datasets/registre-moelle/"
	version := func(v string) http.Header { return http.Header{"If-Match": {v}} }
	apitest.Run(t, a, "catalogue", front(t, r, mux), []apitest.Case{
		{Operation: "list-datasets", Kind: apitest.Allowed, Path: "/api/v1/datasets?q=xylophone", Status: 200, Has: `"total":0`},
		{Operation: "list-datasets", Kind: apitest.Allowed, Name: "found", Path: "/api/v1/datasets?q=transplants", Status: 200, Has: `"identifier":"registre-moelle/greffes"`},
		{Operation: "list-datasets", Kind: apitest.Unknown, Path: "/api/v1/datasets?page=zero", Status: 422, Has: "invalid"},
		{Operation: "get-dataset", Kind: apitest.Allowed, Path: base + "greffes", Status: 200, Has: "Luuydinsiirrot"},
		{Operation: "get-dataset", Kind: apitest.Unknown, Path: base + "none", Status: 404, Has: "unknown"},
		{Operation: "get-schema", Kind: apitest.Allowed, Path: base + "greffes/schema.json", Status: 200, Has: `"role":"nir"`},
		{Operation: "get-schema", Kind: apitest.Unknown, Path: base + "none/schema.json", Status: 404},
		{Operation: "list-variables", Kind: apitest.Allowed, Path: base + "greffes/variables?q=diag", Status: 200, Has: `"code_list":"icd10"`, Not: "DATE_GREFFE"},
		{Operation: "list-variables", Kind: apitest.Allowed, Name: "identity is not requestable", Path: base + "greffes/variables?q=NIR", Status: 200, Has: `"requestable":false`},
		{Operation: "list-variables", Kind: apitest.Unknown, Path: base + "greffes/variables?table=NONE", Status: 404},
		{Operation: "get-code-list", Kind: apitest.Allowed, Path: "/api/v1/code-lists/icd10?q=leucemie", Status: 200, Has: "C920", Not: "E112"},
		{Operation: "get-code-list", Kind: apitest.Unknown, Path: "/api/v1/code-lists/none", Status: 404, Has: "code list"},

		{Operation: "create-dataset", Kind: apitest.Denied, Name: "visitor", Path: "/api/v1/datasets", Body: freshJSON, Status: 401},
		{Operation: "create-dataset", Kind: apitest.Denied, Name: "another holder", As: "other", Path: "/api/v1/datasets", Body: freshJSON, Status: 403},
		{Operation: "create-dataset", Kind: apitest.Denied, Name: "researcher", As: "researcher", Path: "/api/v1/datasets", Body: freshJSON, Status: 403},
		{Operation: "create-dataset", Kind: apitest.Allowed, As: "holder", Path: "/api/v1/datasets", Body: freshJSON, Status: 201, Has: `"state":"draft"`},
		{Operation: "create-dataset", Kind: apitest.Unknown, Name: "there already", As: "holder", Path: "/api/v1/datasets", Body: freshJSON, Status: 409, Has: "changed"},
		{Operation: "create-dataset", Kind: apitest.Unknown, Name: "unknown field", As: "holder", Path: "/api/v1/datasets", Body: `{"holder":"registre-moelle","dataset":"x","title":{},"nir":"1"}`, Status: 422, Has: "nir"},
		{Operation: "create-dataset", Kind: apitest.Unknown, Name: "no JSON", As: "holder", Path: "/api/v1/datasets", Body: `{`, Status: 400},
		{Operation: "create-dataset", Kind: apitest.Unknown, Name: "unknown category", As: "holder", Path: "/api/v1/datasets", Body: `{"holder":"registre-moelle","dataset":"x","title":{},"categories":["zz"]}`, Status: 422, Has: "Art. 51"},
		{Operation: "create-dataset", Kind: apitest.Allowed, Name: "incomplete", As: "holder", Path: "/api/v1/datasets", Body: asJSON(t, incomplete), Status: 201, Has: `"code":"hdab"`},

		{Operation: "get-draft", Kind: apitest.Allowed, As: "holder", Path: base + "fresh/draft", Status: 200, Has: `"version":1`},
		{Operation: "get-draft", Kind: apitest.Allowed, Name: "in French", As: "holder", Path: base + "incomplete/draft?lang=fr", Status: 200, Has: "manque ou n'est pas joignable"},
		{Operation: "get-draft", Kind: apitest.Denied, Name: "another holder", As: "other", Path: base + "fresh/draft", Status: 403},
		{Operation: "get-draft", Kind: apitest.Denied, Name: "visitor", Path: base + "fresh/draft", Status: 401},
		{Operation: "get-draft", Kind: apitest.Unknown, As: "holder", Path: base + "none/draft", Status: 404},

		{Operation: "update-dataset", Kind: apitest.Denied, As: "other", Path: base + "fresh", Body: freshJSON, Header: version(`"1"`), Status: 403},
		{Operation: "update-dataset", Kind: apitest.Unknown, As: "holder", Name: "no version", Path: base + "fresh", Body: freshJSON, Status: 422},
		{Operation: "update-dataset", Kind: apitest.Unknown, As: "holder", Name: "other identifier", Path: base + "greffes", Body: freshJSON, Header: version(`"1"`), Status: 422, Has: "identifier"},
		{Operation: "update-dataset", Kind: apitest.Allowed, As: "holder", Path: base + "fresh", Body: freshJSON, Header: version(`"1"`), Status: 200, Has: `"version":2`},
		{Operation: "update-dataset", Kind: apitest.Unknown, As: "holder", Name: "old version", Path: base + "fresh", Body: freshJSON, Header: version(`"1"`), Status: 409, Has: "changed"},

		{Operation: "publish-dataset", Kind: apitest.Denied, As: "other", Path: base + "fresh/publish", Body: `{"version":2}`, Status: 403},
		{Operation: "publish-dataset", Kind: apitest.Unknown, As: "holder", Path: base + "none/publish", Body: `{"version":1}`, Status: 404},
		{Operation: "publish-dataset", Kind: apitest.Unknown, Name: "old version", As: "holder", Path: base + "fresh/publish", Body: `{"version":1}`, Status: 409},
		{Operation: "publish-dataset", Kind: apitest.Unknown, Name: "incomplete", As: "holder", Path: base + "incomplete/publish", Body: `{"version":1}`, Status: 422, Has: "hdab"},
		{Operation: "publish-dataset", Kind: apitest.Allowed, As: "holder", Path: base + "fresh/publish", Body: `{"version":2}`, Status: 200, Has: `"state":"published"`},

		{Operation: "withdraw-dataset", Kind: apitest.Denied, As: "researcher", Path: base + "fresh/withdraw", Status: 403},
		{Operation: "withdraw-dataset", Kind: apitest.Unknown, As: "holder", Path: base + "incomplete/withdraw", Status: 404},
		{Operation: "withdraw-dataset", Kind: apitest.Allowed, As: "holder", Path: base + "fresh/withdraw", Status: 200, Has: `"state":"withdrawn"`},

		{Operation: "import-table-schemas", Kind: apitest.Denied, As: "holder", Path: "/api/v1/catalogue/table-schemas", Body: schemas, Status: 403},
		{Operation: "import-table-schemas", Kind: apitest.Denied, Name: "visitor", Path: "/api/v1/catalogue/table-schemas", Body: schemas, Status: 401},
		{Operation: "import-table-schemas", Kind: apitest.Unknown, As: "operator", Path: "/api/v1/catalogue/table-schemas", Body: `{"tables":[]}`, Status: 422},
		{Operation: "import-table-schemas", Kind: apitest.Unknown, Name: "unknown family", As: "operator", Path: "/api/v1/catalogue/table-schemas", Body: strings.Replace(schemas, "DCIR", "none", 1), Status: 422, Has: "unknown family"},
		{Operation: "import-table-schemas", Kind: apitest.Allowed, As: "operator", Path: "/api/v1/catalogue/table-schemas", Body: schemas, Status: 200, Has: `"variables":1`},
	})
}

func TestOpenAPIDocument(t *testing.T) {
	r := open(t, sqlite(t), t.TempDir())
	mux := http.NewServeMux()
	a := api.New(mux, "1.2.3")
	r.Operations(a)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/openapi.json", nil))
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" || len(doc.Paths) < 8 {
		t.Errorf("openapi %s, version %s, %d paths", doc.OpenAPI, doc.Info.Version, len(doc.Paths))
	}
	for path, ops := range doc.Paths {
		if !strings.HasPrefix(path, api.Prefix+"/") {
			t.Errorf("%s is not below %s", path, api.Prefix)
		}
		for method, op := range ops {
			if op.OperationID == "" || op.Responses["404"].Content["application/problem+json"] == nil {
				t.Errorf("%s %s: operation %q, 404 is %v", method, path, op.OperationID, op.Responses["404"])
			}
		}
	}
	if rooms := api.Docs(a); len(rooms) != 1 || rooms[0].Name != "catalogue" || len(rooms[0].Operations) != 11 {
		t.Errorf("documentation: %+v", rooms)
	}
}

// TestSchemaFitsTheAgents: what the catalogue hands out passes the contract's own check.
func TestSchemaFitsTheAgents(t *testing.T) {
	r := open(t, sqlite(t), t.TempDir())
	if _, err := r.Save(t.Context(), "acct-h", complete(), 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), "acct-h", "registre-moelle", "greffes", 1); err != nil {
		t.Fatal(err)
	}
	s, err := r.Schema(t.Context(), "registre-moelle", "greffes")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.Version != 1 || s.Tables[0].Columns[0].Role != contract.RoleNIR || s.Tables[0].EventDate != "DATE_GREFFE" {
		t.Errorf("%+v", s)
	}
}
