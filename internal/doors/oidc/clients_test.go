package oidc_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// What other clients send, and is right: no redirect_uri beside PKCE, Basic with an id alone, a
// repeated resource, and a secret that was not form-encoded.
func TestOtherClients(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered("https://a.example", nil)
		w.registered("https://b.example", nil)
		public := w.client(application.New{Type: application.SPA, FirstParty: true, Scopes: everyScope})
		basic := func(c *client, secret string, form url.Values) int {
			r, _ := http.NewRequest(http.MethodPost, w.issuer+"/oauth2/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.ClientID+":"+secret)))
			return w.browser().Send(r).Status
		}
		code, verifier := public.code(t, w.user)
		if got := basic(public, "", url.Values{"grant_type": {"authorization_code"}, "code": {code},
			"code_verifier": {verifier}}); got != http.StatusOK {
			t.Errorf("Basic with an empty secret, no redirect_uri: %d", got)
		}
		code, verifier = public.code(t, w.user)
		if got := basic(public, "", url.Values{"grant_type": {"authorization_code"}, "code": {code},
			"code_verifier": {verifier}, "redirect_uri": {redirectURI + "x"}}); got != http.StatusBadRequest {
			t.Errorf("a wrong redirect_uri: %d", got)
		}
		a := public.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "client_secret", "x")
		if !strings.Contains(a.Body, "has no secret") {
			t.Errorf("a secret that the application does not have: %s", a.Body)
		}
		_, challenge := pkce()
		b := w.browser()
		toSignIn(t, b.Visit(public.authorizeURL(challenge)+"&resource=https%3A%2F%2Fa.example"+
			"&resource=https%3A%2F%2Fb.example"))
		loc := b.Visit(public.authorizeURL(challenge, "prompt", "none")).Header.Get("Location")
		if !strings.Contains(loc, "error_description=prompt%3Dnone%20was") || strings.Contains(loc, "+") {
			t.Errorf("a space is not %%20 in %s", loc)
		}
	})
}

// A sign-out whose hint is not a token of the tenant says so. It does not blame the address.
func TestLogoutSaysThatTheHintIsAtFault(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		a := w.browser().Visit(w.logoutURL("id_token_hint", "x", "post_logout_redirect_uri",
			"https://app.example.com/bye"))
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "id_token_hint") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}
