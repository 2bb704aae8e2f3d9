package access

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/web"
)

// room opens the room on a database of its own, with a clock that the test moves.
func room(t *testing.T) (*Access, *time.Time) {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	quiet := slog.New(slog.DiscardHandler)
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(dir, "ledger"), Zone: "portal", DB: db, Jobs: jobs.New(db, quiet), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	texts, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(web.Templates(), texts, page.Options{Zone: "portal"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), Options{DB: db, Ledger: l, Pages: pages, Clock: clock.System{}, Log: quiet, Dir: dir,
		PublicURL: "https://portal.example", RPID: "portal.example", Demo: true})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)
	a.now = func() time.Time { return now }
	return a, &now
}

// signedIn opens a session and returns its cookie.
func signedIn(t *testing.T, a *Access, account string) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	if _, err := a.signIn(w, httptest.NewRequest("POST", "/demo/sign-in", nil), account, "demo"); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		if c.Name == CookieName {
			return c
		}
	}
	t.Fatal("no session cookie")
	return nil
}

// visit sends a request with a cookie through the middleware and returns who the handler sees.
func visit(a *Access, c *http.Cookie) *User {
	var u *User
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	a.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { u = UserFrom(r.Context()) })).ServeHTTP(httptest.NewRecorder(), r)
	return u
}

func TestSessionLimits(t *testing.T) {
	a, now := room(t)
	c := signedIn(t, a, "acct-demo-handler-1")
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie %+v", c)
	}
	start := *now
	for *now = start; now.Sub(start) < AbsoluteLimit; *now = now.Add(IdleLimit - time.Minute) { // in use
		if u := visit(a, c); u == nil || u.ID != "acct-demo-handler-1" || !u.Has(Handler) {
			t.Fatalf("after %s: %+v", now.Sub(start), u)
		}
	}
	*now = start.Add(AbsoluteLimit)
	if visit(a, c) != nil {
		t.Error("signed in after the absolute limit")
	}
	c = signedIn(t, a, "acct-demo-handler-1")
	*now = now.Add(IdleLimit + time.Second)
	if visit(a, c) != nil {
		t.Error("signed in after the idle limit")
	}
}

func TestDatabaseSignsNobodyIn(t *testing.T) {
	a, _ := room(t)
	c := signedIn(t, a, "acct-demo-handler-1")
	var hash string
	if err := a.o.DB.QueryRow(t.Context(), `SELECT token_hash FROM sessions`).Scan(&hash); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(hash, c.Value) || visit(a, &http.Cookie{Name: CookieName, Value: hash}) != nil {
		t.Error("what is in the database works as a cookie")
	}
	if visit(a, &http.Cookie{Name: CookieName, Value: c.Value[1:] + "A"}) != nil {
		t.Error("an altered cookie works")
	}
}

func TestSealedTextOpensForItsSessionOnly(t *testing.T) {
	a, _ := room(t)
	sealed := a.secrets.sealText("token", "session-1")
	if got, ok := a.secrets.openText(sealed, "session-1"); !ok || got != "token" {
		t.Errorf("%q %v", got, ok)
	}
	for _, bad := range [][2]string{{sealed, "session-2"}, {sealed[:len(sealed)-2] + "AA", "session-1"}, {"", "session-1"}, {"%", "session-1"}} {
		if _, ok := a.secrets.openText(bad[0], bad[1]); ok {
			t.Errorf("%q opens for %s", bad[0], bad[1])
		}
	}
	b, err := loadSecrets(filepath.Join(a.o.Dir, "access.key"))
	if err != nil {
		t.Fatal(err)
	}
	if b.subjectHash("i", "s") != a.secrets.subjectHash("i", "s") || b.subjectHash("is", "") == b.subjectHash("i", "s") {
		t.Error("the hash of a subject must stay the same over restarts and tell issuer and subject apart")
	}
}

func TestCeremoniesAreTakenOnceAndInTime(t *testing.T) {
	a, now := room(t)
	take := func(token, kind string) error {
		return a.o.DB.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := takeCeremony(t.Context(), tx, tokenHash(token), kind, *now)
			return err
		})
	}
	token, err := a.keepCeremony(t.Context(), ceremonySignIn, "", "x")
	if err != nil {
		t.Fatal(err)
	}
	if take(token, ceremonyEnrol) == nil {
		t.Error("taken as another kind")
	}
	if err := take(token, ceremonySignIn); err != nil {
		t.Error(err)
	}
	if take(token, ceremonySignIn) == nil {
		t.Error("taken twice")
	}
	late, err := a.keepCeremony(t.Context(), ceremonySignIn, "", "x")
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(ceremonyLimit)
	if take(late, ceremonySignIn) == nil {
		t.Error("taken too late")
	}
	if err := sweep(t.Context(), a.o.DB, *now); err != nil {
		t.Fatal(err)
	}
	var left int64
	if err := a.o.DB.QueryRow(t.Context(), `SELECT COUNT(*) FROM ceremonies`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d ceremonies left, %v", left, err)
	}
}

func TestLocalPath(t *testing.T) {
	for next, want := range map[string]string{"/a?b=c": "/a?b=c", "//evil": "/", "https://evil": "/", "/\\evil": "/", "": "/", "/a\r\nX: y": "/"} {
		if got := localPath(next); got != want {
			t.Errorf("%q: %q", next, got)
		}
	}
}
