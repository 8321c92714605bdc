package testkit

import "testing"

// SkipFast skips the test in a fast run: go test -short, or make test-fast. needs names the program
// that the test starts, such as "a browser".
//
// A fast run is the inner loop of one developer. It uses SQLite and starts no other program. make
// test and make check are never fast: a missing program fails their tests.
func SkipFast(t testing.TB, needs string) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out of a fast run: needs " + needs)
	}
}
