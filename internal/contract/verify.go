package contract

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gowebpki/jcs"
)

// Refusal is why a document was not accepted. Code is stable and goes to ledgers and receipts; Reason
// is a plain English sentence without any secret.
type Refusal struct {
	Code   string // "unsigned", "unknown_officer", "bad_signature", "altered", "expired", "not_yet_valid", "invalid", "replayed", "out_of_scope"
	Reason string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Reason }

// Refuse builds a Refusal.
func Refuse(code, format string, args ...any) error {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func invalid(field, format string, args ...any) error {
	return Refuse("invalid", "%s: %s", field, fmt.Sprintf(format, args...))
}

// RefusalCode returns the code of the Refusal inside err, or "error".
func RefusalCode(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return "error"
}

// Assertion is a WebAuthn assertion (W3C WebAuthn level 3, §6.3.3, §7.2): what a passkey returns.
type Assertion struct {
	OfficerID         string `json:"officer_id"`
	CredentialID      []byte `json:"credential_id"`
	AuthenticatorData []byte `json:"authenticator_data"`
	ClientDataJSON    []byte `json:"client_data_json"`
	Signature         []byte `json:"signature"`
}

// Enrolment is one key that a zone trusts, written by its operator, never by the portal. Role is
// "officer" (signs permits) or "reviewer" (signs in at the enclave's front door).
type Enrolment struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	RPID       string     `json:"rp_id"`   // WebAuthn relying party id, e.g. "hub.example"
	Origins    []string   `json:"origins"` // where the passkey may have been used, e.g. "https://portal.hub.example"
	Key        PublicKey  `json:"key"`
	EnrolledAt time.Time  `json:"enrolled_at"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
}

// Roll is the list of enrolled persons of one zone (file officers.json of the zone's directory).
type Roll struct {
	Enrolments []Enrolment `json:"enrolments"`
}

// Find returns the enrolment of a credential in a role.
func (r *Roll) Find(role, id string, credential []byte) (Enrolment, bool) {
	for _, e := range r.Enrolments {
		if e.Role == role && e.ID == id && bytes.Equal(e.Key.CredentialID, credential) {
			return e, true
		}
	}
	return Enrolment{}, false
}

const (
	flagUserPresent  = 1 << 0
	flagUserVerified = 1 << 2
)

// VerifyAssertion checks one WebAuthn assertion against an expected challenge: type, challenge, origin,
// relying party, user presence and verification, and the signature itself.
func VerifyAssertion(a Assertion, key PublicKey, rpID string, origins []string, challenge []byte) error {
	var client struct {
		Type        string `json:"type"`
		Challenge   string `json:"challenge"`
		Origin      string `json:"origin"`
		CrossOrigin bool   `json:"crossOrigin"`
	}
	if err := json.Unmarshal(a.ClientDataJSON, &client); err != nil {
		return Refuse("bad_signature", "client data is not JSON")
	}
	got, err := base64.RawURLEncoding.DecodeString(client.Challenge)
	switch {
	case client.Type != "webauthn.get":
		return Refuse("bad_signature", "client data is of type %q", client.Type)
	case err != nil || subtle.ConstantTimeCompare(got, challenge) != 1:
		return Refuse("altered", "the signature is for other content")
	case !slices.Contains(origins, client.Origin) || client.CrossOrigin:
		return Refuse("bad_signature", "signed at origin %q, which is not enrolled", client.Origin)
	case !bytes.Equal(a.CredentialID, key.CredentialID):
		return Refuse("bad_signature", "another credential")
	case len(a.AuthenticatorData) < 37:
		return Refuse("bad_signature", "authenticator data is cut short")
	}
	rp := sha256.Sum256([]byte(rpID))
	flags := a.AuthenticatorData[32]
	switch {
	case !bytes.Equal(a.AuthenticatorData[:32], rp[:]):
		return Refuse("bad_signature", "signed for another relying party")
	case flags&flagUserPresent == 0 || flags&flagUserVerified == 0:
		return Refuse("bad_signature", "the passkey did not verify its user")
	}
	clientHash := sha256.Sum256(a.ClientDataJSON)
	signed := append(bytes.Clone(a.AuthenticatorData), clientHash[:]...)
	pub, err := x509.ParsePKIXPublicKey(key.SPKI)
	if err != nil {
		return Refuse("bad_signature", "enrolled key cannot be read")
	}
	ok := false
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(signed)
		ok = ecdsa.VerifyASN1(k, sum[:], a.Signature)
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, signed, a.Signature)
	}
	if !ok {
		return Refuse("bad_signature", "the signature does not verify")
	}
	return nil
}

// VerifyPermit is the one gate of every inner zone: it returns the permit only if it is well formed,
// signed over exactly these bytes by an officer enrolled at the time of signing, and in force at now.
func VerifyPermit(s SignedPermit, roll *Roll, now time.Time) (*Permit, error) {
	if len(s.Permit) == 0 || len(s.Assertion.Signature) == 0 {
		return nil, Refuse("unsigned", "the permit carries no signature")
	}
	dec := json.NewDecoder(bytes.NewReader(s.Permit))
	dec.DisallowUnknownFields() // a field that this version does not know must not be ignored
	var p Permit
	if err := dec.Decode(&p); err != nil {
		return nil, Refuse("invalid", "not a permit: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, Refuse("invalid", "bytes after the permit")
	}
	canonical, err := Canonical(&p)
	if err != nil {
		return nil, Refuse("invalid", "no canonical form")
	}
	// What was sent must be what was read: encoding/json takes the last of two equal keys and ignores
	// their case, and another reader of the same bytes could see another permit.
	if sent, err := jcs.Transform(s.Permit); err != nil || !bytes.Equal(sent, canonical) {
		return nil, Refuse("invalid", "the permit is not written as its canonical form says (repeated, misspelt or superfluous fields)")
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	officer, found := roll.Find("officer", s.Assertion.OfficerID, s.Assertion.CredentialID)
	if !found {
		return nil, Refuse("unknown_officer", "the signer is not enrolled in this zone")
	}
	if p.IssuedAt.Before(officer.EnrolledAt) || (officer.RevokedAt != nil && !p.IssuedAt.Before(*officer.RevokedAt)) {
		return nil, Refuse("unknown_officer", "the signer was not enrolled when the permit was issued")
	}
	challenge := sha256.Sum256(canonical)
	if err := VerifyAssertion(s.Assertion, officer.Key, officer.RPID, officer.Origins, challenge[:]); err != nil {
		return nil, err
	}
	switch {
	case p.IssuedAt.After(now.Add(5 * time.Minute)): // clocks of two zones may differ a little
		return nil, Refuse("not_yet_valid", "issued in the future")
	case now.Before(p.ValidFrom):
		return nil, Refuse("not_yet_valid", "valid from %s", p.ValidFrom.Format(time.RFC3339))
	case !now.Before(p.ValidUntil):
		return nil, Refuse("expired", "expired on %s", p.ValidUntil.Format(time.RFC3339))
	}
	return &p, nil
}

// PermitDigest is the digest that names this exact permit in reports and ledgers.
func PermitDigest(p *Permit) (Digest, error) {
	b, err := Canonical(p)
	if err != nil {
		return "", err
	}
	return DigestOf(b), nil
}
