package oidc_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const (
	invoices = "https://invoices.example.com"
	reports  = "urn:example:reports"
	vault    = "https://vault.example.com/v1"
)

// registered registers an API with the scopes read and write, and returns the application that is
// it.
func (w *scene) registered(identifier string, edit func(*resourceserver.Profile)) *client {
	w.T.Helper()
	server := w.client(application.New{Type: application.Machine, Name: "Server of " + identifier})
	p := resourceserver.Profile{Name: "API " + identifier, Servers: []id.ID{server.ID},
		Scopes: []resourceserver.Scope{{Name: "read", Description: "See what is in " + identifier}, {Name: "write"}}}
	if edit != nil {
		edit(&p)
	}
	w.Do(w.c, func(tx *db.Tx) error {
		_, err := resourceserver.Create(ctx, tx, role.Everything(), identifier, p)
		return err
	})
	return server
}

var everyScope = []string{"openid", "profile", "email", "offline_access", "read", "write"}

func (c *client) active(token string) bool {
	return c.post("/oauth2/introspect", "token", token).JSON(c.w.T)["active"] == true
}

// A token is for one API. It is good there, at userinfo if its holder may ask who the person is,
// and nowhere else.
func TestATokenIsForOneAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ofInvoices := w.registered(invoices, func(p *resourceserver.Profile) { p.TokenSeconds = 120 })
		ofReports := w.registered(reports, func(p *resourceserver.Profile) {
			p.TokenProfile, p.SigningAlg = resourceserver.JWT, "RS256"
		})
		ofVault := w.registered(vault, func(p *resourceserver.Profile) { p.TokenProfile = resourceserver.Opaque })
		other := w.client(application.New{Type: application.Machine})
		app := w.client(application.New{Scopes: append([]string{application.ScopeManage}, everyScope...)})
		w.Do(w.c, func(tx *db.Tx) error {
			return grant.Consent(ctx, tx, w.user.ID, app.ID, []string{application.ScopeManage})
		})
		scope := strings.Join(app.Scopes, " ")
		servers := map[string]*client{"invoices": ofInvoices, "reports": ofReports, "vault": ofVault, "another": other}
		seenBy := func(token string) []string {
			var out []string
			for name, s := range servers {
				if s.active(token) {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out
		}
		for name, c := range map[string]struct {
			resource, typ, alg string
			audience           any
			scope              string
			seen               []string
			seconds            int64
			userinfo           int
		}{
			"no resource": {"", "at+jwt", "ES256", w.issuer, scope, []string{"another"}, 600, 200},
			"the tenant":  {w.issuer, "at+jwt", "ES256", w.issuer, scope, []string{"another"}, 600, 200},
			"an API": {invoices, "at+jwt", "ES256", []any{invoices, w.issuer + "/oauth2/userinfo"},
				strings.Join(everyScope, " "), []string{"invoices"}, 120, 200},
			"an API of plain JWTs": {reports, "JWT", "RS256", reports, strings.Join(everyScope, " "),
				[]string{"reports"}, 600, 401},
			"an API of opaque tokens": {vault, "", "", []any{vault, w.issuer + "/oauth2/userinfo"},
				strings.Join(everyScope, " "), []string{"vault"}, 600, 200},
		} {
			got := app.signedIn(t, w.user, "scope", scope, "resource", c.resource)
			if got.Scope != c.scope || got.Expires != c.seconds || got.ID == "" {
				t.Errorf("%s: scope %q for %d s", name, got.Scope, got.Expires)
			}
			var audience any
			if c.typ == "" {
				audience = app.post("/oauth2/introspect", "token", got.Access).JSON(t)["aud"]
			} else {
				claims, header := w.claims(t, got.Access, c.typ)
				audience = claims["aud"]
				if header["alg"] != c.alg || (c.typ == "JWT") != (claims["token_use"] == "access") {
					t.Errorf("%s: %v %v", name, header, claims)
				}
			}
			if diff := cmp.Diff(c.audience, audience); diff != "" {
				t.Errorf("%s: audience: %s", name, diff)
			}
			if diff := cmp.Diff(c.seen, seenBy(got.Access)); diff != "" {
				t.Errorf("%s: who sees the token: %s", name, diff)
			}
			if seen := seenBy(got.ID); len(seen) > 0 || app.active(got.ID) {
				t.Errorf("%s: the ID token is active for %v", name, seen)
			}
			if !app.active(got.Access) {
				t.Errorf("%s: its holder does not see it", name)
			}
			if a := w.userinfo(got.Access); a.Status != c.userinfo {
				t.Errorf("%s at userinfo: %d %s, want %d", name, a.Status, a.Body, c.userinfo)
			}
			ours := 401
			if c.audience == w.issuer {
				ours = 403 // the token is good, and its user has no role
			}
			if a := w.Call(got.Access, "GET", "acme", "/users", nil); a.Status != ours {
				t.Errorf("%s at the management API: %d %s, want %d", name, a.Status, a.Body, ours)
			}
			_, challenge := pkce()
			hinted := w.response(t, w.browser().Visit(app.authorizeURL(challenge, "prompt", "none", "id_token_hint",
				got.Access)))
			if hinted.Get("error") != "invalid_request" {
				t.Errorf("%s: the access token is a good hint: %v", name, hinted)
			}
		}
	})
}

