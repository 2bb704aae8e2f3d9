// Package house keeps the rules of the house: who may import whom, where SQL, DuckDB and templates may
// stand, how long a file may be. It has tests only; a rule that is broken stops the build.
package house

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/mitral-health/mitral"

// pkg is what go list says of a package. Path is relative to the module.
type pkg struct {
	ImportPath, Dir, Doc               string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Path                               string `json:"-"`
}

var list = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			return nil, err
		}
		p.Path = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		pkgs = append(pkgs, p)
	}
	return pkgs, nil
})

const root = "../.."

func packages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 20 {
		t.Fatalf("go list knows only %d packages", len(pkgs))
	}
	return pkgs
}

// under reports whether path is dir or lies below it.
func under(path string, dirs ...string) bool {
	for _, d := range dirs {
		if path == d || strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}

// zones are the folders of which none may import another.
var zones = []string{"internal/portal", "internal/trust", "internal/vault", "internal/engine", "internal/enclave", "internal/agent"}

// allowed says which of our own packages a part of the house may import, besides itself. What is not
// listed here (commands, the demonstration, benchmarks, tests across zones) may import everything.
var allowed = []struct {
	part    string
	imports []string
}{
	{"internal/portal", []string{"internal/contract", "internal/kit", "web", "policies", "procedures", "profiles"}},
	{"internal/trust", []string{"internal/contract", "internal/kit"}},
	{"internal/vault", []string{"internal/contract", "internal/kit"}},
	{"internal/engine", []string{"internal/contract", "internal/kit"}},
	{"internal/enclave", []string{"internal/contract", "internal/kit", "web"}},
	{"internal/agent", []string{"internal/contract", "internal/kit"}},
	{"internal/contract", nil},
	{"internal/kit", nil},
	{"internal/sample", []string{"internal/contract", "internal/kit"}},
	{"internal/operator", []string{"internal/contract", "internal/kit"}},
	{"internal/demoidp", []string{"internal/kit", "web"}},
	{"web", []string{"internal/kit"}},
	{"policies", nil},
	{"procedures", nil},
	{"profiles", nil},
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, rule := range allowed {
			if !under(p.Path, rule.part) {
				continue
			}
			check := func(imports []string, what string, more ...string) {
				for _, i := range imports {
					own, ok := strings.CutPrefix(i, module+"/")
					if ok && !under(own, rule.part) && !under(own, rule.imports...) && !under(own, more...) {
						t.Errorf("%s imports %s%s, which %s may not", p.Path, own, what, rule.part)
					}
				}
			}
			check(p.Imports, "")
			// Tests may also use what makes signed permits, sample files and pages, but still no other zone.
			check(p.TestImports, " in a test", "internal/contract", "internal/sample", "internal/demoidp", "web")
			check(p.XTestImports, " in a test", "internal/contract", "internal/sample", "internal/demoidp", "web")
		}
	}
}

// Packages that are for tests only (contracttest, pgtest, …) are imported by tests and by each other.
func TestTestPackagesStayInTests(t *testing.T) {
	testOnly := regexp.MustCompile(`[a-z]test$`)
	for _, p := range packages(t) {
		if testOnly.MatchString(p.Path) || under(p.Path, "test", "bench") {
			continue
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module+"/"); ok && testOnly.MatchString(own) {
				t.Errorf("%s imports %s outside its tests", p.Path, own)
			}
		}
	}
}

// Third-party packages that contract and vault may import themselves. These two are what everybody has to
// trust, so each further name here is a decision.
func TestFewestDependencies(t *testing.T) {
	few := map[string][]string{
		"internal/contract": {"filippo.io/age", "github.com/gowebpki/jcs"},
		"internal/vault":    {"filippo.io/age"},
	}
	for _, p := range packages(t) {
		names, ok := few[p.Path]
		if !ok {
			continue
		}
		for _, i := range p.Imports {
			if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") && !strings.HasPrefix(i, module) && !slices.Contains(names, i) {
				t.Errorf("%s imports %s", p.Path, i)
			}
		}
	}
}

func TestVaultIsTheSmallestZone(t *testing.T) {
	lines := map[string]int{}
	for _, p := range packages(t) {
		for _, z := range zones {
			if !under(p.Path, z) {
				continue
			}
			for _, f := range p.GoFiles {
				lines[z] += countLines(t, filepath.Join(p.Dir, f))
			}
		}
	}
	for z, n := range lines {
		if z != "internal/vault" && z != "internal/agent" && n <= lines["internal/vault"] {
			t.Errorf("vault has %d lines, %s only %d", lines["internal/vault"], z, n)
		}
	}
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

const (
	longFile    = 600 // lines; a note
	tooLongFile = 700 // lines; an error
)

func TestFilesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			switch n := countLines(t, filepath.Join(p.Dir, f)); {
			case n > tooLongFile:
				t.Errorf("%s/%s has %d lines; split it (at most %d)", p.Path, f, n, tooLongFile)
			case n > longFile:
				t.Logf("%s/%s has %d lines; think of splitting it", p.Path, f, n)
			}
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(strings.Fields(p.Doc)) < 5 {
			t.Errorf("%s has no package comment", p.Path)
		}
	}
}

