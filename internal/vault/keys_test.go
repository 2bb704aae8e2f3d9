package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func testKeys(t testing.TB) *keys {
	t.Helper()
	k, err := openKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMasterKeyFile(t *testing.T) {
	dir := t.TempDir()
	first, err := openKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "master.key")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Fatalf("%v, %v", info, err)
	}
	again, err := openKeys(dir)
	if err != nil || !bytes.Equal(first.master, again.master) {
		t.Fatalf("another key at the second start: %v", err)
	}
	if bytes.Equal(testKeys(t).master, first.master) {
		t.Fatal("two vaults have one key")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("a key that others can read: %v", err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(dir); err == nil {
		t.Fatal("a short key was accepted")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Fatalf("a lost key was replaced in silence: %v", err)
	}
}

// The pseudonyms of a permit are a permutation of 128-bit values that the key inverts.
func TestPseudonymsAreAPermutation(t *testing.T) {
	k := testKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		permit := rapid.StringMatching(`permit-[0-9a-z]{1,16}`).Draw(t, "permit")
		domain := rapid.String().Draw(t, "domain")
		ids := rapid.SliceOfN(rapid.Byte(), 16, 16*40).Draw(t, "ids")
		ids = ids[:len(ids)/16*16]
		got := bytes.Clone(ids)
		if err := k.pseudonyms(permit, domain, got); err != nil {
			t.Fatal(err)
		}
		// Oracle: the definition in docs/protocols.md, written out.
		key, err := hkdf.Key(sha256.New, k.master, nil, permit+string([]byte{0})+domain, 32)
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		from, to := map[string]string{}, map[string]string{}
		for i := 0; i < len(ids); i += 16 {
			h, p := string(ids[i:i+16]), got[i:i+16]
			if before, ok := from[h]; ok && before != string(p) {
				t.Fatal("one person has two pseudonyms")
			}
			if before, ok := to[string(p)]; ok && before != h {
				t.Fatal("two persons have one pseudonym")
			}
			from[h], to[string(p)] = string(p), h
			var back [16]byte
			block.Decrypt(back[:], p)
			if string(back[:]) != h {
				t.Fatal("the key does not invert the pseudonym")
			}
		}
	})
}

func TestPseudonymsDifferByPermitAndDomain(t *testing.T) {
	k := testKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z]{1,3}`)
		domain := rapid.StringMatching("[a-z\x00]{0,3}")
		p1, d1 := name.Draw(t, "permit"), domain.Draw(t, "domain")
		p2, d2 := name.Draw(t, "other permit"), domain.Draw(t, "other domain")
		id := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")
		a, b := bytes.Clone(id), bytes.Clone(id)
		if err := k.pseudonyms(p1, d1, a); err != nil {
			t.Fatal(err)
		}
		if err := k.pseudonyms(p2, d2, b); err != nil {
			t.Fatal(err)
		}
		if same := p1 == p2 && d1 == d2; bytes.Equal(a, b) != same {
			t.Fatalf("%q %q and %q %q: %x and %x", p1, d1, p2, d2, a, b)
		}
		other := bytes.Clone(id)
		if err := testKeysOf(k, 1).pseudonyms(p1, d1, other); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, other) {
			t.Fatal("another master key gives the same pseudonym")
		}
	})
}

// testKeysOf is k with one bit of the master key changed.
func testKeysOf(k *keys, bit byte) *keys {
	master := bytes.Clone(k.master)
	master[31] ^= bit
	return &keys{master: master, dir: k.dir}
}

func TestWorkspaceKeys(t *testing.T) {
	k := testKeys(t)
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() {
			id, err := k.workspace("permit-a")
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = id.String()
		})
	}
	wg.Wait()
	for _, g := range got {
		if g == "" || g != got[0] {
			t.Fatal("requests at once got different keys")
		}
	}
	other, err := k.workspace("permit-b")
	if err != nil || other.String() == got[0] {
		t.Fatalf("two permits share a key: %v", err)
	}
	files, err := os.ReadDir(k.dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(k.dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("AGE-SECRET")) || strings.Contains(f.Name(), "permit") {
			t.Error("a key lies in the clear")
		}
		info, _ := f.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %o", info.Mode().Perm())
		}
	}
	if _, err := testKeysOf(k, 1).workspace("permit-a"); err == nil {
		t.Error("opened with another master key")
	}
	// A file moved to another permit's place does not open: the permit is bound in.
	if err := os.Rename(filepath.Join(k.dir, files[0].Name()), filepath.Join(k.dir, files[1].Name())); err != nil {
		t.Fatal(err)
	}
	_, errA := k.workspace("permit-a")
	_, errB := k.workspace("permit-b")
	if errA == nil && errB == nil {
		t.Error("an exchanged file was accepted")
	}
}

func BenchmarkPseudonyms(b *testing.B) {
	k := testKeys(b)
	ids := make([]byte, 1_000_000*16)
	b.SetBytes(int64(len(ids)))
	for b.Loop() {
		if err := k.pseudonyms("permit-a", "d", ids); err != nil {
			b.Fatal(err)
		}
	}
}
