package compiler

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds on how tenants share the sandboxes.
const (
	slowAfter  = 5 * time.Second // a task that takes longer makes its tenant slow
	maxWaiting = 8               // tasks of one tenant that run or wait
	maxSlow    = 4096            // tenants that are remembered as slow
)

var errBusy = fault.New(fault.Limited, "policy.compiler_busy", "As many of your tenant's policies are being "+
	"compiled as may be. Wait until one of these requests has been answered.")

// sandboxes are the child processes that this process may run at once.
var sandboxes = newPlaces(sandboxTasks)

// places divide a few places among tenants. A tenant holds one at most. The tenants whose last task
// was slow leave one place to the others. So neither one tenant nor several with slow policies take
// all places. It is safe for concurrent use.
type places struct {
	all  chan struct{} // has an element for each place that is taken
	lane chan struct{} // the same of the slow tenants

	mu      sync.Mutex
	tenants map[id.ID]*turns
	slow    map[id.ID]bool
}

// turns are the tasks of one tenant that run or wait.
type turns struct {
	running chan struct{} // has an element while one of them holds a place
	tasks   int
}

// newPlaces returns n places, at least two.
func newPlaces(n int) *places {
	return &places{all: make(chan struct{}, n), lane: make(chan struct{}, n-1), tenants: map[id.ID]*turns{},
		slow: map[id.ID]bool{}}
}

// enter waits for a place, and returns the function that returns it. The zero tenant is the command
// line, which waits for nothing but a place.
func (p *places) enter(ctx context.Context, tenant id.ID) (func(), error) {
	var undo []func()
	back := func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	if !tenant.IsZero() {
		t := p.join(tenant)
		if t == nil {
			return nil, errBusy
		}
		undo = append(undo, func() { p.part(tenant) })
		if err := take(ctx, t.running, &undo); err != nil {
			back()
			return nil, err
		}
		if p.isSlow(tenant) {
			if err := take(ctx, p.lane, &undo); err != nil {
				back()
				return nil, err
			}
		}
	}
	if err := take(ctx, p.all, &undo); err != nil {
		back()
		return nil, err
	}
	began := clock.Machine()
	return func() {
		p.note(tenant, clock.Machine().Sub(began) > slowAfter)
		back()
	}, nil
}

// take puts an element into c, and adds its removal to undo.
func take(ctx context.Context, c chan struct{}, undo *[]func()) error {
	select {
	case c <- struct{}{}:
		*undo = append(*undo, func() { <-c })
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join counts a task of the tenant. It returns nil if the tenant has too many.
func (p *places) join(tenant id.ID) *turns {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tenants[tenant]
	if t == nil {
		t = &turns{running: make(chan struct{}, 1)}
		p.tenants[tenant] = t
	}
	if t.tasks >= maxWaiting {
		return nil
	}
	t.tasks++
	return t
}

func (p *places) part(tenant id.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tenants[tenant]; t.tasks > 1 {
		t.tasks--
	} else {
		delete(p.tenants, tenant)
	}
}

func (p *places) isSlow(tenant id.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slow[tenant]
}

// note remembers whether the tenant's last task was slow.
func (p *places) note(tenant id.ID, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case tenant.IsZero() || !slow:
		delete(p.slow, tenant)
	default:
		if len(p.slow) >= maxSlow {
			clear(p.slow)
		}
		p.slow[tenant] = true
	}
}
