package web

import (
	"net/http"
	"strings"
)

// Class says who calls a route. It decides what browsers may do with the route, and in which form
// a request is refused before the door sees it.
type Class uint8

// The classes. A door picks the first one that fits.
const (
	// Page is for pages and forms of our own. Cookies count there, so no other site's page may
	// send anything to them. It is the class of an address that no route has.
	Page Class = iota
	// Landing is where other sites send a browser to, by a link, a redirect or a form. The
	// protocol validates what they send.
	Landing
	// Program is for programs that authenticate every request. No cookie is read.
	Program
	// Script is a Program's route that scripts of any origin may call as well.
	Script
	// Decision is a Script's route that applications call at every step of their own. It has a
	// rate limit of its own.
	Decision
	// Nowhere is of addresses below a protocol's path that no route has. A client of any kind may
	// have got there.
	Nowhere
)

// rules are what a class decides. TestClasses repeats the table.
var rules = [...]struct {
	sameOrigin bool // requests of other sites' pages that may change something are refused
	anyOrigin  bool // scripts of any origin may send requests and read the answers
	page       bool // a refusal is a page for a browser that asks for one
	frequent   bool // Handler.Frequent limits it, not Handler.Limiter
}{
	Page:     {sameOrigin: true, page: true},
	Landing:  {page: true},
	Program:  {},
	Script:   {anyOrigin: true},
	Decision: {anyOrigin: true, frequent: true},
	Nowhere:  {anyOrigin: true, page: true},
}

// RefusalWriter answers a request with a refusal.
type RefusalWriter func(http.ResponseWriter, *http.Request, Refusal)

// Routes are the addresses below one base, each with the class of its callers. Register all of them
// before the first request. After that it is safe for concurrent use.
type Routes struct {
	mux      *http.ServeMux
	page     RefusalWriter
	literals map[endpoint]*Group // routes without wildcards
	paths    map[string]*Group   // of the same: the group of a path's first route
	patterns map[string]*Group   // all routes
	below    []prefix
	other    *Group
}

type endpoint struct{ method, path string }

type prefix struct {
	path  string
	group *Group
}

// NewRoutes returns no routes. page writes a refusal for a browser; nil for WritePage.
func NewRoutes(page RefusalWriter) *Routes {
	if page == nil {
		page = WritePage
	}
	r := &Routes{mux: http.NewServeMux(), page: page, literals: map[endpoint]*Group{}, paths: map[string]*Group{},
		patterns: map[string]*Group{}}
	r.other = r.Group(Page, nil)
	return r
}

// Group returns a group for routes of one class. refuse writes their refusals for programs; nil
// for writeProblem.
func (r *Routes) Group(c Class, refuse RefusalWriter) *Group {
	if refuse == nil {
		refuse = writeProblem
	}
	return &Group{routes: r, class: c, refuse: refuse}
}

// Group registers routes of one class.
type Group struct {
	routes *Routes
	class  Class
	refuse RefusalWriter
}

// HandleFunc registers a route. Its pattern must name a method. A route of scripts answers
// preflight requests too.
func (g *Group) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		panic("web: the pattern " + pattern + " names no method")
	}
	g.add(method, path, handler)
	if preflights := (endpoint{http.MethodOptions, path}); rules[g.class].anyOrigin &&
		g.routes.patterns[preflights.pattern()] == nil {
		g.add(preflights.method, path, preflight)
	}
}

func (e endpoint) pattern() string { return e.method + " " + e.path }

func (g *Group) add(method, path string, handler http.HandlerFunc) {
	e := endpoint{method, path}
	g.routes.mux.HandleFunc(e.pattern(), handler)
	g.routes.patterns[e.pattern()] = g
	if !strings.Contains(path, "{") {
		g.routes.literals[e] = g
		if g.routes.paths[path] == nil {
			g.routes.paths[path] = g
		}
	}
}

// Below makes g the group of every address below path without a route of its own. The longest path
// counts.
func (g *Group) Below(path string) { g.routes.below = append(g.routes.below, prefix{path, g}) }

// ServeHTTP implements http.Handler, for tests of a door without a Handler around it.
func (g *Group) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.routes.ServeHTTP(w, r) }

// ServeHTTP implements http.Handler.
func (r *Routes) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// Classes returns the class of every pattern.
func (r *Routes) Classes() map[string]Class {
	out := make(map[string]Class, len(r.patterns))
	for pattern, g := range r.patterns {
		out[pattern] = g.class
	}
	return out
}

// group returns the group of the route that answers a request.
func (r *Routes) group(req *http.Request) *Group {
	method := req.Method
	if method == http.MethodHead {
		method = http.MethodGet // as ServeMux does
	}
	if g := r.literals[endpoint{method, req.URL.Path}]; g != nil {
		return g
	}
	if _, pattern := r.mux.Handler(req); pattern != "" {
		if g := r.patterns[pattern]; g != nil {
			return g
		}
	}
	return r.elsewhere(req.URL.Path)
}

// elsewhere returns the group of a request that no route answers.
func (r *Routes) elsewhere(path string) *Group {
	if g := r.paths[path]; g != nil { // to another method
		return g
	}
	longest := prefix{group: r.other}
	for _, p := range r.below {
		if strings.HasPrefix(path, p.path) && len(p.path) > len(longest.path) {
			longest = p
		}
	}
	return longest.group
}

// early returns the group of a request by its path alone, before its tenant is known.
func (r *Routes) early(path string) *Group {
	if _, rest, ok := cutSlug(path); ok {
		path = rest
	}
	return r.elsewhere(path)
}

// write answers with a refusal in the form of the group.
func (g *Group) write(w http.ResponseWriter, r *http.Request, f Refusal) {
	if rules[g.class].page && strings.Contains(r.Header.Get("Accept"), "text/html") {
		g.routes.page(w, r, f)
		return
	}
	g.refuse(w, r, f)
}

// Header values that are the same for every answer are shared; net/http only reads them.
var (
	anyOrigin = []string{"*"}
	exposed   = []string{"WWW-Authenticate, X-Request-Id"}
)

// allowOrigins lets scripts of any origin read the answer. Each of their requests has credentials
// of its own and no cookie is read, so a script gains nothing from the browser that it runs in.
func allowOrigins(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
}

// preflight answers a browser that asks what a script may send (Fetch, "CORS-preflight request").
// A script may send any header, because no cookie goes with it.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	allowOrigins(h)
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", allowedHeaders(r.Header.Get("Access-Control-Request-Headers")))
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
}

// Bounds on the header names that a preflight request may ask for.
const (
	maxAskedHeaders = 32
	maxAskedBytes   = 1 << 10
)

// usualHeaders are what a script may send if its browser asks for no header, or for too many.
const usualHeaders = "Authorization, Content-Type, X-Request-Id"

// allowedHeaders returns the names of headers that a preflight request asks for, as it wrote them.
func allowedHeaders(asked string) string {
	if asked == "" || len(asked) > maxAskedBytes || strings.Count(asked, ",") >= maxAskedHeaders {
		return usualHeaders
	}
	for name := range strings.SplitSeq(asked, ",") {
		if !token(strings.Trim(name, " \t")) {
			return usualHeaders
		}
	}
	return asked
}

// token reports whether s is a token of HTTP (RFC 9110 §5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
