package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/kit/orderpoll"
)

// provider signs ID tokens as a national identity provider does.
type provider struct{ key *ecdsa.PrivateKey }

func newProvider(t testing.TB, cfg IdentityProvider) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.JWKSFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return &provider{key}
}

func (p *provider) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// receiptBook collects receipts as the portal's order book does.
type receiptBook struct {
	mu       sync.Mutex
	receipts map[string]contract.Receipt
}

func (b *receiptBook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var receipt contract.Receipt
	if err == nil {
		err = json.Unmarshal(body, &receipt)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if before, again := b.receipts[receipt.ID]; err != nil || again && before.Code != receipt.Code {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.receipts[receipt.ID] = receipt
}

type objectionTest struct {
	*testing.T
	m        *Main
	book     *receiptBook
	provider *provider
	now      time.Time
	orders   int
}

func (o *objectionTest) claims(change map[string]any) map[string]any {
	c := map[string]any{"iss": "https://id.example", "aud": "portal", "sub": "s", "iat": o.now.Add(-time.Minute).Unix(), "exp": o.now.Add(10 * time.Minute).Unix(),
		"given_name": "Prénom", "family_name": "Nomb", "birthdate": "1931-02-02", "gender": "female", "jti": rand.Text()}
	for k, v := range change {
		c[k] = v
	}
	return c
}

func (o *objectionTest) order(s contract.ObjectionStatement) contract.Order {
	o.Helper()
	plain, err := json.Marshal(s)
	if err != nil {
		o.Fatal(err)
	}
	sealed, err := contract.Seal(o.m.age.Recipient().String(), plain)
	if err != nil {
		o.Fatal(err)
	}
	body, err := json.Marshal(contract.SealedObjection{Number: s.Number, Sealed: sealed})
	if err != nil {
		o.Fatal(err)
	}
	o.orders++
	return contract.Order{Schema: contract.OrderSchema, ID: "order-" + letters(o.orders), Zone: "trust", Kind: contract.OrderObjection, CreatedAt: o.now, Body: body}
}

// take has trust carry out an order and returns the receipt and what it says.
func (o *objectionTest) take(order contract.Order) (contract.Receipt, contract.ObjectionReceipt) {
	o.Helper()
	raw, err := json.Marshal(order)
	if err != nil {
		o.Fatal(err)
	}
	if err := o.m.takeOrder(o.Context(), int64(o.orders), raw); err != nil {
		o.Fatal(err)
	}
	r := o.book.receipts["receipt-"+order.ID]
	var answer contract.ObjectionReceipt
	if len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, &answer); err != nil {
			o.Fatal(err)
		}
	}
	return r, answer
}

func newObjectionTest(t *testing.T) (*objectionTest, *hub) {
	h := newHub(t, "")
	m, _ := h.start(t)
	book := &receiptBook{receipts: map[string]contract.Receipt{}}
	srv := httptest.NewServer(book)
	t.Cleanup(srv.Close)
	m.orders = orderpoll.New(srv.Client(), srv.URL, slog.New(slog.DiscardHandler))
	agent := h.client(m.Addr(), "agent", "cnam")
	all := people(3)
	twice := all[2] // a homonym with another number
	twice.Ticket, twice.NIR, twice.LocalID = newTicket(), "", "homonym"
	s := ship("d1", append(all, twice, contract.Identity{Ticket: newTicket(), LocalID: "x"}), 1)
	s.manifest.Tickets = 5
	s.send(t, agent)
	if status, reason := settled(t, agent, "d1"); status != statusLinked {
		t.Fatalf("%s %s", status, reason)
	}
	return &objectionTest{T: t, m: m, book: book, provider: newProvider(t, h.cfg.IdentityProvider), now: time.Now().UTC().Truncate(time.Second)}, h
}

