package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

func open(s *tenant.Settings) { s.Registration, s.VerifyEmail = true, true }

func registration(email string) []string {
	return []string{"email", email, "given_name", "Ada", "family_name", "Lovelace", "password", password}
}

func TestRegister(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		h.person("old@acme.example")
		g, other := h.guest(), h.guest()
		fresh := g.fill(g.get("/register"), registration("ada@acme.example")...)
		says(t, fresh, 200, "We sent a message to ada@acme.example")
		link := h.linkIn(h.work(), "ada@acme.example")
		taken := other.fill(other.get("/register"), registration("old@acme.example")...)
		if a, b := strings.ReplaceAll(taken.text(), "old@", "ada@"), fresh.text(); a != b || taken.status != fresh.status {
			t.Errorf("a taken address is told apart:\n%s\n%s", a, b)
		}
		sent := h.work()
		if len(sent) != 1 || sent[0].To != "old@acme.example" || !strings.Contains(sent[0].Subject, "has an account") {
			t.Errorf("the owner of the address is not told: %+v", sent)
		}
		// Registered is not signed in, and the password alone is not enough.
		if g.session() != nil {
			t.Fatal("signed in without confirming")
		}
		says(t, h.guest().signIn("ada@acme.example"), 200, "Check your mail")

		// Opening the link confirms nothing; in another browser the password is asked.
		elsewhere := h.guest()
		says(t, elsewhere.get(link), 200, "Confirm your address")
		ask := elsewhere.get(link)
		says(t, elsewhere.fill(ask, "password", "something else entirely"), 422, "This is not the password of this account.")
		says(t, elsewhere.fill(ask), 422, "Enter your password.")
		// Nor does a flow of that browser's own stand in for the password.
		own := strings.TrimPrefix(elsewhere.get("/forgotten").path, "/forgotten")
		token, _, _ := strings.Cut(link, "&")
		says(t, elsewhere.get(token+"&"+own[1:]), 200, "The one you chose when you registered.")
		says(t, elsewhere.post("/confirm", url.Values{"token": {strings.TrimPrefix(token, "/confirm?token=")}, "flow": {own[len("?flow="):]}}), 422, "Enter your password.")
		if elsewhere.session() != nil {
			t.Fatal("a link alone signs in")
		}
		// In the browser that registered, one button; nothing is asked twice.
		ask = g.get(link)
		if strings.Contains(ask.body, `type="password"`) {
			t.Error("the password is asked again where it was just chosen")
		}
		says(t, g.fill(ask), 200, "Hello, Ada")
		says(t, elsewhere.get(link), 404, "This link does not work any more")

		bad := h.guest()
		form := bad.get("/register")
		a := bad.fill(form, "email", "nonsense", "given_name", strings.Repeat("x", 200), "family_name", "", "password", "short")
		for _, sentence := range []string{"This is no email address.", "Use at most 100 characters.", "Enter your name.", "Use at least 10 characters."} {
			says(t, a, 422, sentence)
		}
		says(t, bad.fill(form, "email", "a@b.example", "given_name", "A", "family_name", "B", "password", "1234567890"), 422, "too easy to guess")
	})
}

func TestConfirmElsewhereWithThePassword(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g, phone := h.guest(), h.guest()
		g.fill(g.get("/register"), registration("ada@acme.example")...)
		link := h.linkIn(h.work(), "ada@acme.example")
		says(t, phone.fill(phone.get(link), "password", password), 200, "Hello, Ada")
		// The browser that registered goes on when it is looked at again.
		if a := g.get("/account"); strings.Contains(a.text(), "Hello") {
			t.Error("another browser's confirmation signs this one in without its doing")
		}
	})
}

func TestRegistrationIsClosedByDefault(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.get("/register"), 404, "There is nothing here")
		says(t, g.post("/register", url.Values{"email": {"a@b.example"}}), 404, "There is nothing here")
		if strings.Contains(g.get("/signin").text(), "Register") {
			t.Error("the sign-in page offers to register")
		}
	})
}

