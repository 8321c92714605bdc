package oidc_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A client that reads the metadata of userinfo names its address as resource (RFC 9728 §1.2). The
// token is good there and nowhere else.
func TestATokenForUserinfo(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		at := w.issuer + "/oauth2/userinfo"
		c := w.client(application.New{Scopes: []string{"email", application.ScopeManage, application.ScopeDecide}})
		w.Do(w.c, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfApplication(c.ID), role.Owner, time.Time{})
		})
		got := c.signedIn(t, w.user, "scope", "openid email gatehouse:manage gatehouse:decide", "resource", at)
		claims, _ := w.claims(t, got.Access, "at+jwt")
		if claims["aud"] != at || got.Scope != "openid email" {
			t.Errorf("audience %v, scope %q", claims["aud"], got.Scope)
		}
		for name, c := range map[string]struct{ got, want int }{
			"userinfo":           {w.userinfo(got.Access).Status, http.StatusOK},
			"the management API": {w.Call(got.Access, "GET", "acme", "/users", nil).Status, http.StatusUnauthorized},
			"the decision API":   {w.decide(got.Access).Status, http.StatusUnauthorized},
		} {
			if c.got != c.want {
				t.Errorf("at %s: %d, want %d", name, c.got, c.want)
			}
		}
		machine := w.client(application.New{Type: application.Machine, Scopes: []string{"read"}})
		refusedWith(t, "a machine", machine.post("/oauth2/token", "grant_type", "client_credentials", "resource", at),
			400, "invalid_target")
	})
}

// A list that is too long for a token is where the holder of the token finds it: at userinfo if the
// token is good there, and by introspection always.
func TestWhereLongListsAre(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		const many = 201
		w.Do(w.c, func(tx *db.Tx) error {
			for i := range many {
				g, err := group.Create(ctx, tx, group.Profile{Name: fmt.Sprintf("Group %d", i)})
				if err == nil {
					err = group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g.ID, w.user.ID)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		plain := func(p *resourceserver.Profile) { p.TokenProfile = resourceserver.JWT }
		servers := map[string]*client{invoices: w.registered(invoices, nil), reports: w.registered(reports, plain)}
		c := w.client(application.New{Scopes: []string{"groups", "read"}})
		for name, r := range map[string]struct {
			api, typ, scope string
			named           bool
		}{
			"with openid":    {invoices, "at+jwt", "openid groups read", true},
			"without openid": {invoices, "at+jwt", "groups read", false},
			"of type JWT":    {reports, "JWT", "openid groups read", false},
		} {
			got := c.signedIn(t, w.user, "scope", r.scope, "resource", r.api)
			tokens := map[string]string{got.Access: r.typ}
			if got.ID != "" {
				tokens[got.ID] = "JWT"
			}
			for token, typ := range tokens {
				claims, _ := w.claims(t, token, typ)
				var sources any
				if r.named {
					sources = map[string]any{"userinfo": map[string]any{"endpoint": w.issuer + "/oauth2/userinfo"}}
				}
				_, names := claims["_claim_names"]
				if diff := cmp.Diff(sources, claims["_claim_sources"]); diff != "" || names != r.named ||
					claims["groups"] != nil {
					t.Errorf("%s: sources %s, %v", name, diff, claims)
				}
			}
			if r.named {
				if list, _ := w.userinfo(got.Access).JSON(t)["groups"].([]any); len(list) != many {
					t.Errorf("%s: %d groups at userinfo", name, len(list))
				}
			}
			seen := servers[r.api].post("/oauth2/introspect", "token", got.Access).JSON(t)
			if list, _ := seen["groups"].([]any); len(list) != many || seen["_claim_names"] != nil {
				t.Errorf("%s: %d groups in the introspection", name, len(list))
			}
		}
	})
}
