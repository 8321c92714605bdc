package oidc_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// An API that demands two factors or a recent sign-in gets tokens of such a sign-in only, whatever
// the request asks for and whenever the demand came (RFC 9470).
func TestAnAPIDemandsASignIn(t *testing.T) {
	if resourceserver.TwoFactors != signin.TwoFactors {
		t.Error("two packages name two factors by two words")
	}
	both(t, func(t *testing.T, w *scene) {
		demand := func(identifier, acr string, age int64) {
			w.Do(w.c, func(tx *db.Tx) error {
				a, err := resourceserver.ByIdentifier(ctx, tx, identifier)
				if err == nil {
					_, err = resourceserver.Update(ctx, tx, role.Everything(), a.ID, func(p *resourceserver.Profile) {
						p.ACR, p.MaxAge = acr, age
					})
				}
				return err
			})
		}
		for _, api := range []string{invoices, reports, vault} {
			w.registered(api, nil)
		}
		demand(vault, "aal2", 0)
		demand(reports, "", 120)
		c := w.client(application.New{Scopes: everyScope})
		verifier, challenge := pkce()
		at := func(resource string, kv ...string) string {
			return c.authorizeURL(challenge,
				append([]string{"scope", "openid read offline_access", "resource", resource}, kv...)...)
		}
		weak, strong := w.browser(), w.browser()
		weak.signIn(w.user)
		strong.signIn(w.user, signin.Password, signin.TOTP)
		for name, r := range map[string]struct {
			b         *browser
			at, error string
		}{
			"one factor":             {weak, at(vault), "login_required"},
			"one factor of two APIs": {weak, at(invoices) + "&resource=" + url.QueryEscape(vault), "login_required"},
			"another API":            {weak, at(invoices), ""},
			"two factors":            {strong, at(vault), ""},
			"another class": {strong, at(vault, "claims", `{"id_token":{"acr":{"essential":true,"values":["aal1"]}}}`),
				"unmet_authentication_requirements"},
			"a recent sign-in": {weak, at(reports), ""},
		} {
			if q := w.response(t, r.b.Visit(r.at+"&prompt=none")); q.Get("error") != r.error {
				t.Errorf("%s: %v, want the error %q", name, q, r.error)
			}
		}
		if f := weak.flow(toSignIn(t, weak.Visit(at(vault)))); !f.RequireMFA {
			t.Error("the pages do not ask for a second factor")
		}

		// The class in the token is the one that was proved, also if the client accepts less.
		q := w.response(t, strong.Visit(at(vault, "claims",
			`{"id_token":{"acr":{"essential":true,"values":["aal1","aal2"]}}}`)))
		got := c.redeem(t, q.Get("code"), verifier)
		if claims, _ := w.claims(t, got.Access, "at+jwt"); claims["acr"] != "aal2" || claims["auth_time"] == nil {
			t.Errorf("a token of the sign-in %v at %v", claims["acr"], claims["auth_time"])
		}

		// A grant for two APIs ages for the one, and stays good for the other.
		q = w.response(t, weak.Visit(at(invoices)+"&resource="+url.QueryEscape(reports)))
		got = c.redeem(t, q.Get("code"), verifier)
		got = mustTokens(t, c.refresh(got.Refresh, "resource", reports))
		w.Clock.Advance(100 * time.Second)
		late := w.response(t, weak.Visit(at(reports))).Get("code")
		w.Clock.Advance(21 * time.Second)
		c.redeem(t, late, verifier) // the answer was in time
		if q := w.response(t, weak.Visit(at(reports)+"&prompt=none")); q.Get("error") != "login_required" {
			t.Errorf("too late: %v", q)
		}
		refusedWith(t, "a refresh too late", c.refresh(got.Refresh, "resource", reports), 400, "invalid_grant")
		got = mustTokens(t, c.refresh(got.Refresh)) // the refusal left the refresh token as it was

		// A demand that came after the person's answer counts.
		q = w.response(t, weak.Visit(at(invoices)))
		demand(invoices, "aal2", 0)
		a := c.post("/oauth2/token", "grant_type", "authorization_code", "code", q.Get("code"), "redirect_uri",
			redirectURI, "code_verifier", verifier)
		refusedWith(t, "a code from before the demand", a, 400, "invalid_grant")
		refusedWith(t, "a refresh token from before", c.refresh(got.Refresh), 400, "invalid_grant")
	})
}

// A person with one factor allows no device that asks for an API with two, and has to sign in again
// for one that wants a recent sign-in.
func TestAnAPIDemandsASignInForADevice(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.SetPassword(w.c, w.user)
		w.registered(vault, func(p *resourceserver.Profile) { p.ACR = resourceserver.TwoFactors })
		w.registered(reports, func(p *resourceserver.Profile) { p.MaxAge = 120 })
		w.registered(invoices, nil)
		c := w.client(application.New{Name: "Kubectl", Type: application.Native, DeviceAuthorization: true,
			FirstParty: true, Scopes: everyScope, RedirectURIs: []string{}})
		for resource, want := range map[string]bool{vault: false, reports: false, invoices: true} {
			b := w.browser()
			b.signIn(w.user)
			w.Clock.Advance(121 * time.Second)
			page := c.device(t, "scope", "openid read", "resource", resource).asked(b)
			if got := strings.Contains(page.Body, `name="decision"`); got != want {
				t.Errorf("%s asks whether to allow: %v", resource, got)
			}
		}
	})
}
