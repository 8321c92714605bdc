package oidc_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// decide asks the decision API whether token may do something.
func (w *scene) decide(token string) world.Answer {
	w.T.Helper()
	r, err := http.NewRequest("POST", w.issuer+"/access/v1/evaluation", strings.NewReader(
		`{"subject":{"type":"user","id":"ada"},"action":{"name":"view"},"resource":{"type":"album","id":"1"}}`))
	if err != nil {
		w.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.Send(r)
}

// A token for a built-in API is good there and not at the other one, in a tenant with APIs and
// without.
func TestATokenForABuiltInAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		management, decision := w.issuer+"/api/v1", w.issuer+"/access/v1"
		both := []string{application.ScopeManage, application.ScopeDecide, "read"}
		robot := w.client(application.New{Type: application.Machine, Scopes: both})
		opaque := w.client(application.New{Type: application.Machine, Scopes: both, AccessToken: application.Opaque})
		plain := w.client(application.New{Type: application.Machine, Scopes: []string{"read"}})
		for _, c := range []*client{robot, opaque} {
			w.Do(w.c, func(tx *db.Tx) error {
				return role.Assign(ctx, tx, role.Everything(), role.OfApplication(c.ID), role.Auditor, time.Time{})
			})
		}
		person := w.client(application.New{Scopes: append([]string{application.ScopeManage}, everyScope...)})
		w.Do(w.c, func(tx *db.Tx) error { // at the tenant, which means the same
			return grant.Consent(ctx, tx, w.user.ID, person.ID, []string{application.ScopeManage})
		})
		try := func(when string) {
			t.Helper()
			for _, by := range []*client{robot, opaque} {
				for resource, want := range map[string]struct {
					scope               string
					management, decides int
				}{
					"":         {strings.Join(both, " "), 200, 200},
					w.issuer:   {strings.Join(both, " "), 200, 200},
					management: {application.ScopeManage, 200, 401},
					decision:   {application.ScopeDecide, 401, 200},
				} {
					got := by.post("/oauth2/token", "grant_type", "client_credentials", "resource", resource).JSON(t)
					token, _ := got["access_token"].(string)
					if got["scope"] != want.scope {
						t.Errorf("%s, %q: %v", when, resource, got)
					}
					if a := w.Call(token, "GET", "acme", "/users", nil); a.Status != want.management {
						t.Errorf("%s, a token for %q at the management API: %d %s", when, resource, a.Status, a.Body)
					}
					if a := w.decide(token); a.Status != want.decides {
						t.Errorf("%s, a token for %q at the decision API: %d %s", when, resource, a.Status, a.Body)
					}
				}
			}
			refusedWith(t, "an application without its scope", plain.post("/oauth2/token", "grant_type",
				"client_credentials", "resource", management), 400, "invalid_target")
			refusedWith(t, "a scope of the other one", robot.post("/oauth2/token", "grant_type", "client_credentials",
				"resource", management, "scope", application.ScopeDecide), 400, "invalid_scope")
			// By the code flow: the consent to the scope counts, and a refresh stays at the API.
			got := person.signedIn(t, w.user, "scope", "openid gatehouse:manage offline_access", "resource", management)
			got = mustTokens(t, person.refresh(got.Refresh))
			claims, _ := w.claims(t, got.Access, "at+jwt")
			if diff := cmp.Diff([]any{management, w.issuer + "/oauth2/userinfo"}, claims["aud"]); diff != "" {
				t.Errorf("%s: %s", when, diff)
			}
			if a := w.Call(got.Access, "GET", "acme", "/users", nil); a.Status != 403 { // a user without a role
				t.Errorf("%s, a person's token: %d %s", when, a.Status, a.Body)
			}
			if a := w.decide(got.Access); a.Status != 401 {
				t.Errorf("%s, a person's token at the decision API: %d %s", when, a.Status, a.Body)
			}
			refusedWith(t, "the tenant", person.refresh(got.Refresh, "resource", w.issuer), 400, "invalid_target")
		}
		try("without APIs")
		server := w.registered(invoices, nil)
		try("with an API")
		token := w.client(application.New{Type: application.Machine, Scopes: both}).post("/oauth2/token", "grant_type",
			"client_credentials", "resource", management).JSON(t)["access_token"].(string)
		for name, c := range map[string]*client{"a server": server, "a machine": plain} {
			if c.active(token) {
				t.Errorf("%s sees a token for the management API", name)
			}
		}
	})
}

