package gateway_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
	"github.com/mitral-health/mitral/procedures"
)

// at is a clock that tests move.
type at struct {
	mu sync.Mutex
	t  time.Time
}

func (c *at) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *at) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// house is a portal's gateway with a real order book and ledger, and people with real passkeys.
type house struct {
	*gateway.Gateway
	t       testing.TB
	db      *store.DB
	clock   *at
	book    *orderbook.Book
	entries *recorder
	keys    map[string]*contracttest.Officer
}

var (
	rita   = gateway.Actor{ID: "acct-rita", Name: "Rita Researcher", Roles: []string{"researcher"}}
	paul   = gateway.Actor{ID: "acct-paul", Name: "Paul Partner", Roles: []string{"researcher"}}
	hanna  = gateway.Actor{ID: "acct-hanna", Name: "Hanna Handler", Roles: []string{"handler"}}
	claire = gateway.Actor{ID: "acct-claire", Name: "Claire Committee", Roles: []string{"committee"}}
	anne   = gateway.Actor{ID: "acct-anne", Name: "Anne Authority", Roles: []string{"authority"}}
	otto   = gateway.Actor{ID: "acct-otto", Name: "Otto Officer", Roles: []string{"officer"}}
	audrey = gateway.Actor{ID: "acct-audrey", Name: "Audrey Auditor", Roles: []string{"auditor"}}
	nobody = gateway.Actor{ID: "acct-nobody", Name: "Nobody"}
	multi  = gateway.Actor{ID: "acct-multi", Name: "Multi", Roles: []string{"handler", "committee", "authority", "officer"}}
)

// catalogue has one published dataset, which is also in everybody's basket.
type catalogue struct{}

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

var snds = contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{
	{Name: "IR_BEN_R", Columns: []contract.Column{{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "BEN_NIR", Type: contract.TypeString, Role: contract.RoleNIR}, {Name: "BEN_NAI_ANN", Type: contract.TypeInteger}}},
	{Name: "T_MCOaaB", EventDate: "ENT_DAT", Columns: []contract.Column{{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey},
		{Name: "ENT_DAT", Type: contract.TypeDate}, {Name: "DGN_PAL", Type: contract.TypeString}}},
}}

func scope() []contract.DatasetScope {
	return []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{
		{Table: "IR_BEN_R", Columns: []string{"BEN_NAI_ANN"}}, {Table: "T_MCOaaB", Columns: []string{"ENT_DAT", "DGN_PAL"}}}}}
}

func newHouse(t testing.TB, dsn string) *house {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return openHouse(t, db, newClock(), t.TempDir())
}

func newClock() *at { return &at{t: time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)} }

// recorder stands where the ledger is wired: it keeps the entries to look at.
type recorder struct {
	mu      sync.Mutex
	entries []ledger.Entry
}

func (r *recorder) Record(_ context.Context, _ *store.Tx, e ledger.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	return nil
}

func (r *recorder) actions(target string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.entries {
		if e.Target == target {
			out = append(out, e.Action)
		}
	}
	return out
}

func openHouse(t testing.TB, db *store.DB, clk *at, dir string) *house {
	t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	book, err := orderbook.New(ctx, orderbook.Options{DB: db, Dir: dir, Clock: clk, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, clock: clk, book: book, entries: &recorder{}, keys: map[string]*contracttest.Officer{}}
	for _, u := range []gateway.Actor{rita, paul, otto, multi} {
		h.keys[u.ID] = contracttest.NewOfficer(t, u.ID)
	}
	ps, err := gateway.LoadProcedures(procedures.FS)
	if err != nil {
		t.Fatal(err)
	}
	h.Gateway, err = gateway.New(ctx, gateway.Options{DB: db, Clock: clk, Log: log, Ledger: h.entries, Orders: book, People: h.person,
		Datasets: catalogue{}, Procedures: ps, Procedure: "fr-snds", BodyName: "Health Data Hub", RPID: contracttest.RPID, Origins: []string{contracttest.Origin}})
	if err != nil {
		t.Fatal(err)
	}
	book.OnReceipt(h.OnReceipt)
	book.OnExport(h.OnExport)
	return h
}

func (h *house) person(_ context.Context, id string) (contract.Person, error) {
	for _, u := range []gateway.Actor{rita, paul, hanna, claire, anne, otto, multi} {
		if u.ID == id {
			p := contract.Person{ID: id, Name: u.Name, Affiliation: "University"}
			if k := h.keys[id]; k != nil {
				p.Credentials = []contract.PublicKey{k.PublicKey()}
			}
			return p, nil
		}
	}
	return contract.Person{}, gateway.ErrUnknown
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "portal.db") }

