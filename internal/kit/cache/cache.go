// Package cache keeps read-only copies of what changes rarely (tenants,
// applications, keys) on each replica. The database stays the only truth.
//
// An entry belongs to a tenant. Drop makes all entries of a tenant invalid at
// once; the poller of changed configuration calls it, and so does the replica
// that changed something, after its commit. A copy that was being loaded while
// its tenant was dropped is used once and not kept.
package cache

import (
	"context"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Cache maps (tenant, key) to a value. It is safe for concurrent use, bounded,
// and forgets the least recently used first. Values must not be changed.
type Cache[V any] struct {
	entries *lru.Cache[key, entry[V]]
	loads   singleflight.Group

	mu    sync.RWMutex
	drops map[id.ID]uint64 // how often a tenant was dropped; one small entry per changed tenant
	all   uint64           // how often everything was
}

type key struct {
	tenant id.ID
	name   string
}

type entry[V any] struct {
	value V
	drops uint64
}

// New returns a cache of at most size entries.
func New[V any](size int) *Cache[V] {
	entries, err := lru.New[key, entry[V]](size)
	if err != nil { // only a size below one
		panic("cache: " + err.Error())
	}
	return &Cache[V]{entries: entries, drops: map[id.ID]uint64{}}
}

// Get returns the value, loading it when there is no valid copy. Concurrent loads
// of the same key are one; an error is returned to all who wait and not kept. load
// must not depend on who asks: its context outlives the caller's.
func (c *Cache[V]) Get(ctx context.Context, tenant id.ID, name string, load func(context.Context) (V, error)) (V, error) {
	k := key{tenant, name}
	now := c.dropsOf(tenant)
	if e, ok := c.entries.Get(k); ok && e.drops == now {
		return e.value, nil
	}
	// The count of drops is part of the key: who asks after a change never gets
	// the answer of a load that began before it.
	flight := string(tenant[:]) + string(appendUint(nil, now)) + name
	v, err, _ := c.loads.Do(flight, func() (any, error) {
		v, err := load(context.WithoutCancel(ctx))
		if err == nil && c.dropsOf(tenant) == now {
			c.entries.Add(k, entry[V]{v, now})
		}
		return v, err
	})
	if err != nil {
		var zero V
		return zero, err
	}
	return v.(V), nil
}

// Drop makes every entry of a tenant invalid; with the zero id, every entry of all
// tenants: for when changes may have been missed.
func (c *Cache[V]) Drop(tenant id.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tenant.IsZero() {
		c.all++
		return
	}
	c.drops[tenant]++
}

func (c *Cache[V]) dropsOf(tenant id.ID) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.drops[tenant] + c.all
}

func appendUint(b []byte, n uint64) []byte {
	for ; n > 0; n >>= 8 {
		b = append(b, byte(n))
	}
	return append(b, 0)
}
