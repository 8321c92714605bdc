package clock

import (
	"context"
	"sync/atomic"
	"time"
)

// Bounded is a context that ends at a time of the machine's clock.
//
// Unlike context.WithDeadline it starts its timer only when a goroutine waits for the end. Most
// requests are answered from memory, and nothing waits. Create it as a struct literal or with
// Within, and call End when it is no longer needed. It is safe for concurrent use.
type Bounded struct {
	context.Context
	At time.Time

	timed atomic.Pointer[timed] // set once a goroutine waits, or by End
}

// Within returns a context that ends after d.
func Within(ctx context.Context, d time.Duration) *Bounded {
	return &Bounded{Context: ctx, At: time.Now().Add(d)}
}

type timed struct {
	context.Context
	stop context.CancelFunc
}

// Deadline implements context.Context.
func (d *Bounded) Deadline() (time.Time, bool) { return d.At, true }

func (d *Bounded) wait() context.Context {
	if t := d.timed.Load(); t != nil {
		return t.Context
	}
	ctx, stop := context.WithDeadline(d.Context, d.At)
	if d.timed.CompareAndSwap(nil, &timed{ctx, stop}) {
		return ctx
	}
	stop() // another goroutine was faster
	return d.timed.Load().Context
}

// AfterFunc calls f in its own goroutine after the context ends; see context.AfterFunc. With it
// package context derives contexts without a goroutine each.
func (d *Bounded) AfterFunc(f func()) func() bool { return context.AfterFunc(d.wait(), f) }

// Done implements context.Context.
func (d *Bounded) Done() <-chan struct{} { return d.wait().Done() }

// Err implements context.Context. It starts no timer.
func (d *Bounded) Err() error {
	if t := d.timed.Load(); t != nil {
		return t.Err()
	}
	if !time.Now().Before(d.At) {
		return context.DeadlineExceeded
	}
	return d.Context.Err()
}

// End ends the context and releases its timer.
func (d *Bounded) End() {
	if !d.timed.CompareAndSwap(nil, over) { // otherwise nothing has waited, and there is no timer
		d.timed.Load().stop()
	}
}

// over is the ended context of all that ended before anything waited.
var over = func() *timed {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &timed{ctx, func() {}}
}()
