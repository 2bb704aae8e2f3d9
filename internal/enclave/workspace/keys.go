package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// Identity is a workspace's key pair. It lives in memory, for one operation.
type Identity = *age.X25519Identity

// Vault asks the vault zone for workspace keys, each time anew: a permit that has expired or whose officer
// was struck off gives no key any more.
type Vault struct {
	Client *http.Client // mutual TLS to zone vault
	Base   string       // "https://vault.hub.example:7444"
}

// Identity implements Keys. A refusal of vault comes back as contract.Refusal with vault's code.
func (v *Vault) Identity(ctx context.Context, permit contract.SignedPermit) (Identity, error) {
	body, err := json.Marshal(struct {
		Permit contract.SignedPermit `json:"permit"`
	}{permit})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(v.Base, "/")+"/v1/workspace-keys/identity", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := v.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		var e *httpx.Error
		if errors.As(err, &e) && e.Status >= 400 && e.Status < 500 {
			return nil, contract.Refuse(e.Code, "vault gives no key: %s", e.Detail)
		}
		return nil, fmt.Errorf("vault: %w", err)
	}
	var answer struct {
		Identity string `json:"identity"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&answer); err != nil {
		return nil, errors.New("vault: the answer cannot be read")
	}
	id, err := age.ParseX25519Identity(answer.Identity)
	if err != nil {
		return nil, errors.New("vault: the answer holds no key") // the parser's error could quote it
	}
	return id, nil
}

// Seal writes content to path, sealed to the workspace's key; for rooms that keep copies of outputs.
func (s *Service) Seal(ctx context.Context, w *Workspace, path string, content []byte) error {
	id, err := s.Keys.Identity(ctx, w.Signed)
	if err != nil {
		return err
	}
	return sealFile(id, path, bytes.NewReader(content))
}

// Unseal reads what Seal wrote; at most max bytes.
func (s *Service) Unseal(ctx context.Context, w *Workspace, path string, max int64) ([]byte, error) {
	id, err := s.Keys.Identity(ctx, w.Signed)
	if err != nil {
		return nil, err
	}
	r, err := openFile(id, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, contract.Refuse("altered", "a sealed file is missing")
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil || int64(len(b)) > max {
		return nil, contract.Refuse("altered", "a sealed file is damaged")
	}
	return b, nil
}

// sealFile writes what r gives, sealed to id, to path: whole or not at all.
func sealFile(id Identity, path string, r io.Reader) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".seal-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	w, err := age.Encrypt(tmp, id.Recipient())
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// openFile returns the plain content of a sealed file; the caller closes it.
func openFile(id Identity, path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(f, id)
	if err != nil {
		f.Close()
		return nil, contract.Refuse("altered", "a sealed file does not open with the workspace's key")
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}

// syncDir makes renames in a directory last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
