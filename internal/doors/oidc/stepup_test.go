package oidc_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// OpenID Connect Core §3.1.2.1: the hint's signature and issuer are checked, an expired
// one is accepted, and another subject is login_required.
func TestIDTokenHint(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		grace := w.person("grace@example.com", "Grace", "Hopper")
		hint := c.signedIn(t, w.user).ID
		foreign := c.signedIn(t, grace).ID
		w.Clock.Advance(24 * time.Hour) // both have expired
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "id_token_hint",
			hint))); q.Get("code") == "" {
			t.Errorf("an expired hint: %v", q)
		}
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "id_token_hint",
			foreign))); q.Get("error") != "login_required" {
			t.Errorf("somebody else's hint: %v", q)
		}
		// Without prompt=none that user is asked to sign in. The session of this user does not
		// count.
		at := toSignIn(t, b.Visit(c.authorizeURL(challenge, "id_token_hint", foreign)))
		if f := b.flow(at); !f.Session.IsZero() || !f.User.IsZero() {
			t.Errorf("the session of another person counts: %+v", f)
		}
		if q := w.response(t, b.Visit(b.complete(at, w.user, true))); q.Get("error") != "login_required" {
			t.Errorf("the wrong person signed in: %v", q)
		}
		at = toSignIn(t, b.Visit(c.authorizeURL(challenge, "id_token_hint", foreign)))
		if q := w.response(t, b.Visit(b.complete(at, grace, true))); q.Get("code") == "" {
			t.Errorf("the right person signed in: %v", q)
		}
		// Hints that are none: another issuer's, another type, tampered with.
		key, err := jose.Generate(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		sign := func(s *jose.Signer, iss string) string {
			tok, err := s.Sign(map[string]any{"iss": iss, "sub": grace.ID.String(), "aud": c.ClientID})
			if err != nil {
				t.Fatal(err)
			}
			return tok
		}
		strange, err := jose.NewSigner(key, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		own, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		access, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeAccessToken)
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string]string{
			"another key": sign(strange, w.issuer), "another issuer": sign(own, w.Origin+"/t/globex"),
			"an access token": sign(access, w.issuer), "cut": hint[:len(hint)-4],
		} {
			if q := w.response(t, b.Visit(c.authorizeURL(challenge, "id_token_hint",
				bad))); q.Get("error") != "invalid_request" {
				t.Errorf("%s: %v", name, q)
			}
		}
	})
}

// Core §5.5: id_token and userinfo apart, null values, essential; a requested sub must match.
func TestClaimsParameter(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		got := c.signedIn(t, w.user, "scope", "openid", "claims",
			`{"id_token":{"email":null,"given_name":{"essential":true},"nonsense":null,"sub":null},`+
				`"userinfo":{"family_name":null}}`)
		id, _ := w.claims(t, got.ID, "JWT")
		if id["email"] != "ada@example.com" || id["given_name"] != "Ada" || id["family_name"] != nil ||
			id["sub"] != w.user.ID.String() || id["nonsense"] != nil {
			t.Errorf("ID token: %v", id)
		}
		info := w.userinfo(got.Access).JSON(t)
		if info["family_name"] != "Lovelace" || info["email"] != nil || info["given_name"] != nil ||
			info["sub"] != w.user.ID.String() {
			t.Errorf("userinfo: %v", info)
		}
		// The claims hold for refreshed tokens too.
		next := mustTokens(t, c.refresh(got.Refresh))
		if id, _ := w.claims(t, next.ID, "JWT"); id["email"] != "ada@example.com" {
			t.Errorf("refreshed ID token: %v", id)
		}
		b := w.browser()
		b.signIn(w.user)
		_, challenge := pkce()
		sub := func(s string) string { return fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, s) }
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "claims",
			sub(w.user.ID.String())))); q.Get("code") == "" {
			t.Errorf("the right sub: %v", q)
		}
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "claims",
			sub("somebody")))); q.Get("error") != "login_required" {
			t.Errorf("another sub: %v", q)
		}
	})
}

