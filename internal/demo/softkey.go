package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fxamacker/cbor/v2"

	"github.com/mitral-health/mitral/internal/contract"
)

// SoftKey is a security key in software, for demonstrations and tests on machines without one: it speaks
// real WebAuthn (registration with attestation "none", assertions with ES256), so everything that checks
// a passkey checks it like any other. It lives in the supervisor, never in a zone.
type SoftKey struct {
	CredentialID []byte
	private      *ecdsa.PrivateKey
}

// OpenSoftKey reads the key in file, or makes one.
func OpenSoftKey(file string) (*SoftKey, error) {
	der, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, der, 0o600); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("demonstration key %s cannot be read", file)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("demonstration key %s is of another kind", file)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(spki)
	return &SoftKey{CredentialID: id[:], private: key}, nil
}

// PublicKey returns the key as contract documents carry it.
func (k *SoftKey) PublicKey() (contract.PublicKey, error) {
	spki, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	return contract.PublicKey{CredentialID: k.CredentialID, SPKI: spki}, err
}

const (
	flagsAssertion    = 0x01 | 0x04        // user present, user verified
	flagsRegistration = 0x01 | 0x04 | 0x40 // and attested credential data
)

// Assert signs a challenge as navigator.credentials.get would (WebAuthn §6.3.3).
func (k *SoftKey) Assert(rpID, origin string, challenge []byte) (contract.Assertion, error) {
	client, err := clientData("webauthn.get", origin, challenge)
	if err != nil {
		return contract.Assertion{}, err
	}
	auth := authData(rpID, flagsAssertion)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, auth...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		return contract.Assertion{}, err
	}
	return contract.Assertion{CredentialID: k.CredentialID, AuthenticatorData: auth, ClientDataJSON: client, Signature: sig}, nil
}

// Register answers a registration ceremony as navigator.credentials.create would (WebAuthn §6.3.2) and
// returns the browser's JSON (PublicKeyCredential.toJSON).
func (k *SoftKey) Register(rpID, origin string, challenge []byte) (json.RawMessage, error) {
	client, err := clientData("webauthn.create", origin, challenge)
	if err != nil {
		return nil, err
	}
	pub, err := k.private.PublicKey.ECDH()
	if err != nil {
		return nil, err
	}
	point := pub.Bytes() // 0x04 ‖ X ‖ Y
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	cose, err := mode.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}) // RFC 9053 §7.1.1: EC2, ES256, P-256
	if err != nil {
		return nil, err
	}
	auth := authData(rpID, flagsRegistration)
	auth = append(auth, make([]byte, 16)...) // AAGUID zero: says nothing of the model
	auth = append(auth, byte(len(k.CredentialID)>>8), byte(len(k.CredentialID)))
	auth = append(auth, k.CredentialID...)
	auth = append(auth, cose...)
	attestation, err := mode.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": auth})
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]any{
		"id": b64(k.CredentialID), "rawId": b64(k.CredentialID), "type": "public-key",
		"response": map[string]any{
			"clientDataJSON": b64(client), "attestationObject": b64(attestation), "transports": []string{"internal"},
		},
		"clientExtensionResults": map[string]any{},
	})
}

func clientData(kind, origin string, challenge []byte) ([]byte, error) {
	return json.Marshal(struct {
		Type        string `json:"type"`
		Challenge   string `json:"challenge"`
		Origin      string `json:"origin"`
		CrossOrigin bool   `json:"crossOrigin"`
	}{kind, base64.RawURLEncoding.EncodeToString(challenge), origin, false})
}

func authData(rpID string, flags byte) []byte {
	rp := sha256.Sum256([]byte(rpID))
	return append(append([]byte{}, rp[:]...), flags, 0, 0, 0, 0) // counter 0: this key does not count
}
