package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// sites is a directory of two tenants: acme, also at login.acme.test, and a suspended one.
type sites struct{ acme id.ID }

func (s sites) BySlug(_ context.Context, slug string) (Site, error) {
	switch slug {
	case "acme":
		return Site{Tenant: s.acme, Slug: "acme", Name: "Acme", Base: "http://id.test/t/acme", Path: "/t/acme"}, nil
	case "asleep":
		return Site{Tenant: id.ID{1}, Slug: "asleep", Name: "Asleep", Base: "http://id.test/t/asleep", Path: "/t/asleep"},
			fault.New(fault.Denied, "tenant.suspended", "This tenant is suspended.")
	case "broken":
		return Site{}, errors.New("the disk is gone: secret detail")
	}
	return Site{}, fault.New(fault.NotFound, "tenant.not_found", "There is no such tenant.")
}

func (s sites) ByDomain(_ context.Context, host string) (Site, error) {
	if host == "login.acme.test" {
		return Site{Tenant: s.acme, Slug: "acme", Name: "Acme", Base: "http://login.acme.test"}, nil
	}
	return Site{}, fault.New(fault.NotFound, "tenant.not_found", "There is no such tenant.")
}

func (s sites) Known(host, slug string) (Site, bool) {
	if site, err := s.ByDomain(context.Background(), host); err == nil {
		return site, true
	}
	site, err := s.BySlug(context.Background(), slug)
	return site, err == nil
}

type fixture struct {
	*Handler
	log bytes.Buffer
	reg *prometheus.Registry
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{reg: prometheus.NewRegistry()}
	public, _ := url.Parse("http://id.test")
	routes := NewRoutes(nil)
	doors, programs := routes.Group(Page, nil), routes.Group(Program, nil)
	programs.Below("/api/")
	doors.HandleFunc("GET /where", func(w http.ResponseWriter, r *http.Request) {
		s := SiteOf(r)
		fmt.Fprintf(w, "%s %s %s", s.Slug, s.Base, CallerOf(r).Address)
	})
	doors.HandleFunc("GET /.well-known/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, SiteOf(r).Slug, " ", r.PathValue("name"))
	})
	doors.HandleFunc("GET /.well-known/oauth-protected-resource/{path...}",
		func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, SiteOf(r).Slug, " ", r.PathValue("path")) })
	doors.HandleFunc("GET /users/{id}",
		func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.PathValue("id")) })
	echo := func(w http.ResponseWriter, r *http.Request) {
		v, err := Form(r)
		if err != nil {
			Refuse(w, r, refusalOf(err))
			return
		}
		fmt.Fprint(w, v.Encode())
	}
	doors.HandleFunc("POST /form", echo)
	routes.Group(Script, oauthLike).HandleFunc("POST /oauth2/token", echo)
	doors.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("secret detail") })
	doors.HandleFunc("GET /absent", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "the door's own words")
	})
	root := NewRoutes(nil)
	root.Group(Page, nil).HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "root") })
	f.Handler = (&Handler{
		Sites:     sites{acme: id.New()},
		PublicURL: public,
		Tenant:    routes,
		Root:      root,
		Metrics:   NewMetrics(f.reg),
		Log:       slog.New(slog.NewJSONHandler(&f.log, nil)),
		Clock:     &clock.Fake{},
	}).Ready()
	return f
}

// oauthLike is the form of a door whose protocol has errors of its own.
func oauthLike(w http.ResponseWriter, _ *http.Request, f Refusal) {
	code := "invalid_request"
	if f.Status == http.StatusForbidden {
		code = "temporarily_unavailable"
	}
	WriteJSON(w, f.Status, []byte(`{"error":"`+code+`"}`))
}

