package engine_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

// hub is an engine that runs, and the other zones' side of the protocol with it: what they answer is
// decided by the test. Everything goes over mutual TLS with real certificates.
type hub struct {
	t         *testing.T
	dir       string
	cfg       engine.Config
	url       string
	certs     map[string]conf.TLS
	officer   *contracttest.Officer
	workspace *age.X25519Identity
	stop      func()

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each receipt or notice
	sheets   map[string][]byte
	refused  map[string]string // deliveries that trust refuses, with the code
	roll     []byte
	rolls    []string // what was asked: "" or "now"
	down     bool     // trust and vault do not answer
	hang     chan struct{}
	orders   []contract.NumberedOrder
	receipts []contract.Receipt
	notices  []contract.Notice
}

func startHub(t *testing.T) *hub {
	t.Helper()
	h := newHub(t, t.TempDir())
	h.run()
	return h
}

// newHub starts everything but the engine, whose directory is dir.
func newHub(t *testing.T, dir string) *hub {
	t.Helper()
	h := &hub{t: t, dir: dir, certs: map[string]conf.TLS{}, officer: contracttest.NewOfficer(t, "officer-1"),
		sheets: map[string][]byte{}, refused: map[string]string{}, changed: make(chan struct{})}
	pkiDir := t.TempDir()
	check(t, pki.Init(pkiDir))
	for _, who := range []string{"zone/portal", "zone/trust", "zone/vault", "zone/engine", "zone/enclave", "agent/cnam", "agent/oscour"} {
		kind, name, _ := strings.Cut(who, "/")
		files, err := pki.Issue(pkiDir, kind, name, nil)
		check(t, err)
		h.certs[who] = files
	}
	var err error
	h.workspace, err = age.GenerateX25519Identity()
	check(t, err)
	serve := func(zone string, handler http.Handler) string {
		s, err := httpx.ServeMutual(t.Context(), "127.0.0.1:0", h.certs["zone/"+zone], httpx.OnlyZones("engine")(handler))
		check(t, err)
		return "https://" + s.Addr()
	}
	h.cfg = engine.Config{
		Zone:   conf.Zone{Dir: h.dir, TLS: h.certs["zone/engine"], Listen: "127.0.0.1:0"},
		Portal: serve("portal", h.portal()), Trust: serve("trust", h.trust()), Vault: serve("vault", h.vault()),
		Handover: t.TempDir(), Memory: "500MB", CountMemory: "300MB", MaxPartBytes: 4 << 20, DailyQuestions: 5,
	}
	contracttest.WriteRoll(t, h.dir, contracttest.Roll(h.officer))
	return h
}

func check(t laketest.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run starts the engine; stop ends it, and run starts it again.
func (h *hub) run() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := engine.New(ctx, h.cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	check(h.t, err)
	h.url = "https://" + m.Addr()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				h.t.Error(err)
			}
			m.Close()
		}
	}
	h.t.Cleanup(h.stop)
}

func (h *hub) lock() func() { h.mu.Lock(); return h.mu.Unlock }

func (h *hub) news() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// until waits for a receipt or notice after which ok is true; h.mu is held while ok runs.
func (h *hub) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(40 * time.Second)
	for {
		h.mu.Lock()
		done, changed := ok(), h.changed
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			h.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (h *hub) portal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orderbook/v1/orders", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		timeout := time.After(2 * time.Second)
		for {
			h.mu.Lock()
			open := []contract.NumberedOrder{}
			for _, o := range h.orders {
				if o.Seq > after && h.final(o.Order.ID) == nil {
					open = append(open, o)
				}
			}
			changed := h.changed
			h.mu.Unlock()
			if len(open) > 0 {
				httpx.JSON(w, 200, map[string]any{"orders": open})
				return
			}
			select {
			case <-changed:
			case <-timeout:
				httpx.JSON(w, 200, map[string]any{"orders": open})
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /orderbook/v1/receipts", func(w http.ResponseWriter, r *http.Request) {
		var receipt contract.Receipt
		if err := httpx.Decode(r, 16<<20, &receipt); err != nil || !contract.ValidName(receipt.ID) {
			httpx.Problem(w, r, 400, "invalid", "receipt")
			return
		}
		defer h.lock()()
		h.receipts = append(h.receipts, receipt)
		h.news()
		w.WriteHeader(204)
	})
	mux.HandleFunc("POST /orderbook/v1/notices", func(w http.ResponseWriter, r *http.Request) {
		var n contract.Notice
		if err := httpx.Decode(r, 16<<20, &n); err != nil || !contract.ValidName(n.ID) {
			httpx.Problem(w, r, 400, "invalid", "notice")
			return
		}
		defer h.lock()()
		h.notices = append(h.notices, n)
		h.news()
		w.WriteHeader(204)
	})
	return mux
}

