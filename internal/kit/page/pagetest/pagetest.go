// Package pagetest checks the HTML of a page for faults that need no browser: missing texts, repeated
// ids, fields without label, several or no main heading. Tests of rooms use it.
package pagetest

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// untranslated finds a message key that was shown instead of its text.
var untranslated = regexp.MustCompile(`\b(catalogue|feasibility|api|kit|portal|gateway|access|objection|register)\.[a-z_]+(\.[a-z_]+)*\b`)

// Check parses the page and reports what is wrong with it.
func Check(t testing.TB, where, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	ids, labels := map[string]int{}, map[string]bool{}
	headings := 0
	var fields []*html.Node
	var lang, title string
	Walk(doc, func(n *html.Node) {
		if n.Type == html.TextNode && n.Parent != nil && n.Parent.Data != "script" {
			if m := untranslated.FindString(n.Data); m != "" && !strings.Contains(n.Data, "http") {
				t.Errorf("%s: text without translation: %s", where, m)
			}
		}
		if n.Type != html.ElementNode {
			return
		}
		if id := Attr(n, "id"); id != "" {
			ids[id]++
		}
		switch n.Data {
		case "html":
			lang = Attr(n, "lang")
		case "title":
			if n.Parent.Data == "head" {
				title = Text(n)
			}
		case "h1":
			headings++
		case "label":
			labels[Attr(n, "for")] = true
		case "input", "select", "textarea":
			switch Attr(n, "type") {
			case "hidden", "submit":
			default:
				fields = append(fields, n)
			}
		}
	})
	if lang == "" || strings.TrimSpace(title) == "" || strings.HasPrefix(strings.TrimSpace(title), "–") {
		t.Errorf("%s: language %q, title %q", where, lang, title)
	}
	if headings != 1 {
		t.Errorf("%s: %d main headings", where, headings)
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s: id %q stands %d times", where, id, n)
		}
	}
	for _, f := range fields {
		if !labels[Attr(f, "id")] && Attr(f, "aria-label") == "" {
			t.Errorf("%s: field %q has no label", where, Attr(f, "name"))
		}
	}
	return doc
}

// Walk calls f for each node of the document, in order.
func Walk(n *html.Node, f func(*html.Node)) {
	f(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		Walk(c, f)
	}
}

// Attr returns an attribute, or "".
func Attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Text returns all text below a node.
func Text(n *html.Node) string {
	var b strings.Builder
	Walk(n, func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	})
	return b.String()
}
