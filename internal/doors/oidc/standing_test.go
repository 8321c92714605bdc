package oidc_test

import (
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// setUpAuthenticator confirms an authenticator app for u, as another browser's account pages would.
func (w *scene) setUpAuthenticator(u user.User) {
	w.T.Helper()
	app, at := w.App.TOTP, id.New()
	w.Do(w.c, func(tx *db.Tx) error {
		e, err := app.Enrol(ctx, tx, u.ID, at, "Acme", u.Email)
		if err != nil {
			return err
		}
		code, err := totp.GenerateCode(strings.ReplaceAll(e.Secret.Reveal(), " ", ""), tx.Now())
		if err != nil {
			return err
		}
		out, err := app.Confirm(ctx, tx, u.ID, at, code)
		if out != credential.Accepted {
			w.T.Errorf("the first code is %s", out)
		}
		return err
	})
}

// A session with one factor is not enough once its user has an authenticator app. That holds for a
// first-party application as for a third-party one.
func TestAuthenticatorSetUpElsewhereIsAskedFor(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		own := w.client(application.New{})
		foreign := w.client(application.New{Name: "Foreign", Type: application.Web,
			Scopes: []string{"profile", "email", "offline_access"}})
		b := w.browser()
		b.signIn(w.user)
		_, challenge := pkce()
		if q := w.response(t, b.Visit(own.authorizeURL(challenge, "prompt", "none"))); q.Get("code") == "" {
			t.Fatalf("before: %v", q)
		}
		w.setUpAuthenticator(w.user)
		for name, c := range map[string]*client{"first party": own, "third party": foreign} {
			if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt",
				"none"))); q.Get("error") != "login_required" {
				t.Errorf("%s, prompt=none: %v", name, q)
			}
			toSignIn(t, b.Visit(c.authorizeURL(challenge)))
		}
	})
}

// A flow that was done before the app was set up is not done any longer: the code is asked for
// before the application gets its answer.
func TestAuthenticatorSetUpBeforeTheAnswer(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		b := w.browser()
		done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, true)
		w.setUpAuthenticator(w.user)
		if f := b.flow(toSignIn(t, b.Visit(done))); f.Session.IsZero() {
			t.Errorf("the flow is spent: %+v", f)
		}
	})
}