func TestObjections(t *testing.T) {
	o, h := newObjectionTest(t)
	officer := contracttest.NewOfficer(t, "o1")
	contracttest.WriteRoll(t, h.cfg.Dir, contracttest.Roll(officer))
	feasibility := contracttest.Permit(time.Now())
	feasibility.Kind = contract.PermitFeasibility
	signed := officer.Sign(t, feasibility)
	onRoll := func() int {
		t.Helper()
		b, err := o.m.readRoll(t.Context(), rollRequest{Permit: signed, AsOf: "now"})
		if err != nil {
			t.Fatal(err)
		}
		return len(b) / 16
	}
	file := func(number, action string, claims map[string]any) (contract.Receipt, contract.ObjectionReceipt) {
		t.Helper()
		return o.take(o.order(contract.ObjectionStatement{Number: number, Action: action, FiledAt: o.now, IDToken: o.provider.token(t, o.claims(claims))}))
	}
	r, a := file("n1", "object", nil)
	if r.Status != contract.ReceiptDone || a.Outcome != outcomeRecorded || a.Number != "n1" || !a.Since.Equal(o.now) || onRoll() != 1 {
		t.Fatalf("%+v %+v, %d on the roll", r, a, onRoll())
	}
	if strings.Contains(string(r.Body)+r.Message, "Nom") {
		t.Errorf("the receipt tells an identity: %s", r.Body)
	}
	if _, again := file("n1", "object", nil); again.Outcome != outcomeRecorded || !again.Since.Equal(a.Since) || onRoll() != 1 {
		t.Errorf("the same number again: %+v", again)
	}
	if _, a := file("n1", "withdraw", nil); a.Outcome != outcomeWithdrawn || onRoll() != 0 {
		t.Errorf("withdrawn: %+v, %d on the roll", a, onRoll())
	}
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"used name beside birth name", map[string]any{"family_name": "Autre", "birth_family_name": "Nomb"}, outcomeRecorded},
		{"number", map[string]any{"family_name": "Faute", "nir": people(2)[1].NIR}, outcomeRecorded},
		{"nobody", map[string]any{"family_name": "Personne"}, outcomeNotIdentified},
		{"birth date unknown", map[string]any{"birthdate": "1931-00-00"}, outcomeNotIdentified},
	} {
		if r, a := file("m-"+c.name, "object", c.claims); a.Outcome != c.want {
			t.Errorf("%s: %+v %+v", c.name, r, a)
		}
	}
	// Two persons fit: neither is put on the roll.
	before := onRoll()
	_, a = file("n9", "object", map[string]any{"family_name": "Nomc", "birthdate": "1932-03-03", "gender": "male"})
	if a.Outcome != outcomeNotIdentified || onRoll() != before {
		t.Errorf("homonyms: %+v", a)
	}
}

