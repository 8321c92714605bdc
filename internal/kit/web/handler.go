package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// Limits bound one request. A zero field has its default.
type Limits struct {
	Path       int           // bytes of path; default 2 KiB
	Query      int           // bytes of query; default 16 KiB
	Body       int64         // bytes of body; default 1 MiB
	Time       time.Duration // until the request's context ends; default DefaultTime
	Concurrent int64         // requests answered at once; default 4096
	Arriving   int64         // requests whose bodies are on their way at once; default 4096
	Memory     int64         // bytes of all bodies that are kept at once; default 256 MiB
}

// DefaultTime is how long a request may take once its body has arrived.
const DefaultTime = 30 * time.Second

// The parts of a limit that one client may hold: its network, as kit/network counts it.
const (
	concurrentShare = 4  // a quarter of the requests that are answered
	arrivingShare   = 16 // of the bodies that are on their way
	memoryShare     = 8  // of the memory for bodies
)

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	path, query, spent := int64(l.Path), int64(l.Query), int64(l.Time)
	def(&path, 2<<10)
	def(&query, 16<<10)
	def(&l.Body, 1<<20)
	def(&spent, int64(DefaultTime))
	def(&l.Concurrent, 4096)
	def(&l.Arriving, 4096)
	def(&l.Memory, 256<<20)
	l.Path, l.Query, l.Time = int(path), int(query), time.Duration(spent)
	return l
}

// Handler is everything between a listener and the doors. Fill in a struct literal and call Ready
// once. After that it is safe for concurrent use.
type Handler struct {
	Sites     SiteResolver
	PublicURL *url.URL // where Gatehouse is reached: scheme, host and port
	Tenant    *Routes  // what a tenant's base offers; patterns without the base's path
	Root      *Routes  // what the public host offers outside of any tenant; nil for nothing
	Proxies   Proxies
	Limits    Limits
	Limiter   *Limiter // per address; nil for none
	Frequent  *Limiter // instead of Limiter for routes of the class Decision; nil for none
	Metrics   *Metrics
	Log       *slog.Logger
	Lines     *Lines // gathers the log lines of requests that went well; nil: they go to Log too
	Clock     clock.Clock

	secure   bool
	places   *network.Places // for requests that are answered
	arriving *network.Places // for bodies on their way
	memory   *network.Places // for bytes of bodies
}

// Ready fills in defaults and returns h.
func (h *Handler) Ready() *Handler {
	h.Limits = h.Limits.withDefaults()
	h.secure = h.PublicURL.Scheme == "https"
	h.places = network.NewPlaces(h.Limits.Concurrent, h.Limits.Concurrent/concurrentShare)
	h.arriving = network.NewPlaces(h.Limits.Arriving, h.Limits.Arriving/arrivingShare)
	h.memory = network.NewPlaces(h.Limits.Memory, h.Limits.Memory/memoryShare)
	if h.Root == nil {
		h.Root = NewRoutes(nil)
	}
	return h
}

// exchange is a request on its way through the handler, in one allocation.
type exchange struct {
	scope
	rec recorder
	url url.URL

	arrived bytes.Reader // reads the body that was received
	kept    int64        // bytes of memory taken for the body, beyond pooled
	pooled  *[]byte      // the first buffer of the body
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.Clock.Now()
	x := &exchange{url: *r.URL}
	// The machine's clock: it is waited for. The time starts again once the body has arrived.
	x.Bounded = clock.Bounded{Context: r.Context(), At: time.Now().Add(h.Limits.Time)}
	defer x.End()
	x.caller.Actor.Kind = caller.Anonymous
	x.caller.Address, x.scheme = h.Proxies.client(r)
	x.caller.Agent = agentOf(r)
	x.caller.RequestID = newRequestID()
	r = r.WithContext(&x.scope)
	r.URL = &x.url
	x.writer = w
	x.group = h.Tenant.early(r.URL.Path)
	x.rec = recorder{ResponseWriter: w}
	h.headers(w.Header(), x)

	defer func() {
		p := recover()
		h.leave(x)
		if p != nil && p != http.ErrAbortHandler {
			x.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			if x.rec.status == 0 {
				x.rec.muted = false
				x.rec.refused = true
				Refuse(&x.rec, r, refusalOf(x.err))
				p = nil
			} else {
				p = http.ErrAbortHandler // half an answer must not look like a whole one
			}
		}
		h.record(x, r, start)
		if p != nil {
			panic(p)
		}
	}()

	routes, refusal := h.admit(x, r)
	if rules[x.group.class].anyOrigin { // a script reads refusals too
		allowOrigins(w.Header())
	}
	if routes == nil {
		x.rec.refused = true
		h.recognise(x, r)
		Refuse(&x.rec, r, refusal)
		return
	}
	x.rec.r = r
	routes.ServeHTTP(&x.rec, r)
}

