package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// assets holds the built files in memory, compressed once.
type assets struct{ files map[string]*asset }

type asset struct {
	plain, gzip []byte
	kind        string
	version     string
}

func loadAssets(fsys fs.FS) (*assets, error) {
	a := &assets{files: map[string]*asset{}}
	if fsys == nil {
		return a, nil
	}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(p), ".") {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		f := &asset{plain: b, kind: mime.TypeByExtension(path.Ext(p)), version: hex.EncodeToString(sum[:6])}
		switch path.Ext(p) {
		case ".css", ".js", ".svg":
			var buf bytes.Buffer
			z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
			z.Write(b)
			if err := z.Close(); err != nil {
				return err
			}
			f.gzip = buf.Bytes()
		}
		a.files[p] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("assets: %w", err)
	}
	return a, nil
}

// href is the address of a built file. Its query changes with the content, so it can be cached for good.
func (a *assets) href(name string) string {
	if f, ok := a.files[name]; ok {
		return "/assets/" + name + "?v=" + f.version
	}
	return "/assets/" + name
}

// Assets serves the built files below /assets/.
func (p *Renderer) Assets() http.Handler {
	return http.StripPrefix("/assets/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := p.assets.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("Vary", "Accept-Encoding")
		if r.URL.Query().Get("v") == f.version {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			h.Set("Cache-Control", "no-cache")
		}
		body := f.plain
		if f.gzip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = f.gzip
			h.Set("ETag", `"`+f.version+`-z"`)
		} else {
			h.Set("ETag", `"`+f.version+`"`)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
}
