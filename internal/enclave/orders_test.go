package enclave

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
)

// What the portal sends is believed only as far as an officer signed it.
func TestOrdersRefused(t *testing.T) {
	h := newHub(t)
	good := h.permit(nil)
	altered := good
	altered.Permit = json.RawMessage(strings.Replace(string(good.Permit), `"min_cell":11`, `"min_cell":1`, 1))
	if bytes.Equal(altered.Permit, good.Permit) {
		t.Fatal("nothing was altered")
	}
	stranger := contracttest.NewOfficer(t, "officer-1") // the right name, another key
	p := contracttest.Permit(h.clock.Now())
	forged := stranger.Sign(t, p)
	unsigned := contract.SignedPermit{Permit: good.Permit}
	expired := h.permit(func(p *contract.Permit) {
		p.ID, p.IssuedAt, p.ValidFrom, p.ValidUntil = "permit-old", p.IssuedAt.AddDate(-2, 0, 0), p.ValidFrom.AddDate(-2, 0, 0), p.ValidFrom.AddDate(-1, 0, 0)
	})
	early := h.permit(func(p *contract.Permit) { p.ID, p.ValidFrom = "permit-early", p.ValidFrom.AddDate(0, 1, 0) })
	feasibility := h.permit(func(p *contract.Permit) { p.Kind, p.RoundTo = contract.PermitFeasibility, 10 })
	pathy := h.permit(func(p *contract.Permit) { p.ID = "../../etc" })
	_, _ = h.start()
	for name, c := range map[string]struct {
		order contract.Order
		code  string
	}{
		"no permit":         {h.order("o-none", nil), "unsigned"},
		"unsigned":          {h.order("o-unsigned", &unsigned), "unsigned"},
		"altered":           {h.order("o-altered", &altered), "altered"},
		"forged":            {h.order("o-forged", &forged), "unknown_officer"},
		"expired":           {h.order("o-expired", &expired), "expired"},
		"not yet valid":     {h.order("o-early", &early), "not_yet_valid"},
		"feasibility":       {h.order("o-feasibility", &feasibility), "out_of_scope"},
		"path in the id":    {h.order("o-path", &pathy), "invalid"},
		"for another zone":  {func() contract.Order { o := h.order("o-zone", &good); o.Zone = contract.ZoneEngine; return o }(), "invalid"},
		"of another kind":   {func() contract.Order { o := h.order("o-kind", &good); o.Kind = contract.OrderProvision; return o }(), "invalid"},
		"with a body":       {func() contract.Order { o := h.order("o-body", &good); o.Body = json.RawMessage(`{"x":1}`); return o }(), "invalid"},
		"of another schema": {func() contract.Order { o := h.order("o-schema", &good); o.Schema = "mitral.order/9"; return o }(), "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			h.send(c.order)
			if r := h.receipt(c.order.ID); r.Status != contract.ReceiptRefused || r.Code != c.code {
				t.Errorf("receipt %+v, want refused with %s", r, c.code)
			}
		})
	}
	if made, err := os.ReadDir(filepath.Join(h.cfg.Dir, "workspaces")); err != nil || len(made) > 0 {
		t.Errorf("a refused order made %v, %v", made, err)
	}
}

// A newer version of a permit takes the workspace over; an older one cannot come back.
func TestNewVersionOfPermit(t *testing.T) {
	h := newHub(t)
	_, base, ws, first := h.opened()
	b := h.as(base, "p2")
	second := h.permit(func(p *contract.Permit) { p.Version, p.Persons = 2, p.Persons[:1] })
	h.send(h.order("order-2", &second))
	if err := os.RemoveAll(filepath.Join(h.cfg.Handover, "permit-test")); err != nil {
		t.Fatal(err)
	}
	h.handOver(second, nil)
	if r := h.receipt("order-2"); r.Status != contract.ReceiptDone {
		t.Fatalf("receipt %+v", r)
	}
	if status, _ := b.call("GET", "/api/v1/workspaces/"+ws, nil, nil); status != 401 {
		t.Errorf("a person whom the new version does not name still comes in: %d", status)
	}
	if j := h.as(base, "p1").job(ws, "sql", goodSQL); j.State != "done" {
		t.Errorf("%+v", j)
	}
	h.send(h.order("order-3", &first))
	if r := h.receipt("order-3"); r.Status != contract.ReceiptRefused || r.Code != "replayed" {
		t.Errorf("the old version again: %+v", r)
	}
}

