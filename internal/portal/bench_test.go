package portal_test

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkPages measures whole requests over HTTP, for the goal of 200 requests per second on 2 cores.
func BenchmarkPages(b *testing.B) {
	h := configure(b, true).start()
	researcher := h.as("researcher", "")
	researcher.Transport = &http.Transport{MaxIdleConnsPerHost: 8}
	for _, path := range []string{"/", "/datasets", "/register", "/how-data-are-used", "/applications", "/api/v1/me", "/assets/app.css"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				resp, err := researcher.Get(h.url + path)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatalf("%s: %d", path, resp.StatusCode)
				}
			}
		})
	}
}