// TestForgedObjections: nothing that the citizen's own provider did not sign for this portal, now, is recorded.
func TestForgedObjections(t *testing.T) {
	o, _ := newObjectionTest(t)
	good := func() string { return o.provider.token(t, o.claims(nil)) }
	forger := newProvider(t, IdentityProvider{JWKSFile: t.TempDir() + "/jwks.json"})
	none := func() string {
		parts := strings.Split(good(), ".")
		return "eyJhbGciOiJub25lIn0." + parts[1] + "."
	}
	for _, c := range []struct {
		name  string
		token string
		filed time.Duration
		code  string
	}{
		{"signed by another", forger.token(t, o.claims(nil)), 0, "bad_signature"},
		{"unsigned", none(), 0, "bad_signature"},
		{"not a token", "abc", 0, "bad_signature"},
		{"empty", "", 0, "bad_signature"},
		{"for another portal", o.provider.token(t, o.claims(map[string]any{"aud": "shop"})), 0, "bad_signature"},
		{"of another issuer", o.provider.token(t, o.claims(map[string]any{"iss": "https://evil.example"})), 0, "bad_signature"},
		{"expired when filed", o.provider.token(t, o.claims(map[string]any{"exp": o.now.Add(-time.Hour).Unix(), "iat": o.now.Add(-2 * time.Hour).Unix()})), 0, "expired"},
		{"issued after filing", good(), -time.Hour, "not_yet_valid"},
		{"filed in the future", good(), time.Hour, "not_yet_valid"},
	} {
		r, _ := o.take(o.order(contract.ObjectionStatement{Number: "n-" + c.name, Action: "object", FiledAt: o.now.Add(c.filed), IDToken: c.token}))
		if r.Status != contract.ReceiptRefused || r.Code != c.code {
			t.Errorf("%s: %+v, want %s", c.name, r, c.code)
		}
	}
	statement := contract.ObjectionStatement{Number: "n1", Action: "object", FiledAt: o.now, IDToken: good()}
	base := o.order(statement)
	change := func(f func(*contract.Order)) contract.Order {
		order := base
		o.orders++
		order.ID = "order-" + letters(o.orders)
		f(&order)
		return order
	}
	for name, order := range map[string]contract.Order{
		"another number outside the seal": change(func(c *contract.Order) { c.Body = bytes.Replace(c.Body, []byte(`"n1"`), []byte(`"n2"`), 1) }),
		"sealed to somebody else": change(func(c *contract.Order) {
			c.Body = json.RawMessage(`{"number":"n1","sealed":"YWdlLWVuY3J5cHRpb24="}`)
		}),
		"another kind":   change(func(c *contract.Order) { c.Kind = contract.OrderProvision }),
		"another zone":   change(func(c *contract.Order) { c.Zone = "engine" }),
		"unknown action": o.order(contract.ObjectionStatement{Number: "n1", Action: "forget", FiledAt: o.now, IDToken: good()}),
	} {
		if r, _ := o.take(order); r.Status != contract.ReceiptRefused {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// One token proves one declaration, even with its signature written another way; another number needs another sign-in.
	if r, a := o.take(base); a.Outcome != outcomeRecorded {
		t.Fatalf("%+v %+v", r, a)
	}
	statement.Number = "n2"
	if r, _ := o.take(o.order(statement)); r.Status != contract.ReceiptRefused || r.Code != "replayed" {
		t.Errorf("token used twice: %+v", r)
	}
	statement.Number, statement.Action = "n1", "withdraw"
	if r, _ := o.take(o.order(statement)); r.Status != contract.ReceiptRefused || r.Code != "replayed" {
		t.Errorf("withdrawn with the token of the objection: %+v", r)
	}
	// The same order again: the same receipt. The same id with other content: the old receipt, and nothing is done.
	first := o.book.receipts["receipt-"+base.ID]
	if again, _ := o.take(base); !again.At.Equal(first.At) {
		t.Errorf("carried out twice: %+v", again)
	}
	other := o.order(contract.ObjectionStatement{Number: "n1", Action: "withdraw", FiledAt: o.now, IDToken: good()})
	other.ID = base.ID
	if r, a := o.take(other); a.Outcome != outcomeRecorded || !r.At.Equal(first.At) {
		t.Errorf("replayed with other content: %+v %+v", r, a)
	}
	if persons, err := o.m.roll.AsOf(t.Context(), o.now.Add(time.Minute)); err != nil || len(persons) != 1 {
		t.Errorf("%d on the roll, %v", len(persons), err)
	}
	// What is no order at all is skipped, so that it cannot block those behind it.
	for _, raw := range []string{`{}`, `{"id":""}`, `{"id":"o","extra":1}`} {
		if err := o.m.takeOrder(t.Context(), 1, json.RawMessage(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	// A key file that is not there is our own failure: the order waits.
	if err := os.Remove(o.m.cfg.IdentityProvider.JWKSFile); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(o.order(contract.ObjectionStatement{Number: "n7", Action: "object", FiledAt: o.now, IDToken: good()}))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.m.takeOrder(t.Context(), 1, raw); err == nil {
		t.Error("an order was settled without the provider's keys")
	}
}

// TestPermitDate: an objection counts for permits issued after it, and not for those before (Art. 71(3)).
func TestPermitDate(t *testing.T) {
	o, h := newObjectionTest(t)
	officer := contracttest.NewOfficer(t, "o1")
	contracttest.WriteRoll(t, h.cfg.Dir, contracttest.Roll(officer))
	roll := func(issued time.Time) [][]byte {
		t.Helper()
		p := contracttest.Permit(time.Now())
		p.IssuedAt, p.ValidFrom = issued, issued
		b, err := o.m.readRoll(t.Context(), rollRequest{Permit: officer.Sign(t, p)})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(slices.Chunk(b, 16))
	}
	filed := o.now.Add(-30 * time.Second)
	o.take(o.order(contract.ObjectionStatement{Number: "n1", Action: "object", FiledAt: filed, IDToken: o.provider.token(t, o.claims(nil))}))
	if before, after := roll(filed.Add(-time.Second)), roll(filed.Add(time.Second)); len(before) != 0 || len(after) != 1 {
		t.Fatalf("before the objection %d, after %d", len(before), len(after))
	}
	o.take(o.order(contract.ObjectionStatement{Number: "n1", Action: "withdraw", FiledAt: o.now.Add(-20 * time.Second), IDToken: o.provider.token(t, o.claims(nil))}))
	if during, after := roll(filed.Add(time.Second)), roll(o.now.Add(-time.Second)); len(during) != 1 || len(after) != 0 {
		t.Fatalf("during the objection %d, after its withdrawal %d", len(during), len(after))
	}
}
