package pages_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
)

// wide returns s in full-width characters, as an input method for Chinese or Japanese types it.
func wide(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' {
			return r - '!' + '\uff01'
		}
		return r
	}, s)
}

// pastes are what chat programs, web pages and keyboards make of a text.
var pastes = map[string]func(string) string{
	"zero-width space": func(s string) string { return "\u200b" + s + "\u200b" },
	"joiner":           func(s string) string { return s + "\u200d" },
	"byte order mark":  func(s string) string { return "\ufeff" + s },
	"no-break space":   func(s string) string { return "\u00a0" + s + "\u00a0" },
	"soft hyphen":      func(s string) string { return s[:3] + "\u00ad" + s[3:] },
	"direction marks":  func(s string) string { return "\u202a" + s + "\u202c" },
	"full width":       wide,
}

// codePastes are what separates the characters of a code besides.
var codePastes = map[string]func(string) string{
	"hyphen":            func(s string) string { return s[:3] + "-" + s[3:] },
	"dash":              func(s string) string { return s[:3] + "\u2013" + s[3:] },
	"thin space":        func(s string) string { return s[:3] + "\u2009" + s[3:] },
	"single characters": func(s string) string { return strings.Join(strings.Split(s, ""), " ") },
}

func TestPastedLogins(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		for name, paste := range pastes {
			t.Run(name, func(t *testing.T) {
				g := h.guest()
				says(t, g.Fill(g.Open("/signin"), "username", paste("ada@acme.example"), "password", password), 200,
					"Hello, Ada")
				g = h.guest()
				says(t, g.Fill(g.Open("/forgotten"), "email", paste("ada@acme.example")), 200, "Check your email")
			})
		}
	})
}

func TestPastedCodes(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		first := h.guest()
		enrol := first.SignIn("ada@acme.example")
		key := secretRE.FindStringSubmatch(enrol.Body)[1]
		codes := codesRE.FindAllStringSubmatch(first.Fill(enrol, "code", wide(h.code(key))).Body, -1)
		if len(codes) == 0 {
			t.Fatal("a pasted code did not end the set-up")
		}
		all := map[string]func(string) string{}
		for _, set := range []map[string]func(string) string{pastes, codePastes} {
			for name, paste := range set {
				all[name] = paste
			}
		}
		for name, paste := range all {
			t.Run(name, func(t *testing.T) {
				h.Clock.Advance(31 * time.Second) // a code works once
				g := h.guest()
				says(t, g.Fill(g.SignIn("ada@acme.example"), "code", paste(h.code(key))), 200, "Hello, Ada")
			})
		}
		for i, name := range []string{"zero-width space", "no-break space", "full width", "dash", "single characters"} {
			t.Run("recovery code with "+name, func(t *testing.T) {
				g := h.guest()
				step := g.SignIn("ada@acme.example")
				form := g.Open("/signin/recovery?flow=" + flowRE.FindStringSubmatch(step.Body)[1])
				says(t, g.Fill(form, "code", all[name](codes[i][1])), 200, "Hello, Ada")
			})
		}
	})
}

// TestATypedNameKeepsItsJoiners: only what cannot be seen around a name is removed.
func TestATypedNameKeepsItsJoiners(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.Registration, s.VerifyEmail = true, false }, func(t *testing.T, h *house) {
		g := h.guest()
		a := g.Fill(g.Open("/register"), "email", "ada@acme.example", "given_name", "\u200b\u0628\u200c\u0647\u00a0",
			"family_name", "\u200b", "password", password)
		if !regexp.MustCompile(`value="\x{0628}\x{200c}\x{0647}"`).MatchString(a.Body) {
			t.Errorf("the name is shown changed: %s", a.Body)
		}
		if strings.Count(a.Body, `aria-invalid="true"`) != 1 {
			t.Error("a name of nothing but a zero-width space is a name")
		}
	})
}
