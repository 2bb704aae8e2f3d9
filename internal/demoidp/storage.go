package demoidp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/mitral-health/mitral/internal/kit/clock"
)

const (
	requestLimit  = 15 * time.Minute
	tokenLifetime = time.Hour
)

// storage keeps sign-ins under way in memory: who is interrupted by a restart begins again.
type storage struct {
	cfg      Config
	citizens []Citizen
	key      *rsa.PrivateKey

	mu       sync.Mutex
	requests map[string]*request
	codes    map[string]string // code → request id
	tokens   map[string]token
}

type token struct {
	subject string
	ends    time.Time
}

func newStorage(cfg Config, citizens []Citizen, key *rsa.PrivateKey) *storage {
	return &storage{cfg: cfg, citizens: citizens, key: key, requests: map[string]*request{}, codes: map[string]string{}, tokens: map[string]token{}}
}

var (
	errUnknown      = errors.New("unknown or over")
	errNotSupported = errors.New("not supported by this provider")
)

func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (s *storage) citizen(subject string) (Citizen, bool) {
	i := slices.IndexFunc(s.citizens, func(c Citizen) bool { return c.Subject() == subject })
	if i < 0 {
		return Citizen{}, false
	}
	return s.citizens[i], true
}

// choose finishes a sign-in as one of the citizens.
func (s *storage) choose(id, subject string) error {
	if _, ok := s.citizen(subject); !ok {
		return errUnknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || r.done || time.Since(r.created) > requestLimit {
		return errUnknown
	}
	r.subject, r.done, r.authTime = subject, true, time.Now().UTC()
	return nil
}

// CreateAuthRequest accepts the authorization code flow with PKCE (S256) and nothing else.
func (s *storage) CreateAuthRequest(_ context.Context, req *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if req.ResponseType != oidc.ResponseTypeCode || req.CodeChallenge == "" || req.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("authorization code with PKCE (S256) is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	r := &request{id: randomID(), in: *req, created: time.Now()}
	s.requests[r.id] = r
	return r, nil
}

func (s *storage) sweep() {
	for id, r := range s.requests {
		if time.Since(r.created) > requestLimit {
			delete(s.requests, id)
		}
	}
	for code, id := range s.codes {
		if s.requests[id] == nil {
			delete(s.codes, code)
		}
	}
	for id, t := range s.tokens {
		if time.Now().After(t.ends) {
			delete(s.tokens, id)
		}
	}
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.requests[id]; ok && time.Since(r.created) <= requestLimit {
		c := *r // the caller reads it without the lock
		return &c, nil
	}
	return nil, errUnknown
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

// DeleteAuthRequest is called once a code was exchanged: a code is good once.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	s.sweep()
	return nil
}

func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ends := randomID(), time.Now().Add(tokenLifetime)
	s.tokens[id] = token{r.GetSubject(), ends}
	return id, ends, nil
}

func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNotSupported
}

func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, op.ErrInvalidRefreshToken
}

func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (s *storage) TerminateSession(context.Context, string, string) error { return nil } // keeps no sessions

func (s *storage) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, id)
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return signingKey{s.key}, nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey{s.key}}, nil }

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.cfg.ClientID {
		return nil, errUnknown
	}
	return client{s.cfg}, nil
}

func (s *storage) AuthorizeClientIDSecret(context.Context, string, string) error {
	return errNotSupported // the only client is public and proves itself by PKCE
}

// SetUserinfoFromScopes puts the citizen's traits into the identity token.
func (s *storage) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, subject, _ string, scopes []string) error {
	return s.fill(info, subject, scopes)
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, _, _ string) error {
	s.mu.Lock()
	t, ok := s.tokens[tokenID]
	s.mu.Unlock()
	if !ok || time.Now().After(t.ends) {
		return errUnknown
	}
	return s.fill(info, t.subject, []string{oidc.ScopeProfile})
}

func (s *storage) fill(info *oidc.UserInfo, subject string, scopes []string) error {
	c, ok := s.citizen(subject)
	if !ok {
		return errUnknown
	}
	info.Subject = subject
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.GivenName, info.FamilyName, info.Birthdate = c.GivenName, c.LastName(), c.BirthDate
		info.Gender = "male"
		if c.Sex == "2" {
			info.Gender = "female"
		}
		info.AppendClaims("birth_family_name", c.FamilyName)
	}
	if slices.Contains(scopes, "nir") && c.NIR != "" {
		info.AppendClaims("nir", c.NIR)
	}
	return nil
}

func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotSupported
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotSupported
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotSupported
}

func (s *storage) Health(context.Context) error { return nil }

// request is one sign-in under way.
type request struct {
	id       string
	in       oidc.AuthRequest
	created  time.Time
	subject  string
	done     bool
	authTime time.Time
}

func (r *request) GetID() string                      { return r.id }
func (r *request) GetACR() string                     { return "" }
func (r *request) GetAMR() []string                   { return nil }
func (r *request) GetAudience() []string              { return []string{r.in.ClientID} }
func (r *request) GetAuthTime() time.Time             { return r.authTime }
func (r *request) GetClientID() string                { return r.in.ClientID }
func (r *request) GetNonce() string                   { return r.in.Nonce }
func (r *request) GetRedirectURI() string             { return r.in.RedirectURI }
func (r *request) GetState() string                   { return r.in.State }
func (r *request) GetSubject() string                 { return r.subject }
func (r *request) GetScopes() []string                { return r.in.Scopes }
func (r *request) Done() bool                         { return r.done }
func (r *request) GetResponseType() oidc.ResponseType { return r.in.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.in.ResponseMode }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.in.CodeChallenge, Method: r.in.CodeChallengeMethod}
}

// client is the portal as the provider knows it: public, PKCE.
type client struct{ cfg Config }

func (c client) GetID() string                       { return c.cfg.ClientID }
func (c client) RedirectURIs() []string              { return c.cfg.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative } // loopback addresses over http are allowed
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodNone }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(id string) string           { return "/login?request=" + id }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration {
	if c.cfg.DemoClock == "" {
		return tokenLifetime
	}
	ahead, _ := clock.Shifted{Path: c.cfg.DemoClock}.Offset() // no file yet: not moved
	return tokenLifetime + ahead
}
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(scope string) bool     { return scope == "nir" }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true } // trust reads the identity token alone
func (c client) ClockSkew() time.Duration             { return 0 }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

type signingKey struct{ key *rsa.PrivateKey }

func (k signingKey) ID() string                                  { return keyID(k.key) }
func (k signingKey) Key() any                                    { return k.key }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

type publicKey struct{ key *rsa.PrivateKey }

func (k publicKey) ID() string                         { return keyID(k.key) }
func (k publicKey) Key() any                           { return &k.key.PublicKey }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
