package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

var background = context.Background()

// counter returns a load that counts its calls, from 1.
func counter() (func(context.Context) (int, error), *atomic.Int64) {
	var n atomic.Int64
	return func(context.Context) (int, error) { return int(n.Add(1)), nil }, &n
}

func get[K comparable, V any](t *testing.T, c *Cache[K, V], tenant id.ID, key K,
	load func(context.Context) (V, error)) V {
	t.Helper()
	v, err := c.Get(background, tenant, key, load)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestACopyCountsUntilItsTenantIsDropped(t *testing.T) {
	c := New[string, int](Options[int]{Max: 10})
	a, b := id.New(), id.New()
	load, _ := counter()
	if first, again, other := get(t, c, a, "k", load), get(t, c, a, "k", load), get(t, c, b, "k", load); first != 1 ||
		again != 1 || other != 2 {
		t.Error("a copy was not kept, or shared between tenants")
	}
	c.Drop(a)
	if _, ok := c.Lookup(a, "k"); ok {
		t.Error("Lookup found a dropped copy")
	}
	if last, ok := c.Last(a, "k"); last != 1 || !ok {
		t.Error("Last did not find the dropped copy")
	}
	if get(t, c, a, "k", load) != 3 || get(t, c, b, "k", load) != 2 {
		t.Error("Drop reached too far or not far enough")
	}
	c.Drop(id.ID{})
	if get(t, c, a, "k", load) != 4 || get(t, c, b, "k", load) != 5 {
		t.Error("Drop of all tenants left something")
	}
	c.Forget(a, "k")
	if _, ok := c.Last(a, "k"); ok {
		t.Error("Forget left the copy")
	}
}

func TestWhatWasLoadedDuringADropDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, string](Options[string]{Max: 10})
		tenant := id.New()
		release := make(chan struct{})
		go func() {
			v, err := c.Get(background, tenant, "k",
				func(context.Context) (string, error) { <-release; return "old", nil })
			if v != "old" || err != nil {
				t.Errorf("the caller of the old load got %q, %v", v, err)
			}
		}()
		synctest.Wait()
		c.Drop(tenant)
		if v := get(t, c, tenant, "k", func(context.Context) (string, error) { return "new", nil }); v != "new" {
			t.Errorf("after the drop a caller got %q from a load that began before it", v)
		}
		close(release)
		synctest.Wait()
		if v, _ := c.Lookup(tenant, "k"); v != "new" {
			t.Errorf("the old load replaced the copy by %q", v)
		}
	})
}

func TestCallersShareOneLoadAndItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant, boom := id.New(), errors.New("boom")
		var loads atomic.Int64
		for want, err := range map[int]error{0: boom, 7: nil} {
			release := make(chan struct{})
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					v, got := c.Get(background, tenant, "k", func(context.Context) (int, error) {
						loads.Add(1)
						<-release
						return want, err
					})
					if v != want || !errors.Is(got, err) {
						t.Errorf("got %d, %v; want %d, %v", v, got, want, err)
					}
				})
			}
			synctest.Wait()
			close(release)
			wg.Wait()
			c.Drop(tenant)
		}
		if loads.Load() != 2 {
			t.Errorf("%d loads, want one for each round", loads.Load())
		}
	})
}

func TestCallersWatchTheirOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant, start := id.New(), time.Now()
		var wg sync.WaitGroup
		for caller := range 3 { // the first one begins the load
			own := time.Duration(caller+1) * time.Second
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(background, own)
				defer cancel()
				_, err := c.Get(ctx, tenant, "k",
					func(ctx context.Context) (int, error) { time.Sleep(4 * time.Second); return 7, ctx.Err() })
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != own {
					t.Errorf("a caller with %s waited %s: %v", own, took, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		if v, ok := c.Lookup(tenant, "k"); v != 7 || !ok {
			t.Error("the load ended with its first caller")
		}
	})
}

func TestALoadThatOutlastsItsLimitIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10, LoadLimit: 3 * time.Second})
		tenant := id.New()
		var loads atomic.Int64
		compute := func(context.Context) (int, error) { time.Sleep(7 * time.Second); return int(loads.Add(1)), nil }
		var wg sync.WaitGroup
		for after, waits := range map[time.Duration]time.Duration{
			0:                       3 * time.Second, // to the load's limit
			time.Second:             2 * time.Second,
			3500 * time.Millisecond: 3 * time.Second, // to its own
			5 * time.Second:         2 * time.Second, // to the late result
		} {
			wg.Go(func() {
				time.Sleep(after)
				start := time.Now()
				v, err := c.Get(background, tenant, "k", compute)
				if after < 4*time.Second && !errors.Is(err, context.DeadlineExceeded) ||
					after > 4*time.Second && v != 1 || time.Since(start) != waits {
					t.Errorf("the caller after %s got %d, %v in %s", after, v, err, time.Since(start))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if v, ok := c.Lookup(tenant, "k"); v != 1 || !ok || loads.Load() != 1 {
			t.Errorf("%d loads left the copy %d", loads.Load(), v)
		}
	})
}

func TestALateResultThatNoLongerCountsIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(c *Cache[string, int], tenant id.ID){
			"drop":   func(c *Cache[string, int], tenant id.ID) { c.Drop(tenant) },
			"forget": func(c *Cache[string, int], tenant id.ID) { c.Forget(tenant, "k") },
		} {
			c := New[string, int](Options[int]{Max: 10, LoadLimit: 3 * time.Second})
			tenant := id.New()
			_, err := c.Get(background, tenant, "k",
				func(context.Context) (int, error) { time.Sleep(7 * time.Second); return 1, nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the first caller got %v", name, err)
			}
			end(c, tenant)
			start := time.Now()
			next := func(context.Context) (int, error) { time.Sleep(time.Second); return 2, nil }
			if v := get(t, c, tenant, "k", next); v != 2 || time.Since(start) != time.Second {
				t.Errorf("%s: the next caller got %d in %s", name, v, time.Since(start))
			}
			time.Sleep(10 * time.Second)
			if v, _ := c.Lookup(tenant, "k"); v != 2 {
				t.Errorf("%s: the late result %d was kept", name, v)
			}
		}
	})
}

func TestALoadOfAForgottenCopyIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant := id.New()
		go func() {
			_, _ = c.Get(background, tenant, "k",
				func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil })
		}()
		synctest.Wait()
		c.Forget(tenant, "k")
		time.Sleep(2 * time.Second)
		if v, ok := c.Lookup(tenant, "k"); ok {
			t.Errorf("the result %d was kept", v)
		}
	})
}

func TestALoadDoesNotReplaceWhatWasPutSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant := id.New()
		go func() {
			_, _ = c.Get(background, tenant, "k",
				func(context.Context) (int, error) { time.Sleep(time.Second); return 1, nil })
		}()
		synctest.Wait()
		c.Put(tenant, "k", 2)
		time.Sleep(2 * time.Second)
		if v, _ := c.Lookup(tenant, "k"); v != 2 {
			t.Errorf("the older result %d was kept", v)
		}
	})
}

func TestOneLoadRunsForAVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant := id.New()
		var loads atomic.Int64
		var wg sync.WaitGroup
		for _, version := range []int64{5, 6, 5, 6, 5} {
			wg.Go(func() {
				v, err := c.GetAt(background, tenant, "k", version, func(context.Context) (int, error) {
					loads.Add(1)
					time.Sleep(time.Second)
					return int(version), nil
				})
				if v != int(version) || err != nil {
					t.Errorf("version %d: %d, %v", version, v, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if v, _ := c.Last(tenant, "k"); v != 6 || loads.Load() != 2 {
			t.Errorf("%d loads left the copy of version %d, want 2 and version 6", loads.Load(), v)
		}
	})
}

func TestASilentLoadEndsAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10, LoadLimit: 3 * time.Second})
		tenant := id.New()
		hang := make(chan struct{})
		for name, silent := range map[string]func(context.Context) (int, error){
			"watches its context": func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
			"watches nothing":     func(context.Context) (int, error) { <-hang; return 1, nil },
		} {
			start := time.Now()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					_, err := c.Get(background, tenant, name, silent)
					if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
						t.Errorf("%s: a caller waited %s: %v", name, took, err)
					}
				})
			}
			wg.Wait()
			next := func(context.Context) (int, error) { return 2, nil }
			if name == "watches nothing" { // the key is blocked until the load is given up
				if _, err := c.Get(background, tenant, name, next); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: a second load ran beside it: %v", name, err)
				}
				time.Sleep(giveUpLimits * 3 * time.Second)
			}
			if v := get(t, c, tenant, name, next); v != 2 {
				t.Errorf("%s: the next caller got %d", name, v)
			}
		}
		close(hang)
		synctest.Wait()
		if v, _ := c.Lookup(tenant, "watches nothing"); v != 2 {
			t.Errorf("a load past its limit replaced the copy by %d", v)
		}
	})
}

func TestAPanicReachesEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](Options[int]{Max: 10})
		tenant := id.New()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				defer func() {
					if p, _ := recover().(string); !strings.Contains(p, "boom") ||
						!strings.Contains(p, "cache_test.go") {
						t.Errorf("recovered %q, want the panic with its stack", p)
					}
				}()
				_, err := c.Get(background, tenant, "k",
					func(context.Context) (int, error) { time.Sleep(time.Second); panic("boom") })
				t.Errorf("no panic: %v", err)
			})
		}
		wg.Wait()
		if v := get(t, c, tenant, "k", func(context.Context) (int, error) { return 2, nil }); v != 2 {
			t.Error("the panic was kept")
		}
	})
}

