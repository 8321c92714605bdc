package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestSignInWithPassword(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		form := g.Open("/account")
		says(t, form, 200, "Sign in to your account")
		if g.session() != nil {
			t.Error("a session before the sign-in")
		}
		// Same words, same status, for an unknown account and a wrong password.
		wrong := g.Fill(form, "username", "ada@acme.example", "password", "not the password")
		unknown := g.Fill(form, "username", "bob@acme.example", "password", "not the password")
		says(t, wrong, 422, "That account or password isn't right.")
		if unknown.Status != wrong.Status || strings.ReplaceAll(unknown.Body, "bob@", "ada@") != wrong.Body {
			t.Errorf("an unknown account is told apart:\n%s\n%s", wrong.Text(), unknown.Text())
		}
		says(t, g.Fill(form, "username", "", "password", ""), 422, "Enter your email or username. Enter your password.")

		// A token that is in the browser before is never promoted.
		g.SetCookie("session", "planted")
		says(t, g.Fill(form, "username", " ADA@acme.example ", "password", password), 200, "Hello, Ada")
		if s := g.session(); s == nil || s["acr"] != "aal1" {
			t.Errorf("the session is %v", s)
		}
		if c := g.Cookie("session"); !strings.HasPrefix(c, "gh_ss_") {
			t.Errorf("the session cookie is %q", c)
		}
		// A session needs no second sign-in; the flow is finished.
		says(t, g.Open("/signin"), 200, "Hello, Ada")
		says(t, g.Open(form.Path), 404, "This sign-in has ended")

		before := g.Cookie("session")
		says(t, g.FillForm(g.Open("/account"), "/account/signout"), 200, "You're signed out")
		if g.session() != nil {
			t.Error("signed out, but there is a session")
		}
		g.SetCookie("session", before)
		if g.session() != nil {
			t.Error("the old token opens a session after signing out")
		}
	})
}

func TestSignInIsRefusedToWhoIsNotActive(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		u := h.person("ada@acme.example")
		g, other := h.guest(), h.guest()
		other.SignIn("ada@acme.example")
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, u.ID, user.Deactivated)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		says(t, g.SignIn("ada@acme.example"), 422, "This account is locked or closed.")
		says(t, g.Fill(g.Open("/signin"), "username", "ada@acme.example", "password", "a wrong one"), 422,
			"That account or password isn't right.")
		if other.session() != nil {
			t.Error("the session of a deactivated user lives on")
		}
	})
}

func TestTooManyTries(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		for _, login := range []string{"ada@acme.example", "nobody@acme.example"} {
			g := h.guest()
			form := g.Open("/signin")
			for range 5 {
				says(t, g.Fill(form, "username", login, "password", "wrong"), 422, "isn't right")
			}
			a := g.Fill(form, "username", login, "password", password)
			says(t, a, 429, "Too many attempts. Wait")
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		h.Clock.Advance(2 * time.Minute)
		says(t, h.guest().SignIn("ada@acme.example"), 200, "Hello")
	})
}

