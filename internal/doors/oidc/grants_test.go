package oidc_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// An administrator sees what applications hold and revokes it, one by one, of a user, or of an
// application. Then no token of it counts, and consent is asked for again.
func TestGrantsAreListedAndRevoked(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		manager, auditor := w.Holder("acme", role.UserManager), w.Holder("acme", role.Auditor)
		shop := w.client(application.New{Type: application.Web, Name: "Shop"}) // asks for consent
		mail := w.client(application.New{AccessToken: application.Opaque})
		bob := w.person("bob@example.com", "Bob", "Stone")
		list := func(query string) []string {
			t.Helper()
			var ids []string
			for cursor := ""; ; {
				l := w.Must(auditor, "GET", "acme", "/grants?limit=1&"+query+cursor, nil)
				for _, g := range l["items"].([]any) {
					ids = append(ids, g.(map[string]any)["id"].(string))
				}
				next, _ := l["next_cursor"].(string)
				if next == "" {
					return ids
				}
				cursor = "&cursor=" + next
			}
		}
		revoke := func(path string, token string, status int) {
			t.Helper()
			if a := w.Call(token, http.MethodDelete, "acme", path, nil); a.Status != status {
				t.Errorf("DELETE %s: %d %s, want %d", path, a.Status, a.Body, status)
			}
		}
		// ended checks that no token of it counts.
		ended := func(what string, c *client, got tokens) {
			t.Helper()
			refusedWith(t, what, c.refresh(got.Refresh), http.StatusBadRequest, "invalid_grant")
			if s := w.userinfo(got.Access).Status; s != http.StatusUnauthorized {
				t.Errorf("%s: userinfo answers %d", what, s)
			}
		}
		counts := func(what string, c *client, got tokens) {
			t.Helper()
			if s := w.userinfo(got.Access).Status; s != http.StatusOK {
				t.Errorf("%s: userinfo answers %d", what, s)
			}
		}
		consented := func() bool {
			t.Helper()
			b := w.browser()
			b.signIn(w.user)
			_, challenge := pkce()
			return strings.HasPrefix(b.Visit(shop.authorizeURL(challenge)).Header.Get("Location"), redirectURI)
		}
		allow := func() tokens {
			t.Helper()
			b := w.browser()
			b.signIn(w.user)
			verifier, challenge := pkce()
			at := b.complete(b.Visit(shop.authorizeURL(challenge)).Header.Get("Location"), w.user, true)
			return shop.redeem(t, w.response(t, b.Visit(at)).Get("code"), verifier)
		}

		first := allow()
		one, two, other := mail.signedIn(t, w.user), mail.signedIn(t, w.user), mail.signedIn(t, bob)
		mail.code(t, bob) // not redeemed: it holds nothing yet
		if n := len(list("")); n != 4 {
			t.Fatalf("%d grants, want 4", n)
		}
		ofAda := list("user_id=" + w.user.ID.String())
		ofShop := list("application_id=" + shop.ID.String())
		if len(ofAda) != 3 || len(ofShop) != 1 || ofAda[0] != ofShop[0] {
			t.Fatalf("of the user %v, of the application %v", ofAda, ofShop)
		}
		shown := w.Must(auditor, "GET", "acme", "/grants/"+ofShop[0], nil)
		if shown["offline"] != true || !slices.Contains(shown["scopes"].([]any), any("offline_access")) {
			t.Errorf("%v", shown)
		}

		if !consented() {
			t.Fatal("consent is asked for twice")
		}
		revoke("/grants/"+ofShop[0], auditor, http.StatusForbidden)
		revoke("/grants/"+ofShop[0], manager, http.StatusNoContent)
		revoke("/grants/"+ofShop[0], manager, http.StatusNotFound)
		ended("one grant", shop, first)
		counts("another application's", mail, one)
		if consented() {
			t.Error("the application gets a new grant without consent")
		}

		second := allow()
		revoke("/applications/"+mail.ID.String()+"/grants", manager, http.StatusForbidden) // owners use it too
		revoke("/applications/"+mail.ID.String()+"/grants", w.Holder("acme", role.Admin), http.StatusNoContent)
		for _, got := range []tokens{one, two, other} {
			ended("of the application", mail, got)
		}
		counts("another application's", shop, second)

		third := mail.signedIn(t, bob)
		revoke("/users/"+w.user.ID.String()+"/grants", manager, http.StatusNoContent)
		ended("of the user", shop, second)
		counts("another user's", mail, third)
		if consented() {
			t.Error("consent stays")
		}
		if got := list("user_id=" + w.user.ID.String()); len(got) != 0 {
			t.Errorf("the user still has %v", got)
		}
		for _, path := range []string{"/users/", "/applications/"} {
			revoke(path+w.c.Tenant.String()+"/grants", manager, http.StatusNotFound)
		}
		if a := w.Call(auditor, "GET", "acme", "/grants?user_id=", nil); a.Status != http.StatusBadRequest {
			t.Errorf("an empty filter: %d %s", a.Status, a.Body)
		}
	})
}

// An owner sees and rotates the tenant's keys, and nothing private.
func TestSigningKeysAreListedAndRotated(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner, developer := w.Holder("acme", role.Owner), w.Holder("acme", role.Developer)
		keys := func(query string) []any {
			t.Helper()
			a := w.Call(developer, "GET", "acme", "/signing-keys"+query, nil)
			if a.Status != http.StatusOK || strings.Contains(a.Body, "sealed") {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			return a.JSON(t)["items"].([]any)
		}
		if n := len(keys("")); n != 4 {
			t.Errorf("%d keys, want two of ES256 and of RS256", n)
		}
		next := keys("?algorithm=RS256&state=published")[0].(map[string]any)["kid"]
		rotate := func(token string) world.Answer {
			return w.Call(token, "POST", "acme", "/signing-keys/rotate", map[string]any{"algorithm": "RS256"})
		}
		if a := rotate(developer); a.Status != http.StatusForbidden {
			t.Errorf("a developer: %d", a.Status)
		}
		w.Clock.Advance(time.Second)
		got := w.Must(owner, "POST", "acme", "/signing-keys/rotate", map[string]any{"algorithm": "RS256"})
		if got["kid"] != next || got["state"] != "signing" || len(keys("?algorithm=RS256")) != 3 ||
			len(keys("?state=retired")) != 1 {
			t.Errorf("%v, want the key %v", got, next)
		}
		if a := rotate(owner); a.Status != http.StatusConflict {
			t.Errorf("again at once: %d %s", a.Status, a.Body)
		}
	})
}
