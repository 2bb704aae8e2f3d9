package trust

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/trust/identity"
)

// tolerance is how much the clocks of provider, portal and trust may differ.
const tolerance = 5 * time.Minute

// tokenVerifier checks a citizen's ID token against the provider's keys in trust's own configuration.
type tokenVerifier struct{ provider IdentityProvider }

// claims are the OpenID Connect standard claims (Core 1.0, section 5.1) and those of FranceConnect that say
// who a person is. family_name is the used name where birth_family_name is there, else the birth name.
type claims struct {
	GivenName       string `json:"given_name"`
	FamilyName      string `json:"family_name"`
	BirthFamilyName string `json:"birth_family_name"`
	Birthdate       string `json:"birthdate"`
	Gender          string `json:"gender"`
	NIR             string `json:"nir"`
}

// verify returns the normalised identity that the token proves at the instant of filing. Errors are
// Refusals without any identity, or failures of our own (a missing key file).
func (v tokenVerifier) verify(ctx context.Context, token string, filed, now time.Time) (identity.Traits, error) {
	none := identity.Traits{}
	if filed.After(now.Add(tolerance)) {
		return none, contract.Refuse("not_yet_valid", "the declaration is dated in the future")
	}
	keys, err := v.keys()
	if err != nil {
		return none, err
	}
	verifier := oidc.NewVerifier(v.provider.Issuer, &oidc.StaticKeySet{PublicKeys: keys}, &oidc.Config{
		ClientID:             v.provider.Audience,
		SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA},
		Now:                  func() time.Time { return filed.Add(-tolerance) },
	})
	id, err := verifier.Verify(ctx, token)
	if _, expired := errors.AsType[*oidc.TokenExpiredError](err); expired {
		return none, contract.Refuse("expired", "the identity token had expired when the declaration was filed")
	}
	if err != nil { // the cause may quote the token
		return none, contract.Refuse("bad_signature", "the identity token is not one of the identity provider for this portal")
	}
	if id.IssuedAt.After(filed.Add(tolerance)) {
		return none, contract.Refuse("not_yet_valid", "the identity token was issued after the declaration was filed")
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return none, contract.Refuse("invalid", "the identity token's claims cannot be read")
	}
	who := contract.Identity{NIR: c.NIR, BirthName: c.BirthFamilyName, UsedName: c.FamilyName, GivenName: c.GivenName, BirthDate: c.Birthdate, Sex: c.Gender}
	if who.BirthName == "" {
		who.BirthName, who.UsedName = c.FamilyName, ""
	}
	return identity.Normalise(&who, now), nil
}

// keys reads the provider's public keys; read each time, so that a change of keys needs no restart.
func (v tokenVerifier) keys() ([]crypto.PublicKey, error) {
	b, err := os.ReadFile(v.provider.JWKSFile)
	if err != nil {
		return nil, fmt.Errorf("identity provider's keys: %w", err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("identity provider's keys %s: %w", v.provider.JWKSFile, err)
	}
	var keys []crypto.PublicKey
	for _, k := range set.Keys {
		if pub := k.Public(); pub.Valid() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, pub.Key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("identity provider's keys %s: no signing key in it", v.provider.JWKSFile)
	}
	return keys, nil
}
