package ledger

import (
	"context"
	"fmt"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
)

// Entries reads the entries under a log's present checkpoint, in order, from a directory or address. It
// proves nothing: Verify does.
func Entries(ctx context.Context, dirOrURL string) ([]Entry, error) {
	src, err := newSource(dirOrURL)
	if err != nil {
		return nil, fmt.Errorf("entries of %s: %w", dirOrURL, err)
	}
	v := &verification{ctx: ctx, src: src}
	if known, err := v.checkpoint(); err != nil || !known {
		return nil, fmt.Errorf("entries of %s: no readable checkpoint: %w", dirOrURL, err)
	}
	var out []Entry
	for b := uint64(0); b*layout.EntryBundleWidth < v.Size; b++ {
		raw, file, err := v.fetch(resource{-1, b, layout.PartialTileSize(0, b, v.Size)})
		if err != nil {
			return nil, fmt.Errorf("entries of %s: %s: %w", dirOrURL, file, err)
		}
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(raw); err != nil {
			return nil, fmt.Errorf("entries of %s: %s: %w", dirOrURL, file, err)
		}
		for _, data := range bundle.Entries {
			if uint64(len(out)) == v.Size { // a bundle may have grown since the checkpoint
				break
			}
			e, err := Decode(data)
			if err != nil {
				return nil, fmt.Errorf("entries of %s: entry %d: %w", dirOrURL, len(out), err)
			}
			out = append(out, e)
		}
	}
	return out, nil
}
