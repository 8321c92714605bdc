package principal

import (
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
	first := key{id.New(), id.New()}
	for range 3 { // the same once more replaces what was there
		r.keep(first, &entry{size: 1 << 20})
	}
	if r.bytes != 1<<20 || r.entries.Len() != 1 {
		t.Errorf("%d bytes in %d copies, want one of a MiB", r.bytes, r.entries.Len())
	}
	for range 200 {
		r.keep(key{id.New(), id.New()}, &entry{size: 1 << 20})
	}
	if r.bytes != maxBytes || r.entries.Len() != maxBytes>>20 {
		t.Errorf("%d bytes in %d copies, want %d", r.bytes, r.entries.Len(), maxBytes)
	}
	if _, ok := r.kept(first); ok {
		t.Error("the copy not used for longest is still there")
	}
	for range maxEntries + 10 {
		r.keep(key{id.New(), id.New()}, &entry{size: 1})
	}
	if r.entries.Len() > maxEntries || r.bytes > maxBytes {
		t.Errorf("%d copies of %d bytes", r.entries.Len(), r.bytes)
	}
}

// Who joins a reading that began before a role ended, and comes after its end, reads again.
func TestAJoinedReadingIsNotTooOld(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		r := New(d.DB, tenant.NewVersions(d.DB), d.Clock)
		k := key{c.Tenant, id.New()}
		began, end := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			_, _, _ = r.loads.Do(k.at(0), func() (any, error) {
				close(began)
				<-end
				return &entry{outcome: Found, roles: []string{"admin"}, until: d.Clock.Now()}, nil
			})
		})
		<-began
		all.Go(func() {
			e, err := r.entry(t.Context(), c, k.principal)
			if err != nil || len(e.roles) > 0 {
				t.Errorf("a role that has ended: %v %v", e, err)
			}
		})
		time.Sleep(50 * time.Millisecond) // for it to join; if it does not, it reads by itself
		close(end)
		all.Wait()
	})
}
