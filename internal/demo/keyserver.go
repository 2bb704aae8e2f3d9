package demo

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/web"
)

// keyServer shows the demonstration security key as a page of its own, at an address of its own: the
// portal sends a challenge here by an HTML form, the person looks and agrees, and another form takes the
// assertion back. So a whole journey works in any browser, without JavaScript and without hardware. It
// signs for one relying party, one origin, and returns to that origin only.
type keyServer struct {
	key    *SoftKey
	rpID   string
	origin string // of the portal
	pages  *page.Renderer
}

// KeyHandler serves the key's page for a portal.
func KeyHandler(key *SoftKey, rpID, portalOrigin string) (http.Handler, error) {
	bundle, err := web.Messages(nil)
	if err != nil {
		return nil, err
	}
	pages, err := page.New(web.Templates(), bundle, page.Options{Zone: "demo", Assets: web.Assets()})
	if err != nil {
		return nil, err
	}
	s := &keyServer{key: key, rpID: rpID, origin: portalOrigin, pages: pages}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /key", s.ask)
	mux.HandleFunc("POST /key/sign", s.sign)
	mux.Handle("GET /assets/", pages.Assets())
	// Only this page's own form may sign; asking may come from the portal.
	protect := http.NewCrossOriginProtection()
	protect.AddInsecureBypassPattern("POST /key")
	return i18n.Middleware(keyHeaders(portalOrigin, protect.Handler(mux))), nil
}

// keyHeaders are the portal's own, except that the form may lead back to the portal.
func keyHeaders(portalOrigin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self' "+portalOrigin+"; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

type keyPage struct {
	Origin, ReturnTo, Challenge, Digest string
	Assertion                           *keyAssertion
}

// keyAssertion holds the assertion's parts in base64url, as form fields.
type keyAssertion struct{ CredentialID, AuthenticatorData, ClientDataJSON, Signature string }

// request reads and checks the two fields that both forms carry.
func (s *keyServer) request(r *http.Request) (keyPage, []byte, error) {
	if err := r.ParseForm(); err != nil {
		return keyPage{}, nil, err
	}
	challenge, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(r.PostForm.Get("challenge"), "="))
	if err != nil || len(challenge) < 16 || len(challenge) > 64 {
		return keyPage{}, nil, fmt.Errorf("no challenge to sign")
	}
	back, err := url.Parse(r.PostForm.Get("return_to"))
	if err != nil || back.Scheme+"://"+back.Host != s.origin {
		return keyPage{}, nil, fmt.Errorf("the key returns to %s only", s.origin)
	}
	return keyPage{Origin: s.origin, ReturnTo: back.String(), Challenge: base64.RawURLEncoding.EncodeToString(challenge),
		Digest: hex.EncodeToString(challenge)}, challenge, nil
}

func (s *keyServer) ask(w http.ResponseWriter, r *http.Request) {
	p, _, err := s.request(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.pages.Render(w, r, http.StatusOK, "demo/key", p)
}

func (s *keyServer) sign(w http.ResponseWriter, r *http.Request) {
	p, challenge, err := s.request(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := s.key.Assert(s.rpID, s.origin, challenge)
	if err != nil {
		http.Error(w, "the key cannot sign", http.StatusInternalServerError)
		return
	}
	b64 := base64.RawURLEncoding.EncodeToString
	p.Assertion = &keyAssertion{b64(a.CredentialID), b64(a.AuthenticatorData), b64(a.ClientDataJSON), b64(a.Signature)}
	s.pages.Render(w, r, http.StatusOK, "demo/key", p)
}
