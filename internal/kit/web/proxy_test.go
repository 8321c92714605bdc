package web

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"
)

func TestClient(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"),
		netip.MustParsePrefix("192.0.2.7/32")}
	const ours, outer = "10.0.0.1:555", "10.0.0.2"
	for name, tc := range map[string]struct {
		remote    string
		tls       bool
		forwarded bool
		h         http.Header
		addr      string
		scheme    string
	}{
		"direct":     {"203.0.113.1:1", false, false, nil, "203.0.113.1", "http"},
		"direct TLS": {"203.0.113.1:1", true, false, nil, "203.0.113.1", "https"},
		"a stranger's headers": {"203.0.113.1:1", false, false,
			http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https"}}, "203.0.113.1", "http"},
		"one proxy": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Forwarded-Proto": {"https"}}, "203.0.113.1", "https"},
		"one proxy, spoofed before": {ours, false, false,
			http.Header{"X-Forwarded-For": {"1.2.3.4, 203.0.113.1"}, "X-Forwarded-Proto": {"https, http"}},
			"203.0.113.1", "http"},
		"spoofed in a line of its own": {ours, false, false, http.Header{"X-Forwarded-For": {"1.2.3.4", "203.0.113.1"}},
			"203.0.113.1", "http"},
		"spoofed with our own address": {ours, false, false,
			http.Header{"X-Forwarded-For": {"1.2.3.4, 10.9.9.9, 203.0.113.1"}}, "203.0.113.1", "http"},
		"two proxies": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1, " + outer}, "X-Forwarded-Proto": {"https,http"}},
			"203.0.113.1", "https"},
		"two proxies, scheme kept": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1, " + outer}, "X-Forwarded-Proto": {"https"}}, "203.0.113.1",
			"https"},
		"only ours": {ours, false, false, http.Header{"X-Forwarded-For": {"10.0.0.3, " + outer}},
			"10.0.0.3", "http"},
		"no headers": {ours, false, false, nil, "10.0.0.1", "http"},
		"an inner proxy that appends no address": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Forwarded-Proto": {"https,http"}},
			"203.0.113.1", "https"},
		"two, in lines of their own": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Forwarded-Proto": {"https", "http"}}, "203.0.113.1",
			"https"},
		"schemes alone": {ours, false, false, http.Header{"X-Forwarded-Proto": {"https, http"}}, "10.0.0.1",
			"https"},
		"two proxies, plain outside": {ours, false, false,
			http.Header{"X-Forwarded-For": {"203.0.113.1, " + outer}, "X-Forwarded-Proto": {"http,https"}},
			"203.0.113.1", "http"},
		"Forwarded, two proxies": {ours, false, true,
			http.Header{"Forwarded": {`for=203.0.113.1;proto=https, for=10.0.0.2;proto=http`}}, "203.0.113.1", "https"},
		"Forwarded, in lines of their own": {ours, false, true,
			http.Header{"Forwarded": {`for=203.0.113.1;proto=https`, `for=10.0.0.2;proto=http`}},
			"203.0.113.1", "https"},
		"Forwarded, capitals": {ours, false, true,
			http.Header{"Forwarded": {`For="[2001:db8::5]:4711";Proto=HTTPS;By=10.0.0.1`}}, "2001:db8::5", "https"},
		"scheme alone": {ours, false, false, http.Header{"X-Forwarded-Proto": {"https"}}, "10.0.0.1",
			"https"},
		"nonsense": {ours, false, false, http.Header{"X-Forwarded-For": {"1.2.3.4, nonsense, " + outer}},
			outer, "http"},
		"empty": {ours, false, false, http.Header{"X-Forwarded-For": {""}}, "10.0.0.1", "http"},
		"ports and brackets": {"[2001:db8:1::1]:9", false, false,
			http.Header{"X-Forwarded-For": {"[2001:db8::5]:4711"}}, "2001:db8::5", "http"},
		"mapped": {"[::ffff:10.0.0.1]:9", false, false,
			http.Header{"X-Forwarded-For": {"::ffff:203.0.113.1"}}, "203.0.113.1", "http"},
		"Forwarded is not read": {ours, false, false, http.Header{"Forwarded": {"for=1.2.3.4;proto=https"}},
			"10.0.0.1", "http"},
		"Forwarded": {ours, false, true,
			http.Header{"Forwarded": {`for=1.2.3.4, for="[2001:db8::5]:1";proto=https;by=10.0.0.9`},
				"X-Forwarded-For": {"9.9.9.9"}}, "2001:db8::5", "https"},
		"Forwarded, quoted comma": {ours, false, true, http.Header{"Forwarded": {`for=203.0.113.1;host="a,b;c\"d"`}},
			"203.0.113.1", "http"},
		"Forwarded, unknown": {ours, false, true, http.Header{"Forwarded": {`for=1.2.3.4, for=unknown, for=10.0.0.2`}},
			outer, "http"},
	} {
		r := &http.Request{RemoteAddr: tc.remote, Header: tc.h}
		if tc.tls {
			r.TLS = &tls.ConnectionState{}
		}
		addr, scheme := (Proxies{Trusted: trusted, Forwarded: tc.forwarded}).client(r)
		if addr.String() != tc.addr || scheme != tc.scheme {
			t.Errorf("%s: %s %s, want %s %s", name, addr, scheme, tc.addr, tc.scheme)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "10.1.2.3/8": "10.0.0.0/8",
		"2001:db8:1::/48": "2001:db8:1::/48", "2001:db8::1": "2001:db8::1/128", "::/0": "::/0",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
	} {
		if p, err := ParseNetwork(text); err != nil || p.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, p, err, want)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/33", "proxy.internal", "fe80::1%eth0", "fe80::1%eth0/64",
		"::ffff:10.0.0.0/8"} {
		if p, err := ParseNetwork(bad); err == nil {
			t.Errorf("%q became %v", bad, p)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("1.2.3.4, [::1]:5", "https,http", `for="[::1]";proto=https, for=_x`)
	f.Add(`,"`, ",", `for="\`)
	p := Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, fors, protos, fwd string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{
			"X-Forwarded-For": {fors}, "X-Forwarded-Proto": {protos}, "Forwarded": {fwd},
		}}
		for _, std := range []bool{false, true} {
			p.Forwarded = std
			addr, scheme := p.client(r)
			if !addr.IsValid() || addr.Zone() != "" || scheme != "http" && scheme != "https" {
				t.Errorf("%q %q %q: %v %q", fors, protos, fwd, addr, scheme)
			}
		}
	})
}
