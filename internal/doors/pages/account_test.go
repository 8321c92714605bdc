package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

func open(s *tenant.Settings) { s.Registration, s.VerifyEmail = true, true }

func registration(email string) []string {
	return []string{"email", email, "given_name", "Ada", "family_name", "Lovelace", "password", password}
}

func TestRegister(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		h.person("old@acme.example")
		g, other := h.guest(), h.guest()
		fresh := g.Fill(g.Open("/register"), registration("ada@acme.example")...)
		says(t, fresh, 200, "We sent an email to ada@acme.example")
		link := h.linkIn(h.Work(), "ada@acme.example")
		taken := other.Fill(other.Open("/register"), registration("old@acme.example")...)
		if a, b := strings.ReplaceAll(taken.Text(), "old@", "ada@"), fresh.Text(); a != b ||
			taken.Status != fresh.Status {
			t.Errorf("a taken address is told apart:\n%s\n%s", a, b)
		}
		sent := h.Work()
		if len(sent) != 1 || sent[0].To != "old@acme.example" || !strings.Contains(sent[0].Subject, "has an account") {
			t.Errorf("the owner of the address is not told: %+v", sent)
		}
		// Registered is not signed in, and the password alone is not enough.
		if g.session() != nil {
			t.Fatal("signed in without confirming")
		}
		says(t, h.guest().SignIn("ada@acme.example"), 200, "Check your email")

		// Opening the link confirms nothing; in another browser the password is asked.
		elsewhere := h.guest()
		says(t, elsewhere.Open(link), 200, "Confirm your address")
		ask := elsewhere.Open(link)
		says(t, elsewhere.Fill(ask, "password", "something else entirely"), 422,
			"That isn't the password of this account.")
		says(t, elsewhere.Fill(ask), 422, "Enter your password.")
		// Nor does a flow of that browser's own stand in for the password.
		own := strings.TrimPrefix(elsewhere.Open("/forgotten").Path, "/forgotten")
		token, _, _ := strings.Cut(link, "&")
		says(t, elsewhere.Open(token+"&"+own[1:]), 200, "The password you chose when you registered.")
		says(t, elsewhere.Post("/confirm",
			url.Values{"token": {strings.TrimPrefix(token, "/confirm?token=")}, "flow": {own[len("?flow="):]}}), 422,
			"Enter your password.")
		if elsewhere.session() != nil {
			t.Fatal("a link alone signs in")
		}
		// In the browser that registered, one button; nothing is asked twice.
		ask = g.Open(link)
		if strings.Contains(ask.Body, `type="password"`) {
			t.Error("the password is asked again where it was just chosen")
		}
		says(t, g.Fill(ask), 200, "Hello, Ada")
		says(t, elsewhere.Open(link), 404, "This link no longer works")

		bad := h.guest()
		form := bad.Open("/register")
		a := bad.Fill(form, "email", "nonsense", "given_name", strings.Repeat("x", 200), "family_name", "", "password",
			"short")
		for _, sentence := range []string{"That isn't an email address.", "Use at most 128 characters.",
			"Enter your last name.", "Use at least 10 characters."} {
			says(t, a, 422, sentence)
		}
		says(t, bad.Fill(form, "email", "a@b.example", "given_name", "A", "family_name", "B", "password", "1234567890"),
			422, "too easy to guess")
	})
}

func TestConfirmElsewhereWithThePassword(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g, phone := h.guest(), h.guest()
		g.Fill(g.Open("/register"), registration("ada@acme.example")...)
		link := h.linkIn(h.Work(), "ada@acme.example")
		says(t, phone.Fill(phone.Open(link), "password", password), 200, "Hello, Ada")
		// The browser that registered goes on when it is opened again.
		if a := g.Open("/account"); strings.Contains(a.Text(), "Hello") {
			t.Error("another browser's confirmation signs this one in without its doing")
		}
	})
}

func TestRegistrationIsClosedByDefault(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.Open("/register"), 404, "You can't create an account here")
		says(t, g.Post("/register", url.Values{"email": {"a@b.example"}}), 404, "You can't create an account here")
		if strings.Contains(g.Open("/signin").Text(), "Register") {
			t.Error("the sign-in page offers to register")
		}
	})
}

func TestRegisterWithoutConfirmation(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.Registration, s.VerifyEmail = true, false }, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.Fill(g.Open("/register"), registration("ada@acme.example")...), 200, "Hello, Ada")
		other := h.guest()
		says(t, other.Fill(other.Open("/register"), registration("ada@acme.example")...), 200, "Check your email")
		if other.session() != nil {
			t.Error("registering a taken address signs in")
		}
	})
}

