package orderbook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// MaxExportFile is the largest released file, in bytes.
const MaxExportFile = 50 << 20

// MaxExportFiles is how many files one export may have.
const MaxExportFiles = 100

const incoming = ".incoming"

// ErrUnknownExport means that no such export, or no such file in it, was released.
var ErrUnknownExport = errors.New("unknown export")

// fileName is what a released file may be called: it is a path element and a download's name.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// putFile stores one file of an export that is still open. write copies the checked content into the
// writer it is given; only if it succeeds does the file appear.
func (b *Book) putFile(ctx context.Context, export, name string, write func(io.Writer) error) error {
	if !contract.ValidName(export) || !fileName.MatchString(name) {
		return contract.Refuse("invalid", "an export or file name has letters, digits, '.', '_' and '-' only")
	}
	defer b.files.lock(export)()
	if _, _, err := selectExport(ctx, b.db, export); err == nil {
		return contract.Refuse("closed", "export %s is closed", export)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	dir := filepath.Join(b.dir, incoming, export)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	known := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	if len(entries) >= MaxExportFiles && !known {
		return contract.Refuse("too_large", "an export has at most %d files", MaxExportFiles)
	}
	return writeAtomically(dir, name, write)
}

// writeAtomically makes dir/name appear complete or not at all, also after a power cut.
func writeAtomically(dir, name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// closeExport makes an export final: the files it names are moved in place by one rename, then the
// row that makes them visible is written together with what the hooks write. After a crash in between
// the enclave posts again and the second half is done.
func (b *Book) closeExport(ctx context.Context, e contract.Export) error {
	if err := validExport(e); err != nil {
		return err
	}
	canonical, err := contract.Canonical(e)
	if err != nil {
		return err
	}
	defer b.files.lock(e.ID)()
	switch _, old, err := selectExport(ctx, b.db, e.ID); {
	case err == nil && old == string(canonical):
		return nil
	case err == nil:
		return contract.Refuse("closed", "export %s is closed with other content", e.ID)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	from, to := filepath.Join(b.dir, incoming, e.ID), filepath.Join(b.dir, e.ID)
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		if err := checkFiles(from, e.Files); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := syncDir(b.dir); err != nil {
			return err
		}
	} else if err := checkFiles(to, e.Files); err != nil {
		return err
	}
	return b.db.InTx(ctx, func(tx *store.Tx) error {
		if err := insertExport(ctx, tx, e, b.clock.Now(), string(canonical)); err != nil {
			return fmt.Errorf("export %s: %w", e.ID, err)
		}
		for _, h := range b.onExport {
			if err := h(ctx, tx, e); err != nil {
				return fmt.Errorf("export %s: %w", e.ID, err)
			}
		}
		return nil
	})
}

func validExport(e contract.Export) error {
	if e.Schema != "mitral.export/1" || !contract.ValidName(e.ID) || e.PermitID == "" || e.ReleasedAt.IsZero() {
		return contract.Refuse("invalid", "export: schema %q, id %q", e.Schema, e.ID)
	}
	if len(e.Files) == 0 || len(e.Files) > MaxExportFiles {
		return contract.Refuse("invalid", "export: between 1 and %d files, found %d", MaxExportFiles, len(e.Files))
	}
	seen := map[string]bool{}
	for _, f := range e.Files {
		if !fileName.MatchString(f.Name) || seen[f.Name] {
			return contract.Refuse("invalid", "export: file name %q is not allowed or repeated", f.Name)
		}
		seen[f.Name] = true
	}
	// The enclave enforces the review; an export that says of itself that it was not reviewed is refused
	// here as well.
	if len(e.Reviews) == 0 {
		return contract.Refuse("invalid", "export: no review")
	}
	for _, r := range e.Reviews {
		if !r.Approved || r.Reviewer == "" || r.Reviewer == e.Author {
			return contract.Refuse("invalid", "export: every review approves and none is by the author")
		}
	}
	return nil
}

// checkFiles requires exactly the named files with their sizes and digests, and removes what an
// interrupted upload left.
func checkFiles(dir string, files []contract.ExportFile) error {
	want := map[string]contract.ExportFile{}
	for _, f := range files {
		want[f.Name] = f
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	for _, entry := range entries {
		f, ok := want[entry.Name()]
		if !ok {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			continue
		}
		digest, n, err := digestFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if digest != f.Digest || n != f.Bytes {
			return contract.Refuse("altered", "export: file %s is not the one that was reviewed", f.Name)
		}
		delete(want, entry.Name())
	}
	for name := range want {
		return contract.Refuse("incomplete", "export: file %s has not arrived", name)
	}
	return nil
}

func digestFile(path string) (contract.Digest, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fmt.Errorf("export: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("export: %w", err)
	}
	return contract.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), n, nil
}

// Export returns a released export, or ErrUnknownExport.
func (b *Book) Export(ctx context.Context, id string) (contract.Export, error) {
	e, _, err := selectExport(ctx, b.db, id)
	if errors.Is(err, store.ErrNotFound) {
		return e, ErrUnknownExport
	}
	return e, err
}

// ExportsOf lists the released exports under a permit, oldest first.
func (b *Book) ExportsOf(ctx context.Context, permitID string) ([]contract.Export, error) {
	return selectExportsOf(ctx, b.db, permitID)
}

// OpenExportFile opens a released file for reading, or ErrUnknownExport.
func (b *Book) OpenExportFile(ctx context.Context, export, name string) (*os.File, contract.ExportFile, error) {
	e, err := b.Export(ctx, export)
	if err != nil {
		return nil, contract.ExportFile{}, err
	}
	i := slices.IndexFunc(e.Files, func(f contract.ExportFile) bool { return f.Name == name })
	if i < 0 {
		return nil, contract.ExportFile{}, ErrUnknownExport
	}
	f, err := os.Open(filepath.Join(b.dir, e.ID, e.Files[i].Name))
	if err != nil {
		return nil, contract.ExportFile{}, fmt.Errorf("export: %w", err)
	}
	return f, e.Files[i], nil
}
