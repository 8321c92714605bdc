package app

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
)

// rows counts what each tenant table holds of a tenant.
func (w *world) rows(slug string) map[string]int64 {
	w.t.Helper()
	site, err := w.Tenants.BySlug(context.Background(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.rowsOf(caller.Caller{Tenant: site.Tenant})
}

func (w *world) rowsOf(c caller.Caller) map[string]int64 {
	w.t.Helper()
	n, err := w.DB.CountRows(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// A tenant that was used is suspended, resumed and deleted through the API. Suspended, nothing of
// it answers; deleted, no row of it is left in any table, and its neighbour has all of its own.
func TestATenantsLife(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		operator := w.operatorToken()
		acme := w.twin(operator, "acme")
		w.twin(operator, "globex")
		jwtClient, jwtSecret := w.machine("acme", role.Owner, application.JWT)
		opaque, jwt := w.token("acme", acme.client, acme.secret), w.token("acme", jwtClient, jwtSecret)
		site, err := w.Tenants.BySlug(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		path := "/tenants/" + site.Tenant.String()

		w.must(operator, "PATCH", "platform", path, map[string]any{"status": "suspended"})
		for kind, token := range map[string]string{"opaque": opaque, "JWT": jwt} {
			if got := w.call(token, "GET", "acme", "/users", nil); got.status != 403 || got.json(t)["code"] != "tenant.suspended" {
				t.Errorf("suspended, %s token: %d %s", kind, got.status, got.body)
			}
		}
		if got := w.form("acme", "/oauth2/token", acme.client, acme.secret, map[string][]string{"grant_type": {"client_credentials"}}); got.status != 403 || got.json(t)["error"] != "temporarily_unavailable" {
			t.Errorf("suspended, token endpoint: %d %s", got.status, got.body)
		}
		w.must(operator, "PATCH", "platform", path, map[string]any{"status": "active"})
		if got := w.call(opaque, "GET", "acme", "/users", nil); got.status != 200 {
			t.Errorf("resumed: %d %s", got.status, got.body)
		}
		if got := w.call(operator, "DELETE", "platform", "/tenants/"+w.Platform.ID.String(), nil); got.status != 409 {
			t.Errorf("the platform deleted itself: %d", got.status)
		}

		victim := caller.Caller{Tenant: site.Tenant}
		filled := 0
		for _, n := range w.rowsOf(victim) {
			if n > 0 {
				filled++
			}
		}
		if filled < 8 {
			t.Errorf("only %d tables hold anything; the test proves little", filled)
		}
		neighbour := w.rows("globex")
		if got := w.call(operator, "DELETE", "platform", path, nil); got.status != 202 || got.json(t)["status"] != "deleting" {
			t.Fatalf("delete: %d %s", got.status, got.body)
		}
		if got := w.call(opaque, "GET", "acme", "/users", nil); got.status != 404 {
			t.Errorf("while it is being deleted: %d %s", got.status, got.body)
		}
		e := &tenant.Eraser{DB: w.DB, Clock: w.Clock}
		payload := fmt.Appendf(nil, `{"tenant":%q,"slug":"acme"}`, site.Tenant)
		platform := caller.Caller{Tenant: w.Platform.ID, Actor: caller.Actor{Kind: caller.System, Name: tenant.DeleteJob}}
		w.Records.Close() // its queue may hold records of the tenant, and so may the next one's
		w.Decisions.Close()
		for err = e.Run(ctx, platform, payload); err != nil && err.Error() == job.Again(time.Second).Error(); {
			err = e.Run(ctx, platform, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		for table, n := range w.rowsOf(victim) {
			if n != 0 {
				t.Errorf("%d rows are left in %s", n, table)
			}
		}
		if got := w.call(operator, "GET", "platform", path, nil); got.status != 404 {
			t.Errorf("afterwards: %d %s", got.status, got.body)
		}
		for table, n := range w.rows("globex") {
			if n < neighbour[table] {
				t.Errorf("the neighbour lost %d rows of %s", neighbour[table]-n, table)
			}
		}
	})
}
