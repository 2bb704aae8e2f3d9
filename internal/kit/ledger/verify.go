package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	f_log "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// Kinds of finding.
const (
	FoundEntry      = "entry"      // an entry is not what the log committed to
	FoundBundle     = "bundle"     // a file of entries is missing or cannot be read
	FoundTile       = "tile"       // a file of hashes is missing or not what the entries give
	FoundCheckpoint = "checkpoint" // the signed head is missing, unreadable or not signed by the log
	FoundKey        = "key"        // the verifier key is missing or unreadable
	FoundLog        = "log"        // entries and tiles agree, but not with the signed head
)

// Finding is one thing that is wrong with a log.
type Finding struct {
	Kind   string `json:"kind"`
	Index  *int64 `json:"index,omitempty"` // of the entry, from 0
	ID     string `json:"id,omitempty"`    // of the entry, where it can still be read
	File   string `json:"file,omitempty"`
	Reason string `json:"reason"`
}

func (f Finding) String() string {
	s := f.Kind
	if f.Index != nil {
		s += fmt.Sprintf(" %d", *f.Index)
	}
	if f.ID != "" {
		s += " (" + f.ID + ")"
	}
	if f.File != "" {
		s += " in " + f.File
	}
	return s + ": " + f.Reason
}

// Report is the outcome of Verify.
type Report struct {
	Source      string    `json:"source"`
	Log         string    `json:"log"`  // its name, "mitral/engine"
	Size        uint64    `json:"size"` // entries under the checkpoint
	Root        string    `json:"root"` // base64, as in the checkpoint
	VerifierKey string    `json:"verifier_key"`
	OK          bool      `json:"ok"`
	Findings    []Finding `json:"findings"`
}

// WriteText tells people what was found.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "log      %s\nentries  %d\nroot     %s\nkey      %s\n", r.Log, r.Size, r.Root, r.VerifierKey)
	if r.OK {
		b.WriteString("OK: every entry is what the log committed to, and the log's key signed it.\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "WRONG: %s\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Verify checks a whole log, in a directory or at an http(s) URL: the checkpoint's signature, every entry
// against its hash, every tile against the entries, and the root against the checkpoint. What is wrong is
// in the report's findings, and entries are named one by one. The error is for a check that could not be
// made. The key is the one that lies beside the log: compare Report.VerifierKey with one that you got
// elsewhere, or use VerifyWith.
func Verify(ctx context.Context, dirOrURL string) (Report, error) {
	return VerifyWith(ctx, dirOrURL, "")
}

// VerifyWith is Verify with a verifier key that the caller trusts.
func VerifyWith(ctx context.Context, dirOrURL, verifierKey string) (Report, error) {
	src, err := newSource(dirOrURL)
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", dirOrURL, err)
	}
	v := &verification{ctx: ctx, src: src, key: verifierKey, Report: Report{Source: dirOrURL, Findings: []Finding{}}}
	if err := v.run(); err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", dirOrURL, err)
	}
	v.OK = len(v.Findings) == 0
	return v.Report, nil
}

type verification struct {
	Report
	ctx context.Context
	src source
	key string

	root   []byte   // that the checkpoint claims
	signed bool     // the checkpoint's signature is good
	read   [][]byte // leaf hashes of the entries; nil where an entry cannot be read
	tiles  [][]byte // leaf hashes of the level-0 tiles; nil where missing
	ids    map[uint64]string
}

func (v *verification) found(kind, file, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{Kind: kind, File: file, Reason: fmt.Sprintf(format, args...)})
}

func (v *verification) foundEntry(i uint64, format string, args ...any) {
	index := int64(i)
	file := layout.EntriesPathForLogIndex(i, v.Size)
	v.Findings = append(v.Findings, Finding{Kind: FoundEntry, Index: &index, ID: v.ids[i], File: file, Reason: fmt.Sprintf(format, args...)})
}

func (v *verification) run() error {
	v.ids = map[uint64]string{}
	if ok, err := v.checkpoint(); err != nil || !ok {
		return err
	}
	n := (v.Size + layout.TileWidth - 1) / layout.TileWidth
	for b := range n {
		if err := v.bundle(b); err != nil {
			return err
		}
	}
	trusted := v.judge()
	if trusted != nil {
		if err := v.upperTiles(trusted); err != nil {
			return err
		}
		return v.superseded(trusted)
	}
	return nil
}

