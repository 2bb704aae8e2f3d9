package test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// needles finds any of many byte patterns in one pass over a file: patterns are indexed by their first
// eight bytes, so the cost does not grow with their number.
type needles struct {
	byPrefix map[uint64][]needle
}

type needle struct {
	pattern []byte
	label   string
}

func newNeedles() *needles { return &needles{byPrefix: map[uint64][]needle{}} }

// add registers a pattern of at least eight bytes.
func (n *needles) add(label string, pattern []byte) {
	if len(pattern) < 8 {
		panic("a canary must have at least eight bytes, or chance finds it")
	}
	k := binary.LittleEndian.Uint64(pattern)
	n.byPrefix[k] = append(n.byPrefix[k], needle{pattern, label})
}

// addText registers a text in the encodings that a file may hold it in.
func (n *needles) addText(label, s string) {
	for _, v := range []string{s, strings.ToUpper(s), strings.ToLower(s)} {
		n.add(label, []byte(v))
	}
	// Base64 of a longer document holds a shifted form of the text; the three alignments cover it.
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{'x'}, shift), s...)
		enc := base64.StdEncoding.EncodeToString(padded)
		if cut := enc[4:max(4, len(enc)-4)]; len(cut) >= 8 {
			n.add(label+" (base64)", []byte(cut))
		}
	}
}

// addID registers a 16-byte value: raw, both byte orders of its halves, hexadecimal, UUID, base64, base32.
func (n *needles) addID(label string, id []byte) {
	n.add(label+" (raw)", id)
	reversed := bytes.Clone(id)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	n.add(label+" (reversed)", reversed)
	h := hex.EncodeToString(id)
	n.add(label+" (hex)", []byte(h))
	n.add(label+" (HEX)", []byte(strings.ToUpper(h)))
	n.add(label+" (uuid)", []byte(h[:8]+"-"+h[8:12]+"-"+h[12:16]+"-"+h[16:20]+"-"+h[20:]))
	n.add(label+" (base64)", []byte(base64.StdEncoding.EncodeToString(id)[:20]))
	n.add(label+" (base64url)", []byte(base64.RawURLEncoding.EncodeToString(id)[:20]))
}

// search returns the labels found in data.
func (n *needles) search(data []byte) []string {
	var found []string
	seen := map[string]bool{}
	for i := 0; i+8 <= len(data); i++ {
		for _, c := range n.byPrefix[binary.LittleEndian.Uint64(data[i:])] {
			if bytes.HasPrefix(data[i:], c.pattern) && !seen[c.label] {
				seen[c.label] = true
				found = append(found, c.label)
			}
		}
	}
	return found
}

// scanTree searches every byte of every file below dir, and what compressed and Parquet files hold when
// opened. It returns "file: label" lines, and how many bytes it looked at.
func scanTree(t *testing.T, dir string, n *needles) (hits []string, scanned int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			if os.IsNotExist(err) { // a running zone removed it meanwhile
				return nil
			}
			return err
		}
		look := func(what string, b []byte) {
			scanned += int64(len(b))
			for _, label := range n.search(b) {
				rel, _ := filepath.Rel(dir, path)
				hits = append(hits, fmt.Sprintf("%s%s: %s", rel, what, label))
			}
		}
		look("", data)
		switch {
		case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
			if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
				plain, _ := io.ReadAll(r) // a part still being written ends early
				look(" (gunzipped)", plain)
			}
		case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			if r, err := zstd.NewReader(bytes.NewReader(data)); err == nil {
				plain, _ := io.ReadAll(r)
				r.Close()
				look(" (unzstd)", plain)
			}
		case bytes.HasPrefix(data, []byte("PAR1")):
			if plain, err := parquetValues(data); err == nil {
				look(" (parquet values)", plain)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hits, scanned
}

// parquetValues concatenates all byte values of a Parquet file, so that compression and dictionaries
// hide nothing.
func parquetValues(data []byte) ([]byte, error) {
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	values := make([]parquet.Value, 1024)
	for _, group := range f.RowGroups() {
		for _, chunk := range group.ColumnChunks() {
			pages := chunk.Pages()
			for {
				page, err := pages.ReadPage()
				if err != nil {
					break
				}
				reader := page.Values()
				for {
					k, err := reader.ReadValues(values)
					for _, v := range values[:k] {
						if v.Kind() == parquet.ByteArray || v.Kind() == parquet.FixedLenByteArray {
							out.Write(v.ByteArray())
							out.WriteByte('\n')
						}
					}
					if err != nil {
						break
					}
				}
				parquet.Release(page)
			}
			pages.Close()
		}
	}
	return out.Bytes(), nil
}

// TestScanFindsWhatIsPlanted makes sure that a clean scan means something: each encoding is planted in a
// file of each kind and must be found.
func TestScanFindsWhatIsPlanted(t *testing.T) {
	id := []byte("\x10\x32\x54\x76\x98\xba\xdc\xfe\x01\x23\x45\x67\x89\xab\xcd\xef")
	n := newNeedles()
	n.addText("name", "Kanarienvogel")
	n.addID("pseudonym", id)
	type row struct {
		Name string   `parquet:"name,zstd,dict"`
		H    [16]byte `parquet:"h,uuid"`
	}
	plant := map[string]func(w io.Writer){
		"plain": func(w io.Writer) { io.WriteString(w, "…KANARIENVOGEL…"+hex.EncodeToString(id)) },
		"base64": func(w io.Writer) {
			io.WriteString(w, base64.StdEncoding.EncodeToString([]byte("my Kanarienvogel sings")))
			w.Write(id)
		},
		"gzip": func(w io.Writer) {
			z := gzip.NewWriter(w)
			io.WriteString(z, "kanarienvogel "+base64.RawURLEncoding.EncodeToString(id))
			z.Close()
		},
		"parquet": func(w io.Writer) {
			p := parquet.NewGenericWriter[row](w)
			p.Write([]row{{"Kanarienvogel", [16]byte(id)}})
			p.Close()
		},
	}
	for name, write := range plant {
		dir := t.TempDir()
		var b bytes.Buffer
		write(&b)
		if err := os.WriteFile(filepath.Join(dir, "x"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		hits, _ := scanTree(t, dir, n)
		all := strings.Join(hits, "; ")
		if !strings.Contains(all, "name") || !strings.Contains(all, "pseudonym") {
			t.Errorf("%s: found only %q", name, all)
		}
	}
}
