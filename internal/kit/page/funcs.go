package page

import (
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/url"
	"reflect"
	"strings"
	"time"
)

func (p *Renderer) funcs(lang string) template.FuncMap {
	b := p.bundle
	return template.FuncMap{
		"t":    func(key string, args ...any) string { return b.T(lang, key, args...) },
		"key":  func(parts ...any) string { return fmt.Sprint(joined(parts)...) },
		"msg":  func(m any) string { return p.text(lang, m) },
		"date": func(v any) (string, error) { return withTime(v, func(t time.Time) string { return b.Date(lang, t) }) },
		"datetime": func(v any) (string, error) {
			return withTime(v, func(t time.Time) string { return b.DateTime(lang, t) })
		},
		"isotime": func(v any) (string, error) {
			return withTime(v, func(t time.Time) string { return t.UTC().Format(time.RFC3339) })
		},
		"number":  func(v any) string { return b.Number(lang, v) },
		"lang":    func() string { return lang },
		"asset":   p.assets.href,
		"dict":    dict,
		"list":    func(v ...any) []any { return v },
		"href":    href,
		"pathseg": url.PathEscape,
		"add":     func(a, b int) int { return a + b },
		"json": func(v any) (string, error) {
			b, err := json.MarshalIndent(v, "", "  ")
			return string(b), err
		},
		"id": func(name string) string { return fieldID(name) },
		"default": func(fallback, v any) any {
			if v == nil || reflect.ValueOf(v).IsZero() {
				return fallback
			}
			return v
		},
		"isDict": func(v any) bool { _, ok := v.(map[string]any); return ok },
	}
}

// joined keeps fmt.Sprint from putting blanks between operands that are not strings.
func joined(parts []any) []any {
	out := make([]any, len(parts))
	for i, v := range parts {
		out[i] = fmt.Sprint(v)
	}
	return out
}

func withTime(v any, f func(time.Time) string) (string, error) {
	switch t := v.(type) {
	case time.Time:
		return f(t), nil
	case *time.Time:
		if t == nil {
			return "–", nil
		}
		return f(*t), nil
	}
	return "", fmt.Errorf("want a time, got %T", v)
}

func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: odd number of arguments")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		k, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: key %v is not a string", pairs[i])
		}
		m[k] = pairs[i+1]
	}
	return m, nil
}

// href builds a local address: it refuses one that leads to another site.
func href(path string, pairs ...any) (string, error) {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, "\\") {
		return "", fmt.Errorf("href: %q is not a local path", path)
	}
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v != "" {
			q.Add(fmt.Sprint(pairs[i]), v)
		}
	}
	if len(q) == 0 {
		return path, nil
	}
	return path + "?" + q.Encode(), nil
}

// htmlText undoes the escaping of a rendered title, which the layout escapes again.
func htmlText(s string) string { return html.UnescapeString(s) }
