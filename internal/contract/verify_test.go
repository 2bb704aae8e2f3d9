package contract_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
)

var now = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want refusal %q", code)
	}
	if got := contract.RefusalCode(err); got != code {
		t.Fatalf("refused with %q (%v), want %q", got, err, code)
	}
}

func TestVerifyPermitAccepts(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	want := contracttest.Permit(now)
	signed := o.Sign(t, want)
	check := func(s contract.SignedPermit) {
		t.Helper()
		got, err := contract.VerifyPermit(s, contracttest.Roll(o), now)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Fatalf("another permit than the signed one (-want +got):\n%s", d)
		}
	}
	check(signed)

	// encoding/json escapes <, > and & on the way: the bytes differ, the permit is the same.
	wire, err := json.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(wire, []byte(`\u0026`)) {
		t.Fatal("the example should hold an escaped character")
	}
	var travelled contract.SignedPermit
	if err := json.Unmarshal(wire, &travelled); err != nil {
		t.Fatal(err)
	}
	check(travelled)

	var indented bytes.Buffer
	if err := json.Indent(&indented, signed.Permit, "", "  "); err != nil {
		t.Fatal(err)
	}
	check(contract.SignedPermit{Permit: indented.Bytes(), Assertion: signed.Assertion})
}

func TestVerifyPermitRefuses(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	other := contracttest.NewOfficer(t, "officer-2")
	roll := contracttest.Roll(o)
	good := contracttest.Permit(now)
	edit := func(old, new string) func(*contract.SignedPermit) {
		return func(s *contract.SignedPermit) {
			if !strings.Contains(string(s.Permit), old) {
				t.Fatalf("example has no %s", old)
			}
			s.Permit = []byte(strings.Replace(string(s.Permit), old, new, 1))
		}
	}
	sign := func(change func(*contract.Permit)) func(*contract.SignedPermit) {
		return func(s *contract.SignedPermit) {
			p := contracttest.Permit(now)
			change(&p)
			*s = o.Sign(t, p)
		}
	}
	signWith := func(change func(*contracttest.Officer)) func(*contract.SignedPermit) {
		return func(s *contract.SignedPermit) {
			copied := *o
			change(&copied)
			*s = copied.Sign(t, good)
		}
	}
	for _, c := range []struct {
		name, code string
		change     func(*contract.SignedPermit)
	}{
		{"no signature", "unsigned", func(s *contract.SignedPermit) { s.Assertion.Signature = nil }},
		{"no permit", "unsigned", func(s *contract.SignedPermit) { s.Permit = nil }},
		{"empty assertion", "unsigned", func(s *contract.SignedPermit) { s.Assertion = contract.Assertion{} }},
		{"not JSON", "invalid", func(s *contract.SignedPermit) { s.Permit = []byte("{") }},
		{"null", "invalid", func(s *contract.SignedPermit) { s.Permit = []byte("null") }},
		{"array", "invalid", func(s *contract.SignedPermit) { s.Permit = []byte("[]") }},
		{"unknown field", "invalid", edit(`"cohort"`, `"extra":1,"cohort"`)},
		{"unknown field at the front", "invalid", edit(`{`, `{"extra":1,`)},
		{"trailing bytes", "invalid", func(s *contract.SignedPermit) { s.Permit = append(bytes.Clone(s.Permit), '1') }},
		{"two permits", "invalid", func(s *contract.SignedPermit) { s.Permit = append(bytes.Clone(s.Permit), s.Permit...) }},
		{"repeated field", "invalid", edit(`"min_cell":11`, `"min_cell":1,"min_cell":11`)},
		{"field in other case", "invalid", edit(`"min_cell"`, `"Min_Cell"`)},
		{"repeated in other case", "invalid", edit(`"min_cell":11`, `"MIN_CELL":1,"min_cell":11`)},
		{"superfluous null", "invalid", edit(`"min_cell":11`, `"min_cell":11,"purposes_":null`)},
		{"number as float", "invalid", edit(`"min_cell":11`, `"min_cell":11.5`)},
		{"altered threshold", "altered", edit(`"min_cell":11`, `"min_cell":10`)},
		{"altered column", "altered", edit(`"PRS_NAT_REF"`, `"PRS_NAT_REX"`)},
		{"altered opt-out", "altered", edit(`"honoured":true`, `"honoured":false,"justification":"x"`)},
		{"altered domain", "altered", edit(`"pseudonym_domain":"d1"`, `"pseudonym_domain":"d2"`)},
		{"not enrolled", "unknown_officer", func(s *contract.SignedPermit) { *s = other.Sign(t, good) }},
		{"name of another", "unknown_officer", func(s *contract.SignedPermit) { s.Assertion.OfficerID = "officer-2" }},
		{"credential of another", "unknown_officer", func(s *contract.SignedPermit) {
			*s = other.Sign(t, good)
			s.Assertion.OfficerID = "officer-1"
		}},
		{"forged with the officer's names", "bad_signature", func(s *contract.SignedPermit) {
			*s = other.Sign(t, good)
			s.Assertion.OfficerID, s.Assertion.CredentialID = "officer-1", o.Credential.ID
		}},
		{"signature cut", "bad_signature", func(s *contract.SignedPermit) { s.Assertion.Signature = s.Assertion.Signature[:20] }},
		{"assertion of another permit", "altered", func(s *contract.SignedPermit) {
			p := contracttest.Permit(now)
			p.ID = "permit-other"
			s.Assertion = o.Sign(t, p).Assertion
		}},
		{"assertion of another version", "altered", func(s *contract.SignedPermit) {
			p := contracttest.Permit(now)
			p.Version = 2
			s.Assertion = o.Sign(t, p).Assertion
		}},
		{"wrong origin", "bad_signature", signWith(func(o *contracttest.Officer) { o.RP.Origin = "https://evil.example" })},
		{"origin as prefix", "bad_signature", signWith(func(o *contracttest.Officer) { o.RP.Origin = contracttest.Origin + ".evil.example" })},
		{"wrong relying party", "bad_signature", signWith(func(o *contracttest.Officer) { o.RP.ID = "evil.example" })},
		{"user not verified", "bad_signature", signWith(func(o *contracttest.Officer) { o.Authenticator.Options.UserNotVerified = true })},
		{"user not present", "bad_signature", signWith(func(o *contracttest.Officer) { o.Authenticator.Options.UserNotPresent = true })},
		{"authenticator data cut", "bad_signature", func(s *contract.SignedPermit) { s.Assertion.AuthenticatorData = s.Assertion.AuthenticatorData[:36] }},
		{"client data not JSON", "bad_signature", func(s *contract.SignedPermit) { s.Assertion.ClientDataJSON = []byte("x") }},
		{"registration instead of assertion", "bad_signature", func(s *contract.SignedPermit) {
			s.Assertion.ClientDataJSON = bytes.Replace(s.Assertion.ClientDataJSON, []byte("webauthn.get"), []byte("webauthn.create"), 1)
		}},
		{"in a foreign frame", "bad_signature", func(s *contract.SignedPermit) {
			s.Assertion.ClientDataJSON = bytes.Replace(s.Assertion.ClientDataJSON, []byte(`"type"`), []byte(`"crossOrigin":true,"type"`), 1)
		}},
		{"expired", "expired", sign(func(p *contract.Permit) { p.ValidUntil = now.Add(-time.Second) })},
		{"expires this instant", "expired", sign(func(p *contract.Permit) { p.ValidUntil = now })},
		{"not yet valid", "not_yet_valid", sign(func(p *contract.Permit) { p.ValidFrom = now.Add(time.Second) })},
		{"issued in the future", "not_yet_valid", sign(func(p *contract.Permit) { p.IssuedAt = now.Add(6 * time.Minute) })},
		{"longer than ten years", "invalid", sign(func(p *contract.Permit) { p.ValidUntil = p.ValidFrom.AddDate(10, 0, 1) })},
		{"other schema", "invalid", sign(func(p *contract.Permit) { p.Schema = "mitral.permit/2" })},
		{"id that is a path", "invalid", sign(func(p *contract.Permit) { p.ID = "../x" })},
		{"id with a NUL", "invalid", sign(func(p *contract.Permit) { p.ID = "permit\x00d" })},
		{"no persons", "invalid", sign(func(p *contract.Permit) { p.Persons = nil })},
		{"no threshold", "invalid", sign(func(p *contract.Permit) { p.MinCell = 0 })},
		{"objections set aside without reason", "invalid", sign(func(p *contract.Permit) { p.OptOut = contract.OptOut{} })},
		{"name that is a path", "invalid", sign(func(p *contract.Permit) { p.Datasets[0].Dataset = "../x" })},
		{"name that is SQL", "invalid", sign(func(p *contract.Permit) { p.Datasets[0].Tables[0].Columns[0] = `a"; drop` })},
		{"cohort of nobody", "invalid", sign(func(p *contract.Permit) { p.Cohort.All = false })},
		{"period the wrong way", "invalid", sign(func(p *contract.Permit) { p.Period.From = "2023-01-01" })},
		{"day that does not exist", "invalid", sign(func(p *contract.Permit) { p.Period.To = "2022-02-30" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := o.Sign(t, good)
			c.change(&s)
			_, err := contract.VerifyPermit(s, roll, now)
			wantCode(t, err, c.code)
		})
	}
}

func TestVerifyPermitFollowsTheRoll(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	p := contracttest.Permit(now)
	s := o.Sign(t, p)
	at := func(d time.Duration) *time.Time { v := p.IssuedAt.Add(d); return &v }
	for _, c := range []struct {
		name    string
		since   time.Time
		revoked *time.Time
		role    string
		ok      bool
	}{
		{"enrolled that instant", p.IssuedAt, nil, "officer", true},
		{"enrolled later", p.IssuedAt.Add(time.Second), nil, "officer", false},
		{"revoked afterwards", p.IssuedAt.AddDate(-1, 0, 0), at(time.Second), "officer", true},
		{"revoked that instant", p.IssuedAt.AddDate(-1, 0, 0), at(0), "officer", false},
		{"revoked before", p.IssuedAt.AddDate(-1, 0, 0), at(-time.Hour), "officer", false},
		{"only a reviewer", p.IssuedAt.AddDate(-1, 0, 0), nil, "reviewer", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := o.Enrolment(c.since)
			e.RevokedAt, e.Role = c.revoked, c.role
			_, err := contract.VerifyPermit(s, &contract.Roll{Enrolments: []contract.Enrolment{e}}, now)
			if c.ok && err != nil {
				t.Fatal(err)
			}
			if !c.ok {
				wantCode(t, err, "unknown_officer")
			}
		})
	}
	_, err := contract.VerifyPermit(s, &contract.Roll{}, now)
	wantCode(t, err, "unknown_officer")
}

