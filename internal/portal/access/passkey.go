package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	ceremonyCookie  = "mitral_ceremony"
	ceremonyLimit   = 10 * time.Minute
	ceremonySignIn  = "passkey-sign-in"
	ceremonyEnrol   = "passkey-enrol"
	maxPasskeys     = 10
	maxPasskeyLabel = 60
)

// holderOf is an account as the WebAuthn library sees it.
type holderOf struct {
	account Account
	keys    []Passkey
}

func (h holderOf) WebAuthnID() []byte          { return []byte(h.account.ID) }
func (h holderOf) WebAuthnName() string        { return h.account.Name }
func (h holderOf) WebAuthnDisplayName() string { return h.account.Name }
func (h holderOf) WebAuthnCredentials() []webauthn.Credential {
	out := make([]webauthn.Credential, len(h.keys))
	for i, k := range h.keys {
		out[i] = k.record
	}
	return out
}

func (a *Access) passkeyHolder(ctx context.Context, account string) (holderOf, error) {
	acc, err := selectAccount(ctx, a.o.DB, account)
	if err != nil {
		return holderOf{}, err
	}
	if !acc.DisabledAt.IsZero() {
		return holderOf{}, store.ErrNotFound
	}
	keys, err := selectPasskeys(ctx, a.o.DB, account)
	return holderOf{acc, keys}, err
}

// startEnrolment returns the options for navigator.credentials.create and the token of the ceremony.
// Only ES256 and Ed25519 are offered: the inner zones verify these two (contract.VerifyAssertion).
func (a *Access) startEnrolment(ctx context.Context, account string) (*protocol.CredentialCreation, string, error) {
	h, err := a.passkeyHolder(ctx, account)
	if err != nil {
		return nil, "", err
	}
	var exclude []protocol.CredentialDescriptor
	for _, c := range h.WebAuthnCredentials() {
		exclude = append(exclude, c.Descriptor())
	}
	options, session, err := a.webauthn.BeginRegistration(h, webauthn.WithExclusions(exclude),
		webauthn.WithCredentialParameters([]protocol.CredentialParameter{
			{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
			{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
		}))
	if err != nil {
		return nil, "", err
	}
	token, err := a.keepCeremony(ctx, ceremonyEnrol, account, session)
	return options, token, err
}

func (a *Access) keepCeremony(ctx context.Context, kind, account string, v any) (token string, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	token, hash := newToken()
	return token, insertCeremony(ctx, a.o.DB, hash, ceremony{kind, account, string(data)}, a.now().Add(ceremonyLimit))
}

// finishEnrolment checks what the authenticator sent and keeps the key.
func (a *Access) finishEnrolment(ctx context.Context, account, token, label string, response []byte) (Passkey, error) {
	h, err := a.passkeyHolder(ctx, account)
	if err != nil {
		return Passkey{}, err
	}
	if len(h.keys) >= maxPasskeys {
		return Passkey{}, contract.Refuse("too_many", "an account has at most %d passkeys: remove one first", maxPasskeys)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Passkey{}, contract.Refuse("invalid", "the passkey's answer cannot be read")
	}
	var p Passkey
	err = a.o.DB.InTx(ctx, func(tx *store.Tx) error {
		c, err := takeCeremony(ctx, tx, tokenHash(token), ceremonyEnrol, a.now())
		if err != nil || c.Account != account {
			return contract.Refuse("expired", "this registration is over: start again")
		}
		var session webauthn.SessionData
		if err := json.Unmarshal([]byte(c.Data), &session); err != nil {
			return err
		}
		cred, err := a.webauthn.CreateCredential(h, session, parsed)
		if err != nil {
			a.o.Log.Info("passkey refused", "account", account, "error", err)
			return contract.Refuse("invalid", "the passkey's answer does not verify")
		}
		spki, err := spkiOf(cred.PublicKey)
		if err != nil {
			return contract.Refuse("invalid", "this kind of passkey cannot be used here: it must sign with ES256 or Ed25519")
		}
		cred.Attestation = webauthn.CredentialAttestation{} // which model of key it is, is nobody's business
		p = Passkey{CredentialID: cred.ID, SPKI: spki, Label: label, CreatedAt: a.now(), record: *cred}
		if err := insertPasskey(ctx, tx, account, p); err != nil {
			if errors.Is(err, store.ErrConflict) {
				return contract.Refuse("known", "this passkey is already registered")
			}
			return err
		}
		return a.record(ctx, tx, account, "access.passkey_enrol", account, nil)
	})
	return p, err
}

// spkiOf turns a COSE key (RFC 9052) into DER SubjectPublicKeyInfo, the form that contracts carry.
func spkiOf(cose []byte) ([]byte, error) {
	key, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		if webauthncose.COSEAlgorithmIdentifier(k.Algorithm) != webauthncose.AlgES256 {
			return nil, fmt.Errorf("algorithm %d", k.Algorithm)
		}
		var pub *ecdsa.PublicKey
		if pub, err = k.ToECDSA(); err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(pub)
	case webauthncose.OKPPublicKeyData:
		return x509.MarshalPKIXPublicKey(ed25519.PublicKey(k.XCoord))
	}
	return nil, fmt.Errorf("key type %T", key)
}

// startSignIn returns the options for navigator.credentials.get: any passkey of this portal will do.
func (a *Access) startSignIn(ctx context.Context) (*protocol.CredentialAssertion, string, error) {
	options, session, err := a.webauthn.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", err
	}
	token, err := a.keepCeremony(ctx, ceremonySignIn, "", session)
	return options, token, err
}

