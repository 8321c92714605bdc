package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// RFC 7662: authenticated caller, audience-limited, unknown → active:false.
func TestIntrospection(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		robot := w.client(application.New{Type: application.Machine, Name: "Robot", Scopes: []string{"a"},
			AccessToken: application.Opaque})
		solo := w.User(w.c, user.Profile{Username: "solo"})
		other := w.client(application.New{Name: "Other"})
		spa := w.client(application.New{Type: application.SPA})
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{AccessToken: form})
			got := c.signedIn(t, w.user)
			active := func(by *client, token string) bool {
				t.Helper()
				a := by.post("/oauth2/introspect", "token", token, "token_type_hint", "nonsense")
				if a.Status != 200 || a.Header.Get("Cache-Control") != "no-store" {
					t.Fatalf("%d %s %s", a.Status, a.Header.Get("Cache-Control"), a.Body)
				}
				m := a.JSON(t)
				if m["active"] == false && len(m) != 1 {
					t.Errorf("more than active=false is said: %s", a.Body)
				}
				return m["active"] == true
			}
			m := c.post("/oauth2/introspect", "token", got.Access).JSON(t)
			if m["active"] != true || m["sub"] != w.user.ID.String() || m["client_id"] != c.ClientID ||
				m["scope"] != got.Scope || m["iss"] != w.issuer ||
				m["aud"] != w.issuer || m["token_type"] != "Bearer" ||
				m["exp"] != float64(w.Clock.Now().Add(10*time.Minute).Unix()) ||
				m["username"] != "ada@example.com" ||
				m["acr"] != "aal1" || m["auth_time"] == nil || m["jti"] == nil {
				t.Errorf("%s: %v", form, m)
			}
			nameless := c.signedIn(t, solo)
			if m := c.post("/oauth2/introspect", "token", nameless.Access).JSON(t); m["username"] != "solo" {
				t.Errorf("%s: a user without an email address: %v", form, m)
			}
			if !active(robot, got.Access) || !active(c, got.Refresh) {
				t.Errorf("%s: the resource server, or the client itself, is told that the token is not active", form)
			}
			for name, is := range map[string]bool{
				"another application":                   active(other, got.Access),
				"another application, refresh":          active(other, got.Refresh),
				"the resource server, refresh":          active(robot, got.Refresh),
				"an ID token":                           active(c, got.ID),
				"nonsense":                              active(c, "nonsense"),
				"an access token that was made up":      active(c, madeUp(w, secret.AccessToken)),
				"a refresh token that was made up":      active(c, madeUp(w, secret.RefreshToken)),
				"a client secret":                       active(c, c.Secret.Reveal()),
				"a very long one":                       active(c, strings.Repeat("a", 10_000)),
				"a token whose signature was cut short": active(c, got.Access[:len(got.Access)-5]),
			} {
				if is {
					t.Errorf("%s: %s is active", form, name)
				}
			}
			refusedWith(t, "a public client", spa.post("/oauth2/introspect", "token", got.Access), 401,
				"invalid_client")
			refusedWith(t, "no token", c.post("/oauth2/introspect"), 400, "invalid_request")
			stranger := *c
			stranger.Secret = "wrong"
			refusedWith(t, "a stranger", stranger.post("/oauth2/introspect", "token", got.Access), 401,
				"invalid_client")

			w.Clock.Advance(10 * time.Minute)
			if active(c, got.Access) {
				t.Errorf("%s: active after its end", form)
			}
			w.disable(c)
			if active(robot, got.Access) {
				t.Errorf("%s: active though its application is switched off", form)
			}
		}
		own := mustTokens(t, robot.post("/oauth2/token", "grant_type", "client_credentials"))
		if m := robot.post("/oauth2/introspect", "token", own.Access).JSON(t); m["active"] != true ||
			m["sub"] != robot.ID.String() || m["auth_time"] != nil {
			t.Errorf("a machine's own: %v", m)
		}
	})
}

func madeUp(w *scene, kind string) string {
	s, _ := secret.NewToken(kind, w.c.Tenant)
	return s.Reveal()
}

// RFC 7009: answers 200 and revokes only the caller's own.
func TestRevocation(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		other := w.client(application.New{Name: "Other"})
		for _, typ := range []application.Type{application.Web, application.SPA} {
			for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
				c := w.client(application.New{Type: typ, FirstParty: true, AccessToken: form})
				got := c.signedIn(t, w.user)
				revoke := func(by *client, token string) {
					t.Helper()
					if a := by.post("/oauth2/revoke", "token", token); a.Status != 200 || a.Body != "" ||
						a.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("%d %q", a.Status, a.Body)
					}
				}
				for _, token := range []string{"nonsense", madeUp(w, secret.RefreshToken),
					madeUp(w, secret.AccessToken), got.ID} {
					revoke(c, token)
				}
				revoke(other, got.Access)
				revoke(other, got.Refresh)
				if s := w.userinfo(got.Access).Status; s != 200 {
					t.Errorf("%s: another application revoked the access token", form)
				}
				got = mustTokens(t, c.refresh(got.Refresh))
				revoke(c, got.Access)
				refusedWith(t, "revoked access token", w.userinfo(got.Access), 401, "invalid_token")
				next := mustTokens(t, c.refresh(got.Refresh))
				revoke(c, next.Refresh)
				revoke(c, next.Refresh)
				refusedWith(t, "revoked refresh token", c.refresh(next.Refresh), 400, "invalid_grant")
				refusedWith(t, "its access token", w.userinfo(next.Access), 401, "invalid_token")
				refusedWith(t, "no token", c.post("/oauth2/revoke"), 400, "invalid_request")
			}
		}
		if !slices.Contains(w.actions(), "grant.revoke") {
			t.Error("the revocation was not audited")
		}
	})
}

