package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/engine/plan/plantest"
	"github.com/mitral-health/mitral/internal/engine/provision"
)

// configEnv holds the configuration of an engine that this test binary is to be.
const configEnv = "MITRAL_TEST_ENGINE"

func TestMain(m *testing.M) {
	text := os.Getenv(configEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var cfg engine.Config
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		var e *engine.Main
		if e, err = engine.New(context.Background(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil {
			fmt.Println("https://" + e.Addr())
			err = e.Run(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process starts the engine as a process of its own and returns a function that kills it as a power cut
// would.
func (h *hub) process() (kill func()) {
	h.t.Helper()
	text, err := json.Marshal(h.cfg)
	check(h.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), configEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	check(h.t, err)
	check(h.t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		h.t.Fatalf("the engine did not start: %v", err)
	}
	h.url = line[:len(line)-1]
	killed := false
	kill = func() {
		if !killed {
			killed = true
			check(h.t, cmd.Process.Kill())
			if err := cmd.Wait(); err == nil {
				h.t.Error("the killed process ended well")
			}
		}
	}
	h.t.Cleanup(kill)
	return kill
}

// killed starts the engine and kills it, several times, each time a little later; then it lets it live.
func (h *hub) killed(r *rand.Rand) (kill func()) {
	for i := range 6 {
		kill := h.process()
		// A process is killed at an instant, so time must pass: this is no wait for a result.
		time.Sleep(time.Duration(r.IntN(60*(i+1))) * time.Millisecond)
		kill()
	}
	return h.process()
}

func TestKilledWhileJoiningAndProvisioning(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHub(t, t.TempDir())
	kill := h.process()
	data := sample(1, 80, 3000)
	d := h.upload("agent/cnam", "d1", data)
	if status, code := h.complete("agent/cnam", d); status != 202 {
		t.Fatalf("%d %s", status, code)
	}
	func() {
		defer h.lock()()
		h.sheets["d1"] = laketest.SheetBytes(t, "d1", data)
	}()
	kill()
	kill = h.killed(r)
	h.status("d1", "published")
	kill()

	objectors := plantest.Set{laketest.H(3): true, laketest.H(4): true}
	for person := range objectors {
		h.roll = append(h.roll, person[:]...)
	}
	p := dataPermit()
	o := h.newOrder(contract.OrderProvision, h.signed(p), nil)
	h.order(o)
	kill = h.killed(r)
	h.until("the final receipt", func() bool { return h.final(o.ID) != nil })
	kill()

	// Nothing lost, nothing doubled: the lake holds the delivery, and the project what the oracle selects.
	l, err := lake.Open(filepath.Join(h.dir, "lake"), t.TempDir(), lake.Options{})
	check(t, err)
	s, err := l.Snapshot()
	check(t, err)
	m, _ := s.Dataset("cnam", "snds")
	for i := range m.Tables {
		table := &m.Tables[i]
		if n := len(laketest.ReadRows(t, m.Files(table)...)); n != len(data.Rows[table.Name]) {
			t.Errorf("%s has %d rows, want %d", table.Name, n, len(data.Rows[table.Name]))
		}
	}
	want := plantest.Select(t, &p, s, objectors)
	handover, err := provision.ReadHandover(filepath.Join(h.cfg.Handover, p.ID, o.ID))
	check(t, err)
	if handover.Report.Persons.Delivered != int64(len(want.Delivered)) || handover.Report.Persons.Objected != int64(len(want.Objected)) {
		t.Errorf("%+v, want %d and %d", handover.Report.Persons, len(want.Delivered), len(want.Objected))
	}
	for i, table := range handover.Report.Tables {
		if table.RowsOut != int64(len(want.Tables[i].Rows)) {
			t.Errorf("%s: %d rows, want %d", table.Table, table.RowsOut, len(want.Tables[i].Rows))
		}
	}
	var finals []string
	for _, r := range h.receipts {
		if r.Status.Final() && !slices.Contains(finals, r.ID+string(r.Body)) {
			finals = append(finals, r.ID+string(r.Body))
		}
	}
	if len(finals) != 1 {
		t.Errorf("%d different final receipts", len(finals))
	}
	told := map[string]bool{}
	for _, n := range h.notices {
		if n.Kind == "delivery" {
			told[n.ID] = true
		}
	}
	if len(told) != 1 {
		t.Errorf("%d notices of one delivery", len(told))
	}
}

func TestUploadToAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("needs the right to mount a small disk: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	h := newHub(t, disk)
	h.run()
	defer h.stop()
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	check(t, err)
	for {
		var free syscall.Statfs_t
		check(t, syscall.Statfs(disk, &free))
		if int64(free.Bavail)*free.Bsize < 2<<20 { // room for the database, not for the part
			break
		}
		_, err := f.Write(make([]byte, 256<<10))
		check(t, err)
	}
	check(t, f.Close())
	big := make([]byte, 3<<20)
	if status, code := h.put("agent/cnam", "/v1/deliveries/d1/tables/PRS/part-0", big); status != 507 || code != "disk_full" {
		t.Errorf("%d %s", status, code)
	}
	if status, code, _ := h.call("agent/cnam", "GET", "/v1/deliveries/d1", nil, nil); status != 404 {
		t.Errorf("half a delivery is there: %d %s", status, code)
	}
	check(t, os.Remove(ballast))
	if status, code := h.put("agent/cnam", "/v1/deliveries/d1/tables/PRS/part-0", big); status != 200 {
		t.Errorf("after room was made: %d %s", status, code)
	}
}
