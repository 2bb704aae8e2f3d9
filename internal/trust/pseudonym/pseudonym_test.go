package pseudonym

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrMissing) {
		t.Fatalf("no key: %v", err)
	}
	made, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(File(dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	read, err := Load(dir)
	if err != nil || read.Fingerprint() != made.Fingerprint() {
		t.Fatalf("read back: %v", err)
	}
	if _, err := Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a key was replaced: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("files left: %v", left)
	}
	for name, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(File(dir), 0o640) },
		"damaged":            func() error { return os.WriteFile(File(dir), []byte("abcd"), 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || strings.Contains(err.Error(), "abcd") {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(File(dir), 0o600)
	}
}

// The formula of docs/protocols.md, written with the standard library alone, is the oracle.
func TestHub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		d := (&Key{secret}).Deriver()
		for range 3 {
			number := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "number"))
			m := hmac.New(sha256.New, secret)
			m.Write(append([]byte("h1"), number[:]...))
			if h := d.Hub(number); !bytes.Equal(h[:], m.Sum(nil)[:16]) {
				t.Fatalf("%x", h)
			}
		}
	})
}

func BenchmarkHub(b *testing.B) {
	d := (&Key{make([]byte, 32)}).Deriver()
	for b.Loop() {
		d.Hub([16]byte{1})
	}
}
