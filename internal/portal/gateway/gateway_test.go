package gateway_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
)

func TestFromBasketToResult(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	a := h.Authorised()
	a = h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdDraft})
	if a.Step != "permit" || a.Draft == nil || a.State != gateway.StateProcessing {
		t.Fatalf("state %s step %s", a.State, a.Step)
	}
	a = h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.Assert(gatewaytest.Otto, a.Draft)})
	if a.State != gateway.StateDecided || a.Decision != gateway.DecisionPositive {
		t.Fatalf("after signing: %s %s", a.State, a.Decision)
	}
	// The inner zones' own gate accepts exactly what was stored.
	p, err := contract.VerifyPermit(a.Signed.Signed, contracttest.Roll(h.Keys[gatewaytest.Otto.ID]), h.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p.Title != "Statins & falls <65" || p.MinCell != 11 || p.Reviewers != 2 || len(p.Persons) != 2 || p.Persons[0].Name != "Rita Researcher" ||
		len(p.Persons[0].Credentials) != 1 || !p.Persons[0].Principal || p.PseudonymDomain == "" || p.Procedure != "fr-snds@1" ||
		!p.IssuedAt.Equal(h.Clock.Now().Truncate(time.Second)) || !p.ValidUntil.Equal(p.ValidFrom.AddDate(3, 0, 0)) || p.ApplicationID != a.ID {
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
		o, err := h.Book.Order(ctx, h.DB, id)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, o.Kind)
	}
	if !slices.Equal(kinds, []contract.OrderKind{contract.OrderProvision, contract.OrderWorkspace}) {
		t.Errorf("orders %v", kinds)
	}

	// What the zones answer reaches the case.
	h.Receive("engine", a.Signed.Orders[0], contract.ReceiptProgress, "")
	progress, err := h.Progress(ctx, a)
	if err != nil || len(progress) != 1 || progress[0].Done != 3 {
		t.Errorf("progress %v %v", progress, err)
	}
	h.Receive("engine", a.Signed.Orders[0], contract.ReceiptDone, `{"schema":"mitral.provision/1","permit_id":"`+p.ID+`","persons":{"matched":120,"objected":-1,"delivered":120}}`)
	h.Receive("enclave", a.Signed.Orders[1], contract.ReceiptDone, `{"workspace_id":"ws-1","permit_id":"`+p.ID+`","url":"https://enclave.example/"}`)
	h.Receive("engine", "order-of-somebody-else", contract.ReceiptDone, "")
	export := contract.Export{Schema: "mitral.export/1", ID: "export-1", PermitID: p.ID, Title: "Falls by age", Files: []contract.ExportFile{{Name: "table.csv", Bytes: 10}}, ReleasedAt: h.Clock.Now()}
	if err := h.Release(export); err != nil {
		t.Fatal(err)
	}
	export.PermitID = "permit-unknown"
	if err := h.Release(export); contract.RefusalCode(err) != "out_of_scope" {
		t.Errorf("export of an unknown permit: %v", err)
	}
	a, err = h.Case(ctx, gatewaytest.Paul, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a.Provision.Report.Persons.Matched != 120 || a.Workspace.Workspace.URL != "https://enclave.example/" || len(a.Results) != 1 {
		t.Errorf("provision %+v, workspace %+v, results %v", a.Provision, a.Workspace, a.Results)
	}
	signed, err := h.Permit(ctx, gatewaytest.Rita, p.ID)
	if err != nil || !slices.Equal(signed.Permit, a.Signed.Signed.Permit) {
		t.Errorf("permit by id: %v", err)
	}
	if _, err := h.Permit(ctx, gatewaytest.Nobody, p.ID); !isDenied(err, "not_readable") {
		t.Errorf("permit for a stranger: %v", err)
	}
	// One ledger entry per event waits in the outbox.
	if n, err := h.Jobs.Pending(ctx); err != nil || n != a.Seq {
		t.Errorf("%d ledger entries for %d events: %v", n, a.Seq, err)
	}
}

func isDenied(err error, code string) bool {
	var d *gateway.Denied
	return errors.As(err, &d) && d.Code == code
}

