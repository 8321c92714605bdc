package pages_test

import (
	"net/http"
	"strings"
	"testing"
)

// repeated is the transport of a browser that has further cookies of each name, from another path
// or domain, and sends them first (RFC 6265 §5.4).
type repeated struct {
	next  http.RoundTripper
	value func(name string) string
}

func (t repeated) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	sent := r.Cookies()
	r.Header.Del("Cookie")
	for _, c := range sent {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: t.value(c.Name)})
	}
	for _, c := range sent {
		r.AddCookie(c)
	}
	return t.next.RoundTrip(r)
}

// Each of several cookies of one name is tried: a sign-in ends with a session, the session holds,
// and so do the choices of language and appearance.
func TestRepeatedCookies(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		old := h.guest()
		old.SignIn("ada@acme.example")
		stale := old.Cookie("session")
		old.FillForm(old.Open("/account"), "/account/signout")
		for name, value := range map[string]func(string) string{
			"of another program": func(string) string { return "nonsense" },
			"of an ended session": func(name string) string {
				if strings.HasSuffix(name, "_session") {
					return stale
				}
				return "nonsense"
			},
		} {
			t.Run(name, func(t *testing.T) {
				g := &guest{h.Browser("acme"), h}
				g.HTTP.Transport = repeated{g.HTTP.Transport, value}
				says(t, g.SignIn("ada@acme.example"), 200, "Hello, Ada")
				g.Open("/account?lang=de&theme=dark")
				a := g.Open("/account")
				says(t, a, 200, "Hallo, Ada")
				if !strings.Contains(a.Body, `data-theme="dark"`) {
					t.Error("the chosen appearance is lost")
				}
				says(t, g.FillForm(a, "/account/signout"), 200, "Sie sind abgemeldet")
				if g.session() != nil {
					t.Error("signed out, but there is a session")
				}
			})
		}
	})
}

// A second tab that was open before the sign-in in the first goes on: by a reload, and by its form.
func TestASecondTabGoesOn(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		second, third := g.Open("/account/sessions"), g.Open("/account/password")
		says(t, g.SignIn("ada@acme.example"), 200, "Hello, Ada")
		says(t, g.Open(second.Path), 200, "Where you are signed in")
		says(t, g.Fill(third, "username", "ada@acme.example", "password", password), 200, "Change password")
	})
}
