package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/vault"
)

// zone is a vault that runs, with the certificates of those who may call it and of those who may not.
type zone struct {
	t       *testing.T
	dir     string
	url     string
	certs   map[string]conf.TLS // by "kind/name"
	officer *contracttest.Officer
	stop    func()
}

func start(t *testing.T) *zone {
	t.Helper()
	z := &zone{t: t, dir: t.TempDir(), certs: map[string]conf.TLS{}, officer: contracttest.NewOfficer(t, "officer-1")}
	pkiDir := t.TempDir()
	if err := pki.Init(pkiDir); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"zone/vault", "zone/engine", "zone/enclave", "zone/portal", "zone/trust", "agent/cnam"} {
		kind, name, _ := strings.Cut(who, "/")
		files, err := pki.Issue(pkiDir, kind, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		z.certs[who] = files
	}
	contracttest.WriteRoll(t, z.dir, contracttest.Roll(z.officer))
	z.run()
	return z
}

func (z *zone) run() {
	z.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := vault.New(ctx, vault.Config{Zone: conf.Zone{Dir: z.dir, TLS: z.certs["zone/vault"], Listen: "127.0.0.1:0"}}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		z.t.Fatal(err)
	}
	z.url = "https://" + m.Addr()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stopped := false
	z.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			z.t.Error(err)
		}
		m.Close()
	}
	z.t.Cleanup(z.stop)
}

// post sends a body as the given caller and returns status, code and the answer.
func (z *zone) post(who, path string, body any) (int, string, map[string]string) {
	z.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		z.t.Fatal(err)
	}
	client := httpx.MutualClient(z.certs[who], contract.ZoneVault)
	defer client.CloseIdleConnections()
	resp, err := client.Post(z.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		z.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		z.t.Fatal(err)
	}
	text := map[string]string{}
	for k, v := range out {
		text[k], _ = v.(string)
	}
	return resp.StatusCode, text["code"], text
}

func TestRoutes(t *testing.T) {
	z := start(t)
	permit := z.officer.Sign(t, contracttest.Permit(time.Now()))
	ids := bytes.Repeat([]byte{7}, 32)
	withIDs := map[string]any{"permit": permit, "ids": ids}
	alone := map[string]any{"permit": permit}
	for _, c := range []struct {
		who, path string
		body      any
		status    int
		code      string
	}{
		{"zone/engine", "/v1/pseudonyms", withIDs, 200, ""},
		{"zone/enclave", "/v1/pseudonyms", withIDs, 403, "not_allowed"},
		{"zone/portal", "/v1/pseudonyms", withIDs, 403, "not_allowed"},
		{"zone/trust", "/v1/pseudonyms", withIDs, 403, "not_allowed"},
		{"agent/cnam", "/v1/pseudonyms", withIDs, 403, "not_allowed"},
		{"zone/engine", "/v1/workspace-keys/recipient", alone, 200, ""},
		{"zone/enclave", "/v1/workspace-keys/recipient", alone, 403, "not_allowed"},
		{"agent/cnam", "/v1/workspace-keys/recipient", alone, 403, "not_allowed"},
		{"zone/enclave", "/v1/workspace-keys/identity", alone, 200, ""},
		{"zone/engine", "/v1/workspace-keys/identity", alone, 403, "not_allowed"},
		{"zone/portal", "/v1/workspace-keys/identity", alone, 403, "not_allowed"},
		{"zone/engine", "/v1/master", alone, 404, "unknown_route"},
		{"zone/engine", "/", alone, 404, "unknown_route"},
		{"zone/engine", "/v1/pseudonyms", alone, 403, "invalid"},
		{"zone/engine", "/v1/pseudonyms", map[string]any{"permit": permit, "ids": ids[:17]}, 403, "invalid"},
		{"zone/engine", "/v1/workspace-keys/recipient", withIDs, 403, "invalid"},
		{"zone/engine", "/v1/pseudonyms", map[string]any{"permit": permit, "ids": ids, "extra": 1}, 400, "invalid"},
		{"zone/engine", "/v1/pseudonyms", []int{1}, 400, "invalid"},
		{"zone/engine", "/v1/pseudonyms", map[string]any{"permit": permit, "ids": make([]byte, 28<<20)}, 413, "too_large"},
	} {
		if status, code, _ := z.post(c.who, c.path, c.body); status != c.status || code != c.code {
			t.Errorf("%s %s: %d %s, want %d %s", c.who, c.path, status, code, c.status, c.code)
		}
	}
	client := httpx.MutualClient(z.certs["zone/engine"], contract.ZoneVault)
	resp, err := client.Get(z.url + "/v1/pseudonyms")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("GET was answered with %d", resp.StatusCode)
	}
	if _, err := http.Post(z.url+"/v1/pseudonyms", "application/json", nil); err == nil {
		t.Error("a caller without certificate was let in")
	}
}

