package portal_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demoidp/idptest"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// device is a person's passkey in software, driven through the API as the browser's script does.
type device struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newDevice(h *hub, account string) *device {
	d := &device{rp: virtualwebauthn.RelyingParty{Name: "Mitral", ID: "localhost", Origin: h.url},
		auth: virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(account)}),
		cred: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)}
	return d
}

func newRSADevice(h *hub, account string) *device {
	d := newDevice(h, account)
	d.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
	return d
}

func b64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rawURL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d *device) enrol(h *hub, c *http.Client) int {
	h.t.Helper()
	var raw json.RawMessage
	if s := h.api(c, "POST", "/api/v1/passkeys/options", "", &raw); s != 200 {
		return s
	}
	options, err := virtualwebauthn.ParseAttestationOptions(string(raw))
	if err != nil {
		h.t.Fatal(err)
	}
	s := h.api(c, "POST", "/api/v1/passkeys?label=test", virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, d.cred, *options), nil)
	d.auth.AddCredential(d.cred)
	return s
}

// signIn returns the status and the answer that was sent, so that a test can send it again.
func (d *device) signIn(h *hub, c *http.Client) (int, string) {
	h.t.Helper()
	var raw json.RawMessage
	if s := h.api(c, "POST", "/api/v1/sign-in/options", "", &raw); s != 200 {
		return s, ""
	}
	options, err := virtualwebauthn.ParseAssertionOptions(string(raw))
	if err != nil {
		h.t.Fatal(err)
	}
	answer := virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.cred, *options)
	return h.api(c, "POST", "/api/v1/sign-in", answer, nil), answer
}

func (h *hub) me(c *http.Client) (me access.Me, status int) {
	h.t.Helper()
	status = h.api(c, "GET", "/api/v1/me", "", &me)
	return me, status
}

func TestPasskey(t *testing.T) {
	h := configure(t, true).start()
	officer := h.as("officer", "")
	me, _ := h.me(officer)
	d := newDevice(h, me.ID)
	if s := h.api(officer, "GET", "/api/v1/me/enrolment", "", nil); s != 404 {
		t.Errorf("enrolment without a passkey: %d", s)
	}
	if s := d.enrol(h, officer); s != 201 {
		t.Fatalf("enrol: %d", s)
	}
	if s := d.enrol(h, officer); s != 400 {
		t.Errorf("the same passkey twice: %d", s)
	}
	fresh := browser(t)
	s, answer := d.signIn(h, fresh)
	if got, _ := h.me(fresh); s != 200 || got.ID != me.ID || got.Passkeys != 1 {
		t.Fatalf("sign in: %d %+v", s, got)
	}

	// What is enrolled in the inner zones verifies what this passkey signs.
	var e contract.Enrolment
	if s := h.api(officer, "GET", "/api/v1/me/enrolment", "", &e); s != 200 || e.Role != "officer" || e.RPID != "localhost" || e.ID != me.ID {
		t.Fatalf("enrolment: %d %+v", s, e)
	}
	challenge := sha256.Sum256([]byte("a permit"))
	raw := virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.cred, virtualwebauthn.AssertionOptions{Challenge: challenge[:], RelyingPartyID: "localhost"})
	var resp struct {
		Response struct {
			AuthenticatorData, ClientDataJSON, Signature string
		}
	}
	if err := json.Unmarshal([]byte(raw), &resp); err != nil {
		t.Fatal(err)
	}
	as := contract.Assertion{OfficerID: me.ID, CredentialID: e.Key.CredentialID, AuthenticatorData: b64(t, resp.Response.AuthenticatorData),
		ClientDataJSON: b64(t, resp.Response.ClientDataJSON), Signature: b64(t, resp.Response.Signature)}
	if err := contract.VerifyAssertion(as, e.Key, e.RPID, e.Origins, challenge[:]); err != nil {
		t.Errorf("the enrolled key does not verify its own signature: %v", err)
	}

	// Refusals.
	replay := browser(t)
	if s := h.api(replay, "POST", "/api/v1/sign-in", answer, nil); s != 400 {
		t.Errorf("replayed answer in another browser: %d", s)
	}
	if s := h.api(fresh, "POST", "/api/v1/sign-in", answer, nil); s != 400 {
		t.Errorf("replayed answer in the same browser: %d", s)
	}
	stranger := newDevice(h, me.ID)
	stranger.auth.AddCredential(stranger.cred)
	if s, _ := stranger.signIn(h, browser(t)); s != 401 {
		t.Errorf("unknown passkey: %d", s)
	}
	phisher := *d
	phisher.rp.Origin = "https://evil.example"
	if s, _ := phisher.signIn(h, browser(t)); s != 401 {
		t.Errorf("signed at another origin: %d", s)
	}
	unverified := *d
	unverified.auth.Options.UserNotVerified = true
	if s, _ := unverified.signIn(h, browser(t)); s != 401 {
		t.Errorf("without user verification: %d", s)
	}
	if s := newRSADevice(h, me.ID).enrol(h, officer); s != 400 {
		t.Errorf("an RSA key, which the inner zones cannot verify: %d", s)
	}

	// Removed, it signs nobody in.
	resp2, err := officer.PostForm(h.url+"/account/passkeys/"+url.PathEscape(rawURL(e.Key.CredentialID))+"/remove", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp2.Body.Close()
	if s, _ := d.signIn(h, browser(t)); s != 401 {
		t.Errorf("removed passkey: %d", s)
	}
}

