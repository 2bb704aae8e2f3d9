package main

import (
	"os"
	"testing"
)

func TestPictureIsUpToDate(t *testing.T) {
	b, err := os.ReadFile("../architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != draw() {
		t.Fatal("docs/architecture.svg is old: run go generate ./docs/picture")
	}
}
