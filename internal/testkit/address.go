package testkit

import (
	"net"
	"testing"
)

// FreeAddress returns a loopback address whose port was free a moment ago. Another process may take
// it before the caller listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
