package gateway_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/browsertest"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
)

// signIn makes the browser come as one of the people of the tests. The cookie goes into the browser's own
// store: one that a page's script sets may come later than the next page is asked for.
func signIn(t *testing.T, ctx context.Context, as gateway.Actor) {
	t.Helper()
	browsertest.Do(t, ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		at, err := chromedp.Location()(ctx, tab)
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, tab, network.SetCookie, network.SetCookieParams{Name: gatewaytest.UserHeader, Value: as.ID, URL: at, Path: "/"})
		return err
	}))
}

// TestPagesInABrowser opens every page in each language, runs axe on it, and looks whether it fits a
// screen of 320 pixels. With MITRAL_SCREENSHOTS it leaves pictures.
func TestPagesInABrowser(t *testing.T) {
	tab := browsertest.New(t)
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := context.Background()
	server := httptest.NewServer(h)
	defer server.Close()

	signed := h.Signed()
	h.Receive("engine", signed.Signed.Orders[0], contract.ReceiptDone, `{"schema":"mitral.provision/1","permit_id":"`+signed.Permit.ID+`","persons":{"matched":120,"objected":-1,"delivered":120},"digest":"sha256:00","tables":[{"holder":"cnam","dataset":"snds","table":"T_MCOaaB","rows_in":90000,"rows_out":410,"columns_kept":["ENT_DAT","DGN_PAL"]}]}`)
	h.Receive("enclave", signed.Signed.Orders[1], contract.ReceiptDone, `{"workspace_id":"ws-1","permit_id":"`+signed.Permit.ID+`","url":"https://enclave.example/"}`)
	if err := h.Release(contract.Export{Schema: "mitral.export/1", ID: "export-1", PermitID: signed.Permit.ID, Title: "Falls by age", Files: []contract.ExportFile{{Name: "table.csv", Bytes: 10}}, ReleasedAt: h.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	m, err := h.CreateMandate(ctx, gatewaytest.Otto, gateway.MandateScope{Title: "Counts before an application", Datasets: gatewaytest.Scope(), Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}})
	if err != nil {
		t.Fatal(err)
	}
	checking := h.Submitted()
	opinion := h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdComplete})
	asked := h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdAsk, Questions: []gateway.Question{{Page: "data", Text: "Why the main diagnosis?"}}})
	authority := h.Run(gatewaytest.Claire, h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdComplete}), gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionFavourable})
	refused := h.Run(gatewaytest.Anne, h.Run(gatewaytest.Claire, h.Run(gatewaytest.Hanna, h.Submitted(), gateway.Action{Command: gateway.CmdComplete}), gateway.Action{Command: gateway.CmdOpinion, Opinion: gateway.OpinionReserved, Reasons: "Weak."}), gateway.Action{Command: gateway.CmdRefuse, Reasons: "The data are not necessary."})
	empty, err := h.Create(ctx, gatewaytest.Rita, "", gatewaytest.Scope())
	if err != nil {
		t.Fatal(err)
	}
	draft := h.Draft()
	toSign := h.Run(gatewaytest.Otto, h.Authorised(), gateway.Action{Command: gateway.CmdDraft})

	type shot struct {
		name string
		as   gateway.Actor
		path string
	}
	shots := []shot{
		{"mine", gatewaytest.Rita, "/applications"},
		{"draft", gatewaytest.Rita, "/applications/" + draft.ID},
		{"asked", gatewaytest.Rita, "/applications/" + asked.ID},
		{"asked-check", gatewaytest.Rita, "/applications/" + asked.ID + "/form/check"},
		{"check-empty", gatewaytest.Rita, "/applications/" + empty.ID + "/form/check"},
		{"case-completeness", gatewaytest.Hanna, "/applications/" + checking.ID},
		{"case-opinion", gatewaytest.Claire, "/applications/" + opinion.ID},
		{"case-authority", gatewaytest.Anne, "/applications/" + authority.ID},
		{"case-refused", gatewaytest.Rita, "/applications/" + refused.ID},
		{"case-signed", gatewaytest.Rita, "/applications/" + signed.ID},
		{"board-handler", gatewaytest.Hanna, "/cases"},
		{"board-officer", gatewaytest.Otto, "/cases"},
		{"permit-draft", gatewaytest.Otto, "/applications/" + toSign.ID + "/permit"},
		{"permit-signed", gatewaytest.Rita, "/applications/" + signed.ID + "/permit"},
		{"mandates", gatewaytest.Otto, "/decisions/mandates"},
		{"mandate", gatewaytest.Otto, "/decisions/mandates/" + m.ID},
		{"register", gatewaytest.Nobody, "/register"},
		{"register-entry", gatewaytest.Nobody, "/register/" + signed.ID},
		{"register-refused", gatewaytest.Nobody, "/register/" + refused.ID},
	}
	for _, p := range gateway.Pages {
		shots = append(shots, shot{"form-" + p, gatewaytest.Rita, "/applications/" + draft.ID + "/form/" + p})
	}

	errors := browsertest.Console(tab)
	browsertest.Open(t, tab, server.URL+"/register")
	for _, s := range shots {
		for _, lang := range []string{"en", "fr", "fi"} {
			signIn(t, tab, s.as)
			browsertest.Width(t, tab, 1200)
			browsertest.Open(t, tab, server.URL+s.path+"?lang="+lang)
			browsertest.Axe(t, tab)
			browsertest.Screenshot(t, tab, s.name+"-"+lang)
			browsertest.Width(t, tab, 320)
			browsertest.Fits(t, tab)
		}
	}
	if lines := errors(); len(lines) > 0 {
		t.Errorf("the browser reports: %s", strings.Join(lines, "\n"))
	}
}

