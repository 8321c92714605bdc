package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// rows counts what each tenant table holds of a tenant.
func rows(w *world.World, slug string) map[string]int64 {
	w.T.Helper()
	site, err := w.App.Tenants.BySlug(context.Background(), slug)
	if err != nil {
		w.T.Fatal(err)
	}
	return rowsOf(w, caller.Caller{Tenant: site.Tenant})
}

func rowsOf(w *world.World, c caller.Caller) map[string]int64 {
	w.T.Helper()
	n, err := w.CountRows(context.Background(), c)
	if err != nil {
		w.T.Fatal(err)
	}
	return n
}

// A used tenant is suspended, resumed and deleted through the API. Suspended, nothing of it
// answers. Deleted, no row of it is left, and its neighbour has all of its own.
func TestATenantsLife(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		ctx := context.Background()
		operator := w.Operator()
		acme := newTwin(w, operator, "acme")
		newTwin(w, operator, "globex")
		jwtClient, jwtSecret := w.Machine("acme", role.Owner, application.JWT)
		opaque, jwt := w.Token("acme", acme.client, acme.secret), w.Token("acme", jwtClient, jwtSecret)
		site, err := w.App.Tenants.BySlug(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		path := "/tenants/" + site.Tenant.String()

		w.Must(operator, "PATCH", "platform", path, map[string]any{"status": "suspended"})
		for kind, token := range map[string]string{"opaque": opaque, "JWT": jwt} {
			if got := w.Call(token, "GET", "acme", "/users", nil); got.Status != 403 ||
				got.JSON(t)["code"] != "tenant.suspended" {
				t.Errorf("suspended, %s token: %d %s", kind, got.Status, got.Body)
			}
		}
		if got := w.Form("acme", "/oauth2/token", acme.client, acme.secret,
			map[string][]string{"grant_type": {"client_credentials"}}); got.Status != 403 ||
			got.JSON(t)["error"] != "temporarily_unavailable" {
			t.Errorf("suspended, token endpoint: %d %s", got.Status, got.Body)
		}
		w.Must(operator, "PATCH", "platform", path, map[string]any{"status": "active"})
		if got := w.Call(opaque, "GET", "acme", "/users", nil); got.Status != 200 {
			t.Errorf("resumed: %d %s", got.Status, got.Body)
		}
		if got := w.Call(operator, "DELETE", "platform", "/tenants/"+w.App.Platform.ID.String(),
			nil); got.Status != 409 {
			t.Errorf("the platform deleted itself: %d", got.Status)
		}

		victim := caller.Caller{Tenant: site.Tenant}
		filled := 0
		for _, n := range rowsOf(w, victim) {
			if n > 0 {
				filled++
			}
		}
		if filled < 8 {
			t.Errorf("only %d tables hold anything; the test proves little", filled)
		}
		neighbour := rows(w, "globex")
		if got := w.Call(operator, "DELETE", "platform", path, nil); got.Status != 202 ||
			got.JSON(t)["status"] != "deleting" {
			t.Fatalf("delete: %d %s", got.Status, got.Body)
		}
		if got := w.Call(opaque, "GET", "acme", "/users", nil); got.Status != 404 {
			t.Errorf("while it is being deleted: %d %s", got.Status, got.Body)
		}
		e := &tenant.Eraser{DB: w.DB, Clock: w.Clock}
		payload := fmt.Appendf(nil, `{"tenant":%q,"slug":"acme"}`, site.Tenant)
		platform := caller.Caller{Tenant: w.App.Platform.ID,
			Actor: caller.Actor{Kind: caller.System, Name: tenant.DeleteJob}}
		w.App.Records.Close() // its queue may hold records of the tenant, and so may the next one's
		w.App.Decisions.Close()
		for err = e.Run(ctx, platform, payload); err != nil && err.Error() == job.Again(time.Second).Error(); {
			err = e.Run(ctx, platform, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		for table, n := range rowsOf(w, victim) {
			if n != 0 {
				t.Errorf("%d rows are left in %s", n, table)
			}
		}
		if got := w.Call(operator, "GET", "platform", path, nil); got.Status != 404 {
			t.Errorf("afterwards: %d %s", got.Status, got.Body)
		}
		for table, n := range rows(w, "globex") {
			if n < neighbour[table] {
				t.Errorf("the neighbour lost %d rows of %s", neighbour[table]-n, table)
			}
		}
	})
}
