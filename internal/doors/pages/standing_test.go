package pages_test

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// enrolled signs login in and sets up an authenticator app on the way, in a browser of its own. It
// returns the app's key.
func (h *house) enrolled(login string) string {
	h.T.Helper()
	g := h.guest()
	page := g.SignIn(login)
	key := page.Find(h.T, secretRE)
	says(h.T, g.Fill(page, "code", h.code(key)), 200, "Save your recovery codes")
	h.Clock.Advance(31 * time.Second) // to the next code
	return key
}

// resets are the ways to replace a forgotten password.
var resets = map[string]func(h *house, u user.User){
	"owner": func(h *house, u user.User) {
		h.Work()
		g := h.guest()
		g.Fill(g.Open("/forgotten"), "email", u.Email)
		link := h.linkIn(h.Work(), u.Email)
		says(h.T, g.Fill(g.Open(link), "password", "another long passphrase"), 200, "Your new password is set.")
	},
	"administrator": func(h *house, u user.User) { // what the management API does
		phc, err := h.App.Hasher.Hash(ctx, "another long passphrase")
		if err != nil {
			h.T.Fatal(err)
		}
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
				return err
			}
			_, err := session.RevokeAll(ctx, tx, u.ID, id.ID{}, "credential reset")
			return err
		}); err != nil {
			h.T.Fatal(err)
		}
	},
}

// What was proved with the old password opens no session after a reset.
func TestResetVoidsProofs(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, func(t *testing.T, h *house) {
		for by, reset := range resets {
			for _, hasApp := range []bool{true, false} {
				login := by + "-without@acme.example"
				if hasApp {
					login = by + "-with@acme.example"
				}
				u, key := h.person(login), ""
				if hasApp {
					key = h.enrolled(login)
				}
				g := h.guest()
				page := g.SignIn(login) // waits for the second factor
				if !hasApp {
					key = page.Find(t, secretRE)
				}
				h.Clock.Advance(time.Second)
				reset(h, u)
				after := g.Fill(page, "code", h.code(key))
				if g.session() != nil || !strings.Contains(after.Body, `type="password"`) {
					t.Errorf("%s: the old password still counts: %d %s", login, after.Status, after.Text())
				}
			}
		}
	})
}

// counting counts the evaluations of the policies.
type counting struct {
	signin.Policies
	n atomic.Int64
}

func (c *counting) Check(ctx context.Context, by caller.Caller, in []*enginev1.CheckInput) (engine.Checked, error) {
	c.n.Add(1)
	return c.Policies.Check(ctx, by, in)
}

// A password POST reads the flow once and evaluates the policies once. Every later step that proves
// nothing new evaluates them once too. A second factor evaluates them before it is used and with
// it.
func TestStepsReadTheFlowOnce(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		key := h.enrolled("ada@acme.example")
		app := h.application()
		policies := &counting{Policies: h.App.SignIn.Policies}
		h.App.SignIn.Policies = policies
		g := h.guest()
		flow := g.authorize(app, nil, nil)
		var reads atomic.Int64
		h.Observe(func(sql string) {
			if strings.HasPrefix(sql, "SELECT") && strings.Contains(sql, "FROM signin_flows") {
				reads.Add(1)
			}
		})
		// step counts the evaluations and the readings of the flow that an answer takes, with the
		// page that it leads to.
		step := func(what string, evaluations, readings int64, do func() world.Answer) world.Answer {
			t.Helper()
			policies.n.Store(0)
			reads.Store(0)
			a := do()
			if e, r := policies.n.Load(), reads.Load(); e != evaluations || r != readings {
				t.Errorf("%s: %d evaluations and %d readings, want %d and %d", what, e, r, evaluations, readings)
			}
			return a
		}
		form := step("page for the password", 0, 1, func() world.Answer { return g.Open("/signin?flow=" + flow) })
		step("wrong password", 0, 1,
			func() world.Answer { return g.Fill(form, "username", "ada@acme.example", "password", "wrong") })
		// The page of the next step evaluates them once more.
		code := step("password and next page", 1+1, 1+1, func() world.Answer {
			return g.Fill(form, "username", "ada@acme.example", "password", password)
		})
		consent := step("code and next page", 2+1, 1+1,
			func() world.Answer { return g.Fill(code, "code", h.code(key)) })
		step("consent", 1, 1, func() world.Answer {
			return g.FillForm(consent, "/signin/consent", "decision", "allow")
		})

		// The same for an account that is known already.
		sid, err := id.Parse(g.session()["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		flow = g.authorize(app, h.sessionOf(sid), func(d *signin.Demand) { d.Reauthenticate = true })
		form = step("page for the password again", 0, 1, func() world.Answer { return g.Open("/signin?flow=" + flow) })
		step("password again and next page", 1+1, 1+1,
			func() world.Answer { return g.Fill(form, "password", password) })
	})
}

