package gateway_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
)

// TestScreens opens every page in Chromium, in each language, and runs axe on it. With
// MITRAL_SCREENSHOTS it leaves pictures in that directory.
func TestScreens(t *testing.T) {
	axe, err := os.ReadFile("../../../web/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("axe-core is not installed: run npm ci in web/")
	}
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

	type shot struct{ name, as, path string }
	shots := []shot{
		{"mine", gatewaytest.Rita.ID, "/applications"},
		{"draft", gatewaytest.Rita.ID, "/applications/" + draft.ID},
		{"asked", gatewaytest.Rita.ID, "/applications/" + asked.ID},
		{"asked-check", gatewaytest.Rita.ID, "/applications/" + asked.ID + "/form/check"},
		{"check-empty", gatewaytest.Rita.ID, "/applications/" + empty.ID + "/form/check"},
		{"case-completeness", gatewaytest.Hanna.ID, "/applications/" + checking.ID},
		{"case-opinion", gatewaytest.Claire.ID, "/applications/" + opinion.ID},
		{"case-authority", gatewaytest.Anne.ID, "/applications/" + authority.ID},
		{"case-refused", gatewaytest.Rita.ID, "/applications/" + refused.ID},
		{"case-signed", gatewaytest.Rita.ID, "/applications/" + signed.ID},
		{"board-handler", gatewaytest.Hanna.ID, "/cases"},
		{"board-officer", gatewaytest.Otto.ID, "/cases"},
		{"permit-draft", gatewaytest.Otto.ID, "/applications/" + toSign.ID + "/permit"},
		{"permit-signed", gatewaytest.Rita.ID, "/applications/" + signed.ID + "/permit"},
		{"mandates", gatewaytest.Otto.ID, "/decisions/mandates"},
		{"mandate", gatewaytest.Otto.ID, "/decisions/mandates/" + m.ID},
		{"register", "", "/register"},
		{"register-entry", "", "/register/" + signed.ID},
		{"register-refused", "", "/register/" + refused.ID},
	}
	for _, p := range gateway.Pages {
		shots = append(shots, shot{"form-" + p, gatewaytest.Rita.ID, "/applications/" + draft.ID + "/form/" + p})
	}

	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1200, 900))
	alloc, cancel := chromedp.NewExecAllocator(ctx, opts...)
	defer cancel()
	browser, cancel := chromedp.NewContext(alloc)
	defer cancel()
	browser, cancel = context.WithTimeout(browser, 5*time.Minute)
	defer cancel()
	dir := os.Getenv("MITRAL_SCREENSHOTS")
	if err := chromedp.Do(browser, chromedp.Navigate(server.URL+"/register")); err != nil {
		t.Fatal(err)
	}
	for _, s := range shots {
		for _, lang := range []string{"en", "fr", "fi"} {
			fail := func(what string, err error) {
				if err != nil {
					t.Fatalf("%s %s: %s: %v", s.name, lang, what, err)
				}
			}
			_, err := chromedp.Run(browser, chromedp.Evaluate[chromedp.Void](`document.cookie = "`+gatewaytest.UserHeader+`=`+s.as+`; path=/"`))
			fail("cookie", err)
			fail("open", chromedp.Do(browser, chromedp.EmulateViewport(1200, 900), chromedp.Navigate(server.URL+s.path+"?lang="+lang)))
			_, err = chromedp.Run(browser, chromedp.Evaluate[chromedp.Void](string(axe)))
			fail("axe", err)
			found, err := chromedp.Run(browser, chromedp.Evaluate[[]struct {
				ID    string   `json:"id"`
				Help  string   `json:"help"`
				Nodes []string `json:"nodes"`
			}](`axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html)})))`,
				chromedp.EvalAwaitPromise))
			fail("axe", err)
			for _, v := range found {
				t.Errorf("%s %s: axe %s: %s: %.600s", s.name, lang, v.ID, v.Help, strings.Join(v.Nodes, " | "))
			}
			if dir != "" && (lang == "en" || s.name == "case-opinion") {
				png, err := chromedp.Run(browser, chromedp.FullScreenshot(100))
				fail("picture", err)
				fail("picture", os.WriteFile(filepath.Join(dir, s.name+"-"+lang+".png"), png, 0o600))
			}
			fail("narrow", chromedp.Do(browser, chromedp.EmulateViewport(320, 640)))
			width, err := chromedp.Run(browser, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
			fail("narrow", err)
			if width > 320 {
				t.Errorf("%s %s: %d pixels wide on a screen of 320", s.name, lang, width)
			}
		}
	}
}
