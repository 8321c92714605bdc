package oidc_test

import (
	"net/url"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// A browser writes https://mcp.example.com as https://mcp.example.com/, and a server's operator may
// register either. The token has what is registered.
func TestAnAPIWithoutPathHasTwoSpellings(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.client(application.New{Scopes: everyScope})
		machine := w.client(application.New{Type: application.Machine, Scopes: []string{"read"}})
		for registered, asked := range map[string]string{
			"https://mcp.example.com":        "https://mcp.example.com/",
			"http://notes.example.com:8080/": "http://notes.example.com:8080",
		} {
			w.registered(registered, nil)
			got := app.signedIn(t, w.user, "scope", "read offline_access", "resource", asked)
			again := mustTokens(t, app.refresh(got.Refresh, "resource", registered))
			for _, token := range []string{
				got.Access, again.Access,
				mustTokens(t, app.refresh(again.Refresh, "resource", asked)).Access,
				mustTokens(t, machine.post("/oauth2/token", "grant_type", "client_credentials", "resource",
					asked)).Access,
				mustTokens(t, machine.post("/oauth2/token", "grant_type", "client_credentials", "resource",
					asked, "audience", registered)).Access,
			} {
				if claims, _ := w.claims(t, token, "at+jwt"); claims["aud"] != registered {
					t.Errorf("%s asked as %s: audience %v", registered, asked, claims["aud"])
				}
			}
		}
		w.registered(vault, nil)
		refusedWith(t, "a slash after a path", machine.post("/oauth2/token", "grant_type", "client_credentials",
			"resource", vault+"/"), 400, "invalid_target")
	})
}

// A library that takes the redirect URI from the browser's address sends the slash that another
// lacks. The authorization request stays strict.
func TestARedirectURIWithoutPathAtTheTokenEndpoint(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		native := w.client(application.New{Type: application.Native, FirstParty: true,
			RedirectURIs: []string{"http://127.0.0.1"}})
		b := w.browser()
		b.signIn(w.user)
		verifier, challenge := pkce()
		a := b.Visit(native.authorizeURL(challenge, "redirect_uri", "http://127.0.0.1:51004"))
		loc, err := url.Parse(a.Header.Get("Location"))
		if err != nil || loc.Host != "127.0.0.1:51004" {
			t.Fatalf("%d %v", a.Status, loc)
		}
		mustTokens(t, native.post("/oauth2/token", "grant_type", "authorization_code", "code", loc.Query().Get("code"),
			"code_verifier", verifier, "redirect_uri", "http://127.0.0.1:51004/"))
		if a := b.Visit(native.authorizeURL(challenge, "redirect_uri", "http://127.0.0.1:51004/")); a.Status != 400 {
			t.Errorf("the other spelling in the authorization request: %d", a.Status)
		}
	})
}
