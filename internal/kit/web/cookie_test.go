package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

func on(site Site) *http.Request {
	return withSite(httptest.NewRequest("GET", "/", nil), site, netip.MustParseAddr("192.0.2.1"))
}

func TestCookieAttributes(t *testing.T) {
	for _, tc := range []struct {
		site Site
		want string
	}{
		{Site{Base: "http://localhost:8080/t/acme", Path: "/t/acme"}, "gh_session=v; Path=/t/acme; Max-Age=60; HttpOnly; SameSite=Lax"},
		{Site{Base: "https://id.test/t/acme", Path: "/t/acme"}, "__Secure-gh_session=v; Path=/t/acme; Max-Age=60; HttpOnly; Secure; SameSite=Lax"},
		{Site{Base: "https://login.acme.test"}, "__Host-gh_session=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax"},
	} {
		r, w := on(tc.site), httptest.NewRecorder()
		SetCookie(w, r, "session", "v", time.Minute)
		if d := cmp.Diff(tc.want, w.Header().Get("Set-Cookie")); d != "" {
			t.Error(d)
		}
		r.AddCookie(&http.Cookie{Name: w.Result().Cookies()[0].Name, Value: "v"})
		if got := Cookies(r, "session"); !slices.Equal(got, []string{"v"}) {
			t.Errorf("Cookies = %q", got)
		}
		w = httptest.NewRecorder()
		ClearCookie(w, r, "session")
		if c := w.Header().Get("Set-Cookie"); !strings.Contains(c, "Max-Age=0") || !strings.Contains(c, "Path=") {
			t.Errorf("ClearCookie: %s", c)
		}
	}
}

// Scripts read the readable cookie, also in a page that another site frames.
func TestReadableCookieAttributes(t *testing.T) {
	for _, tc := range []struct {
		site Site
		want string
	}{
		{Site{Base: "http://localhost:8080/t/acme", Path: "/t/acme"},
			"gh_state=v; Path=/t/acme; Max-Age=60; SameSite=Lax"},
		{Site{Base: "https://id.test/t/acme", Path: "/t/acme"},
			"__Secure-gh_state=v; Path=/t/acme; Max-Age=60; Secure; SameSite=None"},
		{Site{Base: "https://login.acme.test"}, "__Host-gh_state=v; Path=/; Max-Age=60; Secure; SameSite=None"},
	} {
		w := httptest.NewRecorder()
		SetReadableCookie(w, on(tc.site), "state", "v", time.Minute)
		if d := cmp.Diff(tc.want, w.Header().Get("Set-Cookie")); d != "" {
			t.Error(d)
		}
	}
}

// A stranger's page can set any number of cookies: few are tried.
func TestRepeatedCookies(t *testing.T) {
	r := on(Site{Base: "http://localhost/t/acme", Path: "/t/acme"})
	r.AddCookie(&http.Cookie{Name: "gh_session", Value: strings.Repeat("x", maxCookie+1)})
	for i := range 20 {
		r.AddCookie(&http.Cookie{Name: "gh_session", Value: fmt.Sprint(i)})
	}
	if got := Cookies(r, "session"); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("Cookies = %q", got)
	}
}

func TestBrowser(t *testing.T) {
	site := Site{Base: "http://localhost/t/acme", Path: "/t/acme"}
	r, w := on(site), httptest.NewRecorder()
	first := Browser(w, r)
	if again := Browser(w, r); again != first || len(w.Result().Cookies()) != 1 {
		t.Errorf("one request, two secrets: %q %q", first, again)
	}
	r, w = on(site), httptest.NewRecorder()
	r.AddCookie(&http.Cookie{Name: "gh_browser", Value: first})
	if got := Browser(w, r); got != first || len(w.Result().Cookies()) != 0 {
		t.Errorf("the browser's secret was replaced: %q", got)
	}
	r, w = on(site), httptest.NewRecorder()
	for _, v := range []string{"x", strings.Repeat("A", 5000), first, strings.Repeat("A", 43)} {
		r.AddCookie(&http.Cookie{Name: "gh_browser", Value: v})
	}
	if got := Browser(w, r); got != first || len(w.Result().Cookies()) != 0 {
		t.Errorf("of several cookies the browser's secret is %q, want %q", got, first)
	}
	for _, bad := range []string{"x", strings.Repeat("A", 42), first + "A", strings.Repeat("A", 5000)} {
		r, w = on(site), httptest.NewRecorder()
		r.AddCookie(&http.Cookie{Name: "gh_browser", Value: bad})
		if got := Browser(w, r); got == bad || len(w.Result().Cookies()) != 1 {
			t.Errorf("a secret not of our making was taken over: %q", bad)
		}
	}
}

// withSite returns r as a door gets it for site, from address.
func withSite(r *http.Request, site Site, address netip.Addr) *http.Request {
	s := &scope{
		Bounded: clock.Bounded{Context: r.Context(), At: time.Now().Add(time.Minute)}, site: site, scheme: "http",
		caller: caller.Caller{Tenant: site.Tenant, Actor: caller.Actor{Kind: caller.Anonymous}, Address: address},
	}
	if site.secure() {
		s.scheme = "https"
	}
	return r.WithContext(s)
}

// A family of cookies keeps its newest, so that the browser's header stays small.
func TestFamilyOfCookies(t *testing.T) {
	for what, size := range map[string]int{"many": 100, "large": 2000} {
		f := newFixture(t)
		f.Tenant.Group(Page, nil).HandleFunc("GET /set/{name}", func(w http.ResponseWriter, r *http.Request) {
			SetCookieOf(w, r, "flow", r.PathValue("name"), strings.Repeat("x", size), time.Hour)
		})
		jar := map[string]string{"gh_other": "kept"}
		for i := range 30 {
			w := f.do("GET", fmt.Sprintf("/t/acme/set/%02d", i), func(r *http.Request) {
				for name, value := range jar {
					r.AddCookie(&http.Cookie{Name: name, Value: value})
				}
			})
			for _, c := range w.Result().Cookies() {
				if jar[c.Name] = c.Value; c.MaxAge < 0 {
					delete(jar, c.Name)
				}
			}
		}
		want := map[string]int{"many": familyCount, "large": 2}[what]
		if len(jar) != want+1 || jar["gh_flow_29"] == "" || jar["gh_flow_28"] == "" || jar["gh_other"] == "" {
			t.Errorf("%s: %d cookies are left, want %d: %.200v", what, len(jar), want+1, jar)
		}
	}
}