// The built-in APIs are in the list, before the others, and cannot be changed.
func TestBuiltInAPIsAreListed(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		owner := w.Holder("acme", role.Owner)
		var names, ids []string
		for cursor := ""; ; {
			page := w.Must(owner, "GET", "acme", "/apis?limit=1"+cursor, nil)
			for _, item := range page["items"].([]any) {
				a := item.(map[string]any)
				names, ids = append(names, a["identifier"].(string)), append(ids, a["id"].(string))
				if a["built_in"] != (len(names) <= 3) {
					t.Errorf("%v", a)
				}
			}
			if page["next_cursor"] == nil {
				break
			}
			cursor = "&cursor=" + page["next_cursor"].(string)
		}
		if diff := cmp.Diff([]string{w.issuer + "/api/v1", w.issuer + "/access/v1", w.issuer + "/oauth2/userinfo",
			invoices}, names); diff != "" {
			t.Fatal(diff)
		}
		for _, id := range ids[:3] {
			got := w.Must(owner, "GET", "acme", "/apis/"+id, nil)
			if scopes := got["scopes"].([]any); len(scopes) != 1 || scopes[0].(map[string]any)["description"] == "" {
				t.Errorf("%v", got)
			}
			for method, body := range map[string]any{"PATCH": map[string]any{"name": "Mine"}, "DELETE": nil} {
				a := w.Call(owner, method, "acme", "/apis/"+id, body)
				if a.Status != 409 || !strings.Contains(a.Body, `"api.built_in"`) {
					t.Errorf("%s: %d %s", method, a.Status, a.Body)
				}
			}
		}
		if a := w.Call(owner, "POST", "acme", "/apis", map[string]any{"identifier": w.issuer + "/api/v1",
			"name": "Mine", "scopes": []any{map[string]any{"name": "read"}}}); a.Status != 400 {
			t.Errorf("registered again: %d %s", a.Status, a.Body)
		}
	})
}

