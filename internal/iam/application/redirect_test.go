package application

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
)

func TestCheckRedirectURI(t *testing.T) {
	for _, tc := range []struct {
		t   Type
		uri string
		ok  bool
	}{
		{Web, "https://app.example.com/callback", true},
		{Web, "https://app.example.com/callback?a=b", true},
		{Web, "https://app.example.com", true},
		{Web, "http://127.0.0.1/callback", true},
		{Web, "http://127.0.0.1:8080/callback", true},
		{Web, "http://[::1]:8080/callback", true},
		{Web, "", false},
		{Web, "/callback", false},
		{Web, "app.example.com/callback", false},
		{Web, "https://app.example.com/callback#", false},
		{Web, "https://app.example.com/callback#x", false},
		{Web, "https://*.example.com/callback", false},
		{Web, "https://app.example.com/*", false},
		{Web, "https:///callback", false},
		{Web, "https:app.example.com", false},
		{Web, "https://user:pass@app.example.com/", false},
		{Web, "https://app.example.com/a b", false},
		{Web, "https://app.example.com/é", false},
		{Web, "https://app.example.com/\x00", false},
		{Web, "https://app.example.com\\@evil.test/", false},
		{Web, "https://app.example.com:99999x/", false},
		{Web, "http://app.example.com/callback", false},
		{Web, "http://localhost/callback", true},
		{SPA, "http://localhost:5173/callback", true},
		{Native, "http://localhost:8000", true},
		{Web, "http://LOCALHOST/callback", false},
		{Web, "http://localhost./callback", false},
		{Web, "http://localhost.evil.test/callback", false},
		{Web, "http://app.localhost/callback", false},
		{Web, "http://127.0.0.1.evil.test/callback", false},
		{Web, "http://192.168.1.1/callback", false},
		{Web, "com.example.app:/callback", false},
		{Web, "javascript:alert(1)", false},
		{Native, "com.example.app:/callback", true},
		{Native, "com.example.app://callback", true},
		{Native, "javascript:alert(1)", false},
		{Native, "data:text/html,x", false},
		{Native, "myapp://callback", false},
		{SPA, "com.example.app:/callback", false},
		{Web, "https://app.example.com/" + strings.Repeat("a", 2000), false},
	} {
		if reason := checkRedirectURI(tc.t, tc.uri); (reason == "") != tc.ok {
			t.Errorf("%s %q: %q, want ok %v", tc.t, tc.uri, reason, tc.ok)
		}
	}
}

func TestMatchesRedirect(t *testing.T) {
	a := &Application{RedirectURIs: []string{
		"https://app.example.com/callback", "http://127.0.0.1/cb", "http://[::1]:8080/cb?x=1", "com.example.app:/cb",
		"http://localhost:8000/cb", "https://localhost:8443/cb",
		"http://app.example.com/cb", // could not be registered; its port would be fixed all the same
	}}
	for uri, want := range map[string]bool{
		"https://app.example.com/callback":      true,
		"https://app.example.com:443/callback":  false,
		"https://app.example.com/callback/":     false,
		"https://app.example.com/Callback":      false,
		"https://APP.example.com/callback":      false,
		"https://app.example.com/callback?x=1":  false,
		"https://app.example.com/callback#x":    false,
		"https://app.example.com/a/../callback": false,
		"https://app.example.com/%63allback":    false,
		"http://127.0.0.1/cb":                   true,
		"http://127.0.0.1:1234/cb":              true,
		"http://127.0.0.1:/cb":                  false,
		"http://127.0.0.1:1234/cb/":             false,
		"http://127.0.0.1:1234/cb?":             false,
		"http://127.0.0.1:1234/cb#":             false,
		"http://127.0.0.2:1234/cb":              false,
		"http://127.0.0.1@evil.test/cb":         false,
		"http://127.0.0.1:1@evil.test/cb":       false,
		"http://127.0.0.1:99x/cb":               false,
		"http://127.0.0.1.evil.test/cb":         false,
		"https://127.0.0.1/cb":                  false,
		"http://localhost/cb":                   true,
		"http://localhost:18000/cb":             true,
		"http://localhost:18000/cb?x":           false,
		"http://localhost:/cb":                  false,
		"http://LOCALHOST:8000/cb":              false,
		"http://localhost.evil.test:8000/cb":    false,
		"http://localhost@evil.test/cb":         false,
		"http://localhost:8000@evil.test/cb":    false,
		"http://localhost:8000#@evil.test/cb":   false,
		"http://localhost\\@evil.test/cb":       false,
		"https://localhost:8443/cb":             true,
		"https://localhost:8444/cb":             false,
		"http://[::1]/cb?x=1":                   true,
		"http://[::1]:9/cb?x=1":                 true,
		"http://[::1]:9/cb":                     false,
		"http://[0:0:0:0:0:0:0:1]:9/cb?x=1":     false,
		"http://app.example.com:81/cb":          false,
		"com.example.app:/cb":                   true,
		"com.example.app:/cb2":                  false,
		"":                                      false,
	} {
		if got := a.MatchesRedirect(uri); got != want {
			t.Errorf("%q: %v, want %v", uri, got, want)
		}
	}
}

// An address with localhost is accepted, and the answer says what is better.
func TestLocalhostHasAWarning(t *testing.T) {
	a := &Application{
		RedirectURIs:           []string{"https://localhost:8443/cb", "http://127.0.0.1/cb", "http://localhost:8000/cb"},
		PostLogoutRedirectURIs: []string{"http://localhost/out"},
	}
	var got []string
	for _, w := range a.warnings() {
		got = append(got, w.Code+" "+w.Name)
		if w.Reason == "" {
			t.Errorf("%s has no sentence", w.Name)
		}
	}
	want := "application.localhost redirect_uris[2], application.localhost post_logout_redirect_uris[0]"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("warnings: %s, want %s", s, want)
	}
	if len(view(*a, "").Warnings) != 2 {
		t.Error("the management API does not show them")
	}
	if c := audit.Changed(nil, a.fields()); c.Has("warnings") {
		t.Errorf("the audit log keeps them: %v", c)
	}
}

func FuzzMatchesRedirect(f *testing.F) {
	f.Add("http://127.0.0.1:4711/cb", "http://127.0.0.1/cb")
	f.Add("http://[::1]:1/cb?x#y", "http://[::1]/cb?x")
	f.Add("https://a.b/\\c", "https://a.b/c")
	f.Add("http://localhost:1/cb", "http://localhost/cb")
	f.Fuzz(func(t *testing.T, uri, registered string) {
		if checkRedirectURI(Native, registered) != "" {
			return
		}
		a := &Application{RedirectURIs: []string{registered}}
		if !a.MatchesRedirect(uri) || uri == registered {
			return
		}
		// What differs may only be the port of a loopback address, and it must be acceptable
		// itself.
		if reason := checkRedirectURI(Native, uri); reason != "" {
			t.Errorf("%q matches %q but could not be registered: %s", uri, registered, reason)
		}
		if withoutPort(uri) != withoutPort(registered) {
			t.Errorf("%q matches %q", uri, registered)
		}
	})
}

func TestOtherSpelling(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example": "https://a.example/", "https://a.example/": "https://a.example",
		"http://[::1]:8000": "http://[::1]:8000/", "https://a.example/x": "https://a.example/x",
		"https://a.example/x/": "https://a.example/x/", "https://a.example?q": "https://a.example?q",
		"urn:example:a": "urn:example:a", "com.example.app:/": "com.example.app:/", "": "",
	} {
		if got := OtherSpelling(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