func (f *fixture) do(method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r.URL = u
	r.Host = "id.test"
	if u.Host != "" {
		r.Host = u.Host
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestSites(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		target string
		status int
		body   string // a part of it
	}{
		{"/t/acme/where", 200, "acme http://id.test/t/acme 192.0.2.1"},
		{"http://LOGIN.acme.test:8080/where", 200, "acme http://login.acme.test 192.0.2.1"},
		{"http://login.acme.test./where", 200, "acme http://login.acme.test "},
		{"http://evil.test/t/acme/where", 200, "acme http://id.test/t/acme "}, // Host decides nothing
		{"http://login.acme.test/t/acme/where", 404, "nothing at this address"},
		{"/.well-known/oauth-authorization-server/t/acme", 200, "acme oauth-authorization-server"},
		{"/t/acme/.well-known/openid-configuration", 200, "acme openid-configuration"},
		{"/.well-known/x/y/t/acme", 404, ""},
		{"/.well-known/oauth-protected-resource/t/acme/api/v1", 200, "acme api/v1"},
		{"/t/acme/.well-known/oauth-protected-resource/api/v1", 200, "acme api/v1"},
		{"/.well-known/oauth-protected-resource/t/acme/", 404, ""},
		{"/", 200, "root"},
		{"/where", 404, "nothing at this address"},
		{"/t/nobody/where", 404, "tenant.not_found"},
		{"/t/asleep/where", 403, "tenant.suspended"},
		{"/t/asleep/oauth2/token", 403, `"error":"temporarily_unavailable"`},
		{"/t/broken/where", 500, "Something went wrong"},
		{"/t/", 404, ""},
		{"/t/acme", 404, ""},
		{"/t/acme/nothing", 404, `"code":"request.not_found"`},
		{"/t/acme/form", 405, `"code":"request.method"`},
		{"/t/acme/absent", 404, "the door's own words"},
		{"/t/acme/users/a%2Fb", 200, "a/b"},
		{"/t%2Facme/where", 404, ""},
		{"/%74/acme/where", 404, ""},
		{"/t/acme%2Fwhere", 404, ""},
	} {
		w := f.do("GET", tc.target)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
			t.Errorf("GET %s: %d %s, want %d with %q", tc.target, w.Code, w.Body, tc.status, tc.body)
		}
		if strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("GET %s tells the cause: %s", tc.target, w.Body)
		}
	}
}

func TestPanic(t *testing.T) {
	f := newFixture(t)
	w := f.do("GET", "/t/acme/panic")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret detail") || strings.Contains(w.Body.String(), ".go") {
		t.Errorf("a panic answers %d %s", w.Code, w.Body)
	}
	if l := f.log.String(); !strings.Contains(l, "secret detail") ||
		!strings.Contains(l, w.Header().Get("X-Request-Id")) {
		t.Errorf("the log line lacks the cause or the request id: %s", l)
	}
}

func TestMalformedIsRefused(t *testing.T) {
	f := newFixture(t)
	raw := func(path string) func(*http.Request) {
		return func(r *http.Request) { r.URL = &url.URL{Path: path} }
	}
	query := func(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }
	for name, tc := range map[string]struct {
		method string
		change func(*http.Request)
		status int
	}{
		"NUL in the path":         {"GET", raw("/t/acme/wh\x00ere"), 400},
		"bad UTF-8 in the path":   {"GET", raw("/t/acme/\xff"), 400},
		"newline in the path":     {"GET", raw("/t/acme/a\nb"), 400},
		"dot parts":               {"GET", raw("/t/acme/../globex/where"), 400},
		"empty parts":             {"GET", raw("/t/acme//where"), 400},
		"a star":                  {"OPTIONS", raw("*"), 400},
		"a long path":             {"GET", raw("/t/acme/" + strings.Repeat("a", 4000)), 414},
		"a long query":            {"GET", query(strings.Repeat("a", 20000)), 414},
		"bad percent-encoding":    {"GET", query("a=%zz"), 400},
		"cut percent-encoding":    {"GET", query("a=%4"), 400},
		"NUL in the query":        {"GET", query("a=%00"), 400},
		"bad UTF-8 in the query":  {"GET", query("a=%ff"), 400},
		"raw bytes in the query":  {"GET", query("a=\xff"), 400},
		"semicolon in the query":  {"GET", query("a=1;b=2"), 400},
		"good UTF-8 in the query": {"GET", query("a=%C3%A9"), 200},
		"unknown method":          {"BREW", nil, 405},
		"two authorizations": {"GET",
			func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer a", "Bearer b"} }, 400},
	} {
		w := f.do(tc.method, "/t/acme/where", func(r *http.Request) {
			if tc.change != nil {
				q := r.URL
				tc.change(r)
				if r.URL.Path == "" {
					r.URL = q
				}
			}
		})
		if w.Code != tc.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tc.status)
		}
	}
}

