package pages_test

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// ends returns when g's session ends without another visit.
func (g *guest) ends() time.Time {
	g.h.T.Helper()
	s := g.session()
	if s == nil {
		g.h.T.Fatal("there is no session")
	}
	t, err := time.Parse(time.RFC3339, s["expires_at"].(string))
	if err != nil {
		g.h.T.Fatal(err)
	}
	return t
}

// A session that the tenant's rules limit to 150 seconds lasts 150 seconds in all, whatever its
// person does with it.
func TestChangesDoNotProlongASession(t *testing.T) {
	limit := func(s *tenant.Settings) { s.SignIn.Sessions = []tenant.SignInLimit{{MaxSeconds: 150}} }
	both(t, limit, func(t *testing.T, h *house) {
		for name, change := range map[string]func(g *guest) world.Answer{
			"password": func(g *guest) world.Answer {
				return g.FillForm(g.Open("/account/password"), "/account/password", "current_password", password,
					"password", "another long passphrase")
			},
			"authenticator": func(g *guest) world.Answer {
				form := g.Open("/account/authenticator")
				return g.FillForm(form, "/account/authenticator", "code", h.code(form.Find(t, secretRE)))
			},
		} {
			login := name + "@acme.example"
			h.person(login)
			g := h.guest()
			says(t, g.SignIn(login), 200, "Hello")
			before, token := g.ends(), g.Cookie("session")
			if left := before.Sub(h.Clock.Now()).Round(time.Second); left != 150*time.Second {
				t.Errorf("%s: the session lasts %s", name, left)
			}
			h.Clock.Advance(100 * time.Second)
			if a := change(g); a.Status != 200 || g.Cookie("session") == token {
				t.Fatalf("%s: %d %s", name, a.Status, a.Text())
			}
			if after := g.ends(); after.After(before) {
				t.Errorf("%s: the session ends at %s instead of %s", name, after, before)
			}
		}
	})
}
