// Package portal is the public zone: what browsers, programs and the inner zones' order book polling
// meet. Main opens the rooms and serves two listeners: one for browsers, one with mutual TLS for the
// inner zones. The portal holds no health data, no pseudonyms, no identities of patients and no key that
// opens data; it never dials an inner zone.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
	"github.com/mitral-health/mitral/internal/portal/register"
	"github.com/mitral-health/mitral/web"
)

// Main is the portal with its rooms open.
type Main struct {
	cfg       Config
	log       *slog.Logger
	db        *store.DB
	jobs      *jobs.Client
	ledger    *ledger.Ledger
	clock     clock.Clock
	pages     *page.Renderer
	access    *access.Access
	book      *orderbook.Book
	catalogue *catalogue.Catalogue
	register  *register.Register

	public  http.Handler
	started chan struct{} // closed when both listeners are open
	addrs   [2]string     // public, order book
}

// maxRequest bounds a request of a browser, in bytes: documents of an application are the largest.
const maxRequest = 25 << 20

// New opens the database, applies migrations and builds the rooms. It listens to nothing yet.
func New(ctx context.Context, cfg Config, log *slog.Logger) (_ *Main, err error) {
	cfg, loc, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	m := &Main{cfg: cfg, log: log, clock: clock.From(cfg.DemoClock), started: make(chan struct{})}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.db, err = store.Open(ctx, cfg.DSN()); err != nil {
		return nil, err
	}
	m.jobs = jobs.New(m.db, log)
	m.ledger, err = ledger.Open(ctx, ledger.Options{Dir: filepath.Join(cfg.Dir, "ledger"), Zone: "portal", DB: m.db, Jobs: m.jobs, Log: log})
	if err != nil {
		return nil, err
	}
	texts, err := web.Messages(loc)
	if err != nil {
		return nil, err
	}
	options := page.Options{Zone: "portal", Name: cfg.Name, Assets: web.Assets(), Nav: navigation, User: access.PageUser, SignIn: "/sign-in", SignOut: "/sign-out"}
	if cfg.Demo {
		options.Demo = access.DemoBanner(m.clock)
	}
	if m.pages, err = page.New(web.Templates(), texts, options); err != nil {
		return nil, err
	}
	if err = m.open(ctx, texts); err != nil {
		return nil, err
	}
	return m, nil
}

// open builds rooms and public handler.
func (m *Main) open(ctx context.Context, texts *i18n.Bundle) error {
	mux := http.NewServeMux()
	operations := api.New(mux, "1")
	if err := m.openRooms(ctx, mux, operations, texts); err != nil {
		return err
	}
	m.routes(mux, operations)

	forms := []string{} // where forms of ours may lead besides home
	for _, address := range []string{m.cfg.OIDC.Issuer, m.cfg.DemoKeyURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			forms = append(forms, u.Scheme+"://"+u.Host)
		}
	}
	h := http.MaxBytesHandler(i18n.Middleware(m.access.Middleware(m.catchAll(mux))), maxRequest)
	m.public = httpx.Secure(gzhttp.GzipHandler(h), forms...)
	return m.inviteFirstOperator(ctx)
}

// inviteFirstOperator writes a link for the first operator of a new hub, for whoever installs it.
func (m *Main) inviteFirstOperator(ctx context.Context) error {
	if has, err := m.access.HasOperator(ctx); err != nil || has {
		return err
	}
	token, err := m.access.Invite(ctx, "installation", access.User{Name: "Operator", Roles: []access.Role{access.Operator}})
	if err != nil {
		return err
	}
	file := filepath.Join(m.cfg.Dir, "first-operator-link")
	m.log.Info("a link for the first operator, good for three days, is in " + file)
	return os.WriteFile(file, []byte(m.cfg.PublicURL+"/welcome/"+token+"\n"), 0o600)
}

// Handler is the public listener's handler, for tests.
func (m *Main) Handler() http.Handler { return m.public }

// Run serves until ctx is done, and returns within 10 seconds after that.
func (m *Main) Run(ctx context.Context) error {
	if err := m.jobs.Start(ctx); err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	public, err := httpx.ServePublic(serving, m.cfg.PublicListen, m.cfg.PublicCert, m.cfg.PublicKey, m.public)
	if err != nil {
		return errors.Join(err, m.stopJobs(ctx))
	}
	servers := []*httpx.Server{public}
	m.addrs[0] = public.Addr()
	if m.cfg.Listen != "" {
		book, err := httpx.ServeMutual(serving, m.cfg.Listen, m.cfg.TLS, m.book.Handler())
		if err != nil {
			return errors.Join(err, m.stopJobs(ctx))
		}
		servers = append(servers, book)
		m.addrs[1] = book.Addr()
	}
	close(m.started)
	m.log.Info("portal is open", "public", m.cfg.PublicURL)
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Shutdown(end))
	}
	return errors.Join(append(errs, m.jobs.Stop(end))...)
}

func (m *Main) stopJobs(ctx context.Context) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return m.jobs.Stop(end)
}

// Addresses returns where the public and the order book listener are, once Run has opened them.
func (m *Main) Addresses(ctx context.Context) (public, orders string, err error) {
	select {
	case <-m.started:
		return m.addrs[0], m.addrs[1], nil
	case <-ctx.Done():
		return "", "", ctx.Err()
	}
}

// Close releases database and ledger. Run must have returned.
func (m *Main) Close() {
	if m.catalogue != nil {
		if err := m.catalogue.Close(); err != nil {
			m.log.Warn("catalogue", "error", err)
		}
	}
	if m.ledger != nil {
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.ledger.Close(end); err != nil {
			m.log.Warn("ledger", "error", err)
		}
	}
	if m.db != nil {
		m.db.Close()
	}
}
