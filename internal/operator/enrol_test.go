package operator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/operator"
)

func enrolment(t testing.TB, id, role string) contract.Enrolment {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return contract.Enrolment{
		ID: id, Name: "Aino Virtanen", Role: role, RPID: "hub.example", Origins: []string{"https://hub.example"},
		Key: contract.PublicKey{CredentialID: []byte(rand.Text()), SPKI: spki}, EnrolledAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func roll(t testing.TB, dir string) *contract.Roll {
	t.Helper()
	r, err := contract.LoadRoll(filepath.Join(dir, operator.RollName))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEnrolAndRevoke(t *testing.T) {
	dir := t.TempDir()
	officer, reviewer := enrolment(t, "officer-1", "officer"), enrolment(t, "reviewer-1", "reviewer")
	for _, e := range []contract.Enrolment{officer, reviewer, officer} {
		if err := operator.Enrol(dir, e); err != nil {
			t.Fatal(err)
		}
	}
	if r := roll(t, dir); len(r.Enrolments) != 2 {
		t.Fatalf("%d enrolments, want 2", len(r.Enrolments))
	}
	later := officer
	later.EnrolledAt = later.EnrolledAt.Add(time.Hour)
	if err := operator.Enrol(dir, later); err != nil || !roll(t, dir).Enrolments[0].EnrolledAt.Equal(officer.EnrolledAt) {
		t.Errorf("enrolling again must not move the date: %v", err)
	}
	other := officer
	other.Origins = []string{"https://evil.example"}
	if err := operator.Enrol(dir, other); !errors.Is(err, operator.ErrConflict) {
		t.Errorf("the same passkey with another origin: %v", err)
	}
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	if err := operator.Revoke(dir, "officer", "officer-1", at); err != nil {
		t.Fatal(err)
	}
	if err := operator.Revoke(dir, "officer", "officer-1", at.AddDate(0, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := roll(t, dir).Enrolments[0].RevokedAt; got == nil || !got.Equal(at) {
		t.Errorf("revoked at %v, want %v: a later revocation must not lengthen trust", got, at)
	}
	if err := operator.Enrol(dir, officer); !errors.Is(err, operator.ErrConflict) {
		t.Errorf("a revoked passkey was enrolled again: %v", err)
	}
	if err := operator.Revoke(dir, "officer", "nobody", at); err == nil {
		t.Error("nobody was revoked")
	}
	info, err := os.Stat(filepath.Join(dir, operator.RollName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestEnrolFile(t *testing.T) {
	good, err := json.Marshal(enrolment(t, "o", "officer"))
	if err != nil {
		t.Fatal(err)
	}
	noKey := enrolment(t, "o", "officer")
	noKey.Key.SPKI = []byte("x")
	bad, err := json.Marshal(noKey)
	if err != nil {
		t.Fatal(err)
	}
	king, err := json.Marshal(enrolment(t, "o", "king"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"good": {string(good), true}, "unreadable key": {string(bad), false}, "unknown role": {string(king), false},
		"not JSON": {"hello", false}, "two": {string(good) + string(good), false}, "unknown field": {`{"revoked":true}`, false}, "empty": {"{}", false},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "in.json")
		if err := os.WriteFile(file, []byte(c.body), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := operator.EnrolFile(dir, file)
		if (err == nil) != c.ok || (len(roll(t, dir).Enrolments) == 1) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := operator.EnrolFile(t.TempDir(), "/nonexistent"); err == nil {
		t.Error("a missing file was enrolled")
	}
}

// A roll that cannot be read is never replaced, and many operators at once lose nobody.
func TestRollIsNeverLost(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, operator.RollName)
	if err := os.WriteFile(path, []byte(`{"enrolments":[}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := operator.Enrol(dir, enrolment(t, "o", "officer")); err == nil {
		t.Error("a damaged roll was replaced")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		e := enrolment(t, fmt.Sprintf("o%d", i), "officer")
		wg.Go(func() {
			if err := operator.Enrol(dir, e); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(roll(t, dir).Enrolments); n != 20 {
		t.Errorf("%d of 20 are enrolled", n)
	}
}
