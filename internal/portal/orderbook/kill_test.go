package orderbook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
)

const childEnv = "ORDERBOOK_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child is a portal that only has an order book. Its hooks write one row for each receipt and export,
// in the transaction that stores them.
func child(dir string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "state.db"))
	fail(err)
	b, err := orderbook.New(ctx, orderbook.Options{DB: db, Dir: dir, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	fail(err)
	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS effects (id TEXT NOT NULL)`)
	fail(err)
	effect := func(ctx context.Context, tx *store.Tx, id string) error {
		_, err := tx.Exec(ctx, `INSERT INTO effects (id) VALUES (?)`, id)
		return err
	}
	b.OnReceipt(func(ctx context.Context, tx *store.Tx, r contract.Receipt) error { return effect(ctx, tx, r.ID) })
	b.OnExport(func(ctx context.Context, tx *store.Tx, e contract.Export) error { return effect(ctx, tx, e.ID) })
	s, err := httpx.ServeMutual(ctx, "127.0.0.1:0", pki.Files(dir, "zone", "portal"), b.Handler())
	fail(err)
	fmt.Println(s.Addr())
	select {}
}

func startChild(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "https://" + strings.TrimSpace(line), func() {
		_ = cmd.Process.Kill() // SIGKILL; it may be dead already
		_ = cmd.Wait()
	}
}

// TestKilledAtAnyInstantNothingIsLostOrDoubled sends receipts and exports to a portal that is killed
// again and again, as a zone would: each message until it is confirmed.
func TestKilledAtAnyInstantNothingIsLostOrDoubled(t *testing.T) {
	dir := t.TempDir()
	if err := pki.Init(dir); err != nil {
		t.Fatal(err)
	}
	certs := map[string]conf.TLS{}
	for _, z := range []string{"portal", "engine", "enclave"} {
		c, err := pki.Issue(dir, "zone", z, []string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		certs[z] = c
	}
	const n = 60
	b, db := newBook(t, "sqlite:"+filepath.Join(dir, "state.db"), dir)
	for i := range n {
		put(t, b, db, order(fmt.Sprintf("order-%d", i), contract.ZoneEngine, contract.OrderProvision))
	}
	addr, kill := startChild(t, dir)
	defer func() { kill() }()
	sent := 0
	send := func(as, method, path, digest, body string) {
		t.Helper()
		for try := 0; ; try++ {
			sent++
			if sent%13 == 0 {
				// In the middle of this request, not before it: the kill races with the answer.
				go kill()
			}
			r, err := http.NewRequestWithContext(t.Context(), method, addr+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if digest != "" {
				r.Header.Set("Digest", digest)
			}
			resp, err := httpx.MutualClient(certs[as], "portal").Do(r)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == 200 {
					return
				}
				t.Fatalf("%s %s: %d", method, path, resp.StatusCode)
			}
			if try > 20 {
				t.Fatal(err)
			}
			kill()
			addr, kill = startChild(t, dir)
		}
	}
	for i := range n {
		raw, err := json.Marshal(contract.Receipt{ID: fmt.Sprintf("r-%d", i), OrderID: fmt.Sprintf("order-%d", i), Zone: "engine", Status: contract.ReceiptDone, At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		send("engine", "POST", "/orderbook/v1/receipts", "", string(raw))
		if i%3 == 0 {
			id, content := fmt.Sprintf("export-%d", i), fmt.Sprintf("n\n%d\n", i)
			send("enclave", "PUT", "/orderbook/v1/exports/"+id+"/files/out.csv", string(contract.DigestOf([]byte(content))), content)
			raw, err := json.Marshal(exportOf(id, "out.csv", content))
			if err != nil {
				t.Fatal(err)
			}
			send("enclave", "POST", "/orderbook/v1/exports/"+id, "", string(raw))
		}
	}
	kill()
	rows, err := db.Query(t.Context(), `SELECT id, COUNT(*) FROM effects GROUP BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	effects := 0
	for rows.Next() {
		var id string
		var times int64
		if err := rows.Scan(&id, &times); err != nil {
			t.Fatal(err)
		}
		if times != 1 {
			t.Errorf("%s took effect %d times", id, times)
		}
		effects++
	}
	if effects != n+n/3 {
		t.Errorf("%d effects, want %d", effects, n+n/3)
	}
	if list, err := b.Orders(t.Context(), contract.ZoneEngine, 0, 0); err != nil || len(list) != 0 {
		t.Errorf("%d orders are still open, %v", len(list), err)
	}
	for i := 0; i < n; i += 3 {
		f, _, err := b.OpenExportFile(t.Context(), fmt.Sprintf("export-%d", i), "out.csv")
		if err != nil {
			t.Errorf("export-%d: %v", i, err)
			continue
		}
		f.Close()
	}
}
