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
			if r.Allow(tenant, "authorize.refuse", netip.MustParseAddr(from(i)), now) {
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
	if !r.Allow(id.New(), "authorize.refuse", netip.MustParseAddr("192.0.2.9"), now) {
		t.Error("another tenant's events are refused too")
	}
	if !r.Allow(tenant, "token_request.refuse", netip.MustParseAddr("192.0.2.9"), now) {
		t.Error("a flood of one kind uses up the events of another")
	}
	now = now.Add(time.Hour)
	if n := count(100, func(int) string { return "192.0.2.1" }); n != refusalBurst {
		t.Errorf("an hour later: %d events, want %d again", n, refusalBurst)
	}
}

// One event a minute for an actor and an action. The next event says how many had none.
func TestRefusalsOfActorsAreBounded(t *testing.T) {
	r, now, tenant, actor := NewRefusals(), time.Unix(1e9, 0), id.New(), id.New()
	const a, b = "user.delete", "user.read"
	for i, step := range []struct {
		action string
		after  time.Duration
		write  bool
		missed int
	}{
		{a, 0, true, 0}, {a, time.Second, false, 0}, {b, 0, true, 0}, {a, time.Second, false, 0},
		{a, refusalEvery, true, 2}, {a, time.Second, false, 0}, {b, 0, true, 0}, {a, refusalEvery, true, 1},
	} {
		now = now.Add(step.after)
		write, missed := r.AllowActor(tenant, actor, step.action, now)
		if write != step.write || missed != step.missed {
			t.Errorf("step %d: %v %d", i, write, missed)
		}
	}
	for range 10000 { // strangers
		r.Allow(tenant, "authorize.refuse", netip.MustParseAddr("192.0.2.1"), now)
	}
	if write, _ := r.AllowActor(tenant, id.New(), a, now); !write {
		t.Error("strangers used up the events of actors")
	}
}
