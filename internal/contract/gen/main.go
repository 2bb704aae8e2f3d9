// Command gen writes docs/contracts: the JSON Schema of every document of package contract, and an index.
// Run it by "go generate ./internal/contract/gen" after a change of a document. The contract itself never
// imports it, so that schema libraries stay out of the zones.
package main

//go:generate go run .

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/invopop/jsonschema"

	"github.com/mitral-health/mitral/internal/contract"
)

const module = "github.com/mitral-health/mitral"

// documents are what crosses a border between zones, with the border.
var documents = []struct {
	value any
	route string
}{
	{contract.Permit{}, "signed by the deciding officer; in every order"},
	{contract.SignedPermit{}, "portal → trust, vault, engine, enclave; engine → trust, vault; enclave → vault"},
	{contract.Order{}, "portal → inner zones"},
	{contract.NumberedOrder{}, "portal → inner zones, in the order book"},
	{contract.FeasibilityQuery{}, "body of an order to engine"},
	{contract.FeasibilityAnswer{}, "body of engine's receipt"},
	{contract.Receipt{}, "inner zones → portal"},
	{contract.Notice{}, "inner zones → portal"},
	{contract.CheckpointNotice{}, "body of a notice"},
	{contract.DeliveryNotice{}, "body of a notice from engine"},
	{contract.ObjectionStatement{}, "citizen → trust, sealed"},
	{contract.SealedObjection{}, "body of an order to trust"},
	{contract.ObjectionReceipt{}, "body of trust's receipt"},
	{contract.DatasetSchema{}, "catalogue, agent, trust, engine"},
	{contract.Delivery{}, "agent → trust, agent → engine"},
	{contract.Identity{}, "agent → trust, one per line"},
	{contract.TicketSheetHeader{}, "trust → engine, sealed"},
	{contract.ProvisionReport{}, "body of engine's receipt; in the handover"},
	{contract.Handover{}, "engine → enclave, beside the sealed files"},
	{contract.WorkspaceOpened{}, "body of enclave's receipt"},
	{contract.Export{}, "enclave → portal"},
	{contract.Enrolment{}, "operator → the zone's own directory"},
	{contract.Roll{}, "the zone's officers.json"},
}

func main() {
	log.SetFlags(0)
	root, err := moduleRoot()
	if err != nil {
		log.Fatal(err)
	}
	files, err := generate(root)
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(root, "docs", "contracts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// moduleRoot is the nearest directory upwards that holds go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// generate returns the files of docs/contracts by name.
func generate(root string) (map[string][]byte, error) {
	source, err := readSource(filepath.Join(root, "internal", "contract"))
	if err != nil {
		return nil, err
	}
	reflector := &jsonschema.Reflector{
		BaseSchemaID:   "https://mitral.health/contracts",
		ExpandedStruct: true,
		LookupComment:  source.comment,
		Mapper:         source.named,
	}
	files := map[string][]byte{}
	var index bytes.Buffer
	index.WriteString("# Contract documents\n\nWritten by `go generate ./internal/contract/gen` from the Go types of `internal/contract`; do not edit.\n" +
		"What is signed or hashed is the canonical form (RFC 8785). Who sends what to whom on which route: [protocols](../protocols.md).\n\n" +
		"| Document | Who to whom | What |\n|---|---|---|\n")
	for _, d := range documents {
		t := reflect.TypeOf(d.value)
		b, err := json.MarshalIndent(reflector.ReflectFromType(t), "", "  ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name(), err)
		}
		name := kebab(t.Name()) + ".schema.json"
		files[name] = append(b, '\n')
		fmt.Fprintf(&index, "| [%s](%s) | %s | %s |\n", t.Name(), name, d.route, firstSentence(source.comment(t, "")))
	}
	files["README.md"] = index.Bytes()
	return files, nil
}

// source is what reflection cannot see of package contract: comments, and the values of its string types.
type source struct {
	comments map[string]string   // "Type" or "Type.Field"
	values   map[string][]string // type → its constants
	structs  []string            // exported structs with JSON names
}

func readSource(dir string) (*source, error) {
	s := &source{comments: map[string]string{}, values: map[string][]string{}}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.read(g)
			}
		}
	}
	return s, nil
}

func (s *source) read(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.comments[spec.Name.Name] = oneLine(g.Doc, spec.Doc)
			if st, ok := spec.Type.(*ast.StructType); ok {
				s.readStruct(spec.Name.Name, st)
			}
		case *ast.ValueSpec:
			typ, ok := spec.Type.(*ast.Ident)
			if !ok {
				continue
			}
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						s.values[typ.Name] = append(s.values[typ.Name], text)
					}
				}
			}
		}
	}
}

func (s *source) readStruct(name string, st *ast.StructType) {
	tagged := false
	for _, f := range st.Fields.List {
		tagged = tagged || f.Tag != nil && strings.Contains(f.Tag.Value, "json:")
		for _, n := range f.Names {
			s.comments[name+"."+n.Name] = oneLine(f.Doc, f.Comment)
		}
	}
	if tagged && ast.IsExported(name) {
		s.structs = append(s.structs, name)
	}
}

func oneLine(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " ")
}

func (s *source) comment(t reflect.Type, field string) string {
	if t.PkgPath() != module+"/internal/contract" {
		return ""
	}
	if field == "" {
		return s.comments[t.Name()]
	}
	return s.comments[t.Name()+"."+field]
}

// named gives string types their values or their pattern.
func (s *source) named(t reflect.Type) *jsonschema.Schema {
	if t.PkgPath() != module+"/internal/contract" || t.Kind() != reflect.String {
		return nil
	}
	schema := &jsonschema.Schema{Type: "string", Description: s.comments[t.Name()]}
	if t == reflect.TypeFor[contract.Digest]() {
		schema.Pattern = "^sha256:[0-9a-f]{64}$"
	}
	for _, v := range slices.Compact(slices.Sorted(slices.Values(s.values[t.Name()]))) {
		schema.Enum = append(schema.Enum, v)
	}
	return schema
}

// kebab turns "TicketSheetHeader" into "ticket-sheet-header".
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// sentenceEnd tells the end of a sentence from the point in "Art. 71".
var sentenceEnd = regexp.MustCompile(`\.\s+\p{Lu}`)

func firstSentence(s string) string {
	if at := sentenceEnd.FindStringIndex(s); at != nil {
		s = s[:at[0]+1]
	}
	return strings.ReplaceAll(s, "|", "\\|")
}
