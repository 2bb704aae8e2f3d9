package access

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Limits of a session. They are measured on the machine's clock, not on the hub's: a demonstration that
// moves the legal clock by two months must not sign everybody out.
const (
	IdleLimit     = 30 * time.Minute
	AbsoluteLimit = 10 * time.Hour
	touchEvery    = time.Minute // how exact SeenAt is; saves a write on every request
)

// CookieName is the cookie of a session at the portal.
const CookieName = "mitral_portal"

// Middleware finds out who sends each request and makes the policies known to Allow.
func (a *Access) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), policyKey, a.policies)
		if c, err := r.Cookie(CookieName); err == nil {
			s, u, err := a.session(ctx, c.Value)
			switch {
			case err == nil:
				ctx = context.WithValue(WithUser(ctx, &u), sessionKey, &s)
				if id, err := r.Cookie(identityCookie); err == nil {
					ctx = context.WithValue(ctx, identityKey, id.Value)
				}
			case errors.Is(err, store.ErrNotFound):
				a.dropCookie(w, CookieName) // over or revoked: the page says "sign in" where that is needed
			default:
				a.o.Log.Error("session lookup", "error", err)
				a.Fail(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// session returns who a cookie signs in; store.ErrNotFound when it signs in nobody any more.
func (a *Access) session(ctx context.Context, token string) (Session, User, error) {
	s, u, err := selectSession(ctx, a.o.DB, tokenHash(token))
	if err != nil {
		return s, u, err
	}
	now := a.now()
	if !s.RevokedAt.IsZero() || !now.Before(s.EndsAt) || now.Sub(s.SeenAt) > IdleLimit {
		return s, u, store.ErrNotFound
	}
	if now.Sub(s.SeenAt) > touchEvery {
		if err := touchSession(ctx, a.o.DB, s.ID, now); err != nil {
			return s, u, err
		}
	}
	return s, u, nil
}

// signIn opens a session for an account and sets its cookie. A session that the browser already had is
// ended: a new sign-in never inherits an old token.
func (a *Access) signIn(w http.ResponseWriter, r *http.Request, account, how string) (Session, error) {
	now := a.now()
	token, hash := newToken()
	s := Session{ID: contract.NewID("session"), Account: account, How: how, CreatedAt: now, SeenAt: now, EndsAt: now.Add(AbsoluteLimit)}
	err := a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		if old := sessionFrom(r.Context()); old != nil {
			if _, err := revokeSession(r.Context(), tx, old.ID, now); err != nil {
				return err
			}
		}
		if err := insertSession(r.Context(), tx, s, hash); err != nil {
			return err
		}
		return a.record(r.Context(), tx, publicActor(account, how), "access.sign_in", s.ID, map[string]any{"how": how})
	})
	if err != nil {
		return s, err
	}
	a.dropCookie(w, identityCookie)
	a.setCookie(w, CookieName, token, 0)
	return s, nil
}

func (a *Access) signOut(w http.ResponseWriter, r *http.Request) {
	if s := sessionFrom(r.Context()); s != nil {
		err := a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
			if _, err := revokeSession(r.Context(), tx, s.ID, a.now()); err != nil {
				return err
			}
			return a.record(r.Context(), tx, publicActor(s.Account, s.How), "access.sign_out", s.ID, nil)
		})
		if err != nil {
			a.Fail(w, r, err)
			return
		}
	}
	a.dropCookie(w, CookieName)
	a.dropCookie(w, identityCookie)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// cookie is one that scripts cannot read; maxAge 0 means until the browser is closed.
func (a *Access) cookie(name, value string, maxAge time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(maxAge / time.Second),
		HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode}
}

func (a *Access) setCookie(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	http.SetCookie(w, a.cookie(name, value, maxAge))
}

func (a *Access) dropCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, a.cookie(name, "", -time.Second))
}

// publicActor is who acted, as the public ledger may say it: citizens are not told apart.
func publicActor(account, how string) string {
	if how == "oidc" {
		return "citizen"
	}
	return account
}

func sessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey).(*Session)
	return s
}

// record writes to the ledger with the business row. Details hold no identities.
func (a *Access) record(ctx context.Context, tx *store.Tx, actor, action, target string, details map[string]any) error {
	return a.o.Ledger.Record(ctx, tx, ledger.Entry{Actor: actor, Action: action, Target: target, Outcome: "done", Details: details, At: a.o.Clock.Now()})
}
