// Package pki makes the certificates of a hub's own authority: one authority, one certificate for each
// zone and each holder's agent. A certificate says who its bearer is in one URI, mitral://zone/<name> or
// mitral://agent/<holder>, and kit/httpx reads nothing else from it. The commands "mitral pki" call it.
// It must never hold a policy: who may call what is said by each zone's routes.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Kinds of bearer.
const (
	KindZone  = "zone"
	KindAgent = "agent"
)

// Validity of the authority and of the certificates that it issues. A certificate lasts one year, so
// that a lost key is worth nothing after it.
const (
	AuthorityValidity = 10 * 365 * 24 * time.Hour
	LeafValidity      = 365 * 24 * time.Hour
)

// DefaultHosts is where a zone listens when nothing else is said.
var DefaultHosts = []string{"localhost", "127.0.0.1", "::1"}

// ErrExists is returned when a key would be overwritten: a key that is replaced by mistake locks out
// everybody who trusts it.
var ErrExists = errors.New("the file is there already and is never overwritten")

var validName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$`)

// URI is what a certificate says about its bearer.
func URI(kind, name string) *url.URL {
	return &url.URL{Scheme: "mitral", Host: kind, Path: "/" + name}
}

// Init makes the authority in dir: ca.crt and ca.key (readable by its owner only). It refuses to
// overwrite either.
func Init(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	certPath, keyPath := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if err := absent(certPath, keyPath); err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Mitral hub authority"},
		NotBefore:             now.Add(-5 * time.Minute), // clocks of two machines may differ a little
		NotAfter:              now.Add(AuthorityValidity),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	if err := writeKey(keyPath, key); err != nil {
		return fmt.Errorf("pki init: %w", err)
	}
	return writeNew(certPath, 0o644, "CERTIFICATE", der)
}

// Issue makes a certificate for one zone or agent, signed by the authority in dir, and returns the files
// that the bearer needs: dir/<kind>-<name>.crt and .key, and ca.crt. hosts are the names and addresses it
// listens at; none means DefaultHosts. It refuses to overwrite: to renew, move the former files away.
func Issue(dir, kind, name string, hosts []string) (conf.TLS, error) {
	if kind != KindZone && kind != KindAgent {
		return conf.TLS{}, fmt.Errorf("pki issue: kind %q: want %q or %q", kind, KindZone, KindAgent)
	}
	if !validName.MatchString(name) {
		return conf.TLS{}, fmt.Errorf("pki issue: name %q: want 1 to 64 letters, digits, '_' or '-'", name)
	}
	ca, caKey, err := authority(dir)
	if err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	files := Files(dir, kind, name)
	if err := absent(files.Cert, files.Key); err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: kind + " " + name},
		NotBefore:             now.Add(-5 * time.Minute),
		NotAfter:              now.Add(LeafValidity),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{URI(kind, name)},
	}
	if len(hosts) == 0 {
		hosts = DefaultHosts
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, &key.PublicKey, caKey)
	if err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	if err := writeKey(files.Key, key); err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	if err := writeNew(files.Cert, 0o644, "CERTIFICATE", der); err != nil {
		return conf.TLS{}, fmt.Errorf("pki issue: %w", err)
	}
	return files, nil
}

// Files names the files of a bearer in the authority's directory, whether they are there or not.
func Files(dir, kind, name string) conf.TLS {
	base := filepath.Join(dir, kind+"-"+name)
	return conf.TLS{CA: filepath.Join(dir, "ca.crt"), Cert: base + ".crt", Key: base + ".key"}
}

// Certificate is what "mitral pki show" prints of one certificate.
type Certificate struct {
	File        string    `json:"file"`
	Subject     string    `json:"subject"`
	URI         string    `json:"uri,omitempty"` // empty for the authority
	Hosts       []string  `json:"hosts,omitempty"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate
	Trusted     bool      `json:"trusted"`     // signed by the authority in the same directory and in date
}

// Show lists the certificates in dir.
func Show(dir string) ([]Certificate, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return nil, fmt.Errorf("pki show: %w", err)
	}
	ca, err := readCertificate(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("pki show: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	var out []Certificate
	for _, p := range paths {
		c, err := readCertificate(p)
		if err != nil {
			return nil, fmt.Errorf("pki show: %w", err)
		}
		sum := sha256.Sum256(c.Raw)
		_, verr := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		entry := Certificate{
			File: filepath.Base(p), Subject: c.Subject.CommonName, Hosts: c.DNSNames, NotAfter: c.NotAfter.UTC(),
			Fingerprint: hex.EncodeToString(sum[:]), Trusted: verr == nil,
		}
		for _, ip := range c.IPAddresses {
			entry.Hosts = append(entry.Hosts, ip.String())
		}
		if len(c.URIs) > 0 {
			entry.URI = c.URIs[0].String()
		}
		out = append(out, entry)
	}
	return out, nil
}

func authority(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readCertificate(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, nil, fmt.Errorf("%w (make the authority first: mitral pki init)", err)
	}
	path := filepath.Join(dir, "ca.key")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, nil, fmt.Errorf("%s: not a PEM file", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: not a private key", path) // the cause may quote key bytes
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s: not an ECDSA key", path)
	}
	return cert, key, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: not a PEM file", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
}

func absent(paths ...string) error {
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			return fmt.Errorf("%s: %w", p, ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeNew(path, 0o600, "PRIVATE KEY", der)
}

// writeNew creates path whole or not at all and never replaces a file.
func writeNew(path string, mode fs.FileMode, kind string, der []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike rename, link refuses to replace
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", path, ErrExists)
		}
		return err
	}
	return nil
}
