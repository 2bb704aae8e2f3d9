package ledger_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

// smallLog makes a log in batches of the given sizes and closes it.
func smallLog(t testing.TB, batches ...int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	r := openLedger(t, storetest.SQLite(t), dir)
	for _, n := range batches {
		r.record(t, n)
		r.settle(t)
	}
	r.stop(t)
	if rep := verify(t, dir); !rep.OK {
		t.Fatalf("the untouched log: %+v", rep)
	}
	return dir
}

// changed calls f with the file at path changed, and puts the file back.
func changed(t testing.TB, path string, b []byte, f func()) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f()
	if err := os.WriteFile(path, before, 0o644); err != nil {
		t.Fatal(err)
	}
}

// spans cuts a bundle into the bytes of each entry, its length included.
func spans(raw []byte) (ends []int) {
	for at := 0; at < len(raw); {
		at += 2 + int(binary.BigEndian.Uint16(raw[at:]))
		ends = append(ends, at)
	}
	return ends
}

func entriesNamed(rep ledger.Report) (named []int64) {
	for _, f := range rep.Findings {
		if f.Kind == ledger.FoundEntry {
			named = append(named, *f.Index)
		}
	}
	return named
}

// Every byte of every file of entries, also of those that later ones replaced: the entry it belongs to is
// named, and no other.
func TestEveryByteOfEveryEntry(t *testing.T) {
	dir := smallLog(t, 2, 3)
	files := files(t, filepath.Join(dir, "tile", "entries"))
	if len(files) < 2 {
		t.Fatalf("files of entries: %v; want the present one and one that it replaced", files)
	}
	flips := 0
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ends := spans(raw)
		for i := range raw {
			want, _ := slices.BinarySearch(ends, i+1)
			bit := byte(1) << (i % 8)
			b := slices.Clone(raw)
			b[i] ^= bit
			flips++
			changed(t, path, b, func() {
				rep := verify(t, dir)
				if named := entriesNamed(rep); rep.OK || len(named) != 1 || named[0] != int64(want) {
					t.Fatalf("%s, byte %d, bit %#x: entries %v are named, want %d: %v", path, i, bit, named, want, rep.Findings)
				}
			})
		}
	}
	t.Logf("%d bytes of %d files changed, one after the other: each time the right entry is named", flips, len(files))
}

func TestNamesTheEntryByItsID(t *testing.T) {
	dir := smallLog(t, 4)
	path := filepath.Join(dir, "tile/entries/000.p/4")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte(strings.Replace(string(raw), "order-2", "order-7", 1))
	changed(t, path, b, func() {
		rep := verify(t, dir)
		if len(rep.Findings) != 1 || *rep.Findings[0].Index != 2 || len(rep.Findings[0].ID) != 36 || rep.Findings[0].File != "tile/entries/000.p/4" {
			t.Fatalf("%+v", rep.Findings)
		}
		var text strings.Builder
		if err := rep.WriteText(&text); err != nil || !strings.Contains(text.String(), "WRONG: entry 2 ("+rep.Findings[0].ID+") in tile/entries/000.p/4: was changed") {
			t.Errorf("people read %q, %v", text.String(), err)
		}
	})
}

// Every byte of the signed head, the key and the tiles: the file is named.
func TestEveryByteOfHeadAndTiles(t *testing.T) {
	dir := smallLog(t, 2, 3)
	for _, c := range []struct{ file, kind string }{
		{"checkpoint", ledger.FoundCheckpoint}, {"ledger.pub", ""}, {"tile/0/000.p/5", ledger.FoundTile}, {"tile/0/000.p/2", ledger.FoundTile},
	} {
		path := filepath.Join(dir, c.file)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			if c.file == "ledger.pub" && i == len(raw)-1 {
				continue // the line's end is no part of the key
			}
			for _, bit := range []byte{0x01, 0x04} {
				b := slices.Clone(raw)
				b[i] ^= bit
				changed(t, path, b, func() {
					rep := verify(t, dir)
					named := slices.ContainsFunc(rep.Findings, func(f ledger.Finding) bool {
						if c.kind == "" { // a changed key is unreadable, or no longer the one that signed
							return f.Kind == ledger.FoundKey || f.Kind == ledger.FoundCheckpoint
						}
						return f.Kind == c.kind && f.File == c.file
					})
					if rep.OK || !named {
						t.Fatalf("%s, byte %d, bit %#x: %v", c.file, i, bit, rep.Findings)
					}
					if c.kind == ledger.FoundTile && len(entriesNamed(rep)) > 0 {
						t.Fatalf("%s, byte %d: entries are blamed for a tile: %v", c.file, i, rep.Findings)
					}
				})
			}
		}
	}
}