// Whatever single byte of a signed permit is changed, removed or added: either the permit still says
// exactly the same, or it is refused.
func TestVerifyPermitEveryByteCounts(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	roll := contracttest.Roll(o)
	want := contracttest.Permit(now)
	s := o.Sign(t, want)
	unchanged := func(t interface{ Fatalf(string, ...any) }, b []byte) {
		got, err := contract.VerifyPermit(contract.SignedPermit{Permit: b, Assertion: s.Assertion}, roll, now)
		if err == nil && !cmp.Equal(&want, got) {
			t.Fatalf("accepted with another meaning: %s", b)
		}
		if err != nil {
			var r *contract.Refusal
			if !errors.As(err, &r) {
				t.Fatalf("refused without a code: %v", err)
			}
		}
	}
	t.Run("each bit", func(t *testing.T) {
		for i := range s.Permit {
			for bit := range 8 {
				b := bytes.Clone(s.Permit)
				b[i] ^= 1 << bit
				unchanged(t, b)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(s.Permit)-1).Draw(t, "at")
		c := rapid.Byte().Draw(t, "byte")
		var b []byte
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			b = bytes.Clone(s.Permit)
			b[i] = c
		case 1:
			b = append(append(bytes.Clone(s.Permit[:i]), c), s.Permit[i:]...)
		case 2:
			b = append(bytes.Clone(s.Permit[:i]), s.Permit[i+1:]...)
		}
		unchanged(t, b)
	})
}

