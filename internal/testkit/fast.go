package testkit

import "testing"

// SkipFast skips the test in a fast run (go test -short, make test-fast). needs names what it would
// start, such as "a browser".
//
// A fast run is the inner loop of one developer: SQLite only, and no program but the tests. make
// test and make check never are fast, so there a missing program fails the test.
func SkipFast(t testing.TB, needs string) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out of a fast run: needs " + needs)
	}
}
