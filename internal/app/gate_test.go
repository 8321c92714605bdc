package app

import (
	"context"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A good token of an owner that was not meant for the management API, or whose application is
// switched off, opens nothing there.
func TestOwnersTokensThatAreNotMeantForTheAPI(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		operator := w.operatorToken()
		w.must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		by, err := w.operator(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			var app application.Application
			var clientSecret string
			if err := w.DB.Update(ctx, by, func(tx *db.Tx) error {
				a, s, err := application.Create(ctx, tx, application.New{Name: "Reports", Type: application.Machine, Scopes: []string{"reports"}, AccessToken: form})
				if err != nil {
					return err
				}
				app, clientSecret = a, s.Reveal()
				return role.Give(ctx, tx, role.Everything(), role.OfApplication(a.ID), role.Owner, noTime)
			}); err != nil {
				t.Fatal(err)
			}
			token := w.token("acme", app.ClientID, clientSecret)
			if got := w.call(token, "GET", "acme", "/users", nil); got.status != 403 || got.json(t)["code"] != "token.scope" {
				t.Errorf("%s without the scope: %d %s", form, got.status, got.body)
			}
			w.must(operator, "PATCH", "acme", "/applications/"+app.ID.String(), map[string]any{"scopes": []string{"gatehouse:manage"}})
			token = w.token("acme", app.ClientID, clientSecret)
			if got := w.call(token, "GET", "acme", "/users", nil); got.status != 200 {
				t.Errorf("%s with the scope: %d %s", form, got.status, got.body)
			}
			w.must(operator, "PATCH", "acme", "/applications/"+app.ID.String(), map[string]any{"status": "disabled"})
			if got := w.call(token, "GET", "acme", "/users", nil); got.status != 401 {
				t.Errorf("%s of a disabled application: %d %s", form, got.status, got.body)
			}
			if got := w.form("acme", "/oauth2/token", app.ClientID, clientSecret, map[string][]string{"grant_type": {"client_credentials"}}); got.status != 401 {
				t.Errorf("a disabled application got a token: %d %s", got.status, got.body)
			}
		}
	})
}