// sql finds statements. Keywords are matched in capitals, as the house writes them, so that a sentence
// for people is not mistaken for one.
var sql = regexp.MustCompile(`^\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX|UNIQUE|VIEW)\b|ALTER\s+TABLE\s|DROP\s+(TABLE|INDEX)\s|WITH\s+\w+\s+AS\s)`)

func TestSQLStandsInStores(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		// Engine's SQL is DuckDB's, which is what the package is about; benchmarks compare with it.
		if under(p.Path, "internal/engine", "bench", "test") || strings.HasSuffix(p.Path, "test") {
			continue
		}
		for _, f := range p.GoFiles {
			if strings.HasPrefix(f, "store") {
				found++
				continue
			}
			for _, s := range literals(t, filepath.Join(p.Dir, f)) {
				if sql.MatchString(s.text) {
					t.Errorf("%s/%s:%d: SQL outside a store file: %.60q", p.Path, f, s.line, s.text)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no store file was found at all: the rule looks in the wrong place")
	}
}

func TestDuckDBStaysBelowEngine(t *testing.T) {
	for _, p := range packages(t) {
		if under(p.Path, "internal/engine", "bench", "test") {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/duckdb/") {
				t.Errorf("%s imports %s", p.Path, i)
			}
		}
	}
}

func TestTemplatesStayBelowWeb(t *testing.T) {
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			if (i == "html/template" || i == "text/template") && !under(p.Path, "web", "internal/kit/page", "internal/kit/i18n") {
				for _, f := range p.GoFiles {
					for _, s := range literals(t, filepath.Join(p.Dir, f)) {
						if strings.Contains(s.text, "{{") {
							t.Errorf("%s/%s:%d: a template outside web", p.Path, f, s.line)
						}
					}
				}
			}
		}
	}
	walk(t, func(path string) {
		switch filepath.Ext(path) {
		case ".html", ".tmpl", ".gohtml":
			if !under(path, "web") && !strings.Contains(path, "testdata/") {
				t.Errorf("%s: a template outside web", path)
			}
		}
	})
}

// Migrations go forward only, and use the types that SQLite and PostgreSQL share.
func TestMigrations(t *testing.T) {
	name := regexp.MustCompile(`^\d{4}_[a-z0-9_]+\.sql$`)
	foreign := regexp.MustCompile(`(?i)\b(INTEGER|INT|SMALLINT|SERIAL|BIGSERIAL|REAL|DOUBLE|NUMERIC|DECIMAL|BLOB|BYTEA|BOOLEAN|BOOL|TIMESTAMP|TIMESTAMPTZ|DATETIME|JSONB?|UUID|VARCHAR|CHAR|AUTOINCREMENT)\b`)
	comment := regexp.MustCompile(`(?m)--.*$|'[^']*'`)
	seen := 0
	walk(t, func(path string) {
		if filepath.Ext(path) != ".sql" || filepath.Base(filepath.Dir(path)) != "migrations" {
			return
		}
		seen++
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !name.MatchString(filepath.Base(path)) {
			t.Errorf("%s: want NNNN_name.sql", path)
		}
		if !strings.Contains(text, "-- +goose Up") || strings.Contains(text, "+goose Down") {
			t.Errorf("%s: want -- +goose Up, and nothing that goes back", path)
		}
		if m := foreign.FindString(comment.ReplaceAllString(text, "")); m != "" {
			t.Errorf("%s: type %s; only TEXT and BIGINT mean the same on both databases", path, m)
		}
	})
	if seen == 0 {
		t.Error("no migration was found at all: the rule looks in the wrong place")
	}
}

// Work that is put off belongs in an issue, not in the text.
func TestNothingIsPutOff(t *testing.T) {
	putOff := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	walk(t, func(path string) {
		switch filepath.Ext(path) {
		case ".go", ".md", ".sql", ".yaml", ".html", ".css", ".ts", ".cedar", ".sh":
		default:
			return
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(b, []byte("\n")) {
			if m := putOff.Find(line); m != nil {
				t.Errorf("%s:%d: %q", path, i+1, m)
			}
		}
	})
}

type literal struct {
	line int
	text string
}

// literals are the string literals of a Go file.
func literals(t *testing.T, path string) (out []literal) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, literal{set.Position(lit.Pos()).Line, text})
			}
		}
		return true
	})
	return out
}

// walk calls f with the path, from the root, of every file that belongs to the project.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil {
		for path := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			if _, err := os.Lstat(filepath.Join(root, path)); err == nil { // not one that is deleted and still staged
				f(path)
			}
		}
		return
	}
	// An unpacked source archive has no git directory.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == "demo" && filepath.Dir(path) == root || strings.HasPrefix(name, ".") && name != ".." && path != root {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
