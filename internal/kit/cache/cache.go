package cache

import (
	"context"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Options bound a cache. Max is required.
type Options[V any] struct {
	// Max is what all copies may cost together.
	Max int64
	// Cost returns what a copy costs, such as its bytes. Nil: each copy costs 1.
	Cost func(V) int64
	// Valid reports whether a copy still counts. It is called for every use, so it must be fast.
	// Nil: a copy counts until it is dropped.
	Valid func(V) bool
	// LoadLimit is how long one load may take. Zero: 5 seconds.
	LoadLimit time.Duration
}

// Cache maps a tenant and a key to a copy. It is safe for concurrent use. The caller must not
// change a copy. A copy that belongs to no tenant has the zero tenant.
type Cache[K comparable, V any] struct {
	options Options[V]

	mu     sync.Mutex
	copies *simplelru.LRU[place[K], *kept[V]]
	cost   int64
	loads  map[flight[K]]*load[V] // under way
	begun  int64                  // how many loads and Puts there were
	drops  map[id.ID]int64        // how often a tenant was dropped: one small entry per changed tenant
	all    int64                  // how often every tenant was dropped
}

// place is where a copy is kept.
type place[K comparable] struct {
	tenant id.ID
	key    K
}

// flight identifies a load: at most one runs for a place and a version.
type flight[K comparable] struct {
	place[K]
	version int64
}

// kept is a copy. It counts for one version: the number of its tenant's drops, or the one that
// GetAt names.
type kept[V any] struct {
	value   V
	version int64
	begun   int64 // the number of its load: a later one replaces it, an earlier one does not
	cost    int64
}

// New returns an empty cache.
func New[K comparable, V any](o Options[V]) *Cache[K, V] {
	if o.Max < 1 {
		panic("cache: Max is required")
	}
	if o.Cost == nil {
		o.Cost = func(V) int64 { return 1 }
	}
	if o.Valid == nil {
		o.Valid = func(V) bool { return true }
	}
	if o.LoadLimit == 0 {
		o.LoadLimit = 5 * time.Second
	}
	c := &Cache[K, V]{options: o, loads: map[flight[K]]*load[V]{}, drops: map[id.ID]int64{}}
	copies, err := simplelru.NewLRU(math.MaxInt, func(_ place[K], e *kept[V]) { c.cost -= e.cost })
	if err != nil { // only for a size below one
		panic("cache: " + err.Error())
	}
	c.copies = copies
	return c
}

// Get returns the copy, and loads it if there is no valid one. load must not depend on its caller:
// its result answers other callers too, its context outlives this one, and it runs on another
// goroutine. Get fails as load does, with ctx.Err(), or at the limit with an Unavailable fault.
//
// The context of a load ends at its limit. A load that watches it returns then, and the next caller
// starts another one. A load that computes on is not repeated beside itself. New callers wait for
// it, each up to a limit of its own, and its late result is kept. After giveUpLimits limits the
// cache gives it up: the next caller starts another load, and the result of the first is dropped.
func (c *Cache[K, V]) Get(ctx context.Context, tenant id.ID, key K, load func(context.Context) (V, error)) (V, error) {
	c.mu.Lock()
	return c.get(ctx, place[K]{tenant, key}, c.drops[tenant]+c.all, load)
}

// GetAt is Get for a tenant whose changes are counted elsewhere. A copy counts for the version at
// which it was loaded, and load reads that version or a later one. Drop has no effect on it. Use
// either GetAt or Get on one cache.
func (c *Cache[K, V]) GetAt(ctx context.Context, tenant id.ID, key K, version int64,
	load func(context.Context) (V, error)) (V, error) {
	c.mu.Lock()
	return c.get(ctx, place[K]{tenant, key}, version, load)
}

// get is called with the lock held, and releases it.
func (c *Cache[K, V]) get(ctx context.Context, p place[K], version int64,
	fn func(context.Context) (V, error)) (V, error) {
	if v, ok := c.lookup(p, version); ok {
		c.mu.Unlock()
		return v, nil
	}
	return c.getLoaded(ctx, flight[K]{p, version}, fn)
}

// getLoaded joins the load under way or begins one. It is called with the lock held, and releases
// it.
func (c *Cache[K, V]) getLoaded(ctx context.Context, f flight[K], fn func(context.Context) (V, error)) (V, error) {
	var own context.Context // the limit of a caller that met a late load
	for {
		l, joined := c.loads[f]
		if joined = joined && l.grace.Err() == nil; !joined {
			l = c.begin(ctx, f, fn)
		}
		late := joined && l.limit.Err() != nil
		c.mu.Unlock()
		if late && own == nil {
			var cancel context.CancelFunc
			own, cancel = context.WithTimeout(context.WithoutCancel(ctx), c.options.LoadLimit)
			defer cancel()
		}
		limit := l.limit
		if own != nil {
			limit = own
		}
		v, err := l.wait(ctx, limit)
		if !joined || err == nil && c.options.Valid(v) || err != nil && !(late && l.ended()) {
			return v, err
		}
		// What another caller began no longer counts, or failed because its limit was over.
		c.mu.Lock()
		if v, ok := c.lookup(f.place, f.version); ok {
			c.mu.Unlock()
			return v, nil
		}
	}
}

// Lookup returns the copy if there is a valid one. It loads nothing. A path that must not allocate
// calls it before Get, whose load escapes to another goroutine.
func (c *Cache[K, V]) Lookup(tenant id.ID, key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(place[K]{tenant, key}, c.drops[tenant]+c.all)
}

// LookupAt is Lookup for a cache that is used by GetAt.
func (c *Cache[K, V]) LookupAt(tenant id.ID, key K, version int64) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(place[K]{tenant, key}, version)
}