func TestForgottenPassword(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, old := h.guest(), h.guest()
		old.SignIn("ada@acme.example")
		known := g.Fill(g.Open("/forgotten"), "email", "ada@acme.example")
		link := h.linkIn(h.Work(), "ada@acme.example")
		unknown := g.Fill(g.Open("/forgotten"), "email", "bob@acme.example")
		says(t, known, 200, "If ada@acme.example belongs to an account")
		if strings.ReplaceAll(unknown.Text(), "bob@", "ada@") != known.Text() || unknown.Status != known.Status {
			t.Errorf("an unknown address is told apart:\n%s\n%s", known.Text(), unknown.Text())
		}
		if sent := h.Work(); len(sent) != 0 {
			t.Errorf("a mail to nobody: %+v", sent)
		}
		says(t, g.Fill(g.Open("/forgotten"), "email", "nonsense"), 422, "That isn't an email address.")

		ask := g.Open(link)
		says(t, ask, 200, "Set a new password")
		if ask.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Error("the link's token can leak by the referrer")
		}
		says(t, g.Fill(ask, "password", "short"), 422, "Use at least 10 characters.")
		says(t, g.Fill(ask, "password", "ada@acme.example"), 422, "This is your email or name.")
		done := g.Fill(ask, "password", "another long passphrase")
		says(t, done, 200, "Your new password is set.")
		if !strings.Contains(done.Body, `value="ada@acme.example"`) {
			t.Error("the account has to be typed again")
		}
		if old.session() != nil {
			t.Error("the old session lives on")
		}
		says(t, g.Fill(ask, "password", "yet another passphrase"), 404, "This link no longer works")
		says(t, h.guest().SignIn("ada@acme.example"), 422, "isn't right")
		says(t, g.Fill(done, "username", "ada@acme.example", "password", "another long passphrase"), 200, "Hello")
	})
}

// The mails to one address are limited, but a stranger cannot use them up: the answer stays the
// same, and the last link is still valid.
func TestMailIsLimited(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		status := 0
		for range 6 {
			status = g.Fill(g.Open("/forgotten"), "email", "ada@acme.example").Status
		}
		mails := h.Work()
		if n := len(mails); status != http.StatusOK || n > 3 {
			t.Fatalf("the sixth request answers %d, and %d mails were sent", status, n)
		}
		h.Clock.Advance(attempt.MailEvery - time.Minute)
		says(t, h.guest().Open(h.linkIn(mails[len(mails)-1:], "ada@acme.example")), 200, "Set a new password")
	})
}

func TestSetup(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		var link string
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			token, err := credential.NewLink(ctx, tx, credential.Setup, user.User{})
			link = "/setup?token=" + token.Reveal()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		g := h.guest()
		says(t, g.Open("/setup?token=nonsense"), 404, "This set-up link was used")
		ask := g.Open(link)
		says(t, g.Fill(ask, "email", ""), 422, "Enter an email address")
		says(t, g.Fill(ask, registration("ada@acme.example")...), 200, "Hello, Ada")
		says(t, h.guest().Open(link), 404, "This set-up link was used")
		if err := h.View(ctx, h.c, func(tx *db.Tx) error {
			u, err := user.ByLogin(ctx, tx, "ada@acme.example")
			if err != nil {
				return err
			}
			set, err := role.ActionsOf(ctx, tx, role.OfUser(u.ID))
			if !set.Allows("tenant.create") {
				t.Errorf("the first owner holds %v", set.Roles())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestChangePassword(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, other := h.guest(), h.guest()
		g.SignIn("ada@acme.example")
		other.SignIn("ada@acme.example")
		token := g.Cookie("session")
		form := g.Open("/account/password")
		change := func(current, next string) world.Answer {
			return g.FillForm(form, "/account/password", "current_password", current, "password", next)
		}
		says(t, change("", "another long passphrase"), 422, "Enter your current password.")
		says(t, change("wrong", "another long passphrase"), 422, "That isn't your current password.")
		says(t, change(password, password), 422, "This is your current password.")
		says(t, change(password, "another long passphrase"), 200, "Your password has been changed.")
		if other.session() != nil {
			t.Error("the other browser is still signed in")
		}
		if g.session() == nil || g.Cookie("session") == token {
			t.Error("this browser's session did not go on under a new token")
		}
	})
}

func TestSessionsOfMyOwn(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		h.person("bob@acme.example")
		g, other, bob := h.guest(), h.guest(), h.guest()
		for _, x := range []*guest{g, other} {
			x.SignIn("ada@acme.example")
		}
		bob.SignIn("bob@acme.example")
		says(t, g.Open("/account/sessions"), 200, "This browser")
		g.Post("/account/sessions/revoke", url.Values{"session": {bob.session()["id"].(string)}})
		if bob.session() == nil {
			t.Error("Ada ended Bob's session")
		}
		says(t, g.Post("/account/sessions/revoke", url.Values{"session": {other.session()["id"].(string)}}), 200,
			"Signed out.")
		if other.session() != nil {
			t.Error("the session goes on")
		}
		other.SignIn("ada@acme.example")
		g.Post("/account/sessions/revoke", url.Values{"session": {"others"}})
		if other.session() != nil || g.session() == nil {
			t.Error("the others, and only they, should have ended")
		}
	})
}

