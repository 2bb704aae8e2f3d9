package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"time"
)

// client is one person's browser session at one front door, over plain HTTP and JSON.
type client struct {
	base string
	http *http.Client
	sent int64 // bytes of request bodies
}

func newClient(base string) *client {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &client{base: base, http: &http.Client{Jar: jar, Timeout: 90 * time.Second}}
}

// apiError is a refusal by a front door.
type apiError struct {
	Method, Path string
	Status       int
	Body         string
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Status, e.Body)
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil: ignored).
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		c.sent += int64(len(b))
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	return c.do(req, out)
}

// form posts an HTML form, as a browser without JavaScript would.
func (c *client) form(ctx context.Context, path string, values url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewBufferString(values.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req, nil)
}

func (c *client) do(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return &apiError{req.Method, req.URL.Path, resp.StatusCode, string(b[:min(len(b), 600)])}
	}
	switch v := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*v = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: answer is not what was expected: %w", req.Method, req.URL.Path, err)
	}
	return nil
}

// until polls check every 50 ms until it says done, fails, or the time is over.
func until(ctx context.Context, limit time.Duration, what string, check func() (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		done, err := check()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: nothing after %s", what, limit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
