package contract

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// LoadRoll reads a zone's officers.json. A missing file is an empty roll: nobody is enrolled, so every
// permit is refused. A file that cannot be understood is an error, which must stop the action too.
func LoadRoll(path string) (*Roll, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Roll{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("officers' roll: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields() // a misspelt "revoked_at" must not leave a key in force
	var r Roll
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("officers' roll %s: %w", path, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("officers' roll %s: bytes after the roll", path)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("officers' roll %s: %w", path, err)
	}
	return &r, nil
}

// Validate checks that each enrolment is complete and its key readable, so that a slip of the operator
// shows when the file is read and not when a permit is refused.
func (r *Roll) Validate() error {
	for i, e := range r.Enrolments {
		at := func(field, format string, args ...any) error {
			return invalid(fmt.Sprintf("enrolments[%d].%s", i, field), format, args...)
		}
		switch {
		case e.ID == "":
			return at("id", "must not be empty")
		case e.Role != "officer" && e.Role != "reviewer":
			return at("role", "want officer or reviewer, found %q", e.Role)
		case e.RPID == "" || len(e.Origins) == 0:
			return at("rp_id", "a relying party and at least one origin are needed")
		case len(e.Key.CredentialID) == 0:
			return at("key", "has no credential id")
		case e.EnrolledAt.IsZero():
			return at("enrolled_at", "must not be empty")
		}
		pub, err := x509.ParsePKIXPublicKey(e.Key.SPKI)
		if err != nil {
			return at("key", "is not a SubjectPublicKeyInfo")
		}
		switch pub.(type) {
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			return at("key", "is neither ECDSA nor Ed25519")
		}
	}
	return nil
}

// RollFile is a roll on disk that is read again when the file changes, so that an enrolment or a
// revocation takes effect without a restart. Safe for concurrent use.
type RollFile struct {
	path string

	mu   sync.Mutex
	seen fs.FileInfo // nil: nothing cached
	roll *Roll
}

// NewRollFile names the file; nothing is read yet.
func NewRollFile(path string) *RollFile { return &RollFile{path: path} }

// Roll returns the present roll. Callers must not change it. It fails closed: an unreadable file is an
// error even if an older version could be read.
func (f *RollFile) Roll() (*Roll, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.seen, f.roll = nil, nil
		return &Roll{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("officers' roll: %w", err)
	}
	if f.seen != nil && os.SameFile(f.seen, info) && f.seen.ModTime().Equal(info.ModTime()) && f.seen.Size() == info.Size() {
		return f.roll, nil
	}
	roll, err := LoadRoll(f.path)
	if err != nil {
		f.seen, f.roll = nil, nil
		return nil, err
	}
	f.seen, f.roll = info, roll
	return roll, nil
}
