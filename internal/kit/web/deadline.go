package web

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, like that of context.WithDeadline, but makes its
// timer only when somebody waits for the end. Most answers come from memory and never do.
type deadline struct {
	context.Context
	at time.Time

	once  sync.Once
	timed context.Context // set by once
	stop  context.CancelFunc
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) wait() context.Context {
	d.once.Do(func() { d.timed, d.stop = context.WithDeadline(d.Context, d.at) })
	return d.timed
}

// AfterFunc lets package context hang on to the end without a goroutine of its own for each
// wait; see context.AfterFunc.
func (d *deadline) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(d.wait(), f) }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.wait().Done() }

// Err implements context.Context.
func (d *deadline) Err() error { return d.wait().Err() }

// end releases the timer, if there is one, and ends the context.
func (d *deadline) end() {
	d.once.Do(func() { d.timed, d.stop = ended, func() {} }) // nobody waited; who asks from now on finds it ended
	d.stop()
}

// ended is shared by all requests that are over.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