// lookup is called with the lock held.
func (c *Cache[K, V]) lookup(p place[K], version int64) (V, bool) {
	if e, ok := c.copies.Get(p); ok && e.version == version && c.options.Valid(e.value) {
		return e.value, true
	}
	var none V
	return none, false
}

// Put keeps a value that follows from its key alone, such as a parsed text. Use Get for a value
// that is read from elsewhere: it may have changed between the reading and Put.
func (c *Cache[K, V]) Put(tenant id.ID, key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	c.keep(place[K]{tenant, key}, v, c.drops[tenant]+c.all, c.begun)
}

// Last returns the copy that was loaded last, valid or not, for a load that reuses parts of it.
func (c *Cache[K, V]) Last(tenant id.ID, key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.copies.Peek(place[K]{tenant, key}); ok {
		return e.value, true
	}
	var none V
	return none, false
}

// Forget removes one copy. The result of a load that is under way is not kept.
func (c *Cache[K, V]) Forget(tenant id.ID, key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := place[K]{tenant, key}
	c.copies.Remove(p)
	maps.DeleteFunc(c.loads, func(f flight[K], _ *load[V]) bool { return f.place == p })
}

// Drop makes every copy of a tenant invalid. The zero id drops every tenant's copies, for a replica
// that may have missed changes.
func (c *Cache[K, V]) Drop(tenant id.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tenant.IsZero() {
		c.all++
		return
	}
	c.drops[tenant]++
}

// keep stores a copy and evicts others until all fit. A copy that costs more than Max by itself is
// the only one. It is called with the lock held.
func (c *Cache[K, V]) keep(p place[K], v V, version, begun int64) {
	if e, ok := c.copies.Peek(p); ok && e.begun > begun {
		return
	}
	c.copies.Remove(p)
	e := &kept[V]{v, version, begun, c.options.Cost(v)}
	c.copies.Add(p, e)
	c.cost += e.cost
	for c.cost > c.options.Max && c.copies.Len() > 1 {
		c.copies.RemoveOldest()
	}
}
