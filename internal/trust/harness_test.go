package trust

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

// hub is a directory with certificates, engine's key and trust's configuration.
type hub struct {
	cfg    Config
	engine *age.X25519Identity
	pki    string
}

func newHub(t testing.TB, dsn string) *hub {
	t.Helper()
	dir := t.TempDir()
	h := &hub{pki: filepath.Join(dir, "pki")}
	if err := pki.Init(h.pki); err != nil {
		t.Fatal(err)
	}
	for _, who := range [][2]string{{"zone", "trust"}, {"zone", "engine"}, {"zone", "portal"}, {"agent", "cnam"}, {"agent", "other"}} {
		if _, err := pki.Issue(h.pki, who[0], who[1], nil); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if h.engine, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	recipient := filepath.Join(dir, "engine.txt")
	if err := os.WriteFile(recipient, []byte(h.engine.Recipient().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.cfg = Config{
		Zone:                conf.Zone{Dir: filepath.Join(dir, "trust"), Database: dsn, TLS: pki.Files(h.pki, "zone", "trust"), Listen: "127.0.0.1:0"},
		EngineRecipientFile: recipient,
		IdentityProvider:    IdentityProvider{Issuer: "https://id.example", Audience: "portal", JWKSFile: filepath.Join(dir, "jwks.json")},
	}
	return h
}

// start runs the zone until the test ends or the returned function is called.
func (h *hub) start(t testing.TB) (*Main, func()) {
	t.Helper()
	m, err := New(t.Context(), h.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		m.Close()
	}
	t.Cleanup(stop)
	return m, stop
}

// client calls trust as somebody.
type client struct {
	http *http.Client
	base string
}

func (h *hub) client(addr, kind, name string) client {
	return client{httpx.MutualClient(pki.Files(h.pki, kind, name), "trust"), "https://" + addr}
}

// do returns the status and the body.
func (c client) do(t testing.TB, method, path string, body []byte, digest contract.Digest) (int, []byte) {
	t.Helper()
	status, b, err := c.try(method, path, body, digest)
	if err != nil {
		t.Fatal(err)
	}
	return status, b
}

func (c client) try(method, path string, body []byte, digest contract.Digest) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if digest != "" {
		req.Header.Set("Digest", string(digest))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func code(body []byte) string {
	var p struct{ Code string }
	json.Unmarshal(body, &p)
	return p.Code
}

var testDataset = contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{{Name: "IR_BEN_R", Columns: []contract.Column{
	{Name: "BEN_IDT_ANO", Type: contract.TypeString, Role: contract.RolePersonKey}, {Name: "BEN_NIR", Type: contract.TypeString, Role: contract.RoleNIR},
	{Name: "BEN_NAI_ANN", Type: contract.TypeInteger}}}}}

// shipment is a delivery's identities in parts with their manifest.
type shipment struct {
	manifest contract.Delivery
	parts    [][]byte
}

func ship(id string, identities []contract.Identity, parts int) shipment {
	s := shipment{manifest: contract.Delivery{Schema: contract.DeliverySchema, ID: id, Dataset: testDataset, CreatedAt: time.Now().UTC().Truncate(time.Second), Tickets: int64(len(identities))}}
	for i := range parts {
		part := identities[i*len(identities)/parts : (i+1)*len(identities)/parts]
		s.add(ndjson(part), len(part))
	}
	return s
}

func (s *shipment) add(b []byte, rows int) {
	s.parts = append(s.parts, b)
	s.manifest.Parts = append(s.manifest.Parts, contract.FilePart{Name: fmt.Sprintf("part-%04d", len(s.parts)), Rows: int64(rows), Bytes: int64(len(b)), Digest: contract.DigestOf(b)})
}

func ndjson(identities []contract.Identity) []byte {
	var lines bytes.Buffer
	for _, id := range identities {
		b, err := json.Marshal(id)
		if err != nil {
			panic(err)
		}
		lines.Write(append(b, '\n'))
	}
	return gz(lines.Bytes())
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func (s *shipment) send(t testing.TB, c client) (int, []byte) {
	t.Helper()
	for i, p := range s.parts {
		if status, b := c.do(t, "PUT", "/v1/deliveries/"+s.manifest.ID+"/identities/"+s.manifest.Parts[i].Name, p, contract.DigestOf(p)); status != 200 {
			return status, b
		}
	}
	return s.complete(t, c)
}

func (s *shipment) complete(t testing.TB, c client) (int, []byte) {
	t.Helper()
	b, err := json.Marshal(s.manifest)
	if err != nil {
		t.Fatal(err)
	}
	return c.do(t, "POST", "/v1/deliveries/"+s.manifest.ID+"/complete", b, "")
}

// settled waits until the delivery is linked or refused.
func settled(t testing.TB, c client, id string) (status, reason string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, b := c.do(t, "GET", "/v1/deliveries/"+id, nil, "")
		var v struct{ Status, Reason string }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %s", id, b)
		}
		if v.Status == statusLinked || v.Status == statusRefused {
			return v.Status, v.Reason
		}
		if time.Now().After(deadline) {
			t.Fatalf("delivery %s stays %s", id, v.Status)
		}
		time.Sleep(5 * time.Millisecond) // the route has no other way to say that it is done
	}
}

type sheet struct {
	contract.TicketSheetHeader
	hub map[ticket][16]byte
}

func (h *hub) openSheet(t testing.TB, sealed []byte) sheet {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(sealed), h.engine)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(r)
	line, err := br.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	s := sheet{hub: map[ticket][16]byte{}}
	if err := json.Unmarshal(line, &s.TicketSheetHeader); err != nil {
		t.Fatal(err)
	}
	rows, err := io.ReadAll(br)
	if err != nil || int64(len(rows)) != 32*s.Rows {
		t.Fatalf("%d bytes for %d rows, %v", len(rows), s.Rows, err)
	}
	for ; len(rows) > 0; rows = rows[32:] {
		s.hub[ticket(rows[:16])] = [16]byte(rows[16:32])
	}
	return s
}

func newTicket() []byte {
	b := make([]byte, contract.TicketSize)
	rand.Read(b)
	return b
}

// people makes n different persons with valid numbers; the local number is 1 to n.
func people(n int) []contract.Identity {
	out := make([]contract.Identity, n)
	for i := range out {
		year, month, day := 1930+i%80, 1+i%12, 1+i%28
		n13 := fmt.Sprintf("%d%02d%02d75%03d%03d", 1+i%2, year%100, month, 1+i/900%900, 1+i%900)
		var v uint64
		fmt.Sscan(n13, &v)
		out[i] = contract.Identity{
			Ticket: newTicket(), LocalID: fmt.Sprint(i + 1), NIR: fmt.Sprintf("%s%02d", n13, 97-v%97),
			BirthName: "Nom" + letters(i), GivenName: "Prénom", BirthDate: fmt.Sprintf("%04d-%02d-%02d", year, month, day), Sex: fmt.Sprint(1 + i%2),
		}
	}
	return out
}

func letters(i int) string {
	s := ""
	for ; i > 0; i /= 26 {
		s = string(rune('a'+i%26)) + s
	}
	return s
}