// complete are answers that pass the technical check.
func complete() *gateway.Answers {
	return &gateway.Answers{
		Project: &gateway.ProjectPage{Title: "Statins & falls <65", LaySummary: "Do statins cause falls?", Controller: "University of Lille"},
		Purpose: &gateway.PurposePage{Purposes: []string{"e"}, Aim: "To find out.", NoProhibitedUse: true},
		Data:    &gateway.DataPage{Datasets: scope(), Need: "Stays show falls."},
		Period:  &gateway.PeriodPage{Period: contract.Period{From: "2022-01-01", To: "2023-12-31"}, DurationMonths: 36},
		Cohort: &gateway.CohortPage{Cohort: contract.Cohort{Period: contract.Period{From: "2022-01-01", To: "2023-12-31"},
			AnyOf: []contract.Criterion{{Holder: "cnam", Dataset: "snds", Table: "T_MCOaaB", Column: "DGN_PAL", Codes: []string{"W0"}, Prefix: true}}}},
		Persons: &gateway.PersonsPage{Persons: []gateway.PersonRef{{Account: rita.ID, Principal: true}, {Account: paul.ID}}},
		OptOut:  &gateway.OptOutPage{OptOut: contract.OptOut{Honoured: true}},
	}
}

// do runs a command on what the case is now, and fails the test if it is refused.
func (h *house) do(u gateway.Actor, a *gateway.Application, act gateway.Action) *gateway.Application {
	h.t.Helper()
	act.ExpectedSeq = a.Seq
	out, err := h.Do(context.Background(), u, a.ID, act)
	if err != nil {
		h.t.Fatalf("%s: %v", act.Command, err)
	}
	return out
}

func (h *house) submitted() *gateway.Application {
	h.t.Helper()
	a, err := h.Create(context.Background(), rita, "Statins", scope())
	if err != nil {
		h.t.Fatal(err)
	}
	a = h.do(rita, a, gateway.Action{Command: gateway.CmdSave, Answers: complete()})
	return h.do(rita, a, gateway.Action{Command: gateway.CmdSubmit})
}

func (h *house) authorised() *gateway.Application {
	h.t.Helper()
	a := h.submitted()
	h.clock.move(24 * time.Hour)
	a = h.do(hanna, a, gateway.Action{Command: gateway.CmdComplete})
	a = h.do(claire, a, gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionRecommendations, Reasons: "Sound.", Recommendations: "Publish the protocol."})
	return h.do(anne, a, gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-2026-001", Conditions: []string{"No transfer outside the Union."}})
}

func (h *house) sign(u gateway.Actor, a *gateway.Application) *contract.Assertion {
	h.t.Helper()
	challenge, err := a.Draft.Digest.Bytes()
	if err != nil {
		h.t.Fatal(err)
	}
	as := h.keys[u.ID].Assert(h.t, challenge)
	return &as
}

