package application_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// Front-Channel Logout §2: the page belongs to an origin that the application has registered.
func TestFrontchannelLogoutURI(t *testing.T) {
	check := func(typ application.Type, uri string, session bool) string {
		n := application.New{Name: "App", ClientID: "app", Type: typ,
			RedirectURIs: []string{"https://app.example.com/cb", "http://127.0.0.1:3000/cb", "http://[::1]/cb",
				"https://app.example.com:8443/cb"},
			FrontchannelLogout: application.FrontchannelLogout{URI: uri, Session: session}}
		if typ == application.Machine {
			n.RedirectURIs = nil
		}
		if err := n.Check(); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, uri := range []string{"", "https://app.example.com/out?x=1", "https://APP.example.com:443/",
		"https://app.example.com:8443/", "http://127.0.0.1:3000/out"} {
		if reason := check(application.Web, uri, uri != ""); reason != "" {
			t.Errorf("%q is refused: %s", uri, reason)
		}
	}
	for _, uri := range []string{"https://other.example.com/", "http://app.example.com/", "https://app.example.com:444/",
		"http://127.0.0.1:3001/", "http://[::1]/out", "com.example.app:/out", "javascript:alert(1)",
		"https://app.example.com/#x", "https://app.example.com@evil.example/", "https://app.example.com/\"><x", "/out",
		"https://app.example.com/" + strings.Repeat("x", 2000)} {
		if check(application.Web, uri, false) == "" {
			t.Errorf("%q is accepted", uri)
		}
	}
	if check(application.Machine, "https://app.example.com/out", false) == "" || check(application.Web, "", true) == "" {
		t.Error("a machine, or a session without an address, is accepted")
	}
}

func TestOriginOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://App.example.com/x": "https://app.example.com", "https://app.example.com:443": "https://app.example.com",
		"http://localhost:80/": "http://localhost", "http://localhost:8080/": "http://localhost:8080",
		"http://[::1]:80/": "http://[::1]", "http://[::1]:8080/": "http://[::1]:8080", "https://a.example:/": "https://a.example",
		"com.example:/x": "", "https://a;b.example/": "", "https:///x": "", "%": "",
	} {
		if got := application.OriginOf(address); got != want {
			t.Errorf("OriginOf(%q) = %q, want %q", address, got, want)
		}
	}
}

// Front-Channel Logout §3: iss and sid are in the address once, whatever the URI has.
func TestTheAddressOfAFrame(t *testing.T) {
	const added = "iss=https%3A%2F%2Fid.example.com&sid=s"
	for uri, want := range map[string]string{
		"https://app.example.com/out":                              "https://app.example.com/out?" + added,
		"https://app.example.com/out?":                             "https://app.example.com/out?" + added,
		"https://app.example.com/out?b=2&a=%20":                    "https://app.example.com/out?b=2&a=%20&" + added,
		"https://app.example.com/out?iss=x&a=1&sid=y&s%69d&issue=": "https://app.example.com/out?a=1&issue=&" + added,
	} {
		if got := (application.FrontchannelLogout{URI: uri, Session: true}).Address("https://id.example.com", "s"); got != want {
			t.Errorf("%s becomes %s", uri, got)
		}
		if got := (application.FrontchannelLogout{URI: uri}).Address("https://id.example.com", "s"); got != uri {
			t.Errorf("%s becomes %s without a session", uri, got)
		}
	}
}
