package portal_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/demoidp/idptest"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/portal"
	"github.com/mitral-health/mitral/internal/portal/access"
)

func TestMain(m *testing.M) {
	idptest.Main()
	os.Exit(m.Run())
}

// hub is a portal that runs, with a real identity provider process beside it.
type hub struct {
	t      testing.TB
	cfg    portal.Config
	url    string
	orders string // https address of the order book
	pki    string
	trust  *age.X25519Identity
	stop   func() error
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func configure(t testing.TB, demo bool) *hub {
	t.Helper()
	dir := t.TempDir()
	h := &hub{t: t, pki: filepath.Join(dir, "pki")}
	var err error
	if h.trust, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	recipient := filepath.Join(dir, "trust.recipient")
	if err := os.WriteFile(recipient, []byte(h.trust.Recipient().String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pki.Init(h.pki); err != nil {
		t.Fatal(err)
	}
	tls, err := pki.Issue(h.pki, "zone", "portal", []string{"localhost", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	h.url = "http://localhost:" + port
	idp := idptest.Start(t, h.url+"/sign-in/callback")
	h.cfg = portal.Config{Zone: conf.Zone{Dir: filepath.Join(dir, "portal"), Listen: "127.0.0.1:0", TLS: tls},
		PublicListen: "127.0.0.1:" + port, PublicURL: h.url, Demo: demo, TrustRecipientFile: recipient,
		OIDC: access.OIDC{Issuer: idp.Issuer, ClientID: idp.ClientID}}
	if demo {
		h.cfg.DemoClock = filepath.Join(dir, "clock")
	}
	return h
}

func (h *hub) start() *hub {
	h.t.Helper()
	m, err := portal.New(h.t.Context(), h.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	_, orders, err := m.Addresses(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	h.orders = "https://" + orders
	stopped := false
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-done
		m.Close()
		return err
	}
	h.t.Cleanup(func() {
		if err := h.stop(); err != nil {
			h.t.Error(err)
		}
	})
	return h
}

func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func (h *hub) as(role, person string) *http.Client {
	h.t.Helper()
	c := browser(h.t)
	resp, err := c.Post(h.url+"/demo/sign-in", "application/json", strings.NewReader(`{"role":"`+role+`","person":"`+person+`"}`))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("sign in as %s: %d %s", role, resp.StatusCode, b)
	}
	return c
}

func (h *hub) get(c *http.Client, path string) (int, string, http.Header) {
	h.t.Helper()
	resp, err := c.Get(h.url + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestPublicPagesInEveryLanguage(t *testing.T) {
	h := configure(t, true).start()
	for path, want := range map[string]map[string]string{
		"/":                  {"en": "in safe hands", "fr": "en lieu sûr", "fi": "turvallisesti"},
		"/how-data-are-used": {"en": "Advertising", "fr": "La publicité", "fi": "Mainonta"},
		"/objection":         {"en": "What changes when you object", "fr": "Ce qui change", "fi": "Mikä muuttuu"},
		"/accessibility":     {"en": "WCAG 2.2", "fr": "WCAG 2.2", "fi": "WCAG 2.2"},
		"/ledger":            {"en": "Newest signed state", "fr": "Dernier état signé", "fi": "viimeisin allekirjoitettu tila"},
		"/sign-in":           {"en": "With a passkey", "fr": "clé d’accès", "fi": "Pääsyavaimella"},
		"/demo":              {"en": "The journey", "fr": "Le parcours", "fi": "Polku"},
	} {
		for lang, text := range want {
			status, body, header := h.get(browser(t), path+"?lang="+lang)
			if status != 200 || !strings.Contains(body, text) || !strings.Contains(body, `<html lang="`+lang+`"`) {
				t.Errorf("%s in %s: %d, no %q", path, lang, status, text)
			}
			csp := header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: policy %q", path, csp)
			}
		}
	}
}

func TestAddressesThatDoNotExist(t *testing.T) {
	h := configure(t, true).start()
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/nothing", 404, "text/html"},
		{"GET", "/api/v1/nothing", 404, "application/problem+json"},
		{"POST", "/sign-in", 405, "text/html"},
		{"DELETE", "/api/v1/me", 405, "application/problem+json"},
		{"GET", "/ledger/nowhere/checkpoint", 404, "text/html"},
		{"GET", "/ledger/portal/../access.key", 404, "text/html"},
		{"GET", "/ledger/portal/signing.key", 404, "text/plain"},
		{"GET", "/assets/none.js", 404, "text/plain"},
	} {
		req, err := http.NewRequest(c.method, h.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), c.kind) {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
}

func TestForgedRequestFromAnotherSite(t *testing.T) {
	h := configure(t, true).start()
	req, err := http.NewRequest("POST", h.url+"/demo/clock", strings.NewReader("days=5"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestHealthLedgerAndOpenAPI(t *testing.T) {
	h := configure(t, true).start()
	if status, body, _ := h.get(browser(t), "/healthz"); status != 200 || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("health: %d %s", status, body)
	}
	status, body, _ := h.get(browser(t), "/api/openapi.json")
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || doc.OpenAPI != "3.1.0" {
		t.Fatalf("openapi: %d %v %s", status, err, doc.OpenAPI)
	}
	for _, p := range []string{"/api/v1/me", "/api/v1/objections", "/api/v1/objections/{number}/withdraw", "/api/v1/sessions/{id}", "/api/v1/applications", "/api/v1/datasets"} {
		if doc.Paths[p] == nil {
			t.Errorf("openapi lacks %s", p)
		}
	}
	h.as("operator", "")
	// The sign-in reaches the public log through the outbox, in its own time.
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		rep, err := ledger.Verify(t.Context(), h.url+"/ledger/portal")
		if err != nil || !rep.OK {
			t.Fatalf("ledger: %+v %v", rep, err)
		}
		if rep.Size > 0 {
			break
		}
	}
}

func TestFirstOperatorOfARealHub(t *testing.T) {
	h := configure(t, false).start()
	link, err := os.ReadFile(filepath.Join(h.cfg.Dir, "first-operator-link"))
	if err != nil {
		t.Fatal(err)
	}
	c := browser(t)
	address := strings.TrimSpace(string(link))
	resp, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("invitation: %d", resp.StatusCode)
	}
	resp, err = c.PostForm(address, url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if status, body, _ := h.get(c, "/operator"); status != 200 || !strings.Contains(body, "Open sessions") {
		t.Errorf("operator's page: %d", status)
	}
	resp, err = browser(t).PostForm(address, url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the link worked twice: %d", resp.StatusCode)
	}
	for _, p := range []string{"/demo"} {
		if status, _, _ := h.get(browser(t), p); status != 404 {
			t.Errorf("%s outside demo mode: %d", p, status)
		}
	}
	for _, p := range []string{"/demo/sign-in", "/demo/clock"} {
		resp, err := http.PostForm(h.url+p, url.Values{"role": {"operator"}, "days": {"1"}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("%s outside demo mode: %d", p, resp.StatusCode)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := configure(t, false).cfg
	for name, change := range map[string]func(*portal.Config){
		"public_url with a path":  func(c *portal.Config) { c.PublicURL += "/hub" },
		"no trust recipient":      func(c *portal.Config) { c.TrustRecipientFile = "" },
		"demo clock without demo": func(c *portal.Config) { c.DemoClock = "x" },
		"unknown time zone":       func(c *portal.Config) { c.TimeZone = "Mars/Olympus" },
		"unknown procedure":       func(c *portal.Config) { c.Procedure = "none" },
		"no directory":            func(c *portal.Config) { c.Dir = "" },
		"no address for browsers": func(c *portal.Config) { c.PublicListen = "" },
	} {
		cfg := good
		cfg.Zone.Dir = filepath.Join(t.TempDir(), "p")
		change(&cfg)
		if m, err := portal.New(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil {
			m.Close()
			t.Errorf("%s: accepted", name)
		} else if errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
