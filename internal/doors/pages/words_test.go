package pages

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func idsOf(t testing.TB, locale string) map[string]any {
	t.Helper()
	b, err := localeFiles.ReadFile("locales/active." + locale + ".json")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func englishIDs(t testing.TB) map[string]any { return idsOf(t, "en") }

var (
	usedInGo        = regexp.MustCompile(`say\("([a-z_]+\.[a-z_]+)"`)
	usedInTemplates = regexp.MustCompile(`\bth? "([a-z_]+\.[a-z_]+)"`)
	argument        = regexp.MustCompile(`\{\{\.([A-Za-z]+)\}\}`)
)

// TestWords: every language has the same messages with the same arguments, every
// message that is used exists, and none lies about unused.
func TestWords(t *testing.T) {
	english := englishIDs(t)
	for _, locale := range locales[1:] {
		other := idsOf(t, locale)
		for id, en := range english {
			v, ok := other[id]
			if !ok {
				t.Errorf("%s lacks %q", locale, id)
				continue
			}
			if a, b := argumentsOf(en), argumentsOf(v); a != b {
				t.Errorf("%s: %q takes %s, in English %s", locale, id, b, a)
			}
		}
		for id := range other {
			if _, ok := english[id]; !ok {
				t.Errorf("only %s has %q", locale, id)
			}
		}
	}
	used := map[string]bool{}
	collect := func(re *regexp.Regexp, text string) {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			for _, id := range m[1:] {
				if id != "" {
					used[id] = true
				}
			}
		}
	}
	literal := regexp.MustCompile(`"([a-z]+\.[a-z_]+)"`)  // an id that is held in a variable or a table first
	for _, c := range []string{"auto", "light", "dark"} { // say("foot." + c)
		used["foot."+c] = true
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		collect(usedInGo, string(b))
		for _, m := range literal.FindAllStringSubmatch(string(b), -1) {
			if _, ok := english[m[1]]; ok {
				used[m[1]] = true
			}
		}
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := templateFiles.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		collect(usedInTemplates, string(b))
	}
	for _, f := range []string{"mails/letter.txt", "mails/letter.html"} {
		b, err := letterFiles.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		collect(usedInTemplates, string(b))
	}
	for id := range used {
		if _, ok := english[id]; !ok {
			t.Errorf("%q is used but does not exist", id)
		}
	}
	for id := range english {
		if !used[id] {
			t.Errorf("%q is not used", id)
		}
	}
}

func argumentsOf(v any) string {
	set := map[string]bool{}
	b, _ := json.Marshal(v)
	for _, m := range argument.FindAllStringSubmatch(string(b), -1) {
		set[m[1]] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

func TestChooseLocale(t *testing.T) {
	tests := []struct {
		fallback string
		wishes   []string
		want     string
	}{
		{"", nil, "en"},
		{"de", nil, "de"},
		{"xx", []string{"fr"}, "en"},
		{"de", []string{"fr", "en-GB"}, "en"},
		{"en", []string{"", "de-AT,de;q=0.9,en;q=0.8"}, "de"},
		{"en", []string{"de", "en"}, "de"},
		{"en", []string{strings.Repeat("de,", 400)}, "de"}, // the first items count
		{"en", []string{strings.Repeat("xx,", 400) + "de"}, "en"},
		{"en", []string{";;;\x00"}, "en"},
		{"en", []string{"de-DE, x_!, en;q=0.5"}, "de"},
		{"en", []string{"C.UTF-8,de;q=0.9"}, "de"},
		{"en", []string{"en;q=oops, de;q=0.1"}, "de"},
		{"en", []string{strings.Repeat("x", 300) + ",de"}, "de"},
		{"en", []string{"*, de;q=0.2"}, "de"},
	}
	for _, tt := range tests {
		if got := chooseLocale(tt.fallback, tt.wishes...); got != tt.want {
			t.Errorf("chooseLocale(%q, %q) = %q, want %q", tt.fallback, tt.wishes, got, tt.want)
		}
	}
}

// Every kind of fault has a status of its own and a page that renders.
func TestEveryFaultHasAPage(t *testing.T) {
	r, err := newRenderer()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]fault.Kind{}
	for _, k := range fault.Kinds {
		status, p := errorOf(fault.New(k, "x.y", "A sentence."))
		if other, ok := seen[status]; ok {
			t.Errorf("%s and %s are both %d", k, other, status)
		}
		seen[status] = k
		if p.Heading.ID == "" {
			t.Errorf("%s has no heading", k)
		}
		if kindOfStatus(status) != k {
			t.Errorf("%d is %s, want %s", status, kindOfStatus(status), k)
		}
		for _, l := range locales {
			if err := r.render(httptest.NewRecorder(), status, specimenLook(t, l, "x"), p); err != nil {
				t.Error(err)
			}
		}
	}
	if _, p := errorOf(errors.New("connection to 10.0.0.1 refused")); strings.Contains(r.words["en"].text(p.Text),
		"10.0.0.1") {
		t.Error("the cause of an internal error is shown")
	}
}

// forPrograms are the codes of the packages below that no page answers with.
var forPrograms = map[string]string{
	"device.too_many":              "the device authorization endpoint",
	"device.too_many_from_address": "the device authorization endpoint",
	"grant.not_found":              "the management API",
	"token.invalid":                "the userinfo endpoint",
	"token.step_up":                "the userinfo endpoint",
}

// Every code that a page may answer with has words of its own: a fault's reason is in English.
func TestEveryCodeHasWords(t *testing.T) {
	codes := regexp.MustCompile(`(?:fault\.New\(fault\.(?:Invalid|Unauthenticated|Denied|NotFound|Conflict|Limited|` +
		`Unavailable),|onPage\(|refuse\(http\.Status\w+,|Code:|f\.Code, f\.Reason =)\s*"([a-z]+\.[a-z_]+)"`)
	seen := map[string]bool{}
	for _, pattern := range []string{"../../kit/web/*.go", "../oidc/*.go", "*.go", "../../iam/signin/*.go",
		"../../iam/session/*.go", "../../iam/grant/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range codes.FindAllStringSubmatch(string(text), -1) {
				seen[m[1]] = true
				if ofCode[m[1]] == (told{}) && forPrograms[m[1]] == "" {
					t.Errorf("%s: the code %s has no words in errors.go", name, m[1])
				}
			}
		}
	}
	for code := range forPrograms {
		if !seen[code] || ofCode[code] != (told{}) {
			t.Errorf("forPrograms has %s, which no package returns or which has words", code)
		}
	}
}
