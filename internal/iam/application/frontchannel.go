package application

import (
	"net/url"
	"slices"
	"strings"
)

// FrontchannelLogout is the page of an application that ends its own session in a frame of our
// signed-out page (OpenID Connect Front-Channel Logout 1.0 §2).
type FrontchannelLogout struct {
	URI     string // "" for none
	Session bool   // its address has iss and sid
}

// checkFrontchannel returns why the front-channel settings are wrong, or "".
func (a *Application) checkFrontchannel() string {
	f := a.FrontchannelLogout
	switch {
	case f.URI == "" && f.Session:
		return "frontchannel_logout_session_required needs an address. Set frontchannel_logout_uri."
	case f.URI == "":
		return ""
	case a.Type == Machine:
		return "A machine application has none, because users do not sign in to it."
	}
	if reason := checkRedirectURI(Web, f.URI); reason != "" {
		return strings.Replace(reason, "redirect URI", "front-channel logout URI", 1)
	}
	origin := OriginOf(f.URI)
	if origin == "" || strings.Contains(origin, "[") {
		return "The policy of our page cannot name this host. Use a DNS name or an IPv4 address."
	}
	if !slices.ContainsFunc(a.RedirectURIs, func(uri string) bool { return OriginOf(uri) == origin }) {
		return "It must have the scheme, host and port of one of redirect_uris (Front-Channel Logout 1.0 §2)."
	}
	return ""
}

// Address returns the address of the frame. iss and sid are added to the query that the URI has
// (Front-Channel Logout 1.0 §3). They replace those that stand in it, so that each is there once.
func (f FrontchannelLogout) Address(issuer, session string) string {
	if !f.Session {
		return f.URI
	}
	page, query, _ := strings.Cut(f.URI, "?")
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		return pair == "" || err == nil && (name == "iss" || name == "sid")
	})
	kept = append(kept, url.Values{"iss": {issuer}, "sid": {session}}.Encode())
	return page + "?" + strings.Join(kept, "&")
}

// OriginOf returns the web origin of an http or https address as a browser writes it (RFC 6454
// §6.1), or "" for another address.
func OriginOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" ||
		strings.ContainsAny(u.Host, " ;,'\"*%") {
		return ""
	}
	host := strings.ToLower(u.Host)
	if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; u.Port() == port[1:] || u.Port() == "" {
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	return u.Scheme + "://" + host
}
