package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

func TestRouteOf(t *testing.T) {
	for given, want := range map[string]string{
		"/users":                            "/users",
		"/users/":                           "/users/",
		"/users?status=locked&q=":           "/users?status=locked&q=",
		"/policies/a%2eyaml":                "/policies/a%2eyaml",
		"":                                  "/",
		"users":                             "/",
		"//evil.example":                    "/",
		"/\\evil.example":                   "/",
		"https://evil.example/":             "/",
		"javascript:alert(1)":               "/",
		"/../account":                       "/",
		"/%2e%2e/account":                   "/",
		"/a/%2E%2E%2faccount":               "/",
		"/a/./b":                            "/",
		"/a\r\nSet-Cookie: x":               "/",
		"/a\tb":                             "/",
		"/signin":                           "/",
		"/continue":                         "/",
		"/" + strings.Repeat("a", maxRoute): "/",
	} {
		if got := routeOf(given); got != want {
			t.Errorf("%q leads to %q, want %q", given, got, want)
		}
	}
}

func TestAccepts(t *testing.T) {
	for header, want := range map[string]bool{
		"br": true, "gzip, deflate, BR": true, "gzip;q=1.0, br;q=0.5": true, "br; q=0": false, "br;q=0.000": false,
		"br;q=x": false, "gzip": false, "": false, "*": false, "brotli": false,
	} {
		if accepts(header, "br") != want {
			t.Errorf("Accept-Encoding %q: %t", header, !want)
		}
	}
}

// built is an app as a build leaves it.
var built = fstest.MapFS{
	"index.html":             {Data: []byte("<!doctype html><html><head><title>App</title></head></html>")},
	"favicon.svg":            {Data: []byte("<svg/>")},
	"assets/main-a1b2.js":    {Data: []byte("plain")},
	"assets/main-a1b2.js.br": {Data: []byte("brotli")},
	"assets/main-a1b2.js.gz": {Data: []byte("gzip")},
	"assets/style-c3d4.css":  {Data: []byte("css")},
	"assets/.DS_Store":       {Data: []byte("hidden")},
}

func TestFiles(t *testing.T) {
	routes := web.NewRoutes(nil)
	New(Deps{Files: built}).Register(routes)
	const year = "public, max-age=31536000, immutable"
	for _, tt := range []struct {
		path, accept string
		status       int
		body, kind   string // "index" for the page of the app
		cache        string
		encoding     string
	}{
		{"/console/", "br", 200, "index", "text/html; charset=utf-8", "no-store", ""},
		{"/console/users/1", "", 200, "index", "text/html; charset=utf-8", "no-store", ""},
		{"/console/index.html", "", 200, "index", "text/html; charset=utf-8", "no-store", ""},
		{"/console/assets/main-a1b2.js", "gzip, br", 200, "brotli", "text/javascript; charset=utf-8", year, "br"},
		{"/console/assets/main-a1b2.js", "gzip, br;q=0", 200, "gzip", "text/javascript; charset=utf-8", year, "gzip"},
		{"/console/assets/main-a1b2.js", "", 200, "plain", "text/javascript; charset=utf-8", year, ""},
		{"/console/assets/style-c3d4.css", "br", 200, "css", "text/css; charset=utf-8", year, ""},
		{"/console/favicon.svg", "br", 200, "<svg/>", "image/svg+xml", "no-cache", ""},
		{"/console/assets/main-gone.js", "", 404, "", "", "", ""},
		{"/console/assets/main-a1b2.js.br", "", 404, "", "", "", ""},
		{"/console/assets/.DS_Store", "", 404, "", "", "", ""},
		{"/console/assets/", "", 404, "", "", "", ""},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Header.Set("Accept-Encoding", tt.accept)
		a := httptest.NewRecorder()
		routes.ServeHTTP(a, r)
		body := a.Body.String()
		if tt.body == "index" && strings.Contains(body, "<title>App</title>") {
			body = "index"
		}
		h := a.Header()
		if a.Code != tt.status || tt.status == http.StatusOK && (body != tt.body || h.Get("Content-Type") != tt.kind ||
			h.Get("Cache-Control") != tt.cache || h.Get("Content-Encoding") != tt.encoding) {
			t.Errorf("%s with %q: %d %v %s", tt.path, tt.accept, a.Code, h, body)
		}
		if strings.HasSuffix(tt.path, "main-a1b2.js") && h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", tt.path, h.Get("Vary"))
		}
	}
}

// The page of the app has the base of its site, and a policy without unsafe sources. Its nonce is
// another one each time.
func TestIndex(t *testing.T) {
	i, err := readIndex(built)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		a := httptest.NewRecorder()
		i.serve(a, httptest.NewRequest("GET", "/console/", nil))
		csp, body := a.Header().Get("Content-Security-Policy"), a.Body.String()
		_, nonce, _ := strings.Cut(csp, "'nonce-")
		nonce, _, _ = strings.Cut(nonce, "'")
		if len(nonce) < 22 || seen[nonce] || !strings.Contains(body, `nonce="`+nonce+`">`) ||
			!strings.Contains(body, `<head>`+"\n"+`<base href="/console/">`) {
			t.Errorf("nonce %q in %s", nonce, body)
		}
		seen[nonce] = true
		if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "script-src 'self';") ||
			!strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("policy: %s", csp)
		}
	}
	for name, page := range map[string]string{"none": "<html></html>", "two": "<head></head><head></head>"} {
		if _, err := readIndex(fstest.MapFS{"index.html": {Data: []byte(page)}}); err == nil {
			t.Errorf("an index with %s heads was accepted", name)
		}
	}
}

// sites knows acme by its slug and by its domain.
type sites struct{}

func (sites) BySlug(context.Context, string) (web.Site, error) {
	return web.Site{Tenant: id.ID{1}, Slug: "acme", Base: "https://id.example.com/t/acme", Path: "/t/acme"}, nil
}

func (sites) ByDomain(context.Context, string) (web.Site, error) {
	return web.Site{Tenant: id.ID{1}, Slug: "acme", Base: "https://login.acme.com"}, nil
}

func (sites) Known(string, string) (web.Site, bool) { return web.Site{}, false }

// The console is below every base of its tenant, and its page names that base.
func TestBases(t *testing.T) {
	routes := web.NewRoutes(nil)
	New(Deps{Files: built}).Register(routes)
	public := &url.URL{Scheme: "https", Host: "id.example.com"}
	h := (&web.Handler{Sites: sites{}, PublicURL: public, Tenant: routes, Log: slog.New(slog.DiscardHandler),
		Metrics: web.NewMetrics(prometheus.NewRegistry()), Clock: &clock.Fake{}}).Ready()
	for address, want := range map[string]string{
		"https://id.example.com/t/acme/console/users": "/t/acme/console/",
		"https://login.acme.com/console/users":        "/console/",
	} {
		a := httptest.NewRecorder()
		h.ServeHTTP(a, httptest.NewRequest("GET", address, nil))
		if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `<base href="`+want+`">`) {
			t.Errorf("%s: %d %s", address, a.Code, a.Body)
		}
		a = httptest.NewRecorder()
		h.ServeHTTP(a, httptest.NewRequest("GET", strings.TrimSuffix(address, "/users"), nil))
		if a.Code != http.StatusSeeOther || a.Header().Get("Location") != want {
			t.Errorf("%s: %d to %s", address, a.Code, a.Header().Get("Location"))
		}
	}
}
