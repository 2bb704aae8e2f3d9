package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// HomeOf is the page where a person's work starts.
func HomeOf(u *User) string {
	if u != nil {
		for _, h := range []struct {
			role Role
			path string
		}{
			{Officer, "/cases"}, {Handler, "/cases"}, {Committee, "/cases"}, {Authority, "/cases"}, {Researcher, "/applications"},
			{Holder, "/datasets"}, {Engineer, "/account"}, {Operator, "/operator"}, {Auditor, "/operator"}, {Reviewer, "/account"}, {Citizen, "/objection"},
		} {
			if u.Has(h.role) {
				return h.path
			}
		}
	}
	return "/"
}

type signInData struct {
	Next string
	OIDC bool
	Demo bool
}

// CitizenNext is where a citizen goes after signing in.
func (d signInData) CitizenNext() string {
	if d.Next == "/" {
		return ""
	}
	return d.Next
}

func (a *Access) pageSignIn(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if u := UserFrom(r.Context()); u != nil && next == "/" {
		http.Redirect(w, r, HomeOf(u), http.StatusSeeOther)
		return
	}
	a.o.Pages.Render(w, r, http.StatusOK, "portal/access/sign-in", signInData{Next: next, OIDC: a.oidc != nil, Demo: a.o.Demo})
}

type accountData struct {
	User     *User
	Passkeys []passkeyRow
	CanEnrol bool   // may register passkeys at all
	Download bool   // may download the enrolment file
	Enclave  string // front door of the enclave, for those who work there
	Added    bool
}

type passkeyRow struct {
	Passkey
	ID string // base64url of the credential id
}

func (a *Access) pageAccount(w http.ResponseWriter, r *http.Request) {
	u := UserFrom(r.Context())
	if u == nil {
		http.Redirect(w, r, signInPath("/account", false), http.StatusSeeOther)
		return
	}
	keys, err := selectPasskeys(r.Context(), a.o.DB, u.ID)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	d := accountData{User: u, CanEnrol: Allow(r, PasskeyEnrol, Resource{}) == nil, Added: r.URL.Query().Get("added") != "",
		Download: Allow(r, EnrolmentRead, Resource{}) == nil && len(keys) > 0}
	if u.Has(Reviewer) || u.Has(Researcher) {
		d.Enclave = a.o.Enclave
	}
	for _, k := range keys {
		d.Passkeys = append(d.Passkeys, passkeyRow{k, rawURL(k.CredentialID)})
	}
	a.o.Pages.Render(w, r, http.StatusOK, "portal/access/account", d)
}

func (a *Access) removePasskey(w http.ResponseWriter, r *http.Request) {
	u := UserFrom(r.Context())
	if err := Allow(r, PasskeyEnrol, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	id, err := base64.RawURLEncoding.DecodeString(r.PathValue("id"))
	if err != nil {
		a.notFound(w, r)
		return
	}
	err = a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		if err := deletePasskey(r.Context(), tx, u.ID, id); err != nil {
			return err
		}
		return a.record(r.Context(), tx, u.ID, "access.passkey_remove", u.ID, nil)
	})
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

// invitation is what a link given to a new person holds.
const (
	ceremonyInvite  = "invitation"
	invitationLimit = 72 * time.Hour
)

// Invite makes an account and returns the token of a link that signs its person in once, to register
// the first passkey. The link is good for three days.
func (a *Access) Invite(ctx context.Context, actor string, u User) (token string, err error) {
	if err := Incompatible(u.Roles); err != nil {
		return "", err
	}
	u.ID = contract.NewID("acct")
	token, hash := newToken()
	err = a.o.DB.InTx(ctx, func(tx *store.Tx) error {
		if err := insertAccount(ctx, tx, u, "", false, a.now()); err != nil {
			return err
		}
		if err := insertCeremony(ctx, tx, hash, ceremony{ceremonyInvite, u.ID, "{}"}, a.now().Add(invitationLimit)); err != nil {
			return err
		}
		return a.record(ctx, tx, actor, "access.invite", u.ID, map[string]any{"roles": u.Roles})
	})
	return token, err
}

// HasOperator reports whether anybody can run this hub; if not, the portal makes a first invitation.
func (a *Access) HasOperator(ctx context.Context) (bool, error) {
	n, err := countRole(ctx, a.o.DB, Operator)
	return n > 0, err
}

func (a *Access) pageWelcome(w http.ResponseWriter, r *http.Request) {
	c, err := peekCeremony(r.Context(), a.o.DB, tokenHash(r.PathValue("token")), ceremonyInvite, a.now())
	if err != nil {
		a.o.Pages.Error(w, r, http.StatusNotFound, page.M("access.welcome.over"))
		return
	}
	acc, err := selectAccount(r.Context(), a.o.DB, c.Account)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	a.o.Pages.Render(w, r, http.StatusOK, "portal/access/welcome", acc)
}

