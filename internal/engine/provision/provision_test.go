package provision_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/engine/plan"
	"github.com/mitral-health/mitral/internal/engine/plan/plantest"
	"github.com/mitral-health/mitral/internal/engine/provision"
)

var now = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// block is vault's operation with a key of the test.
var block = func() cipher.Block {
	b, err := aes.NewCipher([]byte(strings.Repeat("k", 32)))
	if err != nil {
		panic(err)
	}
	return b
}()

func pseudonyms(_ context.Context, ids []byte) ([]byte, error) {
	out := make([]byte, len(ids))
	for i := 0; i < len(ids); i += 16 {
		block.Encrypt(out[i:], ids[i:])
	}
	return out, nil
}

func personID(h [16]byte) string {
	p, _ := pseudonyms(context.Background(), h[:])
	return provision.PersonID(p)
}

// twoHolders is a lake with two datasets of one structure whose persons overlap.
func twoHolders(t *testing.T, seed uint64) (*lake.Lake, *lake.Snapshot) {
	t.Helper()
	l, incoming := laketest.Open(t)
	laketest.Publish(t, l, incoming, "d1", laketest.Sample(seeded(seed), 0, 30, 300))
	other := laketest.Sample(seeded(seed+1), 20, 25, 200)
	other.Schema.Holder, other.Schema.Dataset = "sante-publique", "oscour"
	laketest.Publish(t, l, incoming, "d2", other)
	s, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

func fullPermit() contract.Permit {
	p := contracttest.Permit(now)
	p.Datasets = nil
	for _, d := range []contract.DatasetScope{{Holder: "cnam", Dataset: "snds"}, {Holder: "sante-publique", Dataset: "oscour"}} {
		for _, t := range laketest.Claims().Tables {
			var columns []string
			for _, c := range t.Columns {
				if c.Role == contract.RolePayload {
					columns = append(columns, c.Name)
				}
			}
			d.Tables = append(d.Tables, contract.TableScope{Table: t.Name, Columns: columns})
		}
		p.Datasets = append(p.Datasets, d)
	}
	p.Cohort = contract.Cohort{Period: p.Period, AnyOf: []contract.Criterion{
		{Holder: "cnam", Dataset: "snds", Table: "PRS", Column: "CODE", Codes: []string{"E11"}, Prefix: true}}}
	return p
}

func newRun(t laketest.T, dir string, l *lake.Lake, s *lake.Snapshot, p contract.Permit, objectors plantest.Set, to string) *provision.Run {
	t.Helper()
	resolved, err := plan.Provision(&p, s)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return &provision.Run{
		OrderID: "order-1", Plan: resolved, Snapshot: s, LakeDir: l.Dir(), Recipient: to,
		Roll: func(context.Context) ([]byte, error) {
			var out []byte
			for h := range objectors {
				out = append(out, h[:]...)
			}
			return out, nil
		},
		Pseudonyms: pseudonyms, Out: filepath.Join(dir, "handover", p.ID, "order-1"), Work: filepath.Join(dir, "work"),
		Memory: "500MB", Threads: 2, Now: func() time.Time { return now },
	}
}

func identity(t laketest.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// unseal opens every file of a handover into a directory, as enclave does, and checks the digests.
func unseal(t laketest.T, out, to string, h *contract.Handover, id age.Identity) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range h.Files {
		sealed, err := os.ReadFile(filepath.Join(out, f.Name+".age"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := age.Decrypt(strings.NewReader(string(sealed)), id)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if contract.DigestOf(sealed) != f.SealedDigest || contract.DigestOf(plain) != f.Digest || int64(len(plain)) != f.Bytes {
			t.Fatalf("%s: digests or size differ", f.Name)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name), plain, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// text makes a row comparable.
func text(r laketest.Row) string {
	keys := make([]string, 0, len(r))
	for k := range r {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%T:%v;", k, r[k], r[k])
	}
	return b.String()
}

// compare holds a run's result against the oracle's.
func compare(t laketest.T, want plantest.Selection, h *contract.Handover, dir string) {
	t.Helper()
	persons := contract.PersonCounts{Matched: int64(len(want.Matched)), Objected: int64(len(want.Objected)), Delivered: int64(len(want.Delivered))}
	if d := cmp.Diff(persons, h.Report.Persons); d != "" {
		t.Fatalf("persons: %s", d)
	}
	for i, w := range want.Tables {
		got := h.Report.Tables[i]
		if got.Table != w.Name || got.RowsIn != w.RowsIn || got.RowsOut != int64(len(w.Rows)) {
			t.Fatalf("report of %s: %+v, want %d in, %d out", w.Name, got, w.RowsIn, len(w.Rows))
		}
		for reason, n := range got.Dropped {
			if n != w.Dropped[reason] {
				t.Fatalf("%s: dropped %v, want %v", w.Name, got.Dropped, w.Dropped)
			}
		}
		var wantRows, gotRows []string
		for _, r := range w.Rows {
			if hub, ok := r["h"].([16]byte); ok {
				delete(r, "h")
				r["person_id"] = personID(hub)
			}
			wantRows = append(wantRows, text(r))
		}
		last := ""
		for _, r := range laketest.ReadRows(t, filepath.Join(dir, got.Files[0].Name)) {
			if id, ok := r["person_id"].(string); ok {
				if id < last {
					t.Fatalf("%s is not sorted by person", w.Name)
				}
				last = id
			}
			gotRows = append(gotRows, text(r))
		}
		slices.Sort(wantRows)
		slices.Sort(gotRows)
		if d := cmp.Diff(wantRows, gotRows); d != "" {
			t.Fatalf("rows of %s: %s", w.Name, d)
		}
	}
}

func TestRunAgainstTheOracle(t *testing.T) {
	l, s := twoHolders(t, 1)
	id := identity(t)
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		source := drawn{t}
		p := plantest.Draw(source, contracttest.Permit(now), "cnam/snds", "sante-publique/oscour")
		if len(p.Datasets) == 0 {
			t.Skip("a permit of nothing")
		}
		objectors := plantest.Set{}
		for person := range 45 {
			if source.IntN(5) == 0 {
				objectors[laketest.H(person)] = true
			}
		}
		dir, err := os.MkdirTemp("", "provision")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if _, err := plan.Provision(&p, s); contract.RefusalCode(err) == "out_of_scope" && strings.Contains(err.Error(), "no cohort") {
			t.Skip("all persons of reference tables")
		}
		run := newRun(t, dir, l, s, p, objectors, id.Recipient().String())
		h, err := run.Do(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		unseal(t, run.Out, filepath.Join(dir, "plain"), h, id)
		compare(t, plantest.Select(t, &p, s, objectors), h, filepath.Join(dir, "plain"))
		compared++
	})
	if compared == 0 {
		t.Fatal("nothing was compared")
	}
}

// drawn lets the samples draw from rapid.
type drawn struct{ t *rapid.T }

func (d drawn) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "choice") }

func TestSameOrderSameBytes(t *testing.T) {
	l, s := twoHolders(t, 1)
	id := identity(t)
	digests := map[contract.Digest]bool{}
	for threads := range 4 {
		run := newRun(t, t.TempDir(), l, s, fullPermit(), plantest.Set{laketest.H(3): true}, id.Recipient().String())
		run.Threads = 1 + threads
		h, err := run.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Files) != 10 {
			t.Fatalf("%d files", len(h.Files))
		}
		digests[h.Report.Digest] = true
	}
	if len(digests) != 1 {
		t.Fatalf("the same order gave %d different results", len(digests))
	}
}

// No hub pseudonym, ticket or project pseudonym may lie in the clear in what a run leaves, and no hub
// pseudonym in what it has on the way.
func TestNoCrosswalkOnDisk(t *testing.T) {
	l, s := twoHolders(t, 1)
	dir := t.TempDir()
	run := newRun(t, dir, l, s, fullPermit(), nil, identity(t).Recipient().String())
	var hubs [][]byte
	for person := range 45 {
		h := laketest.H(person)
		hex := fmt.Sprintf("%x", h)
		hubs = append(hubs, h[:], []byte(hex), []byte(hex[:8]+"-"+hex[8:12]+"-"+hex[12:16]))
	}
	looked := 0
	search := func(stage string) error {
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			looked++
			for _, h := range hubs {
				if strings.Contains(string(b), string(h)) {
					return fmt.Errorf("%s: a hub pseudonym lies in %s", stage, path)
				}
			}
			return nil
		})
	}
	provision.OnStage(run, search)
	if _, err := run.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := search("done"); err != nil {
		t.Fatal(err)
	}
	if looked < 20 {
		t.Fatalf("only %d files were searched", looked)
	}
	if _, err := os.Stat(run.Work); !errors.Is(err, fs.ErrNotExist) {
		t.Error("files on the way were left behind")
	}
}

