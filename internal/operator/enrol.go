// Package operator holds what the operator of a zone does by hand on the zone's own machine: enrolling and
// revoking the keys that the zone trusts. The commands "mitral enrol" and the demonstration call it. It must
// never be reachable over a network: the portal, above all, must not be able to enrol anybody.
package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// RollName is the file in a zone's directory that lists whom the zone trusts.
const RollName = "officers.json"

// ErrConflict is returned when a credential is enrolled already with other particulars. Revoke it and
// enrol a new one: who held which key when must stay readable.
var ErrConflict = errors.New("this passkey is enrolled already, with other particulars")

// EnrolFile adds the enrolment in a JSON file to the roll of the zone in zoneDir.
func EnrolFile(zoneDir, file string) (contract.Enrolment, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return contract.Enrolment{}, fmt.Errorf("enrol: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var e contract.Enrolment
	if err := dec.Decode(&e); err != nil {
		return contract.Enrolment{}, fmt.Errorf("enrol: %s is not an enrolment: %w", file, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return contract.Enrolment{}, fmt.Errorf("enrol: %s: bytes after the enrolment", file)
	}
	if e.EnrolledAt.IsZero() {
		e.EnrolledAt = time.Now().UTC().Truncate(time.Second)
	}
	return e, Enrol(zoneDir, e)
}

// Enrol adds e to the roll of the zone in zoneDir. Enrolling the same again changes nothing, whatever its
// date.
func Enrol(zoneDir string, e contract.Enrolment) error {
	// Permits are dated to the second: one that is signed right after would seem to be older than its signer.
	e.EnrolledAt = e.EnrolledAt.Truncate(time.Second)
	return change(zoneDir, func(r *contract.Roll) error {
		for _, old := range r.Enrolments {
			if old.Role != e.Role || !bytes.Equal(old.Key.CredentialID, e.Key.CredentialID) {
				continue
			}
			same := old
			same.EnrolledAt = e.EnrolledAt
			was, err1 := contract.Canonical(same)
			is, err2 := contract.Canonical(e)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if bytes.Equal(was, is) {
				return nil
			}
			return ErrConflict
		}
		r.Enrolments = append(r.Enrolments, e)
		return nil
	})
}

// Revoke ends every enrolment of id in role from the instant at on. Permits issued before stay good; it
// is an error when nobody is enrolled under that id.
func Revoke(zoneDir, role, id string, at time.Time) error {
	return change(zoneDir, func(r *contract.Roll) error {
		found := false
		for i, e := range r.Enrolments {
			if e.Role != role || e.ID != id {
				continue
			}
			found = true
			if e.RevokedAt == nil || at.Before(*e.RevokedAt) {
				when := at.UTC()
				r.Enrolments[i].RevokedAt = &when
			}
		}
		if !found {
			return fmt.Errorf("no %s is enrolled under the id %q", role, id)
		}
		return nil
	})
}

// change rewrites the roll whole: a zone that reads it meanwhile sees the former or the new one. A lock
// keeps two operators from undoing each other's change.
func change(zoneDir string, f func(*contract.Roll) error) error {
	path := filepath.Join(zoneDir, RollName)
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("enrol: lock %s: %w", path, err)
	}
	r, err := contract.LoadRoll(path)
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	before := slices.Clone(r.Enrolments)
	if err := f(r); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	was, err1 := json.Marshal(before)
	is, err2 := json.Marshal(r.Enrolments)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if bytes.Equal(was, is) {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := replace(path, 0o600, append(b, '\n')); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	return nil
}

// replace writes path whole or leaves it as it was.
func replace(path string, mode fs.FileMode, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".officers-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
