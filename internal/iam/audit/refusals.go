package audit

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// Bounds on the events of requests that are refused, for each kind of refusal apart. Each replica
// stores refusalBurst events at once for an address, then one in refusalEvery. All addresses of a
// tenant together get tenantBurst, then one in tenantEvery. An authenticated actor gets actorBurst
// for each action, then one in refusalEvery. The log has a line of every refusal.
const (
	refusalBurst = 10
	refusalEvery = time.Minute
	tenantBurst  = 120
	tenantEvery  = 30 * time.Second
	actorBurst   = 1
	refusalSize  = 4096 // sources and tenants that are remembered
)

// Refusals bounds how many refusals become durable events. It is safe for concurrent use.
type Refusals struct {
	mu      sync.Mutex
	sources *lru.Cache[refusalSource, allowance]
	tenants *lru.Cache[refusalKind, allowance]
}

// refusalKind is a kind of refusals of a tenant. The caller of Refusals names it.
type refusalKind struct {
	tenant id.ID
	kind   string
}

// refusalSource is a network or an actor, and a kind or an action.
type refusalSource struct {
	tenant  id.ID
	network netip.Prefix
	actor   id.ID
	action  string
}

// allowance is a token bucket: what was left at a time. missed counts what was refused since.
type allowance struct {
	left   float64
	at     time.Time
	missed int
}

// NewRefusals returns an unused bound.
func NewRefusals() *Refusals {
	sources, err := lru.New[refusalSource, allowance](refusalSize)
	if err != nil { // only for a size below one
		panic("audit: " + err.Error())
	}
	tenants, err := lru.New[refusalKind, allowance](refusalSize)
	if err != nil {
		panic("audit: " + err.Error())
	}
	return &Refusals{sources: sources, tenants: tenants}
}

// Allow reports whether a refusal of a request from an address may become an event of the tenant.
// A flood of one kind uses up no event of another.
func (r *Refusals) Allow(tenant id.ID, kind string, from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := refusalSource{tenant: tenant, network: network.Client(from), action: kind}
	ok, _ := take(r.sources, source, refusalBurst, refusalEvery, now)
	if ok {
		ok, _ = take(r.tenants, refusalKind{tenant, kind}, tenantBurst, tenantEvery, now)
	}
	return ok
}

// AllowActor reports whether the refusal of an actor's action may become an event of the tenant,
// and how many refusals since the last event had none. Strangers cannot use it up.
func (r *Refusals) AllowActor(tenant, actor id.ID, action string, now time.Time) (bool, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(r.sources, refusalSource{tenant: tenant, actor: actor, action: action}, actorBurst, refusalEvery, now)
}

// take takes one event from the allowance of a key. It returns how many were missed before.
func take[K comparable](of *lru.Cache[K, allowance], key K, burst float64, every time.Duration,
	now time.Time) (bool, int) {
	a, ok := of.Get(key)
	if !ok {
		a = allowance{left: burst, at: now}
	}
	if passed := now.Sub(a.at); passed > 0 {
		a.left, a.at = min(burst, a.left+float64(passed)/float64(every)), now
	}
	missed := a.missed
	if a.left < 1 {
		a.missed++
		of.Add(key, a)
		return false, 0
	}
	a.left, a.missed = a.left-1, 0
	of.Add(key, a)
	return true, missed
}
