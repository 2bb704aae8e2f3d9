// Package gatewaytest sets up a gateway as the portal has it, with a real database, ledger, order book,
// access and register, people with virtual passkeys, and a clock that tests move. Tests of the rooms
// gateway and register use it; no program may import it.
package gatewaytest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
	"github.com/mitral-health/mitral/internal/portal/register"
	"github.com/mitral-health/mitral/procedures"
	"github.com/mitral-health/mitral/web"
)

// The people of the tests.
var (
	Rita   = gateway.Actor{ID: "acct-rita", Name: "Rita Researcher", Roles: []string{"researcher"}}
	Paul   = gateway.Actor{ID: "acct-paul", Name: "Paul Partner", Roles: []string{"researcher"}}
	Hanna  = gateway.Actor{ID: "acct-hanna", Name: "Hanna Handler", Roles: []string{"handler"}}
	Claire = gateway.Actor{ID: "acct-claire", Name: "Claire Committee", Roles: []string{"committee"}}
	Anne   = gateway.Actor{ID: "acct-anne", Name: "Anne Authority", Roles: []string{"authority"}}
	Otto   = gateway.Actor{ID: "acct-otto", Name: "Otto Officer", Roles: []string{"officer"}}
	Audrey = gateway.Actor{ID: "acct-audrey", Name: "Audrey Auditor", Roles: []string{"auditor"}}
	Nobody = gateway.Actor{ID: "acct-nobody", Name: "Nobody"}
	Multi  = gateway.Actor{ID: "acct-multi", Name: "Multi", Roles: []string{"researcher", "handler", "committee", "authority", "officer"}}
)

// People lists them.
var People = []gateway.Actor{Rita, Paul, Hanna, Claire, Anne, Otto, Audrey, Nobody, Multi}

// Clock stands still until a test moves it.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock starts on Monday 12 January 2026, 9:00 UTC.
func NewClock() *Clock { return &Clock{t: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)} }

