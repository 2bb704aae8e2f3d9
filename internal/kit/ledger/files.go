package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
)

// resource is what a path of the log stands for. level is -1 for a bundle of entries; partial is 0 for a
// full tile or bundle.
type resource struct {
	level   int
	index   uint64
	partial uint8
}

func (r resource) path() string {
	if r.level < 0 {
		return layout.EntriesPath(r.index, r.partial)
	}
	return layout.TilePath(uint64(r.level), r.index, r.partial)
}

// width is how many entries or hashes the resource holds.
func (r resource) width() int {
	if r.partial == 0 {
		return layout.TileWidth
	}
	return int(r.partial)
}

var tilePath = regexp.MustCompile(`^tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?)$`)

// parsePath reads a path of the tlog-tiles layout, in the one spelling that the layout allows.
func parsePath(path string) (resource, bool) {
	m := tilePath.FindStringSubmatch(path)
	if m == nil {
		return resource{}, false
	}
	r := resource{level: -1}
	if m[1] != "entries" {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 7 { // 8 levels of 256 are more than any log holds
			return resource{}, false
		}
		r.level = n
	}
	var err error
	if r.index, r.partial, err = layout.ParseTileIndexPartial(m[2]); err != nil {
		return resource{}, false
	}
	return r, r.path() == path
}

// walkTiles calls f for each file of the log's tiles and bundles; name is "" for a file that is none.
func walkTiles(dir string, f func(path string, r resource, ok bool) error) error {
	err := filepath.WalkDir(filepath.Join(dir, "tile"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		r, ok := parsePath(filepath.ToSlash(rel))
		return f(p, r, ok)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new log, or a directory that Tessera's clean-up removed under our feet
	}
	return err
}

// removeLeftovers deletes what an append that was cut off left behind: temporary files, and tiles and
// bundles that go beyond the tree's size. Another batch will take their place with other content, and a
// file that disagrees with the log must not look like tampering.
func removeLeftovers(dir string, size uint64) error {
	return walkTiles(dir, func(path string, r resource, ok bool) error {
		if ok && r.end() <= size {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

var temporary = regexp.MustCompile(`^(checkpoint|treeState|gcState|version)[0-9]+$`)

// removeTemporary deletes what a killed process left beside the tiles. Call it before Tessera runs.
func removeTemporary(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, ".state")} {
		files, err := os.ReadDir(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, f := range files {
			if temporary.MatchString(f.Name()) || strings.HasPrefix(f.Name(), ".new-") {
				if err := os.Remove(filepath.Join(d, f.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// end is the size that a tree has at least when the resource belongs to it.
func (r resource) end() uint64 {
	nodes := r.index*layout.TileWidth + uint64(r.width())
	return nodes << (8 * max(r.level, 0))
}

// find looks for an entry's id in the log from index from on.
func (l *Ledger) find(ctx context.Context, id string, from uint64) (index uint64, found bool, err error) {
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil {
		return 0, false, err
	}
	for ri := range layout.Range(from, size, size) { // Range cuts the count at the log's end
		raw, err := l.reader.ReadEntryBundle(ctx, ri.Index, ri.Partial)
		if err != nil {
			return 0, false, err
		}
		if !bytes.Contains(raw, []byte(id)) {
			continue
		}
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(raw); err != nil {
			return 0, false, fmt.Errorf("bundle %s: %w", strings.TrimPrefix(layout.EntriesPath(ri.Index, ri.Partial), "tile/"), err)
		}
		for i, data := range bundle.Entries {
			if e, err := Decode(data); err == nil && e.ID == id {
				return ri.Index*layout.EntryBundleWidth + uint64(i), true, nil
			}
		}
	}
	return 0, false, nil
}
