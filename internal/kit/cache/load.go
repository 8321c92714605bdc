package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// errSlow means that a load did not end within its limit.
var errSlow = fault.New(fault.Unavailable, "service.slow", "This takes longer than it should. Try again in a moment.")

// load is one load under way. All fields but limit and version may be read once done is closed.
type load[V any] struct {
	version int64
	limit   context.Context // ends at the load's limit, or once the load is done
	done    chan struct{}
	value   V
	err     error
	panic   string // what load panicked with, and where
}

// begin starts a load. It is called with the lock held.
//
// The load runs on a goroutine of its own, so that the caller that began it watches its own
// deadline as all others do. It keeps the values of that caller's context, but not its end.
func (c *Cache[K, V]) begin(ctx context.Context, p place[K], version int64,
	fn func(context.Context) (V, error)) *load[V] {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.options.LoadLimit)
	l := &load[V]{version: version, limit: limit, done: make(chan struct{})}
	c.loads[p] = l
	go func() {
		defer cancel() // after done is closed: see wait
		defer c.end(p, l)
		l.run(fn)
	}()
	return l
}

// run calls fn and keeps its panic for the callers. On this goroutine it would end the process.
func (l *load[V]) run(fn func(context.Context) (V, error)) {
	l.err = errors.New("cache: the load ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			l.panic = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
	}()
	l.value, l.err = fn(l.limit)
}

// end keeps what was loaded, unless the copy was forgotten or another load began meanwhile.
func (c *Cache[K, V]) end(p place[K], l *load[V]) {
	c.mu.Lock()
	if c.loads[p] == l {
		delete(c.loads, p)
		if l.err == nil {
			c.keep(p, l.value, l.version)
		}
	}
	c.mu.Unlock()
	close(l.done)
}

// wait returns what is loaded, or fails at the end of ctx or at the load's limit. A context creates
// its timer when it is asked for its end, so wait asks only if it has to.
func (l *load[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-l.done:
		return l.result()
	default:
	}
	var none V
	select {
	case <-l.done:
		return l.result()
	case <-ctx.Done():
		return none, ctx.Err()
	case <-l.limit.Done():
	}
	select {
	case <-l.done: // the load's end cancels the limit
		return l.result()
	default:
		return none, errSlow.Because(context.Cause(l.limit))
	}
}

func (l *load[V]) result() (V, error) {
	if l.panic != "" {
		panic(l.panic)
	}
	return l.value, l.err
}
