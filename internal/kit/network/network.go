package network

import (
	"iter"
	"net/netip"
)

// Levels are the networks that an address counts for, from the narrowest to the widest.
//
// IPv4 has the address itself and its /24. IPv6 has the /64 of one subscriber's link, the /48 of a
// site, and the /32 that a registry gives a provider. An unused level is the zero Prefix.
type Levels [3]netip.Prefix

// Of returns the levels of an address. All invalid addresses count as one.
func Of(a netip.Addr) Levels {
	a = a.Unmap().WithZone("")
	var l Levels
	bits := [...]int{64, 48, 32}
	if !a.IsValid() {
		return l
	}
	if a.Is4() {
		bits = [...]int{32, 24, 0}
	}
	for i, b := range bits {
		if b > 0 {
			l[i], _ = a.Prefix(b) // b is in range
		}
	}
	return l
}

// All returns the used levels with their index, from the narrowest to the widest. All invalid
// addresses share the zero Prefix of the narrowest.
func (l Levels) All() iter.Seq2[int, netip.Prefix] {
	return func(yield func(int, netip.Prefix) bool) {
		for i, n := range l {
			if (i == 0 || n.IsValid()) && !yield(i, n) {
				return
			}
		}
	}
}

// Widening has, for each level, how many times as much as one client a network may use.
type Widening [len(Levels{})]int64

// The table of widenings. A subscriber who gets a /48 has the networks of 65,536 clients.
var (
	// AtOnce is for places that requests hold at the same moment.
	AtOnce = Widening{1, 4, 16}
	// PerTime is for requests in a time: many honest servers send from one /24.
	PerTime = Widening{1, 16, 256}
	// Failing is for failed attempts and for mails. Few people of one network cause them.
	Failing = Widening{1, 5, 25}
)

// Client returns the narrowest level: what one client is taken for.
func Client(a netip.Addr) netip.Prefix { return Of(a)[0] }
