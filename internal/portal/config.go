package portal

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// Config of the portal (YAML, unknown keys are errors). Listen of conf.Zone is the mutual-TLS listener
// of the order book.
type Config struct {
	conf.Zone `yaml:",inline"`

	Name         string      `yaml:"name"`          // of the hub, in the header; empty: "Mitral"
	Body         string      `yaml:"body"`          // name of the health data access body that decides; empty: Name
	TimeZone     string      `yaml:"time_zone"`     // in which dates are shown; empty: Europe/Paris
	PublicListen string      `yaml:"public_listen"` // address for browsers
	PublicCert   string      `yaml:"public_cert"`   // PEM; empty with PublicKey: no TLS here (a proxy ends it)
	PublicKey    string      `yaml:"public_key"`
	PublicURL    string      `yaml:"public_url"` // origin as browsers see it: "https://portal.hub.example"
	RPID         string      `yaml:"rp_id"`      // WebAuthn relying party id; empty: host of PublicURL
	OIDC         access.OIDC `yaml:"oidc"`
	Procedure    string      `yaml:"procedure"`    // that new applications follow; empty: "fr-snds"
	Demo         bool        `yaml:"demo"`         // role picker and movable clock; never with real data
	DemoKeyURL   string      `yaml:"demo_key_url"` // page of the demonstration security key; demo only

	TrustRecipientFile string `yaml:"trust_recipient_file"` // age recipient that objections are sealed to
	EnclaveURL         string `yaml:"enclave_url"`          // front door of the enclave, for links
}

// prepared fills defaults and refuses what cannot work.
func (c Config) prepared() (Config, *time.Location, error) {
	if c.Name == "" {
		c.Name = "Mitral"
	}
	if c.Body == "" {
		c.Body = c.Name
	}
	if c.TimeZone == "" {
		c.TimeZone = "Europe/Paris"
	}
	if c.Procedure == "" {
		c.Procedure = "fr-snds"
	}
	loc, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return c, nil, fmt.Errorf("portal: time_zone: %w", err)
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" {
		return c, nil, fmt.Errorf("portal: public_url %q must be an origin such as https://portal.hub.example", c.PublicURL)
	}
	if c.RPID == "" {
		c.RPID = u.Hostname()
	}
	switch {
	case c.Dir == "":
		return c, nil, errors.New("portal: dir is missing")
	case c.PublicListen == "":
		return c, nil, errors.New("portal: public_listen is missing")
	case c.TrustRecipientFile == "":
		return c, nil, errors.New("portal: trust_recipient_file is missing: objections could not be sealed")
	case !c.Demo && (c.DemoClock != "" || c.DemoKeyURL != ""):
		return c, nil, errors.New("portal: demo_clock and demo_key_url are for demonstrations only")
	}
	return c, loc, nil
}
