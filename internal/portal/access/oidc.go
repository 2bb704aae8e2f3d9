package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// OIDC is the national identity provider that citizens sign in with. Its tokens must carry given_name,
// family_name, birthdate, gender and, where it may, nir: what trust needs to find a person.
type OIDC struct {
	Issuer           string   `yaml:"issuer"`
	ClientID         string   `yaml:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file"` // empty: public client, PKCE alone
	Scopes           []string `yaml:"scopes"`             // beside "openid"; empty: "profile" and "nir"
}

const (
	callbackPath   = "/sign-in/callback"
	loginCookie    = "mitral_login"
	identityCookie = "mitral_identity"
	ceremonyOIDC   = "oidc"
)

// provider is the identity provider as this relying party knows it.
type provider struct {
	cfg    OIDC
	secret string
	back   string

	mu    sync.Mutex
	found *oidc.Provider
}

func newProvider(cfg OIDC, back string) (*provider, error) {
	p := &provider{cfg: cfg, back: back}
	if len(cfg.Scopes) == 0 {
		p.cfg.Scopes = []string{"profile", "nir"}
	}
	if cfg.ClientSecretFile != "" {
		b, err := os.ReadFile(cfg.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("access: client secret: %w", err)
		}
		p.secret = strings.TrimSpace(string(b))
	}
	return p, nil
}

// discover reads the provider's metadata once it answers.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		// The provider keeps the context for later key look-ups, so it must not be the request's.
		client := &http.Client{Timeout: 10 * time.Second}
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), p.cfg.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("identity provider: %w", err)
		}
		p.found = found
	}
	return p.found, &oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: p.secret, Endpoint: p.found.Endpoint(),
		RedirectURL: p.back, Scopes: append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...)}, nil
}

// loginState is what must come back unchanged with the provider's answer.
type loginState struct{ State, Nonce, Verifier, Next string }

// startOIDC leads a citizen to the identity provider: authorization code with PKCE, state and nonce, bound
// to this browser by a cookie.
func (a *Access) startOIDC(w http.ResponseWriter, r *http.Request) {
	if a.oidc == nil {
		a.notFound(w, r)
		return
	}
	_, conf, err := a.oidc.discover(r.Context())
	if err != nil {
		a.providerAway(w, r, err)
		return
	}
	state, _ := newToken()
	nonce, _ := newToken()
	ls := loginState{State: state, Nonce: nonce, Verifier: oauth2.GenerateVerifier(), Next: localPath(r.URL.Query().Get("next"))}
	token, err := a.keepCeremony(r.Context(), ceremonyOIDC, "", ls)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	a.setCookie(w, loginCookie, token, ceremonyLimit)
	http.Redirect(w, r, conf.AuthCodeURL(ls.State, oidc.Nonce(ls.Nonce), oauth2.S256ChallengeOption(ls.Verifier)), http.StatusSeeOther)
}

func (a *Access) providerAway(w http.ResponseWriter, r *http.Request, err error) {
	a.o.Log.Error("identity provider", "error", err)
	a.o.Pages.Error(w, r, http.StatusServiceUnavailable, page.M("access.oidc.away"))
}

// finishOIDC takes the provider's answer, checks everything, and signs the citizen in. Her identity
// token goes into a cookie of hers, encrypted and bound to her session; the portal keeps a keyed hash of
// the provider's subject and nothing else.
func (a *Access) finishOIDC(w http.ResponseWriter, r *http.Request) {
	if a.oidc == nil {
		a.notFound(w, r)
		return
	}
	ls, raw, tok, err := a.checkAnswer(r)
	a.dropCookie(w, loginCookie)
	if err != nil {
		a.o.Log.Info("identity provider's answer refused", "error", err)
		if errors.Is(err, errProviderAway) {
			a.providerAway(w, r, err)
			return
		}
		a.o.Pages.Error(w, r, http.StatusBadRequest, page.M("access.oidc.failed"))
		return
	}
	account, err := a.citizenAccount(r.Context(), a.secrets.subjectHash(tok.Issuer, tok.Subject))
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	s, err := a.signIn(w, r, account, "oidc")
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	a.setCookie(w, identityCookie, a.secrets.sealText(raw, s.ID), tok.Expiry.Sub(a.now()))
	http.Redirect(w, r, ls.Next, http.StatusSeeOther)
}

var errProviderAway = errors.New("identity provider does not answer")

