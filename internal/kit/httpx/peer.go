package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
)

// PeerOf tells who called over mutual TLS: ("zone","engine"), ("agent","cnam"), or ("","") when the
// connection is not mutual TLS or the certificate names nobody.
func PeerOf(r *http.Request) (kind, name string) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return "", ""
	}
	return identity(r.TLS.PeerCertificates[0])
}

// identity reads the one mitral URI of a certificate. A certificate with two URIs is two people at
// once and therefore nobody.
func identity(c *x509.Certificate) (kind, name string) {
	if len(c.URIs) != 1 {
		return "", ""
	}
	u := c.URIs[0]
	name, ok := strings.CutPrefix(u.Path, "/")
	if u.Scheme != "mitral" || !ok || name == "" || strings.Contains(name, "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", ""
	}
	if u.Host != "zone" && u.Host != "agent" {
		return "", ""
	}
	return u.Host, name
}

// OnlyZones lets through the named zones and nobody else.
func OnlyZones(names ...string) func(http.Handler) http.Handler {
	return only(func(kind, name string) bool { return kind == "zone" && slices.Contains(names, name) })
}

// OnlyAgents lets through agents: those of the named holders, or of every holder when none is named.
func OnlyAgents(names ...string) func(http.Handler) http.Handler {
	return only(func(kind, name string) bool {
		return kind == "agent" && (len(names) == 0 || slices.Contains(names, name))
	})
}

func only(allowed func(kind, name string) bool) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch kind, name := PeerOf(r); {
			case kind == "":
				Problem(w, r, http.StatusUnauthorized, "unknown_caller", "The certificate does not name a zone or an agent of this hub.")
			case !allowed(kind, name):
				Problem(w, r, http.StatusForbidden, "not_allowed", "This route is not open to "+kind+" "+name+".")
			default:
				h.ServeHTTP(w, r)
			}
		})
	}
}

// MutualClient returns a client that shows the certificate in t and talks to zone serverZone only: the
// server must have a certificate of the hub's authority for its host name and for mitral://zone/<serverZone>.
// When the files in t cannot be read, every request fails with that reason. Redirects are not followed:
// no route between zones redirects. There is no overall timeout, since a delivery may take hours; callers
// bound a request by its context.
func MutualClient(t conf.TLS, serverZone string) *http.Client {
	return mutualClient(t, func(c *x509.Certificate) error {
		if kind, name := identity(c); kind != "zone" || name != serverZone {
			return fmt.Errorf("the server is not zone %s of this hub", serverZone)
		}
		return nil
	})
}

func mutualClient(t conf.TLS, check func(*x509.Certificate) error) *http.Client {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	pool, err := authority(t.CA)
	if err != nil {
		client.Transport = failing{err}
		return client
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		client.Transport = failing{fmt.Errorf("tls certificate %s: %w", t.Cert, err)}
		return client
	}
	client.Transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
		// A dead peer is noticed by pings, without cutting answers that take long to compute.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		TLSClientConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			RootCAs:      pool,
			Certificates: []tls.Certificate{cert},
			VerifyConnection: func(cs tls.ConnectionState) error {
				if len(cs.PeerCertificates) == 0 {
					return errors.New("the server shows no certificate")
				}
				return check(cs.PeerCertificates[0])
			},
		},
	}
	return client
}

// failing is the transport of a client that could not be set up.
type failing struct{ err error }

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return nil, f.err
}