func TestSecondFactor(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		enrol := g.SignIn("ada@acme.example")
		says(t, enrol, 200, "Set up an authenticator app")
		if g.session() != nil {
			t.Fatal("a session before the second factor")
		}
		key := enrol.Find(t, secretRE)
		says(t, g.Fill(enrol, "code", "12345"), 422, "Enter the 6 digits of the code.")
		again := g.Fill(enrol, "code", "000000")
		says(t, again, 422, "That code doesn't match the key.")
		if again.Find(t, secretRE) != key {
			t.Error("the key changes with a wrong code")
		}
		codes := g.Fill(enrol, "code", h.code(key))
		says(t, codes, 200, "Save your recovery codes")
		recovery := codesRE.FindAllStringSubmatch(codes.Body, -1)
		if len(recovery) != credentialCodes {
			t.Fatalf("%d recovery codes", len(recovery))
		}
		if s := g.session(); s == nil || s["acr"] != "aal2" {
			t.Errorf("the session is %v, want two factors", s)
		}
		says(t, g.Open("/account"), 200, "10 recovery codes left")

		// The code that enrolled is used up; the next one is good once.
		next := h.guest()
		ask := next.SignIn("ada@acme.example")
		says(t, ask, 200, "Enter the code from your app")
		says(t, next.Fill(ask, "code", h.code(key)), 422, "That code isn't right or was already used.")
		h.Clock.Advance(31 * time.Second)
		says(t, next.Fill(ask, "code", h.code(key)), 200, "Hello")

		lost := h.guest()
		ask = lost.Open("/signin/recovery?" + strings.SplitN(lost.SignIn("ada@acme.example").Path, "?", 2)[1])
		says(t, ask, 200, "Use a recovery code")
		says(t, lost.Fill(ask, "code", "aaaaa-bbbbb"), 422, "That recovery code isn't right")
		says(t, lost.Fill(ask, "code", strings.ToUpper(recovery[3][1])), 200, "Hello")
		again = h.guest().SignIn("ada@acme.example")
		twice := h.guest()
		ask = twice.Open("/signin/recovery?" + strings.SplitN(twice.SignIn("ada@acme.example").Path, "?", 2)[1])
		says(t, twice.Fill(ask, "code", recovery[3][1]), 422, "That recovery code isn't right or was already used.")
		if twice.session() != nil || !strings.Contains(again.Text(), "Enter the code") {
			t.Error("a used recovery code signs in")
		}
		// Guessing is limited, and right codes no longer count then.
		for range 4 {
			twice.Fill(ask, "code", "aaaaa-bbbbb")
		}
		h.Clock.Advance(40 * time.Second)
		says(t, twice.Fill(ask, "code", recovery[4][1]), 429, "Too many attempts.")
	})
}

const credentialCodes = 10

// No page skips a step: with only the password proved, no address leads to what comes after the
// second factor.
func TestStepsCannotBeSkipped(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.MFA = tenant.MFARequired }, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		flow := g.SignIn("ada@acme.example").Path
		q, _ := url.ParseQuery(strings.SplitN(flow, "?", 2)[1])
		f := url.Values{"flow": {q.Get("flow")}}
		with := func(pairs ...string) url.Values {
			v := url.Values{"flow": f["flow"]}
			for i := 0; i+1 < len(pairs); i += 2 {
				v.Set(pairs[i], pairs[i+1])
			}
			return v
		}
		for path, form := range map[string]url.Values{
			"/signin/totp": with("code", "123456"), "/signin/recovery": with("code", "aaaaa-bbbbb"),
			"/signin/consent":  with("decision", "allow"),
			"/signin/password": with("username", "ada@acme.example", "password", password), "/signout": f,
		} {
			g.Post(path, form)
			if g.session() != nil {
				t.Fatalf("%s ends in a session", path)
			}
		}
		for _, path := range []string{"/account", "/account/authenticator", "/account/sessions", "/account/password"} {
			if a := g.Open(path); strings.HasPrefix(a.Path, path) {
				t.Errorf("%s is shown", path)
			}
		}
		if _, err := h.finish(q.Get("flow"), g.Cookie("browser")); err == nil {
			t.Error("the flow can be finished")
		}
	})
}

func (h *house) finish(flow, browser string) (signin.Flow, error) {
	var f signin.Flow
	i, err := id.Parse(flow)
	if err != nil {
		return f, err
	}
	err = h.Update(ctx, h.c, func(tx *db.Tx) error {
		var err error
		f, err = signin.Finish(ctx, tx, i, browser)
		return err
	})
	return f, err
}