func (a *Access) checkAnswer(r *http.Request) (ls loginState, raw string, tok *oidc.IDToken, err error) {
	cookie, err := r.Cookie(loginCookie)
	if err != nil {
		return ls, "", nil, errors.New("no sign-in was begun in this browser")
	}
	err = a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		c, err := takeCeremony(r.Context(), tx, tokenHash(cookie.Value), ceremonyOIDC, a.now())
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(c.Data), &ls)
	})
	if err != nil {
		return ls, "", nil, fmt.Errorf("sign-in is over: %w", err)
	}
	q := r.URL.Query()
	if q.Get("state") != ls.State {
		return ls, "", nil, errors.New("state differs")
	}
	if e := q.Get("error"); e != "" {
		return ls, "", nil, fmt.Errorf("provider says %q", e)
	}
	found, conf, err := a.oidc.discover(r.Context())
	if err != nil {
		return ls, "", nil, fmt.Errorf("%w: %w", errProviderAway, err)
	}
	t, err := conf.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(ls.Verifier))
	if err != nil {
		return ls, "", nil, fmt.Errorf("code exchange: %w", err)
	}
	raw, ok := t.Extra("id_token").(string)
	if !ok {
		return ls, "", nil, errors.New("answer holds no identity token")
	}
	tok, err = found.Verifier(&oidc.Config{ClientID: a.oidc.cfg.ClientID}).Verify(r.Context(), raw)
	if err != nil {
		return ls, "", nil, fmt.Errorf("identity token: %w", err)
	}
	if tok.Nonce != ls.Nonce {
		return ls, "", nil, errors.New("nonce differs")
	}
	return ls, raw, tok, nil
}

// citizenAccount finds or makes the account of a subject.
func (a *Access) citizenAccount(ctx context.Context, subject string) (id string, err error) {
	err = a.o.DB.InTx(ctx, func(tx *store.Tx) error {
		acc, err := selectAccountBySubject(ctx, tx, subject)
		if errors.Is(err, store.ErrNotFound) {
			acc.User = User{ID: contract.NewID("acct"), Roles: []Role{Citizen}}
			err = insertAccount(ctx, tx, acc.User, subject, false, a.now())
		}
		id = acc.ID
		return err
	})
	return id, err
}

// ErrNoIdentity means that the citizen must sign in with the identity provider again, because her
// identity token was used, has expired, or is of another session.
var ErrNoIdentity = errors.New("no identity token: sign in again")

// Identity is what a citizen's own browser keeps of her sign-in for the time of filing an objection.
type Identity struct {
	Token     string // the provider's signed identity token, for trust
	GivenName string
	LastName  string
	BirthDate string // YYYY-MM-DD
}

// Identity opens the identity of the citizen whose request ctx belongs to; ErrNoIdentity when she must
// sign in again.
func (a *Access) Identity(ctx context.Context) (Identity, error) {
	s := sessionFrom(ctx)
	sealed, _ := ctx.Value(identityKey).(string)
	if s == nil || sealed == "" || a.oidc == nil {
		return Identity{}, ErrNoIdentity
	}
	raw, ok := a.secrets.openText(sealed, s.ID)
	if !ok {
		return Identity{}, ErrNoIdentity
	}
	found, _, err := a.oidc.discover(ctx)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", errProviderAway, err)
	}
	tok, err := found.Verifier(&oidc.Config{ClientID: a.oidc.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Identity{}, ErrNoIdentity
	}
	var claims struct {
		GivenName  string `json:"given_name"`
		FamilyName string `json:"family_name"`
		BirthDate  string `json:"birthdate"`
	}
	if err := tok.Claims(&claims); err != nil {
		return Identity{}, ErrNoIdentity
	}
	return Identity{Token: raw, GivenName: claims.GivenName, LastName: claims.FamilyName, BirthDate: claims.BirthDate}, nil
}

// ForgetIdentity takes the identity token out of the citizen's browser, once it has been sealed.
func (a *Access) ForgetIdentity(w http.ResponseWriter) { a.dropCookie(w, identityCookie) }

// ForgottenIdentity is the same as a cookie, for answers that are not written directly.
func (a *Access) ForgottenIdentity() http.Cookie { return *a.cookie(identityCookie, "", -time.Second) }

// SignInAgain leads a citizen to the identity provider and back to next.
func SignInAgain(next string) string { return signInPath(next, true) }
