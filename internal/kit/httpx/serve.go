package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Server is a running listener.
type Server struct {
	srv  *http.Server
	ln   net.Listener
	done chan struct{}
	once sync.Once
	err  error
}

// Addr is the address it listens at, with the real port when the configuration said port 0.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Shutdown lets running requests finish until ctx is over, then cuts them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() {
		if err := s.srv.Shutdown(ctx); err != nil {
			s.err = errors.Join(err, s.srv.Close())
		}
		<-s.done
	})
	return s.err
}

// ServeMutual listens at addr with TLS 1.3 and asks every caller for a certificate of the hub's
// authority; PeerOf tells who called. The server stops when ctx is over or by Shutdown.
func ServeMutual(ctx context.Context, addr string, t conf.TLS, h http.Handler) (*Server, error) {
	pool, err := authority(t.CA)
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %s: %w", t.Cert, err)
	}
	return serve(ctx, addr, stallAfter, &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, h)
}

// ServePublic listens at addr for browsers, over TLS when certFile and keyFile are named and in the
// clear (behind a proxy that ends TLS, or on one machine) when both are empty.
func ServePublic(ctx context.Context, addr, certFile, keyFile string, h http.Handler) (*Server, error) {
	if certFile == "" && keyFile == "" {
		return serve(ctx, addr, stallAfter, nil, h)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %s: %w", certFile, err)
	}
	return serve(ctx, addr, stallAfter, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, h)
}

func serve(ctx context.Context, addr string, stall time.Duration, t *tls.Config, h http.Handler) (*Server, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", addr, err)
	}
	s := &Server{ln: ln, done: make(chan struct{}), srv: &http.Server{
		Handler:           recovered(patient(h, stall)),
		TLSConfig:         t,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug), // failed handshakes of strangers
	}}
	go func() {
		defer close(s.done)
		var err error
		if t != nil {
			err = s.srv.ServeTLS(ln, "", "")
		} else {
			err = s.srv.Serve(ln)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			slog.Error("listener failed", "addr", ln.Addr().String(), "err", err)
		}
	}()
	context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(stop) // the caller of Shutdown gets the same error
	})
	return s, nil
}

// recovered turns a panic into a logged stack and a bare 500: no caller ever sees a stack trace.
func recovered(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			slog.Error("panic in handler", "method", r.Method, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			Fail(w, r, errors.New("panic"))
		}()
		h.ServeHTTP(w, r)
	})
}

func authority(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tls authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("tls authority %s: no certificate in it", path)
	}
	return pool, nil
}