func TestInterruptedAtEachStage(t *testing.T) {
	l, s := twoHolders(t, 1)
	id := identity(t)
	for _, stage := range []string{"staged", "sealed"} {
		dir := t.TempDir()
		run := newRun(t, dir, l, s, fullPermit(), nil, id.Recipient().String())
		provision.OnStage(run, func(at string) error {
			if at == stage {
				return errors.New("fault")
			}
			return nil
		})
		if _, err := run.Do(t.Context()); err == nil {
			t.Fatal("no fault")
		}
		if _, err := provision.ReadHandover(run.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("something is visible after a fault at %s: %v", stage, err)
		}
		// What a killed process leaves behind is in nobody's way.
		for _, d := range []string{run.Out, filepath.Join(run.Work, "final")} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(d, "snds.PRS.parquet.age"), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := newRun(t, dir, l, s, fullPermit(), nil, id.Recipient().String())
		h, err := again.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(run.Out)
		if err != nil || len(entries) != len(h.Files)+1 {
			t.Fatalf("%d files for %d, %v", len(entries), len(h.Files), err)
		}
		third := newRun(t, dir, l, s, fullPermit(), nil, id.Recipient().String())
		third.Pseudonyms = func(context.Context, []byte) ([]byte, error) { return nil, errors.New("must not be asked again") }
		same, err := third.Do(t.Context())
		if err != nil || cmp.Diff(h, same) != "" {
			t.Fatalf("a finished run gave something else: %v %s", err, cmp.Diff(h, same))
		}
	}
}

