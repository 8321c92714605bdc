package clock

import (
	"context"
	"sync/atomic"
	"time"
)

// Bounded is a context that ends at a time of the machine's clock, like that of context.WithDeadline, but
// makes its timer only when somebody waits for the end. Most answers come from memory and never do. Make it as a
// struct literal or by Within, and call End when it is no longer needed. It is safe for concurrent use.
type Bounded struct {
	context.Context
	At time.Time

	timed atomic.Pointer[timed] // once somebody has waited, or it is over
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
	stop() // another one was faster
	return d.timed.Load().Context
}

// AfterFunc lets package context hang on to the end without a goroutine of its own for each
// wait; see context.AfterFunc.
func (d *Bounded) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(d.wait(), f) }

// Done implements context.Context.
func (d *Bounded) Done() <-chan struct{} { return d.wait().Done() }

// Err implements context.Context. Asking for it makes no timer.
func (d *Bounded) Err() error {
	if t := d.timed.Load(); t != nil {
		return t.Err()
	}
	if !time.Now().Before(d.At) {
		return context.DeadlineExceeded
	}
	return d.Context.Err()
}

// End releases the timer, if there is one, and ends the context.
func (d *Bounded) End() {
	if !d.timed.CompareAndSwap(nil, over) { // else nobody waited; who asks from now on finds it ended
		d.timed.Load().stop()
	}
}

// over is shared by all that ended before anybody waited.
var over = func() *timed {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &timed{ctx, func() {}}
}()
