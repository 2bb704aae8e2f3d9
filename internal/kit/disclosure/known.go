package disclosure

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
)

// Known is a set of person identifiers of a project that can be asked but not read back: it keeps only
// keyed, shortened hashes.
type Known struct {
	key [32]byte
	set map[[8]byte]struct{}
}

// NewKnown makes an empty set with a key of its own.
func NewKnown() *Known {
	k := &Known{set: map[[8]byte]struct{}{}}
	rand.Read(k.key[:])
	return k
}

// normal makes the spellings of one identifier equal: case, dashes, braces and quotes do not count.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case strings.ContainsRune("-{}\"' ", r):
			return -1
		}
		return r
	}, s)
}

func (k *Known) hash(s string) (h [8]byte) {
	m := hmac.New(sha256.New, k.key[:])
	io.WriteString(m, normal(s))
	copy(h[:], m.Sum(nil))
	return h
}

// Add puts an identifier, as text, into the set.
func (k *Known) Add(id string) { k.set[k.hash(id)] = struct{}{} }

// Has reports whether the text is an identifier of the set. A nil set has none.
func (k *Known) Has(s string) bool {
	if k == nil || len(s) < 4 {
		return false
	}
	_, ok := k.set[k.hash(s)]
	return ok
}

// Len is the number of identifiers.
func (k *Known) Len() int { return len(k.set) }

// WriteTo writes the key and the hashes.
func (k *Known) WriteTo(w io.Writer) (int64, error) {
	bw := bufio.NewWriter(w)
	n, _ := bw.Write(k.key[:])
	total := int64(n)
	for h := range k.set {
		n, _ := bw.Write(h[:])
		total += int64(n)
	}
	return total, bw.Flush()
}

// ReadKnown reads what WriteTo wrote.
func ReadKnown(r io.Reader) (*Known, error) {
	k := &Known{set: map[[8]byte]struct{}{}}
	br := bufio.NewReader(r)
	if _, err := io.ReadFull(br, k.key[:]); err != nil {
		return nil, errors.New("known identifiers: cut short")
	}
	for {
		var h [8]byte
		_, err := io.ReadFull(br, h[:])
		if errors.Is(err, io.EOF) {
			return k, nil
		}
		if err != nil {
			return nil, errors.New("known identifiers: cut short")
		}
		k.set[h] = struct{}{}
	}
}
