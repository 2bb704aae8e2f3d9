package demoidp_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/mitral-health/mitral/internal/demoidp"
	"github.com/mitral-health/mitral/internal/demoidp/idptest"
	"github.com/mitral-health/mitral/internal/kit/clock"
)

func TestMain(m *testing.M) {
	idptest.Main()
	os.Exit(m.Run())
}

// browser keeps cookies and stops where the relying party would take over.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/back" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

const back = "http://127.0.0.1:1/back"

func relyingParty(t *testing.T, p idptest.Provider) (*oidc.Provider, *oauth2.Config) {
	t.Helper()
	found, err := oidc.NewProvider(context.Background(), p.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	return found, &oauth2.Config{ClientID: p.ClientID, Endpoint: found.Endpoint(), RedirectURL: back, Scopes: []string{"openid", "profile", "nir"}}
}

func TestSignInGivesATokenThatTheKeysVerify(t *testing.T) {
	p := idptest.Start(t, back)
	_, conf := relyingParty(t, p)
	for subject, want := range map[string]map[string]string{
		"citizen-1": {"given_name": "Zélie", "family_name": "Vautrin", "birth_family_name": "Dumas", "birthdate": "1955-03-08", "gender": "female", "nir": "255037511622310"},
		"citizen-2": {"given_name": "Malo", "family_name": "Kerouedan", "birthdate": "1990-11-30", "gender": "male", "nir": ""},
	} {
		verifier := oauth2.GenerateVerifier()
		resp, _ := idptest.SignIn(t, browser(t), conf.AuthCodeURL("state-1", oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(verifier)), subject)
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || !strings.HasPrefix(to.String(), back) || to.Query().Get("state") != "state-1" {
			t.Fatalf("led to %q", resp.Header.Get("Location"))
		}
		code := to.Query().Get("code")
		if _, err := conf.Exchange(context.Background(), code, oauth2.VerifierOption("wrong-verifier-wrong-verifier-wrong-verifier-x")); err == nil {
			t.Error("code accepted without its verifier")
		}
		tok, err := conf.Exchange(context.Background(), code, oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conf.Exchange(context.Background(), code, oauth2.VerifierOption(verifier)); err == nil {
			t.Error("code accepted twice")
		}
		// As trust does: with the key file, without asking the provider.
		b, err := os.ReadFile(p.JWKS)
		if err != nil {
			t.Fatal(err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(b, &set); err != nil || len(set.Keys) != 1 || !set.Keys[0].IsPublic() {
			t.Fatalf("key file: %v, %d keys", err, len(set.Keys))
		}
		id, err := oidc.NewVerifier(p.Issuer, &oidc.StaticKeySet{PublicKeys: keys(set)}, &oidc.Config{ClientID: p.ClientID}).
			Verify(context.Background(), tok.Extra("id_token").(string))
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{}
		if err := id.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if got, _ := claims[k].(string); got != v {
				t.Errorf("%s: claim %s is %q, want %q", subject, k, got, v)
			}
		}
		if claims["nonce"] != "nonce-1" || id.Subject != subject {
			t.Errorf("nonce %v, subject %s", claims["nonce"], id.Subject)
		}
	}
}

func keys(set jose.JSONWebKeySet) (out []crypto.PublicKey) {
	for _, k := range set.Keys {
		out = append(out, k.Key)
	}
	return out
}

// Trust checks a token at the hub's time, which a demonstration moves.
func TestTokenLastsInAMovedHub(t *testing.T) {
	p := idptest.Start(t, back)
	moved := clock.Shifted{Path: p.DemoClock}
	if err := moved.Move(60 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	found, conf := relyingParty(t, p)
	verifier := oauth2.GenerateVerifier()
	resp, _ := idptest.SignIn(t, browser(t), conf.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "citizen-2")
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := conf.Exchange(context.Background(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []func() time.Time{moved.Now, time.Now} {
		if _, err := found.Verifier(&oidc.Config{ClientID: p.ClientID, Now: now}).Verify(context.Background(), tok.Extra("id_token").(string)); err != nil {
			t.Errorf("at %s: %v", now(), err)
		}
	}
	if id, _ := found.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(context.Background(), tok.Extra("id_token").(string)); id.Expiry.After(moved.Now().Add(61 * time.Minute)) {
		t.Errorf("token lasts until %s", id.Expiry)
	}
}

func TestRefusals(t *testing.T) {
	p := idptest.Start(t, back)
	_, conf := relyingParty(t, p)
	c := browser(t)
	for name, u := range map[string]string{
		"no PKCE":             conf.AuthCodeURL("s"),
		"another client":      strings.Replace(conf.AuthCodeURL("s", oauth2.S256ChallengeOption("v")), p.ClientID, "other", 1),
		"another redirection": strings.Replace(conf.AuthCodeURL("s", oauth2.S256ChallengeOption("v")), url.QueryEscape(back), url.QueryEscape("http://127.0.0.1:1/evil"), 1),
	} {
		resp, err := c.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Request.URL.Path == "/login" || resp.StatusCode == http.StatusFound && !strings.Contains(resp.Header.Get("Location"), "error=") {
			t.Errorf("%s: %d at %s, leads to %q", name, resp.StatusCode, resp.Request.URL, resp.Header.Get("Location"))
		}
	}
	for name, v := range map[string]url.Values{
		"unknown request": {"request": {"00"}, "citizen": {"citizen-1"}},
		"unknown citizen": {"request": {"00"}, "citizen": {"nobody"}},
	} {
		resp, err := c.PostForm(p.Issuer+"/login", v)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !bytes.Contains(b, []byte("sign in again")) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
}

func TestKeyStaysOverRestarts(t *testing.T) {
	dir := t.TempDir()
	people := filepath.Join(dir, "citizens.json")
	b, err := json.Marshal(idptest.Citizens)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(people, b, 0o600); err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(dir, "jwks.json")
	cfg := demoidp.Config{Listen: "127.0.0.1:0", Issuer: "http://127.0.0.1:1", Citizens: people, Dir: dir, JWKS: jwks, ClientID: "x", RedirectURIs: []string{back}}
	var seen []byte
	for range 2 {
		s, err := demoidp.New(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		now, err := os.ReadFile(jwks)
		if err != nil {
			t.Fatal(err)
		}
		if seen != nil && !bytes.Equal(seen, now) {
			t.Error("the key changed")
		}
		seen = now
	}
	if fi, err := os.Stat(filepath.Join(dir, "signing-key.pem")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("signing key: %v %v", fi.Mode(), err)
	}
}

func TestCitizensFileIsChecked(t *testing.T) {
	for name, c := range map[string]string{
		"not JSON": "x",
		"empty":    "[]",
		"no sex":   `[{"person":1,"given_name":"A","family_name":"B","birth_date":"1990-01-01"}]`,
		"twice":    `[{"person":1,"given_name":"A","family_name":"B","sex":"1","birth_date":"1990-01-01"},{"person":1,"given_name":"A","family_name":"B","sex":"1","birth_date":"1990-01-01"}]`,
		"bad date": `[{"person":1,"given_name":"A","family_name":"B","sex":"1","birth_date":"1.1.1990"}]`,
	} {
		file := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(file, []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := demoidp.LoadCitizens(file); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