func TestSignatureMustHold(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	a := h.Run(gatewaytest.Otto, h.Authorised(), gateway.Action{Command: gateway.CmdDraft})
	try := func(u gateway.Actor, as *contract.Assertion) error {
		_, err := h.Do(ctx, u, a.ID, gateway.Action{Command: gateway.CmdSign, ExpectedSeq: a.Seq, Assertion: as})
		return err
	}
	other := h.Keys[gatewaytest.Otto.ID].Assert(t, make([]byte, 32))
	if err := try(gatewaytest.Otto, &other); contract.RefusalCode(err) != "altered" {
		t.Errorf("signature over another permit: %v", err)
	}
	if err := try(gatewaytest.Otto, h.Assert(gatewaytest.Rita, a.Draft)); contract.RefusalCode(err) != "bad_signature" {
		t.Errorf("somebody else's key: %v", err)
	}
	broken := *h.Assert(gatewaytest.Otto, a.Draft)
	broken.Signature = append(slices.Clone(broken.Signature[:len(broken.Signature)-1]), broken.Signature[len(broken.Signature)-1]^1)
	if err := try(gatewaytest.Otto, &broken); contract.RefusalCode(err) != "bad_signature" {
		t.Errorf("broken signature: %v", err)
	}
	if err := try(gatewaytest.Rita, h.Assert(gatewaytest.Otto, a.Draft)); !isDenied(err, "wrong_role") {
		t.Errorf("a researcher signs: %v", err)
	}
	if err := try(gatewaytest.Otto, nil); !invalidCode(err, "nothing_sent") {
		t.Errorf("no assertion: %v", err)
	}
	// Each signature that did not hold stands in the ledger, beside the events of the case.
	if n, err := h.Jobs.Pending(ctx); err != nil || n != a.Seq+3 {
		t.Errorf("%d ledger entries for %d events and 3 refused signatures: %v", n, a.Seq, err)
	}
	good := h.Assert(gatewaytest.Otto, a.Draft)
	h.Clock.Move(gateway.DraftLife + time.Second)
	if err := try(gatewaytest.Otto, good); !invalidCode(err, "draft_stale") {
		t.Errorf("stale draft: %v", err)
	}
	if b, err := h.Case(ctx, gatewaytest.Otto, a.ID); err != nil || b.Signed != nil || b.Seq != a.Seq {
		t.Errorf("a refused signature left something behind: %v", err)
	}
	a = h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdDraft})
	h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.Assert(gatewaytest.Otto, a.Draft)})
}

func invalidCode(err error, code string) bool {
	var i *gateway.Invalid
	return errors.As(err, &i) && slices.ContainsFunc(i.Problems, func(p gateway.Problem) bool { return p.Code == code })
}

func TestNoLostUpdate(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	a, err := h.Create(ctx, gatewaytest.Rita, "Statins", nil)
	if err != nil {
		t.Fatal(err)
	}
	first := gateway.Answers{Project: &gateway.ProjectPage{Title: "First"}}
	h.Run(gatewaytest.Rita, a, gateway.Action{Command: gateway.CmdSave, Answers: &first})
	_, err = h.Do(ctx, gatewaytest.Rita, a.ID, gateway.Action{Command: gateway.CmdSave, ExpectedSeq: a.Seq, Answers: &gateway.Answers{Project: &gateway.ProjectPage{Title: "Second"}}})
	var c *gateway.Conflict
	if !errors.As(err, &c) || c.Found != a.Seq+1 {
		t.Fatalf("second writer: %v", err)
	}
	if b, err := h.Case(ctx, gatewaytest.Rita, a.ID); err != nil || b.Title() != "First" {
		t.Errorf("title %q, %v", b.Title(), err)
	}
}

