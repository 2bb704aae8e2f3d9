// Package contracttest makes officers with virtual passkeys and permits signed by them. Tests of every
// zone use it; no program may import it.
package contracttest

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/mitral-health/mitral/internal/contract"
)

// Where the test officers' passkeys were used.
const (
	RPID   = "hub.example"
	Origin = "https://portal.hub.example"
)

// Officer is a deciding officer with a passkey of her own.
type Officer struct {
	ID            string
	RP            virtualwebauthn.RelyingParty
	Authenticator virtualwebauthn.Authenticator
	Credential    virtualwebauthn.Credential
	SPKI          []byte
}

// NewOfficer makes a passkey on P-256 for the officer called id.
func NewOfficer(t testing.TB, id string) *Officer {
	t.Helper()
	cred := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	private, err := x509.ParsePKCS8PrivateKey(cred.Key.Data)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return &Officer{
		ID:            id,
		RP:            virtualwebauthn.RelyingParty{ID: RPID, Name: "Hub", Origin: Origin},
		Authenticator: virtualwebauthn.NewAuthenticator(),
		Credential:    cred,
		SPKI:          spki,
	}
}

// PublicKey is the passkey as an enrolment holds it.
func (o *Officer) PublicKey() contract.PublicKey {
	return contract.PublicKey{CredentialID: o.Credential.ID, SPKI: o.SPKI}
}

// Enrolment enrols the officer from the given time on.
func (o *Officer) Enrolment(since time.Time) contract.Enrolment {
	return contract.Enrolment{ID: o.ID, Name: "Officer " + o.ID, Role: "officer", RPID: RPID, Origins: []string{Origin},
		Key: o.PublicKey(), EnrolledAt: since}
}

// Roll is a roll of these officers, enrolled since the year 2000.
func Roll(officers ...*Officer) *contract.Roll {
	r := &contract.Roll{}
	for _, o := range officers {
		r.Enrolments = append(r.Enrolments, o.Enrolment(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
	}
	return r
}

// WriteRoll writes officers.json into a zone's directory.
func WriteRoll(t testing.TB, dir string, r *contract.Roll) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "officers.json.tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "officers.json")); err != nil {
		t.Fatal(err)
	}
}

// Assert lets the passkey answer a challenge.
func (o *Officer) Assert(t testing.TB, challenge []byte) contract.Assertion {
	t.Helper()
	answer := virtualwebauthn.CreateAssertionResponse(o.RP, o.Authenticator, o.Credential,
		virtualwebauthn.AssertionOptions{Challenge: challenge, RelyingPartyID: o.RP.ID})
	var v struct {
		Response struct{ AuthenticatorData, ClientDataJSON, Signature string }
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return contract.Assertion{
		OfficerID: o.ID, CredentialID: o.Credential.ID,
		AuthenticatorData: decode(v.Response.AuthenticatorData),
		ClientDataJSON:    decode(v.Response.ClientDataJSON),
		Signature:         decode(v.Response.Signature),
	}
}

// Sign signs a permit as the portal has it done: over the SHA-256 of its canonical JSON.
func (o *Officer) Sign(t testing.TB, p contract.Permit) contract.SignedPermit {
	t.Helper()
	canonical, err := contract.Canonical(&p)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := p.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	return contract.SignedPermit{Permit: canonical, Assertion: o.Assert(t, challenge)}
}

// Permit is a valid data permit in force at now; tests change what they are about.
func Permit(now time.Time) contract.Permit {
	now = now.UTC().Truncate(time.Second)
	return contract.Permit{
		Schema: contract.PermitSchema, ID: "permit-test", Version: 1, Kind: contract.PermitData, Procedure: "fr-snds@1",
		Title: "Statins & falls <65", Purposes: []string{"e"}, Controller: "University of the Test",
		Persons: []contract.Person{{ID: "p1", Name: "Rita Researcher", Principal: true}},
		Datasets: []contract.DatasetScope{{Holder: "cnam", Dataset: "snds",
			Tables: []contract.TableScope{{Table: "ER_PRS_F", Columns: []string{"EXE_SOI_DTD", "PRS_NAT_REF"}}}}},
		Period: contract.Period{From: "2020-01-01", To: "2022-12-31"},
		Cohort: contract.Cohort{All: true, Period: contract.Period{From: "2020-01-01", To: "2022-12-31"}},
		OptOut: contract.OptOut{Honoured: true}, MinCell: 11, Reviewers: 2, PseudonymDomain: "d1",
		IssuedAt: now.Add(-time.Hour), ValidFrom: now.Add(-time.Hour), ValidUntil: now.AddDate(1, 0, 0),
	}
}
