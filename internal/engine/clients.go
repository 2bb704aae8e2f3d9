package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

// Limits of what other zones answer, in bytes.
const (
	maxSheet  = 8 << 30 // 250 million persons
	maxRoll   = 1 << 30
	maxAnswer = 64 << 20
)

// errNotReady: trust has not linked the delivery yet.
var errNotReady = errors.New("the delivery is not linked yet")

// refusalOf turns what a zone answered into a refusal when it is one, which no retry can change.
func refusalOf(zone string, err error) error {
	var e *httpx.Error
	if errors.As(err, &e) && (e.Status == http.StatusForbidden || e.Status == http.StatusGone) {
		return contract.Refuse(e.Code, "%s: %s", zone, e.Detail)
	}
	return fmt.Errorf("%s: %w", zone, err)
}

// post sends a JSON body to another zone; the caller closes the answer.
func post(ctx context.Context, client *http.Client, zone, url string, body any) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", zone, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", zone, err)
	}
	if err := httpx.Check(resp); err != nil {
		resp.Body.Close()
		return nil, refusalOf(zone, err)
	}
	return resp, nil
}

func at(base, path string) string { return strings.TrimRight(base, "/") + path }

// fetchSheet brings the sealed ticket sheet of a delivery to a file; errNotReady while it is not linked.
func (m *Main) fetchSheet(ctx context.Context, id, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at(m.cfg.Trust, "/v1/sheets/"+id), nil)
	if err != nil {
		return err
	}
	resp, err := m.trust.Do(req)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		var e *httpx.Error
		if errors.As(err, &e) && e.Code == "not_ready" {
			return errNotReady
		}
		return refusalOf("trust", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sheet-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxSheet+1))
	if err == nil && n > maxSheet {
		err = errors.New("trust: the ticket sheet is too large")
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// fetchRoll asks trust for the hub pseudonyms of those who object: as of the permit's date, or now.
func (m *Main) fetchRoll(ctx context.Context, permit contract.SignedPermit, now bool) ([]byte, error) {
	body := struct {
		Permit contract.SignedPermit `json:"permit"`
		AsOf   string                `json:"as_of,omitempty"`
	}{Permit: permit}
	if now {
		body.AsOf = "now"
	}
	resp, err := post(ctx, m.trust, "trust", at(m.cfg.Trust, "/v1/roll"), body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRoll+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("trust: %w", err)
	case len(b) > maxRoll || len(b)%contract.TicketSize != 0:
		return nil, fmt.Errorf("trust: the objection roll has %d bytes", len(b))
	case resp.ContentLength >= 0 && resp.ContentLength != int64(len(b)):
		return nil, errors.New("trust: the objection roll was cut short")
	}
	return b, nil
}

// pseudonyms asks vault for project pseudonyms.
func (m *Main) pseudonyms(ctx context.Context, permit contract.SignedPermit, ids []byte) ([]byte, error) {
	body := struct {
		Permit contract.SignedPermit `json:"permit"`
		IDs    []byte                `json:"ids"`
	}{permit, ids}
	var answer struct {
		IDs []byte `json:"ids"`
	}
	if err := m.askVault(ctx, "/v1/pseudonyms", body, &answer); err != nil {
		return nil, err
	}
	if len(answer.IDs) != len(ids) {
		return nil, fmt.Errorf("vault: %d bytes of pseudonyms for %d", len(answer.IDs), len(ids))
	}
	return answer.IDs, nil
}

// recipient asks vault whom the project's data are sealed to.
func (m *Main) recipient(ctx context.Context, permit contract.SignedPermit) (string, error) {
	body := struct {
		Permit contract.SignedPermit `json:"permit"`
	}{permit}
	var answer struct {
		Recipient string `json:"recipient"`
	}
	err := m.askVault(ctx, "/v1/workspace-keys/recipient", body, &answer)
	return answer.Recipient, err
}

func (m *Main) askVault(ctx context.Context, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	resp, err := post(ctx, m.vault, "vault", at(m.cfg.Vault, path), body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return errors.New("vault: the answer cannot be read") // the decoder's error could quote it
	}
	return nil
}