// RFC 9728: each protected resource is described at the address that its challenge names, which is
// its identifier with the well-known part after the host.
func TestProtectedResourceMetadata(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		api, err := w.App.APIs.ByIdentifier(ctx, w.c, invoices)
		if err != nil {
			t.Fatal(err)
		}
		inserted := func(path string) string {
			return w.Origin + "/.well-known/oauth-protected-resource/t/acme" + path
		}
		header, issuer := []any{"header"}, []any{w.issuer}
		for path, want := range map[string]map[string]any{
			"/api/v1": {"resource": w.issuer + "/api/v1", "authorization_servers": issuer,
				"scopes_supported": []any{"gatehouse:manage"}, "bearer_methods_supported": header,
				"resource_name": "Management API"},
			"/access/v1": {"resource": w.issuer + "/access/v1", "authorization_servers": issuer,
				"scopes_supported": []any{"gatehouse:decide"}, "bearer_methods_supported": header,
				"resource_name": "Decision API"},
			"/oauth2/userinfo": {"resource": w.issuer + "/oauth2/userinfo", "authorization_servers": issuer,
				"scopes_supported":         []any{"openid", "profile", "email", "groups", "roles"},
				"bearer_methods_supported": []any{"header", "body"}, "resource_name": "Userinfo"},
			"/apis/" + api.ID.String(): {"resource": invoices, "authorization_servers": issuer,
				"scopes_supported": []any{"read", "write"}, "resource_name": "API " + invoices},
		} {
			appended := w.issuer + "/.well-known/oauth-protected-resource" + path
			for _, address := range []string{inserted(path), appended} {
				r, err := http.NewRequest("GET", address, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Origin", "https://app.example.com")
				a := w.Send(r)
				if a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "*" ||
					a.Header.Get("Cache-Control") != "public, max-age=300" {
					t.Fatalf("%s: %d %v", address, a.Status, a.Header)
				}
				if diff := cmp.Diff(want, a.JSON(t)); diff != "" {
					t.Errorf("%s: %s", address, diff)
				}
			}
		}
		for _, path := range []string{"", "/api", "/api/v1/users", "/apis/", "/apis/x", "/oauth2/token",
			"/apis/00000000-0000-7000-8000-000000000001", "/apis/00000000-0000-7000-8000-0000000000ff"} {
			if a := w.browser().Visit(inserted(path)); a.Status != 404 {
				t.Errorf("%q: %d %s", path, a.Status, a.Body)
			}
		}
		named := w.browser().Visit(w.issuer + "/.well-known/openid-configuration").JSON(t)["protected_resources"]
		if diff := cmp.Diff([]any{w.issuer + "/api/v1", w.issuer + "/access/v1", w.issuer + "/oauth2/userinfo"},
			named); diff != "" {
			t.Error(diff)
		}
		for path, a := range map[string]world.Answer{"/api/v1": w.Call("", "GET", "acme", "/users", nil),
			"/access/v1": w.decide(""), "/oauth2/userinfo": w.userinfo("")} {
			challenge := a.Header.Get("WWW-Authenticate")
			if a.Status != 401 || strings.Contains(challenge, "error") ||
				!strings.Contains(challenge, `resource_metadata="`+inserted(path)+`"`) {
				t.Errorf("%s without a token: %d %s", path, a.Status, challenge)
			}
		}
	})
}

// RFC 9470: a token whose sign-in no longer satisfies the rules of the tenant is answered with what
// would, everywhere. One that the rules refuse altogether is merely not good.
func TestAChallengeAsksForAStrongerSignIn(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.client(application.New{Scopes: []string{application.ScopeManage, application.ScopeDecide, "openid"}})
		w.Do(w.c, func(tx *db.Tx) error {
			return grant.Consent(ctx, tx, w.user.ID, app.ID, app.Scopes[:2])
		})
		got := app.signedIn(t, w.user, "scope", strings.Join(app.Scopes, " "))
		owner := w.Holder("acme", role.Owner)
		at := func() map[string]string {
			out := map[string]string{}
			for name, a := range map[string]world.Answer{"userinfo": w.userinfo(got.Access),
				"management": w.Call(got.Access, "GET", "acme", "/users", nil), "decision": w.decide(got.Access)} {
				out[name] = "good"
				if a.Status == 401 {
					out[name] = a.Header.Get("WWW-Authenticate")
				}
			}
			return out
		}
		check := func(when string, parts ...string) {
			t.Helper()
			for name, challenge := range at() {
				for _, part := range parts {
					if !strings.Contains(challenge, part) {
						t.Errorf("%s, %s: %s, want %s", when, name, challenge, part)
					}
				}
			}
		}
		check("before", "good")
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		check("two factors", `error="insufficient_user_authentication"`, `acr_values="aal2"`, "resource_metadata=")
		if server := w.client(application.New{Type: application.Machine}); server.active(got.Access) {
			t.Error("introspection: the token is active")
		}
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"mfa": "optional",
			"signin": map[string]any{"sessions": []any{map[string]any{"max_seconds": 120}}}})
		check("of the last two minutes", "good")
		w.Clock.Advance(3 * time.Minute)
		check("too old", `error="insufficient_user_authentication"`, `max_age="120"`)
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{
			"signin": map[string]any{"block": []any{map[string]any{"applications": []any{app.ID}}}}})
		check("refused", `error="invalid_token"`)
		for name, challenge := range at() {
			if strings.Contains(challenge, "acr_values") {
				t.Errorf("refused, %s: %s", name, challenge)
			}
		}
	})
}
