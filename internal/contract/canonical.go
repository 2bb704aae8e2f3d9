package contract

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gowebpki/jcs"
)

// Canonical returns the RFC 8785 canonical JSON of v. Numbers in contract documents are integers
// within ±2^53, so the ECMAScript number rules never round.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical json: %w", err)
	}
	out, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("canonical json: %w", err)
	}
	return out, nil
}

// Digest is "sha256:" followed by 64 lower-case hexadecimal digits.
type Digest string

// DigestOf hashes bytes as they are.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Bytes returns the 32 bytes of the digest, or an error when it is not well formed.
func (d Digest) Bytes() ([]byte, error) {
	h, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok {
		return nil, fmt.Errorf("digest %q: want sha256:…", string(d))
	}
	b, err := hex.DecodeString(h)
	if err != nil || len(b) != sha256.Size {
		return nil, fmt.Errorf("digest %q: want 64 hexadecimal digits", string(d))
	}
	return b, nil
}

// idEncoding avoids letters that people confuse (Crockford's alphabet, lower case).
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns prefix, a dash, and 80 random bits in base32: "permit-4k2m…".
func NewID(prefix string) string {
	var b [10]byte
	rand.Read(b[:])
	return prefix + "-" + idEncoding.EncodeToString(b[:])
}
