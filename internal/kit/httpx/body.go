package httpx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"
)

// stallAfter is how long a body may bring no byte, or an answer take none, before the connection is cut.
const stallAfter = 30 * time.Second

var digestHeader = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ReadDigest copies the body to w and checks it against the request's Digest header ("sha256:" and 64
// hexadecimal digits). It returns the digest and the number of bytes. On any error the caller must throw
// away what was written to w. Errors are *Error: digest_missing, digest_mismatch, too_large, stalled,
// cut_short; an error of w itself comes back as it is.
func ReadDigest(r *http.Request, max int64, w io.Writer) (digest string, n int64, err error) {
	want := r.Header.Get("Digest")
	if !digestHeader.MatchString(want) {
		return "", 0, &Error{http.StatusBadRequest, "digest_missing", `The header "Digest: sha256:…" with 64 lower-case hexadecimal digits is required.`}
	}
	if r.ContentLength > max {
		return "", 0, tooLarge()
	}
	sum := sha256.New()
	n, err = io.Copy(io.MultiWriter(&localWriter{w}, sum), http.MaxBytesReader(nil, r.Body, max))
	if local, ok := errors.AsType[*localError](err); ok {
		return "", n, local.err
	}
	if err != nil {
		return "", n, bodyError(err, "The upload was cut short: ")
	}
	digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	if digest != want {
		return "", n, &Error{http.StatusUnprocessableEntity, "digest_mismatch", "The bytes that arrived are not those that the Digest header announces. Send the file again."}
	}
	return digest, n, nil
}

// localWriter marks errors of our own side, a full disk for one, so that they are not laid at the
// client's door.
type localWriter struct{ w io.Writer }

type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }

func (l *localWriter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if err != nil {
		err = &localError{err}
	}
	return n, err
}

func tooLarge() *Error {
	return &Error{http.StatusRequestEntityTooLarge, "too_large", "The body is larger than this route accepts."}
}

// bodyError turns an error of reading a body into the answer for the client.
func bodyError(err error, prefix string) *Error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{http.StatusRequestTimeout, "stalled", "No byte arrived for too long; the connection was cut."}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{http.StatusBadRequest, "cut_short", prefix + "it ended early."}
	}
	return &Error{http.StatusBadRequest, "invalid", prefix + err.Error() + "."}
}

// patient gives every read of the body and every write of the answer its own deadline, so that a slow
// client holds a connection only as long as bytes move, while a long transfer or a long poll is never cut.
func patient(h http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		body := &patientBody{ReadCloser: r.Body, rc: rc, stall: stall}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = body
		}
		h.ServeHTTP(&patientWriter{w, rc, stall}, r)
		// What the handler left unread is drained by net/http before the answer goes out; that must not
		// take for ever either. A body that has stalled already gets no further time.
		if !body.failed {
			_ = rc.SetReadDeadline(time.Now().Add(stall))
		}
		_ = rc.SetWriteDeadline(time.Now().Add(2 * stall))
	})
}

type patientBody struct {
	io.ReadCloser
	rc     *http.ResponseController
	stall  time.Duration
	failed bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	// Not every connection has deadlines (a test recorder has none): then nothing can stall either.
	_ = b.rc.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		// Without this a handler that works long after reading would see its request cancelled.
		_ = b.rc.SetReadDeadline(time.Time{})
	} else {
		b.failed = true
	}
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
