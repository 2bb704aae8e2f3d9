package demo

import (
	"path/filepath"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

func TestSoftKeyAssertionVerifies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "officer.key")
	key, err := OpenSoftKey(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenSoftKey(file)
	if err != nil || string(again.CredentialID) != string(key.CredentialID) {
		t.Fatalf("the key changed when opened again: %v", err)
	}
	challenge := []byte("0123456789abcdef0123456789abcdef")
	a, err := key.Assert("localhost", "http://localhost:1", challenge)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := contract.VerifyAssertion(a, pub, "localhost", []string{"http://localhost:1"}, challenge); err != nil {
		t.Fatalf("a good assertion is refused: %v", err)
	}
	if err := contract.VerifyAssertion(a, pub, "localhost", []string{"http://localhost:2"}, challenge); err == nil {
		t.Fatal("an assertion made at another origin is accepted")
	}
	if err := contract.VerifyAssertion(a, pub, "localhost", []string{"http://localhost:1"}, []byte("another")); err == nil {
		t.Fatal("an assertion over another challenge is accepted")
	}
}
