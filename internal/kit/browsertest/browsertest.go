// Package browsertest drives a real browser in tests: headless Chromium with a fresh profile, axe-core
// for accessibility, screenshots to look at. Tests of pages call it; no program does.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browsers are the names under which Chromium is installed.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// missing skips a test that lacks a tool, or fails it where everything must be there (MITRAL_REQUIRE=1).
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("MITRAL_REQUIRE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// New starts a browser for one test and returns the context of its first tab. It ends with the test.
func New(t testing.TB) context.Context {
	t.Helper()
	path := ""
	for _, b := range browsers {
		if p, err := exec.LookPath(b); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		missing(t, "Chromium is not installed: install the package chromium")
	}
	opts := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	opts = append(opts, chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1200, 900))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(alloc)
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(func() {
		cancel()
		stop()
		stopAlloc()
	})
	if err := chromedp.Do(limited); err != nil {
		missing(t, "Chromium does not start: %v", err)
	}
	return limited
}

// Width sets the width of the window in CSS pixels; 320 is the narrowest that pages must fit
// (WCAG 2.2, 1.4.10).
func Width(t testing.TB, ctx context.Context, px int64) {
	t.Helper()
	Do(t, ctx, chromedp.EmulateViewport(px, 900))
}

// Open goes to an address and waits until the page is there.
func Open(t testing.TB, ctx context.Context, address string) {
	t.Helper()
	Do(t, ctx, chromedp.Navigate(address))
}

// Do runs actions; a failure shows where the browser is and what it shows.
func Do(t testing.TB, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(limited, actions...); err != nil {
		at, _ := chromedp.Run(ctx, chromedp.Location())
		body, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		t.Fatalf("%v at %s:\n%s", err, at, body)
	}
}

// Click presses the link or button in the main part of the page whose text holds text, and See waits
// for an element of the page with a text.
func Click(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.Search(fmt.Sprintf(`//main//*[self::a or self::button][contains(., %q)]`, text)))
}

// See waits until an element called tag ("h1", "td", "*") shows text.
func See(tag, text string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.Search(fmt.Sprintf(`//%s[contains(., %q)]`, tag, text)))
}

// Violation is one finding of axe-core.
type Violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML string `json:"html"`
	} `json:"nodes"`
}

// Axe fails the test for every violation of WCAG 2.2 A and AA, and of axe's best practices, on the
// page that is open.
func Axe(t testing.TB, ctx context.Context) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root(t), "web", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		missing(t, "axe-core is not installed: run npm ci in web/")
	}
	// The policy of the page forbids inline scripts; the debugger's evaluation is outside it.
	Do(t, ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := chromedp.Evaluate[chromedp.Void](string(src)+"; undefined")(ctx, tab)
		return err
	}))
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => ({html: n.html}))}))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("axe: %v", err)
	}
	address, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	var found []Violation
	if err := json.Unmarshal([]byte(raw), &found); err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		var nodes []string
		for _, n := range v.Nodes {
			nodes = append(nodes, n.HTML)
		}
		t.Errorf("%s: %s (%s): %s\n\t%s", address, v.ID, v.Impact, v.Help, strings.Join(nodes, "\n\t"))
	}
}

// Fits fails the test when the page that is open is wider than the window: then one would have to scroll
// in two directions.
func Fits(t testing.TB, ctx context.Context) {
	t.Helper()
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => {
		const w = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= w) return "";
		const bad = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > w + 1 && !e.closest(".m-scroll, pre, svg"));
		return location.href + " is " + document.documentElement.scrollWidth + " px wide: " + (bad.length ? bad[bad.length - 1].outerHTML.slice(0, 200) : "");
	})()`))
	if err != nil {
		t.Fatal(err)
	}
	if wide != "" {
		t.Error(wide)
	}
}

// Screenshot saves the whole page as <name>.png in the directory that MITRAL_SCREENSHOTS names; without
// it nothing is saved.
func Screenshot(t testing.TB, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("MITRAL_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Console collects what the browser reports as errors from now on, such as exceptions of scripts and
// violations of the content security policy.
func Console(ctx context.Context) (errors func() []string) {
	var mu sync.Mutex
	var lines []string
	messages := chromedp.Console(ctx)
	go func() { // ends with ctx
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException {
				mu.Lock()
				lines = append(lines, m.URL+": "+m.Text)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(lines)
	}
}

// root is the repository's directory.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("not inside the repository")
		}
		dir = up
	}
}