// A session from before the authenticator app was set up cannot change the password without a code.
func TestChangingThePasswordNeedsTheSecondFactor(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		early, g := h.guest(), h.guest()
		early.SignIn("ada@acme.example")
		form := early.Open("/account/password")
		g.SignIn("ada@acme.example")
		set := g.Open("/account/authenticator")
		says(t, g.FillForm(set, "/account/authenticator", "code", h.code(set.Find(t, secretRE))), 200,
			"Save your recovery codes")
		after := early.FillForm(form, "/account/password", "current_password", password, "password",
			"another long passphrase")
		says(t, after, 200, "Enter the code from your app")
		// with the password of before
		says(t, h.guest().SignIn("ada@acme.example"), 200, "Enter the code from your app")
	})
}

// A sign-in page that was open in another tab goes on by itself once the person has signed in. It
// does not if the person said that the session is another's.
func TestSecondTabContinues(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		app := h.application()
		g := h.guest()
		flow := g.authorize(app, nil, nil)
		says(t, g.Open("/signin?flow="+flow), 200, "Sign in")
		again := g.authorize(app, nil, func(d *signin.Demand) { d.Reauthenticate = true })
		declined := g.authorize(app, nil, nil)
		g.Post("/signin/forget", url.Values{"flow": {declined}})
		says(t, g.SignIn("ada@acme.example"), 200, "Hello")
		says(t, g.Open("/signin?flow="+flow), 200, "wants to")
		for what, flow := range map[string]string{"prompt=login": again, "declined": declined} {
			if a := g.Open("/signin?flow=" + flow); !strings.Contains(a.Body, `type="password"`) {
				t.Errorf("%s: %d %s", what, a.Status, a.Text())
			}
		}
	})
}

// settings changes the tenant's settings.
func (h *house) settings(change func(*tenant.Settings)) {
	h.T.Helper()
	h.Do(h.c, func(tx *db.Tx) error {
		_, err := tenant.Update(ctx, tx, tenant.Patch{Settings: change})
		return err
	})
}

// A session that has lasted longer than the rules allow for an application proves nothing there.
// The other tabs of its browser ask for the password too.
func TestLimitOfAnApplicationHoldsForAnOldSession(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		app := h.application()
		h.settings(func(s *tenant.Settings) {
			s.SignIn.Sessions = []tenant.SignInLimit{{Applications: []string{app.ID.String()}, MaxSeconds: 60}}
		})
		g := h.guest()
		other := g.authorize(app, nil, nil)
		says(t, g.SignIn("ada@acme.example"), 200, "Hello")
		sid, err := id.Parse(g.session()["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		says(t, g.Open("/signin?flow="+g.authorize(app, h.sessionOf(sid), nil)), 200, "wants to")
		h.Clock.Advance(61 * time.Second)
		for _, flow := range []string{g.authorize(app, h.sessionOf(sid), nil), other} {
			if a := g.Open("/signin?flow=" + flow); !strings.Contains(a.Body, `type="password"`) {
				t.Errorf("after 61 of 60 seconds: %d %s", a.Status, a.Text())
			}
		}
		says(t, g.Open("/account"), 200, "Hello") // the limit is the application's
	})
}

// An open browser is not enough to set up an authenticator app, whichever way leads there.
func TestEnrolmentNeedsARecentPassword(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		app := h.application()
		g := h.guest()
		says(t, g.SignIn("ada@acme.example"), 200, "Hello")
		sid, err := id.Parse(g.session()["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		stepUp := func() world.Answer {
			flow := g.authorize(app, h.sessionOf(sid), func(d *signin.Demand) { d.RequireMFA = true })
			return g.Open("/signin?flow=" + flow)
		}
		page := stepUp()
		key := page.Find(t, secretRE)
		h.Clock.Advance(11 * time.Minute)
		for what, a := range map[string]world.Answer{
			"the page that was open": g.Fill(page, "code", h.code(key)), "a new flow": stepUp(),
			"the account page": g.Open("/account/authenticator"),
		} {
			if !strings.Contains(a.Body, `type="password"`) {
				t.Errorf("%s asks for no password: %d %s", what, a.Status, a.Text())
			}
		}
	})
}
