package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets are derived from one file of 32 random bytes in the portal's directory. They protect cookies
// and the link between a citizen's account and her identity; they open no health data.
type secrets struct {
	seal    cipher.AEAD // for what a browser keeps for us
	subject []byte      // key of the hash of an identity provider's subject
}

// loadSecrets reads the key file, or makes it. Losing it signs nobody in wrongly: citizens get new
// accounts, and cookies stop opening.
func loadSecrets(path string) (*secrets, error) {
	master, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		master = make([]byte, 32)
		rand.Read(master)
		err = writeNew(path, master)
	}
	if err != nil {
		return nil, fmt.Errorf("access key: %w", err)
	}
	if len(master) != 32 {
		return nil, fmt.Errorf("access key: %s is not 32 bytes long", path)
	}
	sealKey, err := hkdf.Key(sha256.New, master, nil, "mitral access cookie 1", 32)
	if err != nil {
		return nil, err
	}
	subjectKey, err := hkdf.Key(sha256.New, master, nil, "mitral access subject 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &secrets{seal: aead, subject: subjectKey}, nil
}

// writeNew writes a private file whole or not at all.
func writeNew(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// sealText encrypts a text that only a request with the same bound value may open.
func (s *secrets) sealText(plain, bound string) string {
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, []byte(plain), []byte(bound)))
}

func (s *secrets) openText(sealed, bound string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return "", false
	}
	plain, err := s.seal.Open(nil, nil, b, []byte(bound))
	return string(plain), err == nil
}

// subjectHash links a citizen's objections to her account without saying who she is.
func (s *secrets) subjectHash(issuer, subject string) string {
	m := hmac.New(sha256.New, s.subject)
	fmt.Fprintf(m, "%d:%s%s", len(issuer), issuer, subject)
	return hex.EncodeToString(m.Sum(nil))
}

// newToken returns 256 random bits for a cookie or a link, and the hash under which it is kept.
func newToken() (token, hash string) {
	var b [32]byte
	rand.Read(b[:])
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, tokenHash(token)
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func rawURL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
