package tenant_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// An issuer is never reassigned: whatever moment of the deletion another tenant asks at, it gets
// neither the slug nor the domain.
func TestNamesOfADeletedTenantStayRetired(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		acme, c := must(t, d, p, "acme")
		_, globex := must(t, d, p, "globex")
		setDomains := func(tx *db.Tx, domains ...string) error {
			_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &domains})
			return err
		}
		if err := d.Update(ctx, c, func(tx *db.Tx) error {
			return setDomains(tx, "login.acme.test", "moved.acme.test")
		}); err != nil {
			t.Fatal(err)
		}
		// A domain that a tenant gives up before its deletion is free: its operator moved it.
		if err := d.Update(ctx, c, func(tx *db.Tx) error { return setDomains(tx, "login.acme.test") }); err != nil {
			t.Fatal(err)
		}
		ask := func() (error, error) {
			_, slug := create(d, p, tenant.New{Slug: "acme", Name: "Somebody else"})
			return slug, d.Update(ctx, globex, func(tx *db.Tx) error { return setDomains(tx, "login.acme.test") })
		}
		ring, err := secret.ParseKeyRing(secret.NewKey("k1"))
		if err != nil {
			t.Fatal(err)
		}
		queue := job.NewQueue(ring)
		if err := d.System(ctx, p, "test", func(st *db.SystemTx) error {
			_, err := tenant.Delete(ctx, st, queue, p.Tenant, acme.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if slug, domain := ask(); !errors.Is(slug, tenant.ErrSlugTaken) || !errors.Is(domain, tenant.ErrDomainTaken) {
			t.Errorf("marked for deletion: %v, %v", slug, domain)
		}
		var asking sync.WaitGroup
		erased := make(chan struct{})
		for range 4 {
			asking.Go(func() {
				for {
					if slug, domain := ask(); slug == nil || domain == nil {
						t.Errorf("while it was erased: %v, %v", slug, domain)
						return
					}
					select {
					case <-erased:
						return
					default:
					}
				}
			})
		}
		e := &tenant.Eraser{DB: d.DB, Clock: d.Clock}
		err = e.Run(ctx, p, fmt.Appendf(nil, `{"tenant":%q,"slug":"acme"}`, acme.ID))
		close(erased)
		asking.Wait()
		if err != nil {
			t.Fatal(err)
		}
		slug, domain := ask()
		for field, err := range map[string]error{"slug": slug, "domains": domain} {
			if !errors.Is(err, tenant.ErrNameRetired) || fault.As(err).Fields[0].Name != field {
				t.Errorf("%s afterwards: %v", field, err)
			}
		}
		err = d.Update(ctx, globex, func(tx *db.Tx) error { return setDomains(tx, "moved.acme.test") })
		if err != nil {
			t.Errorf("a domain that it had given up: %v", err)
		}
	})
}
