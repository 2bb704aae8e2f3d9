package enclave

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/enclave/airlock"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/enclave/workspace"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/web"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	cookieSession   = "mitral_enclave"
	cookieChallenge = "mitral_enclave_challenge"
	challengeLife   = 2 * time.Minute
	sessionLife     = 10 * time.Hour // however active; idle sessions end earlier
	touchEvery      = 30 * time.Second
	maxForm         = 1 << 20
)

// door is the front door: who is there, what she may see, and the pages and the API that show it.
type door struct {
	*Main
	pages *page.Renderer
	// machine is the machine's clock. Sessions and challenges are measured on it, not on the hub's: a
	// demonstration that moves the legal clock by months must not sign everybody out.
	machine clock.Clock
}

func newDoor(ctx context.Context, m *Main) (*door, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := m.db.Migrate(ctx, "door", sub); err != nil {
		return nil, err
	}
	loc, err := time.LoadLocation(m.cfg.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("enclave: time_zone: %w", err)
	}
	bundle, err := web.Messages(loc)
	if err != nil {
		return nil, err
	}
	d := &door{Main: m, machine: clock.System{}}
	d.pages, err = page.New(web.Templates(), bundle, page.Options{Zone: "enclave", Name: m.cfg.HubName, Assets: web.Assets(),
		Nav: d.nav, User: d.user, Demo: d.demo, SignIn: "/sign-in", SignOut: "/sign-out"})
	return d, err
}

// visitor is who sent a request.
type visitor struct {
	session
	token    string            // hash of the cookie's value
	Who      workspace.Who     // as a person named in permits
	Member   bool              // a permit in force names her
	Reviewer *airlock.Reviewer // not nil when she is enrolled as a reviewer
}

type visitorKey struct{}

func visitorOf(r *http.Request) *visitor {
	v, _ := r.Context().Value(visitorKey{}).(*visitor)
	return v
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newToken() (token, hash string) {
	b := make([]byte, 32)
	rand.Read(b)
	token = base64.RawURLEncoding.EncodeToString(b)
	return token, hashToken(token)
}

// identify finds out who sends a request. A session whose person no permit in force names any more, and
// who is no reviewer, is ended on the spot.
func (d *door) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie(cookieSession)
		if err != nil {
			next.ServeHTTP(w, r)
			return
		}
		v, err := d.visitor(r.Context(), c.Value)
		if errors.Is(err, store.ErrNotFound) {
			http.SetCookie(w, d.cookie(cookieSession, "", -1))
			next.ServeHTTP(w, r)
			return
		}
		if err != nil {
			d.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
	})
}

func (d *door) visitor(ctx context.Context, cookie string) (*visitor, error) {
	hash := hashToken(cookie)
	s, err := selectSession(ctx, d.db, hash)
	if err != nil {
		return nil, err
	}
	now := d.machine.Now()
	if now.Sub(s.SeenAt) > d.cfg.Door.Idle || now.Sub(s.CreatedAt) > sessionLife || (s.Demo && !d.cfg.Demo) {
		return nil, errors.Join(store.ErrNotFound, endSession(ctx, d.db, hash, now))
	}
	v := &visitor{session: s, token: hash, Who: workspace.Who{ID: s.Person, SPKI: s.SPKI, AnyKey: s.Demo}}
	if v.Reviewer, err = d.reviewer(s); err != nil {
		return nil, err
	}
	if v.Member, err = d.workspaces.Member(ctx, v.Who); err != nil {
		return nil, err
	}
	if v.Reviewer == nil && !v.Member {
		err := d.db.InTx(ctx, func(tx *store.Tx) error {
			if err := d.workspaces.Record(ctx, tx, s.Person, "session.ended", s.Person, "no permit in force", nil); err != nil {
				return err
			}
			return endSession(ctx, tx, hash, now)
		})
		return nil, errors.Join(store.ErrNotFound, err)
	}
	if now.Sub(s.SeenAt) > touchEvery {
		if err := touchSession(ctx, d.db, hash, now); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// reviewer returns the enrolment that a session stands for, or nil.
func (d *door) reviewer(s session) (*airlock.Reviewer, error) {
	roll, err := d.roll.Roll()
	if err != nil {
		return nil, err
	}
	for _, e := range roll.Enrolments {
		if e.Role == "reviewer" && e.ID == s.Person && inForce(e, d.clock.Now()) && (s.Demo || bytes.Equal(e.Key.SPKI, s.SPKI)) {
			return &airlock.Reviewer{ID: e.ID, Key: e.Key}, nil
		}
	}
	return nil, nil
}

func inForce(e contract.Enrolment, now time.Time) bool {
	return !now.Before(e.EnrolledAt) && (e.RevokedAt == nil || now.Before(*e.RevokedAt))
}

func (d *door) cookie(name, value string, age int) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: strings.HasPrefix(d.cfg.Door.URL, "https://")}
}

// Who may use a route. What a person may see of a workspace is decided by the workspace itself.
type audience int

const (
	anyone audience = iota
	signedIn
	reviewers
)

// route is one line of the table that decides who may do what.
type route struct {
	pattern string // "GET /workspaces"
	who     audience
	handle  func(http.ResponseWriter, *http.Request, *visitor)
}

