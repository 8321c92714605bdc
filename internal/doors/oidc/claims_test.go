package oidc_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A new application gets what generic clients expect: RS256, and the claims of its scopes in the ID
// token. One of an earlier release keeps its ID tokens as they were.
func TestDefaultsOfANewApplication(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner := w.Holder("acme", role.Owner)
		for _, typ := range []string{"web", "spa", "native"} {
			got := w.Must(owner, "POST", "acme", "/applications", map[string]any{"name": "New", "type": typ,
				"redirect_uris": []string{redirectURI}})
			if got["id_token_alg"] != "RS256" || got["id_token_claims"] != true {
				t.Errorf("%s: %v %v", typ, got["id_token_alg"], got["id_token_claims"])
			}
		}
		c := w.client(application.New{})
		id, header := w.claims(t, c.signedIn(t, w.user).ID, "JWT")
		if header["alg"] != "RS256" || id["email"] != "ada@example.com" || id["name"] != "Ada Lovelace" ||
			id["preferred_username"] != "ada@example.com" {
			t.Errorf("%v %v", header, id)
		}
		only, _ := w.claims(t, c.signedIn(t, w.user, "scope", "openid").ID, "JWT")
		if only["email"] != nil || only["name"] != nil {
			t.Errorf("without their scopes: %v", only)
		}
		at, header := w.claims(t, c.signedIn(t, w.user).Access, "at+jwt")
		if header["alg"] != "ES256" || at["email"] != nil {
			t.Errorf("access token: %v %v", header, at)
		}
		w.Must(owner, "PATCH", "acme", "/applications/"+c.ID.String(), map[string]any{"id_token_claims": false})
		if id, _ := w.claims(t, c.signedIn(t, w.user).ID, "JWT"); id["email"] != nil || id["updated_at"] != nil {
			t.Errorf("a strict application: %v", id)
		}

		old := w.client(application.New{Name: "Old", IDTokenAlg: "ES256"})
		w.Do(w.c, func(tx *db.Tx) error { // as the migration leaves it
			tenant.Touch(tx)
			_, err := tx.Exec(ctx, `UPDATE applications SET claims = '{}' WHERE tenant_id = $1 AND id = $2`, old.ID)
			return err
		})
		id, header = w.claims(t, old.signedIn(t, w.user).ID, "JWT")
		if header["alg"] != "ES256" || id["email"] != nil {
			t.Errorf("an application of an earlier release: %v %v", header, id)
		}
	})
}

// The claims that userinfo has, and that discovery promises.
func TestProfileClaims(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner := w.Holder("acme", role.Owner)
		w.Must(owner, "PATCH", "acme", "/users/"+w.user.ID.String(), map[string]any{"middle_name": "King",
			"nickname": "Countess", "profile": "https://example.com/ada", "picture": "https://example.com/ada.jpg",
			"website": "https://ada.example.com", "gender": "female", "birthdate": "1815-12-10",
			"zoneinfo": "Europe/London", "locale": "en-GB", "username": "ada"})
		c := w.client(application.New{})
		got := c.signedIn(t, w.user)
		info := w.userinfo(got.Access).JSON(t)
		id, _ := w.claims(t, got.ID, "JWT")
		for _, name := range w.browser().Visit(w.issuer +
			"/.well-known/openid-configuration").JSON(t)["claims_supported"].([]any) {
			switch name {
			case "groups", "roles", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash":
				continue
			}
			if info[name.(string)] == nil || info[name.(string)] != id[name.(string)] {
				t.Errorf("%s: userinfo %v, ID token %v", name, info[name.(string)], id[name.(string)])
			}
		}
	})
}

// The groups and roles of a person are in every token of an application with their scopes, by the
// settings of that application alone.
func TestGroupsAndRoles(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner := w.Holder("acme", role.Owner)
		ids := map[string]string{}
		w.Must(owner, "POST", "acme", "/roles", map[string]any{"name": "approver", "actions": []string{}})
		w.Must(owner, "POST", "acme", "/roles", map[string]any{"name": "payer", "actions": []string{}})
		w.Tenant("globex", nil) // its groups are never read
		w.Do(w.c, func(tx *db.Tx) error {
			for _, name := range []string{"billing-eu", "billing-us", "Staff"} {
				g, err := group.Create(ctx, tx, group.Profile{Name: name})
				if err != nil {
					return err
				}
				ids[name] = g.ID.String()
				if err := group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g.ID, w.user.ID); err != nil {
					return err
				}
				if name == "Staff" {
					if err := role.Assign(ctx, tx, role.Everything(), role.OfGroup(g.ID), "approver",
						time.Time{}); err != nil {
						return err
					}
				}
			}
			if err := role.Assign(ctx, tx, role.Everything(), role.OfUser(w.user.ID), "payer",
				w.Clock.Now().Add(30*time.Minute)); err != nil {
				return err
			}
			return role.Assign(ctx, tx, role.Everything(), role.OfUser(w.user.ID), role.Auditor, time.Time{})
		})
		names := []string{"billing-*"}
		byID := "id"
		scopes := []string{"scope", "openid groups roles"}
		for name, c := range map[string]struct {
			claims        application.ClaimsPatch
			form          application.AccessToken
			groups, roles []any
		}{
			"by name": {groups: []any{"Staff", "billing-eu", "billing-us"}, roles: []any{"approver", "payer"}},
			"filtered": {claims: application.ClaimsPatch{Groups: &names, Roles: &[]string{"payer"}},
				groups: []any{"billing-eu", "billing-us"}, roles: []any{"payer"}},
			"by id, opaque": {claims: application.ClaimsPatch{GroupClaim: &byID, Groups: &[]string{"Staff"}},
				form: application.Opaque, groups: []any{ids["Staff"]}, roles: []any{"approver", "payer"}},
		} {
			app := w.client(application.New{Name: name, AccessToken: c.form, Claims: c.claims})
			got := app.signedIn(t, w.user, scopes...)
			id, _ := w.claims(t, got.ID, "JWT")
			seen := map[string]map[string]any{"ID token": id, "userinfo": w.userinfo(got.Access).JSON(t),
				"introspection": app.post("/oauth2/introspect", "token", got.Access).JSON(t)}
			if c.form != application.Opaque {
				seen["access token"], _ = w.claims(t, got.Access, "at+jwt")
			}
			for place, told := range seen {
				if !reflect.DeepEqual(told["groups"], any(c.groups)) ||
					!reflect.DeepEqual(told["roles"], any(c.roles)) {
					t.Errorf("%s, %s: %v %v, want %v %v", name, place, told["groups"], told["roles"], c.groups, c.roles)
				}
			}
			plain, _ := w.claims(t, app.signedIn(t, w.user).ID, "JWT")
			if plain["groups"] != nil || plain["roles"] != nil {
				t.Errorf("%s: told without the scopes: %v", name, plain)
			}
		}
		c := w.client(application.New{})
		got := c.signedIn(t, w.user, "scope", "openid roles offline_access")
		w.Clock.Advance(31 * time.Minute)
		id, _ := w.claims(t, mustTokens(t, c.refresh(got.Refresh)).ID, "JWT")
		if !reflect.DeepEqual(id["roles"], any([]any{"approver"})) {
			t.Errorf("after a role has ended: %v", id["roles"])
		}
	})
}