func TestSessionsAreRevokedAtOnce(t *testing.T) {
	h := configure(t, true).start()
	operator, victim := h.as("operator", ""), h.as("researcher", "")
	me, _ := h.me(victim)
	var list struct {
		Sessions []struct{ ID, Account, How string }
	}
	if s := h.api(operator, "GET", "/api/v1/sessions", "", &list); s != 200 || len(list.Sessions) != 2 {
		t.Fatalf("sessions: %d %+v", s, list)
	}
	for _, s := range list.Sessions {
		if s.Account == me.ID {
			if got := h.api(operator, "DELETE", "/api/v1/sessions/"+s.ID, "", nil); got != 204 {
				t.Errorf("revoke: %d", got)
			}
			if got := h.api(operator, "DELETE", "/api/v1/sessions/"+s.ID, "", nil); got != 404 {
				t.Errorf("revoke twice: %d", got)
			}
		}
	}
	if _, s := h.me(victim); s != 401 {
		t.Errorf("revoked session still signs in: %d", s)
	}
	post(t, operator, h.url+"/sign-out")
	if _, s := h.me(operator); s != 401 {
		t.Errorf("signed out: %d", s)
	}
}

func TestAnOldCookieIsWorthNothingAfterSigningInAgain(t *testing.T) {
	h := configure(t, true).start()
	c := h.as("researcher", "")
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	old := browser(t)
	old.Jar.SetCookies(u, c.Jar.Cookies(u))
	if s := h.api(c, "POST", "/demo/sign-in", `{"role":"handler"}`, nil); s != 200 {
		t.Fatal(s)
	}
	if _, s := h.me(old); s != 401 {
		t.Errorf("the old cookie works: %d", s)
	}
	if me, _ := h.me(c); me.Roles[0] != access.Handler {
		t.Errorf("signed in as %v", me.Roles)
	}
}

