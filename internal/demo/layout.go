package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demoidp"
	"github.com/mitral-health/mitral/internal/enclave"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/portal"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/sample"
	"github.com/mitral-health/mitral/internal/trust"
	"github.com/mitral-health/mitral/internal/vault"
)

const (
	hubName  = "Mitral"
	clientID = "mitral-portal" // of the portal at the identity provider
)

var zones = []string{contract.ZonePortal, contract.ZoneTrust, contract.ZoneVault, contract.ZoneEngine, contract.ZoneEnclave}

// prepare makes what a new hub needs before its first start: certificates and the sample country. It
// may be called again after an interruption.
func (h *Hub) prepare(ctx context.Context) error {
	if err := pki.Init(h.path("pki")); err != nil && !errors.Is(err, pki.ErrExists) {
		return err
	}
	bearers := map[string]string{}
	for _, z := range zones {
		bearers[z] = pki.KindZone
	}
	for _, holder := range holders {
		bearers[holder] = pki.KindAgent
	}
	for name, kind := range bearers {
		if _, err := pki.Issue(h.path("pki"), kind, name, nil); err != nil && !errors.Is(err, pki.ErrExists) {
			return err
		}
	}
	for _, dir := range []string{"handover", "agents", "idp"} {
		if err := os.MkdirAll(h.path(dir), 0o700); err != nil {
			return err
		}
	}
	omop := filepath.Join(h.state.Shared, "omop", "gibleed")
	if h.state.Shared == "" || !exists(omop) {
		omop = ""
	}
	h.opts.Say("Sample country of %d people", h.state.People)
	_, err := sample.Generate(ctx, sample.Options{
		People: h.state.People, Seed: h.state.Seed, Years: h.state.Years,
		Out: h.path("sample"), Format: h.state.Format, OMOP: omop, Progress: h.opts.Progress,
	})
	return err
}

var holders = []string{sample.HolderSNDS, sample.HolderOSCOUR, sample.HolderMarrow, sample.HolderSarcoma, sample.HolderStudents, sample.HolderResearch}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func mutual(port int) string { return "https://" + net.JoinHostPort("localhost", fmt.Sprint(port)) }

// zoneConf is what every zone's configuration starts with.
func (h *Hub) zoneConf(zone string, listen int) conf.Zone {
	z := conf.Zone{Dir: h.ZoneDir(zone), TLS: pki.Files(h.path("pki"), pki.KindZone, zone), DemoClock: h.path("clock")}
	if listen != 0 {
		z.Listen = local(listen)
	}
	return z
}

// writeConfigs writes the configuration of every process. They say nothing that an operator would not
// write by hand; docs/operator.md explains them.
func (h *Hub) writeConfigs() error {
	p := h.state.Ports
	trustConf := trust.Config{
		Zone: h.zoneConf(contract.ZoneTrust, p.Trust), Portal: mutual(p.OrderBook),
		EngineRecipientFile: filepath.Join(h.ZoneDir(contract.ZoneEngine), "recipient.txt"),
		IdentityProvider:    trust.IdentityProvider{Issuer: h.idpURL(), Audience: clientID, JWKSFile: h.path("idp", "jwks.json")},
	}
	trustConf.Database = h.opts.TrustDB
	portalConf := portal.Config{
		Zone: h.zoneConf(contract.ZonePortal, p.OrderBook), Name: hubName, Body: "Health data access body of the sample country",
		PublicListen: local(p.Portal), PublicURL: h.PortalURL(), OIDC: access.OIDC{Issuer: h.idpURL(), ClientID: clientID},
		Demo: true, DemoKeyURL: h.keyURL() + "/key", EnclaveURL: h.EnclaveURL(),
		TrustRecipientFile: filepath.Join(h.ZoneDir(contract.ZoneTrust), "recipient.txt"),
	}
	portalConf.Database = h.opts.PortalDB
	configs := map[string]any{
		"idp": demoidp.Config{
			Listen: local(p.IDP), Issuer: h.idpURL(), Citizens: h.path("sample", "citizens.json"), Dir: h.path("idp"),
			JWKS: h.path("idp", "jwks.json"), ClientID: clientID, RedirectURIs: []string{h.PortalURL() + "/sign-in/callback"}, DemoClock: h.path("clock"),
		},
		contract.ZonePortal: portalConf,
		contract.ZoneTrust:  trustConf,
		contract.ZoneVault:  vault.Config{Zone: h.zoneConf(contract.ZoneVault, p.Vault), Portal: mutual(p.OrderBook)},
		contract.ZoneEngine: engine.Config{
			Zone: h.zoneConf(contract.ZoneEngine, p.Engine), Portal: mutual(p.OrderBook), Trust: mutual(p.Trust), Vault: mutual(p.Vault),
			Handover: h.path("handover"), MaxPartBytes: 4 << 30,
		},
		contract.ZoneEnclave: enclave.Config{
			Zone: h.zoneConf(contract.ZoneEnclave, 0), Portal: mutual(p.OrderBook), Vault: mutual(p.Vault), Handover: h.path("handover"),
			Door: enclave.Door{Listen: local(p.Enclave), URL: h.EnclaveURL()}, Demo: true, HubName: hubName,
		},
	}
	for name, c := range configs {
		if err := conf.Save(h.configFile(name), c); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) configFile(name string) string { return h.path("config", name+".yaml") }
