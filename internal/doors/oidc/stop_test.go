package oidc_test

import (
	"net/http"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// An application is disabled or removed, a user is deactivated or removed, or a tenant is
// suspended. Each ends at once what was issued before: codes, refresh tokens and access tokens of
// both forms, offline or not. Introspection then says the same of them.
func TestStopsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		robot := w.client(application.New{Type: application.Machine, Name: "Robot", Scopes: []string{"a"}})
		type refusal struct {
			status int
			code   string
		}
		var (
			noClient = refusal{401, "invalid_client"}
			noGrant  = refusal{400, "invalid_grant"}
			noToken  = refusal{401, "invalid_token"}
			noTenant = refusal{403, "temporarily_unavailable"}
		)
		for _, tt := range []struct {
			name           string
			stop           func(tx *db.Tx, c *client, u user.User) error
			token, bearer  refusal
			authorize      int // the status of an authorization request in a browser that was signed in
			introspectable bool
		}{
			{"application switched off", func(tx *db.Tx, c *client, _ user.User) error {
				_, err := tx.Exec(ctx, `UPDATE applications SET status = 'disabled' WHERE tenant_id = $1 AND id = $2`,
					c.ID)
				tenant.Touch(tx)
				return err
			}, noClient, noToken, http.StatusBadRequest, true},
			{"application removed", func(tx *db.Tx, c *client, _ user.User) error {
				_, err := tx.Exec(ctx, `DELETE FROM applications WHERE tenant_id = $1 AND id = $2`, c.ID)
				tenant.Touch(tx)
				return err
			}, noClient, noToken, http.StatusBadRequest, true},
			{"user deactivated", func(tx *db.Tx, _ *client, u user.User) error {
				_, err := user.SetStatus(ctx, tx, role.KeepOwner, u.ID, user.Deactivated)
				return err
			}, noGrant, noToken, http.StatusSeeOther, true},
			{"user removed", func(tx *db.Tx, _ *client, u user.User) error {
				return user.Delete(ctx, tx, role.ForUsers(), u.ID)
			}, noGrant, noToken, http.StatusSeeOther, true},
			{"tenant suspended", func(tx *db.Tx, _ *client, _ user.User) error {
				_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
				return err
			}, noTenant, noTenant, http.StatusForbidden, false},
		} {
			u := w.person("u-"+newName(tt.name)+"@example.com", "U", "V")
			type held struct {
				form           application.AccessToken
				c              *client
				tokens         tokens
				code, verifier string
				b              *browser
			}
			var all []held
			for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
				h := held{form: form, c: w.client(application.New{AccessToken: form}), b: w.browser()}
				h.b.signIn(u)
				h.tokens = h.c.tokensIn(t, h.b)
				h.code, h.verifier = h.c.code(t, u)
				if m := robot.post("/oauth2/introspect", "token", h.tokens.Access).JSON(t); m["active"] != true ||
					w.userinfo(h.tokens.Access).Status != 200 {
					t.Fatalf("%s, %s: not good before: %v", tt.name, form, m)
				}
				all = append(all, h)
			}
			w.Do(w.c, func(tx *db.Tx) error {
				for _, h := range all {
					if err := tt.stop(tx, h.c, u); err != nil {
						return err
					}
					if tt.token != noClient { // what stops is not the application's
						break
					}
				}
				return nil
			})
			for _, h := range all {
				name := tt.name + ", " + string(h.form) + ": "
				refusedWith(t, name+"code", h.c.post("/oauth2/token", "grant_type", "authorization_code", "code",
					h.code, "redirect_uri", redirectURI, "code_verifier", h.verifier), tt.token.status, tt.token.code)
				refusedWith(t, name+"refresh", h.c.refresh(h.tokens.Refresh), tt.token.status, tt.token.code)
				refusedWith(t, name+"userinfo", w.userinfo(h.tokens.Access), tt.bearer.status, tt.bearer.code)
				if tt.introspectable {
					if m := robot.post("/oauth2/introspect", "token", h.tokens.Access).JSON(t); m["active"] != false {
						t.Errorf("%sintrospection: %v", name, m)
					}
				} else {
					refusedWith(t, name+"introspection", robot.post("/oauth2/introspect", "token", h.tokens.Access),
						tt.bearer.status, tt.bearer.code)
				}
				if tt.token == noGrant {
					if m := h.c.post("/oauth2/introspect", "token", h.tokens.Refresh).JSON(t); m["active"] != false {
						t.Errorf("%sintrospection of the refresh token: %v", name, m)
					}
				}
				_, challenge := pkce()
				a := h.b.Visit(h.c.authorizeURL(challenge))
				if a.Status != tt.authorize {
					t.Errorf("%sauthorize: %d %s", name, a.Status, a.Header.Get("Location"))
				}
				if tt.authorize == http.StatusSeeOther {
					toSignIn(t, a) // the session has ended
				}
			}
		}
	})
}

func newName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == ' ' {
			b[i] = '-'
		}
	}
	return string(b)
}

// A machine's own tokens stop with it.
func TestMachineStopsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		robot := w.client(application.New{Type: application.Machine, Name: "Robot", Scopes: []string{"a"}})
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{Type: application.Machine, Name: "Worker", Scopes: []string{"a"},
				AccessToken: form})
			got := mustTokens(t, c.post("/oauth2/token", "grant_type", "client_credentials"))
			active := func() any { return robot.post("/oauth2/introspect", "token", got.Access).JSON(t)["active"] }
			if active() != true {
				t.Fatalf("%s: not active", form)
			}
			w.disable(c)
			if active() != false {
				t.Errorf("%s: active though the machine is switched off", form)
			}
			refusedWith(t, string(form), c.post("/oauth2/token", "grant_type", "client_credentials"), 401,
				"invalid_client")
			refusedWith(t, string(form), c.post("/oauth2/introspect", "token", got.Access), 401, "invalid_client")
			refusedWith(t, string(form), c.post("/oauth2/revoke", "token", got.Access), 401, "invalid_client")
		}
	})
}

// A flow that began before the application was disabled, or lost its redirect URI, ends on a page
// of ours: its target is no longer valid.
func TestFlowOfAChangedApplication(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for name, change := range map[string]string{
			"switched off": `UPDATE applications SET status = 'disabled' WHERE tenant_id = $1 AND id = $2`,
			"redirect_uri gone": `UPDATE applications SET redirect_uris = '["https://app.example.com/other"]' WHERE ` +
				`tenant_id = $1 AND id = $2`,
			"removed": `DELETE FROM applications WHERE tenant_id = $1 AND id = $2`,
		} {
			c := w.client(application.New{})
			_, challenge := pkce()
			b := w.browser()
			done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, true)
			w.Do(w.c, func(tx *db.Tx) error {
				tenant.Touch(tx)
				_, err := tx.Exec(ctx, change, c.ID)
				return err
			})
			if a := b.Visit(done); a.Status < 400 || a.Status > 499 || a.Header.Get("Location") != "" {
				t.Errorf("%s: %d %s", name, a.Status, a.Header.Get("Location"))
			}
		}
	})
}
