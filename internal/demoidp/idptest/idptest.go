// Package idptest starts the demonstration identity provider as a process of its own, for tests of
// whoever relies on it, and signs in at it as a browser without scripts would.
package idptest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/mitral-health/mitral/internal/demoidp"
)

const childVariable = "MITRAL_TEST_IDP"

// Main must be called first in TestMain: in the child process it is the provider and never returns.
func Main() {
	raw := os.Getenv(childVariable)
	if raw == "" {
		return
	}
	var cfg demoidp.Config
	err := json.Unmarshal([]byte(raw), &cfg)
	if err == nil {
		err = serve(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(cfg demoidp.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s, err := demoidp.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() { // the parent is gone: so are we
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return s.Run(ctx)
}

// Provider is a running provider.
type Provider struct {
	Issuer    string
	ClientID  string
	JWKS      string // file with its public keys
	DemoClock string // file of its movable clock
	Citizens  []demoidp.Citizen
}

// Citizens are the people of a test.
var Citizens = []demoidp.Citizen{
	{Person: 1, GivenName: "Zélie", FamilyName: "Dumas", UsedName: "Vautrin", BirthDate: "1955-03-08", Sex: "2", NIR: "255037511622310"},
	{Person: 2, GivenName: "Malo", FamilyName: "Kerouedan", BirthDate: "1990-11-30", Sex: "1"},
}

// Start runs a provider that knows one client and leads back to redirectURI, until the test ends.
func Start(t testing.TB, redirectURI string) Provider {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := Provider{DemoClock: filepath.Join(dir, "clock"), Issuer: "http://" + addr, ClientID: "mitral-portal", JWKS: filepath.Join(dir, "jwks.json"), Citizens: Citizens}
	people, err := json.Marshal(Citizens)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "citizens.json")
	if err := os.WriteFile(file, people, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := json.Marshal(demoidp.Config{Listen: addr, Issuer: p.Issuer, Citizens: file, Dir: dir, JWKS: p.JWKS, ClientID: p.ClientID, RedirectURIs: []string{redirectURI}, DemoClock: p.DemoClock})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(cfg))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("identity provider did not start: %q %v", line, err)
	}
	return p
}

var requestField = regexp.MustCompile(`name="request" value="([0-9a-f]+)"`)

// SignIn goes to start (an address that leads to the provider), chooses the citizen, and follows back.
// It returns the last answer, its body read.
func SignIn(t testing.TB, c *http.Client, start, subject string) (*http.Response, string) {
	t.Helper()
	resp, body := get(t, c, start)
	m := requestField.FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no login form at %s (%d)", resp.Request.URL, resp.StatusCode)
	}
	to := *resp.Request.URL
	to.Path, to.RawQuery = "/login", ""
	r, err := c.PostForm(to.String(), url.Values{"request": {m[1]}, "citizen": {subject}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func get(t testing.TB, c *http.Client, address string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}