// authorize begins a flow for an application in g's browser, as doors/oidc does. It is credited
// with the session on, if not nil.
func (g *guest) authorize(a application.Application, on *session.Session, change func(*signin.Demand)) string {
	g.h.T.Helper()
	if g.Cookie("browser") == "" {
		g.Open("/signedout")
	}
	demand := signin.Demand{
		Kind: signin.Authorize, Application: a.ID, ReturnTo: "/oauth2/authorize/continue",
		ConsentScopes: []string{"openid", "email", "invoices:read"},
	}
	if change != nil {
		change(&demand)
	}
	s, err := db.Write(ctx, g.h.DB, g.h.c, func(tx *db.Tx) (signin.Standing, error) {
		s, err := g.h.App.SignIn.Begin(ctx, tx, on, demand)
		if err != nil {
			return s, err
		}
		return g.h.App.SignIn.Advance(ctx, tx, s, signin.Browser{Secret: g.Cookie("browser")}, nil)
	})
	if err != nil {
		g.h.T.Fatal(err)
	}
	return s.Flow.ID.String()
}

// sessionOf returns the living session with this id.
func (h *house) sessionOf(i id.ID) *session.Session {
	h.T.Helper()
	s, err := db.Read(ctx, h.DB, h.c, func(tx *db.Tx) (session.Session, error) { return session.Get(ctx, tx, i) })
	if err != nil {
		h.T.Fatal(err)
	}
	return &s
}

func (h *house) application() application.Application {
	var a application.Application
	h.T.Helper()
	if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
		var err error
		a, _, err = application.Create(ctx, tx, application.New{
			Name: "Acme Billing", Type: application.Web, RedirectURIs: []string{"https://billing.example/callback"}, Scopes: []string{"email", "invoices:read"},
		})
		return err
	}); err != nil {
		h.T.Fatal(err)
	}
	return a
}

func TestConsent(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		u := h.person("ada@acme.example")
		app := h.application()
		g := h.guest()
		flow := g.authorize(app, nil, func(n *signin.Demand) { n.LoginHint = "ada@acme.example" })
		form := g.Open("/signin?flow=" + flow)
		says(t, form, 200, "Sign in to Acme Billing")
		if !strings.Contains(form.Body, `value="ada@acme.example"`) {
			t.Error("login_hint is not prefilled")
		}
		if csp := form.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://billing.example;") {
			t.Errorf("the policy is %s", csp)
		}
		ask := g.Fill(form, "username", "ada@acme.example", "password", password)
		says(t, ask, 200, "Allow Acme Billing to use your account?")
		says(t, ask, 200, "See your email address")
		says(t, ask, 200, "Use “invoices:read”")
		if _, err := h.finish(flow, g.Cookie("browser")); err == nil {
			t.Error("finished without consent")
		}
		says(t, g.FillForm(ask, "/signin/consent", "decision", "perhaps"), 422, "Choose whether to allow this.")
		done := g.FillForm(ask, "/signin/consent", "decision", "allow")
		if want := h.url + "/oauth2/authorize/continue?flow=" + flow; done.Location != want {
			t.Errorf("goes to %q, want %q", done.Location, want)
		}
		f, err := h.finish(flow, g.Cookie("browser"))
		if err != nil || f.User != u.ID || f.Denied || f.Session.IsZero() {
			t.Errorf("finished as %+v, %v", f, err)
		}

		// Allowed once: not asked again. Denied: back with a no.
		h.Clock.Advance(time.Minute)
		on := h.sessionOf(f.Session)
		flow = g.authorize(app, on, nil)
		if a := g.Open("/signin?flow=" + flow); a.Location == "" {
			t.Errorf("asked again: %s", a.Text())
		}
		flow = g.authorize(app, on, func(n *signin.Demand) { n.ForceConsent = true })
		ask = g.Open("/signin?flow=" + flow)
		says(t, ask, 200, "Allow Acme Billing")
		if a := g.FillForm(ask, "/signin/consent", "decision", "deny"); a.Location == "" {
			t.Errorf("denied, but: %s", a.Text())
		}
		if f, err := h.finish(flow, g.Cookie("browser")); err != nil || !f.Denied {
			t.Errorf("finished as %+v, %v", f, err)
		}

		// prompt=login: the session proves nothing, but says who it is. "Not you?" starts over.
		flow = g.authorize(app, on, func(n *signin.Demand) { n.Reauthenticate = true })
		ask = g.Open("/signin?flow=" + flow)
		says(t, ask, 200, "ada@acme.example Not you?")
		token := g.Cookie("session")
		if a := g.Fill(ask, "password", password); a.Location == "" {
			t.Errorf("not done: %s", a.Text())
		}
		if g.Cookie("session") == token {
			t.Error("the session's token is not new")
		}
		g2 := g.session()
		if g2 == nil || g2["id"] != f.Session.String() {
			t.Error("the session did not go on under a new token")
		}
		flow = g.authorize(app, on, func(n *signin.Demand) { n.Reauthenticate = true })
		says(t, g.FillForm(g.Open("/signin?flow="+flow), "/signin/forget"), 200, "Email or username")
	})
}