// checkpoint reads the key and the signed head. It reports false when the size is not known.
func (v *verification) checkpoint() (bool, error) {
	if v.key == "" {
		b, err := v.src.read(v.ctx, keyFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.found(FoundKey, keyFile, "there is no verifier key beside the log; is this the directory or address of a ledger?")
		case err != nil:
			return false, err
		}
		v.key = string(bytes.TrimSpace(b))
	}
	raw, err := v.src.read(v.ctx, layout.CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		v.found(FoundCheckpoint, layout.CheckpointPath, "the signed head is missing")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var cp f_log.Checkpoint
	if _, err := cp.Unmarshal(raw); err != nil {
		v.found(FoundCheckpoint, layout.CheckpointPath, "cannot be read: %v", err)
		return false, nil
	}
	if v.key != "" {
		v.VerifierKey = v.key
		verifier, err := note.NewVerifier(v.key)
		if err != nil {
			v.found(FoundKey, keyFile, "is not a note verifier key: %v", err)
		} else if err := signedBy(raw, verifier); err != nil {
			v.found(FoundCheckpoint, layout.CheckpointPath, "%v", err)
		} else {
			v.signed = true
		}
	}
	v.Log, v.Size, v.Root, v.root = cp.Origin, cp.Size, base64.StdEncoding.EncodeToString(cp.Hash), cp.Hash
	if v.Size > maxSize {
		v.found(FoundCheckpoint, layout.CheckpointPath, "claims %d entries, more than can be checked", v.Size)
		return false, nil
	}
	return true, nil
}

// maxSize bounds how many entries are checked, so that an altered size cannot ask for all memory.
const maxSize = 1 << 31

// signedBy checks the log's signature and that the note is written in the only way that is allowed: Go's
// base64 decoder would let some changed characters pass.
func signedBy(raw []byte, verifier note.Verifier) error {
	_, rest, n, err := f_log.ParseCheckpoint(raw, verifier.Name(), verifier)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("there are lines after the root")
	}
	for _, s := range n.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return errors.New("the signature is not written canonically")
		}
	}
	return nil
}

// bundle reads 256 entries and the tile over them, and fills v.read and v.tiles.
func (v *verification) bundle(b uint64) error {
	partial := layout.PartialTileSize(0, b, v.Size)
	first := b * layout.TileWidth
	entries, tile := resource{-1, b, partial}, resource{0, b, partial}
	n := tile.width()

	hashes := make([][]byte, n)
	raw, file, err := v.fetch(tile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.found(FoundTile, file, "is missing")
	case err != nil:
		return err
	default:
		if len(raw) != n*32 && (file == tile.path() || len(raw) != 256*32) {
			v.found(FoundTile, file, "has %d bytes, want %d hashes of 32", len(raw), n)
		}
		for i := range hashes {
			if len(raw) >= (i+1)*32 {
				hashes[i] = raw[i*32 : (i+1)*32]
			}
		}
	}
	v.tiles = append(v.tiles, hashes...)

	raw, file, err = v.fetch(entries)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.found(FoundBundle, file, "is missing: entries %d to %d cannot be read", first, first+uint64(n)-1)
		v.read = append(v.read, make([][]byte, n)...)
		return nil
	case err != nil:
		return err
	}
	got, end := split(raw, hashes)
	for i, p := range got {
		if p.data == nil {
			v.read = append(v.read, nil)
			continue
		}
		hash := rfc6962.DefaultHasher.HashLeaf(p.data)
		v.read = append(v.read, hash)
		at := first + uint64(i)
		if !p.framed || !bytes.Equal(hash, hashes[i]) {
			v.ids[at] = idOf(p.data)
		}
		if !p.framed && bytes.Equal(hash, hashes[i]) {
			v.foundEntry(at, "its length was changed; the rest of it is as signed")
		}
	}
	switch {
	case end < 0:
		v.found(FoundBundle, file, "cannot be split into its %d entries", n)
	case end < len(raw) && file == entries.path():
		v.found(FoundBundle, file, "has %d bytes after its last entry", len(raw)-end)
	}
	return nil
}

// maxLength is the longest entry that two bytes of length allow.
const maxLength = 1<<16 - 1