func TestAuthenticatorPages(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		g.SignIn("ada@acme.example")
		form := g.Open("/account/authenticator")
		key := form.Find(t, secretRE)
		says(t, g.FillForm(form, "/account/authenticator", "code", "000000"), 422, "That code doesn't match the key.")
		says(t, g.FillForm(form, "/account/authenticator", "code", h.code(key)), 200, "Save your recovery codes")
		manage := g.Open("/account/authenticator")
		says(t, manage, 200, "10 recovery codes left")

		// Later the open browser alone is not enough.
		h.Clock.Advance(11 * time.Minute)
		for _, p := range []string{"/account/authenticator/remove", "/account/authenticator/codes",
			"/account/authenticator"} {
			a := g.Post(p, url.Values{"code": {h.code(key)}})
			says(t, a, 200, "Confirm it's you")
		}
		ask := g.Open("/account/authenticator")
		says(t, ask, 200, "ada@acme.example Not you?")
		ask = g.Fill(ask, "password", password)
		says(t, ask, 200, "Enter the code from your app")
		manage = g.Fill(ask, "code", h.code(key))
		says(t, manage, 200, "Two-step sign-in is on.")
		says(t, g.FillForm(manage, "/authenticator/codes"), 200, "Save your recovery codes")
		says(t, g.FillForm(manage, "/authenticator/remove"), 200, "Your authenticator app has been removed.")
	})
}

// TestTheSecondFactorGuardsItself: neither a key that was seen elsewhere nor a
// session of before the app was set up is worth anything afterwards.
func TestTheSecondFactorGuardsItself(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		thief, g := h.guest(), h.guest()
		thief.SignIn("ada@acme.example")
		g.SignIn("ada@acme.example")
		early := thief.Open("/account/authenticator")
		seen := early.Find(t, secretRE)
		form := g.Open("/account/authenticator")
		key := form.Find(t, secretRE)
		if seen == key {
			t.Fatal("a key that another browser has seen is set up")
		}
		says(t, thief.FillForm(early, "/account/authenticator", "code", h.code(seen)), 422, "This key was replaced.")
		form = g.Open("/account/authenticator") // the thief's page has replaced it
		key = form.Find(t, secretRE)
		token := g.Cookie("session")
		says(t, g.FillForm(form, "/account/authenticator", "code", h.code(key)), 200, "Save your recovery codes")
		if g.Cookie("session") == token {
			t.Error("the session has two factors now under its old token")
		}
		if s := g.session(); s["acr"] != "aal2" {
			t.Errorf("the session that set the app up is %v", s)
		}
		says(t, g.Open("/account/authenticator"), 200, "Two-step sign-in is on.")
		for _, p := range []string{"/account/authenticator/remove", "/account/authenticator/codes"} {
			says(t, thief.Post(p, nil), 200, "Enter the code from your app")
		}
		says(t, g.Open("/account/authenticator"), 200, "10 recovery codes left")
	})
}

func TestLanguageAndAppearance(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.Open("/signin?lang=de"), 200, "Bei Ihrem Konto anmelden")
		a := g.Open("/signin?theme=dark")
		says(t, a, 200, "Bei Ihrem Konto anmelden")
		a = g.Open(a.Path)
		if !strings.Contains(a.Body, `<html lang="de" data-theme="dark">`) {
			t.Error("the choice is forgotten")
		}
		if a = g.Open("/signin?lang=xx&theme=%3Cscript%3E"); strings.Contains(a.Body, "<script>") ||
			!strings.Contains(a.Body, `data-theme="dark"`) {
			t.Error("nonsense is taken for a choice")
		}
	})
}