func TestFilesMissingOrCut(t *testing.T) {
	dir := smallLog(t, 300)
	for _, c := range []struct {
		file string
		keep int // bytes kept; -1: the file is removed
		kind string
		text string
	}{
		{"checkpoint", -1, ledger.FoundCheckpoint, "missing"},
		{"checkpoint", 20, ledger.FoundCheckpoint, "cannot be read"},
		{"ledger.pub", -1, ledger.FoundKey, "no verifier key"},
		{"tile/entries/000", -1, ledger.FoundBundle, "entries 0 to 255"},
		{"tile/entries/001.p/44", -1, ledger.FoundBundle, "entries 256 to 299"},
		{"tile/entries/000", 0, ledger.FoundBundle, "cannot be split"},
		{"tile/entries/000", 1000, ledger.FoundBundle, "cannot be split"},
		{"tile/0/000", -1, ledger.FoundTile, "missing"},
		{"tile/0/000", 100, ledger.FoundTile, "100 bytes"},
		{"tile/1/000.p/1", -1, ledger.FoundTile, "missing"},
		{"tile/1/000.p/1", 31, ledger.FoundTile, "changed"},
	} {
		t.Run(fmt.Sprint(c.file, c.keep), func(t *testing.T) {
			path := filepath.Join(dir, c.file)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check := func() {
				rep := verify(t, dir)
				if rep.OK || !slices.ContainsFunc(rep.Findings, func(f ledger.Finding) bool {
					return f.Kind == c.kind && f.File == c.file && strings.Contains(f.Reason, c.text)
				}) {
					t.Errorf("%v", rep.Findings)
				}
			}
			if c.keep >= 0 {
				changed(t, path, raw[:c.keep], check)
				return
			}
			if err := os.Rename(path, path+"~"); err != nil {
				t.Fatal(err)
			}
			check()
			if err := os.Rename(path+"~", path); err != nil {
				t.Fatal(err)
			}
		})
	}
	if rep := verify(t, dir); !rep.OK {
		t.Fatalf("after putting everything back: %v", rep.Findings)
	}
}

// Two entries changed at once, one of them in its length: both are named.
func TestSeveralEntries(t *testing.T) {
	dir := smallLog(t, 20)
	path := filepath.Join(dir, "tile/entries/000.p/20")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := spans(raw)
	b := slices.Clone(raw)
	b[ends[3]+1] ^= 0x10  // length of entry 4
	b[ends[12]-3] ^= 0x01 // inside entry 12
	changed(t, path, b, func() {
		if named := entriesNamed(verify(t, dir)); !slices.Equal(named, []int64{4, 12}) {
			t.Fatalf("entries %v are named, want 4 and 12", named)
		}
	})
	b = append(slices.Clone(raw), 0, 2, '{', '}')
	changed(t, path, b, func() {
		rep := verify(t, dir)
		if len(rep.Findings) != 1 || rep.Findings[0].Kind != ledger.FoundBundle || !strings.Contains(rep.Findings[0].Reason, "after its last entry") {
			t.Fatalf("an entry was smuggled in: %v", rep.Findings)
		}
	})
}

// A forger who rewrites entry, tiles and all still lacks the key.
func TestRewrittenLog(t *testing.T) {
	dir, forged := smallLog(t, 3), smallLog(t, 3)
	for _, f := range []string{"tile/entries/000.p/3", "tile/0/000.p/3"} {
		b, err := os.ReadFile(filepath.Join(forged, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rep := verify(t, dir)
	if rep.OK || rep.Findings[0].Kind != ledger.FoundLog {
		t.Fatalf("entries and tiles of another log: %+v", rep)
	}
	b, err := os.ReadFile(filepath.Join(forged, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, dir); rep.OK || rep.Findings[0].Kind != ledger.FoundCheckpoint {
		t.Fatalf("a head signed by another key: %+v", rep)
	}
	// With its key beside it the forged log is consistent; only a key from elsewhere tells it apart.
	real, err := os.ReadFile(filepath.Join(dir, "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	rep, err = ledger.VerifyWith(t.Context(), forged, strings.TrimSpace(string(real)))
	if err != nil || rep.OK {
		t.Fatalf("a whole forged log under the real key: %+v %v", rep, err)
	}
}

func TestEmptyLogAndNoLog(t *testing.T) {
	if rep := verify(t, smallLog(t)); rep.Size != 0 || !rep.OK {
		t.Fatalf("%+v", rep)
	}
	if rep := verify(t, t.TempDir()); rep.OK || len(rep.Findings) != 2 {
		t.Fatalf("an empty directory: %+v", rep)
	}
	if _, err := ledger.Verify(t.Context(), filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Fatal("a directory that does not exist was checked")
	}
}

func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
