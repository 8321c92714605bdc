// Package browser lets Go tests use pages as a person does, in a real Chromium: open, type, press,
// read, take pictures, and check accessibility with axe.
//
// It runs a small Node program over playwright-core and axe-core, both pinned by
// e2e/package-lock.json, and Debian's or any other Chromium. If one of them is missing, the test
// fails and says how to get it.
package browser

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

//go:embed driver.mjs
var driver []byte

// Browser is a running Chromium. Its pages share only the process.
type Browser struct {
	t    testing.TB
	mu   sync.Mutex
	in   io.WriteCloser
	out  *bufio.Scanner
	errs *strings.Builder
	n    int
}

// Start runs Chromium until the test ends. It takes a second, so use one Browser for many pages.
func Start(t testing.TB) *Browser {
	t.Helper()
	testkit.SkipFast(t, "a browser")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("the browser tests need Node 20 or newer on the PATH. Install it (Debian: apt-get install nodejs " +
			"npm), then run `npm ci` in e2e/.")
	}
	modules := filepath.Join(root(t), "e2e")
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "playwright-core")); err != nil {
		t.Fatal("the browser tests need the packages of e2e/package-lock.json. Run `npm ci` in e2e/ (`make test` " +
			"does it).")
	}
	chromium := chromium()
	if chromium == "" {
		t.Fatal("the browser tests need Chromium. Install it (Debian: apt-get install chromium), or set " +
			"GATEHOUSE_TEST_CHROMIUM to the path of a Chromium or Chrome.")
	}
	script := filepath.Join(t.TempDir(), "driver.mjs")
	if err := os.WriteFile(script, driver, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, script, modules, chromium)
	b := &Browser{t: t, errs: &strings.Builder{}}
	cmd.Stderr = b.errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("node does not start: %v", err)
	}
	b.in, b.out = in, bufio.NewScanner(out)
	b.out.Buffer(nil, 16<<20)
	t.Cleanup(func() {
		_ = in.Close() // the driver closes Chromium and ends
		_ = cmd.Wait()
	})
	if !b.out.Scan() {
		_ = cmd.Wait()
		t.Fatalf("Chromium (%s) does not start:\n%s", chromium, b.errs)
	}
	return b
}

