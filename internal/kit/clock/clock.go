// Package clock is where time comes from, so that tests can move it.
//
// It owns nothing but the reading of time. Production code takes a Clock from
// its dependencies or the time of its transaction; it never calls time.Now.
package clock

import (
	"sync"
	"time"
)

// Clock reads the current time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current time in UTC, cut to microseconds: what both
	// databases store, so a value read back equals the value written.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Machine is the machine's clock with its monotonic reading, to measure how long something took or
// is ago; nothing else is done by it.
func Machine() time.Time { return time.Now() }

// Fake is a clock that moves only when told. The zero Fake starts at 2026-01-01.
type Fake struct {
	mu  sync.Mutex
	now time.Time
}

// Now implements Clock.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now.IsZero() {
		f.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return f.now
}

// Advance moves the clock by d, which may be negative.
func (f *Fake) Advance(d time.Duration) {
	now := f.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now.Add(d)
}