// available answers 503 while the zones are down, and waits while they hang.
func (h *hub) available(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		down, hang := h.down, h.hang
		h.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
				return
			}
		}
		if down {
			httpx.Problem(w, r, 503, "down", "closed for the test")
			return
		}
		next(w, r)
	}
}

// verified decodes a body with a permit and verifies it, as trust and vault do.
func (h *hub) verified(w http.ResponseWriter, r *http.Request, body any, permit func() contract.SignedPermit) bool {
	if err := httpx.Decode(r, 64<<20, body); err != nil {
		httpx.Fail(w, r, err)
		return false
	}
	if _, err := contract.VerifyPermit(permit(), contracttest.Roll(h.officer), time.Now()); err != nil {
		httpx.Problem(w, r, 403, contract.RefusalCode(err), err.Error())
		return false
	}
	return true
}

func (h *hub) trust() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/sheets/{delivery}", h.available(func(w http.ResponseWriter, r *http.Request) {
		defer h.lock()()
		id := r.PathValue("delivery")
		if code := h.refused[id]; code != "" {
			httpx.Problem(w, r, 410, code, "not this one")
			return
		}
		sheet, ok := h.sheets[id]
		if !ok {
			httpx.Problem(w, r, 404, "not_ready", "not linked yet")
			return
		}
		recipient, err := os.ReadFile(filepath.Join(h.dir, "recipient.txt"))
		check(h.t, err)
		sealed, err := contract.Seal(strings.TrimSpace(string(recipient)), sheet)
		check(h.t, err)
		w.Write(sealed)
	}))
	mux.HandleFunc("POST /v1/roll", h.available(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Permit contract.SignedPermit `json:"permit"`
			AsOf   string                `json:"as_of"`
		}
		if h.verified(w, r, &body, func() contract.SignedPermit { return body.Permit }) {
			defer h.lock()()
			h.rolls = append(h.rolls, body.AsOf)
			w.Write(h.roll)
		}
	}))
	return mux
}

func (h *hub) vault() http.Handler {
	mux := http.NewServeMux()
	block, err := aes.NewCipher(bytes.Repeat([]byte{1}, 32))
	check(h.t, err)
	mux.HandleFunc("POST /v1/pseudonyms", h.available(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Permit contract.SignedPermit `json:"permit"`
			IDs    []byte                `json:"ids"`
		}
		if h.verified(w, r, &body, func() contract.SignedPermit { return body.Permit }) {
			for i := 0; i < len(body.IDs); i += 16 {
				block.Encrypt(body.IDs[i:], body.IDs[i:])
			}
			httpx.JSON(w, 200, map[string][]byte{"ids": body.IDs})
		}
	}))
	mux.HandleFunc("POST /v1/workspace-keys/recipient", h.available(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Permit contract.SignedPermit `json:"permit"`
		}
		if h.verified(w, r, &body, func() contract.SignedPermit { return body.Permit }) {
			httpx.JSON(w, 200, map[string]string{"recipient": h.workspace.Recipient().String()})
		}
	}))
	return mux
}

// final returns the final receipt of an order; h.mu is held.
func (h *hub) final(order string) *contract.Receipt {
	for i := range h.receipts {
		if h.receipts[i].OrderID == order && h.receipts[i].Status.Final() {
			return &h.receipts[i]
		}
	}
	return nil
}

// order puts an order into the book.
func (h *hub) order(o contract.Order) {
	defer h.lock()()
	h.orders = append(h.orders, contract.NumberedOrder{Seq: int64(len(h.orders) + 1), Order: o})
	h.news()
}

// carriedOut puts an order into the book and waits for its final receipt.
func (h *hub) carriedOut(o contract.Order) contract.Receipt {
	h.t.Helper()
	h.order(o)
	h.until("the final receipt of "+o.ID, func() bool { return h.final(o.ID) != nil })
	defer h.lock()()
	return *h.final(o.ID)
}

