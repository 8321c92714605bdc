package pages_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

func (h *house) give(u id.ID, name string) {
	h.T.Helper()
	if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
		return role.Assign(ctx, tx, role.Everything(), role.OfUser(u), name, time.Time{})
	}); err != nil {
		h.T.Fatal(err)
	}
}

// refusals are the events of refused sign-ins, newest first.
func (h *house) refusals() []audit.Record {
	var out []audit.Record
	h.T.Helper()
	if err := h.View(ctx, h.c, func(tx *db.Tx) error {
		l, err := audit.List(ctx, tx, audit.Filter{Action: "signin.refuse"}, page.First())
		out = l.Items
		return err
	}); err != nil {
		h.T.Fatal(err)
	}
	return out
}

// blocking blocks auditors, and developers from networks that are not known.
func blocking(s *tenant.Settings) {
	s.SignIn = tenant.SignIn{
		KnownNetworks: []string{"127.0.0.0/8", "::1/128"},
		Block: []tenant.SignInBlock{
			{Roles: []string{role.Auditor}},
			{Roles: []string{role.Developer}, Network: "unknown"},
		},
	}
}

func TestWhoMayNotSignIn(t *testing.T) {
	both(t, blocking, func(t *testing.T, h *house) {
		ada, carl, ines, dora := h.person("ada@acme.example"), h.person("carl@acme.example"),
			h.person("ines@acme.example"), h.person("dora@acme.example")
		h.give(carl.ID, role.Auditor)
		h.give(dora.ID, role.Developer)
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			g, err := group.Create(ctx, tx, group.Profile{Name: "Interns"})
			if err != nil {
				return err
			}
			if _, err := tenant.Update(ctx, tx, tenant.Patch{Settings: func(s *tenant.Settings) {
				s.SignIn.Block = append(s.SignIn.Block, tenant.SignInBlock{Groups: []string{g.ID.String()},
					Applications: []string{tenant.AccountPages}})
			}}); err != nil {
				return err
			}
			return group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g.ID, ines.ID)
		}); err != nil {
			t.Fatal(err)
		}
		says(t, h.guest().SignIn("ada@acme.example"), 200, "Hello")
		says(t, h.guest().SignIn("dora@acme.example"), 200, "Hello") // 127.0.0.1 is known
		app := h.application()

		g := h.guest()
		wrong := g.Fill(g.Open("/account"), "username", "carl@acme.example", "password", "wrong horse")
		if strings.Contains(wrong.Text(), "doesn't allow") {
			t.Error("a stranger who guesses is told that the account may not sign in")
		}
		says(t, g.SignIn("carl@acme.example"), 403, "doesn't allow this sign-in")
		if g.session() != nil {
			t.Error("refused, but signed in")
		}
		says(t, g.Open("/account"), 200, "Sign in")

		// From an application, with the way back.
		h.Clock.Advance(time.Second)
		flow := g.authorize(app, nil, nil)
		refused := g.Fill(g.Open("/signin?flow="+flow), "username", "carl@acme.example", "password", password)
		says(t, refused, 403, "You can't sign in to Acme Billing")
		events := h.refusals()
		if len(events) != 3 { // a wrong password, and two refusals
			t.Fatalf("%d refusals are recorded", len(events))
		}
		says(t, g.Open("/signin?flow="+flow), 403, "You can't sign in to Acme Billing")
		for _, path := range []string{"/signin/consent", "/signin/totp", "/signin/enrol"} {
			if a := g.Post(path, map[string][]string{"flow": {flow}, "decision": {"allow"},
				"code": {"123456"}}); g.session() != nil || a.Location != "" {
				t.Errorf("%s leads on", path)
			}
		}
		if n := len(h.refusals()); n != 3 {
			t.Errorf("%d refusals are recorded after looking again", n)
		}
		if e := events[0]; e.Target.ID != carl.ID.String() || e.Outcome != audit.Refused ||
			!strings.Contains(string(e.Detail), `"reason":"policy"`) ||
			!strings.Contains(string(e.Detail), app.ID.String()) {
			t.Errorf("recorded: %+v %s", e, e.Detail)
		}
		if _, err := h.finish(flow, g.Cookie("browser")); err == nil {
			t.Error("a refused sign-in is finished")
		}
		if a := g.FillForm(refused, "/signin/leave"); a.Location != h.url+"/oauth2/authorize/continue?flow="+flow {
			t.Errorf("back to the application: %d %s", a.Status, a.Location)
		}
		if f, err := h.finish(flow, g.Cookie("browser")); err != nil || !f.Denied || !f.Refused || !f.Session.IsZero() {
			t.Errorf("finished as %+v, %v", f, err)
		}

		// Another user in the same browser may enter.
		flow = g.authorize(app, nil, nil)
		refused = g.Fill(g.Open("/signin?flow="+flow), "username", "carl@acme.example", "password", password)
		again := g.FillForm(refused, "/signin/forget")
		says(t, again, 200, "Sign in to Acme Billing")
		says(t, g.Fill(again, "username", "ada@acme.example", "password", password), 200, "Allow Acme Billing")

		// By group, and only at the account pages.
		says(t, h.guest().SignIn("ines@acme.example"), 403, "You can't sign in here")
		g = h.guest()
		flow = g.authorize(app, nil, nil)
		says(t, g.Fill(g.Open("/signin?flow="+flow), "username", "ines@acme.example", "password", password), 200,
			"Allow Acme Billing")

		// A session from before counts no more for who may not enter; that is recorded too.
		g = h.guest()
		says(t, g.SignIn("ada@acme.example"), 200, "Hello")
		s, err := id.Parse(g.session()["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		h.give(ada.ID, role.Auditor)
		h.Clock.Advance(time.Second)
		before := len(h.refusals())
		flow = g.authorize(app, h.sessionOf(s), nil)
		for range 2 {
			says(t, g.Open("/signin?flow="+flow), 403, "You can't sign in to Acme Billing")
		}
		if n := len(h.refusals()) - before; n != 1 {
			t.Errorf("%d refusals are recorded, want 1", n)
		}

		h.App.Decisions.Close() // writes what waits
		if err := h.View(ctx, h.c, func(tx *db.Tx) error {
			l, err := decision.List(ctx, tx, decision.Filter{}, page.First())
			n := 0
			for _, d := range l.Items {
				if d.Kind == decision.SignIn {
					n++
				}
			}
			if n < 8 {
				t.Errorf("%d decisions are recorded", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Who needs a second factor, and who may set one up where.
func TestWhoNeedsASecondFactor(t *testing.T) {
	for name, tt := range map[string]struct {
		set         func(*tenant.Settings)
		user, admin string // what comes after the password
	}{
		"nobody": {nil, "Hello", "Hello"},
		"everybody": {func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, "Set up an authenticator app",
			"Set up an authenticator app"},
		"administrators": {func(s *tenant.Settings) { s.SignIn.SecondFactor = []string{tenant.SecondFactorAdmins} },
			"Hello", "Set up an authenticator app"},
		"from known networks": {func(s *tenant.Settings) {
			s.SignIn = tenant.SignIn{KnownNetworks: []string{"127.0.0.0/8", "::1/128"},
				SecondFactor: []string{tenant.SecondFactorUnknownNetworks}}
		}, "Hello", "Hello"},
		"from unknown networks": {func(s *tenant.Settings) {
			s.SignIn = tenant.SignIn{KnownNetworks: []string{"192.0.2.0/24"},
				SecondFactor: []string{tenant.SecondFactorUnknownNetworks}}
		}, "This network requires two-step sign-in", "This network requires two-step sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, tt.set, func(t *testing.T, h *house) {
				h.person("ada@acme.example")
				h.give(h.person("anna@acme.example").ID, role.UserManager)
				for login, want := range map[string]string{"ada@acme.example": tt.user, "anna@acme.example": tt.admin} {
					g := h.guest()
					if a := g.SignIn(login); !strings.Contains(a.Text(), want) {
						t.Errorf("%s: %d %s, want %q", login, a.Status, a.Text(), want)
					}
					if (g.session() != nil) != (want == "Hello") {
						t.Errorf("%s: session %v", login, g.session())
					}
				}
			})
		})
	}
}

// The shortest limit that applies is how long the session lasts.
func TestHowLongASessionLasts(t *testing.T) {
	both(t, func(s *tenant.Settings) {
		s.SessionIdleSeconds, s.SessionMaxSeconds = 2*60*60, 10*60*60
		s.SignIn = tenant.SignIn{KnownNetworks: []string{"192.0.2.0/24"}, Sessions: []tenant.SignInLimit{
			{Roles: []string{role.UserManager}, MaxSeconds: 1800, IdleSeconds: 3600},
			{Roles: []string{role.UserManager}, MaxSeconds: 7200},
			{Network: "known", MaxSeconds: 60},
			{Network: "unknown", MaxSeconds: 360000, IdleSeconds: 5400},
		}}
	}, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		h.give(h.person("anna@acme.example").ID, role.UserManager)
		for login, want := range map[string]time.Duration{"ada@acme.example": 90 * time.Minute,
			"anna@acme.example": 30 * time.Minute} {
			g := h.guest()
			says(t, g.SignIn(login), 200, "Hello")
			ends, err := time.Parse(time.RFC3339, g.session()["expires_at"].(string))
			if got := ends.Sub(h.Clock.Now()); err != nil || got.Round(time.Second) != want {
				t.Errorf("%s: the session lasts %v, want %v (%v)", login, got, want, err)
			}
		}
	})
}
