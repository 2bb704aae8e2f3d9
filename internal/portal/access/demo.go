package access

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// DemoPerson is somebody whom the role picker of a demonstration can sign you in as.
type DemoPerson struct {
	Role   Role
	Person string // "1", "2", or for holders the holder's name
	Name   string
	Holder string
}

// ID is the account id of a demonstration person; it does not change over restarts.
func (p DemoPerson) ID() string { return "acct-demo-" + string(p.Role) + "-" + p.Person }

// DemoPeople are the accounts of a demonstration. Citizens are not among them: they sign in with the
// identity provider, because trust wants their identity token.
var DemoPeople = []DemoPerson{
	{Researcher, "1", "Inès Moreau", ""},
	{Researcher, "2", "Tuomas Lehtinen", ""},
	{Handler, "1", "Claire Fontaine", ""},
	{Committee, "1", "Hélène Marchand", ""},
	{Committee, "2", "Pekka Niemi", ""},
	{Authority, "1", "Marc Delorme", ""},
	{Officer, "1", "Sylvie Garnier", ""},
	{Engineer, "1", "Antti Korhonen", ""},
	{Reviewer, "1", "Nadia Benali", ""},
	{Reviewer, "2", "Olivier Petit", ""},
	{Operator, "1", "Kaisa Virtanen", ""},
	{Auditor, "1", "Paul Lambert", ""},
	{Holder, "cnam", "Julie Roux", "cnam"},
	{Holder, "sante-publique", "Bruno Faure", "sante-publique"},
	{Holder, "registre-moelle", "Anne Perrin", "registre-moelle"},
	{Holder, "institut-sarcome", "Luc Girard", "institut-sarcome"},
	{Holder, "universites", "Emma Blanc", "universites"},
	{Holder, "recherche", "Hugo Masson", "recherche"},
}

func (a *Access) ensureDemoAccounts(ctx context.Context) error {
	return a.o.DB.InTx(ctx, func(tx *store.Tx) error {
		for _, p := range DemoPeople {
			_, err := selectAccount(ctx, tx, p.ID())
			if errors.Is(err, store.ErrNotFound) {
				err = insertAccount(ctx, tx, User{ID: p.ID(), Name: p.Name, Roles: []Role{p.Role}, Holder: p.Holder}, "", true, a.now())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// findDemo returns the person of a role; person "" is the first.
func findDemo(role Role, person string) (DemoPerson, bool) {
	for _, p := range DemoPeople {
		if p.Role == role && (person == "" || p.Person == person) {
			return p, true
		}
	}
	return DemoPerson{}, false
}

type demoData struct {
	page.Form
	People  []DemoPerson
	OIDC    bool
	Moved   bool
	Enclave string // front door of the enclave
}

// Roles lists the roles that have demonstration people.
func (demoData) Roles() []Role { return Roles[1:] }

func (a *Access) pageDemo(w http.ResponseWriter, r *http.Request) {
	a.o.Pages.Render(w, r, http.StatusOK, "portal/access/demo", demoData{People: DemoPeople, OIDC: a.oidc != nil, Enclave: a.o.Enclave, Moved: r.URL.Query().Get("moved") != ""})
}

// demoSignIn is the role picker: form or JSON {"role":…,"person":…}. It exists in demo mode only.
func (a *Access) demoSignIn(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Role   Role   `json:"role"`
		Person string `json:"person"`
	}
	asJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if asJSON {
		if err := httpx.Decode(r, maxBody, &in); err != nil {
			httpx.Fail(w, r, err)
			return
		}
	} else {
		in.Role, in.Person = Role(r.PostFormValue("role")), r.PostFormValue("person")
	}
	if in.Role == Citizen {
		if asJSON {
			httpx.JSON(w, http.StatusOK, map[string]string{"sign_in": "/sign-in/citizen"})
			return
		}
		http.Redirect(w, r, signInPath("/objection", true), http.StatusSeeOther)
		return
	}
	p, ok := findDemo(in.Role, in.Person)
	if !ok {
		if asJSON {
			httpx.Problem(w, r, http.StatusBadRequest, "unknown_person", "There is no such role or person in this demonstration.")
			return
		}
		a.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	if _, err := a.signIn(w, r, p.ID(), "demo"); err != nil {
		a.Fail(w, r, err)
		return
	}
	u := User{ID: p.ID(), Name: p.Name, Roles: []Role{p.Role}, Holder: p.Holder}
	if asJSON {
		httpx.JSON(w, http.StatusOK, Me{ID: u.ID, Name: u.Name, Roles: u.Roles, Holder: u.Holder, Home: HomeOf(&u)})
		return
	}
	next := HomeOf(&u)
	if n := localPath(r.PostFormValue("next")); n != "/" {
		next = n
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// maxDays is how far one move of the clock goes: the longest legal clock and some.
const maxDays = 400

// demoClock moves the hub's clock forward by days, for all zones at once: form or JSON {"days":N}.
func (a *Access) demoClock(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Days int `json:"days"`
	}
	asJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if asJSON {
		if err := httpx.Decode(r, maxBody, &in); err != nil {
			httpx.Fail(w, r, err)
			return
		}
	} else {
		in.Days, _ = strconv.Atoi(strings.TrimSpace(r.PostFormValue("days"))) // not a number: refused below
	}
	shifted, ok := a.o.Clock.(clock.Shifted)
	if in.Days < 1 || in.Days > maxDays || !ok {
		if asJSON {
			httpx.Problem(w, r, http.StatusBadRequest, "invalid", "The clock moves forward by 1 to 400 days.")
			return
		}
		d := demoData{Form: page.Form{Values: r.PostForm}, People: DemoPeople, OIDC: a.oidc != nil, Enclave: a.o.Enclave}
		d.Bad("days", "access.demo.error.days")
		a.o.Pages.Render(w, r, http.StatusUnprocessableEntity, "portal/access/demo", d)
		return
	}
	if err := shifted.Move(time.Duration(in.Days) * 24 * time.Hour); err != nil {
		a.Fail(w, r, err)
		return
	}
	if asJSON {
		httpx.JSON(w, http.StatusOK, map[string]any{"now": shifted.Now()})
		return
	}
	http.Redirect(w, r, "/demo?moved=1", http.StatusSeeOther)
}

// DemoBanner is what every page shows in demo mode.
func DemoBanner(c clock.Clock) func(*http.Request) *page.Demo {
	return func(*http.Request) *page.Demo {
		d := &page.Demo{Now: c.Now()}
		if s, ok := c.(clock.Shifted); ok {
			off, _ := s.Offset() // no file yet: not moved
			d.Shift = int(off / (24 * time.Hour))
		}
		return d
	}
}
