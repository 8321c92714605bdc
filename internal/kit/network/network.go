package network

import "net/netip"

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

// Client returns the narrowest level: what one client is taken for.
func Client(a netip.Addr) netip.Prefix { return Of(a)[0] }
