package user

import (
	"slices"
	"strings"
	"testing"
)

func TestEmailKey(t *testing.T) {
	for email, want := range map[string]string{
		"Ada@Example.COM":           "ada@example.com",
		"ada+tag@example.com":       "ada+tag@example.com",
		"o'brien@example.com":       "o'brien@example.com",
		"root@localhost":            "root@localhost",
		"a@xn--bcher-kva.example":   "a@xn--bcher-kva.example",
		"":                          "",
		"ada":                       "",
		"@example.com":              "",
		"ada@":                      "",
		"ada@exam ple.com":          "",
		"a da@example.com":          "",
		"ada@example..com":          "",
		"ada@-example.com":          "",
		".ada@example.com":          "",
		"ada.@example.com":          "",
		"a..da@example.com":         "",
		"ada@b@example.com":         "",
		"\"a b\"@example.com":       "",
		"ada@example.com\r\nBcc: x": "",
		"ada@example.com\x00":       "",
		"ada,bob@example.com":       "",
		"ada<bob@example.com>":      "",
		"mıke@example.com":          "", // the dotless i that upper-cases to I
		"ada@BÜCHER.example":        "ada@xn--bcher-kva.example",
		"ada@bu\u0308cher.example":  "ada@xn--bcher-kva.example",
		"ada@XN--bcher-KVA.example": "ada@xn--bcher-kva.example",
		"ada@日本。example":            "ada@xn--wgv71a.example",
		"ada@straße.example":        "ada@xn--strae-oqa.example", // not strasse
		"ＡＤＡ＠ｅｘａｍｐｌｅ．ｃｏｍ":                           "ada@example.com",
		"\u200bada@exam\u00adple.com\u2060\u00a0":   "ada@example.com",
		"\ufeff ada@bücher.example \u200d":          "ada@xn--bcher-kva.example",
		"adá@example.com":                           "",
		"ada@bü cher.example":                       "",
		"ada@bü_cher.example":                       "",
		"ada@" + strings.Repeat("ü", 64) + ".com":   "",
		strings.Repeat("a", 65) + "@example.com":    "",
		"a@" + strings.Repeat("a", 64) + ".com":     "",
		"a@" + strings.Repeat("a.", 200) + "com":    "",
		strings.Repeat("a", 1<<20) + "@example.com": "",
	} {
		got, ok := EmailKey(email)
		if got != want || ok != (want != "") {
			t.Errorf("%.40q: %q %v, want %q", email, got, ok, want)
		}
	}
}

func TestUsernameKey(t *testing.T) {
	for name, want := range map[string]string{
		"Ada":                      "ada",
		"ADA-99_x.y":               "ada-99_x.y",
		"Zoë":                      "zoë",
		"Zoe\u0308":                "zoë",
		"ＡＤＡ":                      "ada", // full-width
		"":                         "",
		"a da":                     "",
		"ada@example.com":          "",
		"ada＠x":                    "",
		"a\x00b":                   "",
		"a\u202eb":                 "ab",
		"\u200bada\ufeff":          "ada",
		"a\u200dda\u00a0":          "ada", // no joiner belongs there
		"\u0628\u200c\u0647":       "\u0628\u200c\u0647",
		"\xff":                     "",
		strings.Repeat("a", 65):    "",
		strings.Repeat("a", 1<<20): "",
	} {
		_, got, ok := parseUsername(name)
		if got != want || ok != (want != "") {
			t.Errorf("%.40q: %q %v, want %q", name, got, ok, want)
		}
	}
}

// TestStoredAddressesKeepTheirKeys: addresses were always stored in ASCII. Each has the key that it
// always had, so no row needs a new one.
func TestStoredAddressesKeepTheirKeys(t *testing.T) {
	atoms := []string{"a", "Ada", "o'brien", "a.b+c", "xn--", "{|}~", "_", "A-"}
	domains := []string{"localhost", "Example.COM", "xn--bcher-kva.example", "XN--BCHER-KVA.example", "xn--a.example",
		"a--b.example", "127.0.0.1", "1.2", strings.Repeat("a", 63) + ".example"}
	for _, local := range atoms {
		for _, domain := range domains {
			if key, ok := EmailKey(local + "@" + domain); !ok || key != strings.ToLower(local+"@"+domain) {
				t.Errorf("%s@%s has the key %q, %v", local, domain, key, ok)
			}
		}
	}
}

func TestTerms(t *testing.T) {
	got := (&Profile{Email: "Ada@Example.com", Username: "countess", GivenName: "Ada Åsa",
		FamilyName: "King-Noël"}).terms()
	want := []string{"ada@example.com", "countess", "example.com", "ada asa king-noel", "king-noel", "ada", "asa",
		"king", "noel"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := len((&Profile{GivenName: strings.Repeat("a b c d e f g h ", 8)}).terms()); n > maxTerms {
		t.Errorf("%d terms", n)
	}
}

// FuzzLogin: whatever is given, the keys are stable (a key's key is itself) and
// the two kinds of login cannot be confused.
func FuzzLogin(f *testing.F) {
	for _, s := range []string{"Ada@Example.com", "ada", "ＡＤＡ", "Zoe\u0308", "a@b", "\xff", "ﬁ", "ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, okE := EmailKey(s)
		if again, ok := EmailKey(e); okE && (!ok || again != e) {
			t.Errorf("email %q: key %q has key %q", s, e, again)
		}
		_, u, okU := parseUsername(s)
		if _, again, ok := parseUsername(u); okU && (!ok || again != u) {
			t.Errorf("username %q: key %q has key %q", s, u, again)
		}
		if okE && okU {
			t.Errorf("%q is both an email address and a username", s)
		}
		fold(s)
	})
}
