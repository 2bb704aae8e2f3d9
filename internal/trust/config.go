package trust

import (
	"errors"
	"path/filepath"

	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Config is trust's configuration file.
type Config struct {
	conf.Zone `yaml:",inline"`
	// Portal is the order book's address ("https://portal.hub.example:7443"); empty: no orders are polled.
	Portal string `yaml:"portal"`
	// EngineRecipientFile holds engine's age recipient ("age1…"), to which ticket sheets are sealed.
	EngineRecipientFile string `yaml:"engine_recipient_file"`
	// IdentityProvider proves who a citizen is.
	IdentityProvider IdentityProvider `yaml:"identity_provider"`
}

// IdentityProvider says whose tokens prove a citizen's identity. The keys are a local file, brought by
// trust's operator, so that nobody on the way can exchange them.
type IdentityProvider struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`  // the portal's client id at the provider
	JWKSFile string `yaml:"jwks_file"` // JSON Web Key Set (RFC 7517); read again when it changes
}

// Validate checks that nothing needed is missing.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("trust: dir is missing")
	case c.EngineRecipientFile == "":
		return errors.New("trust: engine_recipient_file is missing")
	case c.Portal != "" && (c.IdentityProvider.Issuer == "" || c.IdentityProvider.Audience == "" || c.IdentityProvider.JWKSFile == ""):
		return errors.New("trust: identity_provider needs issuer, audience and jwks_file, or no objection could be verified")
	}
	return nil
}

func (c *Config) incoming(delivery string) string { return filepath.Join(c.Dir, "incoming", delivery) }
func (c *Config) sheets() string                  { return filepath.Join(c.Dir, "sheets") }
func (c *Config) officers() string                { return filepath.Join(c.Dir, "officers.json") }
func (c *Config) ageKey() string                  { return filepath.Join(c.Dir, "age.key") }
func (c *Config) recipient() string               { return filepath.Join(c.Dir, "recipient.txt") }