func TestFromBasketToResult(t *testing.T) {
	h := newHouse(t, sqlite(t))
	ctx := context.Background()
	a := h.authorised()
	a = h.do(otto, a, gateway.Action{Command: gateway.CmdDraft})
	if a.Step != "permit" || a.Draft == nil || a.State != gateway.StateProcessing {
		t.Fatalf("state %s step %s", a.State, a.Step)
	}
	a = h.do(otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.sign(otto, a)})
	if a.State != gateway.StateDecided || a.Decision != gateway.DecisionPositive {
		t.Fatalf("after signing: %s %s", a.State, a.Decision)
	}
	// The inner zones' own gate accepts exactly what was stored.
	p, err := contract.VerifyPermit(a.Signed.Signed, contracttest.Roll(h.keys[otto.ID]), h.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p.Title != "Statins & falls <65" || p.MinCell != 11 || p.Reviewers != 2 || len(p.Persons) != 2 || p.Persons[0].Name != "Rita Researcher" ||
		len(p.Persons[0].Credentials) != 1 || !p.Persons[0].Principal || p.PseudonymDomain == "" || p.Procedure != "fr-snds@1" ||
		!p.IssuedAt.Equal(h.clock.Now().Truncate(time.Second)) || !p.ValidUntil.Equal(p.ValidFrom.AddDate(3, 0, 0)) || p.ApplicationID != a.ID {
		t.Errorf("permit %+v", p)
	}
	if !slices.Contains(p.Conditions, "No transfer outside the Union.") {
		t.Errorf("conditions %v", p.Conditions)
	}
	if contract.DigestOf(a.Signed.Signed.Permit) != a.Draft.Digest {
		t.Error("what was signed is not what was drafted, byte for byte")
	}
	// Both orders are in the book, with the permit.
	var kinds []contract.OrderKind
	for _, id := range a.Signed.Orders {
		o, err := h.book.Order(ctx, h.db, id)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, o.Kind)
	}
	if !slices.Equal(kinds, []contract.OrderKind{contract.OrderProvision, contract.OrderWorkspace}) {
		t.Errorf("orders %v", kinds)
	}

	// What the zones answer reaches the case.
	receipt := func(zone, order string, status contract.ReceiptStatus, body string) contract.Receipt {
		r := contract.Receipt{ID: contract.NewID("receipt"), OrderID: order, Zone: zone, Status: status, At: h.clock.Now(), Done: 3, Total: 9, Unit: "tables"}
		if body != "" {
			r.Body = []byte(body)
		}
		return r
	}
	send := func(r contract.Receipt) {
		t.Helper()
		if err := h.db.InTx(ctx, func(tx *store.Tx) error { return h.OnReceipt(ctx, tx, r) }); err != nil {
			t.Fatal(err)
		}
	}
	send(receipt("engine", a.Signed.Orders[0], contract.ReceiptProgress, ""))
	progress, err := h.Progress(ctx, a)
	if err != nil || len(progress) != 1 || progress[0].Done != 3 {
		t.Errorf("progress %v %v", progress, err)
	}
	send(receipt("engine", a.Signed.Orders[0], contract.ReceiptDone, `{"schema":"mitral.provision/1","permit_id":"`+p.ID+`","persons":{"matched":120,"objected":-1,"delivered":120}}`))
	send(receipt("enclave", a.Signed.Orders[1], contract.ReceiptDone, `{"workspace_id":"ws-1","permit_id":"`+p.ID+`","url":"https://enclave.example/"}`))
	send(receipt("engine", "order-of-somebody-else", contract.ReceiptDone, ""))
	export := contract.Export{Schema: "mitral.export/1", ID: "export-1", PermitID: p.ID, Title: "Falls by age", Files: []contract.ExportFile{{Name: "table.csv", Bytes: 10}}, ReleasedAt: h.clock.Now()}
	if err := h.db.InTx(ctx, func(tx *store.Tx) error { return h.OnExport(ctx, tx, export) }); err != nil {
		t.Fatal(err)
	}
	export.PermitID = "permit-unknown"
	if err := h.db.InTx(ctx, func(tx *store.Tx) error { return h.OnExport(ctx, tx, export) }); contract.RefusalCode(err) != "out_of_scope" {
		t.Errorf("export of an unknown permit: %v", err)
	}
	a, err = h.Case(ctx, paul, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a.Provision.Report.Persons.Matched != 120 || a.Workspace.Workspace.URL != "https://enclave.example/" || len(a.Results) != 1 {
		t.Errorf("provision %+v, workspace %+v, results %v", a.Provision, a.Workspace, a.Results)
	}
	signed, err := h.Permit(ctx, rita, p.ID)
	if err != nil || !slices.Equal(signed.Permit, a.Signed.Signed.Permit) {
		t.Errorf("permit by id: %v", err)
	}
	if _, err := h.Permit(ctx, nobody, p.ID); !isDenied(err, "not_readable") {
		t.Errorf("permit for a stranger: %v", err)
	}
	// One ledger entry per event, none with an answer of the form.
	if got := h.entries.actions(a.ID); int64(len(got)) != a.Seq || got[0] != "application.created" || !slices.Contains(got, "permit.signed") {
		t.Errorf("ledger %v, %d events", got, a.Seq)
	}
}

