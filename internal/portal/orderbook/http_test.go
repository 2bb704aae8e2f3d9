package orderbook_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
)

// hub is a portal's mutual-TLS listener with certificates for everybody.
type hub struct {
	base  string
	certs map[string]conf.TLS
}

func serve(t testing.TB, b *orderbook.Book) *hub {
	t.Helper()
	dir := t.TempDir()
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	h := &hub{certs: map[string]conf.TLS{}}
	for _, zone := range []string{"portal", "trust", "vault", "engine", "enclave"} {
		h.issue(t, dir, "zone", zone)
	}
	h.issue(t, dir, "agent", "cnam")
	s, err := httpx.ServeMutual(t.Context(), "127.0.0.1:0", h.certs["portal"], b.Handler())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // a poll may still be open
	})
	h.base = "https://" + s.Addr()
	return h
}

func (h *hub) issue(t testing.TB, dir, kind, name string) {
	t.Helper()
	c, err := pki.Issue(dir, kind, name, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	h.certs[name] = c
}

func (h *hub) do(t testing.TB, as, method, path, digest string, body io.Reader) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if digest != "" {
		r.Header.Set("Digest", digest)
	}
	resp, err := httpx.MutualClient(h.certs[as], "portal").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRoutes(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	h := serve(t, b)
	mine, objection := order("order-mine", contract.ZoneEngine, contract.OrderProvision), order("order-other", contract.ZoneTrust, contract.OrderObjection)
	put(t, b, db, mine)
	put(t, b, db, objection)
	rec := func(id, orderID, zone string) string {
		return asJSON(t, contract.Receipt{ID: id, OrderID: orderID, Zone: zone, Status: contract.ReceiptDone, At: time.Now()})
	}
	file := "sex,n\n1,20\n"
	digest := string(contract.DigestOf([]byte(file)))
	export := func(id string) string { return asJSON(t, exportOf(id, "table.csv", file)) }
	for _, c := range []struct {
		name, as, method, path, digest, body string
		status                               int
		has, hasNot                          string
	}{
		{"zone reads its orders", "engine", "GET", "/orderbook/v1/orders", "", "", 200, "order-mine", "order-other"},
		{"zone without orders", "vault", "GET", "/orderbook/v1/orders?after=0&wait=0", "", "", 200, `{"orders":[]}`, "order-"},
		{"agent reads orders", "cnam", "GET", "/orderbook/v1/orders", "", "", 403, "not_allowed", "order-"},
		{"portal reads orders", "portal", "GET", "/orderbook/v1/orders", "", "", 403, "not_allowed", "order-"},
		{"numbers that are none", "engine", "GET", "/orderbook/v1/orders?after=-1", "", "", 400, "invalid", ""},
		{"wait that is none", "engine", "GET", "/orderbook/v1/orders?wait=long", "", "", 400, "invalid", ""},

		{"receipt of an order that is not there", "engine", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-none", "engine"), 404, "unknown_order", ""},
		{"receipt of another zone's order", "engine", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-other", "engine"), 404, "unknown_order", ""},
		{"receipt in another zone's name", "engine", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-other", "trust"), 403, "forbidden", ""},
		{"agent sends a receipt", "cnam", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-mine", "engine"), 403, "not_allowed", ""},
		{"receipt that is no JSON", "engine", "POST", "/orderbook/v1/receipts", "", "{", 400, "", ""},
		{"receipt with an unknown field", "engine", "POST", "/orderbook/v1/receipts", "", `{"nir":"1"}`, 400, "", ""},
		{"receipt", "engine", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-mine", "engine"), 200, "stored", ""},
		{"receipt again", "engine", "POST", "/orderbook/v1/receipts", "", rec("r1", "order-mine", "engine"), 200, "stored", ""},

		{"notice of an unknown kind", "engine", "POST", "/orderbook/v1/notices", "", `{"id":"n1","zone":"engine","kind":"x","at":"2026-01-01T00:00:00Z","body":{}}`, 400, "invalid", ""},
		{"notice in another's name", "engine", "POST", "/orderbook/v1/notices", "", `{"id":"n1","zone":"trust","kind":"delivery","at":"2026-01-01T00:00:00Z","body":{}}`, 403, "forbidden", ""},
		{"agent sends a notice", "cnam", "POST", "/orderbook/v1/notices", "", `{}`, 403, "not_allowed", ""},
		{"notice", "engine", "POST", "/orderbook/v1/notices", "", `{"id":"n1","zone":"engine","kind":"delivery","at":"2026-01-01T00:00:00Z","body":{"delivery":"d","holder":"cnam","dataset":"snds","rows":{},"persons":0}}`, 200, "stored", ""},

		{"engine uploads", "engine", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", digest, file, 403, "not_allowed", ""},
		{"agent uploads", "cnam", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", digest, file, 403, "not_allowed", ""},
		{"no digest", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", "", file, 400, "digest_missing", ""},
		{"wrong digest", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", digest, file + "x", 422, "digest_mismatch", ""},
		{"path trick in the name", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/..%2F..%2Fstate.db", digest, file, 400, "invalid", ""},
		{"path trick in the export", "enclave", "PUT", "/orderbook/v1/exports/..%2Fx/files/table.csv", digest, file, 400, "invalid", ""},
		{"hidden file", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/.incoming", digest, file, 400, "invalid", ""},
		{"NUL in the name", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/a%00.csv", digest, file, 400, "invalid", ""},
		{"release before the file", "enclave", "POST", "/orderbook/v1/exports/export-1", "", export("export-1"), 409, "incomplete", ""},
		{"upload", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", digest, file, 200, "stored", ""},
		{"upload again", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/table.csv", digest, file, 200, "stored", ""},
		{"engine releases", "engine", "POST", "/orderbook/v1/exports/export-1", "", export("export-1"), 403, "not_allowed", ""},
		{"release under another id", "enclave", "POST", "/orderbook/v1/exports/export-2", "", export("export-1"), 400, "invalid", ""},
		{"release", "enclave", "POST", "/orderbook/v1/exports/export-1", "", export("export-1"), 200, "released", ""},
		{"release again", "enclave", "POST", "/orderbook/v1/exports/export-1", "", export("export-1"), 200, "released", ""},
		{"upload after release", "enclave", "PUT", "/orderbook/v1/exports/export-1/files/more.csv", digest, file, 409, "closed", ""},

		{"unknown address", "engine", "GET", "/orderbook/v1/secrets", "", "", 404, "not_found", ""},
		{"wrong method", "engine", "DELETE", "/orderbook/v1/orders", "", "", 404, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := h.do(t, c.as, c.method, c.path, c.digest, strings.NewReader(c.body))
			if status != c.status || !strings.Contains(body, c.has) || (c.hasNot != "" && strings.Contains(body, c.hasNot)) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	if list, err := b.ExportsOf(t.Context(), "permit-1"); err != nil || len(list) != 1 {
		t.Errorf("released exports: %v, %v", list, err)
	}
}

func exportOf(id, name, content string) contract.Export {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	return contract.Export{
		Schema: "mitral.export/1", ID: id, PermitID: "permit-1", Workspace: "ws-1", Author: "acct-a", Title: "Counts by sex",
		Files:      []contract.ExportFile{{Name: name, Bytes: int64(len(content)), Digest: contract.DigestOf([]byte(content))}},
		Reviews:    []contract.ExportReview{{Reviewer: "acct-b", Approved: true, At: at}, {Reviewer: "acct-c", Approved: true, At: at}},
		ReleasedAt: at,
	}
}

func TestExportIsReleasedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	b, _ := newBook(t, sqlite(t), dir)
	released := 0
	b.OnExport(func(context.Context, *store.Tx, contract.Export) error { released++; return nil })
	h := serve(t, b)
	content := "a,b\n"
	put := func(name, content string) {
		t.Helper()
		if status, body := h.do(t, "enclave", "PUT", "/orderbook/v1/exports/export-1/files/"+name, string(contract.DigestOf([]byte(content))), strings.NewReader(content)); status != 200 {
			t.Fatal(status, body)
		}
	}
	put("out.csv", content)
	put("left-over.csv", "secret")
	if _, _, err := b.OpenExportFile(t.Context(), "export-1", "out.csv"); err == nil {
		t.Fatal("a file is visible before its release")
	}
	good := exportOf("export-1", "out.csv", content)
	for name, change := range map[string]func(*contract.Export){
		"other content":      func(e *contract.Export) { e.Files[0].Digest = contract.DigestOf([]byte("x")) },
		"other size":         func(e *contract.Export) { e.Files[0].Bytes++ },
		"missing file":       func(e *contract.Export) { e.Files = append(e.Files, contract.ExportFile{Name: "more.csv"}) },
		"path in a name":     func(e *contract.Export) { e.Files[0].Name = "../out.csv" },
		"same file twice":    func(e *contract.Export) { e.Files = append(e.Files, e.Files[0]) },
		"no file":            func(e *contract.Export) { e.Files = nil },
		"no review":          func(e *contract.Export) { e.Reviews = nil },
		"reviewed by author": func(e *contract.Export) { e.Reviews[1].Reviewer = e.Author },
		"a review says no":   func(e *contract.Export) { e.Reviews[0].Approved = false },
		"no permit":          func(e *contract.Export) { e.PermitID = "" },
	} {
		e := exportOf("export-1", "out.csv", content)
		change(&e)
		if status, body := h.do(t, "enclave", "POST", "/orderbook/v1/exports/export-1", "", strings.NewReader(asJSON(t, e))); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", name, status, body)
		}
		put("out.csv", content) // a refused release may have cleared what it did not name
	}
	put("left-over.csv", "secret")
	if status, body := h.do(t, "enclave", "POST", "/orderbook/v1/exports/export-1", "", strings.NewReader(asJSON(t, good))); status != 200 {
		t.Fatal(status, body)
	}
	f, info, err := b.OpenExportFile(t.Context(), "export-1", "out.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != content || info.Bytes != int64(len(content)) {
		t.Errorf("%q, %v", got, err)
	}
	if _, _, err := b.OpenExportFile(t.Context(), "export-1", "left-over.csv"); err == nil {
		t.Error("a file that was not released can be read")
	}
	if _, err := os.Stat(filepath.Join(dir, "exports", "export-1", "left-over.csv")); !os.IsNotExist(err) {
		t.Error("a file that was not released lies among the released ones")
	}
	if released != 1 {
		t.Errorf("hook ran %d times", released)
	}
}

func TestOversizedUpload(t *testing.T) {
	dir := t.TempDir()
	b, _ := newBook(t, sqlite(t), dir)
	h := serve(t, b)
	for name, body := range map[string]io.Reader{
		"announced":   bytes.NewReader(make([]byte, orderbook.MaxExportFile+1)),
		"unannounced": io.LimitReader(rand.Reader, orderbook.MaxExportFile+1),
	} {
		r, err := http.NewRequestWithContext(t.Context(), "PUT", h.base+"/orderbook/v1/exports/export-1/files/big.bin", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Digest", string(contract.DigestOf(nil)))
		resp, err := httpx.MutualClient(h.certs["enclave"], "portal").Do(r)
		if err != nil {
			// The server may cut the connection while we are still sending; that is a refusal too.
			t.Logf("%s: %v", name, err)
		} else {
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: status %d", name, resp.StatusCode)
			}
		}
		left, err := filepath.Glob(filepath.Join(dir, "exports", ".incoming", "export-1", "*"))
		if err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", name, left, err)
		}
	}
}

// TestSlowClientHoldsUpNobody: one client that sends a file byte by byte and one that holds a poll open
// do not keep others from their orders.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	h := serve(t, b)
	body, trickle := io.Pipe()
	defer trickle.Close()
	uploaded := make(chan int, 1)
	content := strings.Repeat("x", 64)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), "PUT", h.base+"/orderbook/v1/exports/export-1/files/slow.txt", body)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Digest", string(contract.DigestOf([]byte(content))))
		resp, err := httpx.MutualClient(h.certs["enclave"], "portal").Do(r)
		if err != nil {
			t.Error(err)
			uploaded <- 0
			return
		}
		resp.Body.Close()
		uploaded <- resp.StatusCode
	}()
	for i := range len(content) {
		if i == len(content)/2 {
			o := order("order-a", contract.ZoneEngine, contract.OrderProvision)
			put(t, b, db, o)
			if status, answer := h.do(t, "engine", "GET", "/orderbook/v1/orders?wait=20", "", nil); status != 200 || !strings.Contains(answer, o.ID) {
				t.Errorf("%d %s", status, answer)
			}
		}
		if _, err := trickle.Write([]byte{content[i]}); err != nil {
			t.Fatal(err)
		}
	}
	trickle.Close()
	if status := <-uploaded; status != 200 {
		t.Errorf("slow upload ended with %d", status)
	}
}

func TestAThousandOrdersArriveInOrder(t *testing.T) {
	b, db := newBook(t, sqlite(t), t.TempDir())
	h := serve(t, b)
	const n = 1000
	go func() {
		for i := 0; i < n; i += 50 {
			err := db.InTx(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
				for j := range 50 {
					if err := b.Put(t.Context(), tx, order(fmt.Sprintf("order-%04d", i+j), contract.ZoneEngine, contract.OrderProvision)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := orderpoll.New(httpx.MutualClient(h.certs["engine"], "portal"), h.base, slog.New(slog.DiscardHandler))
	got := 0
	err := client.Run(ctx, 0, func(_ context.Context, seq int64, raw json.RawMessage) error {
		var o contract.Order
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if seq != int64(got+1) || o.ID != fmt.Sprintf("order-%04d", got) {
			t.Errorf("place %d: number %d, %s", got, seq, o.ID)
		}
		if got++; got == n {
			cancel()
		}
		return nil
	})
	if got != n {
		t.Errorf("%d orders, %v", got, err)
	}
}
