package application

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxURIs   = 50
	maxURILen = 2000 // bytes
	localhost = "localhost"
)

// checkRedirectURI returns why an application of type t may not register uri, or "" if it may
// (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1).
func checkRedirectURI(t Type, uri string) string {
	switch {
	case uri == "":
		return "A redirect URI must not be empty."
	case len(uri) > maxURILen:
		return "A redirect URI may have at most 2000 bytes."
	case !plainURI(uri):
		return "A redirect URI may contain only printable ASCII characters without spaces; percent-encode others."
	case strings.ContainsAny(uri, "*"):
		return "Wildcards are not accepted. Register every redirect URI in full."
	case strings.Contains(uri, "#"):
		return "A redirect URI must not have a fragment (#…)."
	}
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() {
		return "A redirect URI must be absolute, such as https://app.example.com/callback."
	}
	if u.User != nil {
		return "A redirect URI must not contain a user name or password."
	}
	switch u.Scheme {
	case "https":
		if u.Hostname() == "" || u.Opaque != "" {
			return "The redirect URI lacks a host."
		}
		return ""
	case "http":
		switch {
		case u.Hostname() == "" || u.Opaque != "":
			return "The redirect URI lacks a host."
		case loopback(u):
			return ""
		}
		return "Plain http is accepted only for localhost and the loopback addresses 127.0.0.1 and [::1]. Use https."
	}
	if t != Native {
		return "Use https. Only native applications may register a scheme of their own."
	}
	// A private-use scheme is a reversed domain name (RFC 8252 §7.1). That also excludes
	// javascript:, data: and the like.
	if !strings.Contains(u.Scheme, ".") {
		return "A private scheme must be a reversed domain name, such as com.example.app:/callback (RFC 8252 §7.1)."
	}
	return ""
}

func plainURI(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= utf8.RuneSelf-1 || strings.IndexByte("\\\"<>^`{|}", s[i]) >= 0 {
			return false
		}
	}
	return true
}

// loopback reports whether u leads back to the machine that follows it. Clients use the name
// localhost as well as the addresses, although RFC 8252 §8.3 advises against it.
func loopback(u *url.URL) bool {
	if u.Hostname() == localhost {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback() && a.Zone() == ""
}

// OtherSpelling returns an http address with the path "/" instead of an empty one, or the reverse.
// Both mean the same (RFC 3986 §6.2.3), and a browser's URL always writes the slash. Any other
// address has one spelling.
func OtherSpelling(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", strings.ContainsAny(address, "?#"):
		return address
	case u.Path == "":
		return address + "/"
	case u.Path == "/":
		return strings.TrimSuffix(address, "/")
	}
	return address
}

// MatchesRedirect reports whether uri is a registered redirect URI, byte for byte. If both are http
// on localhost, or on the same loopback IP address, the port may differ. A native application gets
// its port from the system (RFC 8252 §7.3), and so do the development servers of web applications.
func (a *Application) MatchesRedirect(uri string) bool {
	return matches(a.RedirectURIs, uri)
}

// MatchesPostLogout reports whether uri is a registered post_logout_redirect_uri. A loopback one
// may have another port, as the redirect URI of the same application may.
func (a *Application) MatchesPostLogout(uri string) bool {
	return matches(a.PostLogoutRedirectURIs, uri)
}

func matches(all []string, uri string) bool {
	return slices.ContainsFunc(all, func(registered string) bool {
		return registered == uri || sameButPort(registered, uri)
	})
}

func sameButPort(registered, uri string) bool {
	const scheme = "http://"
	if !strings.HasPrefix(registered, scheme) || !strings.HasPrefix(uri, scheme) || !plainURI(uri) ||
		strings.ContainsAny(uri, "#@") {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || !loopback(u) {
		return false
	}
	r, err := url.Parse(registered)
	if err != nil || !loopback(r) {
		return false
	}
	// Compare the text: two spellings of one address or path are different.
	return withoutPort(registered) == withoutPort(uri)
}

// withoutPort removes the port from "http://host:port/rest".
func withoutPort(uri string) string {
	host, rest := uri[len("http://"):], ""
	if i := strings.IndexAny(host, "/?"); i >= 0 {
		host, rest = host[:i], host[i:]
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		if host[i+1:] == "" {
			return "" // the port of "127.0.0.1:" is empty; url.Parse accepts it
		}
		host = host[:i]
	}
	return host + rest
}
