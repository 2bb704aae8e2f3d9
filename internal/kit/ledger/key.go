package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// keyFile is the public half; its private neighbour is readable by its owner only and never served.
const (
	keyFile     = "ledger.pub"
	privateFile = "ledger.key"
)

var validZone = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// signingKey reads the log's Ed25519 key, and makes it when the log does not exist yet. A log whose key
// is gone is refused: signing on with another key would hide whatever happened to the first.
func signingKey(dir, name string) (note.Signer, string, error) {
	private, public := filepath.Join(dir, privateFile), filepath.Join(dir, keyFile)
	skey, err := os.ReadFile(private)
	if errors.Is(err, fs.ErrNotExist) {
		for _, p := range []string{"checkpoint", filepath.Join(".state", "treeState")} {
			if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
				return nil, "", fmt.Errorf("%s holds a log but %s is missing: put the key back from your backup", dir, privateFile)
			}
		}
		s, v, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return nil, "", errors.New("the log's key could not be made")
		}
		// The public half goes first: a crash between the two leaves no key, and both are made again.
		if err := writeFile(public, 0o644, []byte(v+"\n")); err != nil {
			return nil, "", err
		}
		if err := writeFile(private, 0o600, []byte(s+"\n")); err != nil {
			return nil, "", err
		}
		skey = []byte(s)
	} else if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return nil, "", fmt.Errorf("%s is not a note signer key", private) // the cause may quote the key
	}
	vkey, err := os.ReadFile(public)
	if err != nil {
		return nil, "", err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", public, err)
	}
	if signer.Name() != name || verifier.Name() != name || signer.KeyHash() != verifier.KeyHash() {
		return nil, "", fmt.Errorf("%s and %s are not the two halves of the key of %s", private, public, name)
	}
	return signer, strings.TrimSpace(string(vkey)), nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, mode fs.FileMode, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