func TestManyWritersOneWins(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		h := gatewaytest.New(t, db, gatewaytest.NewClock())
		ctx := context.Background()
		a := h.Submitted()
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = h.Do(ctx, gatewaytest.Hanna, a.ID, gateway.Action{Command: gateway.CmdComplete, ExpectedSeq: a.Seq})
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
		h := gatewaytest.New(t, db, gatewaytest.NewClock())
		ctx := context.Background()
		a := h.Authorised()
		a = h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdDraft})
		a = h.Run(gatewaytest.Otto, a, gateway.Action{Command: gateway.CmdSign, Assertion: h.Assert(gatewaytest.Otto, a.Draft)})
		again, err := h.Case(ctx, gatewaytest.Rita, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range again.Events {
			if e.Seq != int64(i+1) || e.At.Location() != time.UTC {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if mine, err := h.Mine(ctx, gatewaytest.Paul); err != nil || len(mine) != 1 {
			t.Errorf("Paul's cases: %d %v", len(mine), err)
		}
		b := h.Submitted()
		h.Clock.Move(time.Hour)
		c := h.Submitted()
		board, err := h.Board(ctx, gatewaytest.Hanna)
		if err != nil || len(board) != 2 || board[0].ID != b.ID || board[1].ID != c.ID {
			t.Errorf("board: %d cases, %v", len(board), err)
		}
		if _, err := h.Board(ctx, gatewaytest.Rita); !isDenied(err, "wrong_role") {
			t.Errorf("the board for a researcher: %v", err)
		}
		if _, err := h.Case(ctx, gatewaytest.Rita, "app-unknown"); !errors.Is(err, gateway.ErrUnknown) {
			t.Errorf("unknown case: %v", err)
		}
	})
}

func TestDeemedOpinionIsWrittenWithTheNextCommand(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	a := h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdComplete})
	h.Clock.Move(40 * 24 * time.Hour)
	late, err := h.Case(ctx, gatewaytest.Rita, a.ID)
	if err != nil || !late.Deemed || late.Step != "authority" || late.Seq != a.Seq {
		t.Fatalf("deemed %v, step %s, seq %d, %v", late.Deemed, late.Step, late.Seq, err)
	}
	if _, err := h.Do(ctx, gatewaytest.Claire, a.ID, gateway.Action{Command: gateway.CmdOpinion, ExpectedSeq: a.Seq, Opinion: gateway.OpinionUnfavourable, Reasons: "late"}); !isDenied(err, "wrong_state") {
		t.Errorf("an opinion after silence: %v", err)
	}
	b := h.Run(gatewaytest.Anne, late, gateway.Action{Command: gateway.CmdAuthorise, Reference: "DR-1"})
	if b.Seq != a.Seq+2 || b.Events[a.Seq].Kind != gateway.KindOpinionDeemed || b.Step != "permit" {
		t.Errorf("stream %d → %d: %s", a.Seq, b.Seq, b.Events[a.Seq].Kind)
	}
}

func TestMandate(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	if _, err := h.ActiveFeasibility(ctx); !errors.Is(err, gateway.ErrNoMandate) {
		t.Errorf("no mandate yet: %v", err)
	}
	want := gateway.MandateScope{Title: "Counts before an application", Datasets: []contract.DatasetScope{{Holder: "cnam", Dataset: "snds", Tables: []contract.TableScope{{Table: "T_MCOaaB"}}}},
		Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}}
	if _, err := h.CreateMandate(ctx, gatewaytest.Hanna, want); !isDenied(err, "wrong_role") {
		t.Errorf("a handler's mandate: %v", err)
	}
	m, err := h.CreateMandate(ctx, gatewaytest.Otto, want)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := m.Draft.Digest.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err = h.SignMandate(ctx, gatewaytest.Otto, m.ID, m.Seq, h.Keys[gatewaytest.Otto.ID].Assert(t, challenge))
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.ActiveFeasibility(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := contract.VerifyPermit(*s, contracttest.Roll(h.Keys[gatewaytest.Otto.ID]), h.Clock.Now())
	if err != nil || p.Kind != contract.PermitFeasibility || p.MinCell != 11 || p.RoundTo != 10 || !p.ValidUntil.Equal(p.ValidFrom.AddDate(1, 0, 0)) {
		t.Errorf("mandate %+v: %v", p, err)
	}
	if _, err := h.SignMandate(ctx, gatewaytest.Otto, m.ID, m.Seq, h.Keys[gatewaytest.Otto.ID].Assert(t, challenge)); !isDenied(err, "wrong_state") {
		t.Errorf("signing twice: %v", err)
	}
	h.Clock.Move(366 * 24 * time.Hour)
	if _, err := h.ActiveFeasibility(ctx); !errors.Is(err, gateway.ErrNoMandate) {
		t.Errorf("an expired mandate: %v", err)
	}
	want.Datasets[0].Dataset = "unknown"
	if _, err := h.CreateMandate(ctx, gatewaytest.Otto, want); !invalidCode(err, "dataset_unknown") {
		t.Errorf("unknown dataset: %v", err)
	}
}