// A handover that is not what engine announced opens nothing.
func TestHandoverChecked(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*contract.Handover, string)
		code  string
	}{
		"sealed file changed": {func(ho *contract.Handover, dir string) {
			path := filepath.Join(dir, ho.Files[0].Name+".age")
			b, _ := os.ReadFile(path)
			b[len(b)-1] ^= 1
			os.WriteFile(path, b, 0o600)
		}, "altered"},
		"sealed file missing": {func(ho *contract.Handover, dir string) { os.Remove(filepath.Join(dir, ho.Files[0].Name+".age")) }, "altered"},
		"path in a name":      {func(ho *contract.Handover, dir string) { ho.Files[0].Name = "../../x.parquet" }, "invalid"},
		"table not permitted": {func(ho *contract.Handover, dir string) {
			old := filepath.Join(dir, ho.Files[0].Name+".age")
			ho.Files[0].Name = "snds.T_MCOaaB.parquet"
			os.Rename(old, filepath.Join(dir, ho.Files[0].Name+".age"))
		}, "out_of_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			permit := h.permit(nil)
			h.send(h.order("order-1", &permit))
			h.handOver(permit, c.spoil)
			h.start()
			if r := h.receipt("order-1"); r.Status != contract.ReceiptFailed || r.Code != c.code {
				t.Errorf("receipt %+v, want failed with %s", r, c.code)
			}
		})
	}
}

// A file whose plain content is not what engine announced is found when a job opens the seal.
func TestPlainDigestChecked(t *testing.T) {
	h := newHub(t)
	permit := h.permit(nil)
	h.send(h.order("order-1", &permit))
	h.handOver(permit, func(ho *contract.Handover, _ string) { ho.Files[0].Digest = contract.DigestOf([]byte("other")) })
	_, base := h.start()
	h.receipt("order-1")
	if j := h.as(base, "p1").job("ws-test", "sql", goodSQL); j.State != "failed" || j.Reason != "data" {
		t.Errorf("%+v", j)
	}
}

// The end of the permit closes the workspace: no page, no job, no session; a running job is stopped.
func TestExpiryCloses(t *testing.T) {
	h := newHub(t)
	_, base, ws, _ := h.opened()
	b := h.as(base, "p1")
	var j jobAnswer
	if status, body := b.call("POST", "/api/v1/workspaces/"+ws+"/jobs", map[string]string{"kind": "python", "title": "Long", "code": "import time\ntime.sleep(120)"}, &j); status != 201 {
		t.Fatal(status, body)
	}
	h.scratchFills()
	if err := h.clock.Move(366 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if status, _ := b.call("GET", "/api/v1/workspaces/"+ws, nil, nil); status != 401 {
		t.Errorf("the session of a person without a permit in force is %d", status)
	}
	if status, _ := newBrowser(t, base).call("POST", "/demo/sign-in", map[string]string{"id": "p1"}, nil); status != 403 {
		t.Errorf("signed in after the end: %d", status)
	}
	h.scratchEmpties()
}

// A frozen file that changed after the request never leaves.
func TestChangedFileIsStopped(t *testing.T) {
	h := newHub(t)
	_, base, ws, _ := h.opened()
	b := h.as(base, "p1")
	e := b.export(ws, b.job(ws, "sql", goodSQL).ID)
	path := "/api/v1/workspaces/" + ws + "/exports/" + e.ID
	if status, body := b.call("POST", path+"/submit", nil, &e); status != 200 {
		t.Fatal(status, body)
	}
	verdict := map[string]any{"approve": true, "files_digest": e.FilesDigest}
	if status, body := h.as(base, "rev-1").call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 200 {
		t.Fatal(status, body)
	}
	// Somebody with access to the disk seals other content to the same key.
	sealed, err := contract.Seal(h.identity.Recipient().String(), []byte("code,n\nA,4\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.cfg.Dir, "exports", e.ID, "0.age"), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	r2 := h.as(base, "rev-2")
	if status, body := r2.call("GET", "/reviews/"+e.ID, nil, nil); status != 409 {
		t.Errorf("a changed file is shown to a reviewer: %d %s", status, body)
	}
	if status, body := r2.call("POST", "/api/v1/reviews/"+e.ID, verdict, nil); status != 200 {
		t.Fatal(status, body)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); ; <-tick.C {
		b.call("GET", path, nil, &e)
		if e.State == "REJECTED" && e.Reason == "altered" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the export is %s", e.State)
		}
	}
	if len(h.files)+len(h.exports) != 0 {
		t.Error("something left")
	}
}