func TestRegisterWithoutConfirmation(t *testing.T) {
	both(t, func(s *tenant.Settings) { s.Registration, s.VerifyEmail = true, false }, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.fill(g.get("/register"), registration("ada@acme.example")...), 200, "Hello, Ada")
		other := h.guest()
		says(t, other.fill(other.get("/register"), registration("ada@acme.example")...), 200, "Check your mail")
		if other.session() != nil {
			t.Error("registering a taken address signs in")
		}
	})
}

func TestForgottenPassword(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, old := h.guest(), h.guest()
		old.signIn("ada@acme.example")
		known := g.fill(g.get("/forgotten"), "email", "ada@acme.example")
		link := h.linkIn(h.work(), "ada@acme.example")
		unknown := g.fill(g.get("/forgotten"), "email", "bob@acme.example")
		says(t, known, 200, "If ada@acme.example belongs to an account")
		if strings.ReplaceAll(unknown.text(), "bob@", "ada@") != known.text() || unknown.status != known.status {
			t.Errorf("an unknown address is told apart:\n%s\n%s", known.text(), unknown.text())
		}
		if sent := h.work(); len(sent) != 0 {
			t.Errorf("a mail to nobody: %+v", sent)
		}
		says(t, g.fill(g.get("/forgotten"), "email", "nonsense"), 422, "This is no email address.")

		ask := g.get(link)
		says(t, ask, 200, "Set a new password")
		if ask.header.Get("Referrer-Policy") != "no-referrer" {
			t.Error("the link's token can leak by the referrer")
		}
		says(t, g.fill(ask, "password", "short"), 422, "Use at least 10 characters.")
		says(t, g.fill(ask, "password", "ada@acme.example"), 422, "This is your email or name.")
		done := g.fill(ask, "password", "another long passphrase")
		says(t, done, 200, "Your new password is set.")
		if !strings.Contains(done.body, `value="ada@acme.example"`) {
			t.Error("the account has to be typed again")
		}
		if old.session() != nil {
			t.Error("the old session lives on")
		}
		says(t, g.fill(ask, "password", "yet another passphrase"), 404, "This link does not work any more")
		says(t, h.guest().signIn("ada@acme.example"), 422, "is not right")
		says(t, g.fill(done, "username", "ada@acme.example", "password", "another long passphrase"), 200, "Hello")
	})
}

func TestMailIsLimited(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		status := 0
		for range 6 {
			status = g.fill(g.get("/forgotten"), "email", "ada@acme.example").status
		}
		if n := len(h.work()); status != http.StatusTooManyRequests || n > 3 {
			t.Errorf("the sixth request answers %d, and %d mails were sent", status, n)
		}
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
		says(t, g.get("/setup?token=nonsense"), 404, "This set-up link was used")
		ask := g.get(link)
		says(t, g.fill(ask, "email", ""), 422, "Enter your email")
		says(t, g.fill(ask, registration("ada@acme.example")...), 200, "Hello, Ada")
		says(t, h.guest().get(link), 404, "This set-up link was used")
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
		g.signIn("ada@acme.example")
		other.signIn("ada@acme.example")
		token := g.cookie("session")
		form := g.get("/account/password")
		change := func(current, next string) answer {
			return g.fillForm(form, "/account/password", "current_password", current, "password", next)
		}
		says(t, change("", "another long passphrase"), 422, "Enter your current password.")
		says(t, change("wrong", "another long passphrase"), 422, "This is not your current password.")
		says(t, change(password, password), 422, "This is your current password.")
		says(t, change(password, "another long passphrase"), 200, "Your password is changed.")
		if other.session() != nil {
			t.Error("the other browser is still signed in")
		}
		if g.session() == nil || g.cookie("session") == token {
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
			x.signIn("ada@acme.example")
		}
		bob.signIn("bob@acme.example")
		says(t, g.get("/account/sessions"), 200, "This browser")
		g.post("/account/sessions/revoke", url.Values{"session": {bob.session()["id"].(string)}})
		if bob.session() == nil {
			t.Error("Ada ended Bob's session")
		}
		says(t, g.post("/account/sessions/revoke", url.Values{"session": {other.session()["id"].(string)}}), 200, "Signed out.")
		if other.session() != nil {
			t.Error("the session goes on")
		}
		other.signIn("ada@acme.example")
		g.post("/account/sessions/revoke", url.Values{"session": {"others"}})
		if other.session() != nil || g.session() == nil {
			t.Error("the others, and only they, should have ended")
		}
	})
}

