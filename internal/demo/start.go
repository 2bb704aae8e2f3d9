package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/operator"
)

// innerZones are those that verify permits; each has a list of officers of its own.
var innerZones = []string{contract.ZoneTrust, contract.ZoneVault, contract.ZoneEngine, contract.ZoneEnclave}

// Start brings the hub up: what it needs is made once, then every process is started and the persons
// whom an operator would enrol are enrolled.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.prepare(ctx); err != nil {
		return err
	}
	if err := h.writeConfigs(); err != nil {
		return err
	}
	if err := h.startKey(); err != nil {
		return err
	}
	p := h.state.Ports
	serve := func(zone string) []string { return []string{"serve", zone, "--config", h.configFile(zone)} }
	for _, start := range []struct {
		name string
		port int
		args []string
	}{
		{"idp", p.IDP, []string{"demo-idp", "--config", h.configFile("idp")}},
		{contract.ZoneVault, p.Vault, serve(contract.ZoneVault)},
		{contract.ZoneEngine, p.Engine, serve(contract.ZoneEngine)},
		{contract.ZoneTrust, p.Trust, serve(contract.ZoneTrust)},
		{contract.ZonePortal, p.Portal, serve(contract.ZonePortal)},
		{contract.ZoneEnclave, p.Enclave, serve(contract.ZoneEnclave)},
	} {
		if err := h.startProcess(ctx, start.name, start.port, start.args...); err != nil {
			return err
		}
	}
	return h.enrol(ctx)
}

// startKey serves the demonstration security key from this process, which is no zone.
func (h *Hub) startKey() error {
	handler, err := KeyHandler(h.key, "localhost", h.PortalURL())
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", local(h.state.Ports.Key))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	h.stop = append(h.stop, func() { srv.Close() })
	return nil
}

// enrol does what the operators of the inner zones do by hand: they take the officer's enrolment file
// and write it into their own zone. Nothing of it goes through the portal.
func (h *Hub) enrol(ctx context.Context) error {
	officer, err := h.SignIn(ctx, "officer", "")
	if err != nil {
		return err
	}
	if err := h.keyOnce(ctx, officer, h.key); err != nil {
		return err
	}
	// A permit names the passkeys of the persons who may work with the data, so researchers have one too.
	for _, person := range []string{"1", "2"} {
		key, err := OpenSoftKey(h.path("key", "acct-demo-researcher-"+person+".key"))
		if err != nil {
			return err
		}
		researcher, err := h.SignIn(ctx, "researcher", person)
		if err != nil {
			return err
		}
		if err := h.keyOnce(ctx, researcher, key); err != nil {
			return err
		}
	}
	var enrolment contract.Enrolment
	if err := officer.Call(ctx, http.MethodGet, "/api/v1/me/enrolment?credential="+base64.RawURLEncoding.EncodeToString(h.key.CredentialID), nil, &enrolment); err != nil {
		return err
	}
	for _, zone := range innerZones {
		if err := h.enrolOnce(zone, enrolment); err != nil {
			return err
		}
	}
	for _, person := range []struct{ id, name string }{{"acct-demo-reviewer-1", "Nadia Benali"}, {"acct-demo-reviewer-2", "Olivier Petit"}} {
		key, err := OpenSoftKey(h.path("key", person.id+".key"))
		if err != nil {
			return err
		}
		public, err := key.PublicKey()
		if err != nil {
			return err
		}
		err = h.enrolOnce(contract.ZoneEnclave, contract.Enrolment{ID: person.id, Name: person.name, Role: "reviewer", RPID: "localhost",
			Origins: []string{h.EnclaveURL()}, Key: public, EnrolledAt: h.clock().Now()})
		if err != nil {
			return err
		}
	}
	return nil
}

// enrolOnce leaves a zone's list as it is when it holds the person already.
func (h *Hub) enrolOnce(zone string, e contract.Enrolment) error {
	roll, err := contract.LoadRoll(h.path("zones", zone, "officers.json"))
	if err != nil {
		return err
	}
	if _, found := roll.Find(e.Role, e.ID, e.Key.CredentialID); found {
		return nil
	}
	return operator.Enrol(h.ZoneDir(zone), e)
}

// keyOnce registers a demonstration key for an account that has none.
func (h *Hub) keyOnce(ctx context.Context, c *Client, key *SoftKey) error {
	var me struct {
		Passkeys int `json:"passkeys"`
	}
	if err := c.Call(ctx, http.MethodGet, "/api/v1/me", nil, &me); err != nil || me.Passkeys > 0 {
		return err
	}
	if err := h.registerKey(ctx, c, key); err != nil {
		return fmt.Errorf("register a demonstration key: %w", err)
	}
	return nil
}

// registerKey goes through the registration ceremony that a browser would.
func (h *Hub) registerKey(ctx context.Context, c *Client, key *SoftKey) error {
	var options struct {
		PublicKey struct {
			Challenge string `json:"challenge"`
			RP        struct {
				ID string `json:"id"`
			} `json:"rp"`
		} `json:"publicKey"`
	}
	if err := c.Call(ctx, http.MethodPost, "/api/v1/passkeys/options", struct{}{}, &options); err != nil {
		return err
	}
	challenge, err := base64.RawURLEncoding.DecodeString(options.PublicKey.Challenge)
	if err != nil {
		return err
	}
	response, err := key.Register(options.PublicKey.RP.ID, c.base, challenge)
	if err != nil {
		return err
	}
	return c.Call(ctx, http.MethodPost, "/api/v1/passkeys?label=Demonstration", json.RawMessage(response), nil)
}

func (h *Hub) clock() clock.Clock { return clock.From(h.path("clock")) }

// peaks returns the greatest resident memory of each process.
func (h *Hub) peaks() map[string]int64 {
	out := map[string]int64{}
	for _, p := range h.procs {
		out[p.Name] = p.peakMemory()
	}
	return out
}

// Delivered reports whether the holders' data are in the lake already.
func (h *Hub) Delivered() bool { return h.state.Delivered }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
