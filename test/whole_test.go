package test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/parquet-go/parquet-go"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demo"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/sample"
)

var allZones = []string{contract.ZonePortal, contract.ZoneTrust, contract.ZoneVault, contract.ZoneEngine, contract.ZoneEnclave}

// TestWholeHub walks the journey once and then looks at the hub it leaves behind: who knows what, whether
// the ledgers can be trusted, when an objection counts, and what a portal that was taken over can do.
// The parts share one hub, because starting one takes seconds.
func TestWholeHub(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	h := openHub(t, nil)
	planted := plant(t, h)
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if r := h.Walk(ctx, testWriter{t}); !r.Passed {
		t.Fatal(r.Failure)
	}
	t.Run("nobody knows more than they must", func(t *testing.T) { testInvariants(t, ctx, h, planted) })
	t.Run("an altered ledger names the entry", func(t *testing.T) { testTampering(t, h) })
	t.Run("an objection counts from its date on", func(t *testing.T) { testObjectionDates(t, ctx, h) })
	t.Run("a portal that was taken over gets nothing", func(t *testing.T) { testForgery(t, ctx, h) })
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// canaries are what was planted in the holders' files.
type canaries struct {
	identities, payload []string
}

// plant makes the sample country ahead of the hub and writes names that nobody has, and codes that do not
// exist, into its files; it also remembers national numbers.
func plant(t *testing.T, h *demo.Hub) canaries {
	t.Helper()
	_, err := sample.Generate(context.Background(), sample.Options{People: 1000, Seed: 7, Years: 3, Out: filepath.Join(h.Dir(), "sample"), Format: sample.CSV})
	if err != nil {
		t.Fatal(err)
	}
	var c canaries
	dir := filepath.Join(h.Dir(), "sample", "holders")
	edit(t, filepath.Join(dir, "cnam", "snds", "IR_BEN_R.csv"), func(i int, row map[string]string) {
		if i%20 == 0 {
			row["BEN_NOM_NAI"] = "Zkanarien" + letters(i)
			c.identities = append(c.identities, row["BEN_NOM_NAI"])
		}
		if i%20 == 1 && len(row["BEN_NIR"]) == 15 {
			c.identities = append(c.identities, row["BEN_NIR"])
		}
	})
	edit(t, filepath.Join(dir, "sante-publique", "oscour", "RPU.csv"), func(i int, row map[string]string) {
		if i%10 == 0 {
			row["PRENOM"] = "Zkanarienina" + letters(i)
			c.identities = append(c.identities, row["PRENOM"])
		}
	})
	edit(t, filepath.Join(dir, "cnam", "snds", "ER_PHA_F.csv"), func(i int, row map[string]string) {
		if i%100 == 0 {
			row["PHA_PRS_C13"] = "ZPAYLOAD" + letters(i)
			c.payload = append(c.payload, row["PHA_PRS_C13"])
		}
	})
	if len(c.identities) < 100 || len(c.payload) < 100 {
		t.Fatalf("only %d identities and %d codes planted", len(c.identities), len(c.payload))
	}
	return c
}

// letters writes a number with letters only, so that it is part of a name.
func letters(i int) string {
	s := ""
	for range 5 {
		s += string(rune('a' + i%26))
		i /= 26
	}
	return s
}

// edit rewrites a CSV file row by row.
func edit(t *testing.T, path string, change func(i int, row map[string]string)) {
	t.Helper()
	in, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(in)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.Write(rows[0])
	for i, r := range rows[1:] {
		m := map[string]string{}
		for j, name := range rows[0] {
			m[name] = r[j]
		}
		change(i, m)
		for j, name := range rows[0] {
			r[j] = m[name]
		}
		w.Write(r)
	}
	w.Flush()
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// testInvariants is HOUSE's first invariant with the real processes: an identity never meets health data or
// a project pseudonym, hub pseudonyms never leave trust and engine.
func testInvariants(t *testing.T, ctx context.Context, h *demo.Hub, c canaries) {
	identities, payload, hub, project := newNeedles(), newNeedles(), newNeedles(), newNeedles()
	for _, s := range c.identities {
		identities.addText("identity "+s, s)
	}
	for _, s := range c.payload {
		payload.addText("payload "+s, s)
	}
	hs := lakePseudonyms(t, filepath.Join(h.ZoneDir(contract.ZoneEngine), "lake"))
	if len(hs) < 500 {
		t.Fatalf("only %d hub pseudonyms found in the lake", len(hs))
	}
	for i, id := range hs {
		hub.addID(fmt.Sprintf("H %d", i), id[:])
	}
	plain := openProjectData(t, ctx, h)
	ps := projectPseudonyms(t, plain)
	if len(ps) < 20 {
		t.Fatalf("only %d project pseudonyms found", len(ps))
	}
	for i, p := range ps {
		project.add(fmt.Sprintf("P %d", i), []byte(p))
		raw, err := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).DecodeString(p)
		if err != nil || len(raw) != 16 {
			t.Fatalf("pseudonym %q is not 128 bits in base32", p)
		}
		project.addID(fmt.Sprintf("P %d", i), raw)
	}

	dir := map[string]string{"handover": filepath.Join(h.Dir(), "handover"), "logs": filepath.Join(h.Dir(), "logs"), "project data": plain}
	for _, z := range allZones {
		dir[z] = h.ZoneDir(z)
	}
	for _, rule := range []struct {
		what    string
		needles *needles
		must    []string // where it is known, so the search can find it
		never   []string
	}{
		{"identities", identities, []string{contract.ZoneTrust}, []string{contract.ZonePortal, contract.ZoneVault, contract.ZoneEngine, contract.ZoneEnclave, "handover", "logs", "project data"}},
		{"payload", payload, []string{contract.ZoneEngine}, []string{contract.ZonePortal, contract.ZoneTrust, contract.ZoneVault, "handover", "logs"}},
		{"hub pseudonyms", hub, []string{contract.ZoneEngine}, []string{contract.ZonePortal, contract.ZoneVault, contract.ZoneEnclave, "handover", "logs", "project data"}},
		{"project pseudonyms", project, []string{"project data"}, []string{contract.ZonePortal, contract.ZoneTrust, contract.ZoneVault, contract.ZoneEngine, "handover", "logs"}},
	} {
		for _, place := range rule.must {
			if hits, _ := scanTree(t, dir[place], rule.needles); len(hits) == 0 {
				t.Errorf("the search finds no %s even in %s: it has no power", rule.what, place)
			}
		}
		for _, place := range rule.never {
			hits, scanned := scanTree(t, dir[place], rule.needles)
			if len(hits) > 0 {
				t.Errorf("%s found in %s: %s", rule.what, place, strings.Join(hits[:min(3, len(hits))], "; "))
			}
			if scanned == 0 && place != "handover" {
				t.Errorf("nothing was searched in %s", place)
			}
		}
	}
}

// lakePseudonyms reads the column h of every Parquet file of the lake.
func lakePseudonyms(t *testing.T, dir string) [][16]byte {
	t.Helper()
	seen := map[[16]byte]bool{}
	eachFile(t, dir, ".parquet", func(path string, data []byte) {
		eachValue(t, path, data, "h", func(v parquet.Value) {
			if b := v.ByteArray(); len(b) == 16 {
				seen[[16]byte(b)] = true
			}
		})
	})
	var out [][16]byte
	for h := range seen {
		out = append(out, h)
	}
	return out
}

// projectPseudonyms reads the column person_id of the opened project data.
func projectPseudonyms(t *testing.T, dir string) []string {
	t.Helper()
	seen := map[string]bool{}
	eachFile(t, dir, ".parquet", func(path string, data []byte) {
		eachValue(t, path, data, "person_id", func(v parquet.Value) { seen[string(v.ByteArray())] = true })
	})
	var out []string
	for p := range seen {
		out = append(out, p)
	}
	return out
}

func eachFile(t *testing.T, dir, ending string, f func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ending) {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			f(path, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func eachValue(t *testing.T, path string, data []byte, column string, f func(parquet.Value)) {
	t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	leaf, ok := file.Schema().Lookup(column)
	if !ok {
		return
	}
	values := make([]parquet.Value, 1024)
	for _, g := range file.RowGroups() {
		pages := g.ColumnChunks()[leaf.ColumnIndex].Pages()
		for {
			page, err := pages.ReadPage()
			if err != nil {
				break
			}
			r := page.Values()
			for {
				n, err := r.ReadValues(values)
				for _, v := range values[:n] {
					f(v)
				}
				if err != nil {
					break
				}
			}
		}
		pages.Close()
	}
}

// openProjectData plays the enclave once more: it asks vault for the workspace's key with the signed
// permit, opens the sealed files and writes them to a directory of the test.
func openProjectData(t *testing.T, ctx context.Context, h *demo.Hub) string {
	t.Helper()
	c, err := h.SignIn(ctx, "researcher", "1")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Applications []struct {
			PermitID string `json:"permit_id"`
		} `json:"applications"`
	}
	if err := c.Call(ctx, http.MethodGet, "/api/v1/applications", nil, &list); err != nil || len(list.Applications) == 0 {
		t.Fatal("no application", err)
	}
	var signed contract.SignedPermit
	if err := c.Call(ctx, http.MethodGet, "/api/v1/permits/"+list.Applications[0].PermitID, nil, &signed); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"permit": signed})
	if err != nil {
		t.Fatal(err)
	}
	vault := httpx.MutualClient(h.TLS(contract.ZoneEnclave), contract.ZoneVault)
	resp, err := vault.Post("https://"+h.Address(contract.ZoneVault)+"/v1/workspace-keys/identity", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var key struct {
		Identity string `json:"identity"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&key); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal("vault gives the enclave no key:", resp.Status, err)
	}
	identity, err := age.ParseX25519Identity(key.Identity)
	if err != nil {
		t.Fatal("vault's answer is not a key")
	}
	out := t.TempDir()
	n := 0
	eachFile(t, h.ZoneDir(contract.ZoneEnclave), ".parquet.age", func(path string, data []byte) {
		r, err := age.Decrypt(bytes.NewReader(data), identity)
		if err != nil {
			t.Fatalf("%s does not open: %v", path, err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if err := os.WriteFile(filepath.Join(out, fmt.Sprintf("%d.parquet", n)), plain, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if n != 5 {
		t.Fatalf("the workspace holds %d sealed tables, want 5", n)
	}
	return out
}

// testTampering flips one byte of an entry in a copy of each zone's ledger and has the command find it.
func testTampering(t *testing.T, h *demo.Hub) {
	for _, zone := range allZones {
		clean := filepath.Join(t.TempDir(), zone)
		if err := os.CopyFS(clean, os.DirFS(filepath.Join(h.ZoneDir(zone), "ledger"))); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "verify", clean).CombinedOutput(); err != nil {
			t.Errorf("%s: a ledger that nobody touched does not verify: %s", zone, out)
			continue
		}
		var bundle string
		eachFile(t, filepath.Join(clean, "tile", "entries"), "", func(path string, data []byte) {
			if bundle == "" || len(data) > 0 {
				bundle = path
			}
		})
		data, err := os.ReadFile(bundle)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte(`"action"`)) + 11 // inside the first entry's action
		data[at] ^= 1
		if err := os.WriteFile(bundle, data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "verify", clean).CombinedOutput()
		var exit *exec.ExitError
		if err == nil || !asExit(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "entry 0") {
			t.Errorf("%s: one changed byte of the first entry: exit %v, output %s", zone, err, out)
		}
	}
}

func asExit(err error, target **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*target = e
	return ok
}