func isDenied(err error, code string) bool {
	var d *gateway.Denied
	return errors.As(err, &d) && d.Code == code
}

func TestSignatureMustHold(t *testing.T) {
	h := newHouse(t, sqlite(t))
	ctx := context.Background()
	a := h.do(otto, h.authorised(), gateway.Action{Command: gateway.CmdDraft})
	try := func(u gateway.Actor, as *contract.Assertion) error {
		_, err := h.Do(ctx, u, a.ID, gateway.Action{Command: gateway.CmdSign, ExpectedSeq: a.Seq, Assertion: as})
		return err
	}
	other := h.keys[otto.ID].Assert(t, make([]byte, 32))
	if err := try(otto, &other); contract.RefusalCode(err) != "altered" {
		t.Errorf("signature over another permit: %v", err)
	}
	if err := try(otto, h.sign(rita, a)); contract.RefusalCode(err) != "bad_signature" {
		t.Errorf("somebody else's key: %v", err)
	}
	broken := *h.sign(otto, a)
	broken.Signature = append(slices.Clone(broken.Signature[:len(broken.Signature)-1]), broken.Signature[len(broken.Signature)-1]^1)
	if err := try(otto, &broken); contract.RefusalCode(err) != "bad_signature" {
		t.Errorf("broken signature: %v", err)
	}
	if err := try(rita, h.sign(otto, a)); !isDenied(err, "wrong_role") {
		t.Errorf("a researcher signs: %v", err)
	}
	if err := try(otto, nil); !invalidCode(err, "nothing_sent") {
		t.Errorf("no assertion: %v", err)
	}
	good := h.sign(otto, a)
	h.clock.move(gateway.DraftLife + time.Second)
	if err := try(otto, good); !invalidCode(err, "draft_stale") {
		t.Errorf("stale draft: %v", err)
	}
	if b, err := h.Case(ctx, otto, a.ID); err != nil || b.Signed != nil || b.Seq != a.Seq {
		t.Errorf("a refused signature left something behind: %v", err)
	}
	a = h.do(otto, a, gateway.Action{Command: gateway.CmdDraft})
	h.do(otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.sign(otto, a)})
}

func invalidCode(err error, code string) bool {
	var i *gateway.Invalid
	return errors.As(err, &i) && slices.ContainsFunc(i.Problems, func(p gateway.Problem) bool { return p.Code == code })
}

func TestNoLostUpdate(t *testing.T) {
	h := newHouse(t, sqlite(t))
	ctx := context.Background()
	a, err := h.Create(ctx, rita, "Statins", nil)
	if err != nil {
		t.Fatal(err)
	}
	first := gateway.Answers{Project: &gateway.ProjectPage{Title: "First"}}
	h.do(rita, a, gateway.Action{Command: gateway.CmdSave, Answers: &first})
	_, err = h.Do(ctx, rita, a.ID, gateway.Action{Command: gateway.CmdSave, ExpectedSeq: a.Seq, Answers: &gateway.Answers{Project: &gateway.ProjectPage{Title: "Second"}}})
	var c *gateway.Conflict
	if !errors.As(err, &c) || c.Found != a.Seq+1 {
		t.Fatalf("second writer: %v", err)
	}
	if b, err := h.Case(ctx, rita, a.ID); err != nil || b.Title() != "First" {
		t.Errorf("title %q, %v", b.Title(), err)
	}
}

func TestManyWritersOneWins(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		h := openHouse(t, db, newClock(), t.TempDir())
		ctx := context.Background()
		a := h.submitted()
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = h.Do(ctx, hanna, a.ID, gateway.Action{Command: gateway.CmdComplete, ExpectedSeq: a.Seq})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			var c *gateway.Conflict
			switch {
			case err == nil:
				won++
			case !errors.As(err, &c):
				t.Errorf("loser: %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d writers won", won)
		}
	})
}

