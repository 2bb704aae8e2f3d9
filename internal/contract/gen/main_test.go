package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSchemasAreUpToDate(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "docs", "contracts")
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/contracts/%s is not what the code says (%v): run go generate ./internal/contract/gen", name, err)
		}
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		if files[e.Name()] == nil {
			t.Errorf("docs/contracts/%s belongs to no document any more: delete it", e.Name())
		}
	}
}

// Every struct of the contract that has JSON names is a document or part of one.
func TestEveryDocumentHasASchema(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	src, err := readSource(filepath.Join(root, "internal", "contract"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	var covered []string
	for _, d := range documents {
		covered = append(covered, reflect.TypeOf(d.value).Name())
	}
	for name, b := range files {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		var s struct {
			Defs map[string]json.RawMessage `json:"$defs"`
		}
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for def := range s.Defs {
			covered = append(covered, def)
		}
	}
	if len(src.structs) < 20 {
		t.Fatalf("only %d structs were found in the contract", len(src.structs))
	}
	for _, name := range src.structs {
		if !slices.Contains(covered, name) {
			t.Errorf("contract.%s is in no schema: add it to documents", name)
		}
	}
}

func TestSchemaSaysWhatTheCodeSays(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	var order struct {
		Required   []string
		Additional bool                       `json:"additionalProperties"`
		Properties map[string]json.RawMessage // "body" is true: anything
	}
	order.Additional = true
	if err := json.Unmarshal(files["order.schema.json"], &order); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order.Required, []string{"schema", "id", "zone", "kind", "created_at"}) || order.Additional {
		t.Errorf("required %v, additional properties %v", order.Required, order.Additional)
	}
	var kind struct{ Enum []string }
	if err := json.Unmarshal(order.Properties["kind"], &kind); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kind.Enum, []string{"feasibility", "objection", "provision", "workspace"}) {
		t.Errorf("kinds of order: %v", kind.Enum)
	}
	if !strings.Contains(string(order.Properties["created_at"]), `"date-time"`) || string(order.Properties["body"]) != "true" {
		t.Errorf("created_at: %s, body: %s", order.Properties["created_at"], order.Properties["body"])
	}
}
