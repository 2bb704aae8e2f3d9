package ledger

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/transparency-dev/merkle/rfc6962"
	"pgregory.net/rapid"
)

func TestEntryRoundTrip(t *testing.T) {
	word := rapid.StringMatching(`[a-zé./-]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Zone: word.Draw(t, "zone"), Actor: word.Draw(t, "actor"), Action: word.Draw(t, "action"), Target: word.Draw(t, "target"), Outcome: word.Draw(t, "outcome"),
			At:      time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC(),
			Details: map[string]any{word.Draw(t, "key"): word.Draw(t, "value"), "n": float64(rapid.Int32().Draw(t, "n"))},
		}
		id, data, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		e.ID = id
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatal(diff)
		}
		if _, again, err := back.encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("the canonical form is not stable: %s, %s, %v", data, again, err)
		}
	})
}

func TestEntryRefuses(t *testing.T) {
	for name, e := range map[string]Entry{
		"no action": {Outcome: "done"}, "no outcome": {Action: "a"},
		"too large": {Action: "a", Outcome: "done", Target: strings.Repeat("x", MaxEntry)},
		"no JSON":   {Action: "a", Outcome: "done", Details: map[string]any{"f": func() {}}},
	} {
		if _, _, err := e.encode(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, data, err := Entry{Action: "a", Outcome: "done"}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"id":"x","details":null}`))
	f.Add([]byte(`{"id":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := Decode(b); err == nil && e.ID == "" {
			t.Fatalf("an entry without an id: %s", b)
		}
		idOf(b)
	})
}

// Whatever lies in a bundle, split finds every entry that is untouched before the first damage, and
// never reads outside.
func FuzzSplit(f *testing.F) {
	entries := [][]byte{[]byte(`{"id":"a"}`), []byte(`{"id":"b","x":1}`), []byte(`{"id":"c"}`)}
	var raw []byte
	var hashes [][]byte
	for _, e := range entries {
		raw = append(append(raw, 0, byte(len(e))), e...)
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
	}
	f.Add(raw, 0, byte(1))
	f.Add(raw[:20], 13, byte(0x80))
	f.Add([]byte{}, 0, byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		b = bytes.Clone(b)
		if at >= 0 && at < len(b) {
			b[at] ^= flip
		}
		pieces, end := split(b, hashes)
		if len(pieces) != len(hashes) || end > len(b) {
			t.Fatalf("%d pieces, end %d of %d", len(pieces), end, len(b))
		}
		start := 0
		for i, e := range entries { // entries before the first damage
			next := start + 2 + len(e)
			if next > len(b) || !bytes.Equal(b[start:next], raw[start:next]) {
				break
			}
			if !pieces[i].framed || !bytes.Equal(pieces[i].data, e) {
				t.Fatalf("entry %d is untouched and read as %q", i, pieces[i].data)
			}
			start = next
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"tile/entries/000", "tile/0/x001/x234/067.p/8", "tile/entries/000.p/256", "tile/../x", "checkpoint"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := parsePath(s); ok && (r.path() != s || strings.Contains(s, "..") || r.width() > 256) {
			t.Fatalf("%q is read as %+v", s, r)
		}
	})
}
