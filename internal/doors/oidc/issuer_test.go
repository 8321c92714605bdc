package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A tenant is reached by path and by its own domain: two issuers. Each has both well-known forms:
// OpenID Connect Discovery §4 appends the segment, RFC 8414 §3.1 inserts it after the host. The iss
// of its responses is its metadata's issuer, byte for byte (RFC 9207 §2).
func TestIssuers(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &[]string{"login.acme.test"}})
			return err
		})
		get := func(host, path string) world.Answer {
			r, err := http.NewRequest(http.MethodGet, w.Origin+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			return w.browser().Send(r)
		}
		own, _ := url.Parse(w.Origin)
		domain := "login.acme.test:" + own.Port()
		for _, site := range []struct {
			host, issuer string
			paths        []string
		}{
			{own.Host, w.issuer, []string{
				"/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme",
				"/t/acme/.well-known/oauth-authorization-server", "/.well-known/openid-configuration/t/acme",
			}},
			{
				domain, "http://" + domain,
				[]string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
			},
		} {
			first := ""
			for _, path := range site.paths {
				a := get(site.host, path)
				if a.Status != 200 || a.Header.Get("Content-Type") != "application/json" ||
					a.Header.Get("Access-Control-Allow-Origin") != "*" {
					t.Fatalf("%s%s: %d %v", site.host, path, a.Status, a.Header)
				}
				if first == "" {
					first = a.Body
				}
				if a.Body != first {
					t.Errorf("%s differs from %s", path, site.paths[0])
				}
				m := a.JSON(t)
				if m["issuer"] != site.issuer || m["authorization_response_iss_parameter_supported"] != true {
					t.Errorf("%s: issuer %v, want %s", path, m["issuer"], site.issuer)
				}
				for name, v := range m {
					address, ok := v.(string)
					if ok && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri") &&
						!strings.HasPrefix(address, site.issuer+"/oauth2/") {
						t.Errorf("%s = %s", name, address)
					}
				}
			}
			// What is advertised is what happens.
			c := w.client(application.New{})
			_, challenge := pkce()
			r, err := http.NewRequest(http.MethodGet, strings.Replace(c.authorizeURL(challenge, "prompt", "none"),
				w.issuer, w.Origin+strings.TrimPrefix(site.issuer, "http://"+site.host), 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = site.host
			a := w.browser().Send(r)
			loc, err := url.Parse(a.Header.Get("Location"))
			if err != nil || loc.Query().Get("iss") != site.issuer || loc.Query().Get("error") != "login_required" {
				t.Errorf("%s: %d %v", site.host, a.Status, loc)
			}
		}
		// A token of one base of a tenant is its token at each of them: a revocation never answers
		// 200 and revokes nothing.
		c := w.client(application.New{})
		got := c.signedIn(t, w.user)
		r, _ := http.NewRequest(http.MethodGet, w.Origin+"/oauth2/userinfo", nil)
		r.Host = domain
		r.Header.Set("Authorization", "Bearer "+got.Access)
		if a := w.browser().Send(r); a.Status != http.StatusOK {
			t.Errorf("a token of the other base: %d %s", a.Status, a.Body)
		}
		form := url.Values{"token": {got.Access}, "client_id": {c.ClientID}}
		if !c.Secret.IsZero() {
			form.Set("client_secret", c.Secret.Reveal())
		}
		revoke, _ := http.NewRequest(http.MethodPost, w.Origin+"/oauth2/revoke", strings.NewReader(form.Encode()))
		revoke.Host = domain
		revoke.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := w.browser().Send(revoke); a.Status != http.StatusOK {
			t.Errorf("revoked at the other base: %d %s", a.Status, a.Body)
		}
		refusedWith(t, "a token revoked at the other base", w.browser().Send(r), 401, "invalid_token")
		for _, path := range []string{"/.well-known/oauth-authorization-server/t/nobody",
			"/.well-known/oauth-authorization-server/t/acme/x", "/.well-known/oauth-authorization-server"} {
			if a := get(own.Host, path); a.Status != http.StatusNotFound {
				t.Errorf("%s: %d", path, a.Status)
			}
		}
	})
}
