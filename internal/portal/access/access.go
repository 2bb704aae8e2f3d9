package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Options of the room.
type Options struct {
	DB        *store.DB
	Ledger    *ledger.Ledger
	Pages     *page.Renderer
	Clock     clock.Clock
	Log       *slog.Logger
	Dir       string // where access.key lies
	PublicURL string // origin of the portal as browsers see it, "https://portal.hub.example"
	RPID      string // WebAuthn relying party id, "hub.example"
	OIDC      OIDC   // national identity provider; Issuer empty: none
	Enclave   string // address of the enclave's front door, for links; may be empty
	Demo      bool   // opens the role picker and the movable clock
}

// Access is the room. It is safe for concurrent use.
type Access struct {
	o        Options
	policies *Policies
	secrets  *secrets
	webauthn *webauthn.WebAuthn
	oidc     *provider
	secure   bool             // cookies only over TLS
	now      func() time.Time // the machine's clock, see IdleLimit
}

// New migrates the room's tables and opens it. The identity provider is looked up when it is first
// needed, so that the portal starts without it.
func New(ctx context.Context, o Options) (*Access, error) {
	public, err := url.Parse(o.PublicURL)
	if err != nil || public.Host == "" || public.Path != "" {
		return nil, fmt.Errorf("access: public_url %q must be an origin such as https://portal.example", o.PublicURL)
	}
	if err := o.DB.Migrate(ctx, "access", migrations()); err != nil {
		return nil, err
	}
	a := &Access{o: o, secure: public.Scheme == "https", now: clock.System{}.Now}
	if a.policies, err = Built(); err != nil {
		return nil, err
	}
	if a.secrets, err = loadSecrets(filepath.Join(o.Dir, "access.key")); err != nil {
		return nil, err
	}
	a.webauthn, err = webauthn.New(&webauthn.Config{RPID: o.RPID, RPDisplayName: "Mitral", RPOrigins: []string{o.PublicURL},
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired},
		AttestationPreference: protocol.PreferNoAttestation,
	})
	if err != nil {
		return nil, fmt.Errorf("access: passkeys: %w", err)
	}
	if o.OIDC.Issuer != "" {
		if a.oidc, err = newProvider(o.OIDC, o.PublicURL+callbackPath); err != nil {
			return nil, err
		}
	}
	if o.Demo {
		if err := a.ensureDemoAccounts(ctx); err != nil {
			return nil, err
		}
	}
	return a, sweep(ctx, o.DB, a.now())
}

// Routes registers the room's pages and API.
func (a *Access) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /sign-in", a.pageSignIn)
	mux.HandleFunc("POST /sign-out", a.signOut)
	mux.HandleFunc("GET /sign-in/citizen", a.startOIDC)
	mux.HandleFunc("GET "+callbackPath, a.finishOIDC)
	mux.HandleFunc("GET /account", a.pageAccount)
	mux.HandleFunc("POST /account/passkeys/{id}/remove", a.removePasskey)
	mux.HandleFunc("GET /welcome/{token}", a.pageWelcome)
	mux.HandleFunc("POST /welcome/{token}", a.acceptInvitation)
	mux.HandleFunc("GET /operator", a.pageOperator)
	mux.HandleFunc("POST /operator/sessions/{id}/revoke", a.revoke)
	mux.HandleFunc("POST /operator/accounts", a.createAccount)
	mux.HandleFunc("POST /operator/accounts/{id}/disable", a.disableAccount)

	mux.HandleFunc("GET /api/v1/me", a.apiMe)
	mux.HandleFunc("GET /api/v1/me/enrolment", a.apiEnrolment)
	mux.HandleFunc("POST /api/v1/sign-in/options", a.apiSignInOptions)
	mux.HandleFunc("POST /api/v1/sign-in", a.apiSignIn)
	mux.HandleFunc("POST /api/v1/passkeys/options", a.apiPasskeyOptions)
	mux.HandleFunc("POST /api/v1/passkeys", a.apiPasskeyCreate)
	mux.HandleFunc("GET /api/v1/sessions", a.apiSessions)
	mux.HandleFunc("DELETE /api/v1/sessions/{id}", a.revoke)
	if a.o.Demo {
		mux.HandleFunc("GET /demo", a.pageDemo)
		mux.HandleFunc("POST /demo/sign-in", a.demoSignIn)
		mux.HandleFunc("POST /demo/clock", a.demoClock)
	}
}

// IsAPI reports whether a request wants JSON rather than a page.
func IsAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") ||
		strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}

// Refuse answers a request that Allow denied: a page, or problem+json for programs. A visitor who
// wanted to see a page is led to sign in and comes back.
func (a *Access) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	var d *Denied
	if !errors.As(err, &d) {
		a.Fail(w, r, err)
		return
	}
	switch {
	case IsAPI(r) && d.Status() == http.StatusUnauthorized:
		httpx.Problem(w, r, d.Status(), "sign_in", "Sign in first.")
	case IsAPI(r):
		httpx.Problem(w, r, d.Status(), "denied", "Your role does not include "+string(d.Action)+" here.")
	case d.Status() == http.StatusUnauthorized && r.Method == http.MethodGet:
		http.Redirect(w, r, signInPath(r.URL.RequestURI(), strings.HasPrefix(string(d.Action), "objection.")), http.StatusSeeOther)
	default:
		a.o.Pages.Error(w, r, d.Status(), nil)
	}
}

// signInPath leads to the right door: citizens come through the identity provider.
func signInPath(next string, citizen bool) string {
	path := "/sign-in"
	if citizen {
		path = "/sign-in/citizen"
	}
	return path + "?next=" + url.QueryEscape(next)
}

// Fail answers a request that went wrong on our side and logs why.
func (a *Access) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, store.ErrNotFound) {
		a.notFound(w, r)
		return
	}
	a.o.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	if IsAPI(r) {
		httpx.Problem(w, r, http.StatusInternalServerError, "internal", "Something went wrong on our side. Try again later.")
		return
	}
	a.o.Pages.Error(w, r, http.StatusInternalServerError, nil)
}

func (a *Access) notFound(w http.ResponseWriter, r *http.Request) {
	if IsAPI(r) {
		httpx.Problem(w, r, http.StatusNotFound, "not_found", "There is nothing at this address.")
		return
	}
	a.o.Pages.NotFound(w, r)
}

// PageUser is what the header of a page shows of the person signed in.
func PageUser(r *http.Request) *page.User {
	u := UserFrom(r.Context())
	if u == nil {
		return nil
	}
	pu := &page.User{Name: u.Name}
	if len(u.Roles) > 0 {
		pu.Role = i18n.Key("access.role.", string(u.Roles[0]))
	}
	return pu
}

// PublicKeys returns the passkeys of an account as a permit carries them.
func (a *Access) PublicKeys(ctx context.Context, account string) ([]contract.PublicKey, error) {
	keys, err := selectPasskeys(ctx, a.o.DB, account)
	if err != nil {
		return nil, err
	}
	out := make([]contract.PublicKey, len(keys))
	for i, k := range keys {
		out[i] = contract.PublicKey{CredentialID: k.CredentialID, SPKI: k.SPKI}
	}
	return out, nil
}

// Account returns an account by id; store.ErrNotFound when there is none.
func (a *Access) Account(ctx context.Context, id string) (Account, error) {
	return selectAccount(ctx, a.o.DB, id)
}

// localPath returns next if it is a path of this site, else "/": a link must not lead people elsewhere.
func localPath(next string) string {
	if strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") && !strings.ContainsAny(next, "\\\r\n") {
		return next
	}
	return "/"
}
