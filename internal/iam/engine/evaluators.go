package engine

import (
	"container/list"
	"context"
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// evaluators keeps what answers for each tenant, within a bound on memory: the tenant that
// has not asked for longest is forgotten first. It is safe for concurrent use.
type evaluators struct {
	limit int64 // bytes

	mu    sync.Mutex
	used  int64
	kept  map[id.ID]*list.Element // of *keptTenant
	order *list.List              // most recently used first
	drops map[id.ID]uint64        // how often a tenant was dropped
	all   uint64                  // how often everything was
}

// inForce is what answers for a tenant.
type inForce struct {
	revision int64
	settings string     // as text, to notice a change
	own      *Evaluator // nil: the base policies alone
	keys     keySets
}

// keptTenant is one entry; what and err may be read when ready is closed.
type keptTenant struct {
	tenant id.ID
	drops  uint64
	ready  chan struct{}
	what   inForce
	err    error
	cost   int64 // 0 until it is loaded
}

func newEvaluators(limit int64) *evaluators {
	return &evaluators{limit: limit, kept: map[id.ID]*list.Element{}, order: list.New(), drops: map[id.ID]uint64{}}
}

// get returns what answers for the tenant. Who asks while it is loaded waits for it; who asks after a drop
// never gets what was read before it. load is given what was in force before, to keep of it what did not change.
func (e *evaluators) get(ctx context.Context, tenant id.ID, load func(context.Context, inForce) (inForce, error)) (inForce, error) {
	e.mu.Lock()
	now := e.drops[tenant] + e.all
	at := e.kept[tenant]
	var before inForce
	if at != nil {
		k := at.Value.(*keptTenant)
		if k.drops == now {
			e.order.MoveToFront(at)
			e.mu.Unlock()
			return k.wait(ctx)
		}
		select {
		case <-k.ready:
			before = k.what
		default: // still loading what is out of date
		}
		e.remove(at)
	}
	k := &keptTenant{tenant: tenant, drops: now, ready: make(chan struct{})}
	at = e.order.PushFront(k)
	e.kept[tenant] = at
	e.mu.Unlock()

	loaded := false
	defer func() {
		if !loaded { // load panicked: nobody must wait for ever
			k.err = errNotLoaded
		}
		e.settle(at, k)
		close(k.ready)
	}()
	k.what, k.err = load(context.WithoutCancel(ctx), before)
	loaded = true
	return k.what, k.err
}

// wait returns what is loaded. A caller's context makes its timer when it is asked for its end, so only who
// really waits asks.
func (k *keptTenant) wait(ctx context.Context) (inForce, error) {
	select {
	case <-k.ready:
		return k.what, k.err
	default:
	}
	select {
	case <-k.ready:
		return k.what, k.err
	case <-ctx.Done():
		return inForce{}, ctx.Err()
	}
}

// settle counts a loaded entry, or removes one that could not be loaded, and makes room.
func (e *evaluators) settle(at *list.Element, k *keptTenant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept[k.tenant] != at { // dropped and asked again meanwhile
		return
	}
	if k.err != nil {
		e.remove(at)
		return
	}
	k.cost = overhead
	if k.what.own != nil {
		k.cost += k.what.own.cost
	}
	e.used += k.cost
	for last := e.order.Back(); e.used > e.limit && last != nil && last != at; last = e.order.Back() {
		e.remove(last)
	}
}

// overhead is what an entry costs without an evaluator, in bytes.
const overhead = 1 << 10

func (e *evaluators) remove(at *list.Element) {
	k := e.order.Remove(at).(*keptTenant)
	delete(e.kept, k.tenant)
	e.used -= k.cost
}

// drop makes what is kept for a tenant out of date; the zero id: for every tenant.
func (e *evaluators) drop(tenant id.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if tenant.IsZero() {
		e.all++
		return
	}
	e.drops[tenant]++
}
