// Package metrics measures a zone for Prometheus, on a listener of its own that the operator keeps inside.
// Every zone may call it. A label must never hold an id, a name or anything else about a person or a
// project: routes are named by their pattern, jobs by their kind.
package metrics

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/jobs"
)

// Metrics are one zone's.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

// New returns the metrics of a zone: requests, the Go runtime and the process.
func New(zone string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mitral_http_request_seconds",
		Help:    "Time to answer a request, in seconds, by method, route and status.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
	}, []string{"method", "route", "status"})}
	prometheus.WrapRegistererWith(prometheus.Labels{"zone": zone}, m.registry).MustRegister(
		m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register adds a room's own collectors.
func (m *Metrics) Register(c ...prometheus.Collector) { m.registry.MustRegister(c...) }

// Requests measures what h answers. Wrap the mux itself, so that the pattern of the route is known.
func (m *Metrics) Requests(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &status{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(seen, r)
		route := r.Pattern
		if _, path, ok := strings.Cut(route, " "); ok {
			route = path
		}
		if route == "" {
			route = "none" // never the path itself: it may hold an id, and strangers choose it
		}
		m.requests.WithLabelValues(method(r.Method), route, strconv.Itoa(seen.code)).Observe(time.Since(began).Seconds())
	})
}

// method keeps strangers from making up labels.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return name
	}
	return "other"
}

// Jobs shows how many jobs wait and which kinds are stuck. The database is asked at each scrape.
func (m *Metrics) Jobs(c *jobs.Client) { m.registry.MustRegister(&jobCollector{c}) }

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Serve answers scrapes at addr ("127.0.0.1:9400") under /metrics until ctx is over. An empty addr means
// that nobody scrapes: the server is nil then.
func (m *Metrics) Serve(ctx context.Context, addr string) (*httpx.Server, error) {
	if addr == "" {
		return nil, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	return httpx.ServePublic(ctx, addr, "", "", mux)
}

// status remembers the code of an answer.
type status struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (s *status) WriteHeader(code int) {
	if !s.wrote && code >= 200 { // 1xx precede the answer
		s.code, s.wrote = code, true
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	s.wrote = true
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

var (
	pendingDesc = prometheus.NewDesc("mitral_jobs_pending", "Jobs that are neither done nor given up.", nil, nil)
	stuckDesc   = prometheus.NewDesc("mitral_jobs_stuck", "Jobs that failed at least three times or were given up, by kind.", []string{"kind"}, nil)
)

type jobCollector struct{ c *jobs.Client }

func (j *jobCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- pendingDesc
	ch <- stuckDesc
}

func (j *jobCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n, err := j.c.Pending(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(pendingDesc, err)
	} else {
		ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(n))
	}
	stuck, err := j.c.Stuck(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(stuckDesc, err)
		return
	}
	kinds := map[string]float64{}
	for _, s := range stuck {
		kinds[s.Kind]++
	}
	for kind, n := range kinds {
		ch <- prometheus.MustNewConstMetric(stuckDesc, prometheus.GaugeValue, n, kind)
	}
}
