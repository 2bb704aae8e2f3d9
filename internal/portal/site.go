package portal

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
)

// routes registers what belongs to no room: start page, explanations, ledgers, health, built files.
func (m *Main) routes(mux *http.ServeMux, operations huma.API) {
	mux.HandleFunc("GET /{$}", m.home)
	mux.HandleFunc("GET /how-data-are-used", m.still("portal/how"))
	mux.HandleFunc("GET /accessibility", m.still("portal/accessibility"))
	mux.Handle("GET /assets/", m.pages.Assets())
	mux.Handle("GET /api/docs", api.DocsPage(operations, m.pages))
	mux.HandleFunc("GET /healthz", m.health)
	mux.HandleFunc("GET /ledger", m.ledgers)
	mux.HandleFunc("GET /ledger/{zone}/{file...}", m.ledgerFile)
}

// still serves a page without data.
func (m *Main) still(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { m.pages.Render(w, r, http.StatusOK, name, nil) }
}

type homeData struct {
	Home string // where a signed-in person's work starts; "" for visitors
	Role access.Role
}

func (m *Main) home(w http.ResponseWriter, r *http.Request) {
	d := homeData{}
	if u := access.UserFrom(r.Context()); u != nil && len(u.Roles) > 0 {
		d.Home, d.Role = access.HomeOf(u), u.Roles[0]
	}
	m.pages.Render(w, r, http.StatusOK, "portal/home", d)
}

// health says whether the portal can work: 200 and "ok", or 503 and what is missing.
func (m *Main) health(w http.ResponseWriter, r *http.Request) {
	if err := m.db.Ping(r.Context()); err != nil {
		m.log.Error("health", "error", err)
		httpx.Problem(w, r, http.StatusServiceUnavailable, "database", "The database does not answer.")
		return
	}
	stuck, err := m.jobs.Stuck(r.Context())
	if err != nil {
		m.log.Error("health", "error", err)
		httpx.Problem(w, r, http.StatusServiceUnavailable, "jobs", "The list of jobs does not answer.")
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"status": "ok", "stuck_jobs": len(stuck)})
}

// ledgerRow is one zone's ledger as the page shows it.
type ledgerRow struct {
	orderbook.ZoneCheckpoint
	Own bool // the portal's: the whole log can be fetched here
}

func (m *Main) ledgers(w http.ResponseWriter, r *http.Request) {
	list, err := m.book.Checkpoints(r.Context())
	if err != nil {
		m.access.Fail(w, r, err)
		return
	}
	rows := []ledgerRow{{ZoneCheckpoint: orderbook.ZoneCheckpoint{Zone: "portal", VerifierKey: m.ledger.VerifierKey()}, Own: true}}
	for _, c := range list {
		rows = append(rows, ledgerRow{ZoneCheckpoint: c})
	}
	m.pages.Render(w, r, http.StatusOK, "portal/ledger", map[string]any{"Rows": rows, "URL": m.cfg.PublicURL})
}

// ledgerFile publishes the portal's own log as a whole, and the newest signed head and the verifier key
// of each inner zone's. Their logs stay in the zones, where operators and auditors verify them.
func (m *Main) ledgerFile(w http.ResponseWriter, r *http.Request) {
	zone, file := r.PathValue("zone"), r.PathValue("file")
	if zone == "portal" {
		http.StripPrefix("/ledger/portal/", m.ledger.Handler()).ServeHTTP(w, r)
		return
	}
	list, err := m.book.Checkpoints(r.Context())
	if err != nil {
		m.access.Fail(w, r, err)
		return
	}
	for _, c := range list {
		text := map[string]string{"checkpoint": c.Checkpoint, "ledger.pub": c.VerifierKey + "\n"}[file]
		if c.Zone == zone && text != "" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			w.Write([]byte(text))
			return
		}
	}
	m.pages.NotFound(w, r)
}

// catchAll answers addresses and methods that no room has with our pages, not with bare text.
func (m *Main) catchAll(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		status := http.StatusNotFound
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "" {
				status = http.StatusMethodNotAllowed
			}
		}
		switch {
		case !access.IsAPI(r):
			m.pages.Error(w, r, status, nil)
		case status == http.StatusNotFound:
			httpx.Problem(w, r, status, "not_found", "There is nothing at this address.")
		default:
			httpx.Problem(w, r, status, "method", "This address exists but not for this method.")
		}
	})
}

// navigation is the main menu: what everybody sees, then what the person's roles work with.
func navigation(r *http.Request) []page.NavItem {
	items := []page.NavItem{
		{Label: "portal.nav.datasets", Href: "/datasets"},
		{Label: "portal.nav.register", Href: "/register"},
	}
	u := access.UserFrom(r.Context())
	add := func(label, href string) { items = append(items, page.NavItem{Label: label, Href: href}) }
	if u == nil || u.Has(access.Citizen) {
		add("portal.nav.objection", "/objection")
	}
	if u.Has(access.Researcher) {
		add("portal.nav.count", "/feasibility")
		add("portal.nav.applications", "/applications")
	}
	if u.Has(access.Holder) {
		add("portal.nav.holder", "/holder")
	}
	if u.Has(access.Handler) || u.Has(access.Committee) || u.Has(access.Authority) || u.Has(access.Officer) || u.Has(access.Auditor) {
		add("portal.nav.cases", "/cases")
	}
	if u.Has(access.Officer) || u.Has(access.Handler) {
		add("portal.nav.mandates", "/decisions/mandates")
	}
	if u.Has(access.Operator) || u.Has(access.Auditor) {
		add("portal.nav.operator", "/operator")
	}
	if u != nil && !u.Has(access.Citizen) {
		add("portal.nav.account", "/account")
	}
	for i := range items {
		items[i].Active = r.URL.Path == items[i].Href || strings.HasPrefix(r.URL.Path, items[i].Href+"/")
	}
	return items
}
