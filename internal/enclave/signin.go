package enclave

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// challenge answers with the options for navigator.credentials.get and remembers the challenge under a
// cookie. It is good for one attempt within two minutes.
func (d *door) challenge(w http.ResponseWriter, r *http.Request, _ *visitor) {
	challenge := make([]byte, 32)
	rand.Read(challenge)
	token, hash := newToken()
	if err := insertChallenge(r.Context(), d.db, hash, challenge, d.machine.Now()); err != nil {
		d.fail(w, r, err)
		return
	}
	http.SetCookie(w, d.cookie(cookieChallenge, token, int(challengeLife.Seconds())))
	httpx.JSON(w, http.StatusOK, map[string]any{"publicKey": map[string]any{
		"challenge": base64.RawURLEncoding.EncodeToString(challenge), "rpId": d.cfg.Door.RPID,
		"userVerification": "required", "timeout": challengeLife.Milliseconds(), "allowCredentials": []any{},
	}})
}

// passkeyAnswer is what the browser sends: the JSON form of a PublicKeyCredential.
type passkeyAnswer struct {
	ID       string `json:"id"`
	RawID    string `json:"rawId"`
	Type     string `json:"type"`
	Response struct {
		AuthenticatorData string `json:"authenticatorData"`
		ClientDataJSON    string `json:"clientDataJSON"`
		Signature         string `json:"signature"`
		UserHandle        string `json:"userHandle"`
	} `json:"response"`
	ClientExtensionResults  json.RawMessage `json:"clientExtensionResults"`
	AuthenticatorAttachment string          `json:"authenticatorAttachment"`
}

func (p *passkeyAnswer) assertion() (a contract.Assertion, err error) {
	decode := func(s string) []byte {
		b, e := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if e != nil {
			err = contract.Refuse("invalid", "the passkey's answer cannot be read")
		}
		return b
	}
	a.CredentialID = decode(p.RawID)
	a.AuthenticatorData = decode(p.Response.AuthenticatorData)
	a.ClientDataJSON = decode(p.Response.ClientDataJSON)
	a.Signature = decode(p.Response.Signature)
	return a, err
}

// candidate is somebody whom a credential may stand for.
type candidate struct {
	session
	key     contract.PublicKey
	rpID    string
	origins []string
}

// candidates lists whom the permits in force and the roll of reviewers know by this credential.
func (d *door) candidates(ctx context.Context, credential []byte) ([]candidate, error) {
	var out []candidate
	persons, err := d.workspaces.Named(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range persons {
		for _, k := range p.Credentials {
			if bytes.Equal(k.CredentialID, credential) {
				out = append(out, candidate{session{Person: p.ID, Name: p.Name, SPKI: k.SPKI}, k, d.cfg.Door.RPID, d.cfg.Door.Origins})
			}
		}
	}
	roll, err := d.roll.Roll()
	if err != nil {
		return nil, err
	}
	for _, e := range roll.Enrolments {
		if e.Role == "reviewer" && bytes.Equal(e.Key.CredentialID, credential) && inForce(e, d.clock.Now()) {
			out = append(out, candidate{session{Person: e.ID, Name: e.Name, SPKI: e.Key.SPKI}, e.Key, e.RPID, e.Origins})
		}
	}
	return out, nil
}

// signIn verifies a passkey's answer and opens a session.
func (d *door) signIn(w http.ResponseWriter, r *http.Request, _ *visitor) {
	var answer passkeyAnswer
	if err := httpx.Decode(r, 64<<10, &answer); err != nil {
		httpx.Fail(w, r, err)
		return
	}
	s, err := d.verify(r, &answer)
	var refusal *contract.Refusal
	if errors.As(err, &refusal) {
		// One answer for all reasons: whether a credential is known is nobody's business.
		d.log.Info("sign-in refused", "code", refusal.Code, "reason", refusal.Reason)
		if err := d.db.InTx(r.Context(), func(tx *store.Tx) error {
			return d.workspaces.Record(r.Context(), tx, "front door", "session.refused", "passkey", refusal.Code, nil)
		}); err != nil {
			d.fail(w, r, err)
			return
		}
		http.SetCookie(w, d.cookie(cookieChallenge, "", -1))
		httpx.Problem(w, r, http.StatusForbidden, "not_signed_in", "This passkey does not open the enclave. Use the one your permit or enrolment names, and try again.")
		return
	}
	if err == nil {
		err = d.open(w, r, s, "passkey")
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"id": s.Person, "name": s.Name, "home": "/"})
}

