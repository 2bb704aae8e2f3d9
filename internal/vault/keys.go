package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
)

// keys are the master key and the workspace keys of the permits, in a directory of vault's own.
type keys struct {
	master []byte
	dir    string
}

// openKeys reads the master key, or makes it at the first start: 32 random bytes in master.key, readable by
// the zone's own user only. It refuses a key that others can read, and a directory whose key is gone.
func openKeys(dir string) (*keys, error) {
	k := &keys{dir: filepath.Join(dir, "workspace-keys")}
	path := filepath.Join(dir, "master.key")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(k.dir); err == nil {
			return nil, fmt.Errorf("%s is gone: bring it back from the backup, or every project changes its pseudonyms", path)
		}
		master := make([]byte, 32)
		rand.Read(master)
		if err := writeOnce(path, master); err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %o): run chmod 600 on it and think about who has read it", path, info.Mode().Perm())
	}
	if k.master, err = os.ReadFile(path); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if len(k.master) != 32 {
		return nil, fmt.Errorf("%s holds %d bytes, want 32: bring it back from the backup", path, len(k.master))
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("workspace keys: %w", err)
	}
	return k, nil
}

// derive makes a key of 32 bytes from the master key (HKDF-SHA256, RFC 5869).
func (k *keys) derive(info string) ([]byte, error) {
	return hkdf.Key(sha256.New, k.master, nil, info, 32)
}

// pseudonyms replaces each 16 bytes of ids, in place, by one AES-256 block under the permit's key. A block
// cipher is a permutation: two persons never become one, and another permit's key gives another permutation.
// Permit ids hold no NUL (contract.ValidName), so no other id and domain make the same key.
func (k *keys) pseudonyms(permitID, domain string, ids []byte) error {
	key, err := k.derive(permitID + "\x00" + domain)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	for ; len(ids) > 0; ids = ids[aes.BlockSize:] {
		block.Encrypt(ids, ids)
	}
	return nil
}

// workspace returns the key pair of a permit's workspace, and makes it when it is first asked for. It lies
// sealed under a key derived from the master key, one file for each permit: to destroy it is to destroy
// the project's data wherever they lie.
func (k *keys) workspace(permitID string) (*age.X25519Identity, error) {
	// Three NULs at the front: no permit id begins so, hence no key of pseudonyms is ever the same.
	key, err := k.derive("\x00\x00\x00workspace\x00" + permitID)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	name := sha256.Sum256([]byte(permitID))
	path := filepath.Join(k.dir, hex.EncodeToString(name[:16]))
	sealed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, err
		}
		// Of two first requests at once one writes; both read what was written.
		if err := writeOnce(path, seal.Seal(nil, nil, []byte(id.String()), []byte(permitID))); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("workspace key: %w", err)
		}
		sealed, err = os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("workspace key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("workspace key: %w", err)
	}
	text, err := seal.Open(nil, nil, sealed, []byte(permitID))
	if err != nil {
		return nil, errors.New("workspace key: the file is damaged or of another master key")
	}
	id, err := age.ParseX25519Identity(string(text))
	if err != nil {
		return nil, errors.New("workspace key: the file is damaged") // the parser's error could quote the key
	}
	return id, nil
}

// writeOnce writes a new file that is there whole or not at all; fs.ErrExist when there is one already.
func writeOnce(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
