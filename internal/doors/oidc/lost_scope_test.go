package oidc_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// An application that lost a scope is told nothing more by its claims, also with an earlier token.
func TestAnApplicationThatLostAScope(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.client(application.New{})
		w.Must(w.Holder("acme", role.Owner), "POST", "acme", "/users/"+w.user.ID.String()+"/roles",
			map[string]any{"role": "auditor"})
		w.Must(w.Holder("acme", role.Owner), "POST", "acme", "/roles", map[string]any{"name": "support",
			"actions": []string{"user.read"}})
		w.Must(w.Holder("acme", role.Owner), "POST", "acme", "/users/"+w.user.ID.String()+"/roles",
			map[string]any{"role": "support"})
		token := app.signedIn(t, w.user, "scope", "openid email roles").Access
		told := func(claim string) bool {
			return w.userinfo(token).JSON(t)[claim] != nil
		}
		inspected := func() bool {
			return app.post("/oauth2/introspect", "token", token).JSON(t)["roles"] != nil
		}
		if !told("email") || !told("roles") || !inspected() {
			t.Fatal("not told before")
		}
		w.Do(w.c, func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, role.Everything(), app.ID,
				application.Patch{Scopes: &[]string{"openid", "profile"}})
			return err
		})
		if told("email") || told("roles") || inspected() {
			t.Error("told after the application lost the scopes")
		}
	})
}

// A scope that an application lost gives it no power, whatever its tokens say. Its grants end with
// their sessions from then on.
func TestALostScopeGivesNoPower(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.client(application.New{FirstParty: true,
			Scopes: []string{"openid", "offline_access", application.ScopeManage}})
		w.Do(w.c, func(tx *db.Tx) error {
			return grant.Consent(ctx, tx, w.user.ID, app.ID, []string{application.ScopeManage})
		})
		for _, of := range []role.Subject{role.OfUser(w.user.ID), role.OfApplication(app.ID)} {
			w.Do(w.c, func(tx *db.Tx) error {
				return role.Assign(ctx, tx, role.Everything(), of, role.Owner, time.Time{})
			})
		}
		b := w.browser()
		s := b.signIn(w.user)
		verifier, challenge := pkce()
		all := "openid offline_access " + application.ScopeManage
		q := w.response(t, b.Visit(app.authorizeURL(challenge, "scope", all)))
		tokens := app.redeem(t, q.Get("code"), verifier)
		manages := func() int { return w.Call(tokens.Access, "GET", "acme", "/users", nil).Status }
		if n := manages(); n != http.StatusOK {
			t.Fatalf("status %d before", n)
		}
		w.Must(w.Holder("acme", role.Owner), "PATCH", "acme", "/applications/"+app.ID.String(),
			map[string]any{"scopes": []string{"openid"}})
		if n := manages(); n != http.StatusForbidden {
			t.Errorf("the management API: status %d", n)
		}
		if a := app.post("/oauth2/introspect", "token", tokens.Access).JSON(t); a["scope"] != "openid" {
			t.Errorf("introspection: scope %v", a["scope"])
		}
		renewed := mustTokens(t, app.refresh(tokens.Refresh))
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		refusedWith(t, "a refresh after the session", app.refresh(renewed.Refresh), 400, "invalid_grant")
	})
}
