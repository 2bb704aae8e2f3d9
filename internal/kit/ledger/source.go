package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
)

// source is where a log is read from; a file that is not there is fs.ErrNotExist.
type source interface {
	read(ctx context.Context, path string) ([]byte, error)
}

func newSource(dirOrURL string) (source, error) {
	if strings.HasPrefix(dirOrURL, "http://") || strings.HasPrefix(dirOrURL, "https://") {
		u, err := url.Parse(dirOrURL)
		if err != nil {
			return nil, err
		}
		return &urlSource{base: u, client: &http.Client{Timeout: time.Minute}}, nil
	}
	info, err := os.Stat(dirOrURL)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errors.New("not a directory")
	}
	return dirSource(dirOrURL), nil
}

// maxResource bounds what is read from a URL: a full bundle of the largest entries that tlog-tiles allows.
const maxResource = layout.EntryBundleWidth * (2 + 1<<16)

type urlSource struct {
	base   *url.URL
	client *http.Client
}

func (s *urlSource) read(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	default:
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxResource+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(b) > maxResource {
		return nil, fmt.Errorf("%s: larger than any tile or bundle", path)
	}
	return b, nil
}
