package audit

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// A stranger's refusals cost a bounded number of rows, from one address and from many.
func TestRefusalsOfStrangersAreBounded(t *testing.T) {
	r, tenant, now := NewRefusals(), id.New(), time.Unix(1e9, 0)
	count := func(n int, from func(i int) string) int {
		allowed := 0
		for i := range n {
			if r.Allow(tenant, netip.MustParseAddr(from(i)), now) {
				allowed++
			}
		}
		return allowed
	}
	if n := count(1000, func(int) string { return "192.0.2.1" }); n != refusalBurst {
		t.Errorf("one address: %d events, want %d", n, refusalBurst)
	}
	if n := count(1000, func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }); n != refusalBurst {
		t.Errorf("one /64: %d events, want %d", n, refusalBurst)
	}
	many := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }
	if n := count(20000, many); n > tenantBurst {
		t.Errorf("20000 addresses: %d events, want at most %d", n, tenantBurst)
	}
	if !r.Allow(id.New(), netip.MustParseAddr("192.0.2.9"), now) {
		t.Error("another tenant's events are refused too")
	}
	now = now.Add(time.Hour)
	if n := count(100, func(int) string { return "192.0.2.1" }); n != refusalBurst {
		t.Errorf("an hour later: %d events, want %d again", n, refusalBurst)
	}
}