// admit decides whether the request may reach a door, and returns the routes that answer it. It
// removes the site's prefix from the path. A request takes a place only once its body has arrived,
// so a client cannot hold one by sending nothing.
func (h *Handler) admit(x *exchange, r *http.Request) (*Routes, Refusal) {
	refuse := func(status int, code, reason string) (*Routes, Refusal) {
		return nil, Refusal{Status: status, Code: code, Reason: reason}
	}
	limiter := h.Limiter
	if rules[x.group.class].frequent {
		limiter = h.Frequent
	}
	if limiter != nil {
		if ok, retry := limiter.Allow(x.caller.Address); !ok {
			h.Metrics.limited.Inc()
			return nil, Refusal{Status: http.StatusTooManyRequests, Code: "request.limited",
				Reason: "Too many requests came from your address. Wait a moment and try again.", RetryAfter: retry}
		}
	}
	switch {
	case !known(r.Method): // not 501, by which strangers would look like our own failures
		x.writer.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110 §15.5.6
		return refuse(http.StatusMethodNotAllowed, "request.method", "We do not know this method.")
	case len(r.URL.Path) > h.Limits.Path || len(r.URL.RawPath) > 3*h.Limits.Path:
		return refuse(http.StatusRequestURITooLong, "request.too_long", "The address is longer than any of ours.")
	case len(r.URL.RawQuery) > h.Limits.Query:
		return refuse(http.StatusRequestURITooLong, "request.too_long", "The query is longer than we accept.")
	}
	for _, wrong := range [...]string{checkPath(r.URL), checkQuery(r.URL.RawQuery), checkHeaders(r.Header)} {
		if wrong != "" {
			return refuse(http.StatusBadRequest, "request.malformed", wrong)
		}
	}
	if h.secure && x.scheme != "https" {
		return refuse(http.StatusBadRequest, "request.insecure",
			"This server is reached by https only. If a proxy in front of it ends TLS, the proxy's address must be "+
				"named in GATEHOUSE_TRUSTED_PROXIES and it must send X-Forwarded-Proto.")
	}
	if refusal := h.receive(x, r); refusal.Status != 0 {
		return nil, refusal
	}
	if refusal := h.enter(x); refusal.Status != 0 {
		return nil, refusal
	}
	routes, err := h.locate(x, r)
	if err != nil {
		if fault.Of(err) == fault.Internal {
			x.note(err)
		}
		return nil, refusalOf(err)
	}
	x.group = routes.group(r)
	if rules[x.group.class].sameOrigin && !h.ownOrigin(x, r) && origins.Check(r) != nil {
		return nil, refusalOf(ErrCrossOrigin)
	}
	return routes, Refusal{}
}

// ownOrigin reports whether a page of the request's own site sent it. The site's origin comes from
// configuration and the database. CrossOriginProtection compares with the Host header, which
// proxies rewrite ("gatehouse:8080") or extend ("id.example.com:443").
func (h *Handler) ownOrigin(x *exchange, r *http.Request) bool {
	base := x.site.Base
	if base == "" {
		base = h.PublicURL.String()
	}
	return hasOrigin(r, base)
}

// locate finds the request's site and removes its prefix from the path.
func (h *Handler) locate(x *exchange, r *http.Request) (*Routes, error) {
	if r.Host != h.PublicURL.Host {
		if host := domainOf(r.Host); host != "" && host != h.PublicURL.Hostname() {
			site, err := h.Sites.ByDomain(r.Context(), host)
			if err == nil {
				x.site, x.caller.Tenant = site, site.Tenant
				return h.Tenant, nil
			}
			x.site = site // a suspended tenant's, for the refusal
			if fault.Of(err) != fault.NotFound {
				return nil, err
			}
		}
	}
	path := r.URL.Path
	slug, rest, ok := cutSlug(path)
	if !ok {
		return h.Root, nil
	}
	if raw := r.URL.RawPath; raw != "" {
		// The path is escaped unusually. Its prefix must not be.
		rawSlug, rawRest, ok := cutSlug(raw)
		if !ok || rawSlug != slug {
			return nil, fault.New(fault.NotFound, "request.not_found", "There is nothing at this address.")
		}
		r.URL.RawPath = rawRest
	}
	site, err := h.Sites.BySlug(r.Context(), slug)
	x.site = site
	if err != nil {
		return nil, err
	}
	x.caller.Tenant = site.Tenant
	r.URL.Path = rest
	return h.Tenant, nil
}

// recognise finds the site of a request that is refused before it was located, so that its page has
// the tenant's look. It asks memory only: an overloaded server refuses too.
func (h *Handler) recognise(x *exchange, r *http.Request) {
	if !x.site.Tenant.IsZero() || !rules[x.group.class].page {
		return
	}
	var host string
	if r.Host != h.PublicURL.Host {
		host = domainOf(r.Host)
	}
	slug, _, _ := cutSlug(r.URL.Path)
	if site, ok := h.Sites.Known(host, slug); ok {
		x.site = site
	}
}

