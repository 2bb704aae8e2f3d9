package web_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/web"
)

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// TestLanguagesAreComplete: every key in every language, with the same placeholders, and no empty text.
func TestLanguagesAreComplete(t *testing.T) {
	b := load(t)
	for _, lang := range i18n.Languages {
		for _, key := range b.Keys("en") {
			text := b.T(lang, key)
			if text == key || strings.TrimSpace(text) == "" {
				t.Errorf("%s: no text for %s", lang, key)
				continue
			}
			if !slices.Equal(placeholders(b.T("en", key)), placeholders(text)) {
				t.Errorf("%s: %s has placeholders %v, English has %v", lang, key, placeholders(text), placeholders(b.T("en", key)))
			}
		}
		for _, key := range b.Keys(lang) {
			if b.T("en", key) == key {
				t.Errorf("%s: %s does not exist in English", lang, key)
			}
		}
	}
}

// TestKeysAreUsedAndExist reads every template and Go file. A key that is built, key "room.state." .X
// or i18n.Key, uses all keys that start with its first part.
func TestKeysAreUsedAndExist(t *testing.T) {
	b := load(t)
	used, prefixes := map[string]string{}, map[string]string{}
	inTemplate := regexp.MustCompile(`\b(t|key)\s+"([^"]+)"`)
	walk(t, ".", ".html", func(file string, src []byte) {
		for _, m := range inTemplate.FindAllSubmatch(src, -1) {
			if string(m[1]) == "t" {
				used[string(m[2])] = file
			} else {
				prefixes[string(m[2])] = file
			}
		}
	})
	literals := map[string]bool{}
	// Functions whose first or second argument is a message key.
	takesKey := map[string]bool{"T": true, "M": true, "Bad": true, "Add": true, "Key": true}
	room := regexp.MustCompile(`^(` + strings.Join(rooms(t), "|") + `)\.[a-z0-9_.]+$`)
	for _, dir := range []string{"../internal", "../cmd"} {
		walk(t, dir, ".go", func(file string, src []byte) {
			if strings.HasSuffix(file, "_test.go") {
				return
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.BasicLit:
					if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING && room.MatchString(s) {
						literals[s] = true
					}
				case *ast.CallExpr:
					name := ""
					switch fun := x.Fun.(type) {
					case *ast.SelectorExpr:
						name = fun.Sel.Name
					case *ast.Ident:
						name = fun.Name
					}
					for i, a := range x.Args {
						lit, ok := a.(*ast.BasicLit)
						if !takesKey[name] || i > 1 || !ok || lit.Kind != token.STRING {
							continue
						}
						s, err := strconv.Unquote(lit.Value)
						switch {
						case err != nil || !room.MatchString(s):
						case name == "Key":
							prefixes[s] = file
						default:
							used[s] = file
						}
					}
				}
				return true
			})
		})
	}
	for key, file := range used {
		if !b.Has("en", key) {
			t.Errorf("%s uses %s, which no message file has", file, key)
		}
	}
	isUsed := func(key string) bool {
		base := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".other")
		for _, k := range []string{key, base} {
			if _, ok := used[k]; ok || literals[k] {
				return true
			}
		}
		for p := range prefixes {
			if strings.HasPrefix(key, p) {
				return true
			}
		}
		return false
	}
	for _, key := range b.Keys("en") {
		if !isUsed(key) {
			t.Errorf("%s is used nowhere", key)
		}
	}
	for p, file := range prefixes {
		if !slices.ContainsFunc(b.Keys("en"), func(k string) bool { return strings.HasPrefix(k, p) }) {
			t.Errorf("%s builds keys from %q, but there is none", file, p)
		}
	}
}

// TestPagesExist: a page that Go code renders has a template, and each template is rendered.
func TestPagesExist(t *testing.T) {
	pages := map[string]bool{}
	walk(t, ".", "page.html", func(file string, _ []byte) { pages[filepath.ToSlash(filepath.Dir(file))] = false })
	for _, zone := range []string{"portal", "enclave", "demo"} {
		pages[zone+"/error"] = true // rendered by kit/page
	}
	name := regexp.MustCompile(`"((?:portal|enclave|demo)/[a-z/-]+)"`)
	walk(t, "../internal", ".go", func(file string, src []byte) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, line := range strings.Split(string(src), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			for _, m := range name.FindAllStringSubmatch(line, -1) {
				if strings.HasSuffix(m[1], "/") { // the rest of the name is added: it uses all below
					for p := range pages {
						pages[p] = pages[p] || strings.HasPrefix(p, m[1])
					}
					continue
				}
				if _, ok := pages[m[1]]; !ok && (strings.Contains(line, "Render(") || strings.Contains(line, "Fragment(")) {
					t.Errorf("%s renders %s, which does not exist", file, m[1])
				}
				pages[m[1]] = true
			}
		}
	})
	for p, used := range pages {
		if !used {
			t.Errorf("nothing renders %s", p)
		}
	}
}

// TestTemplatesKeepTheRules: what the content security policy forbids stands in no template, and all
// text comes from the message files.
func TestTemplatesKeepTheRules(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"inline style":    regexp.MustCompile(`(?i)\sstyle\s*=|<style`),
		"inline script":   regexp.MustCompile(`(?i)<script(>|\s+[^s])|\son[a-z]+\s*=\s*"|javascript:`),
		"foreign address": regexp.MustCompile(`(?i)(src|href|action)="(https?:)?//`),
		"text in a page":  regexp.MustCompile(`(?s)<(p|h1|h2|h3|li|label|legend|button|th|a)(\s[^<>{}]*)?>\s*[A-Z][a-z]+ [a-z]+`),
	}
	walk(t, ".", ".html", func(file string, src []byte) {
		for what, re := range forbidden {
			if m := re.Find(src); m != nil {
				t.Errorf("%s: %s: %q", file, what, m)
			}
		}
	})
}

func load(t *testing.T) *i18n.Bundle {
	t.Helper()
	b, err := web.Messages(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rooms(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("messages/*.en.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no message files", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".en.yaml")
	}
	return files
}

func placeholders(s string) []string {
	p := placeholder.FindAllString(s, -1)
	slices.Sort(p)
	return slices.Compact(p)
}

func walk(t *testing.T, dir, ending string, f func(file string, src []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ending) {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		f(p, b)
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
