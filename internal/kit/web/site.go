package web

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Site is a tenant as it was reached: by path on the public host, or by one of its own domains.
type Site struct {
	Tenant id.ID
	Slug   string
	Name   string
	// Base is the issuer, without a trailing slash: "https://id.example.com/t/acme"
	// or "https://login.acme.com". It comes from configuration and the database,
	// never from the request's Host header.
	Base string
	Path string // the part of Base after the host: "/t/acme", or "" on a custom domain
}

// Local returns path ("/signin?flow=…") as a browser on the site's host must request it.
func (s Site) Local(path string) string { return s.Path + path }

// secure reports whether people reach the site over https.
func (s Site) secure() bool { return strings.HasPrefix(s.Base, "https://") }

// SiteResolver finds the tenant of a request. BySlug and ByDomain fail with a NotFound fault for a
// tenant that is unknown or being deleted. For a suspended one they fail with a Denied fault and
// return the site too, because its people are told on its page.
type SiteResolver interface {
	// BySlug finds the tenant reached at /t/{slug}.
	BySlug(ctx context.Context, slug string) (Site, error)
	// ByDomain finds the tenant whose custom domain is host: lower case, no port.
	ByDomain(ctx context.Context, host string) (Site, error)
	// Known finds a tenant by its domain or its slug, one of which may be "", in memory only. It is
	// for the page of a refusal, which must stay cheap.
	Known(host, slug string) (Site, bool)
}

// scope is the state of one request. It is the request's context, so one allocation carries all of
// it.
type scope struct {
	clock.Bounded
	site    Site
	caller  caller.Caller
	scheme  string // "http" or "https" as the client used it
	browser string // memo of Browser, "" until asked
	err     error  // what NoteError was told, for the log line
	left    error  // what NoteError was told, if only because the client had gone
	size    int    // of a gRPC call's message
	group   *Group // of the route that answers; of HTTP only
	placed  bool   // holds a place among the requests that are answered

	body   io.ReadCloser       // the request's body without its limit, for AllowBody
	writer http.ResponseWriter // the server's own
}

type scopeKey struct{}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	switch key {
	case scopeKey{}:
		return s
	case caller.AddressKey{}:
		return s.caller.Address
	case caller.TenantKey{}:
		return s.caller.Tenant
	}
	return s.Context.Value(key)
}

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

// WellKnown returns the address of a well-known document about the site, or about a path below it.
// The well-known part stands after the host (RFC 8414 §3.1, RFC 9728 §3.1).
func (s Site) WellKnown(name, path string) string {
	return strings.TrimSuffix(s.Base, s.Path) + "/.well-known/" + name + s.Path + path
}

// SiteOf returns the site of the request, or the zero Site outside a tenant's base.
func SiteOf(r *http.Request) Site { return SiteIn(r.Context()) }

// SiteIn is SiteOf for the context of a request.
func SiteIn(ctx context.Context) Site {
	if s := scopeOf(ctx); s != nil {
		return s.site
	}
	return Site{}
}

// CallerOf returns the anonymous caller of the request: its tenant, address, agent and request id.
// A door that has authenticated an actor uses CallerOf(r).As(actor).
func CallerOf(r *http.Request) caller.Caller {
	if s := scopeOf(r.Context()); s != nil {
		return s.caller
	}
	return caller.Caller{Actor: caller.Actor{Kind: caller.Anonymous}}
}

// RequestIDOf returns the id that ties an answer to its log line and audit events, or "" outside a
// request.
func RequestIDOf(ctx context.Context) string {
	if s := scopeOf(ctx); s != nil {
		return s.caller.RequestID
	}
	return ""
}
