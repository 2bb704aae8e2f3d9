// Package httpx is what every HTTP listener and client of a zone shares: mutual TLS with names from
// kit/pki, time and size limits, problem+json errors (RFC 9457), security headers, checked digests. Every
// zone calls it. It must never know a route or a document.
package httpx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// problem is an RFC 9457 problem document. Code is stable and for programs; Detail is a plain English
// sentence without any secret. Instance is left out: a path may hold an id that belongs in no error.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Problem answers with an RFC 9457 problem document. code is stable; detail is a plain sentence.
func Problem(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r != nil && r.Method == http.MethodHead {
		return
	}
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail})
}

// JSON answers with v as JSON.
func JSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		Problem(w, nil, http.StatusInternalServerError, "internal", "The answer could not be written.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client may be gone
}

// Error is an error that knows its HTTP answer; as a client's error it is what the server said.
type Error struct {
	Status int
	Code   string // stable, for programs
	Detail string // plain English, without any secret
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Detail) }

// Fail answers with the Error inside err, or with a bare 500 that tells nothing of the inside.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*Error](err); ok {
		Problem(w, r, e.Status, e.Code, e.Detail)
		return
	}
	Problem(w, r, http.StatusInternalServerError, "internal", "Something went wrong on our side. It has been logged; please try again later.")
}

// maxProblem bounds how much of an error answer a client reads, in bytes.
const maxProblem = 64 << 10

// Check returns nil for a 2xx answer and otherwise the server's Error. It consumes the body of a failed
// answer; the caller still closes it.
func Check(resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	e := &Error{Status: resp.StatusCode, Code: "http", Detail: http.StatusText(resp.StatusCode)}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var p problem
	if err == nil && json.Unmarshal(b, &p) == nil && p.Code != "" {
		e.Code, e.Detail = p.Code, p.Detail
	}
	return e
}

// Decode reads a JSON body of at most max bytes into v. Unknown fields and bytes after the document
// are errors, because a field that this version does not know must not be ignored.
func Decode(r *http.Request, max int64, v any) error {
	body := http.MaxBytesReader(nil, r.Body, max)
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return bodyError(err, "The body is not the JSON document that is expected here: ")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Error{http.StatusBadRequest, "invalid", "There are bytes after the JSON document."}
	}
	return nil
}
