package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A good token of an owner opens nothing in the management API if it was issued for another scope
// or its application is disabled.
func TestOwnersTokensThatAreNotMeantForTheAPI(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		ctx := context.Background()
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		by := w.By("acme")
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			var app application.Application
			var clientSecret string
			if err := w.Update(ctx, by, func(tx *db.Tx) error {
				a, s, err := application.Create(ctx, tx, application.New{Name: "Reports", Type: application.Machine,
					Scopes: []string{"reports"}, AccessToken: form})
				if err != nil {
					return err
				}
				app, clientSecret = a, s.Reveal()
				return role.Assign(ctx, tx, role.Everything(), role.OfApplication(a.ID), role.Owner, time.Time{})
			}); err != nil {
				t.Fatal(err)
			}
			token := w.Token("acme", app.ClientID, clientSecret)
			if got := w.Call(token, "GET", "acme", "/users", nil); got.Status != 403 ||
				got.JSON(t)["code"] != "token.scope" {
				t.Errorf("%s without the scope: %d %s", form, got.Status, got.Body)
			}
			w.Must(operator, "PATCH", "acme", "/applications/"+app.ID.String(),
				map[string]any{"scopes": []string{"gatehouse:manage"}})
			token = w.Token("acme", app.ClientID, clientSecret)
			if got := w.Call(token, "GET", "acme", "/users", nil); got.Status != 200 {
				t.Errorf("%s with the scope: %d %s", form, got.Status, got.Body)
			}
			w.Must(operator, "PATCH", "acme", "/applications/"+app.ID.String(), map[string]any{"status": "disabled"})
			if got := w.Call(token, "GET", "acme", "/users", nil); got.Status != 401 {
				t.Errorf("%s of a disabled application: %d %s", form, got.Status, got.Body)
			}
			if got := w.Form("acme", "/oauth2/token", app.ClientID, clientSecret,
				map[string][]string{"grant_type": {"client_credentials"}}); got.Status != 401 {
				t.Errorf("a disabled application got a token: %d %s", got.Status, got.Body)
			}
		}
	})
}