func (c *Clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

// Move goes forward by d.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// House is a portal with the rooms around the gateway.
type House struct {
	*gateway.Gateway
	T        testing.TB
	DB       *store.DB
	Clock    *Clock
	Book     *orderbook.Book
	Jobs     *jobs.Client
	Register *register.Register
	API      huma.API
	Keys     map[string]*contracttest.Officer
	handler  http.Handler
}

// New opens a house on a database.
func New(t testing.TB, db *store.DB, clock *Clock) *House {
	t.Helper()
	return NewAt(t, db, clock, contracttest.RPID, contracttest.Origin)
}

// NewAt opens a house for passkeys of a relying party that are used at an origin.
func NewAt(t testing.TB, db *store.DB, clock *Clock, rpID, origin string) *House {
	t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &House{T: t, DB: db, Clock: clock, Keys: map[string]*contracttest.Officer{}}
	for _, u := range []gateway.Actor{Rita, Paul, Otto, Multi} {
		h.Keys[u.ID] = contracttest.NewOfficer(t, u.ID)
	}
	h.Jobs = jobs.New(db, log)
	fatal(h.Jobs.Migrate(ctx))
	led, err := ledger.Open(ctx, ledger.Options{Dir: t.TempDir(), Zone: "portal", DB: db, Jobs: h.Jobs, Log: log})
	fatal(err)
	t.Cleanup(func() {
		if err := led.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.Book, err = orderbook.New(ctx, orderbook.Options{DB: db, Dir: t.TempDir(), Clock: clock, Log: log})
	fatal(err)
	text, err := web.Messages(time.UTC)
	fatal(err)
	ps, err := gateway.LoadProcedures(procedures.FS)
	fatal(err)
	h.Gateway, err = gateway.New(ctx, gateway.Options{DB: db, Clock: clock, Log: log, Ledger: led, Orders: h.Book, People: h.person,
		Datasets: catalogue{}, Text: text, Procedures: ps, Procedure: "fr-snds", BodyName: "Health Data Hub",
		RPID: rpID, Origins: []string{origin}})
	fatal(err)
	h.Register, err = register.New(ctx, db, h.Gateway)
	fatal(err)
	h.Book.OnReceipt(h.OnReceipt)
	h.Book.OnExport(h.OnExport)

	mux := http.NewServeMux()
	pages, err := page.New(web.Templates(), text, page.Options{Zone: "portal", Assets: web.Assets(), User: access.PageUser, SignIn: "/sign-in", SignOut: "/sign-out"})
	fatal(err)
	acc, err := access.New(ctx, access.Options{DB: db, Ledger: led, Pages: pages, Clock: clock, Log: log, Dir: t.TempDir(), PublicURL: origin, RPID: rpID})
	fatal(err)
	h.Routes(mux, gateway.SiteOptions{Pages: pages, Door: acc, Files: h.Book, PublicURL: origin, DemoKeyURL: "http://localhost:9999/key"})
	h.Register.Routes(mux, pages, acc)
	mux.Handle("GET /assets/", pages.Assets())
	h.API = api.New(mux, "test")
	h.Operations(h.API)
	h.Register.Operations(h.API)
	h.handler = i18n.Middleware(acc.Middleware(signedIn(mux)))
	return h
}

// UserHeader names the account that a request of a test comes from.
const UserHeader = "Test-User"

func signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(UserHeader)
		if c, err := r.Cookie(UserHeader); err == nil {
			id = c.Value
		}
		for _, p := range People {
			if p.ID == id {
				u := &access.User{ID: p.ID, Name: p.Name}
				for _, role := range p.Roles {
					u.Roles = append(u.Roles, access.Role(role))
				}
				r = r.WithContext(access.WithUser(r.Context(), u))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP serves pages and API to the account that UserHeader names, in a header or a cookie.
func (h *House) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler.ServeHTTP(w, r) }

func (h *House) person(_ context.Context, id string) (contract.Person, error) {
	for _, u := range People {
		if u.ID == id {
			p := contract.Person{ID: id, Name: u.Name}
			if k := h.Keys[id]; k != nil {
				p.Credentials = []contract.PublicKey{k.PublicKey()}
			}
			return p, nil
		}
	}
	return contract.Person{}, gateway.ErrUnknown
}

// catalogue has one published dataset, which is also in everybody's basket.
type catalogue struct{}

var snds = contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{
	{Name: "IR_BEN_R", Title: map[string]string{"fr": "Bénéficiaires", "en": "Beneficiaries"}, Columns: []contract.Column{
		{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "BEN_NIR", Type: contract.TypeString, Role: contract.RoleNIR},
		{Name: "BEN_NAI_ANN", Type: contract.TypeInteger, Title: map[string]string{"en": "Year of birth", "fr": "Année de naissance"}},
		{Name: "BEN_SEX_COD", Type: contract.TypeInteger, Title: map[string]string{"en": "Sex", "fr": "Sexe"}}}},
	{Name: "T_MCOaaB", EventDate: "ENT_DAT", Title: map[string]string{"fr": "Séjours hospitaliers", "en": "Hospital stays"}, Columns: []contract.Column{
		{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "ENT_DAT", Type: contract.TypeDate}, {Name: "DGN_PAL", Type: contract.TypeString, Title: map[string]string{"en": "Main diagnosis (ICD-10)", "fr": "Diagnostic principal (CIM-10)"}}}},
}}

func (catalogue) Schema(_ context.Context, holder, dataset string) (*contract.DatasetSchema, error) {
	if holder != "cnam" || dataset != "snds" {
		return nil, gateway.ErrUnknown
	}
	return &snds, nil
}

func (catalogue) Published(context.Context) ([]contract.DatasetSchema, error) {
	return []contract.DatasetSchema{snds}, nil
}

func (catalogue) Basket(context.Context, string) ([]contract.DatasetSchema, error) {
	return []contract.DatasetSchema{snds}, nil
}

// Scope asks for a few columns of the one dataset.
func Scope() []contract.DatasetScope {
	return []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{
		{Table: "IR_BEN_R", Columns: []string{"BEN_NAI_ANN"}}, {Table: "T_MCOaaB", Columns: []string{"ENT_DAT", "DGN_PAL"}}}}}
}

// Complete are answers that pass the technical check.
func Complete() *gateway.Answers {
	period := contract.Period{From: "2022-01-01", To: "2023-12-31"}
	return &gateway.Answers{
		Project: &gateway.ProjectPage{Title: "Statins & falls <65", LaySummary: "Do people who take statins fall more often? We compare falls before and after the first prescription.", Controller: "University of Lille"},
		Purpose: &gateway.PurposePage{Purposes: []string{"e"}, Aim: "To find out.", NoProhibitedUse: true},
		Data:    &gateway.DataPage{Datasets: Scope(), Need: "Stays show falls."},
		Period:  &gateway.PeriodPage{Period: period, DurationMonths: 36},
		Cohort: &gateway.CohortPage{Cohort: contract.Cohort{Period: period,
			AnyOf: []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "T_MCOaaB", Column: "DGN_PAL", Codes: []string{"W0", "W1"}, Prefix: true}}}},
		Persons: &gateway.PersonsPage{Persons: []gateway.PersonRef{{Account: Rita.ID, Affiliation: "University of Lille", Principal: true}, {Account: Paul.ID}}},
		OptOut:  &gateway.OptOutPage{OptOut: contract.OptOut{Honoured: true}},
	}
}