// piece is one entry of a bundle. data is nil when its end cannot be told; framed says that the length
// before it is right.
type piece struct {
	data   []byte
	framed bool
}

// split cuts a bundle into its entries: two bytes of length, then the entry. Where a length was changed, it
// goes on at the next place where an entry with the expected hash starts. end is where the last entry
// ends, or -1 when the rest of the bundle is lost.
func split(raw []byte, hashes [][]byte) (pieces []piece, end int) {
	pieces = make([]piece, len(hashes))
	at := 0
	for i := range hashes {
		data, next, ok := cut(raw, at)
		last := i == len(hashes)-1
		good := ok && bytes.Equal(rfc6962.DefaultHasher.HashLeaf(data), hashes[i])
		if good || ok && (last && next == len(raw) || !last && startsAt(raw, next, hashes[i+1])) {
			pieces[i], at = piece{data, true}, next
			continue
		}
		// The length is wrong, or the next entry is damaged too. Entries start with '{'.
		resume := -1
		for o := at + 2; !last && o+2 < min(len(raw), at+4+maxLength); o++ {
			if raw[o+2] == '{' && startsAt(raw, o, hashes[i+1]) {
				resume = o
				break
			}
		}
		if last && at+2 <= len(raw) {
			resume = len(raw)
		}
		switch {
		case resume >= 0:
			pieces[i], at = piece{raw[at+2 : resume], false}, resume
		case ok: // trust the length
			pieces[i], at = piece{data, true}, next
		default:
			return pieces, -1
		}
	}
	return pieces, at
}

func cut(raw []byte, at int) (data []byte, next int, ok bool) {
	if at+2 > len(raw) {
		return nil, 0, false
	}
	next = at + 2 + int(binary.BigEndian.Uint16(raw[at:]))
	if next > len(raw) {
		return nil, 0, false
	}
	return raw[at+2 : next], next, true
}

func startsAt(raw []byte, at int, hash []byte) bool {
	data, _, ok := cut(raw, at)
	return ok && bytes.Equal(rfc6962.DefaultHasher.HashLeaf(data), hash)
}

// idOf reads an entry's id, also out of an entry that is no longer valid JSON.
func idOf(data []byte) string {
	if e, err := Decode(data); err == nil {
		return e.ID
	}
	_, after, ok := bytes.Cut(data, []byte(`"id":"`))
	if id, _, end := bytes.Cut(after, []byte(`"`)); ok && end && len(id) < 128 {
		return strings.ToValidUTF8(string(id), "\uFFFD")
	}
	return ""
}

// judge compares entries with tiles. Where they differ, the signed root says which of the two was changed.
// It returns the leaf hashes that are right, or nil when nothing gives the root.
func (v *verification) judge() [][]byte {
	fromTiles, fromEntries := rootOf(v.tiles), rootOf(v.read)
	tilesRight := bytes.Equal(fromTiles, v.root)
	entriesRight := bytes.Equal(fromEntries, v.root)
	differ := false
	for i := range v.Size {
		e, t := v.read[i], v.tiles[i]
		if e != nil && bytes.Equal(e, t) {
			continue
		}
		differ = true
		switch {
		case entriesRight && t != nil:
			v.found(FoundTile, layout.TilePath(0, i/layout.TileWidth, layout.PartialTileSize(0, i/layout.TileWidth, v.Size)),
				"the hash of entry %d was changed; the entry itself is as signed", i)
		case entriesRight: // the tile is missing or short, which is said already
		case e == nil && v.bundleMissing(i): // said already
		case e == nil:
			v.foundEntry(i, "cannot be read")
		case t == nil && !tilesRight: // without a hash to compare with, only the root can speak
		case tilesRight:
			v.foundEntry(i, "was changed: its hash is %s, the log committed to %s", short(e), short(t))
		default:
			v.foundEntry(i, "does not fit its hash in the tile, and the signed head fits neither: its hash is %s, the tile has %s", short(e), short(t))
		}
	}
	switch {
	case tilesRight:
		return v.tiles
	case entriesRight:
		return v.read
	case v.signed && !differ:
		v.found(FoundLog, "", "entries and tiles agree with each other but not with the signed head: entries were changed, or added, or taken away, and the tiles rewritten")
	case v.signed && len(v.Findings) == 0:
		v.found(FoundLog, "", "the entries do not give the signed root")
	}
	return nil
}

