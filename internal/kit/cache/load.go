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

// giveUpLimits is after how many of its limits the cache gives up a load that ignores its context.
// It may be silent for ever, and must not block its key for ever.
const giveUpLimits = 10

// load is one load under way. value, err and panic may be read once done is closed.
type load[V any] struct {
	begun int64           // see kept
	limit context.Context // ends at the load's limit, or once the load is done
	grace context.Context // ends when the cache gives the load up, or once the load is done
	done  chan struct{}
	value V
	err   error
	panic string // what load panicked with, and where
}

// begin starts a load. It is called with the lock held.
//
// The load runs on a goroutine of its own, so that the caller that began it watches its own
// deadline as all others do. It keeps the values of that caller's context, but not its end.
func (c *Cache[K, V]) begin(ctx context.Context, f flight[K], fn func(context.Context) (V, error)) *load[V] {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpLimits*c.options.LoadLimit)
	limit, stop := context.WithTimeout(grace, c.options.LoadLimit)
	c.begun++
	l := &load[V]{begun: c.begun, limit: limit, grace: grace, done: make(chan struct{})}
	c.loads[f] = l
	go func() {
		defer cancel() // after done is closed: see wait
		defer stop()
		defer c.end(f, l)
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

// end keeps what was loaded, unless the copy was forgotten, the load was given up, or a load that
// began later ended before.
func (c *Cache[K, V]) end(f flight[K], l *load[V]) {
	c.mu.Lock()
	if c.loads[f] == l {
		delete(c.loads, f)
		if l.err == nil {
			c.keep(f.place, l.value, f.version, l.begun)
		}
	}
	c.mu.Unlock()
	close(l.done)
}

// wait returns what is loaded, or fails at the end of ctx or of limit. A context creates its timer
// when it is asked for its end, so wait asks only if it has to.
func (l *load[V]) wait(ctx, limit context.Context) (V, error) {
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
	case <-limit.Done():
	}
	select {
	case <-l.done: // the load's end cancels the limit
		return l.result()
	default:
		return none, errSlow.Because(context.Cause(limit))
	}
}

// ended reports whether the load has ended.
func (l *load[V]) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *load[V]) result() (V, error) {
	if l.panic != "" {
		panic(l.panic)
	}
	return l.value, l.err
}
