package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/metrics"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
)

func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v %s", resp.Status, err, b)
	}
	return string(b)
}

func TestRequestsAreNamedByRouteOnly(t *testing.T) {
	m := metrics.New("trust")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/deliveries/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := m.Requests(mux)
	for _, c := range [][2]string{{"GET", "/v1/deliveries/secret-1"}, {"GET", "/v1/deliveries/secret-2"}, {"GET", "/secret-3"}, {"SECRET4", "/"}} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c[0], c[1], nil))
	}
	s, err := m.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	text := scrape(t, "http://"+s.Addr()+"/metrics")
	for _, want := range []string{
		`mitral_http_request_seconds_count{method="GET",route="/v1/deliveries/{id}",status="418",zone="trust"} 2`,
		`mitral_http_request_seconds_count{method="GET",route="none",status="404",zone="trust"} 1`,
		`mitral_http_request_seconds_count{method="other",route="none",status="404",zone="trust"} 1`,
		"process_resident_memory_bytes", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(strings.ToLower(text), "secret") {
		t.Error("a path is in the metrics")
	}
	if s, err := m.Serve(t.Context(), ""); s != nil || err != nil {
		t.Errorf("served nowhere: %v %v", s, err)
	}
}

func TestJobs(t *testing.T) {
	db := storetest.SQLite(t)
	c := jobs.New(db, slog.New(slog.DiscardHandler))
	c.Handle("hopeless", jobs.Options{MaxAttempts: 1}, func(context.Context, json.RawMessage) error { return errors.New("no") })
	m := metrics.New("vault")
	m.Jobs(c)
	srv := httptest.NewServer(m.Handler())
	defer srv.Close()
	if text := scrape(t, srv.URL); !strings.Contains(text, "mitral_jobs_pending 0") {
		t.Errorf("no pending jobs are shown:\n%s", text)
	}
	err := db.InTx(t.Context(), func(tx *store.Tx) error { return c.Insert(t.Context(), tx, "hopeless", "k", nil) })
	if err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, srv.URL); !strings.Contains(text, "mitral_jobs_pending 1") {
		t.Errorf("one pending job is not shown:\n%s", text)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(scrape(t, srv.URL), `mitral_jobs_stuck{kind="hopeless"} 1`); {
		if time.Now().After(deadline) {
			t.Fatal("the stuck job is not shown")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
