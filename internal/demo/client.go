package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"time"
)

// Client is one person's browser session at one front door, over plain HTTP and JSON.
type Client struct {
	base string
	http *http.Client
	sent int64 // bytes of request bodies
}

func NewClient(base string) *Client {
	jar, _ := cookiejar.New(nil) // cannot fail without options
	return &Client{base: base, http: &http.Client{Jar: jar, Timeout: 90 * time.Second}}
}

// APIError is a refusal by a front door.
type APIError struct {
	Method, Path string
	Status       int
	Body         string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Status, e.Body)
}

// again marks a request that may be repeated although it is no GET, because doing it twice is harmless.
const again = "X-May-Repeat"

// signIn signs in as somebody; signing in twice is harmless.
func (c *Client) signIn(ctx context.Context, who map[string]string) error {
	body, err := json.Marshal(who)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/demo/sign-in", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(again, "yes")
	return c.do(req, nil)
}

// Call sends in as JSON (nil: no body) and decodes the answer into out (nil: ignored).
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
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

// Form posts an HTML form, as a browser without JavaScript would.
func (c *Client) Form(ctx context.Context, path string, values url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewBufferString(values.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req, nil)
}

func (c *Client) do(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	// A zone that is being started again refuses connections for a moment. Reading may be tried again;
	// what changes something may not, since it could have happened.
	for wait := 50 * time.Millisecond; err != nil && (req.Method == http.MethodGet || req.Header.Get(again) != "") && wait < 10*time.Second && req.Context().Err() == nil; wait *= 2 {
		time.Sleep(wait)
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return err
			}
		}
		resp, err = c.http.Do(req)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return &APIError{req.Method, req.URL.Path, resp.StatusCode, string(b[:min(len(b), 600)])}
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

// refusal reports whether a front door answered and said no.
func refusal(err error) bool {
	var refused *APIError
	return errors.As(err, &refused)
}

// until polls check every 50 ms until it says done, fails, or the time is over.
func (h *Hub) until(ctx context.Context, limit time.Duration, what string, check func() (done bool, err error)) error {
	if h.opts.Disturb != nil {
		h.opts.Disturb(what)
	}
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