func TestAuthenticatorPages(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		g.signIn("ada@acme.example")
		form := g.get("/account/authenticator")
		key := find(t, secretRE, form)
		says(t, g.fillForm(form, "/account/authenticator", "code", "000000"), 422, "This code does not fit the key.")
		says(t, g.fillForm(form, "/account/authenticator", "code", h.code(key)), 200, "Save your recovery codes")
		manage := g.get("/account/authenticator")
		says(t, manage, 200, "10 recovery codes left")

		// Later the open browser alone is not enough.
		h.Clock.Advance(11 * time.Minute)
		for _, p := range []string{"/account/authenticator/remove", "/account/authenticator/codes", "/account/authenticator"} {
			a := g.post(p, url.Values{"code": {h.code(key)}})
			says(t, a, 200, "Confirm that it is you")
		}
		ask := g.get("/account/authenticator")
		says(t, ask, 200, "ada@acme.example Not you?")
		ask = g.fill(ask, "password", password)
		says(t, ask, 200, "Enter the code from your app")
		manage = g.fill(ask, "code", h.code(key))
		says(t, manage, 200, "Your authenticator app is on.")
		says(t, g.fillForm(manage, "/authenticator/codes"), 200, "Save your recovery codes")
		says(t, g.fillForm(manage, "/authenticator/remove"), 200, "Your authenticator app is removed.")
	})
}

// TestTheSecondFactorGuardsItself: neither a key that was seen elsewhere nor a
// session of before the app was set up is worth anything afterwards.
func TestTheSecondFactorGuardsItself(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		thief, g := h.guest(), h.guest()
		thief.signIn("ada@acme.example")
		g.signIn("ada@acme.example")
		early := thief.get("/account/authenticator")
		seen := find(t, secretRE, early)
		form := g.get("/account/authenticator")
		key := find(t, secretRE, form)
		if seen == key {
			t.Fatal("a key that another browser has seen is set up")
		}
		says(t, thief.fillForm(early, "/account/authenticator", "code", h.code(seen)), 422, "This key has been replaced.")
		form = g.get("/account/authenticator") // the thief's page has replaced it
		key = find(t, secretRE, form)
		token := g.cookie("session")
		says(t, g.fillForm(form, "/account/authenticator", "code", h.code(key)), 200, "Save your recovery codes")
		if g.cookie("session") == token {
			t.Error("the session has two factors now under its old token")
		}
		if s := g.session(); s["acr"] != "aal2" {
			t.Errorf("the session that set the app up is %v", s)
		}
		says(t, g.get("/account/authenticator"), 200, "Your authenticator app is on.")
		for _, p := range []string{"/account/authenticator/remove", "/account/authenticator/codes"} {
			says(t, thief.post(p, nil), 200, "Enter the code from your app")
		}
		says(t, g.get("/account/authenticator"), 200, "10 recovery codes left")
	})
}

func TestLanguageAndAppearance(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		says(t, g.get("/signin?lang=de"), 200, "Bei Ihrem Konto anmelden")
		a := g.get("/signin?theme=dark")
		says(t, a, 200, "Bei Ihrem Konto anmelden")
		a = g.get(a.path)
		if !strings.Contains(a.body, `<html lang="de" data-theme="dark">`) {
			t.Error("the choice is forgotten")
		}
		if a = g.get("/signin?lang=xx&theme=%3Cscript%3E"); strings.Contains(a.body, "<script>") || !strings.Contains(a.body, `data-theme="dark"`) {
			t.Error("nonsense is taken for a choice")
		}
	})
}