func TestRunFailsClosed(t *testing.T) {
	l, s := twoHolders(t, 1)
	for name, change := range map[string]func(*provision.Run){
		"no roll": func(r *provision.Run) {
			r.Roll = func(context.Context) ([]byte, error) { return nil, errors.New("trust is away") }
		},
		"half a pseudonym": func(r *provision.Run) {
			r.Roll = func(context.Context) ([]byte, error) { return make([]byte, 17), nil }
		},
		"no vault": func(r *provision.Run) {
			r.Pseudonyms = func(context.Context, []byte) ([]byte, error) { return nil, errors.New("vault is away") }
		},
		"too few pseudonyms": func(r *provision.Run) {
			r.Pseudonyms = func(_ context.Context, b []byte) ([]byte, error) { return b[:16], nil }
		},
		"persons that become one": func(r *provision.Run) {
			r.Pseudonyms = func(_ context.Context, b []byte) ([]byte, error) { return make([]byte, len(b)), nil }
		},
		"no recipient": func(r *provision.Run) { r.Recipient = "age1nobody" },
		"no memory":    func(r *provision.Run) { r.Memory = "1MB" },
	} {
		run := newRun(t, t.TempDir(), l, s, fullPermit(), nil, identity(t).Recipient().String())
		change(run)
		if _, err := run.Do(t.Context()); err == nil {
			t.Errorf("%s: went on", name)
		}
		if _, err := os.Stat(run.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left for the enclave", name)
		}
	}
}

func TestRunOnAFullDisk(t *testing.T) {
	l, s := twoHolders(t, 1)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small disk: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	for _, full := range []string{"work", "out"} {
		run := newRun(t, t.TempDir(), l, s, fullPermit(), nil, identity(t).Recipient().String())
		if full == "work" {
			run.Work = filepath.Join(disk, "work")
		} else {
			run.Out = filepath.Join(disk, "out")
			if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 60<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := run.Do(t.Context()); !duck.DiskFull(err) {
			t.Errorf("%s: want an error that says the disk is full, got %v", full, err)
		}
		if _, err := provision.ReadHandover(run.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is visible: %v", full, err)
		}
	}
}

func TestProtect(t *testing.T) {
	r := contract.ProvisionReport{
		Persons: contract.PersonCounts{Matched: 1234, Objected: 7, Delivered: 1227},
		Tables: []contract.TableProvision{{RowsIn: 99_991, RowsOut: 14, Dropped: map[string]int64{"objected": 3, "no_date": 0, "outside_period": 11},
			Files: []contract.FilePart{{Rows: 14, Bytes: 1025, Digest: "sha256:x"}}}},
	}
	before, _ := json.Marshal(r)
	got := provision.Protect(r, 11)
	want := contract.ProvisionReport{
		Persons: contract.PersonCounts{Matched: 1230, Objected: -1, Delivered: 1230},
		Tables: []contract.TableProvision{{RowsIn: 99_991, RowsOut: 10, Dropped: map[string]int64{"objected": -1, "no_date": 0, "outside_period": 10},
			Files: []contract.FilePart{{Rows: 10, Bytes: 2048, Digest: "sha256:x"}}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if after, _ := json.Marshal(r); string(after) != string(before) {
		t.Error("the full report was changed")
	}
}