func (h *hub) newOrder(kind contract.OrderKind, p *contract.SignedPermit, body any) contract.Order {
	h.t.Helper()
	o := contract.Order{Schema: contract.OrderSchema, ID: contract.NewID("order"), Zone: contract.ZoneEngine, Kind: kind, CreatedAt: time.Now().UTC(), Permit: p}
	if body != nil {
		b, err := json.Marshal(body)
		check(h.t, err)
		o.Body = b
	}
	return o
}

// call sends a request to engine and returns status, code and the answer.
func (h *hub) call(who, method, path string, body []byte, header map[string]string) (int, string, map[string]any) {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+path, bytes.NewReader(body))
	check(h.t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	client := httpx.MutualClient(h.certs[who], contract.ZoneEngine)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	check(h.t, err)
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil && err != io.EOF {
		h.t.Fatal(err)
	}
	code, _ := out["code"].(string)
	return resp.StatusCode, code, out
}

// put sends one file as a part.
func (h *hub) put(who, path string, b []byte) (int, string) {
	h.t.Helper()
	status, code, _ := h.call(who, "PUT", path, b, map[string]string{"Digest": string(contract.DigestOf(b))})
	return status, code
}

// upload sends all parts of a delivery; the caller completes it.
func (h *hub) upload(who, id string, data laketest.Data) contract.Delivery {
	h.t.Helper()
	dir := h.t.TempDir()
	d := laketest.WriteParts(h.t, dir, id, data, 2)
	for _, p := range d.Parts {
		b, err := os.ReadFile(filepath.Join(dir, p.Table, p.Name))
		check(h.t, err)
		if status, code := h.put(who, "/v1/deliveries/"+id+"/tables/"+p.Table+"/"+p.Name, b); status != 200 {
			h.t.Fatalf("part %s/%s: %d %s", p.Table, p.Name, status, code)
		}
	}
	return d
}

func (h *hub) complete(who string, d contract.Delivery) (int, string) {
	h.t.Helper()
	b, err := json.Marshal(d)
	check(h.t, err)
	status, code, _ := h.call(who, "POST", "/v1/deliveries/"+d.ID+"/complete", b, nil)
	return status, code
}

// deliver brings a delivery the whole way and waits for its notice.
func (h *hub) deliver(id string, data laketest.Data) contract.DeliveryNotice {
	h.t.Helper()
	d := h.upload("agent/"+data.Schema.Holder, id, data)
	func() {
		defer h.lock()()
		h.sheets[id] = laketest.SheetBytes(h.t, id, data)
	}()
	if status, code := h.complete("agent/"+data.Schema.Holder, d); status != 202 {
		h.t.Fatalf("complete: %d %s", status, code)
	}
	var n contract.DeliveryNotice
	h.until("the notice of "+id, func() bool {
		for _, notice := range h.notices {
			if notice.Kind == "delivery" {
				check(h.t, json.Unmarshal(notice.Body, &n))
				if n.Delivery == id {
					return true
				}
			}
		}
		return false
	})
	return n
}

// status waits until a delivery is in a state and returns the reason.
func (h *hub) status(id, want string) string {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond) // the route has no long poll
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		_, _, out := h.call("agent/cnam", "GET", "/v1/deliveries/"+id, nil, nil)
		if out["status"] == want {
			return out["reason"].(string)
		}
	}
	h.t.Fatalf("delivery %s never became %s", id, want)
	return ""
}

// entries reads the ledger once it holds at least n entries.
func (h *hub) entries(n int) (out []ledger.Entry) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond) // the way from the outbox to the log has no other end to wait for
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); len(out) < n && time.Now().Before(deadline); <-tick.C {
		var bundle []byte
		files, err := filepath.Glob(filepath.Join(h.dir, "ledger", "tile", "entries", "000.p", "*"))
		check(h.t, err)
		for _, path := range files {
			if b, err := os.ReadFile(path); err == nil && len(b) > len(bundle) {
				bundle = b
			}
		}
		for out = nil; len(bundle) > 2; {
			size := int(bundle[0])<<8 | int(bundle[1])
			e, err := ledger.Decode(bundle[2 : 2+size])
			check(h.t, err)
			out, bundle = append(out, e), bundle[2+size:]
		}
	}
	return out
}