// acceptInvitation takes the invitation: from here on the link is worth nothing.
func (a *Access) acceptInvitation(w http.ResponseWriter, r *http.Request) {
	var account string
	err := a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		c, err := takeCeremony(r.Context(), tx, tokenHash(r.PathValue("token")), ceremonyInvite, a.now())
		account = c.Account
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		a.o.Pages.Error(w, r, http.StatusNotFound, page.M("access.welcome.over"))
		return
	}
	if err == nil {
		_, err = a.signIn(w, r, account, "invitation")
	}
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

type operatorData struct {
	page.Form
	Sessions []Session
	Accounts []Account
	Roles    []Role
	Me       string // own session
	Manage   bool
	Link     string // of an invitation just made
}

func (a *Access) pageOperator(w http.ResponseWriter, r *http.Request) {
	a.showOperator(w, r, http.StatusOK, operatorData{})
}

func (a *Access) showOperator(w http.ResponseWriter, r *http.Request, status int, d operatorData) {
	if err := Allow(r, SessionList, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	now := a.now()
	var err1, err2 error
	d.Sessions, err1 = selectOpenSessions(r.Context(), a.o.DB, now, now.Add(-IdleLimit))
	d.Accounts, err2 = selectStaff(r.Context(), a.o.DB)
	if err := errors.Join(err1, err2); err != nil {
		a.Fail(w, r, err)
		return
	}
	d.Roles = slices.DeleteFunc(slices.Clone(Roles), func(x Role) bool { return x == Citizen })
	d.Manage = Allow(r, AccountManage, Resource{}) == nil
	if s := sessionFrom(r.Context()); s != nil {
		d.Me = s.ID
	}
	a.o.Pages.Render(w, r, status, "portal/access/operator", d)
}

// createAccount invites a person. Roles that must be kept apart are refused here (Art. 55(3)).
func (a *Access) createAccount(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, AccountManage, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		a.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	d := operatorData{Form: page.Form{Values: r.PostForm}}
	u := User{Name: strings.TrimSpace(r.PostForm.Get("name")), Holder: strings.TrimSpace(r.PostForm.Get("holder"))}
	if u.Name == "" || len(u.Name) > 120 {
		d.Bad("name", "access.operator.error.name")
	}
	for _, v := range r.PostForm["role"] {
		if role := Role(v); role != Citizen && slices.Contains(Roles, role) {
			u.Roles = append(u.Roles, role)
		}
	}
	var inc *ErrIncompatible
	switch {
	case len(u.Roles) == 0:
		d.Bad("role", "access.operator.error.role")
	case errors.As(Incompatible(u.Roles), &inc):
		d.Bad("role", "access.operator.error.incompatible", "a", a.roleName(r, inc.A), "b", a.roleName(r, inc.B))
	}
	if u.Has(Holder) != (u.Holder != "") || (u.Holder != "" && !contract.ValidName(u.Holder)) {
		d.Bad("holder", "access.operator.error.holder")
	}
	if len(d.Errors) > 0 {
		a.showOperator(w, r, http.StatusUnprocessableEntity, d)
		return
	}
	token, err := a.Invite(r.Context(), UserFrom(r.Context()).ID, u)
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	d.Values = nil
	d.Link = a.o.PublicURL + "/welcome/" + token
	a.showOperator(w, r, http.StatusCreated, d)
}

func (a *Access) roleName(r *http.Request, role Role) string {
	return a.o.Pages.T(r, "access.role."+string(role))
}

func (a *Access) disableAccount(w http.ResponseWriter, r *http.Request) {
	u := UserFrom(r.Context())
	if err := Allow(r, AccountManage, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	id := r.PathValue("id")
	if id == u.ID { // nobody locks themselves out
		a.o.Pages.Error(w, r, http.StatusConflict, page.M("access.operator.error.self"))
		return
	}
	err := a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		if err := setDisabled(r.Context(), tx, id, a.now()); err != nil {
			return err
		}
		return a.record(r.Context(), tx, u.ID, "access.disable", id, nil)
	})
	if err != nil {
		a.Fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/operator", http.StatusSeeOther)
}

// revoke ends a session at once, for pages and for the API.
func (a *Access) revoke(w http.ResponseWriter, r *http.Request) {
	if err := Allow(r, SessionRevoke, Resource{}); err != nil {
		a.Refuse(w, r, err)
		return
	}
	id, actor := r.PathValue("id"), UserFrom(r.Context()).ID
	err := a.o.DB.InTx(r.Context(), func(tx *store.Tx) error {
		done, err := revokeSession(r.Context(), tx, id, a.now())
		if err != nil || !done {
			return errors.Join(err, boolErr(!done, store.ErrNotFound))
		}
		return a.record(r.Context(), tx, actor, "access.revoke", id, nil)
	})
	switch {
	case err != nil:
		a.Fail(w, r, err)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Redirect(w, r, "/operator", http.StatusSeeOther)
	}
}

func boolErr(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}