// routes builds the handler of the front door from the tables.
func (d *door) routes() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range d.table() {
		mux.Handle(rt.pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := visitorOf(r)
			switch {
			case rt.who != anyone && v == nil && isAPI(r):
				httpx.Problem(w, r, http.StatusUnauthorized, "sign_in", "Sign in first.")
			case rt.who != anyone && v == nil && r.Method == http.MethodGet:
				http.Redirect(w, r, "/sign-in?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			case rt.who != anyone && v == nil:
				d.pages.Error(w, r, http.StatusUnauthorized, nil)
			case rt.who == reviewers && v.Reviewer == nil:
				d.fail(w, r, contract.Refuse("not_allowed", "this is for output reviewers"))
			default:
				r.Body = http.MaxBytesReader(w, r.Body, maxForm)
				rt.handle(w, r, v)
			}
		}))
	}
	mux.Handle("GET /assets/", d.pages.Assets())
	mux.Handle("GET /ledger/", http.StripPrefix("/ledger", d.ledger.Handler()))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if isAPI(r) {
			httpx.Problem(w, r, http.StatusNotFound, "unknown", "There is no such route.")
			return
		}
		d.pages.NotFound(w, r)
	})
	return d.identify(i18n.Middleware(mux))
}

// table lists every route of the front door; the tests try each as allowed, denied and unknown.
func (d *door) table() []route {
	return append(append([]route{
		{"GET /{$}", anyone, d.home},
		{"GET /sign-in", anyone, d.signInPage},
		{"POST /sign-out", signedIn, d.signOut},
		{"POST /demo/sign-in", anyone, d.demoSignIn},
		{"GET /healthz", anyone, d.health},
	}, d.pageTable()...), d.apiTable()...)
}

func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || (strings.HasPrefix(r.URL.Path, "/demo/") && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"))
}

// statusOf turns the code of a refusal into an HTTP status.
func statusOf(code string) int {
	switch code {
	case "unknown":
		return http.StatusNotFound
	case "invalid":
		return http.StatusBadRequest
	case "conflict", "voted", "check_failed", "altered", "waiting":
		return http.StatusConflict
	case "too_many":
		return http.StatusTooManyRequests
	case "no_sandbox", "no_space":
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden // expired, closed, not_allowed, own_export, not_independent, unknown_officer, …
}

// refusalKeys are the refusals that have a text of their own for people.
var refusalKeys = map[string]string{
	"expired": "enclave.refusal.expired", "closed": "enclave.refusal.closed", "waiting": "enclave.refusal.waiting",
	"not_independent": "enclave.refusal.not_independent", "own_export": "enclave.refusal.own_export", "voted": "enclave.refusal.voted",
	"altered": "enclave.refusal.altered", "check_failed": "enclave.refusal.check_failed", "no_sandbox": "enclave.refusal.no_sandbox",
	"too_many": "enclave.refusal.too_many",
}

// fail answers with a refusal or, for everything else, a bare fault; only the log knows more.
func (d *door) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *contract.Refusal
	if !errors.As(err, &refusal) {
		d.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		if isAPI(r) {
			httpx.Fail(w, r, err)
			return
		}
		d.pages.Error(w, r, http.StatusInternalServerError, nil)
		return
	}
	status := statusOf(refusal.Code)
	if isAPI(r) {
		httpx.Problem(w, r, status, refusal.Code, refusal.Reason)
		return
	}
	var detail *page.Message
	if key, ok := refusalKeys[refusal.Code]; ok {
		detail = &page.Message{Key: key}
	}
	d.pages.Error(w, r, status, detail)
}

func (d *door) nav(r *http.Request) []page.NavItem {
	v := visitorOf(r)
	if v == nil {
		return nil
	}
	var items []page.NavItem
	if v.Member {
		items = append(items, page.NavItem{Label: "enclave.nav.workspaces", Href: "/workspaces", Active: strings.HasPrefix(r.URL.Path, "/workspaces")})
	}
	if v.Reviewer != nil {
		items = append(items, page.NavItem{Label: "enclave.nav.reviews", Href: "/reviews", Active: strings.HasPrefix(r.URL.Path, "/reviews")})
	}
	return items
}

func (d *door) user(r *http.Request) *page.User {
	v := visitorOf(r)
	if v == nil {
		return nil
	}
	u := &page.User{Name: v.Name, Role: "enclave.role.researcher"}
	if v.Reviewer != nil {
		u.Role = "enclave.role.reviewer"
	}
	return u
}

func (d *door) demo(*http.Request) *page.Demo {
	if !d.cfg.Demo {
		return nil
	}
	now := d.clock.Now()
	return &page.Demo{Now: now, Shift: int(now.Sub(d.machine.Now()).Hours() / 24)}
}

// health is 200 when jobs may run, else 503 with the reason: for the operator's monitoring.
func (d *door) health(w http.ResponseWriter, r *http.Request, _ *visitor) {
	if err := d.workspaces.SandboxErr; err != nil {
		reason := "sandbox"
		if !errors.Is(err, sandbox.ErrUnavailable) {
			reason = "self-test"
		}
		httpx.JSON(w, http.StatusServiceUnavailable, map[string]string{"status": "no jobs", "reason": reason})
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": "ok"})
}
