package compiler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// run enters for a tenant, works for d and leaves. It returns how long the place took to come.
func run(t *testing.T, p *places, tenant id.ID, d time.Duration) time.Duration {
	began := time.Now()
	leave, err := p.enter(t.Context(), tenant)
	if err != nil {
		t.Error(err)
		return 0
	}
	waited := time.Since(began)
	time.Sleep(d)
	leave()
	return waited
}

// A tenant with many tasks holds one place, and another tenant's task starts at once.
func TestATenantHoldsOneSandbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		busy, other := id.New(), id.New()
		for range maxWaiting {
			go run(t, p, busy, 3*time.Second)
		}
		synctest.Wait()
		if n := len(p.all); n != 1 {
			t.Errorf("one tenant holds %d places", n)
		}
		if _, err := p.enter(t.Context(), busy); !errors.Is(err, errBusy) {
			t.Errorf("more tasks than may wait: %v", err)
		}
		if waited := run(t, p, other, time.Second); waited != 0 {
			t.Errorf("another tenant waited %s", waited)
		}
		time.Sleep(maxWaiting * 3 * time.Second)
		synctest.Wait()
		if len(p.all) != 0 || len(p.tenants) != 0 {
			t.Errorf("afterwards: %d places are taken, %d tenants are kept", len(p.all), len(p.tenants))
		}
	})
}

// Tenants whose tasks are slow leave a place to the others, once their first task has shown it.
func TestSlowTenantsLeaveASandbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		for range 3 {
			tenant := id.New()
			run(t, p, tenant, 20*time.Second)
			for range 3 {
				go run(t, p, tenant, 20*time.Second)
			}
		}
		synctest.Wait()
		other := id.New()
		for range 5 {
			if waited := run(t, p, other, time.Second); waited != 0 {
				t.Errorf("a quick tenant waited %s", waited)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(p.all)+len(p.lane)+len(p.tenants) != 0 {
			t.Error("places are left over")
		}
	})
}

// A task that is given up while it waits leaves nothing behind.
func TestAWaitForASandboxEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		tenant := id.New()
		run(t, p, tenant, 20*time.Second)
		for range 2 {
			go run(t, p, id.New(), time.Minute)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.enter(ctx, tenant); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		if len(p.lane) != 0 || len(p.all) != 2 {
			t.Errorf("%d slow, %d in all", len(p.lane), len(p.all))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}