// A grant may be for several APIs. Each token is for one of them, and a refresh can only narrow.
func TestAGrantForTwoAPIs(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		w.registered(reports, func(p *resourceserver.Profile) { p.Scopes = p.Scopes[:1] })
		w.registered(vault, nil)
		app := w.client(application.New{Scopes: everyScope})
		audience := func(got tokens) any {
			claims, _ := w.claims(t, got.Access, "at+jwt")
			return claims["aud"]
		}
		b := w.browser()
		b.signIn(w.user)
		verifier, challenge := pkce()
		code := w.response(t, b.Visit(app.authorizeURL(challenge, "scope", "read write offline_access", "resource",
			invoices)+"&resource="+url.QueryEscape(reports))).Get("code")
		redeem := func(kv ...string) []string {
			return append([]string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI,
				"code_verifier", verifier}, kv...)
		}
		refusedWith(t, "a third API", app.post("/oauth2/token", redeem("resource", vault)...), 400, "invalid_target")
		refusedWith(t, "the tenant", app.post("/oauth2/token", redeem("resource", w.issuer)...), 400, "invalid_target")
		got := mustTokens(t, app.post("/oauth2/token", redeem()...)) // the refusals left the code as it was
		if audience(got) != invoices || got.Scope != "read write offline_access" {
			t.Errorf("without resource: %v %q", audience(got), got.Scope)
		}
		got = mustTokens(t, app.refresh(got.Refresh, "resource", reports))
		if audience(got) != reports || got.Scope != "read offline_access" {
			t.Errorf("refreshed for another: %v %q", audience(got), got.Scope)
		}
		refusedWith(t, "a refresh for a third", app.refresh(got.Refresh, "resource", vault), 400, "invalid_target")
		refusedWith(t, "a refresh for two", app.refresh(got.Refresh, "resource", reports, "audience", invoices), 400,
			"invalid_target")
		got = mustTokens(t, app.refresh(got.Refresh))
		if audience(got) != invoices {
			t.Errorf("refreshed without resource: %v", audience(got))
		}
		w.Do(w.c, func(tx *db.Tx) error {
			a, err := resourceserver.ByIdentifier(ctx, tx, invoices)
			if err != nil {
				return err
			}
			return resourceserver.Delete(ctx, tx, a.ID)
		})
		refusedWith(t, "an API that was deleted", app.refresh(got.Refresh), 400, "invalid_target")
		mustTokens(t, app.refresh(got.Refresh, "audience", reports))
	})
}

// An application that was an API does not see tokens for the tenant when the API goes. Only a
// change of the application itself shows them to it.
func TestWhoSeesTheTenantsTokens(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		deleted, delisted := w.registered(invoices, nil), w.registered(reports, nil)
		plain := w.client(application.New{Type: application.Machine})
		no := false
		blind := w.client(application.New{Type: application.Machine, InspectsTenant: &no})
		website := w.client(application.New{Type: application.Web})
		token := w.client(application.New{Scopes: everyScope}).signedIn(t, w.user).Access
		sees := func(when string, want ...*client) {
			t.Helper()
			for name, c := range map[string]*client{"the server of a deleted API": deleted, "a former server": delisted,
				"a machine": plain, "a machine that may not": blind, "a website": website} {
				if got := c.active(token); got != slices.Contains(want, c) {
					t.Errorf("%s, %s: active %v", when, name, got)
				}
			}
		}
		sees("while the APIs are there", plain)
		w.Do(w.c, func(tx *db.Tx) error {
			a, err := resourceserver.ByIdentifier(ctx, tx, invoices)
			if err == nil {
				err = resourceserver.Delete(ctx, tx, a.ID)
			}
			if err == nil {
				a, err = resourceserver.ByIdentifier(ctx, tx, reports)
			}
			if err == nil {
				_, err = resourceserver.Update(ctx, tx, role.Everything(), a.ID, func(p *resourceserver.Profile) {
					p.Servers = nil
				})
			}
			return err
		})
		sees("when they are gone", plain)
		yes := true
		w.Do(w.c, func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, role.Everything(), deleted.ID,
				application.Patch{InspectsTenant: &yes})
			return err
		})
		sees("when one may again", plain, deleted)
	})
}

func TestWhoMayAskForAnAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		reader := w.client(application.New{Type: application.Machine,
			Scopes: []string{"read", application.ScopeManage}})
		listed := w.client(application.New{Type: application.Machine, Scopes: []string{"read"}})
		w.registered(vault, func(p *resourceserver.Profile) {
			p.Access, p.Applications = resourceserver.Listed, []id.ID{listed.ID}
		})
		none := w.client(application.New{Type: application.Machine, Scopes: []string{"x"}})
		ask := func(c *client, kv ...string) []string {
			a := c.post("/oauth2/token", append([]string{"grant_type", "client_credentials"}, kv...)...)
			if a.Status == 200 {
				return []string{a.JSON(t)["scope"].(string)}
			}
			return []string{a.JSON(t)["error"].(string)}
		}
		for name, c := range map[string]struct {
			by   *client
			kv   []string
			want string
		}{
			"all scopes":  {reader, []string{"resource", invoices}, "read"},
			"Auth0's way": {reader, []string{"audience", invoices}, "read"},
			"both ways":   {reader, []string{"audience", invoices, "resource", invoices}, "read"},
			"a scope":     {reader, []string{"resource", invoices, "scope", "read"}, "read"},
			"a scope of ours": {reader, []string{"resource", invoices, "scope", "gatehouse:manage"},
				"invalid_scope"},
			"no API":                  {reader, nil, "read gatehouse:manage"},
			"an API that lists it":    {listed, []string{"resource", vault}, "read"},
			"one that lists another":  {reader, []string{"resource", vault}, "invalid_target"},
			"without a scope of it":   {none, []string{"resource", invoices}, "invalid_target"},
			"an unknown one":          {reader, []string{"resource", invoices + "/v2"}, "invalid_target"},
			"a fragment":              {reader, []string{"resource", invoices + "#x"}, "invalid_target"},
			"a relative one":          {reader, []string{"resource", "/"}, "invalid_target"},
			"a word of ours":          {reader, []string{"resource", "issuer"}, "invalid_target"},
			"two":                     {reader, []string{"resource", invoices, "audience", vault}, "invalid_target"},
			"the base of the tenant":  {reader, []string{"resource", w.issuer}, "read gatehouse:manage"},
			"of the platform":         {reader, []string{"resource", w.Base("platform")}, "invalid_target"},
			"nothing, which is unset": {reader, []string{"resource", ""}, "read gatehouse:manage"},
		} {
			if got := ask(c.by, c.kv...); got[0] != c.want {
				t.Errorf("%s: %v, want %s", name, got, c.want)
			}
		}
		app := w.client(application.New{})
		_, challenge := pkce()
		for _, resource := range []string{invoices, "https://unknown.example"} {
			q := w.response(t, w.browser().Visit(app.authorizeURL(challenge, "resource", resource)))
			if q.Get("error") != "invalid_target" {
				t.Errorf("authorize for %s: %v", resource, q)
			}
		}
	})
}

// A person allows a scope of one API, and not what has the same name at another.
func TestConsentIsToOneAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		w.registered(reports, nil)
		app := w.client(application.New{Type: application.Web, Scopes: everyScope})
		_, challenge := pkce()
		at := func(resource string) string {
			return app.authorizeURL(challenge, "scope", "openid read write", "resource", resource)
		}
		b := w.browser()
		b.signIn(w.user)
		page := b.Visit(w.Origin + b.Visit(at(invoices)).Header.Get("Location"))
		for _, words := range []string{"API https://invoices.example.com: See what is in https://invoices.example.com",
			"API https://invoices.example.com: use “write”"} {
			if !strings.Contains(page.Text(), words) {
				t.Errorf("the page does not say %q: %s", words, page.Text())
			}
		}
		allowed := b.complete(b.Visit(at(invoices)).Header.Get("Location"), w.user, true)
		if q := w.response(t, b.Visit(allowed)); q.Get("code") == "" {
			t.Errorf("allowed: %v", q)
		}
		for resource, want := range map[string]string{invoices: "", reports: "consent_required"} {
			if q := w.response(t, b.Visit(at(resource)+"&prompt=none")); q.Get("error") != want {
				t.Errorf("%s: %v, want the error %q", resource, q, want)
			}
		}
	})
}
