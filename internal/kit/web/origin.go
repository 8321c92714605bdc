package web

import (
	"net/http"
	"net/url"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// ErrCrossOrigin is the fault of a request that a page of another site sent with our cookies.
var ErrCrossOrigin = fault.New(fault.Denied, "request.cross_origin",
	"This request came from a page of another site. Open the page here and try again.")

// origins recognises unsafe requests of other sites' pages.
var origins http.CrossOriginProtection

// hasOrigin reports whether the Origin header is that of a base.
func hasOrigin(r *http.Request, base string) bool {
	u, err := url.Parse(base)
	return err == nil && r.Header.Get("Origin") == u.Scheme+"://"+u.Host
}

// FromOwnPage reports whether a page of the request's own site sent it. It is for a route on which
// a cookie is the only proof, and stricter than the class Page. No other site's page may send a
// request that only reads. An unsafe request must say where it comes from.
//
// A browser sends Sec-Fetch-Site with every request to a trustworthy address, and Origin with every
// unsafe one. A GET without both comes from a browser that has reached us by plain HTTP. Its cookie
// is SameSite=Strict, and without CORS no other site reads the answer.
func FromOwnPage(r *http.Request) bool {
	if hasOrigin(r, SiteOf(r).Base) {
		return true
	}
	if origins.Check(r) != nil {
		return false
	}
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return site == "same-origin" || site == "none" || site == "" && origin == ""
	}
	return site != "" || origin != ""
}