func TestForm(t *testing.T) {
	f := newFixture(t)
	const form = "application/x-www-form-urlencoded"
	for _, tc := range []struct {
		ct, body string
		status   int
	}{
		{form, "a=1&b=%C3%A9", 200},
		{form + "; charset=utf-8", "a=1", 200},
		{form, "a=%zz", 400},
		{form, "a=%00", 400},
		{form, "a=%ff", 400},
		{form, "a=1;b=2", 400},
		{form, "a=" + strings.Repeat("x", 2<<20), 400},
		{"application/json", "{}", 400},
		{"", "a=1", 400},
		{"multipart/form-data; boundary=x", "--x--", 400},
		{"\xff/;;=", "a=1", 400},
	} {
		w := f.do("POST", "/t/acme/form", func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(tc.body))
			r.Header.Set("Content-Type", tc.ct)
		})
		if w.Code != tc.status {
			t.Errorf("%q %.20q: %d %s, want %d", tc.ct, tc.body, w.Code, w.Body, tc.status)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		target, site, origin string
		status               int
	}{
		{"/t/acme/form", "same-origin", "", 200},
		{"/t/acme/form", "", "", 200}, // not a browser
		{"/t/acme/form", "cross-site", "", 403},
		{"/t/acme/form", "same-site", "", 403},
		{"/t/acme/form", "", "http://evil.test", 403},
		{"/t/acme/oauth2/token", "cross-site", "http://app.test", 200},
		{"/form/oauth2/", "cross-site", "", 403},
	} {
		w := f.do("POST", tc.target, func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("a=1"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tc.site != "" {
				r.Header.Set("Sec-Fetch-Site", tc.site)
			}
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
		})
		if w.Code != tc.status {
			t.Errorf("POST %s from %s %s: %d %s, want %d", tc.target, tc.site, tc.origin, w.Code, w.Body, tc.status)
		}
	}
}

func TestInsecureIsRefused(t *testing.T) {
	f := newFixture(t)
	f.PublicURL, _ = url.Parse("https://id.test")
	f.Proxies.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Ready()
	from := func(remote string) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = remote
			r.Header.Set("X-Forwarded-Proto", "https")
			r.Header.Set("X-Forwarded-For", "198.51.100.7")
		}
	}
	if w := f.do("GET", "/t/acme/where", from("203.0.113.9:1")); w.Code != 400 ||
		!strings.Contains(w.Body.String(), "GATEHOUSE_TRUSTED_PROXIES") {
		t.Errorf("a stranger's word on the scheme was believed: %d %s", w.Code, w.Body)
	}
	w := f.do("GET", "/t/acme/where", from("10.0.0.1:1"))
	if w.Code != 200 || !strings.HasSuffix(w.Body.String(), " 198.51.100.7") ||
		w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("our proxy's word was not believed: %d %s", w.Code, w.Body)
	}
}

func TestRefusalForBrowsers(t *testing.T) {
	f := newFixture(t)
	html := func(r *http.Request) { r.Header.Set("Accept", "text/html,*/*") }
	if w := f.do("GET", "/t/nobody/where", html); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") ||
		!strings.Contains(w.Body.String(), "<h1>Not Found</h1>") {
		t.Errorf("a browser gets %s %s", w.Header(), w.Body)
	}
	if w := f.do("GET", "/t/nobody/api/v1/users", html); w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("the API answers %s", w.Header())
	}
}

func TestLogAndMetricsNameNoSecrets(t *testing.T) {
	f := newFixture(t)
	f.do("GET", "/t/acme/users/hunter1?token=hunter2",
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer hunter3") })
	f.do("GET", "/t/acme/hunter4")
	if l := f.log.String(); strings.Contains(l, "hunter") ||
		!strings.Contains(l, `"route":"GET /users/{id}"`) {
		t.Errorf("log: %s", l)
	}
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, fam := range families {
		for _, m := range fam.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" {
					routes = append(routes, l.GetValue())
				}
			}
		}
	}
	if d := cmp.Diff([]string{"GET /users/{id}", "unmatched"}, routes); d != "" {
		t.Errorf("routes in the metrics: %s", d)
	}
}

