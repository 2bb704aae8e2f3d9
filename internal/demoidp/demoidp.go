// Package demoidp is an OpenID Connect provider for demonstrations and tests: a process of its own that
// stands where a national identity provider stands in a real hub. It signs in whoever is chosen from a
// list of invented citizens. Portal and trust talk to it as they would to any provider; neither imports
// it. It must never be used with real people.
package demoidp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/web"
)

// Citizen is one invented person of the citizens file: the JSON array that "mitral sample" writes.
type Citizen struct {
	Person     int64    `json:"person"` // makes the subject of the identity token
	GivenName  string   `json:"given_name"`
	FamilyName string   `json:"family_name"` // at birth
	UsedName   string   `json:"used_name"`   // the name in use, when it is another
	BirthDate  string   `json:"birthdate"`   // YYYY-MM-DD
	Sex        string   `json:"sex"`         // "1" man, "2" woman
	BirthPlace string   `json:"birth_place"`
	NIR        string   `json:"nir"` // with key; "" for who has none
	Tags       []string `json:"tags"`
}

// Subject is the citizen's stable name at this provider.
func (c Citizen) Subject() string { return fmt.Sprintf("citizen-%d", c.Person) }

// LastName is the name in use.
func (c Citizen) LastName() string {
	if c.UsedName != "" {
		return c.UsedName
	}
	return c.FamilyName
}

// Config of the process.
type Config struct {
	Listen       string   `yaml:"listen"`
	Issuer       string   `yaml:"issuer"` // "http://localhost:8449"
	Citizens     string   `yaml:"citizens"`
	Dir          string   `yaml:"dir"`  // keeps the signing key over restarts
	JWKS         string   `yaml:"jwks"` // public keys are written here for trust; empty: not written
	ClientID     string   `yaml:"client_id"`
	RedirectURIs []string `yaml:"redirect_uris"`
	// DemoClock is the file of the demonstration's movable clock. A token then lasts until an hour after
	// the moved time, so that trust, whose clock is moved, does not take it for expired.
	DemoClock string `yaml:"demo_clock"`
}

// Server is the running provider.
type Server struct {
	ln   net.Listener
	http *http.Server
}

// New reads citizens and key, writes the JWKS file and opens the listener.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	citizens, err := LoadCitizens(cfg.Citizens)
	if err != nil {
		return nil, err
	}
	key, err := loadKey(filepath.Join(cfg.Dir, "signing-key.pem"))
	if err != nil {
		return nil, err
	}
	st := newStorage(cfg, citizens, key)
	if cfg.JWKS != "" {
		if err := st.writeJWKS(cfg.JWKS); err != nil {
			return nil, err
		}
	}
	h, err := handler(cfg, st)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("demo identity provider: %w", err)
	}
	return &Server{ln: ln, http: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}}, nil
}

// Addr is where the provider listens.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Run serves until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(s.http.Shutdown(stop), ignoreClosed(<-done))
	}
}

// Close frees the listener of a server that does not run.
func (s *Server) Close() { s.ln.Close() }

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// LoadCitizens reads a citizens file.
func LoadCitizens(path string) ([]Citizen, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("citizens: %w", err)
	}
	var list []Citizen
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("citizens %s: %w", path, err)
	}
	seen := map[int64]bool{}
	for i, c := range list {
		if seen[c.Person] || c.GivenName == "" || c.FamilyName == "" || (c.Sex != "1" && c.Sex != "2") {
			return nil, fmt.Errorf("citizens %s: entry %d needs person (once only), given_name, family_name and sex 1 or 2", path, i+1)
		}
		seen[c.Person] = true
		if _, err := time.Parse(time.DateOnly, c.BirthDate); err != nil {
			return nil, fmt.Errorf("citizens %s: entry %d: birth_date %q is not YYYY-MM-DD", path, i+1, c.BirthDate)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("citizens %s: empty", path)
	}
	return list, nil
}

func loadKey(path string) (*rsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		return key, writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("signing key %s is not PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing key %s cannot be read", path)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key %s is not RSA", path)
	}
	return key, nil
}

// keyID is made from the key, so that it stays the same over restarts.
func keyID(key *rsa.PrivateKey) string {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return hex.EncodeToString(sum[:8])
}

func writeWhole(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (s *storage) writeJWKS(path string) error {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &s.key.PublicKey, KeyID: keyID(s.key), Algorithm: string(jose.RS256), Use: "sig"}}}
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(path, b, 0o644)
}

// handler is the protocol (zitadel/oidc) and the one page of the process: choose who you are.
func handler(cfg Config, st *storage) (http.Handler, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, fmt.Errorf("demo identity provider: issuer %q is not an address", cfg.Issuer)
	}
	var cryptoKey [32]byte
	rand.Read(cryptoKey[:])
	opts := []op.Option{op.WithLogger(slog.New(slog.DiscardHandler))}
	if issuer.Scheme == "http" {
		opts = append(opts, op.WithAllowInsecure()) // on the machine of the demonstration
	}
	provider, err := op.NewProvider(&op.Config{CryptoKey: cryptoKey, CodeMethodS256: true,
		SupportedScopes: []string{"openid", "profile", "nir"},
		SupportedClaims: []string{"sub", "given_name", "family_name", "birth_family_name", "birthdate", "gender", "nir"},
	}, st, op.StaticIssuer(cfg.Issuer), opts...)
	if err != nil {
		return nil, fmt.Errorf("demo identity provider: %w", err)
	}
	bundle, err := web.Messages(nil)
	if err != nil {
		return nil, err
	}
	pages, err := page.New(web.Templates(), bundle, page.Options{Zone: "demo", Name: "Démo-ID", Assets: web.Assets()})
	if err != nil {
		return nil, err
	}
	interceptor := op.NewIssuerInterceptor(provider.IssuerFromRequest)
	callback := op.AuthCallbackURL(provider)
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", pages.Assets())
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("request")
		if _, err := st.AuthRequestByID(r.Context(), id); err != nil {
			pages.Error(w, r, http.StatusBadRequest, page.M("demoidp.over"))
			return
		}
		pages.Render(w, r, http.StatusOK, "demo/idp", loginData{ID: id, Citizens: st.citizens})
	})
	mux.HandleFunc("POST /login", interceptor.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, sub := r.PostFormValue("request"), r.PostFormValue("citizen")
		if sub == "" {
			d := loginData{ID: id, Citizens: st.citizens}
			d.Bad("citizen", "demoidp.error.choose")
			pages.Render(w, r, http.StatusUnprocessableEntity, "demo/idp", d)
			return
		}
		if err := st.choose(id, sub); err != nil {
			pages.Error(w, r, http.StatusBadRequest, page.M("demoidp.over"))
			return
		}
		http.Redirect(w, r, callback(r.Context(), id), http.StatusSeeOther)
	}))
	mux.Handle("/", provider)
	// The login form leads back to the relying parties by redirect.
	var targets []string
	for _, u := range cfg.RedirectURIs {
		if p, err := url.Parse(u); err == nil && !slices.Contains(targets, p.Scheme+"://"+p.Host) {
			targets = append(targets, p.Scheme+"://"+p.Host)
		}
	}
	return i18n.Middleware(httpx.Secure(mux, targets...)), nil
}

type loginData struct {
	page.Form
	ID       string
	Citizens []Citizen
}
