package audit

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// Bounds on the events of requests that strangers send and that are refused. Each replica stores
// refusalBurst events at once for an address, then one in refusalEvery. All addresses of a tenant
// together get tenantBurst, then one in tenantEvery. The log has a line of every refusal.
const (
	refusalBurst = 10
	refusalEvery = time.Minute
	tenantBurst  = 120
	tenantEvery  = 30 * time.Second
	refusalSize  = 4096 // addresses and tenants that are remembered
)

// Refusals bounds how many refusals of strangers become durable events. It is safe for concurrent
// use.
type Refusals struct {
	mu        sync.Mutex
	addresses *lru.Cache[refusalKey, allowance]
	tenants   *lru.Cache[id.ID, allowance]
}

type refusalKey struct {
	tenant id.ID
	from   netip.Prefix
}

// allowance is a token bucket: what was left at a time.
type allowance struct {
	left float64
	at   time.Time
}

// NewRefusals returns an unused bound.
func NewRefusals() *Refusals {
	addresses, err := lru.New[refusalKey, allowance](refusalSize)
	if err != nil { // only for a size below one
		panic("audit: " + err.Error())
	}
	tenants, err := lru.New[id.ID, allowance](refusalSize)
	if err != nil {
		panic("audit: " + err.Error())
	}
	return &Refusals{addresses: addresses, tenants: tenants}
}

// Allow reports whether a refusal of a request from an address may become an event of the tenant.
func (r *Refusals) Allow(tenant id.ID, from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(r.addresses, refusalKey{tenant, network.Client(from)}, refusalBurst, refusalEvery, now) &&
		take(r.tenants, tenant, tenantBurst, tenantEvery, now)
}

func take[K comparable](of *lru.Cache[K, allowance], key K, burst float64, every time.Duration, now time.Time) bool {
	a, ok := of.Get(key)
	if !ok {
		a = allowance{burst, now}
	}
	if passed := now.Sub(a.at); passed > 0 {
		a.left, a.at = min(burst, a.left+float64(passed)/float64(every)), now
	}
	allowed := a.left >= 1
	if allowed {
		a.left--
	}
	of.Add(key, a)
	return allowed
}