// OpenID Connect Core §5.3, RFC 6750.
func TestUserinfo(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		got := c.signedIn(t, w.user)
		info := w.userinfo(got.Access).JSON(t)
		if info["sub"] != w.user.ID.String() || info["email"] != "ada@example.com" ||
			info["email_verified"] != true || info["name"] != "Ada Lovelace" ||
			info["given_name"] != "Ada" || info["family_name"] != "Lovelace" || info["updated_at"] == nil {
			t.Errorf("%v", info)
		}
		only := c.signedIn(t, w.user, "scope", "openid")
		if info := w.userinfo(only.Access).JSON(t); len(info) != 1 {
			t.Errorf("scope openid: %v", info)
		}
		plain := c.signedIn(t, w.user, "scope", "profile")
		a := w.userinfo(plain.Access)
		refusedWith(t, "without openid", a, 403, "insufficient_scope")
		if !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
		}
		send := func(method, query, authorization, body string) world.Answer {
			r, err := http.NewRequest(method, w.issuer+"/oauth2/userinfo"+query, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			if body != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			return w.browser().Send(r)
		}
		form := url.Values{"access_token": {got.Access}}.Encode()
		if a := send("POST", "", "", form); a.Status != 200 {
			t.Errorf("POST with a form: %d %s", a.Status, a.Body)
		}
		if a := send("POST", "", "bearer "+got.Access, ""); a.Status != 200 {
			t.Errorf("POST with a header: %d %s", a.Status, a.Body)
		}
		refusedWith(t, "two ways", send("POST", "", "Bearer "+got.Access, form), 400, "invalid_request")
		refusedWith(t, "in the query", send("GET", "?"+form, "", ""), 401, "invalid_token")
		a = send("GET", "", "", "")
		refusedWith(t, "none", a, 401, "invalid_token")
		if c := a.Header.Get("WWW-Authenticate"); strings.Contains(c, "error") || !strings.Contains(c,
			`/.well-known/oauth-protected-resource/t/acme/oauth2/userinfo"`) {
			t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
		}
		for name, token := range map[string]string{"nonsense": "x", "ID token": got.ID, "refresh token": got.Refresh,
			"made up": madeUp(w, secret.AccessToken)} {
			a := w.userinfo(token)
			refusedWith(t, name, a, 401, "invalid_token")
			if !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s: WWW-Authenticate: %q", name, a.Header.Get("WWW-Authenticate"))
			}
		}
		w.disable(c)
		refusedWith(t, "application switched off", w.userinfo(got.Access), 401, "invalid_token")
	})
}

// RFC 8725 §3.11, RFC 9068: another tenant's token, another kind of token, another key.
func TestTokensStayInTheirTenant(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		globex := w.Tenant("globex", nil)
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{AccessToken: form})
			got := c.signedIn(t, w.user)
			r, err := http.NewRequest(http.MethodGet, w.Origin+"/t/globex/oauth2/userinfo", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+got.Access)
			refusedWith(t, string(form)+" at another tenant", w.browser().Send(r), 401, "invalid_token")
		}
		// Another tenant's key signs a token that says all the right things.
		c := w.client(application.New{})
		good := c.signedIn(t, w.user)
		claims, _ := w.claims(t, good.Access, "at+jwt")
		s, err := w.App.Keys.Signer(ctx, globex, jose.ES256, jose.TypeAccessToken)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := s.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		refusedWith(t, "another tenant's key", w.userinfo(forged), 401, "invalid_token")
		// Our own key, but another type or issuer.
		own, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		typed, err := own.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		refusedWith(t, "typ JWT", w.userinfo(typed), 401, "invalid_token")
		// A code and a client of one tenant at the other's token endpoint.
		there := *c
		w2 := *w
		w2.issuer = w.Origin + "/t/globex"
		there.w = &w2
		refusedWith(t, "a client at another tenant", there.refresh(good.Refresh), 401, "invalid_client")
	})
}

// Suspending a tenant stops its tokens at once.
func TestSuspendedTenant(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		got := c.signedIn(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
			return err
		})
		refusedWith(t, "refresh", c.refresh(got.Refresh), 403, "temporarily_unavailable")
		refusedWith(t, "userinfo", w.userinfo(got.Access), 403, "temporarily_unavailable")
		refusedWith(t, "introspection", c.post("/oauth2/introspect", "token", got.Access), 403,
			"temporarily_unavailable")
		if a := w.browser().Visit(c.authorizeURL("")); a.Status != http.StatusForbidden {
			t.Errorf("authorize: %d", a.Status)
		}
	})
}

func TestAccessIsRecorded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Machine, Name: "Robot"})
		got := mustTokens(t, c.post("/oauth2/token", "grant_type", "client_credentials"))
		c.post("/oauth2/introspect", "token", got.Access)
		w.App.Records.Close()
		var rows []string
		err := w.View(ctx, w.c, func(tx *db.Tx) error {
			var err error
			rows, err = db.List(ctx, tx, func(r db.Row) (string, error) {
				var s string
				var err error
				var actor, detail string
				err = r.Scan(&s, &actor, &detail)
				if strings.Contains(detail, got.Access) || strings.Contains(detail, c.Secret.Reveal()) {
					t.Errorf("a secret is recorded: %s", detail)
				}
				return s + " by " + actor, err
			}, `SELECT action, actor_name, detail FROM access_records WHERE tenant_id = $1 ORDER BY action DESC`)
			return err
		})
		if err != nil || strings.Join(rows, ", ") != "token.issue by Robot, token.introspect by Robot" {
			t.Errorf("%v %v", rows, err)
		}
	})
}
