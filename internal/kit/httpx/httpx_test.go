package httpx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestReadDigest(t *testing.T) {
	for _, c := range []struct {
		name, body, header string
		max                int64
		w                  io.Writer
		code               string
	}{
		{"good", "hello", digestOf("hello"), 5, new(bytes.Buffer), ""},
		{"empty", "", digestOf(""), 5, new(bytes.Buffer), ""},
		{"no header", "hello", "", 5, new(bytes.Buffer), "digest_missing"},
		{"upper case", "hello", "sha256:" + strings.ToUpper(digestOf("hello")[7:]), 5, new(bytes.Buffer), "digest_missing"},
		{"other algorithm", "hello", "md5:abc", 5, new(bytes.Buffer), "digest_missing"},
		{"other bytes", "hallo", digestOf("hello"), 5, new(bytes.Buffer), "digest_mismatch"},
		{"cut", "hell", digestOf("hello"), 5, new(bytes.Buffer), "digest_mismatch"},
		{"too large", "hello!", digestOf("hello!"), 5, new(bytes.Buffer), "too_large"},
		{"full disk", "hello", digestOf("hello"), 5, fullDisk{}, "local"},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " chunked ", chunked), func(t *testing.T) {
				if b, ok := c.w.(*bytes.Buffer); ok {
					b.Reset()
				}
				r := httptest.NewRequest("PUT", "/", strings.NewReader(c.body))
				if chunked {
					r.ContentLength = -1
				}
				r.Header.Set("Digest", c.header)
				digest, n, err := ReadDigest(r, c.max, c.w)
				if c.code == "" {
					if err != nil || digest != c.header || n != int64(len(c.body)) || c.w.(*bytes.Buffer).String() != c.body {
						t.Fatalf("%s %d %v", digest, n, err)
					}
					return
				}
				if digest != "" {
					t.Errorf("a digest %s came with an error", digest)
				}
				if c.code == "local" {
					if !errors.Is(err, errFull) {
						t.Fatalf("%v, want the writer's own error", err)
					}
					return
				}
				if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code {
					t.Fatalf("%v, want %s", err, c.code)
				}
			})
		}
	}
}

// slow is a connection to a listener, without an HTTP client's help.
func slow(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestStalledUploadIsCut(t *testing.T) {
	result := make(chan error, 1)
	s, err := serve(t.Context(), "127.0.0.1:0", 200*time.Millisecond, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, err := ReadDigest(r, 1<<20, io.Discard)
		result <- err
		if err != nil {
			Fail(w, r, err)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	conn := slow(t, s)
	fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: x\r\nDigest: %s\r\nContent-Length: 11\r\n\r\nhello", digestOf("hello world"))
	began := time.Now()
	err = <-result
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "stalled" {
		t.Fatalf("%v, want stalled", err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "408") {
		t.Fatalf("%q %v", answer, err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("cut after %v", d)
	}
}

// An upload that is slow but alive goes through, however long it takes in all.
func TestSlowUploadGoesThrough(t *testing.T) {
	const stall = 300 * time.Millisecond
	result := make(chan error, 1)
	s, err := serve(t.Context(), "127.0.0.1:0", stall, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, err := ReadDigest(r, 1<<20, io.Discard)
		select { // a handler that works longer than the deadline after reading is not cancelled
		case <-r.Context().Done():
			err = errors.Join(err, r.Context().Err())
		case <-time.After(2 * stall):
		}
		result <- err
	}))
	if err != nil {
		t.Fatal(err)
	}
	conn := slow(t, s)
	fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: x\r\nDigest: %s\r\nContent-Length: 5\r\n\r\n", digestOf("hello"))
	for _, b := range []byte("hello") {
		time.Sleep(150 * time.Millisecond)
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestPanicTellsNothing(t *testing.T) {
	s, err := ServePublic(t.Context(), "127.0.0.1:0", "", "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret place") }))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 500 || bytes.Contains(b, []byte("secret")) || bytes.Contains(b, []byte(".go")) {
		t.Fatalf("%s %s %v", resp.Status, b, err)
	}
}

func TestFailHidesTheInside(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{
		{fmt.Errorf("deep inside: %w", &Error{http.StatusConflict, "taken", "Somebody else was first."}), 409, "taken"},
		{errors.New("pq: password is hunter2"), 500, "internal"},
	} {
		w := httptest.NewRecorder()
		Fail(w, httptest.NewRequest("GET", "/", nil), c.err)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || strings.Contains(w.Body.String(), "inside") || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if got, ok := errors.AsType[*Error](Check(w.Result())); !ok || got.Status != c.status || got.Code != c.body {
			t.Errorf("a client reads %v", got)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ body, code string }{
		{`{"a":1}`, ""}, {` {"a":1} `, ""},
		{`{"a":1,"b":2}`, "invalid"}, {`{"a":1}{}`, "invalid"}, {`{"a":1}x`, "invalid"}, {`{"a":"x"}`, "invalid"}, {``, "invalid"}, {`{"a"`, "cut_short"},
		{`{"a":1` + strings.Repeat(" ", 100) + `}`, "too_large"},
	} {
		var v struct {
			A int `json:"a"`
		}
		err := Decode(httptest.NewRequest("POST", "/", strings.NewReader(c.body)), 50, &v)
		e, _ := errors.AsType[*Error](err)
		if c.code == "" && (err != nil || v.A != 1) || c.code != "" && (e == nil || e.Code != c.code) {
			t.Errorf("%q: %v, want %q", c.body, err, c.code)
		}
	}
}

func TestSecure(t *testing.T) {
	h := Secure(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }), "https://login.example")
	for _, c := range []struct {
		name, method string
		header       map[string]string
		want         int
	}{
		{"page", "GET", nil, 204},
		{"page from elsewhere", "GET", map[string]string{"Sec-Fetch-Site": "cross-site"}, 204},
		{"own form", "POST", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"own form, old browser", "POST", map[string]string{"Origin": "http://hub.example"}, 204},
		{"forged form", "POST", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"sibling site", "POST", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"forged form, old browser", "POST", map[string]string{"Origin": "https://evil.example"}, 403},
		{"forged put", "PUT", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
	} {
		r := httptest.NewRequest(c.method, "http://hub.example/", nil)
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
		csp := w.Header().Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'self'", "frame-ancestors 'none'", "form-action 'self' https://login.example"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: policy %q lacks %q", c.name, csp, part)
			}
		}
		if strings.Contains(csp, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") == "" || w.Header().Get("Permissions-Policy") == "" {
			t.Errorf("%s: headers %v", c.name, w.Header())
		}
		if w.Header().Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS without TLS", c.name)
		}
	}
}
