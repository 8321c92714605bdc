package web

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// one is a handler whose tenants offer a route of every method at /x and /w/{id}, of one class.
func one(c Class, change ...func(*Handler)) *Handler {
	public, _ := url.Parse("http://id.test")
	routes := NewRoutes(func(w http.ResponseWriter, _ *http.Request, f Refusal) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
	})
	g := routes.Group(c, nil)
	for _, path := range []string{"/x", "/w/{id}"} {
		for _, method := range []string{"GET", "POST"} {
			g.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("refuse") {
					Refuse(w, r, Refusal{Status: 400, Code: "x.y", Reason: "No."})
				}
			})
		}
	}
	h := &Handler{
		Sites: sites{acme: id.New()}, PublicURL: public, Tenant: routes, Clock: &clock.Fake{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	}
	for _, f := range change {
		f(h)
	}
	return h.Ready()
}

func send(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://id.test/t/acme"+target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// What browsers may do with a route follows from its class, and so does the form of its refusals.
func TestClasses(t *testing.T) {
	for name, tt := range map[string]struct {
		class     Class
		crossSite int    // status of another site's form
		cors      string // Access-Control-Allow-Origin
		preflight int
		refusal   string // content type for a browser
	}{
		"page":     {Page, 403, "", 405, "text/html"},
		"landing":  {Landing, 200, "", 405, "text/html"},
		"program":  {Program, 200, "", 405, "application/problem+json"},
		"script":   {Script, 200, "*", 204, "application/problem+json"},
		"decision": {Decision, 200, "*", 204, "application/problem+json"},
		"nowhere":  {Nowhere, 200, "*", 204, "text/html"},
	} {
		for _, path := range []string{"/x", "/w/1"} {
			t.Run(name+path, func(t *testing.T) {
				h := one(tt.class)
				if w := send(h, "POST", path, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"); w.Code != tt.crossSite {
					t.Errorf("a form of another site: %d, want %d", w.Code, tt.crossSite)
				}
				for _, method := range []string{"GET", "POST"} {
					w := send(h, method, path)
					if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != tt.cors ||
						w.Header().Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("%s: %d %v", method, w.Code, w.Header())
					}
				}
				w := send(h, "OPTIONS", path, "Origin", "https://app.test", "Access-Control-Request-Method", "POST")
				if w.Code != tt.preflight || w.Header().Get("Access-Control-Allow-Origin") != tt.cors && w.Code == 204 {
					t.Errorf("preflight: %d %v", w.Code, w.Header())
				}
				if w := send(h, "GET", path+"?refuse", "Accept", "text/html"); w.Code != 400 ||
					w.Header().Get("Content-Type") != tt.refusal || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("a refusal for a browser: %d %v", w.Code, w.Header())
				}
				if w := send(h, "GET", path+"?refuse"); w.Code != 400 ||
					w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("a refusal for a program: %d %v", w.Code, w.Header())
				}
			})
		}
	}
}

// A flood of ordinary requests from an address does not use up its decisions, nor the reverse.
func TestDecisionsHaveALimitOfTheirOwn(t *testing.T) {
	for name, tt := range map[string]struct {
		class  Class
		status [2]int // with the one limiter used up, and with the other
	}{
		"page":     {Page, [2]int{429, 200}},
		"script":   {Script, [2]int{429, 200}},
		"decision": {Decision, [2]int{200, 429}},
	} {
		t.Run(name, func(t *testing.T) {
			empty, full := NewLimiter(&clock.Fake{}, 1, 1), NewLimiter(&clock.Fake{}, 1e9, 1e9)
			empty.Allow(netip.MustParseAddr("192.0.2.1")) // httptest's
			for i, limiters := range [][2]*Limiter{{empty, full}, {full, empty}} {
				h := one(tt.class, func(h *Handler) { h.Limiter, h.Frequent = limiters[0], limiters[1] })
				w := send(h, "POST", "/x")
				if w.Code != tt.status[i] {
					t.Errorf("case %d: %d, want %d", i, w.Code, tt.status[i])
				}
				if readable := w.Header().Get("Access-Control-Allow-Origin") == "*"; readable != (tt.class != Page) {
					t.Errorf("case %d: %d, readable by scripts: %v", i, w.Code, readable)
				}
			}
		})
	}
}

// An address without a route is refused in the form of what is around it, and never to scripts.
func TestAddressesWithoutARoute(t *testing.T) {
	routes := NewRoutes(nil)
	routes.Group(Script, nil).Below("/api/")
	routes.Group(Script, oauthLike).Below("/api/oauth/")
	routes.Group(Program, nil).HandleFunc("GET /api/{id}/x", func(http.ResponseWriter, *http.Request) {})
	h := one(Page, func(h *Handler) { h.Tenant = routes })
	for path, want := range map[string]string{
		"/nothing": "text/html; charset=utf-8", "/api/nothing": "application/problem+json",
		"/api/oauth/nothing": "application/json",
		"/xapi/":             "text/html; charset=utf-8", "/x/api/": "text/html; charset=utf-8",
	} {
		if w := send(h, "GET", path, "Accept", "text/html"); w.Code != 404 || w.Header().Get("Content-Type") != want {
			t.Errorf("%s: %d %v, want %s", path, w.Code, w.Header(), want)
		}
	}
	if w := send(h, "POST", "/nothing", "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
		t.Errorf("another site's form to an address without a route: %d", w.Code)
	}
	if w := send(h, "DELETE", "/api/1/x"); w.Code != 405 {
		t.Errorf("another method: %d", w.Code)
	}
}

