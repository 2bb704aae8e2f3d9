package httpx

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

func issue(t testing.TB, dir, kind, name string) conf.TLS {
	t.Helper()
	files, err := pki.Issue(dir, kind, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func authorityIn(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func serveMutual(t testing.TB, files conf.TLS, h http.Handler) *Server {
	t.Helper()
	s, err := ServeMutual(t.Context(), "127.0.0.1:0", files, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMutual(t *testing.T) {
	hub, other := authorityIn(t), authorityIn(t)
	mux := http.NewServeMux()
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, name := PeerOf(r)
		JSON(w, http.StatusOK, kind+" "+name)
	})
	mux.Handle("/any", who)
	mux.Handle("/zones", OnlyZones("engine", "vault")(who))
	mux.Handle("/agents", OnlyAgents()(who))
	mux.Handle("/cnam", OnlyAgents("cnam")(who))
	s := serveMutual(t, issue(t, hub, "zone", "trust"), mux)

	engine, portal := issue(t, hub, "zone", "engine"), issue(t, hub, "zone", "portal")
	cnam, registry := issue(t, hub, "agent", "cnam"), issue(t, hub, "agent", "registry")
	engineAgent := issue(t, hub, "agent", "engine") // a holder that calls itself like a zone
	stranger := issue(t, other, "zone", "engine")
	stranger.CA = engine.CA

	for _, c := range []struct {
		name   string
		files  conf.TLS
		server string
		path   string
		want   string // body of an allowed call, code of a denied one, or part of a connection error
	}{
		{"zone", engine, "trust", "/any", "zone engine"},
		{"agent", cnam, "trust", "/any", "agent cnam"},
		{"allowed zone", engine, "trust", "/zones", "zone engine"},
		{"denied zone", portal, "trust", "/zones", "not_allowed"},
		{"agent where zones may", cnam, "trust", "/zones", "not_allowed"},
		{"agent named like a zone", engineAgent, "trust", "/zones", "not_allowed"},
		{"any agent", registry, "trust", "/agents", "agent registry"},
		{"zone where agents may", engine, "trust", "/agents", "not_allowed"},
		{"right agent", cnam, "trust", "/cnam", "agent cnam"},
		{"wrong agent", registry, "trust", "/cnam", "not_allowed"},
		{"another server than meant", engine, "vault", "/any", "not zone vault"},
		{"caller of another hub", stranger, "trust", "/any", ""}, // TLS 1.3 tells a refused caller by closing
		{"server of another hub", conf.TLS{CA: other + "/ca.crt", Cert: engine.Cert, Key: engine.Key}, "trust", "/any", "unknown authority"},
		{"no key file", conf.TLS{CA: engine.CA, Cert: engine.Cert, Key: "/nonexistent"}, "trust", "/any", "nonexistent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := MutualClient(c.files, c.server).Get("https://" + s.Addr() + c.path)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v, want %q", err, c.want)
				}
				return
			}
			defer resp.Body.Close()
			got := ""
			if resp.StatusCode == http.StatusOK {
				if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
					t.Fatal(err)
				}
			} else {
				e, ok := Check(resp).(*Error)
				if !ok || resp.Header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("%s: not a problem document", resp.Status)
				}
				got = e.Code
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		pool, err := authority(engine.CA)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
		if resp, err := client.Get("https://" + s.Addr() + "/any"); err == nil {
			resp.Body.Close()
			t.Fatal("a caller without a certificate was served")
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		pair, err := tls.LoadX509KeyPair(engine.Cert, engine.Key)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := authority(engine.CA)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12})
		if err == nil {
			conn.Close()
			t.Fatal("TLS 1.2 was accepted")
		}
	})
}

func TestPeerOfPlainRequest(t *testing.T) {
	r, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if k, n := PeerOf(r); k != "" || n != "" {
		t.Errorf("a plain request comes from %s %s", k, n)
	}
}

// A server answers a request that is under way when its context ends, and takes no new one.
func TestStopsGracefully(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, out := make(chan struct{}), make(chan struct{})
	s, err := ServePublic(ctx, "127.0.0.1:0", "", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(in)
		<-out
		io.WriteString(w, "whole")
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr())
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(b)
	}()
	<-in
	cancel()
	for { // the listener closes first
		conn, err := http.Get("http://" + s.Addr())
		if err != nil {
			break
		}
		conn.Body.Close()
	}
	close(out)
	if b := <-got; b != "whole" {
		t.Errorf("got %q", b)
	}
	stop, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	if err := s.Shutdown(stop); err != nil {
		t.Error(err)
	}
}

func TestServePublicOverTLS(t *testing.T) {
	dir := authorityIn(t)
	files := issue(t, dir, "zone", "portal")
	s, err := ServePublic(t.Context(), "127.0.0.1:0", files.Cert, files.Key, Secure(http.NotFoundHandler()))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := authority(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Get("https://" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS over TLS")
	}
	if _, err := ServePublic(t.Context(), "127.0.0.1:0", files.Cert, "", nil); err == nil || !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("a certificate without its key: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		if os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}