var errPasskey = contract.Refuse("denied", "this passkey is not known here, or its answer does not verify")

// finishSignIn returns the account whose passkey answered.
func (a *Access) finishSignIn(ctx context.Context, token string, response []byte) (string, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return "", contract.Refuse("invalid", "the passkey's answer cannot be read")
	}
	account := string(parsed.Response.UserHandle)
	err = a.o.DB.InTx(ctx, func(tx *store.Tx) error {
		c, err := takeCeremony(ctx, tx, tokenHash(token), ceremonySignIn, a.now())
		if err != nil {
			return contract.Refuse("expired", "this sign-in is over: start again")
		}
		var session webauthn.SessionData
		if err := json.Unmarshal([]byte(c.Data), &session); err != nil {
			return err
		}
		_, cred, err := a.webauthn.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
			return a.passkeyHolder(ctx, string(handle))
		}, session, parsed)
		if err != nil {
			a.o.Log.Info("passkey sign-in refused", "error", err)
			return errPasskey
		}
		if cred.Authenticator.CloneWarning { // the counter went back: two keys share one secret
			a.o.Log.Warn("passkey may be copied", "account", account)
			return errPasskey
		}
		return updatePasskey(ctx, tx, cred, a.now())
	})
	return account, err
}

// StartAssertion returns the options with which a browser asks a passkey of an account to sign a
// challenge that the caller chose, such as the digest of a permit.
func (a *Access) StartAssertion(ctx context.Context, account string, challenge []byte) (*protocol.CredentialAssertion, error) {
	keys, err := selectPasskeys(ctx, a.o.DB, account)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, contract.Refuse("no_passkey", "register a passkey first, on the page of your account")
	}
	options := &protocol.CredentialAssertion{Response: protocol.PublicKeyCredentialRequestOptions{
		Challenge: challenge, Timeout: int(ceremonyLimit / time.Millisecond), RelyingPartyID: a.o.RPID, UserVerification: protocol.VerificationRequired}}
	for _, k := range keys {
		options.Response.AllowedCredentials = append(options.Response.AllowedCredentials, k.record.Descriptor())
	}
	return options, nil
}

// FinishAssertion checks the browser's answer (AuthenticationResponseJSON) to StartAssertion with the
// same challenge and returns it as it travels with a permit. What protects from replay is the
// challenge: it is the digest of a document that is signed once.
func (a *Access) FinishAssertion(ctx context.Context, account string, challenge, response []byte) (contract.Assertion, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return contract.Assertion{}, contract.Refuse("invalid", "the passkey's answer cannot be read")
	}
	raw := parsed.Raw.AssertionResponse
	return a.CheckAssertion(ctx, challenge, contract.Assertion{OfficerID: account, CredentialID: parsed.RawID,
		AuthenticatorData: raw.AuthenticatorData, ClientDataJSON: raw.ClientDataJSON, Signature: raw.Signature})
}

// CheckAssertion checks an assertion given in its parts, as the inner zones will.
func (a *Access) CheckAssertion(ctx context.Context, challenge []byte, as contract.Assertion) (contract.Assertion, error) {
	keys, err := selectPasskeys(ctx, a.o.DB, as.OfficerID)
	if err != nil {
		return contract.Assertion{}, err
	}
	for _, k := range keys {
		if bytes.Equal(k.CredentialID, as.CredentialID) {
			return as, contract.VerifyAssertion(as, contract.PublicKey{CredentialID: k.CredentialID, SPKI: k.SPKI}, a.o.RPID, []string{a.o.PublicURL}, challenge)
		}
	}
	return contract.Assertion{}, errPasskey
}

// Enrolments returns the passkeys of an officer or reviewer as the files that the operator of each inner
// zone enrols by hand (mitral enrol): the portal itself can enrol nobody there.
func (a *Access) Enrolments(ctx context.Context, u *User) ([]contract.Enrolment, error) {
	role := ""
	switch {
	case u.Has(Officer):
		role = "officer"
	case u.Has(Reviewer):
		role = "reviewer"
	default:
		return nil, &Denied{Action: EnrolmentRead, SignedIn: true}
	}
	keys, err := selectPasskeys(ctx, a.o.DB, u.ID)
	if err != nil {
		return nil, err
	}
	out := []contract.Enrolment{}
	for _, k := range keys {
		out = append(out, contract.Enrolment{ID: u.ID, Name: u.Name, Role: role, RPID: a.o.RPID, Origins: []string{a.o.PublicURL},
			Key: contract.PublicKey{CredentialID: k.CredentialID, SPKI: k.SPKI}, EnrolledAt: k.CreatedAt})
	}
	return out, nil
}

// takeCeremonyCookie returns the token of the ceremony that this browser began.
func (a *Access) takeCeremonyCookie(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(ceremonyCookie)
	if err != nil {
		return ""
	}
	a.dropCookie(w, ceremonyCookie)
	return c.Value
}
