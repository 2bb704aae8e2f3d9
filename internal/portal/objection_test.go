package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demoidp/idptest"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

// zoneClient dials the order book as an inner zone does.
func (h *hub) zoneClient(zone string) *http.Client {
	h.t.Helper()
	tls, err := pki.Issue(h.pki, "zone", zone, []string{"localhost"})
	if err != nil {
		h.t.Fatal(err)
	}
	return httpx.MutualClient(tls, "portal")
}

// orders polls the order book once.
func (h *hub) openOrders(c *http.Client) []contract.NumberedOrder {
	h.t.Helper()
	resp, err := c.Get(h.orders + "/orderbook/v1/orders?after=0&wait=0")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Orders []contract.NumberedOrder `json:"orders"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != 200 {
		h.t.Fatalf("orders: %d %v", resp.StatusCode, err)
	}
	return out.Orders
}

// unseal opens an objection order with trust's key.
func (h *hub) unseal(o contract.Order) contract.ObjectionStatement {
	h.t.Helper()
	var sealed contract.SealedObjection
	if err := json.Unmarshal(o.Body, &sealed); err != nil {
		h.t.Fatal(err)
	}
	plain, err := contract.Open(h.trust, sealed.Sealed)
	if err != nil {
		h.t.Fatal(err)
	}
	var s contract.ObjectionStatement
	if err := json.Unmarshal(plain, &s); err != nil {
		h.t.Fatal(err)
	}
	if s.Number != sealed.Number {
		h.t.Errorf("number %s outside, %s inside the seal", sealed.Number, s.Number)
	}
	return s
}

func (h *hub) answer(c *http.Client, o contract.Order, status contract.ReceiptStatus, outcome string) {
	h.t.Helper()
	rec := contract.Receipt{ID: contract.NewID("receipt"), OrderID: o.ID, Zone: "trust", Status: status, At: time.Now().UTC()}
	if status == contract.ReceiptDone {
		var err error
		if rec.Body, err = json.Marshal(contract.ObjectionReceipt{Number: h.unseal(o).Number, Outcome: outcome, Since: rec.At}); err != nil {
			h.t.Fatal(err)
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := c.Post(h.orders+"/orderbook/v1/receipts", "application/json", bytes.NewReader(b))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("receipt: %d %s", resp.StatusCode, text)
	}
}

func post(t *testing.T, c *http.Client, address string) (*http.Response, string) {
	t.Helper()
	return postForm(t, c, address, nil)
}

func postForm(t *testing.T, c *http.Client, address string, form url.Values) (*http.Response, string) {
	t.Helper()
	resp, err := c.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

var receiptNumber = regexp.MustCompile(`OBJ(-[0-9A-Z]{4}){4}`)

func TestCitizenObjectsAndUndoesInABrowserWithoutScripts(t *testing.T) {
	h := configure(t, true).start()
	trust := h.zoneClient("trust")
	citizen := browser(t)

	// The button on the explanation leads to the identity provider and back to the confirmation.
	resp, body := idptest.SignIn(t, citizen, h.url+"/objection/confirm?lang=en", "citizen-1")
	if resp.Request.URL.Path != "/objection/confirm" || !strings.Contains(body, "Zélie Vautrin") {
		t.Fatalf("after sign-in: %s %d\n%s", resp.Request.URL, resp.StatusCode, body)
	}
	resp, body = post(t, citizen, h.url+"/objection")
	number := receiptNumber.FindString(resp.Request.URL.Path)
	if number == "" || !strings.Contains(body, "has not answered yet") || !strings.Contains(body, "hx-get") {
		t.Fatalf("receipt: %s\n%s", resp.Request.URL, body)
	}
	orders := h.openOrders(trust)
	if len(orders) != 1 || orders[0].Order.Kind != contract.OrderObjection {
		t.Fatalf("orders: %+v", orders)
	}
	s := h.unseal(orders[0].Order)
	if s.Action != "object" || s.Number != number || strings.Count(s.IDToken, ".") != 2 {
		t.Errorf("statement %+v", s)
	}
	// A second one is not filed, even if she presses again.
	idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next=/objection", "citizen-1")
	if resp, _ = post(t, citizen, h.url+"/objection"); resp.Request.URL.Path != "/objection" || len(h.openOrders(trust)) != 1 {
		t.Errorf("second objection: %s, %d orders", resp.Request.URL, len(h.openOrders(trust)))
	}
	h.answer(trust, orders[0].Order, contract.ReceiptDone, "recorded")
	if _, body, _ := h.get(citizen, "/objection/"+number); !strings.Contains(body, "is in force") || strings.Contains(body, "hx-get") {
		t.Errorf("recorded: %s", body)
	}

	// Another citizen and a researcher find nothing at this address, and cannot undo it.
	other := browser(t)
	idptest.SignIn(t, other, h.url+"/sign-in/citizen?next=/objection", "citizen-2")
	for name, c := range map[string]*http.Client{"another citizen": other, "a researcher": h.as("researcher", "")} {
		if status, _, _ := h.get(c, "/objection/"+number); status != 404 {
			t.Errorf("%s sees it: %d", name, status)
		}
		if resp, _ := post(t, c, h.url+"/objection/"+number+"/undo"); resp.StatusCode != 404 {
			t.Errorf("%s undoes it: %d", name, resp.StatusCode)
		}
	}

	// Undo asks for a fresh identity token: the first was used up.
	resp, body = idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next="+url.QueryEscape("/objection/"+number+"/undo"), "citizen-1")
	if !strings.Contains(body, "Take your objection back") {
		t.Fatalf("undo page: %s %s", resp.Request.URL, body)
	}
	post(t, citizen, h.url+"/objection/"+number+"/undo")
	orders = h.openOrders(trust)
	if len(orders) != 1 || h.unseal(orders[0].Order).Action != "withdraw" || h.unseal(orders[0].Order).Number != number {
		t.Fatalf("withdrawal: %+v", orders)
	}
	h.answer(trust, orders[0].Order, contract.ReceiptDone, "withdrawn")
	if _, body, _ := h.get(citizen, "/objection"); !strings.Contains(body, "Taken back") || !strings.Contains(body, "Object again") {
		t.Errorf("list after withdrawal: %s", body)
	}
	h.leavesNoTrace("Zélie", "Vautrin", "Dumas", "255037511622310", "1955-03-08", "Kerouedan", s.IDToken)
}

// leavesNoTrace searches every byte of the portal's directory.
func (h *hub) leavesNoTrace(secrets ...string) {
	h.t.Helper()
	err := filepath.WalkDir(h.cfg.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				h.t.Errorf("%s holds %.12q…", p, s)
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// api sends a request with a JSON body and decodes the answer.
func (h *hub) api(c *http.Client, method, path, body string, out any) int {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if out != nil && len(b) > 0 {
		if err := json.Unmarshal(b, out); err != nil {
			h.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
		}
	}
	return resp.StatusCode
}

func TestObjectionAPI(t *testing.T) {
	h := configure(t, true).start()
	trust := h.zoneClient("trust")
	citizen := browser(t)
	idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next=/objection", "citizen-2")
	type objection struct {
		Number, State, Code string
	}
	var filed, again, gone objection
	if s := h.api(citizen, "POST", "/api/v1/objections", "", &filed); s != 201 || filed.State != "filed" || !receiptNumber.MatchString(filed.Number) {
		t.Fatalf("file: %d %+v", s, filed)
	}
	if s := h.api(citizen, "POST", "/api/v1/objections", "", &again); s != 401 || again.Code != "sign_in_again" {
		t.Errorf("file with a used token: %d %+v", s, again)
	}
	h.answer(trust, h.openOrders(trust)[0].Order, contract.ReceiptDone, "not_identified")
	var list struct{ Objections []objection }
	if s := h.api(citizen, "GET", "/api/v1/objections", "", &list); s != 200 || len(list.Objections) != 1 || list.Objections[0].State != "not_identified" {
		t.Errorf("list: %d %+v", s, list)
	}
	idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next=/objection", "citizen-2")
	if s := h.api(citizen, "POST", "/api/v1/objections/"+filed.Number+"/withdraw", "", &gone); s != 409 || gone.Code != "over" {
		t.Errorf("withdraw what is not in force: %d %+v", s, gone)
	}
	// Not identified is not in force, so she may file again; this time trust refuses the statement.
	var second objection
	if s := h.api(citizen, "POST", "/api/v1/objections", "", &second); s != 201 {
		t.Fatalf("file again: %d", s)
	}
	h.answer(trust, h.openOrders(trust)[0].Order, contract.ReceiptRefused, "")
	if s := h.api(citizen, "GET", "/api/v1/objections/"+second.Number, "", &second); s != 200 || second.State != "refused" {
		t.Errorf("refused: %d %+v", s, second)
	}

	// Every route: allowed above; denied to others, unknown to other citizens.
	researcher, other := h.as("researcher", ""), browser(t)
	idptest.SignIn(t, other, h.url+"/sign-in/citizen?next=/objection", "citizen-1")
	for _, c := range []struct {
		method, path                      string
		visitor, researcher, otherCitizen int
	}{
		{"POST", "/api/v1/objections", 401, 403, 0}, // a citizen may
		{"GET", "/api/v1/objections", 401, 403, 200},
		{"GET", "/api/v1/objections/" + filed.Number, 401, 403, 404},
		{"GET", "/api/v1/objections/OBJ-0000", 401, 403, 404},
		{"POST", "/api/v1/objections/" + filed.Number + "/withdraw", 401, 403, 404},
	} {
		for name, want := range map[string]struct {
			client *http.Client
			status int
		}{"visitor": {browser(t), c.visitor}, "researcher": {researcher, c.researcher}, "another citizen": {other, c.otherCitizen}} {
			if want.status == 0 {
				continue
			}
			if got := h.api(want.client, c.method, c.path, "", nil); got != want.status {
				t.Errorf("%s %s as %s: %d, want %d", c.method, c.path, name, got, want.status)
			}
		}
	}
}

func TestObjectionPagesAreDeniedToOthers(t *testing.T) {
	h := configure(t, true).start()
	still := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{
		"/objection/confirm":    "/sign-in/citizen?next=%2Fobjection%2Fconfirm",
		"/objection/OBJ-X":      "/sign-in/citizen?next=%2Fobjection%2FOBJ-X",
		"/objection/OBJ-X/undo": "/sign-in/citizen?next=%2Fobjection%2FOBJ-X%2Fundo",
	} {
		resp, err := still.Get(h.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != want {
			t.Errorf("visitor at %s: %d to %s", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if resp, _ := post(t, browser(t), h.url+"/objection"); resp.StatusCode != 401 {
		t.Errorf("visitor files: %d", resp.StatusCode)
	}
	researcher := h.as("researcher", "")
	if status, _, _ := h.get(researcher, "/objection/confirm"); status != 403 {
		t.Errorf("researcher at the confirmation: %d", status)
	}
	if resp, _ := post(t, researcher, h.url+"/objection"); resp.StatusCode != 403 {
		t.Errorf("researcher files: %d", resp.StatusCode)
	}
}

// A portal that dies right after the answer was sent has the objection in its order book when it comes
// back, once.
func TestObjectionSurvivesARestart(t *testing.T) {
	h := configure(t, true).start()
	citizen := browser(t)
	idptest.SignIn(t, citizen, h.url+"/sign-in/citizen?next=/objection", "citizen-1")
	var filed struct{ Number string }
	if s := h.api(citizen, "POST", "/api/v1/objections", "", &filed); s != 201 {
		t.Fatal(s)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.start()
	orders := h.openOrders(h.zoneClient("trust"))
	if len(orders) != 1 || h.unseal(orders[0].Order).Number != filed.Number {
		t.Errorf("after restart: %+v", orders)
	}
	var list struct{ Objections []struct{ Number string } }
	if s := h.api(citizen, "GET", "/api/v1/objections", "", &list); s != 200 || fmt.Sprint(list.Objections) != fmt.Sprintf("[{%s}]", filed.Number) {
		t.Errorf("session and list after restart: %d %+v", s, list)
	}
}
