package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/gzip"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

// receiver keeps what arrives by the rules of docs/protocols.md. It stands where trust or engine would,
// which agent's tests cannot start without leaving their zone; the journey runs the real ones.
type receiver struct {
	url  string
	done string // status after complete

	mu       sync.Mutex
	parts    map[string][]byte // "table/part"
	puts     map[string]int
	manifest *contract.Delivery
	refuse   string
	fail     func(r *http.Request) int // status to answer with instead; 0: none
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind, name := httpx.PeerOf(req); kind != "agent" || name != "cnam" {
		httpx.Problem(w, req, 403, "not_allowed", "")
		return
	}
	if r.fail != nil {
		if status := r.fail(req); status != 0 {
			httpx.Problem(w, req, status, "test", "as the test wants")
			return
		}
	}
	path := strings.Split(strings.TrimPrefix(req.URL.Path, "/v1/deliveries/"), "/")
	switch {
	case req.Method == "PUT":
		var b bytes.Buffer
		if _, _, err := httpx.ReadDigest(req, 1<<30, &b); err != nil {
			httpx.Fail(w, req, err)
			return
		}
		key := strings.Join(path[1:], "/")
		if old, ok := r.parts[key]; ok && !bytes.Equal(old, b.Bytes()) || r.manifest != nil {
			httpx.Problem(w, req, 409, "part_conflict", "")
			return
		}
		r.parts[key] = b.Bytes()
		r.puts[key]++
		httpx.JSON(w, 200, map[string]any{})
	case req.Method == "POST":
		var m contract.Delivery
		if err := httpx.Decode(req, 1<<20, &m); err != nil {
			httpx.Fail(w, req, err)
			return
		}
		if err := m.Validate(); err != nil || m.ID != path[0] || len(m.Parts) != len(r.parts) {
			httpx.Problem(w, req, 422, "invalid", fmt.Sprint(err))
			return
		}
		r.manifest = &m
		httpx.JSON(w, 202, map[string]string{"status": "linking"})
	case r.manifest == nil:
		httpx.JSON(w, 200, map[string]string{"status": "receiving"})
	case r.refuse != "":
		httpx.JSON(w, 200, map[string]string{"status": "refused", "reason": r.refuse})
	default:
		httpx.JSON(w, 200, map[string]string{"status": r.done})
	}
}

// hub is a trust and an engine that keep what arrives, and a configuration that leads to them.
type hub struct {
	trust, engine *receiver
	cfg           Config
	dir           string
}

func newHub(t testing.TB) *hub {
	t.Helper()
	dir := t.TempDir()
	h := &hub{dir: dir}
	certs := filepath.Join(dir, "pki")
	if err := pki.Init(certs); err != nil {
		t.Fatal(err)
	}
	serve := func(zone, done string) *receiver {
		files, err := pki.Issue(certs, "zone", zone, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{done: done, parts: map[string][]byte{}, puts: map[string]int{}}
		srv, err := httpx.ServeMutual(t.Context(), "127.0.0.1:0", files, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			srv.Shutdown(ctx) // connections that are kept alive are cut
		})
		r.url = "https://" + srv.Addr()
		return r
	}
	h.trust, h.engine = serve("trust", "linked"), serve("engine", "published")
	files, err := pki.Issue(certs, "agent", "cnam", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.cfg = Config{Holder: "cnam", Schema: filepath.Join(dir, "schema.json"), Spool: filepath.Join(dir, "spool"), Trust: h.trust.url, Engine: h.engine.url, TLS: files, Tables: map[string]Files{}}
	return h
}

// identities returns what trust received.
func (h *hub) identities(t testing.TB) []contract.Identity {
	t.Helper()
	var out []contract.Identity
	for name, b := range h.trust.parts {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dec := json.NewDecoder(z)
		dec.DisallowUnknownFields()
		for {
			var id contract.Identity
			if err := dec.Decode(&id); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, id)
		}
	}
	return out
}

// rows returns what engine received of a table: for each row its cells as text, the ticket first.
func (h *hub) rows(t testing.TB, table string) (header []string, rows [][]string) {
	t.Helper()
	for key, b := range h.engine.parts {
		if !strings.HasPrefix(key, "tables/"+table+"/") {
			continue
		}
		r, err := file.NewParquetReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		pr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		tab, err := pr.ReadTable(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		header = nil
		cells := make([][]string, tab.NumRows())
		for c := range int(tab.NumCols()) {
			header = append(header, tab.Schema().Field(c).Name)
			at := 0
			for _, chunk := range tab.Column(c).Data().Chunks() {
				for i := range chunk.Len() {
					v := ""
					if chunk.IsValid(i) {
						v = chunk.ValueStr(i)
					}
					if ts, ok := chunk.DataType().(*arrow.TimestampType); ok && ts.TimeZone != "" {
						t.Fatalf("%s: %s has a time zone", key, header[c])
					}
					cells[at] = append(cells[at], v)
					at++
				}
			}
		}
		rows = append(rows, cells...)
	}
	return header, rows
}