// When another user signs in in the same browser, the earlier session ends.
func TestAnotherPersonInTheSameBrowser(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		bob := h.person("bob@acme.example")
		g := h.guest()
		g.SignIn("ada@acme.example")
		adas := g.Cookie("session")
		app := h.application()
		flow := g.authorize(app, nil, func(n *signin.Demand) { n.Reauthenticate, n.ConsentScopes = true, nil })
		g.Fill(g.Open("/signin?flow="+flow), "username", "bob@acme.example", "password", password)
		if s := g.session(); s == nil || s["user_id"] != bob.ID.String() {
			t.Errorf("the session is %v, want Bob's", s)
		}
		g.SetCookie("session", adas)
		if g.session() != nil {
			t.Error("Ada's session lives on in Bob's browser")
		}
	})
}

func TestSignOutForAnApplication(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		app := h.application()
		g := h.guest()
		g.SignIn("ada@acme.example")
		flow := g.authorize(app, nil, func(n *signin.Demand) {
			n.Kind, n.ReturnTo, n.ConsentScopes = signin.SignOut, "/oauth2/logout/continue", nil
		})
		ask := g.Open("/signout?flow=" + flow)
		says(t, ask, 200, "Acme Billing wants to sign you out")
		if g.session() == nil {
			t.Error("signed out without a confirmation")
		}
		if a := g.FillForm(ask, "/signout"); a.Location != h.url+"/oauth2/logout/continue?flow="+flow {
			t.Errorf("goes to %q", a.Location)
		}
		if g.session() != nil {
			t.Error("confirmed, but still signed in")
		}
		if f, err := h.finish(flow, g.Cookie("browser")); err != nil || !f.SignedOut {
			t.Errorf("finished as %+v, %v", f, err)
		}
	})
}

func TestFlowsBelongToTheirBrowser(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, thief := h.guest(), h.guest()
		path := g.Open("/account").Path
		says(t, thief.Open(path), 404, "This sign-in has ended")
		flow := strings.TrimPrefix(path, "/signin?flow=")
		for _, p := range posts {
			if a := thief.Post(p, url.Values{"flow": {flow}, "username": {"ada@acme.example"}, "password": {password},
				"code": {"123456"}, "decision": {"allow"}, "email": {"a@b.example"}}); a.Status == http.StatusOK &&
				!strings.HasPrefix(a.Path, "/signin?flow=") && !strings.HasPrefix(a.Path, "/signedout") {
				t.Errorf("%s with another browser's flow answers %d at %s: %s", p, a.Status, a.Path, a.Text())
			}
		}
		if thief.session() != nil {
			t.Error("the flow of another browser signs in")
		}
	})
}

// posts are all forms.
var posts = []string{
	"/signin/password", "/signin/totp", "/signin/recovery", "/signin/enrol", "/signin/consent", "/signin/forget",
	"/register", "/register/again",
	"/confirm", "/forgotten", "/reset", "/setup", "/invitation", "/signout", "/account/password",
	"/account/authenticator",
	"/account/authenticator/codes",
	"/account/authenticator/remove", "/account/sessions/revoke", "/account/signout",
}
