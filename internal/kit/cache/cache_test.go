package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestGetLoadsOnceUntilDropped(t *testing.T) {
	c := New[int](10)
	a, b := id.New(), id.New()
	loads := 0
	get := func(tenant id.ID) int {
		v, err := c.Get(context.Background(), tenant, "k", func(context.Context) (int, error) { loads++; return loads, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if first, again, other := get(a), get(a), get(b); first != 1 || again != 1 || other != 2 {
		t.Error("a copy was not kept, or shared between tenants")
	}
	c.Drop(a)
	if get(a) != 3 || get(b) != 2 {
		t.Error("Drop reached too far or not far enough")
	}
	c.Drop(id.ID{})
	if get(a) != 4 || get(b) != 5 {
		t.Error("Drop of all left something")
	}
}

func TestACopyLoadedDuringADropIsNotKept(t *testing.T) {
	c := New[string](10)
	tenant := id.New()
	v, _ := c.Get(context.Background(), tenant, "k", func(context.Context) (string, error) {
		c.Drop(tenant) // changed while we read the old state
		return "old", nil
	})
	if v != "old" {
		t.Fatal(v)
	}
	v, _ = c.Get(context.Background(), tenant, "k", func(context.Context) (string, error) { return "new", nil })
	if v != "new" {
		t.Error("an outdated copy was kept")
	}
}

func TestErrorsAreNotKeptAndLoadsAreShared(t *testing.T) {
	c := New[int](10)
	tenant := id.New()
	if _, err := c.Get(context.Background(), tenant, "k", func(context.Context) (int, error) { return 0, errors.New("boom") }); err == nil {
		t.Fatal("no error")
	}
	var n atomic.Int64
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			v, err := c.Get(context.Background(), tenant, "k", func(context.Context) (int, error) {
				n.Add(1)
				<-release
				return 7, nil
			})
			if v != 7 || err != nil {
				t.Error(v, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n.Load() > 16 || n.Load() < 1 {
		t.Error(n.Load())
	}
}
