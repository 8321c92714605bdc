package outbound

import (
	"net/netip"
	"slices"
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, p := range all {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

var (
	// never are addresses that no setting opens: this link, groups, and what clouds answer to the
	// machine itself with its credentials.
	never = prefixes("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
		"100.100.100.200/32", "192.0.0.192/32", "::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128")
	// inside are the special-purpose addresses of IPv4 (RFC 6890) that are not in never.
	inside = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")
	// public6 are the addresses of IPv6 that are assigned to the Internet (RFC 4291 §2.4).
	public6 = netip.MustParsePrefix("2000::/3")
	// inside6 are the special-purpose addresses among them: protocols and tunnels whose embedded
	// IPv4 address may be inside (Teredo, 6to4), and documentation.
	inside6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	// nat64 is the prefix through which a gateway reaches the IPv4 address in its last four bytes
	// (RFC 6052 §2.1).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// compatible is the obsolete form of an IPv4 address in an IPv6 address (RFC 4291 §2.5.5.1).
	compatible = netip.MustParsePrefix("::/96")
)

func in(a netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// embedded returns the IPv4 address that a stands for, or a itself.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if nat64.Contains(a) || compatible.Contains(a) && a != netip.IPv6Loopback() && !a.IsUnspecified() {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// permitted reports whether the server may connect to an address for a tenant. allowed are the
// operator's internal networks.
func permitted(a netip.Addr, allowed []netip.Prefix) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = embedded(a)
	switch {
	case in(a, never):
		return false
	case in(a, allowed):
		return true
	case a.Is4():
		return !in(a, inside)
	}
	return public6.Contains(a) && !in(a, inside6)
}
