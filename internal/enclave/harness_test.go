package enclave

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/parquet-go/parquet-go"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

// binary is the program that runs inside sandboxes, built once for all tests.
var binary string

var (
	once     sync.Once
	checks   []sandbox.Check
	checkErr error
)

func TestMain(m *testing.M) {
	if file := os.Getenv("MITRAL_TEST_ENCLAVE"); file != "" {
		os.Exit(child(file))
	}
	dir, err := os.MkdirTemp("/tmp", "enclave-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "mitral")
	if out, err := exec.Command("go", "build", "-o", binary, "../../test/sandboxbin").CombinedOutput(); err != nil {
		fmt.Println(string(out))
		panic(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	// The machine does not change between tests: one real self-test is enough for all enclaves here.
	real := selfTest
	selfTest = func(r *sandbox.Runner, ctx context.Context) ([]sandbox.Check, error) {
		once.Do(func() { checks, checkErr = real(r, ctx) })
		return checks, checkErr
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// child is the enclave as a process of its own, to be killed.
func child(file string) int {
	var cfg Config
	if err := conf.Load(file, &cfg); err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := New(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer m.Close()
	if err := m.Run(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// hub is the world around an enclave: a portal's order book and a vault that speak the protocol over mutual
// TLS, an officer, reviewers, and engine's handover directory.
type hub struct {
	t        *testing.T
	dir      string
	cfg      Config
	officer  *contracttest.Officer
	person   *contracttest.Officer
	reviewer []*contracttest.Officer
	identity *age.X25519Identity
	clock    clock.Shifted

	mu       sync.Mutex
	orders   []contract.NumberedOrder
	receipts []contract.Receipt
	files    map[string][]byte // export/name → content
	exports  [][]byte
	hangAt   string        // "file" or "close": the next such request is taken, and its answer hangs
	arrived  chan struct{} // closed when it was taken
	hold     chan struct{} // closed to let it go
	changed  chan struct{}
	keys     int
}

func newHub(t *testing.T) *hub {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		if os.Getenv("MITRAL_REQUIRE") == "1" {
			t.Fatal(err)
		}
		t.Skip("bubblewrap is not installed")
	}
	dir, err := os.MkdirTemp("/tmp", "enclave-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // the scratch directory below must be passable
		t.Fatal(err)
	}
	h := &hub{t: t, dir: dir, files: map[string][]byte{}, changed: make(chan struct{}), clock: clock.Shifted{Path: filepath.Join(dir, "clock")}}
	h.officer, h.person = contracttest.NewOfficer(t, "officer-1"), contracttest.NewOfficer(t, "p1")
	h.reviewer = []*contracttest.Officer{contracttest.NewOfficer(t, "rev-1"), contracttest.NewOfficer(t, "rev-2"), contracttest.NewOfficer(t, "rev-3")}
	if h.identity, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	pkiDir := filepath.Join(dir, "pki")
	if err := pki.Init(pkiDir); err != nil {
		t.Fatal(err)
	}
	files := map[string]conf.TLS{}
	for _, z := range []string{"portal", "vault", "enclave"} {
		if files[z], err = pki.Issue(pkiDir, "zone", z, []string{"127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	portal := h.serve(files["portal"], h.portal())
	vault := h.serve(files["vault"], h.vault())
	zone := filepath.Join(dir, "zone")
	for _, d := range []string{zone, filepath.Join(dir, "handover")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	roll := contracttest.Roll(h.officer)
	for _, r := range h.reviewer {
		e := r.Enrolment(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
		e.Role, e.Name = "reviewer", "Reviewer "+r.ID
		roll.Enrolments = append(roll.Enrolments, e)
	}
	contracttest.WriteRoll(t, zone, roll)
	h.cfg = Config{
		Zone:   conf.Zone{Dir: zone, TLS: files["enclave"], DemoClock: h.clock.Path},
		Portal: "https://" + portal, Vault: "https://" + vault, Handover: filepath.Join(dir, "handover"),
		Door: Door{Listen: "127.0.0.1:0", URL: "http://127.0.0.1:1", RPID: contracttest.RPID, Origins: []string{contracttest.Origin}},
		Demo: true, Sandbox: Sandbox{Binary: binary, Scratch: filepath.Join(dir, "scratch")},
	}
	return h
}

func (h *hub) serve(tls conf.TLS, handler http.Handler) string {
	h.t.Helper()
	s, err := httpx.ServeMutual(context.Background(), "127.0.0.1:0", tls, httpx.OnlyZones("enclave")(handler))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		s.Shutdown(ctx) // a long poll is cut
	})
	return s.Addr()
}

// notify wakes whoever waits for a change; h.mu is held.
func (h *hub) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) portal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orderbook/v1/orders", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		deadline := time.After(2 * time.Second)
		for {
			h.mu.Lock()
			var out []contract.NumberedOrder
			for _, o := range h.orders {
				if o.Seq > after {
					out = append(out, o)
				}
			}
			wait := h.changed
			h.mu.Unlock()
			if len(out) == 0 {
				select {
				case <-wait:
					continue
				case <-deadline:
				case <-r.Context().Done():
				}
			}
			httpx.JSON(w, 200, map[string]any{"orders": out})
			return
		}
	})
	mux.HandleFunc("POST /orderbook/v1/receipts", func(w http.ResponseWriter, r *http.Request) {
		var in contract.Receipt
		if err := httpx.Decode(r, 1<<20, &in); err != nil {
			httpx.Fail(w, r, err)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.ContainsFunc(h.receipts, func(x contract.Receipt) bool { return x.ID == in.ID }) {
			h.receipts = append(h.receipts, in)
			h.notify()
		}
	})
	mux.HandleFunc("POST /orderbook/v1/notices", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("PUT /orderbook/v1/exports/{export}/files/{name}", func(w http.ResponseWriter, r *http.Request) {
		var buf bytes.Buffer
		if _, _, err := httpx.ReadDigest(r, 50<<20, &buf); err != nil {
			httpx.Fail(w, r, err)
			return
		}
		h.mu.Lock()
		h.files[r.PathValue("export")+"/"+r.PathValue("name")] = buf.Bytes()
		h.mu.Unlock()
		h.hang("file")
	})
	mux.HandleFunc("POST /orderbook/v1/exports/{export}", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.exports = append(h.exports, b)
		h.notify()
		h.mu.Unlock()
		h.hang("close")
	})
	return mux
}

// hang keeps the answer to a request back, once.
func (h *hub) hang(at string) {
	h.mu.Lock()
	hit, arrived, hold := h.hangAt == at, h.arrived, h.hold
	if hit {
		h.hangAt = ""
	}
	h.mu.Unlock()
	if hit {
		close(arrived)
		<-hold
	}
}

func (h *hub) vault() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/workspace-keys/identity", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Permit contract.SignedPermit `json:"permit"`
		}
		err := httpx.Decode(r, 1<<20, &in)
		if err == nil {
			_, err = contract.VerifyPermit(in.Permit, contracttest.Roll(h.officer), h.clock.Now())
		}
		if err != nil {
			httpx.Problem(w, r, 403, contract.RefusalCode(err), err.Error())
			return
		}
		h.mu.Lock()
		h.keys++
		h.mu.Unlock()
		httpx.JSON(w, 200, map[string]string{"identity": h.identity.String()})
	})
	return mux
}

// permit is a signed permit that names p1 with her passkey.
func (h *hub) permit(change func(*contract.Permit)) contract.SignedPermit {
	p := contracttest.Permit(h.clock.Now())
	p.Persons = []contract.Person{{ID: "p1", Name: "Rita Researcher", Principal: true, Credentials: []contract.PublicKey{h.person.PublicKey()}},
		{ID: "p2", Name: "Paul Colleague"}}
	p.Datasets[0].Tables = []contract.TableScope{{Table: "ER_PRS_F", Columns: []string{"EXE_SOI_DTD", "PRS_NAT_REF"}}}
	if change != nil {
		change(&p)
	}
	return h.officer.Sign(h.t, p)
}

func (h *hub) order(id string, permit *contract.SignedPermit) contract.Order {
	return contract.Order{Schema: contract.OrderSchema, ID: id, Zone: contract.ZoneEnclave, Kind: contract.OrderWorkspace, CreatedAt: h.clock.Now(), Permit: permit}
}

func (h *hub) send(o contract.Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders = append(h.orders, contract.NumberedOrder{Seq: int64(len(h.orders) + 1), Order: o})
	h.notify()
}

// event is a row of the test's data: a pseudonym as engine writes it, a code and a year.
type event struct {
	Person string `parquet:"person_id"`
	Code   string `parquet:"PRS_NAT_REF"`
	Year   int32  `parquet:"year"`
}

// events: code A has 40 persons, code B 15, code C 3.
func events() (out []event) {
	for i := range 58 {
		e := event{Code: "A", Year: 2020 + int32(i%2)}
		switch {
		case i >= 55:
			e.Code = "C"
		case i >= 40:
			e.Code = "B"
		}
		var p [16]byte
		for j := range p {
			p[j] = byte(i*7 + j*13 + 1)
		}
		e.Person = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).EncodeToString(p[:])
		out = append(out, e)
	}
	return out
}

// handOver leaves a sealed dataset as engine does; change may spoil it.
func (h *hub) handOver(permit contract.SignedPermit, change func(*contract.Handover, string)) {
	h.t.Helper()
	var p contract.Permit
	if err := json.Unmarshal(permit.Permit, &p); err != nil {
		h.t.Fatal(err)
	}
	digest, err := contract.PermitDigest(&p)
	if err != nil {
		h.t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := parquet.Write(&plain, events()); err != nil {
		h.t.Fatal(err)
	}
	sealed, err := contract.Seal(h.identity.Recipient().String(), plain.Bytes())
	if err != nil {
		h.t.Fatal(err)
	}
	dir := filepath.Join(h.cfg.Handover, p.ID, "order-data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	const name = "snds.ER_PRS_F.parquet"
	ho := &contract.Handover{Schema: "mitral.handover/1", OrderID: "order-data", PermitID: p.ID,
		Files: []contract.HandoverFile{{Name: name, Digest: contract.DigestOf(plain.Bytes()), SealedDigest: contract.DigestOf(sealed), Bytes: int64(plain.Len())}},
		Report: contract.ProvisionReport{Schema: "mitral.provision/1", OrderID: "order-data", PermitID: p.ID, PermitDigest: digest, FinishedAt: h.clock.Now(),
			Digest: contract.DigestOf(plain.Bytes()),
			Tables: []contract.TableProvision{{Holder: "cnam", Dataset: "snds", Table: "ER_PRS_F", RowsOut: 58, ColumnsKept: []string{"person_id", "PRS_NAT_REF", "year"}}}}}
	if err := os.WriteFile(filepath.Join(dir, name+".age"), sealed, 0o600); err != nil {
		h.t.Fatal(err)
	}
	if change != nil {
		change(ho, dir)
	}
	b, err := json.Marshal(ho)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "handover.json.tmp"), b, 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "handover.json.tmp"), filepath.Join(dir, "handover.json")); err != nil {
		h.t.Fatal(err)
	}
}

// start runs the enclave in this process and returns the address of its door.
func (h *hub) start() (*Main, string) {
	h.t.Helper()
	m, err := New(context.Background(), h.cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Error("run:", err)
			}
		case <-time.After(12 * time.Second):
			h.t.Error("the enclave did not stop within 10 s")
		}
		m.Close()
	})
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	addr, err := m.Addr(wait)
	if err != nil {
		h.t.Fatal(err)
	}
	if m.workspaces.SandboxErr != nil {
		if os.Getenv("MITRAL_REQUIRE") == "1" {
			h.t.Fatal(m.workspaces.SandboxErr)
		}
		h.t.Skip("no sandbox on this machine: ", m.workspaces.SandboxErr)
	}
	return m, "http://" + addr
}

