package network

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestLevels(t *testing.T) {
	prefix := netip.MustParsePrefix
	for a, want := range map[string]Levels{
		"192.0.2.7":          {prefix("192.0.2.7/32"), prefix("192.0.2.0/24")},
		"::ffff:192.0.2.7":   {prefix("192.0.2.7/32"), prefix("192.0.2.0/24")},
		"2001:db8:1:2:3::4":  {prefix("2001:db8:1:2::/64"), prefix("2001:db8:1::/48"), prefix("2001:db8::/32")},
		"fe80::1%eth0":       {prefix("fe80::/64"), prefix("fe80::/48"), prefix("fe80::/32")},
		"2001:db8:1:2::ffff": {prefix("2001:db8:1:2::/64"), prefix("2001:db8:1::/48"), prefix("2001:db8::/32")},
	} {
		if got := Of(addr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if Of(netip.Addr{}) != (Levels{}) {
		t.Error("an invalid address has a network")
	}
}

func TestNoNetworkHoldsMoreThanItsShare(t *testing.T) {
	fill := func(p *Places, next func(i int) netip.Addr) int {
		n := 0
		for i := range 1000 {
			if p.Take(next(i), 1) == Taken {
				n++
			}
		}
		return n
	}
	v6 := func(format func(b *[16]byte, i int)) func(int) netip.Addr {
		return func(i int) netip.Addr {
			b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
			format(&b, i)
			return netip.AddrFrom16(b)
		}
	}
	for name, tc := range map[string]struct {
		next func(int) netip.Addr
		want int
	}{
		"one address":  {func(int) netip.Addr { return addr("192.0.2.1") }, 4},
		"one IPv4 /24": {func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }, 16},
		"one IPv6 /64": {v6(func(b *[16]byte, i int) { b[14], b[15] = byte(i>>8), byte(i) }), 4},
		"one IPv6 /48": {v6(func(b *[16]byte, i int) { b[6], b[7] = byte(i>>8), byte(i) }), 16},
		"one IPv6 /32": {v6(func(b *[16]byte, i int) { b[4], b[5] = byte(i>>8), byte(i) }), 64},
		"many networks": {func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		}, 100},
		"no address": {func(int) netip.Addr { return netip.Addr{} }, 4},
	} {
		p := NewPlaces(100, 4)
		if got := fill(p, tc.next); got != tc.want {
			t.Errorf("%s: %d places of 100, want %d", name, got, tc.want)
		}
		if other := p.Take(addr("198.51.100.1"), 1); name != "many networks" && other != Taken {
			t.Errorf("%s: another network gets no place: %v", name, other)
		}
		for i := range tc.want { // give back in order: nothing may be kept
			p.Give(tc.next(i), 1)
		}
	}
}

// Three quarters of all is the most, however large the share of a client.
func TestAProviderLeavesAQuarter(t *testing.T) {
	p := NewPlaces(100, 40)
	n := 0
	for i := range 200 {
		if p.Take(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 4: byte(i)}), 1) == Taken {
			n++
		}
	}
	if n != 75 {
		t.Errorf("one provider holds %d places of 100, want 75", n)
	}
}

func TestGivenPlacesAreFree(t *testing.T) {
	p := NewPlaces(10, 2)
	a := addr("192.0.2.1")
	if p.Take(a, 3) != TooMany || p.Take(a, 2) != Taken || p.Take(a, 1) != TooMany {
		t.Error("the share is not 2")
	}
	p.Give(a, 2)
	if p.Used() != 0 || len(p.by[0])+len(p.by[1])+len(p.by[2]) != 0 {
		t.Errorf("after all were given back: %d used, %v", p.Used(), p.by)
	}
	var most, now atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 100 {
				if p.Take(a, 1) != Taken {
					continue
				}
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				now.Add(-1)
				p.Give(a, 1)
			}
		})
	}
	all.Wait()
	if most.Load() > 2 || p.Used() != 0 {
		t.Errorf("at most %d places at once, %d left over", most.Load(), p.Used())
	}
}