// The same for the assertion: no byte of it may change (ECDSA signatures have no second valid form that
// one byte away would reach, and base64 padding bits of the challenge must not matter).
func TestVerifyAssertionEveryByteCounts(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	challenge := sha256.Sum256([]byte("content"))
	a := o.Assert(t, challenge[:])
	if err := contract.VerifyAssertion(a, o.PublicKey(), contracttest.RPID, []string{contracttest.Origin}, challenge[:]); err != nil {
		t.Fatal(err)
	}
	for name, field := range map[string]func(*contract.Assertion) *[]byte{
		"credential": func(a *contract.Assertion) *[]byte { return &a.CredentialID },
		"auth data":  func(a *contract.Assertion) *[]byte { return &a.AuthenticatorData },
		"client":     func(a *contract.Assertion) *[]byte { return &a.ClientDataJSON },
		"signature":  func(a *contract.Assertion) *[]byte { return &a.Signature },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range *field(&a) {
				changed := a
				f := field(&changed)
				*f = bytes.Clone(*f)
				(*f)[i] ^= 1
				if contract.VerifyAssertion(changed, o.PublicKey(), contracttest.RPID, []string{contracttest.Origin}, challenge[:]) == nil {
					t.Fatalf("byte %d may be changed", i)
				}
			}
		})
	}
}

