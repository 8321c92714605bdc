package pages_test

import (
	"net/http"
	"strings"
	"testing"
)

// The window that opened a page of an authorization flow in a popup keeps its hold of it until the
// popup is back at the application. All other pages are cut off from theirs, and no page is framed.
func TestPopupsStayReachable(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		app := h.application()
		g := h.guest()
		flow := g.authorize(app, nil, nil)
		check := func(path string, header http.Header, inFlow bool) {
			t.Helper()
			want := "same-origin"
			if inFlow {
				want = ""
			}
			if got := header.Get("Cross-Origin-Opener-Policy"); got != want {
				t.Errorf("%s has Cross-Origin-Opener-Policy %q, want %q", path, got, want)
			}
			if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") &&
				header.Get("Location") == "" {
				t.Errorf("%s may be framed: %s", path, csp)
			}
		}
		for _, path := range []string{"/signin?flow=" + flow, "/signin?flow=x", "/register?flow=" + flow,
			"/forgotten?flow=" + flow, "/signedout", "/oauth2/authorize?client_id=x",
			"/oauth2/logout?client_id=x&a=1&a=2"} {
			check(path, g.Open(path).Header, true)
		}
		ask := g.Fill(g.Open("/signin?flow="+flow), "username", "ada@acme.example", "password", password)
		check("consent", ask.Header, true)
		check("its end", g.FillForm(ask, "/signin/consent", "decision", "allow").Header, true)
		for _, path := range []string{"/account", "/account/sessions?flow=" + flow, "/account/password", "/nowhere",
			"/confirm?token=x", "/reset?token=x", "/setup?token=x", "/invitation?token=x"} {
			check(path, g.Open(path).Header, false)
		}
	})
}
