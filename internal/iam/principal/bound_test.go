package principal

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func TestCopiesAreBounded(t *testing.T) {
	r := New(nil, nil, clock.System{})
	tenant := id.New()
	keep := func(size int) id.ID {
		principal := id.New()
		r.entries.Put(tenant, principal, &entry{size: size})
		return principal
	}
	kept := func(principals []id.ID) int {
		n := 0
		for _, p := range principals {
			if _, ok := r.entries.Last(tenant, p); ok {
				n++
			}
		}
		return n
	}
	var large, small []id.ID
	for range 200 {
		large = append(large, keep(1<<20))
	}
	if n := kept(large); n != maxBytes>>20 {
		t.Errorf("%d copies of a MiB, want %d", n, maxBytes>>20)
	}
	for range 100_010 {
		small = append(small, keep(1))
	}
	if n := kept(small); n > 100_000 || n < 99_000 || kept(large) > 0 {
		t.Errorf("%d small copies beside %d large ones, want about 100,000 and none", n, kept(large))
	}
}

// Who joins a reading that began before a role ended, and comes after its end, reads again.
func TestAJoinedReadingIsNotTooOld(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		r := New(d.DB, tenant.NewVersions(d.DB), d.Clock)
		principal := id.New()
		version, _, err := r.version(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		began, end := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			_, _ = r.entries.GetAt(t.Context(), c.Tenant, principal, version, func(context.Context) (*entry, error) {
				close(began)
				<-end
				return &entry{outcome: Found, roles: []string{"admin"}, until: d.Clock.Now()}, nil
			})
		})
		<-began
		all.Go(func() {
			e, err := r.entry(t.Context(), c, principal)
			if err != nil || len(e.roles) > 0 {
				t.Errorf("a role that has ended: %v %v", e, err)
			}
		})
		time.Sleep(50 * time.Millisecond) // for it to join; if it does not, it reads by itself
		close(end)
		all.Wait()
	})
}
