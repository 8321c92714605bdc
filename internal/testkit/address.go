package testkit

import (
	"net"
	"sync"
	"testing"
)

// FreeAddress returns a loopback address whose port was free a moment ago. It returns none twice in
// a test process. Another process may take it before the caller listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, again := given.LoadOrStore(address, true); !again {
			return address
		}
	}
}

// given has the addresses that FreeAddress has returned.
var given sync.Map
