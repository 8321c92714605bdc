package oidc_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A client that cannot send resource gets tokens for the API that its application has by default.
func TestTheDefaultAPIOfAnApplication(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		w.registered(reports, nil)
		app := w.client(application.New{Scopes: everyScope})
		earlier := app.signedIn(t, w.user, "scope", "openid read offline_access")
		set := func(c *client, to string) {
			t.Helper()
			w.Do(w.c, func(tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, role.Everything(), c.ID, application.Patch{DefaultAPI: &to})
				return err
			})
		}
		set(app, invoices)
		machine := w.client(application.New{Type: application.Machine, DefaultAPI: invoices,
			Scopes: []string{"read", application.ScopeManage}})
		ours := w.client(application.New{Type: application.Machine, DefaultAPI: w.issuer + "/api/v1",
			Scopes: []string{"read", application.ScopeManage}})
		cli := w.cli()
		w.Do(w.c, func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, role.Everything(), cli.ID,
				application.Patch{Scopes: &everyScope})
			return err
		})
		set(cli, invoices)

		audience := func(token string) string {
			claims, _ := w.claims(t, token, "at+jwt")
			if all, ok := claims["aud"].([]any); ok {
				return all[0].(string)
			}
			return claims["aud"].(string)
		}
		credentials := func(c *client, kv ...string) string {
			return mustTokens(t, c.post("/oauth2/token",
				append([]string{"grant_type", "client_credentials"}, kv...)...)).Access
		}
		got := app.signedIn(t, w.user, "scope", "openid read offline_access")
		at := func(resource string) string {
			return app.signedIn(t, w.user, "scope", "read", "resource", resource).Access
		}
		if a := w.userinfo(got.Access); a.Status != http.StatusOK {
			t.Errorf("userinfo: %d %s", a.Status, a.Body)
		}
		d := cli.device(t, "scope", "openid read")
		b := w.browser()
		b.signIn(w.user)
		d.answered(t, b, "allow")
		for what, c := range map[string]struct{ token, want string }{
			"a code":                    {got.Access, invoices},
			"a refresh":                 {mustTokens(t, app.refresh(got.Refresh)).Access, invoices},
			"a grant from before":       {mustTokens(t, app.refresh(earlier.Refresh)).Access, w.issuer},
			"another API":               {at(reports), reports},
			"the tenant":                {at(w.issuer), w.issuer},
			"a machine":                 {credentials(machine), invoices},
			"a machine, for the tenant": {credentials(machine, "resource", w.issuer), w.issuer},
			"a machine, Auth0's way":    {credentials(machine, "audience", w.issuer), w.issuer},
			"a machine, a built-in API": {credentials(ours), w.issuer + "/api/v1"},
			"a device":                  {mustTokens(t, d.poll()).Access, invoices},
		} {
			if aud := audience(c.token); aud != c.want {
				t.Errorf("%s: a token for %s, want %s", what, aud, c.want)
			}
		}
		// Without its API the application gets nothing that is good elsewhere.
		w.Do(w.c, func(tx *db.Tx) error {
			a, err := resourceserver.ByIdentifier(ctx, tx, invoices)
			if err == nil {
				err = resourceserver.Delete(ctx, tx, a.ID)
			}
			return err
		})
		refusedWith(t, "a machine without its API", machine.post("/oauth2/token", "grant_type", "client_credentials"),
			400, "invalid_target")
		_, challenge := pkce()
		q := w.response(t, b.Visit(app.authorizeURL(challenge, "scope", "openid")))
		if q.Get("error") != "invalid_target" {
			t.Errorf("a sign-in without its API: %v", q)
		}
	})
}

// An application has no API by default for which it may not ask.
func TestWhatNoApplicationHasByDefault(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		developer := w.Holder("acme", role.Developer)
		with := func(api string, scopes ...string) map[string]any {
			return map[string]any{"name": "App", "type": "machine", "scopes": scopes, "default_api": api}
		}
		for what, body := range map[string]map[string]any{
			"an unknown API":     with("https://unknown.example", "read"),
			"without its scopes": with(invoices, "x"),
			"a built-in one":     with(w.issuer+"/api/v1", "read"),
			"the tenant":         with(w.issuer, "read"),
			"of another tenant":  with(w.Base("platform")+"/api/v1", "read"),
		} {
			a := w.Call(developer, "POST", "acme", "/applications", body)
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"name":"default_api"`) {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		}
		app := w.Must(developer, "POST", "acme", "/applications", with(invoices, "read"))
		if app["default_api"] != invoices {
			t.Errorf("answered %v", app["default_api"])
		}
		path := "/applications/" + app["id"].(string)
		for what, change := range map[string]map[string]any{"its last scope": {"scopes": []string{"x"}},
			"another API": {"default_api": "https://unknown.example"}} {
			a := w.Call(developer, "PATCH", "acme", path, change)
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"name":"default_api"`) {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		}
		got := w.Must(developer, "PATCH", "acme", path, map[string]any{"default_api": nil})
		if got["default_api"] != nil {
			t.Errorf("removed: %v", got)
		}
	})
}

// A tenant without APIs ignores what it does not know, as a server does that knows no resources. An
// application with an API by default does not.
func TestAnUnknownResourceInATenantWithoutAPIs(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		machine := w.client(application.New{Type: application.Machine, Scopes: []string{"read"}})
		for _, name := range []string{"resource", "audience"} {
			mustTokens(t, machine.post("/oauth2/token", "grant_type", "client_credentials", name, invoices))
		}
		ours := w.client(application.New{Type: application.Machine, DefaultAPI: w.issuer + "/api/v1",
			Scopes: []string{"read", application.ScopeManage}})
		refusedWith(t, "with a default", ours.post("/oauth2/token", "grant_type", "client_credentials", "resource",
			invoices), 400, "invalid_target")
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		q := w.response(t, b.Visit(w.client(application.New{FirstParty: true}).authorizeURL(challenge, "resource",
			invoices)))
		if q.Get("code") == "" {
			t.Errorf("authorize: %v", q)
		}
	})
}