func TestVerifyAssertionKeys(t *testing.T) {
	challenge := sha256.Sum256([]byte("content"))
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	o := contracttest.NewOfficer(t, "o")
	a := o.Assert(t, challenge[:])
	client := sha256.Sum256(a.ClientDataJSON)
	a.Signature = ed25519.Sign(private, append(bytes.Clone(a.AuthenticatorData), client[:]...))
	key := contract.PublicKey{CredentialID: a.CredentialID, SPKI: spki}
	verify := func(k contract.PublicKey, origins []string) error {
		return contract.VerifyAssertion(a, k, contracttest.RPID, origins, challenge[:])
	}
	if err := verify(key, []string{"https://first.example", contracttest.Origin}); err != nil {
		t.Fatalf("Ed25519: %v", err)
	}
	wantCode(t, verify(key, nil), "bad_signature")
	wantCode(t, verify(contract.PublicKey{CredentialID: a.CredentialID, SPKI: []byte("x")}, []string{contracttest.Origin}), "bad_signature")

	// RSA passkeys are not among the kinds of key that a permit may be signed with.
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaSPKI, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, verify(contract.PublicKey{CredentialID: a.CredentialID, SPKI: rsaSPKI}, []string{contracttest.Origin}), "bad_signature")
}

func FuzzVerifyPermit(f *testing.F) {
	o := contracttest.NewOfficer(f, "officer-1")
	roll := contracttest.Roll(o)
	want := contracttest.Permit(now)
	s := o.Sign(f, want)
	f.Add([]byte(s.Permit))
	f.Add([]byte(`{"schema":"mitral.permit/1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := contract.VerifyPermit(contract.SignedPermit{Permit: b, Assertion: s.Assertion}, roll, now)
		if err == nil && !cmp.Equal(&want, got) {
			t.Fatalf("accepted with another meaning: %s", b)
		}
	})
}

func FuzzClientData(f *testing.F) {
	o := contracttest.NewOfficer(f, "officer-1")
	challenge := sha256.Sum256([]byte("content"))
	a := o.Assert(f, challenge[:])
	f.Add(a.ClientDataJSON)
	f.Add([]byte(`{"challenge":"` + base64.RawURLEncoding.EncodeToString(challenge[:]) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		changed := a
		changed.ClientDataJSON = b
		err := contract.VerifyAssertion(changed, o.PublicKey(), contracttest.RPID, []string{contracttest.Origin}, challenge[:])
		if err == nil && !bytes.Equal(b, a.ClientDataJSON) {
			t.Fatalf("signature accepted over other client data: %q", b)
		}
	})
}