func TestPatternsNameAMethod(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a pattern without a method was registered: the methods would share a class by accident")
		}
	}()
	NewRoutes(nil).Group(Page, nil).HandleFunc("/x", nil)
}

// Every kind of fault has a status of its own.
func TestStatus(t *testing.T) {
	seen := map[int]fault.Kind{}
	for _, k := range fault.Kinds {
		s := Status(k)
		if other, ok := seen[s]; ok || s < 400 || s >= 500 && k != fault.Internal && k != fault.Unavailable {
			t.Errorf("%s: status %d, like %s", k, s, other)
		}
		seen[s] = k
	}
	if !strings.Contains(http.StatusText(Status(fault.Limited)), "Too Many") {
		t.Error("a limit is not 429")
	}
}

// TestRefusalsKnowTheirSite: a page that refuses a request has the look of the tenant that it was
// for, even if the request was refused before its tenant counted.
func TestRefusalsKnowTheirSite(t *testing.T) {
	var slug string
	public, _ := url.Parse("http://id.test")
	routes := NewRoutes(func(w http.ResponseWriter, r *http.Request, f Refusal) {
		slug = SiteOf(r).Slug
		if !CallerOf(r).Tenant.IsZero() != (f.Code == "request.not_found" || f.Code == "request.cross_origin") {
			t.Errorf("%s: the caller's tenant is %s", f.Code, CallerOf(r).Tenant)
		}
		w.WriteHeader(f.Status)
	})
	routes.Group(Page, nil).HandleFunc("POST /form", func(http.ResponseWriter, *http.Request) {})
	limiter := NewLimiter(&clock.Fake{}, 1, 1)
	limiter.Allow(netip.MustParseAddr("192.0.2.7"))
	h := (&Handler{
		Sites: sites{acme: id.New()}, PublicURL: public, Tenant: routes, Root: routes, Clock: &clock.Fake{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler), Limiter: limiter,
	}).Ready()
	for name, tc := range map[string]struct {
		method, target, want string
		status               int
		change               func(*http.Request)
	}{
		"no route":             {"GET", "http://id.test/t/acme/nowhere", "acme", 404, nil},
		"suspended":            {"GET", "http://id.test/t/asleep/form", "asleep", 403, nil},
		"unknown":              {"GET", "http://id.test/t/nobody/form", "", 404, nil},
		"long query":           {"GET", "http://id.test/t/acme/form?" + strings.Repeat("x", 20<<10), "acme", 414, nil},
		"long query at domain": {"GET", "http://login.acme.test/form?" + strings.Repeat("x", 20<<10), "acme", 414, nil},
		"method":               {"BREW", "http://id.test/t/acme/form", "acme", 405, nil},
		"limited": {"GET", "http://id.test/t/acme/form", "acme", 429,
			func(r *http.Request) { r.RemoteAddr = "192.0.2.7:999" }},
		"cross origin": {"POST", "http://id.test/t/acme/form", "acme", 403,
			func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
	} {
		slug = "none"
		r := httptest.NewRequest(tc.method, tc.target, nil)
		r.RemoteAddr = "192.0.2." + fmt.Sprint(10+len(name)) + ":999"
		r.Header.Set("Accept", "text/html")
		if tc.change != nil {
			tc.change(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || slug != tc.want {
			t.Errorf("%s: %d with the site %q, want %d with %q", name, w.Code, slug, tc.status, tc.want)
		}
	}
}

// A preflight request is told the headers that it asked for, within bounds, and never credentials.
func TestPreflightAllowsTheHeadersAskedFor(t *testing.T) {
	h := one(Script)
	for asked, want := range map[string]string{
		"":                                    usualHeaders,
		"authorization":                       "authorization",
		"authorization,x-client-version":      "authorization,x-client-version",
		"content-type, traceparent, dpop":     "content-type, traceparent, dpop",
		"x y":                                 usualHeaders,
		"a,,b":                                usualHeaders,
		"a:b":                                 usualHeaders,
		"x-\"quoted\"":                        usualHeaders,
		strings.Repeat("a", maxAskedBytes+1):  usualHeaders,
		strings.Repeat("a,", maxAskedHeaders): usualHeaders,
	} {
		w := send(h, "OPTIONS", "/x", "Origin", "https://app.test", "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", asked)
		if got := w.Header().Get("Access-Control-Allow-Headers"); w.Code != 204 || got != want {
			t.Errorf("%.60q: %d %q, want %q", asked, w.Code, got, want)
		}
		if w.Header().Get("Access-Control-Allow-Credentials") != "" ||
			w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%.60q: %v", asked, w.Header())
		}
	}
}