// addCredential puts an existing key into the browser's authenticator. The library's own type always
// sends a field that the browser refuses.
var addCredential = cdp.Command[credentialParams, cdp.Empty]{Method: webauthn.CommandAddCredential}

type credentialParams struct {
	AuthenticatorID webauthn.AuthenticatorID `json:"authenticatorId"`
	Credential      map[string]any           `json:"credential"`
}

// TestOfficerSignsInABrowser signs a permit through our own script and the browser's WebAuthn, behind
// the headers of the real listener.
func TestOfficerSignsInABrowser(t *testing.T) {
	tab := browsertest.New(t)
	server := httptest.NewUnstartedServer(nil)
	origin := "http://localhost:" + server.Listener.Addr().String()[strings.LastIndex(server.Listener.Addr().String(), ":")+1:]
	h := gatewaytest.NewAt(t, storetest.SQLite(t), gatewaytest.NewClock(), "localhost", origin)
	server.Config.Handler = httpx.Secure(h)
	server.Start()
	defer server.Close()

	key := h.Keys[gatewaytest.Otto.ID]
	browsertest.Do(t, tab, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		added, err := cdp.Call(ctx, tab, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, tab, addCredential, credentialParams{added.AuthenticatorID, map[string]any{
			"credentialId": key.Credential.ID, "rpId": "localhost", "isResidentCredential": false, "privateKey": key.Credential.Key.Data, "signCount": 1}})
		return err
	}))
	a := h.Authorised()
	browsertest.Open(t, tab, origin+"/register?lang=en")
	signIn(t, tab, gatewaytest.Otto)
	browsertest.Open(t, tab, origin+"/applications/"+a.ID+"?lang=en")
	browsertest.Do(t, tab, browsertest.Click("Draft the permit"), browsertest.See("h1", "Permit"), browsertest.See("button", "Sign with passkey"))
	browsertest.Do(t, tab, browsertest.Click("Sign with passkey"), browsertest.See("p", "The permit was signed on"))
	signed, err := h.Case(t.Context(), gatewaytest.Otto, a.ID)
	if err != nil || signed.Signed == nil {
		t.Fatalf("not signed: %v", err)
	}
	browsertest.Open(t, tab, origin+"/register")
	browsertest.Do(t, tab, browsertest.See("h2", "Statins & falls"))
}