func TestRateLimit(t *testing.T) {
	f := newFixture(t)
	c := &clock.Fake{}
	f.Handler.Clock = c
	f.Limiter = NewLimiter(c, 1, 2)
	from := func(addr string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = addr }
	}
	for i, want := range []int{200, 200, 429} {
		if w := f.do("GET", "/t/acme/where", from("192.0.2.1:1")); w.Code != want {
			t.Errorf("request %d: %d, want %d", i, w.Code, want)
		} else if want == 429 && w.Header().Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	if w := f.do("GET", "/t/acme/where", from("192.0.2.2:1")); w.Code != 200 {
		t.Errorf("another address: %d", w.Code)
	}
	c.Advance(time.Second)
	if w := f.do("GET", "/t/acme/where", from("192.0.2.1:1")); w.Code != 200 {
		t.Errorf("a second later: %d", w.Code)
	}
	for _, a := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1"} {
		f.do("GET", "/t/acme/where", from(a))
	}
	if w := f.do("GET", "/t/acme/where", from("[2001:db8::3]:1")); w.Code != 429 {
		t.Errorf("a third address of one /64: %d", w.Code)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	f := newFixture(t)
	f.Limits.Concurrent = 1
	f.Ready()
	entered, leave := make(chan struct{}), make(chan struct{})
	f.Tenant.Group(Page, nil).HandleFunc("GET /slow",
		func(http.ResponseWriter, *http.Request) { close(entered); <-leave })
	done := make(chan struct{})
	go func() { f.do("GET", "/t/acme/slow"); close(done) }()
	<-entered
	if w := f.do("GET", "/t/acme/where"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d", w.Code)
	}
	close(leave)
	<-done
	if w := f.do("GET", "/t/acme/where"); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// TestRawRequests sends what no client library would over a real connection.
func TestRawRequests(t *testing.T) {
	f := newFixture(t)
	s := &Server{Name: "public", Address: "127.0.0.1:0", Handler: f.Handler, Log: slog.New(slog.DiscardHandler),
		Clock: clock.System{}}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	for _, raw := range []string{
		"GET /t/acme/%zz HTTP/1.1\r\nHost: id.test\r\n\r\n",
		"GET /t/acme/\x00 HTTP/1.1\r\nHost: id.test\r\n\r\n",
		"GET /t/acme/where HTTP/1.1\r\n\r\n",
		"GET /t/acme/where HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET /t/acme/where HTTP/1.1\r\nHost: id.test\r\nX-Big: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"GET /t/acme/where?" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: id.test\r\n\r\n",
		"GET /t/acme/where HTTP/1.1\r\nHost: id.test\r\nBad Header: x\r\n\r\n",
		"GET /t/acme/where HTTP/1.1\r\nHost: id.test\r\nX-Nul: \x00\r\n\r\n",
		"POST /t/acme/form HTTP/1.1\r\nHost: id.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"POST /t/acme/form HTTP/1.1\r\nHost: id.test\r\nContent-Type: " +
			"application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"CONNECT id.test:443 HTTP/1.1\r\nHost: id.test\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: id.test\r\n\r\n",
		"nonsense\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, raw)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.60q: %v", raw, err)
		} else if resp.StatusCode < 400 || resp.StatusCode > 499 {
			t.Errorf("%.60q: %s, want 4xx", raw, resp.Status)
		}
		conn.Close()
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// benchmarks: the price of the handler beside a bare one.
func BenchmarkHandler(b *testing.B) {
	body := []byte(strings.Repeat("x", 1500))
	answer := func(w http.ResponseWriter, r *http.Request) { w.Write(body) }
	routes := NewRoutes(nil)
	routes.Group(Script, nil).HandleFunc("GET /.well-known/openid-configuration", answer)
	public, _ := url.Parse("http://id.test")
	h := (&Handler{
		Sites: sites{acme: id.New()}, PublicURL: public, Tenant: routes, Clock: clock.System{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Limiter: NewLimiter(clock.System{}, 1e9, 1e9),
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	}).Ready()
	for name, handler := range map[string]http.Handler{"bare": http.HandlerFunc(answer), "whole": h} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("GET", "/t/acme/.well-known/openid-configuration", nil)
			r.Host = "id.test"
			for b.Loop() {
				handler.ServeHTTP(&discard{h: http.Header{}}, r)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// A door may allow one address more than the others get, and less.
func TestADoorMayChangeTheLimitOfABody(t *testing.T) {
	f := newFixture(t)
	f.Limits.Body = 10
	f.Ready()
	for path, limit := range map[string]int64{"/api/plain": 10, "/api/large": 100, "/api/small": 5} {
		f.Tenant.Group(Program, nil).HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if path != "/api/plain" {
				AllowBody(r, limit)
			}
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		})
		for n, want := range map[int64]int{limit: 200, limit + 1: 413} {
			if w := f.do("POST", "/t/acme"+path,
				func(r *http.Request) {
					r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x",
						int(n))))
				}); w.Code != want {
				t.Errorf("%s: %d bytes: %d, want %d", path, n, w.Code, want)
			}
		}
	}
}
