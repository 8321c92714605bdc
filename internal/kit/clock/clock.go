// Package clock reads the time, so that tests can move it.
//
// Production code uses the Clock of its dependencies or the time of its transaction. It never calls
// time.Now.
package clock

import (
	"sync"
	"time"
)

// Clock reads the current time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current time in UTC, cut to microseconds. Both databases store microseconds,
	// so a value read back equals the value written.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Machine returns the machine's time with its monotonic reading. Use it only to measure durations.
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