// TestRoutesOfAccess: allowed, denied and unknown for every route of the room.
func TestRoutesOfAccess(t *testing.T) {
	h := configure(t, true).start()
	citizen := browser(t)
	idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next=/objection", "citizen-1")
	people := map[string]*http.Client{"visitor": browser(t), "citizen": citizen, "researcher": h.as("researcher", ""), "officer": h.as("officer", ""),
		"operator": h.as("operator", ""), "auditor": h.as("auditor", ""), "reviewer": h.as("reviewer", "2"), "holder": h.as("holder", "cnam")}
	for _, c := range []struct {
		method, path string
		want         map[string]int // others: 403, visitor: 401
		public       int            // everybody
	}{
		{method: "GET", path: "/api/v1/me", want: map[string]int{"citizen": 200, "researcher": 200, "officer": 200, "operator": 200, "auditor": 200, "reviewer": 200, "holder": 200}},
		{method: "GET", path: "/api/v1/me/enrolment", want: map[string]int{"officer": 404, "reviewer": 404}}, // no passkey yet
		{method: "POST", path: "/api/v1/passkeys/options", want: map[string]int{"researcher": 200, "officer": 200, "operator": 200, "auditor": 200, "reviewer": 200, "holder": 200}},
		{method: "POST", path: "/api/v1/passkeys", want: map[string]int{"researcher": 400, "officer": 400, "operator": 400, "auditor": 400, "reviewer": 400, "holder": 400}},
		{method: "GET", path: "/api/v1/sessions", want: map[string]int{"operator": 200, "auditor": 200}},
		{method: "DELETE", path: "/api/v1/sessions/none", want: map[string]int{"operator": 404}},
		{method: "POST", path: "/api/v1/sign-in/options", public: 200},
		{method: "POST", path: "/api/v1/sign-in", public: 400},
		{method: "GET", path: "/operator", want: map[string]int{"operator": 200, "auditor": 200, "visitor": 200}}, // a visitor is led to sign in
		{method: "POST", path: "/operator/sessions/none/revoke", want: map[string]int{"operator": 404}},
		{method: "POST", path: "/operator/accounts", want: map[string]int{"operator": 422}},
		{method: "POST", path: "/operator/accounts/none/disable", want: map[string]int{"operator": 404}},
		{method: "GET", path: "/account", public: 200},
		{method: "GET", path: "/welcome/none", public: 404},
		{method: "POST", path: "/welcome/none", public: 404},
		{method: "GET", path: "/demo", public: 200},
		{method: "GET", path: "/sign-in?next=/x", public: 200},
		{method: "GET", path: "/sign-in/callback?code=x&state=y", public: 400},
		{method: "POST", path: "/account/passkeys/none/remove", want: map[string]int{"researcher": 404, "officer": 404, "operator": 404, "auditor": 404, "reviewer": 404, "holder": 404}},
	} {
		for name, client := range people {
			want, listed := c.want[name]
			switch {
			case c.public != 0:
				want = c.public
			case listed:
			case name == "visitor":
				want = 401
			default:
				want = 403
			}
			body := ""
			if c.method == "POST" && strings.HasPrefix(c.path, "/api/") && !strings.HasSuffix(c.path, "/options") {
				body = "{}"
			}
			if got := h.api(client, c.method, c.path, body, nil); got != want {
				t.Errorf("%s %s as %s: %d, want %d", c.method, c.path, name, got, want)
			}
		}
	}
}