// Run runs a command on what the case is now, and fails the test if it is refused.
func (h *House) Run(u gateway.Actor, a *gateway.Application, act gateway.Action) *gateway.Application {
	h.T.Helper()
	act.ExpectedSeq = a.Seq
	out, err := h.Do(context.Background(), u, a.ID, act)
	if err != nil {
		h.T.Fatalf("%s: %v", act.Command, err)
	}
	return out
}

// Draft opens an application of Rita's and fills it in.
func (h *House) Draft() *gateway.Application {
	h.T.Helper()
	a, err := h.Create(context.Background(), Rita, "Statins", Scope())
	if err != nil {
		h.T.Fatal(err)
	}
	return h.Run(Rita, a, gateway.Action{Command: gateway.CmdSave, Answers: Complete()})
}

// Submitted is a draft that was sent.
func (h *House) Submitted() *gateway.Application {
	h.T.Helper()
	return h.Run(Rita, h.Draft(), gateway.Action{Command: gateway.CmdSubmit})
}

// Authorised is a case that waits for its permit.
func (h *House) Authorised() *gateway.Application {
	h.T.Helper()
	a := h.Submitted()
	h.Clock.Move(24 * time.Hour)
	a = h.Run(Hanna, a, gateway.Action{Command: gateway.CmdComplete})
	a = h.Run(Claire, a, gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionRecommendations, Reasons: "Sound.", Recommendations: "Publish the protocol."})
	return h.Run(Anne, a, gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-2026-001", Conditions: []string{"No transfer outside the Union."}})
}

// Signed is a case with a permit.
func (h *House) Signed() *gateway.Application {
	h.T.Helper()
	a := h.Run(Otto, h.Authorised(), gateway.Action{Command: gateway.CmdDraft})
	return h.Run(Otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.Assert(Otto, a.Draft)})
}

// Assert lets somebody's passkey sign a draft.
func (h *House) Assert(u gateway.Actor, d *gateway.Drafted) *contract.Assertion {
	h.T.Helper()
	challenge, err := d.Digest.Bytes()
	if err != nil {
		h.T.Fatal(err)
	}
	as := h.Keys[u.ID].Assert(h.T, challenge)
	return &as
}

// Receive hands a receipt to the gateway as the order book does.
func (h *House) Receive(zone, order string, status contract.ReceiptStatus, body string) {
	h.T.Helper()
	r := contract.Receipt{ID: contract.NewID("receipt"), OrderID: order, Zone: zone, Status: status, At: h.Clock.Now(), Done: 3, Total: 9, Unit: "tables"}
	if body != "" {
		r.Body = []byte(body)
	}
	if err := h.DB.InTx(context.Background(), func(tx *store.Tx) error { return h.OnReceipt(context.Background(), tx, r) }); err != nil {
		h.T.Fatal(err)
	}
}

// Release hands an export to the gateway as the order book does.
func (h *House) Release(e contract.Export) error {
	return h.DB.InTx(context.Background(), func(tx *store.Tx) error { return h.OnExport(context.Background(), tx, e) })
}