// root returns the repository: the nearest directory above with go.mod.
func root(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if filepath.IsAbs(file) { // not with -trimpath
		dir = filepath.Dir(file)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func chromium() string {
	if p := os.Getenv("GATEHOUSE_TEST_CHROMIUM"); p != "" {
		return p
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// Options configure a page. The zero value is a desktop in light, English.
type Options struct {
	Width, Height int
	Dark          bool
	Locale        string  // "en-GB"
	Scale         float64 // device pixels per CSS pixel
}

// Page is a tab in a context of its own. It shares no cookies with other pages.
type Page struct {
	b *Browser
	n int
}

// Page opens a tab. It is closed with the test.
func (b *Browser) Page(o Options) *Page {
	b.t.Helper()
	if o.Width == 0 {
		o.Width, o.Height = 1280, 900
	}
	if o.Locale == "" {
		o.Locale = "en-GB"
	}
	b.mu.Lock()
	b.n++
	p := &Page{b: b, n: b.n}
	b.mu.Unlock()
	p.do("open", map[string]any{"width": o.Width, "height": o.Height, "dark": o.Dark, "locale": o.Locale,
		"scale": o.Scale})
	return p
}

// Resize changes the size of the page's window.
func (p *Page) Resize(width, height int) {
	p.b.t.Helper()
	p.do("resize", map[string]any{"width": width, "height": height})
}

type answer struct {
	Error, Text, URL, Title string
	Status, Count           int
	Violations              []Violation
	Cookies                 []Cookie
	Console, Foreign        []string
	Downloads               int
}

// Violation is an accessibility rule that axe found broken.
type Violation struct {
	ID, Help string
	Nodes    []string
}

// Cookie is a cookie of the browser.
type Cookie struct {
	Name, Value, Path, SameSite string
	HTTPOnly                    bool `json:"httpOnly"`
	Secure                      bool
}

func (p *Page) do(what string, args map[string]any) answer {
	p.b.t.Helper()
	a, err := p.try(what, args)
	if err != nil {
		p.b.t.Fatal(err)
	}
	return a
}

func (p *Page) try(what string, args map[string]any) (answer, error) {
	command := map[string]any{"do": what, "page": p.n}
	for k, v := range args {
		command[k] = v
	}
	line, err := json.Marshal(command)
	if err != nil {
		return answer{}, err
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if _, err := p.b.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("the browser is gone: %w\n%s", err, p.b.errs)
	}
	if !p.b.out.Scan() {
		return answer{}, fmt.Errorf("the browser is gone: %v\n%s", p.b.out.Err(), p.b.errs)
	}
	var a answer
	if err := json.Unmarshal(p.b.out.Bytes(), &a); err != nil {
		return answer{}, fmt.Errorf("the browser answers %q: %w", p.b.out.Text(), err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("browser: %s", a.Error)
	}
	return a, nil
}

// Goto opens an address and returns the status of its answer.
func (p *Page) Goto(url string) int {
	p.b.t.Helper()
	return p.do("goto", map[string]any{"url": url}).Status
}

// Fill types text into a field. Selectors are Playwright's: CSS, "text=…".
func (p *Page) Fill(selector, text string) {
	p.b.t.Helper()
	p.do("fill", map[string]any{"selector": selector, "text": text})
}

// Submit clicks an element that leads to another page, waits for the page and returns its status.
func (p *Page) Submit(selector string) int {
	p.b.t.Helper()
	return p.do("submit", map[string]any{"selector": selector}).Status
}

// Press presses a key: "Tab", "Enter".
func (p *Page) Press(key string) {
	p.b.t.Helper()
	p.do("press", map[string]any{"text": key})
}

// Text returns the visible text of the element.
func (p *Page) Text(selector string) string {
	p.b.t.Helper()
	return p.do("text", map[string]any{"selector": selector}).Text
}

// Value returns the content of a field.
func (p *Page) Value(selector string) string {
	p.b.t.Helper()
	return p.do("value", map[string]any{"selector": selector}).Text
}

// URL returns the address of the page.
func (p *Page) URL() string {
	p.b.t.Helper()
	return p.do("where", nil).URL
}

// Title returns the title of the window.
func (p *Page) Title() string {
	p.b.t.Helper()
	return p.do("where", nil).Title
}

// Focused returns the id, name or tag of the focused element.
func (p *Page) Focused() string {
	p.b.t.Helper()
	return p.do("focused", nil).Text
}

// Overflow returns by how many pixels the page is wider than its window.
func (p *Page) Overflow() int {
	p.b.t.Helper()
	return p.do("overflow", nil).Count
}

// Cookies returns all cookies of the page's context.
func (p *Page) Cookies() []Cookie {
	p.b.t.Helper()
	return p.do("cookies", nil).Cookies
}

// Seen returns the errors in the page's console, such as a blocked style, and the requests to other
// hosts, since the page was opened.
func (p *Page) Seen() ([]string, []string) {
	p.b.t.Helper()
	a := p.do("seen", nil)
	return a.Console, a.Foreign
}

// Screenshot writes the whole page as a PNG.
func (p *Page) Screenshot(path string) {
	p.b.t.Helper()
	p.do("screenshot", map[string]any{"path": path})
}

// Axe returns what axe-core finds wrong by WCAG 2.2 AA and its best practices.
func (p *Page) Axe() []Violation {
	p.b.t.Helper()
	return p.do("axe", nil).Violations
}

// Close closes the tab before the test ends.
func (p *Page) Close() {
	p.b.t.Helper()
	p.do("close", nil)
}