// The claims parameter does not bypass scopes. The application does not get what its scopes
// exclude, and the user consents to the rest as to a scope.
func TestClaimsNeedTheirScope(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, Name: "Third party", Scopes: []string{"email"}})
		const wish = `{"id_token":{"given_name":null,"email":null},"userinfo":{"family_name":{"essential":true},` +
			`"email":null}}`
		verifier, challenge := pkce()
		b := w.browser()
		// The person has allowed openid before, and nothing else.
		b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge, "scope", "openid"))), w.user, true)
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "scope", "openid", "prompt",
			"none"))); q.Get("code") == "" {
			t.Fatalf("openid alone: %v", q)
		}
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "scope", "openid", "prompt", "none", "claims",
			wish))); q.Get("error") != "consent_required" {
			t.Errorf("claims without consent: %v", q)
		}
		at := toSignIn(t, b.Visit(c.authorizeURL(challenge, "scope", "openid", "claims", wish)))
		if f := b.flow(at); strings.Join(f.ConsentScopes, " ") != "openid email" {
			t.Errorf("the person is asked for %q", f.ConsentScopes)
		}
		got := c.redeem(t, w.response(t, b.Visit(b.complete(at, w.user, true))).Get("code"), verifier)
		id, _ := w.claims(t, got.ID, "JWT")
		info := w.userinfo(got.Access).JSON(t)
		if id["email"] != "ada@example.com" || info["email"] != "ada@example.com" {
			t.Errorf("allowed, but not there: %v %v", id, info)
		}
		if id["given_name"] != nil || info["family_name"] != nil {
			t.Errorf("claims of a scope that the application may not have: %v %v", id, info)
		}
	})
}

// Step-up by acr_values; an essential acr unmet fails (Core §5.5.1.1, RFC 9470).
func TestStepUp(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		verifier, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		essential := func(acr string) string {
			return fmt.Sprintf(`{"id_token":{"acr":{"essential":true,"values":[%q]}}}`, acr)
		}
		for name, kv := range map[string][]string{
			"acr_values": {
				"acr_values", "aal2 aal1"}, "claim": {"claims", essential("aal2")}, "voluntary claim": {"claims",
				`{"id_token":{"acr":{"values":["aal2"]}}}`,
			},
		} {
			if q := w.response(t, b.Visit(c.authorizeURL(challenge,
				append(kv, "prompt", "none")...))); q.Get("error") != "login_required" {
				t.Errorf("%s with one factor: %v", name, q)
			}
			f := b.flow(toSignIn(t, b.Visit(c.authorizeURL(challenge, kv...))))
			if !f.RequireMFA || f.Session.IsZero() {
				t.Errorf("%s: %+v", name, f)
			}
		}
		for name, kv := range map[string][]string{"less": {"acr_values", "aal1 aal2"},
			"unknown": {"acr_values", "gold"}} {
			if q := w.response(t, b.Visit(c.authorizeURL(challenge, kv...))); q.Get("code") == "" {
				t.Errorf("%s: %v", name, q)
			}
		}
		// With one factor the flow is not done, whatever the pages do.
		at := toSignIn(t, b.Visit(c.authorizeURL(challenge, "claims", essential("aal2"))))
		toSignIn(t, b.Visit(b.complete(at, w.user, true, signin.Password)))
		at = toSignIn(t, b.Visit(c.authorizeURL(challenge, "claims", essential("aal2"))))
		q := w.response(t, b.Visit(b.complete(at, w.user, true, signin.Password, signin.TOTP)))
		got := c.redeem(t, q.Get("code"), verifier)
		if id, _ := w.claims(t, got.ID, "JWT"); id["acr"] != "aal2" {
			t.Errorf("acr after step-up: %v", id)
		}
		// More than was asked for: the class that was asked for is reported, it is true as well.
		q = w.response(t, b.Visit(c.authorizeURL(challenge, "claims", essential("aal1"))))
		got = c.redeem(t, q.Get("code"), verifier)
		if id, _ := w.claims(t, got.ID, "JWT"); id["acr"] != "aal1" {
			t.Errorf("acr: %v", id)
		}
		// A tenant that wants two factors from everybody.
		owner := w.Holder("acme", role.Owner)
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		one := w.browser()
		one.signIn(w.user)
		toSignIn(t, one.Visit(c.authorizeURL(challenge)))
		if q := w.response(t, b.Visit(c.authorizeURL(challenge))); q.Get("code") == "" {
			t.Errorf("two factors: %v", q)
		}
		// The policies refuse this user: the pages say so, whatever the session.
		block := map[string]any{"block": []any{map[string]any{"applications": []any{c.ID}}}}
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"signin": block})
		toSignIn(t, b.Visit(c.authorizeURL(challenge)))
		if q := w.response(t, b.Visit(c.authorizeURL(challenge)+"&prompt=none")); q.Get("error") != "access_denied" ||
			q.Get("code") != "" {
			t.Errorf("may not sign in: %v", q)
		}
	})
}