// cutSlug splits "/t/{slug}/rest", and the form of RFC 8414 §3.1 and RFC 9728 §3.1 with the
// well-known part before the path: "/.well-known/{name}/t/{slug}/rest".
func cutSlug(path string) (string, string, bool) {
	if after, ok := strings.CutPrefix(path, "/t/"); ok {
		slug, rest, _ := strings.Cut(after, "/")
		return slug, "/" + rest, slug != ""
	}
	if after, ok := strings.CutPrefix(path, "/.well-known/"); ok {
		name, tenant, found := strings.Cut(after, "/t/")
		slug, rest, below := strings.Cut(tenant, "/")
		if found && name != "" && slug != "" && !strings.Contains(name, "/") && (!below || rest != "") {
			return slug, strings.TrimSuffix("/.well-known/"+name+"/"+rest, "/"), true
		}
	}
	return "", "", false
}

// domainOf returns the host of a Host header in lower case, without port and final dot. It returns
// "" for an IP address and for anything that cannot be a name.
func domainOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) == 0 || len(host) > 253 || strings.ContainsAny(host, ":[]/ %\\") || !clean(host) {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return strings.ToLower(host)
}

// Values that are the same for every answer are shared; net/http only reads them.
var (
	nosniff   = []string{"nosniff"}
	sameSite  = []string{"same-origin"}
	deny      = []string{"DENY"}
	noStore   = []string{"no-store"}
	nothing   = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
	httpsOnly = []string{"max-age=31536000"}
)

// headers sets strict defaults, which a door may relax. Referrer-Policy is same-origin, because
// no-referrer makes browsers send "Origin: null" with our own forms.
func (h *Handler) headers(o http.Header, x *exchange) {
	o["X-Content-Type-Options"] = nosniff
	o["Referrer-Policy"] = sameSite
	o["X-Frame-Options"] = deny
	o["Content-Security-Policy"] = nothing
	o["Cache-Control"] = noStore
	o["X-Request-Id"] = []string{x.caller.RequestID}
	if h.secure {
		o["Strict-Transport-Security"] = httpsOnly
	}
}

// record writes the metrics and the log line of the request. It logs the matched pattern, never the
// path or query, which may hold secrets.
func (h *Handler) record(x *exchange, r *http.Request, start time.Time) {
	status := x.rec.status
	if status == 0 {
		status = http.StatusOK // the server's own default for an empty answer
	}
	err := x.err
	if x.abandoned() {
		status, err = statusClientClosed, errClientClosed
	}
	route := r.Pattern
	if route == "" {
		route = "unmatched"
	}
	took := h.Clock.Now().Sub(start)
	h.Metrics.observe(route, r.Method, status, took)
	level := slog.LevelInfo
	if status >= 500 && status != http.StatusNotImplemented { // 501 is what a door documents
		level = slog.LevelError
	}
	if !h.Log.Enabled(x.Context, level) {
		return
	}
	if h.Lines != nil && level == slog.LevelInfo && err == nil {
		h.Lines.add(line{
			at: start.Add(took), route: route, method: methodLabel(r.Method), status: status, took: took,
			bytes:  x.rec.bytes,
			tenant: x.site.Slug, address: x.caller.Address, requestID: x.caller.RequestID,
		})
		return
	}
	attrs := [...]slog.Attr{
		slog.String("route", route),
		slog.String("method", methodLabel(r.Method)),
		slog.Int("status", status),
		slog.Duration("took", took),
		slog.Int64("bytes", x.rec.bytes),
		slog.String("tenant", x.site.Slug),
		slog.String("address", x.caller.Address.String()),
		slog.String("request_id", x.caller.RequestID),
		{},
	}
	n := len(attrs) - 1
	if err != nil {
		attrs[n] = slog.String("error", err.Error())
		n++
	}
	h.Log.LogAttrs(x.Context, level, "request", attrs[:n]...)
}

// NoteError adds the cause of an answer to the request's log line. A door calls it once, where it
// maps an error to an answer.
func NoteError(ctx context.Context, err error) {
	if s := scopeOf(ctx); s != nil && err != nil {
		s.note(err)
	}
}

// note keeps err for the log line. A call that ended because its client had gone is not a failure.
func (s *scope) note(err error) {
	if errors.Is(err, context.Canceled) && s.clientGone() {
		s.left = errors.Join(s.left, err)
		return
	}
	s.err = errors.Join(s.err, err)
}

// clientGone reports whether the connection, or the stream of it, ended before the request's time.
// Our own ends have another cause: errCutOff. A deadline of ours that ended a read comes later than
// the request's time.
func (s *scope) clientGone() bool {
	return errors.Is(s.Context.Err(), context.Canceled) && errors.Is(context.Cause(s.Context), context.Canceled) &&
		time.Now().Before(s.At)
}

// abandoned reports whether the request ended only because its client had gone.
func (s *scope) abandoned() bool { return s.left != nil && s.err == nil }

// errCutOff is the cause of contexts that the end of the server ended.
var errCutOff = errors.New("cut off at shutdown")

// statusClientClosed is in the log and the metrics for a request whose client did not wait for the
// answer. It is not sent. The number is nginx's.
const statusClientClosed = 499

var errClientClosed = errors.New("client closed the request")
