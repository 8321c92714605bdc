package web

import (
	"net/http/httptest"
	"testing"
)

// A cookie alone is a proof only in a request of a page of the same site.
func TestFromOwnPage(t *testing.T) {
	const own, other = "https://id.example.com", "https://evil.example"
	for _, tt := range []struct {
		method, fetchSite, origin string
		want                      bool
	}{
		{"GET", "same-origin", "", true},
		{"GET", "none", "", true},
		{"GET", "", "", true}, // a browser that has reached us by plain HTTP
		{"GET", "same-site", "", false},
		{"GET", "cross-site", "", false},
		{"GET", "cross-site", other, false},
		{"GET", "", other, false},
		{"GET", "", "null", false},
		{"HEAD", "cross-site", "", false},
		{"GET", "nonsense", "", false},

		{"POST", "same-origin", own, true},
		{"POST", "", own, true},
		{"POST", "same-origin", "", true},
		{"DELETE", "same-origin", own, true},
		{"POST", "", "", false},
		{"POST", "cross-site", other, false},
		{"POST", "same-site", "https://www.example.com", false},
		{"POST", "", other, false},
		{"POST", "", "null", false},
		{"PUT", "cross-site", "", false},
		{"PATCH", "", "http://id.example.com.evil.example", false},
	} {
		r := httptest.NewRequest(tt.method, own+"/t/acme/api/v1/users", nil)
		r = r.WithContext(&scope{site: Site{Base: own + "/t/acme", Path: "/t/acme"}})
		for name, v := range map[string]string{"Sec-Fetch-Site": tt.fetchSite, "Origin": tt.origin} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		if FromOwnPage(r) != tt.want {
			t.Errorf("%s with Sec-Fetch-Site %q and Origin %q: %t", tt.method, tt.fetchSite, tt.origin, !tt.want)
		}
	}
}

func TestStrictCookie(t *testing.T) {
	const own = "https://id.example.com"
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", own+"/", nil)
	r = r.WithContext(&scope{site: Site{Base: own + "/t/acme", Path: "/t/acme"}})
	SetStrictCookie(w, r, "console", "v")
	const want = "__Secure-gh_console=v; Path=/t/acme; HttpOnly; Secure; SameSite=Strict"
	if got := w.Header().Get("Set-Cookie"); got != want {
		t.Errorf("the cookie is %q, want %q", got, want)
	}
}