func (v *verification) bundleMissing(i uint64) bool {
	b := i / layout.TileWidth
	file := layout.EntriesPath(b, layout.PartialTileSize(0, b, v.Size))
	for _, f := range v.Findings {
		if f.Kind == FoundBundle && f.File == file && strings.HasPrefix(f.Reason, "is missing") {
			return true
		}
	}
	return false
}

func short(h []byte) string { return hex.EncodeToString(h[:8]) + "…" }

// rootOf is the RFC 6962 root over leaf hashes, or nil when one is missing.
func rootOf(leaves [][]byte) []byte {
	if len(leaves) == 0 {
		return rfc6962.DefaultHasher.EmptyRoot()
	}
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, h := range leaves {
		if h == nil || r.Append(h, nil) != nil {
			return nil
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		return nil
	}
	return root
}

// upperTiles recomputes the tiles above level 0 and compares.
func (v *verification) upperTiles(nodes [][]byte) error {
	for level := 1; len(nodes) >= layout.TileWidth; level++ {
		var up [][]byte
		for i := 0; i+layout.TileWidth <= len(nodes); i += layout.TileWidth {
			up = append(up, rootOf(nodes[i:i+layout.TileWidth]))
		}
		nodes = up
		for i := 0; i < len(nodes); i += layout.TileWidth {
			index := uint64(i / layout.TileWidth)
			r := resource{level, index, layout.PartialTileSize(uint64(level), index, v.Size)}
			raw, file, err := v.fetch(r)
			want := bytes.Join(nodes[i:i+r.width()], nil)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				v.found(FoundTile, file, "is missing")
			case err != nil:
				return err
			case file != r.path() && len(raw) > len(want) && bytes.Equal(raw[:len(want)], want): // a fuller one
			case !bytes.Equal(raw, want):
				v.found(FoundTile, file, "was changed: it is not what the entries give")
			}
		}
	}
	return nil
}

// superseded checks the partial tiles and bundles that later ones replaced and that still lie in a
// directory: they must be beginnings of what replaced them. At a URL nobody asks for them.
func (v *verification) superseded(leaves [][]byte) error {
	dir, ok := v.src.(dirSource)
	if !ok {
		return nil
	}
	return walkTiles(string(dir), func(path string, r resource, ok bool) error {
		if !ok || r.level > 0 || r.partial == 0 || r.end() > v.Size || r.partial == layout.PartialTileSize(0, r.index, v.Size) && r.end() == v.Size {
			return nil
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Tessera tidies up while we read
		}
		if err != nil {
			return err
		}
		first := r.index * layout.TileWidth
		want := leaves[first : first+uint64(r.width())]
		if r.level == 0 {
			if !bytes.Equal(raw, bytes.Join(want, nil)) {
				v.found(FoundTile, r.path(), "was changed (a later tile replaces it)")
			}
			return nil
		}
		pieces, end := split(raw, want)
		for i, p := range pieces {
			if p.framed && bytes.Equal(rfc6962.DefaultHasher.HashLeaf(p.data), want[i]) {
				continue
			}
			index := int64(first) + int64(i)
			v.Findings = append(v.Findings, Finding{Kind: FoundEntry, Index: &index, ID: idOf(p.data), File: r.path(), Reason: "was changed in a bundle that a later one replaces"})
		}
		if end >= 0 && end < len(raw) {
			v.found(FoundBundle, r.path(), "has %d bytes after its last entry", len(raw)-end)
		}
		return nil
	})
}

// fetch reads a resource; when a partial one is gone it takes the full one that replaced it.
func (v *verification) fetch(r resource) (raw []byte, file string, err error) {
	raw, err = v.src.read(v.ctx, r.path())
	if r.partial != 0 && errors.Is(err, fs.ErrNotExist) {
		full := resource{r.level, r.index, 0}
		if raw, err := v.src.read(v.ctx, full.path()); err == nil {
			return raw, full.path(), nil
		}
	}
	return raw, r.path(), err
}

// dirSource reads a log in a directory.
type dirSource string

func (d dirSource) read(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), filepath.FromSlash(path)))
}
