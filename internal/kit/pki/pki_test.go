package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/pki"
)

func TestIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind, name string
		hosts      []string
		uri        string
	}{
		{"zone", "portal", nil, "mitral://zone/portal"},
		{"agent", "cnam", []string{"agent.cnam.example", "10.0.0.7"}, "mitral://agent/cnam"},
	} {
		files, err := pki.Issue(dir, c.kind, c.name, c.hosts)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		leaf := pair.Leaf
		ca, err := os.ReadFile(files.CA)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		hosts := c.hosts
		if hosts == nil {
			hosts = pki.DefaultHosts
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
			for _, h := range hosts {
				if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: h, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
					t.Errorf("%s for %s: %v", c.name, h, err)
				}
			}
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere.example"}); err == nil {
			t.Errorf("%s is good for a host it was not issued for", c.name)
		}
		if len(leaf.URIs) != 1 || leaf.URIs[0].String() != c.uri {
			t.Errorf("URIs %v, want %s", leaf.URIs, c.uri)
		}
		if left := time.Until(leaf.NotAfter); left > pki.LeafValidity || left < pki.LeafValidity-time.Hour || leaf.IsCA {
			t.Errorf("valid for %v, authority %v", left, leaf.IsCA)
		}
	}
	for _, f := range []string{"ca.key", "zone-portal.key", "agent-cnam.key"} {
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", f, info.Mode(), err)
		}
	}
	shown, err := pki.Show(dir)
	if err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, c := range shown {
		if !c.Trusted || len(c.Fingerprint) != 64 {
			t.Errorf("%+v", c)
		}
		uris = append(uris, c.URI)
	}
	if want := []string{"mitral://agent/cnam", "", "mitral://zone/portal"}; !slices.Equal(uris, want) {
		t.Errorf("shown %q, want %q", uris, want)
	}
}

func TestNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Issue(dir, "zone", "vault", nil); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if err := pki.Init(dir); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second Init: %v", err)
	}
	if _, err := pki.Issue(dir, "zone", "vault", nil); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second Issue: %v", err)
	}
	if after := contents(t, dir); !slices.Equal(before, after) {
		t.Error("files changed")
	}
}

func TestRefuses(t *testing.T) {
	empty := t.TempDir()
	if _, err := pki.Issue(empty, "zone", "vault", nil); err == nil {
		t.Error("issued without an authority")
	}
	dir := t.TempDir()
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"", "x"}, {"person", "x"}, {"zone", ""}, {"zone", "../x"}, {"zone", "a/b"}, {"agent", "a b"}, {"agent", "é"}} {
		if _, err := pki.Issue(dir, c[0], c[1], nil); err == nil {
			t.Errorf("issued for %q", c)
		}
	}
	if n := len(contents(t, dir)); n != 2 {
		t.Errorf("%d files after refusals, want ca.crt and ca.key", n)
	}
}

func contents(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name()+"\n"+string(b))
	}
	return all
}