// running lists the jobs that have decrypted data in the scratch directory.
func (h *hub) running() (jobs []string) {
	entries, err := os.ReadDir(h.cfg.Sandbox.Scratch)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "job-") {
			jobs = append(jobs, e.Name())
		}
	}
	return jobs
}

func (h *hub) scratchFills()   { h.t.Helper(); h.until(func() bool { return len(h.running()) > 0 }) }
func (h *hub) scratchEmpties() { h.t.Helper(); h.until(func() bool { return len(h.running()) == 0 }) }

// until looks every 20 ms whether something that another process does has happened.
func (h *hub) until(happened func() bool) {
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !happened(); <-tick.C {
		if time.Now().After(deadline) {
			h.t.Fatal("it did not happen within a minute")
		}
	}
}

// receipt waits for a final receipt of an order.
func (h *hub) receipt(order string) contract.Receipt {
	h.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		h.mu.Lock()
		for _, r := range h.receipts {
			if r.OrderID == order && r.Status.Final() {
				h.mu.Unlock()
				return r
			}
		}
		wait := h.changed
		h.mu.Unlock()
		select {
		case <-wait:
		case <-deadline:
			h.t.Fatalf("no final receipt for %s", order)
		}
	}
}

// exportsSent waits until the portal has n closing documents.
func (h *hub) exportsSent(n int) [][]byte {
	h.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		h.mu.Lock()
		got, wait := slices.Clone(h.exports), h.changed
		h.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-wait:
		case <-deadline:
			h.t.Fatalf("the portal has %d exports, want %d", len(got), n)
		}
	}
}

// opened starts an enclave with one open workspace.
func (h *hub) opened() (m *Main, base, ws string, permit contract.SignedPermit) {
	h.t.Helper()
	permit = h.permit(nil)
	h.send(h.order("order-1", &permit))
	h.handOver(permit, nil)
	m, base = h.start()
	if r := h.receipt("order-1"); r.Status != contract.ReceiptDone {
		h.t.Fatalf("receipt %+v", r)
	}
	return m, base, "ws-test", permit
}