func (d *door) verify(r *http.Request, answer *passkeyAnswer) (session, error) {
	a, err := answer.assertion()
	if err != nil {
		return session{}, err
	}
	c, err := r.Cookie(cookieChallenge)
	if err != nil {
		return session{}, contract.Refuse("expired", "no challenge was given out")
	}
	var challenge []byte
	err = d.db.InTx(r.Context(), func(tx *store.Tx) (err error) {
		challenge, err = takeChallenge(r.Context(), tx, hashToken(c.Value), d.machine.Now())
		if errors.Is(err, store.ErrNotFound) {
			challenge = nil
			return nil // the removal of a stale challenge is kept
		}
		return err
	})
	if err != nil {
		return session{}, err
	}
	if len(challenge) == 0 {
		return session{}, contract.Refuse("expired", "the challenge was used or is too old")
	}
	found, err := d.candidates(r.Context(), a.CredentialID)
	if err != nil {
		return session{}, err
	}
	err = contract.Refuse("unknown", "no permit in force and no enrolment has this credential")
	for _, k := range found {
		if err = contract.VerifyAssertion(a, k.key, k.rpID, k.origins, challenge); err == nil {
			return k.session, nil
		}
	}
	return session{}, err
}

// open starts a session and sets its cookie; a session that the browser had is ended.
func (d *door) open(w http.ResponseWriter, r *http.Request, s session, how string) error {
	token, hash := newToken()
	now := d.machine.Now()
	err := d.db.InTx(r.Context(), func(tx *store.Tx) error {
		if v := visitorOf(r); v != nil {
			if err := endSession(r.Context(), tx, v.token, now); err != nil {
				return err
			}
		}
		if err := insertSession(r.Context(), tx, hash, s, now); err != nil {
			return err
		}
		return d.workspaces.Record(r.Context(), tx, s.Person, "session.opened", s.Person, "ok", map[string]any{"how": how})
	})
	if err != nil {
		return err
	}
	http.SetCookie(w, d.cookie(cookieChallenge, "", -1))
	http.SetCookie(w, d.cookie(cookieSession, token, int(sessionLife.Seconds())))
	return nil
}

// demoSignIn signs in without a passkey, in demonstrations only: anybody a permit in force names, or an
// enrolled reviewer. Outside a demonstration the route does not exist.
func (d *door) demoSignIn(w http.ResponseWriter, r *http.Request, _ *visitor) {
	if !d.cfg.Demo {
		d.fail(w, r, contract.Refuse("unknown", "there is no such route"))
		return
	}
	var body struct {
		ID string `json:"id"`
	}
	if isAPI(r) {
		if err := httpx.Decode(r, 4096, &body); err != nil {
			httpx.Fail(w, r, err)
			return
		}
	} else {
		body.ID = r.PostFormValue("id")
	}
	people, err := d.demoPeople(r.Context())
	if err != nil {
		d.fail(w, r, err)
		return
	}
	for _, p := range people {
		if p.Person != body.ID {
			continue
		}
		if err := d.open(w, r, p, "demonstration"); err != nil {
			d.fail(w, r, err)
			return
		}
		if isAPI(r) {
			httpx.JSON(w, http.StatusOK, map[string]string{"id": p.Person, "name": p.Name, "home": "/"})
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	d.fail(w, r, contract.Refuse("not_allowed", "no permit in force names %q, and no reviewer has this id", body.ID))
}

// demoPeople lists whom the role picker of a demonstration offers.
func (d *door) demoPeople(ctx context.Context) ([]session, error) {
	var out []session
	seen := map[string]bool{}
	add := func(id, name string) {
		if !seen[id] {
			seen[id] = true
			out = append(out, session{Person: id, Name: name, Demo: true})
		}
	}
	persons, err := d.workspaces.Named(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range persons {
		add(p.ID, p.Name)
	}
	roll, err := d.roll.Roll()
	if err != nil {
		return nil, err
	}
	for _, e := range roll.Enrolments {
		if e.Role == "reviewer" && inForce(e, d.clock.Now()) {
			add(e.ID, e.Name)
		}
	}
	return out, nil
}

// signOut ends this session, or with everywhere=1 all sessions of the person.
func (d *door) signOut(w http.ResponseWriter, r *http.Request, v *visitor) {
	now := d.machine.Now()
	err := d.db.InTx(r.Context(), func(tx *store.Tx) error {
		if r.FormValue("everywhere") == "1" {
			if err := endSessionsOf(r.Context(), tx, v.Person, now); err != nil {
				return err
			}
		}
		if err := endSession(r.Context(), tx, v.token, now); err != nil {
			return err
		}
		return d.workspaces.Record(r.Context(), tx, v.Person, "session.ended", v.Person, "ok", nil)
	})
	if err != nil {
		d.fail(w, r, err)
		return
	}
	http.SetCookie(w, d.cookie(cookieSession, "", -1))
	if isAPI(r) {
		httpx.JSON(w, http.StatusOK, map[string]string{"status": "signed out"})
		return
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}
