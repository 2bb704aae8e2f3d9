package portal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/mitral-health/mitral/internal/kit/browsertest"
)

// look opens a page in every language, checks it with axe and at 320 px, and keeps a picture.
func look(t *testing.T, ctx context.Context, h *hub, path string) {
	t.Helper()
	name := strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(strings.Trim(path, "/"))
	if name == "" {
		name = "home"
	}
	for _, lang := range []string{"fr", "fi", "en"} {
		browsertest.Width(t, ctx, 1200)
		browsertest.Open(t, ctx, h.url+path+"?lang="+lang)
		browsertest.Axe(t, ctx)
		browsertest.Screenshot(t, ctx, name+"-"+lang)
		browsertest.Width(t, ctx, 320)
		browsertest.Fits(t, ctx)
		browsertest.Screenshot(t, ctx, name+"-"+lang+"-320")
	}
	browsertest.Width(t, ctx, 1200)
}

func TestPagesInABrowser(t *testing.T) {
	ctx := browsertest.New(t)
	h := configure(t, true).start()
	errors := browsertest.Console(ctx)
	for _, p := range []string{"/", "/how-data-are-used", "/objection", "/sign-in", "/demo", "/ledger", "/accessibility"} {
		look(t, ctx, h, p)
	}
	if lines := errors(); len(lines) > 0 {
		t.Errorf("the browser reports: %s", strings.Join(lines, "\n"))
	}
	look(t, ctx, h, "/nothing")
}

// TestCitizenInABrowser walks the three steps by pressing what is on the pages.
func TestCitizenInABrowser(t *testing.T) {
	ctx := browsertest.New(t)
	h := configure(t, true).start()
	browsertest.Open(t, ctx, h.url+"/objection?lang=en")
	browsertest.Do(t, ctx, browsertest.Click("Sign in and object"), chromedp.WaitVisible(chromedp.CSS(`label[for=f-citizen]`)))
	browsertest.Axe(t, ctx)
	browsertest.Screenshot(t, ctx, "idp")
	browsertest.Width(t, ctx, 320)
	browsertest.Fits(t, ctx)
	browsertest.Width(t, ctx, 1200)
	browsertest.Do(t, ctx, browsertest.Click("Sign in"), chromedp.WaitVisible(chromedp.CSS(`.govuk-error-summary`))) // nobody chosen
	browsertest.Axe(t, ctx)
	browsertest.Do(t, ctx, chromedp.Click(chromedp.CSS(`label[for=f-citizen]`)), browsertest.Click("Sign in"), browsertest.See("h1", "Check and confirm"))
	look(t, ctx, h, "/objection/confirm")
	browsertest.Do(t, ctx, browsertest.Click("Confirm my objection"), chromedp.WaitVisible(chromedp.CSS(`#objection-state`)))
	number, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(`.govuk-panel__body strong`)))
	if err != nil {
		t.Fatal(err)
	}
	look(t, ctx, h, "/objection/"+number)
	// The page learns of trust's answer by itself.
	trust := h.zoneClient("trust")
	h.answer(trust, h.openOrders(trust)[0].Order, "done", "not_identified")
	browsertest.Do(t, ctx, browsertest.See("p", "could not find you"))
	look(t, ctx, h, "/objection/"+number)
	look(t, ctx, h, "/objection")
	look(t, ctx, h, "/account")
}

// TestPasskeyInABrowser registers and uses a passkey through our own script and the browser's WebAuthn.
func TestPasskeyInABrowser(t *testing.T) {
	ctx := browsertest.New(t)
	h := configure(t, true).start()
	browsertest.Do(t, ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tab, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
		return err
	}))
	browsertest.Open(t, ctx, h.url+"/demo?lang=en")
	browsertest.Do(t, ctx, browsertest.Click("Sylvie Garnier"), browsertest.See("header//span", "Deciding officer"))
	browsertest.Open(t, ctx, h.url+"/account")
	browsertest.Do(t, ctx, chromedp.SendKeys(chromedp.CSS(`#f-label`), "Work laptop"), browsertest.Click("Register a passkey"), browsertest.See("td", "Work laptop"))
	look(t, ctx, h, "/account")
	browsertest.Do(t, ctx, chromedp.Click(chromedp.CSS(`.m-header button`)), browsertest.See("header//a", "Sign in"))
	browsertest.Open(t, ctx, h.url+"/sign-in?next=/account")
	browsertest.Do(t, ctx, browsertest.Click("Use a passkey"), browsertest.See("td", "Work laptop"))
	browsertest.Open(t, ctx, h.url+"/demo?lang=en")
	browsertest.Do(t, ctx, browsertest.Click("Kaisa Virtanen"), browsertest.See("h2", "Open sessions"))
	look(t, ctx, h, "/operator")
	browsertest.Do(t, ctx, browsertest.Click("Make invitation"), chromedp.WaitVisible(chromedp.CSS(`.govuk-error-summary`)))
	browsertest.Axe(t, ctx)
	browsertest.Screenshot(t, ctx, "operator-errors")
}
