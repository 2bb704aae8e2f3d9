// Package pseudonym derives hub pseudonyms (level 1) from trust's person numbers under the key of an
// epoch. Package trust calls it for ticket sheets and for the objection roll.
//
// The key lives in one file of trust's directory and in this process; it is never in SQL, logs or errors.
// No table of pseudonyms exists: they are derived again each time.
package pseudonym

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Size is the length of a hub pseudonym in bytes (128 bits).
const Size = 16

// Epoch is the number of the key in use. It stands in every ticket sheet.
const Epoch = 1

// domain separates hub pseudonyms from any other use of the key.
const domain = "h1"

// Key is the secret of one epoch.
type Key struct{ secret []byte }

// File is the name of the epoch's key file in trust's directory.
func File(dir string) string { return filepath.Join(dir, fmt.Sprintf("epoch-%d.key", Epoch)) }

// ErrMissing is returned by Load when there is no key file.
var ErrMissing = errors.New("the epoch key is missing")

// Load reads the key of the epoch. A file that others could read is refused.
func Load(dir string) (*Key, error) {
	path := File(dir)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("epoch key %s can be read by others: set its mode to 0600", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != sha256.Size {
		return nil, fmt.Errorf("epoch key %s is damaged: restore it from the backup", path)
	}
	return &Key{secret}, nil
}

// Create makes the key of the epoch, once in the life of a hub. It never replaces a key.
func Create(dir string) (*Key, error) {
	secret := make([]byte, sha256.Size)
	rand.Read(secret)
	tmp, err := os.CreateTemp(dir, "epoch-*.tmp") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.WriteString(hex.EncodeToString(secret) + "\n"); err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	// A link fails where the name exists, unlike a rename.
	if err := os.Link(tmp.Name(), File(dir)); err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return nil, fmt.Errorf("epoch key: %w", err)
	}
	return &Key{secret}, nil
}

// Fingerprint tells two keys apart and reveals neither. Trust's database keeps it, so that a lost or
// exchanged key file is noticed before a single wrong pseudonym is derived.
func (k *Key) Fingerprint() string {
	m := hmac.New(sha256.New, k.secret)
	m.Write([]byte("fingerprint"))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// Deriver derives pseudonyms with a reused state: five times faster than a new HMAC each time.
type Deriver struct {
	mac hash.Hash
	sum [sha256.Size]byte
	buf [len(domain) + 16]byte
}

// Deriver returns a deriver for one goroutine.
func (k *Key) Deriver() *Deriver {
	d := &Deriver{mac: hmac.New(sha256.New, k.secret)}
	copy(d.buf[:], domain)
	return d
}

// Hub returns the hub pseudonym of a person: the first 16 bytes of HMAC-SHA256(epoch key, "h1" ‖ number).
func (d *Deriver) Hub(number [16]byte) [Size]byte {
	copy(d.buf[len(domain):], number[:])
	d.mac.Reset()
	d.mac.Write(d.buf[:])
	d.mac.Sum(d.sum[:0])
	return [Size]byte(d.sum[:Size])
}
