package testkit

import (
	"testing"
	"time"
)

// patience bounds Eventually. A loaded machine needs seconds at most.
const patience = time.Minute

// Eventually waits until done reports true, and fails the test after a minute. what names the
// awaited state.
//
// Use it for work that another goroutine or process does in its own time. Move the fake clock for
// everything else.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not after %v: %s", patience, what)
		}
	}
}
