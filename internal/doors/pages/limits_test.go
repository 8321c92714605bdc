package pages_test

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
)

// ends is when g's session ends if nobody comes back.
func (g *guest) ends() time.Time {
	g.h.t.Helper()
	s := g.session()
	if s == nil {
		g.h.t.Fatal("there is no session")
	}
	t, err := time.Parse(time.RFC3339, s["expires_at"].(string))
	if err != nil {
		g.h.t.Fatal(err)
	}
	return t
}

// A session that the tenant's rules limit to 150 seconds lasts 150 seconds in all, whatever its
// person does with it.
func TestChangesDoNotProlongASession(t *testing.T) {
	limit := func(s *tenant.Settings) { s.SignIn.Sessions = []tenant.SignInLimit{{MaxSeconds: 150}} }
	both(t, limit, func(t *testing.T, h *house) {
		for name, change := range map[string]func(g *guest) answer{
			"password": func(g *guest) answer {
				return g.fillForm(g.get("/account/password"), "/account/password", "current_password", password, "password", "another long passphrase")
			},
			"authenticator": func(g *guest) answer {
				form := g.get("/account/authenticator")
				return g.fillForm(form, "/account/authenticator", "code", h.code(find(t, secretRE, form)))
			},
		} {
			login := name + "@acme.example"
			h.person(login)
			g := h.guest()
			says(t, g.signIn(login), 200, "Hello")
			before, token := g.ends(), g.cookie("session")
			if left := before.Sub(h.Clock.Now()).Round(time.Second); left != 150*time.Second {
				t.Errorf("%s: the session lasts %s", name, left)
			}
			h.Clock.Advance(100 * time.Second)
			if a := change(g); a.status != 200 || g.cookie("session") == token {
				t.Fatalf("%s: %d %s", name, a.status, a.text())
			}
			if after := g.ends(); after.After(before) {
				t.Errorf("%s: the session ends at %s instead of %s", name, after, before)
			}
		}
	})
}
