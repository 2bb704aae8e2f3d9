package workspace

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

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sys/unix"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/disclosure"
)

func digestCopy(w io.Writer, r io.Reader) (contract.Digest, error) {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), r); err != nil {
		return "", err
	}
	return contract.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// dataBytes is the size of the workspace's plain data.
func (w *Workspace) dataBytes() (n int64) {
	for _, f := range w.Handover.Files {
		n += f.Bytes
	}
	return n
}

// unseal decrypts the workspace's data into dir, which lies on a memory file system, and checks every
// file against the digest in the handover.
func (s *Service) unseal(ctx context.Context, w *Workspace, id Identity, dir string) error {
	need := w.dataBytes()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && need > int64(st.Bavail)*st.Bsize/2 {
		return contract.Refuse("no_space", "the data need %d MiB, which is more than half of the free space for jobs", need>>20)
	}
	for _, f := range w.Handover.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.unsealOne(w, id, f, filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) unsealOne(w *Workspace, id Identity, f contract.HandoverFile, path string) error {
	if err := inScope(&w.Permit, f.Name); err != nil {
		return err
	}
	r, err := openFile(id, filepath.Join(s.dir(w.ID), "data", f.Name+".age"))
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	got, err := digestCopy(out, r)
	if errors.Is(err, unix.ENOSPC) {
		return contract.Refuse("no_space", "there is not enough memory for the data")
	}
	if err != nil {
		return contract.Refuse("altered", "a sealed file is damaged")
	}
	if got != f.Digest {
		return contract.Refuse("altered", "a data file has another digest than engine announced")
	}
	return out.Close()
}

// personColumn is the column of pseudonyms in a project dataset.
const personColumn = "person_id"

// persons makes the sealed set of the workspace's pseudonyms, once, so that disclosure checks recognise
// one in an export.
func (s *Service) persons(w *Workspace, id Identity, dir string) error {
	path := filepath.Join(s.dir(w.ID), "persons.age")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	known := disclosure.NewKnown()
	for _, f := range w.Handover.Files {
		if err := addPseudonyms(known, filepath.Join(dir, f.Name)); err != nil {
			return fmt.Errorf("pseudonyms of %s: %w", f.Name, err)
		}
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := known.WriteTo(pw)
		pw.CloseWithError(err)
	}()
	return sealFile(id, path, pr)
}

// Persons returns the set that persons made; nil when no job has run yet.
func (s *Service) Persons(ctx context.Context, w *Workspace) (*disclosure.Known, error) {
	path := filepath.Join(s.dir(w.ID), "persons.age")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	id, err := s.Keys.Identity(ctx, w.Signed)
	if err != nil {
		return nil, err
	}
	r, err := openFile(id, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return disclosure.ReadKnown(r)
}

func addPseudonyms(known *disclosure.Known, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return err
	}
	for i, col := range pf.Root().Columns() {
		if !col.Leaf() || col.Name() != personColumn || col.Type().Kind() != parquet.ByteArray {
			continue
		}
		for _, g := range pf.RowGroups() {
			if err := addColumn(known, g.ColumnChunks()[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func addColumn(known *disclosure.Known, chunk parquet.ColumnChunk) error {
	pages := chunk.Pages()
	defer pages.Close()
	values := make([]parquet.Value, 4096)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := page.Values()
		for {
			n, err := r.ReadValues(values)
			for _, v := range values[:n] {
				if !v.IsNull() {
					known.Add(string(v.ByteArray()))
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		parquet.Release(page)
	}
}