func TestTheLeastRecentlyUsedMakeRoom(t *testing.T) {
	c := New[int, int](Options[int]{Max: 10, Cost: func(v int) int64 { return int64(v) }})
	tenant := id.New()
	put := func(key, cost int) { get(t, c, tenant, key, func(context.Context) (int, error) { return cost, nil }) }
	put(1, 4)
	put(2, 4)
	c.Lookup(tenant, 1)
	put(3, 5) // 13: 2 goes
	for key, want := range map[int]bool{1: true, 2: false, 3: true} {
		if _, ok := c.Lookup(tenant, key); ok != want {
			t.Errorf("copy %d kept: %t, want %t", key, ok, want)
		}
	}
	put(4, 50) // more than all
	if _, ok := c.Lookup(tenant, 4); !ok || c.copies.Len() != 1 || c.cost != 50 {
		t.Errorf("%d copies that cost %d, want the one of 50", c.copies.Len(), c.cost)
	}
	c.Drop(tenant)
	put(4, 3) // replaces what was dropped
	if c.copies.Len() != 1 || c.cost != 3 {
		t.Errorf("%d copies that cost %d, want one of 3", c.copies.Len(), c.cost)
	}
}

func TestACopyThatNoLongerCountsIsLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, time.Time](Options[time.Time]{Max: 10,
			Valid: func(end time.Time) bool { return time.Now().Before(end) }})
		tenant := id.New()
		load := func(context.Context) (time.Time, error) {
			end := time.Now().Add(time.Minute)
			time.Sleep(2 * time.Second)
			return end, nil
		}
		first := get(t, c, tenant, "k", load)
		time.Sleep(30 * time.Second)
		if !get(t, c, tenant, "k", load).Equal(first) {
			t.Error("a copy that counts was loaded again")
		}
		time.Sleep(time.Minute)
		if get(t, c, tenant, "k", load).Equal(first) {
			t.Error("a copy was used after its end")
		}
		// A caller joins a load whose result no longer counts when it is ready.
		short := func(context.Context) (time.Time, error) {
			end := time.Now()
			time.Sleep(time.Second)
			return end,
				nil
		}
		go func() { _, _ = c.Get(background, tenant, "short", short) }()
		synctest.Wait()
		if end := get(t, c, tenant, "short", load); !time.Now().Before(end) {
			t.Error("a caller got what no longer counted, from a load it did not begin")
		}
	})
}

func TestGetAtLoadsOncePerVersion(t *testing.T) {
	c := New[string, int](Options[int]{Max: 10})
	tenant := id.New()
	load, _ := counter()
	if _, ok := c.LookupAt(tenant, "k", 5); ok {
		t.Error("a copy was found before a load")
	}
	for i, step := range []struct{ version, want int }{{5, 1}, {5, 1}, {6, 2}, {6, 2}, {4, 3}} {
		// 4: the database was restored
		if v, err := c.GetAt(background, tenant, "k", int64(step.version), load); v != step.want || err != nil {
			t.Errorf("step %d: %d, %v; want %d", i, v, err, step.want)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	c := New[string, int](Options[int]{Max: 10})
	tenant := id.New()
	load, _ := counter()
	for b.Loop() {
		_, _ = c.Get(background, tenant, "k", load)
	}
}

func TestPutKeepsWhatFollowsFromItsKey(t *testing.T) {
	c := New[string, int](Options[int]{Max: 2})
	for i, key := range []string{"a", "b", "c"} {
		c.Put(id.ID{}, key, i)
	}
	if _, ok := c.Lookup(id.ID{}, "a"); ok {
		t.Error("a third copy was kept beside the bound of two")
	}
	if v, ok := c.Lookup(id.ID{}, "c"); v != 2 || !ok {
		t.Errorf("got %d, %t", v, ok)
	}
}

// unasked is a context that must not be asked for its end, because it would make a timer for it.
type unasked struct {
	context.Context
	t *testing.T
}

func (u unasked) Done() <-chan struct{} {
	u.t.Error("asked for its end, though there was nothing to wait for")
	return u.Context.Done()
}

func TestALoadThatHasEndedIsNotWaitedFor(t *testing.T) {
	l := &load[int]{value: 7, done: make(chan struct{})}
	close(l.done)
	if v, err := l.wait(unasked{background, t}, unasked{background, t}); v != 7 || err != nil {
		t.Error(v, err)
	}
}

func TestACopyIsNotWaitedFor(t *testing.T) {
	c := New[string, int](Options[int]{Max: 10})
	tenant := id.New()
	load, _ := counter()
	get(t, c, tenant, "k", load)
	if v, err := c.Get(unasked{background, t}, tenant, "k", load); v != 1 || err != nil {
		t.Error(v, err)
	}
}
