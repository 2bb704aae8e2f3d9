package access

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

const maxBody = 64 << 10 // bytes of a JSON body in this room

// Me is the answer of GET /api/v1/me.
type Me struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Roles    []Role `json:"roles"`
	Holder   string `json:"holder,omitempty"`
	Passkeys int    `json:"passkeys"`
	Home     string `json:"home"`
}

func (a *Access) apiMe(w http.ResponseWriter, r *http.Request) {
	u := UserFrom(r.Context())
	if u == nil {
		a.Refuse(w, r, &Denied{Action: "me"})
		return
	}
	keys, err := selectPasskeys(r.Context(), a.o.DB, u.ID)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, Me{u.ID, u.Name, u.Roles, u.Holder, len(keys), HomeOf(u)})
}

// apiEnrolment gives the newest passkey as enrolment file; ?credential=ID another one.
func (a *Access) apiEnrolment(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, EnrolmentRead, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	list, err := a.Enrolments(r.Context(), UserFrom(r.Context()))
	if err != nil {
		a.Refuse(w, r, err)
		return
	}
	want := r.URL.Query().Get("credential")
	for i := len(list) - 1; i >= 0; i-- {
		if want == "" || want == rawURL(list[i].Key.CredentialID) {
			w.Header().Set("Content-Disposition", `attachment; filename="enrolment-`+list[i].Role+`.json"`)
			httpx.JSON(w, http.StatusOK, list[i])
			return
		}
	}
	httpx.Problem(w, r, http.StatusNotFound, "no_passkey", "Register a passkey first.")
}

func (a *Access) apiSignInOptions(w http.ResponseWriter, r *http.Request) {
	options, token, err := a.startSignIn(r.Context())
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	a.setCookie(w, ceremonyCookie, token, ceremonyLimit)
	httpx.JSON(w, http.StatusOK, options)
}

// apiSignIn takes the browser's AuthenticationResponseJSON.
func (a *Access) apiSignIn(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if err := httpx.Decode(r, maxBody, &body); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	account, err := a.finishSignIn(r.Context(), a.takeCeremonyCookie(w, r), body)
	if err != nil {
		a.refusal(w, r, err)
		return
	}
	if _, err := a.signIn(w, r, account, "passkey"); err != nil {
		a.Fail(w, r, err)
		return
	}
	acc, err := selectAccount(r.Context(), a.o.DB, account)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, Me{ID: acc.ID, Name: acc.Name, Roles: acc.Roles, Holder: acc.Holder, Home: HomeOf(&acc.User)})
}

func (a *Access) apiPasskeyOptions(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, PasskeyEnrol, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	options, token, err := a.startEnrolment(r.Context(), UserFrom(r.Context()).ID)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	a.setCookie(w, ceremonyCookie, token, ceremonyLimit)
	httpx.JSON(w, http.StatusOK, options)
}

// apiPasskeyCreate takes the browser's RegistrationResponseJSON; ?label= names the key.
func (a *Access) apiPasskeyCreate(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, PasskeyEnrol, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	var body json.RawMessage
	if err := httpx.Decode(r, maxBody, &body); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	label := strings.TrimSpace(r.URL.Query().Get("label"))
	if !utf8.ValidString(label) || utf8.RuneCountInString(label) > maxPasskeyLabel {
		httpx.Problem(w, r, http.StatusBadRequest, "invalid", "The name of a passkey has at most 60 characters.")
		return
	}
	p, err := a.finishEnrolment(r.Context(), UserFrom(r.Context()).ID, a.takeCeremonyCookie(w, r), label, body)
	if err != nil {
		a.refusal(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusCreated, map[string]any{"credential_id": rawURL(p.CredentialID)})
}

// APISession is one line of GET /api/v1/sessions.
type APISession struct {
	ID        string    `json:"id"`
	Account   string    `json:"account"`
	How       string    `json:"how"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	EndsAt    time.Time `json:"ends_at"`
}

func (a *Access) apiSessions(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, SessionList, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	now := a.now()
	list, err := selectOpenSessions(r.Context(), a.o.DB, now, now.Add(-IdleLimit))
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	out := make([]APISession, len(list))
	for i, s := range list {
		out[i] = APISession{s.ID, s.Account, s.How, s.CreatedAt, s.SeenAt, s.EndsAt}
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"sessions": out})
}

// refusal answers with a contract.Refusal's code, or as a fault of ours.
func (a *Access) refusal(w http.ResponseWriter, r *http.Request, err error) {
	var ref *contract.Refusal
	switch {
	case !errors.As(err, &ref):
		a.Fail(w, r, err)
	case ref.Code == "denied":
		httpx.Problem(w, r, http.StatusUnauthorized, ref.Code, sentence(ref.Reason))
	default:
		httpx.Problem(w, r, http.StatusBadRequest, ref.Code, sentence(ref.Reason))
	}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// Operations describes the room's part of the API. The handlers need the request and its cookies, so
// they are plain HTTP handlers (Routes); this makes them part of the OpenAPI document.
func (a *Access) Operations(api huma.API) {
	doc := api.OpenAPI()
	schema := func(v any) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: doc.Components.Schemas.Schema(reflect.TypeOf(v), true, "")}}
	}
	object := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}
	type sessions struct {
		Sessions []APISession `json:"sessions"`
	}
	type created struct {
		CredentialID string `json:"credential_id"`
	}
	for _, d := range []struct {
		id, method, path, summary string
		in, out                   map[string]*huma.MediaType
		status                    string
		public                    bool
	}{
		{"me", http.MethodGet, "/me", "Who is signed in", nil, schema(Me{}), "200", false},
		{"enrolment", http.MethodGet, "/me/enrolment", "One's own passkey as enrolment file for the inner zones", nil, schema(contract.Enrolment{}), "200", false},
		{"sign-in-options", http.MethodPost, "/sign-in/options", "What navigator.credentials.get needs to sign in", nil, object, "200", true},
		{"sign-in", http.MethodPost, "/sign-in", "Sign in with a passkey (AuthenticationResponseJSON)", object, schema(Me{}), "200", true},
		{"passkey-options", http.MethodPost, "/passkeys/options", "What navigator.credentials.create needs", nil, object, "200", false},
		{"create-passkey", http.MethodPost, "/passkeys", "Register a passkey (RegistrationResponseJSON)", object, schema(created{}), "201", false},
		{"list-sessions", http.MethodGet, "/sessions", "Open sessions", nil, schema(sessions{}), "200", false},
		{"end-session", http.MethodDelete, "/sessions/{id}", "End a session", nil, nil, "204", false},
	} {
		op := &huma.Operation{OperationID: d.id, Method: d.method, Path: "/api/v1" + d.path, Summary: d.summary, Tags: []string{"access"},
			Responses: map[string]*huma.Response{d.status: {Description: http.StatusText(http.StatusOK), Content: d.out}, "default": {Description: "Problem (RFC 9457)"}}}
		if d.in != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: d.in}
		}
		if !d.public {
			op.Security = []map[string][]string{{"session": {}}}
		}
		if strings.Contains(d.path, "{id}") {
			op.Parameters = []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}}
		}
		doc.AddOperation(op)
	}
}