// TestStoreConformance walks one case on each database and reads it back the same.
func TestStoreConformance(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		h := openHouse(t, db, newClock(), t.TempDir())
		ctx := context.Background()
		a := h.authorised()
		a = h.do(otto, a, gateway.Action{Command: gateway.CmdDraft})
		a = h.do(otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.sign(otto, a)})
		again, err := h.Case(ctx, rita, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range again.Events {
			if e.Seq != int64(i+1) || e.At.Location() != time.UTC {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if mine, err := h.Mine(ctx, paul); err != nil || len(mine) != 1 {
			t.Errorf("Paul's cases: %d %v", len(mine), err)
		}
		b := h.submitted()
		h.clock.move(time.Hour)
		c := h.submitted()
		board, err := h.Board(ctx, hanna)
		if err != nil || len(board) != 2 || board[0].ID != b.ID || board[1].ID != c.ID {
			t.Errorf("board: %d cases, %v", len(board), err)
		}
		if _, err := h.Board(ctx, rita); !isDenied(err, "wrong_role") {
			t.Errorf("the board for a researcher: %v", err)
		}
		if _, err := h.Case(ctx, rita, "app-unknown"); !errors.Is(err, gateway.ErrUnknown) {
			t.Errorf("unknown case: %v", err)
		}
	})
}

func TestDeemedOpinionIsWrittenWithTheNextCommand(t *testing.T) {
	h := newHouse(t, sqlite(t))
	ctx := context.Background()
	a := h.do(hanna, h.submitted(), gateway.Action{Command: gateway.CmdComplete})
	h.clock.move(40 * 24 * time.Hour)
	late, err := h.Case(ctx, rita, a.ID)
	if err != nil || !late.Deemed || late.Step != "authority" || late.Seq != a.Seq {
		t.Fatalf("deemed %v, step %s, seq %d, %v", late.Deemed, late.Step, late.Seq, err)
	}
	if _, err := h.Do(ctx, claire, a.ID, gateway.Action{Command: gateway.CmdOpinion, ExpectedSeq: a.Seq, Opinion: gateway.OpinionUnfavourable, Reasons: "late"}); !isDenied(err, "wrong_state") {
		t.Errorf("an opinion after silence: %v", err)
	}
	b := h.do(anne, late, gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-1"})
	if b.Seq != a.Seq+2 || b.Events[a.Seq].Kind != gateway.KindOpinionDeemed || b.Step != "permit" {
		t.Errorf("stream %d → %d: %s", a.Seq, b.Seq, b.Events[a.Seq].Kind)
	}
}

func TestMandate(t *testing.T) {
	h := newHouse(t, sqlite(t))
	ctx := context.Background()
	if _, err := h.ActiveFeasibility(ctx); !errors.Is(err, gateway.ErrNoMandate) {
		t.Errorf("no mandate yet: %v", err)
	}
	want := gateway.MandateScope{Title: "Counts before an application", Datasets: []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "T_MCOaaB"}}}},
		Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}}
	if _, err := h.CreateMandate(ctx, hanna, want); !isDenied(err, "wrong_role") {
		t.Errorf("a handler's mandate: %v", err)
	}
	m, err := h.CreateMandate(ctx, otto, want)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := m.Draft.Digest.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err = h.SignMandate(ctx, otto, m.ID, m.Seq, h.keys[otto.ID].Assert(t, challenge))
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.ActiveFeasibility(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := contract.VerifyPermit(*s, contracttest.Roll(h.keys[otto.ID]), h.clock.Now())
	if err != nil || p.Kind != contract.PermitFeasibility || p.MinCell != 11 || p.RoundTo != 10 || !p.ValidUntil.Equal(p.ValidFrom.AddDate(1, 0, 0)) {
		t.Errorf("mandate %+v: %v", p, err)
	}
	if _, err := h.SignMandate(ctx, otto, m.ID, m.Seq, h.keys[otto.ID].Assert(t, challenge)); !isDenied(err, "wrong_state") {
		t.Errorf("signing twice: %v", err)
	}
	h.clock.move(366 * 24 * time.Hour)
	if _, err := h.ActiveFeasibility(ctx); !errors.Is(err, gateway.ErrNoMandate) {
		t.Errorf("an expired mandate: %v", err)
	}
	want.Datasets[0].Dataset = "unknown"
	if _, err := h.CreateMandate(ctx, otto, want); !invalidCode(err, "dataset_unknown") {
		t.Errorf("unknown dataset: %v", err)
	}
}
