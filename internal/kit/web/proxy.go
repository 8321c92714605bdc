package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies says which proxies may report the client's address and scheme. The zero value trusts
// none: address and scheme are those of the connection.
type Proxies struct {
	// Trusted are the addresses of our own reverse proxies.
	Trusted []netip.Prefix
	// Forwarded reads the standard header (RFC 7239) instead of X-Forwarded-For and
	// X-Forwarded-Proto. Never both: a proxy that writes one of them forwards the other as the
	// client wrote it.
	Forwarded bool
}

// ParseNetwork parses an address or a network: "192.0.2.7", "10.0.0.0/8". An IPv4 address mapped
// into IPv6 becomes IPv4, as the addresses of connections do.
func ParseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, failed := netip.ParseAddr(s); failed == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", s)
	}
	if p.Addr().Is4In6() {
		const mapped = 128 - 32 // bits before the IPv4 address
		if p.Bits() < mapped {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6: write it as 10.0.0.0/8", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), nil
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, t := range p.Trusted {
		if t.Contains(a) {
			return true
		}
	}
	return false
}

// hop is what one proxy reported about its connection.
type hop struct {
	client netip.Addr // invalid when it was not an address
	scheme string     // "" when not said
}

// client returns the address and the scheme ("http" or "https") of the client. It walks from the
// connection towards the client and stops at the first address that is not a trusted proxy.
// Everything left of it was written by the client (the right-most untrusted rule).
func (p Proxies) client(r *http.Request) (netip.Addr, string) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	addr := addressOf(r.RemoteAddr)
	if len(p.Trusted) == 0 || !p.trusts(addr) {
		return addr, scheme
	}
	var hops []hop
	if p.Forwarded {
		hops = forwarded(r.Header["Forwarded"])
	} else {
		hops = xForwarded(r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"])
	}
	for i := len(hops) - 1; i >= 0; i-- {
		h := hops[i]
		if h.scheme != "" {
			scheme = h.scheme
		}
		if !h.client.IsValid() {
			break // "unknown", or nonsense: our outermost proxy is the best we know
		}
		addr = h.client
		if !p.trusts(addr) {
			break
		}
	}
	return addr, scheme
}

// xForwarded pairs the two lists from the right, because each proxy appends to both. A proxy that
// overwrites X-Forwarded-Proto leaves one value, which then counts for the hops without one. If
// there are more schemes than addresses, inner proxies appended the rightmost without an address.
//
// A client of one proxy can write such a scheme too. It deceives only itself: the scheme is asked
// in order to refuse plain HTTP.
func xForwarded(fors, protos []string) []hop {
	clients, schemes := listOf(fors), listOf(protos)
	schemes = schemes[:min(len(schemes), max(len(clients), 1))]
	hops := make([]hop, max(len(clients), min(len(schemes), 1)))
	for i := range hops { // i counts from the right
		h := &hops[len(hops)-1-i]
		if i < len(clients) {
			h.client = nodeOf(clients[len(clients)-1-i])
		}
		if i < len(schemes) {
			h.scheme = schemeOf(schemes[len(schemes)-1-i])
		}
	}
	return hops
}

func listOf(lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, strings.Split(l, ",")...)
	}
	return out
}

// forwarded reads the elements of the Forwarded header (RFC 7239 §4). An element
// that breaks the grammar yields a hop without an address.
func forwarded(lines []string) []hop {
	var hops []hop
	for _, l := range lines {
		for _, element := range splitQuoted(l, ',') {
			var h hop
			for _, pair := range splitQuoted(element, ';') {
				name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
				switch strings.ToLower(name) {
				case "for":
					h.client = nodeOf(unquote(value))
				case "proto":
					h.scheme = schemeOf(unquote(value))
				}
			}
			hops = append(hops, h)
		}
	}
	return hops
}

// splitQuoted splits s at sep outside of quoted strings.
func splitQuoted(s string, sep byte) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.ReplaceAll(s[1:len(s)-1], `\`, "")
}

// nodeOf reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1" and "[2001:db8::1]:80".
func nodeOf(s string) netip.Addr {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return a.Unmap().WithZone("")
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func schemeOf(s string) string {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "https":
		return "https"
	case "http":
		return "http"
	}
	return ""
}
