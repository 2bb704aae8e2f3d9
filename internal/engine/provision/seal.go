package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake"
)

// handOver seals the files for the workspace and, last, makes them visible.
func (r *Run) handOver(ctx context.Context, report contract.ProvisionReport) (*contract.Handover, error) {
	recipient, err := age.ParseX25519Recipient(r.Recipient)
	if err != nil {
		return nil, fmt.Errorf("provision: vault's recipient: %w", err)
	}
	h := &contract.Handover{Schema: HandoverSchema, OrderID: r.OrderID, PermitID: report.PermitID, Report: report}
	for _, t := range report.Tables {
		for _, f := range t.Files {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			sealed, err := seal(recipient, filepath.Join(r.Work, "final", f.Name), filepath.Join(r.Out, f.Name+".age"))
			if err != nil {
				return nil, fmt.Errorf("provision: seal %s: %w", f.Name, err)
			}
			if sealed.Digest != f.Digest {
				return nil, fmt.Errorf("provision: %s changed while it was sealed", f.Name)
			}
			sealed.Name = f.Name
			h.Files = append(h.Files, *sealed)
		}
	}
	if err := lake.SyncDir(r.Out); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	if err := r.fault("sealed"); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		return nil, err
	}
	if err := lake.WriteFile(filepath.Join(r.Out, HandoverFile), b); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	return h, lake.SyncDir(filepath.Dir(r.Out))
}

// seal encrypts a file and returns the digests of both.
func seal(to age.Recipient, from, path string) (out *contract.HandoverFile, err error) {
	in, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	plain, sealed := sha256.New(), sha256.New()
	w, err := age.Encrypt(io.MultiWriter(file, sealed), to)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(io.MultiWriter(w, plain), in)
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &contract.HandoverFile{Digest: digestOf(plain), SealedDigest: digestOf(sealed), Bytes: n}, file.Sync()
}

func digestOf(h hash.Hash) contract.Digest {
	return contract.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}
