package oidc_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// A thief has the key that signs, and forges a machine's token. A rotation ends at once what is
// forged later, and the rest in a day. A withdrawal ends everything at once.
func TestAStolenKeyIsWithdrawn(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		client, _ := w.Machine("acme", role.Owner, application.Opaque)
		app, err := w.App.Applications.ByClientID(ctx, w.c, client)
		if err != nil {
			t.Fatal(err)
		}
		owner := w.Holder("acme", role.Owner)
		stolen, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeAccessToken)
		if err != nil {
			t.Fatal(err)
		}
		forge := func(at time.Time, lifetime time.Duration) string {
			text, err := stolen.Sign(grant.AccessClaims{
				Claims: jose.Claims{Issuer: w.issuer, Subject: app.ID.String(), Audience: jose.Audience{w.issuer},
					IssuedAt: jose.At(at), Expiry: jose.At(at.Add(lifetime)), ID: id.New().String()},
				Application: app.ID.String(), Scope: application.ScopeManage,
			})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		check := func(name, token string, want int) {
			t.Helper()
			if a := w.Call(token, "GET", "acme", "/users", nil); a.Status != want {
				t.Errorf("%s: %d %s, want %d", name, a.Status, a.Body, want)
			}
		}
		hint := w.client(application.New{IDTokenAlg: "ES256"}).signedIn(t, w.user).ID
		early := forge(w.Clock.Now(), application.MaxTokenLifetime)
		check("forged", early, http.StatusOK)
		check("forged for a year", forge(w.Clock.Now(), 365*24*time.Hour), http.StatusUnauthorized)

		kid := w.Must(owner, "GET", "acme", "/signing-keys?state=signing&algorithm=ES256",
			nil)["items"].([]any)[0].(map[string]any)["kid"].(string)
		w.Clock.Advance(time.Hour)
		owner = w.Holder("acme", role.Owner)
		w.Must(owner, "POST", "acme", "/signing-keys/rotate", map[string]any{"algorithm": "ES256"})
		check("issued before the rotation", early, http.StatusOK)
		w.Clock.Advance(5 * time.Minute)
		check("forged after the rotation", forge(w.Clock.Now(), time.Hour), http.StatusUnauthorized)

		developer := w.Holder("acme", role.Developer)
		if a := w.Call(developer, "DELETE", "acme", "/signing-keys/"+kid, nil); a.Status != http.StatusForbidden {
			t.Errorf("a developer: %d", a.Status)
		}
		if a := w.Call(owner, "DELETE", "acme", "/signing-keys/"+kid, nil); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		check("issued before, after the withdrawal", early, http.StatusUnauthorized)
		check("the owner's own, of the same key", owner, http.StatusUnauthorized)
		owner = w.Holder("acme", role.Owner)
		if _, err := w.App.Keys.VerifyHint(ctx, w.c, hint); err == nil {
			t.Error("an ID token of the withdrawn key is still a hint")
		}
		if set := w.browser().Visit(w.issuer + "/oauth2/jwks").Body; strings.Contains(set, kid) {
			t.Errorf("still published: %s", set)
		}
		events := w.Must(owner, "GET", "acme", "/audit-events?action=key.withdraw", nil)["items"].([]any)
		if len(events) != 1 || events[0].(map[string]any)["target"].(map[string]any)["id"] != kid {
			t.Errorf("events: %v", events)
		}
		if a := w.Call(owner, "DELETE", "acme", "/signing-keys/"+kid, nil); a.Status != http.StatusNotFound {
			t.Errorf("again: %d %s", a.Status, a.Body)
		}
	})
}