func TestEveryRouteVerifiesThePermit(t *testing.T) {
	z := start(t)
	stranger := contracttest.NewOfficer(t, "officer-9")
	at := func(change func(*contract.Permit)) contract.SignedPermit {
		p := contracttest.Permit(time.Now())
		change(&p)
		return z.officer.Sign(t, p)
	}
	altered := z.officer.Sign(t, contracttest.Permit(time.Now()))
	altered.Permit = bytes.Replace(altered.Permit, []byte(`"d1"`), []byte(`"d2"`), 1)
	unsigned := z.officer.Sign(t, contracttest.Permit(time.Now()))
	unsigned.Assertion = contract.Assertion{}
	for code, permit := range map[string]contract.SignedPermit{
		"unsigned":        unsigned,
		"altered":         altered,
		"unknown_officer": stranger.Sign(t, contracttest.Permit(time.Now())),
		"expired":         at(func(p *contract.Permit) { p.ValidUntil = time.Now().UTC().Add(-time.Minute) }),
		"not_yet_valid":   at(func(p *contract.Permit) { p.ValidFrom = time.Now().UTC().Add(time.Hour) }),
		"out_of_scope": at(func(p *contract.Permit) {
			p.Kind = contract.PermitFeasibility
		}),
	} {
		for who, path := range map[string]string{
			"zone/engine": "/v1/pseudonyms", "zone/enclave": "/v1/workspace-keys/identity",
		} {
			body := map[string]any{"permit": permit}
			if path == "/v1/pseudonyms" {
				body["ids"] = make([]byte, 16)
			}
			if status, got, answer := z.post(who, path, body); status != 403 || got != code || answer["ids"]+answer["identity"] != "" {
				t.Errorf("%s: %d %s, want 403 %s", path, status, got, code)
			}
		}
	}
}

func TestRevokedOfficerOpensNothingMore(t *testing.T) {
	z := start(t)
	body := map[string]any{"permit": z.officer.Sign(t, contracttest.Permit(time.Now()))}
	if status, _, _ := z.post("zone/engine", "/v1/workspace-keys/recipient", body); status != 200 {
		t.Fatal(status)
	}
	contracttest.WriteRoll(t, z.dir, &contract.Roll{})
	if status, code, _ := z.post("zone/engine", "/v1/workspace-keys/recipient", body); status != 403 || code != "unknown_officer" {
		t.Fatalf("%d %s", status, code)
	}
}

// What engine seals to the recipient, enclave opens with the identity; both stay over a restart.
func TestWorkspaceKeyPairAndRestart(t *testing.T) {
	z := start(t)
	p := contracttest.Permit(time.Now())
	body := map[string]any{"permit": z.officer.Sign(t, p)}
	_, _, engine := z.post("zone/engine", "/v1/workspace-keys/recipient", body)
	sealed, err := contract.Seal(engine["recipient"], []byte("project data"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, before := z.post("zone/engine", "/v1/pseudonyms", map[string]any{"permit": body["permit"], "ids": make([]byte, 16)})
	z.stop()
	z.run()
	p.Version, p.Title = 2, "A later version keeps the workspace"
	_, _, enclave := z.post("zone/enclave", "/v1/workspace-keys/identity", map[string]any{"permit": z.officer.Sign(t, p)})
	id, err := age.ParseX25519Identity(enclave["identity"])
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := contract.Open(id, sealed); err != nil || string(plain) != "project data" {
		t.Fatalf("%q, %v", plain, err)
	}
	_, _, after := z.post("zone/engine", "/v1/pseudonyms", map[string]any{"permit": body["permit"], "ids": make([]byte, 16)})
	if before["ids"] == "" || before["ids"] != after["ids"] {
		t.Error("pseudonyms changed over a restart")
	}
}

func TestLedgerTellsUsesAndNoIDs(t *testing.T) {
	z := start(t)
	permit := z.officer.Sign(t, contracttest.Permit(time.Now()))
	ids := bytes.Repeat([]byte("CANARY-ID-16-BYT"), 3)
	_, _, answer := z.post("zone/engine", "/v1/pseudonyms", map[string]any{"permit": permit, "ids": ids})
	altered := permit
	altered.Permit = bytes.Replace(permit.Permit, []byte(`"d1"`), []byte(`"d2"`), 1)
	z.post("zone/engine", "/v1/pseudonyms", map[string]any{"permit": altered, "ids": ids})
	_, _, key := z.post("zone/enclave", "/v1/workspace-keys/identity", map[string]any{"permit": permit})
	var found []ledger.Entry
	tick := time.NewTicker(5 * time.Millisecond) // the way from the outbox to the log has no other end to wait for
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); len(found) < 3 && time.Now().Before(deadline); <-tick.C {
		found = ledgerEntries(t, filepath.Join(z.dir, "ledger"))
	}
	entries := map[string]int{}
	for _, e := range found {
		entries[e.Action+" "+e.Outcome+" "+e.Target]++
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"CANARY", answer["ids"], key["identity"], ":3,", ":3}"} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the ledger holds %q: %s", secret, b)
			}
		}
	}
	report, err := ledger.Verify(t.Context(), filepath.Join(z.dir, "ledger"))
	if err != nil || !report.OK {
		t.Errorf("%+v, %v", report, err)
	}
	for _, want := range []string{"pseudonyms done permit-test", "pseudonyms altered ", "workspace-key.identity done permit-test"} {
		if entries[want] != 1 {
			t.Errorf("no entry %q in %v", want, entries)
		}
	}
}

// ledgerEntries reads the log's first entry bundle (C2SP tlog-tiles: length in two bytes, entry, …).
func ledgerEntries(t *testing.T, dir string) (out []ledger.Entry) {
	t.Helper()
	var bundle []byte
	partial, err := filepath.Glob(filepath.Join(dir, "tile", "entries", "000.p", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range partial {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > len(bundle) {
			bundle = b
		}
	}
	for len(bundle) > 2 {
		n := int(bundle[0])<<8 | int(bundle[1])
		e, err := ledger.Decode(bundle[2 : 2+n])
		if err != nil {
			t.Fatal(err)
		}
		out, bundle = append(out, e), bundle[2+n:]
	}
	return out
}