func TestOperatorInvitesAndDisables(t *testing.T) {
	h := configure(t, true).start()
	operator := h.as("operator", "")
	for name, form := range map[string]url.Values{
		"no name":             {"role": {"handler"}},
		"no role":             {"name": {"Ann"}},
		"unknown role":        {"name": {"Ann"}, "role": {"king"}},
		"citizen":             {"name": {"Ann"}, "role": {"citizen"}},
		"roles kept apart":    {"name": {"Ann"}, "role": {"handler", "engineer"}},
		"holder without name": {"name": {"Ann"}, "role": {"holder"}},
		"name without holder": {"name": {"Ann"}, "role": {"handler"}, "holder": {"cnam"}},
		"bad holder":          {"name": {"Ann"}, "role": {"holder"}, "holder": {"../x"}},
	} {
		resp, err := operator.PostForm(h.url+"/operator/accounts", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	resp, body := postForm(t, operator, h.url+"/operator/accounts", url.Values{"name": {"Ann Example"}, "role": {"handler", "committee"}})
	at := strings.Index(body, h.url+"/welcome/")
	if resp.StatusCode != 201 || at < 0 {
		t.Fatalf("invite: %d", resp.StatusCode)
	}
	link := body[at : at+strings.IndexByte(body[at:], '<')]
	ann := browser(t)
	if resp, _ := post(t, ann, link); resp.Request.URL.Path != "/account" {
		t.Errorf("accepting leads to %s", resp.Request.URL)
	}
	me, s := h.me(ann)
	if s != 200 || len(me.Roles) != 2 {
		t.Fatalf("invited: %d %+v", s, me)
	}
	post(t, operator, h.url+"/operator/accounts/"+me.ID+"/disable")
	if _, s := h.me(ann); s != 401 {
		t.Errorf("disabled account is still signed in: %d", s)
	}
	mine, _ := h.me(operator)
	if resp, _ := post(t, operator, h.url+"/operator/accounts/"+mine.ID+"/disable"); resp.StatusCode != 409 {
		t.Errorf("operator disables herself: %d", resp.StatusCode)
	}
}

func TestIdentityProviderAnswersAreChecked(t *testing.T) {
	h := configure(t, true).start()
	for name, forge := range map[string]func(*http.Client, *url.URL) *http.Client{
		"another state": func(c *http.Client, back *url.URL) *http.Client {
			q := back.Query()
			q.Set("state", "forged")
			back.RawQuery = q.Encode()
			return c
		},
		"another code": func(c *http.Client, back *url.URL) *http.Client {
			q := back.Query()
			q.Set("code", "forged")
			back.RawQuery = q.Encode()
			return c
		},
		"another browser (login forgery)": func(*http.Client, *url.URL) *http.Client { return browser(t) },
	} {
		c := browser(t)
		var back *url.URL
		c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == "/sign-in/callback" {
				back = r.URL
				return http.ErrUseLastResponse
			}
			return nil
		}
		idptest.SignIn(t, c, h.url+"/sign-in/citizen", "citizen-1")
		if back == nil {
			t.Fatal("did not come back")
		}
		who := forge(c, back)
		who.CheckRedirect = nil
		resp, err := who.Get(back.String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, s := h.me(who); resp.StatusCode != 400 || s != 401 {
			t.Errorf("%s: %d, then %d", name, resp.StatusCode, s)
		}
	}
	// The same answer twice.
	c := browser(t)
	var back string
	c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/sign-in/callback" {
			back = r.URL.String()
		}
		return nil
	}
	idptest.SignIn(t, c, h.url+"/sign-in/citizen?next=/objection", "citizen-1")
	resp, err := c.Get(back)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("the same answer twice: %d", resp.StatusCode)
	}
}

func TestNobodyIsLedElsewhere(t *testing.T) {
	h := configure(t, true).start()
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"} {
		c := browser(t)
		resp, _ := idptest.SignIn(t, c, h.url+"/sign-in/citizen?next="+url.QueryEscape(next), "citizen-1")
		if !strings.HasPrefix(resp.Request.URL.String(), h.url+"/") {
			t.Errorf("%q leads to %s", next, resp.Request.URL)
		}
	}
}

func TestDemoClockMovesForwardOnly(t *testing.T) {
	h := configure(t, true).start()
	var out struct{ Now, Code string }
	if s := h.api(browser(t), "POST", "/demo/clock", `{"days":30}`, &out); s != 200 || out.Now == "" {
		t.Errorf("30 days: %d %+v", s, out)
	}
	if _, body, _ := h.get(browser(t), "/demo?lang=en"); !strings.Contains(body, "30 days ahead") {
		t.Error("the banner does not show the moved clock")
	}
	for _, bad := range []string{`{"days":-1}`, `{"days":0}`, `{"days":401}`, `{"days":"x"}`, `{"hours":1}`, `{`} {
		if s := h.api(browser(t), "POST", "/demo/clock", bad, nil); s != 400 {
			t.Errorf("%s: %d", bad, s)
		}
	}
	if c := h.as("operator", ""); c != nil { // a moved clock signs nobody out
		h.api(c, "POST", "/demo/clock", `{"days":300}`, nil)
		if _, s := h.me(c); s != 200 {
			t.Errorf("signed out by the clock: %d", s)
		}
	}
	for _, bad := range []string{`{"role":"king"}`, `{"role":"holder","person":"none"}`, `{`} {
		if s := h.api(browser(t), "POST", "/demo/sign-in", bad, nil); s != 400 {
			t.Errorf("sign in %s: %d", bad, s)
		}
	}
}
