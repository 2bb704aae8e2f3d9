package orderpoll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// book is a small order book that really holds polls open.
type book struct {
	mu     sync.Mutex
	orders []string
	news   chan struct{}
	fail   int // so many polls fail first
	polls  int
}

func (b *book) add(order string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders = append(b.orders, order)
	close(b.news)
	b.news = make(chan struct{})
}

func (b *book) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil || r.URL.Path != "/orderbook/v1/orders" || r.URL.Query().Get("wait") != "25" {
		httpx.Problem(w, r, 400, "invalid", "bad poll")
		return
	}
	b.mu.Lock()
	b.polls++
	failing := b.fail > 0
	b.fail--
	b.mu.Unlock()
	if failing {
		httpx.Problem(w, r, 503, "down", "not now")
		return
	}
	for {
		b.mu.Lock()
		n, news := len(b.orders), b.news
		var out []map[string]any
		for i := after; i < n; i++ {
			out = append(out, map[string]any{"seq": i + 1, "order": json.RawMessage(b.orders[i])})
		}
		b.mu.Unlock()
		if len(out) > 0 {
			httpx.JSON(w, 200, map[string]any{"orders": out})
			return
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return
		}
	}
}

func client(url string) *Client {
	c := New(http.DefaultClient, url, slog.New(slog.DiscardHandler))
	c.backoff0, c.backoffN = time.Millisecond, 10*time.Millisecond
	return c
}

func TestRun(t *testing.T) {
	b := &book{news: make(chan struct{}), fail: 3, orders: []string{`{"id":"old"}`}}
	srv := httptest.NewServer(b)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string, 10)
	refuse := 2
	done := make(chan error, 1)
	go func() {
		done <- client(srv.URL+"/").Run(ctx, 1, func(_ context.Context, seq int64, raw json.RawMessage) error {
			if seq == 3 && refuse > 0 {
				refuse--
				return errors.New("disk full")
			}
			got <- fmt.Sprint(seq, string(raw))
			return nil
		})
	}()
	b.add(`{"id":"a"}`)
	b.add(`{"id":"b"}`)
	var all []string
	all = append(all, <-got, <-got)
	began := time.Now()
	b.add(`{"id":"c"}`)
	all = append(all, <-got)
	if d := time.Since(began); d > time.Second {
		t.Errorf("an order took %v through a poll that was open", d)
	}
	if want := []string{`2{"id":"a"}`, `3{"id":"b"}`, `4{"id":"c"}`}; !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	if refuse != 0 || len(got) != 0 {
		t.Errorf("%d refusals left, %d orders twice", refuse, len(got))
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		body string
		n    int // -1: refused
	}{
		{`{"orders":[]}`, 0}, {`{}`, 0}, {`{"orders":null}`, 0},
		{`{"orders":[{"seq":6,"order":{}},{"seq":9,"order":{"a":1}}]}`, 2},
		{``, -1}, {`[]`, -1}, {`{"orders":{}}`, -1}, {`{"orders":[]}x`, -1}, {`{"orders":[]}{}`, -1}, {`{"other":[]}`, -1},
		{`{"orders":[{"seq":5,"order":{}}]}`, -1}, {`{"orders":[{"seq":-1,"order":{}}]}`, -1},
		{`{"orders":[{"seq":6,"order":{}},{"seq":6,"order":{}}]}`, -1},
		{`{"orders":[{"seq":6}]}`, -1}, {`{"orders":[{"seq":6,"order":null}]}`, -1}, {`{"orders":[{"seq":6,"order":[]}]}`, -1},
		{`{"orders":[{"seq":6.5,"order":{}}]}`, -1}, {`{"orders":[{"seq":99999999999999999999,"order":{}}]}`, -1},
	} {
		orders, err := parse([]byte(c.body), 5)
		if (err != nil) != (c.n < 0) || err == nil && len(orders) != c.n {
			t.Errorf("%s: %d orders, %v", c.body, len(orders), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"orders":[{"seq":6,"order":{"id":"a"}}]}`), int64(5))
	f.Add([]byte(`{"orders":[{"seq":6,"order":null}]}`), int64(-1))
	f.Add([]byte(`{"orders":`), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, after int64) {
		orders, err := parse(b, after)
		if err != nil && orders != nil {
			t.Fatal("orders with an error")
		}
		last := after
		for _, o := range orders {
			var object map[string]json.RawMessage
			if o.Seq <= last || json.Unmarshal(o.Order, &object) != nil {
				t.Fatalf("order %d after %d: %s", o.Seq, last, o.Order)
			}
			last = o.Seq
		}
	})
}

func TestPost(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			if _, _, err := httpx.ReadDigest(r, 100, io.Discard); err != nil {
				httpx.Fail(w, r, err)
				return
			}
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			httpx.Fail(w, r, err)
			return
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+string(b))
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	c := client(srv.URL)
	if err := errors.Join(c.PostReceipt(t.Context(), map[string]int{"a": 1}), c.PostNotice(t.Context(), 2), c.Post(t.Context(), "/orderbook/v1/exports/e1", 3)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for range 2 { // the file stays open and is sent from its beginning each time
		if err := c.PutFile(t.Context(), "/orderbook/v1/exports/e1/files/table.csv", file, hello); err != nil {
			t.Fatal(err)
		}
	}
	err = c.PutFile(t.Context(), "/x", file, "sha256:"+hello[7:9]+hello[7:69])
	if e, ok := errors.AsType[*httpx.Error](err); !ok || e.Code != "digest_mismatch" {
		t.Errorf("a wrong digest: %v", err)
	}
	want := []string{`POST /orderbook/v1/receipts {"a":1}`, "POST /orderbook/v1/notices 2", "POST /orderbook/v1/exports/e1 3"}
	if len(got) != 5 || !slices.Equal(got[:3], want) {
		t.Errorf("got %q", got)
	}
	if err := c.PostReceipt(t.Context(), make(chan int)); err == nil {
		t.Error("something that is not JSON was sent")
	}
}
