package oidc_test

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
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
