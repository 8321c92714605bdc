package web

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"
)

// MaxCookie is the longest cookie value that Cookie returns, in bytes.
const MaxCookie = 1024

// cookieName is the name on the wire. The prefixes make browsers refuse a cookie
// of that name from plain HTTP, and, for __Host-, from other subdomains (RFC 6265bis
// §4.1.3). __Host- demands Path=/, which only a custom domain has.
func cookieName(s Site, name string) string {
	switch {
	case !s.Secure():
		return "gh_" + name
	case s.Path == "":
		return "__Host-gh_" + name
	default:
		return "__Secure-gh_" + name
	}
}

func cookiePath(s Site) string {
	if s.Path == "" {
		return "/"
	}
	return s.Path
}

// SetCookie gives the browser the cookie name ("session") for the request's site
// only: HttpOnly, SameSite=Lax, Path of the site, Secure and a name prefix on https.
// A maxAge of zero makes it last until the browser is closed. The value must be
// base64url or plain ASCII without quotes, commas and semicolons.
func SetCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge time.Duration) {
	s := SiteOf(r)
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(s, name),
		Value:    value,
		Path:     cookiePath(s),
		MaxAge:   int(maxAge / time.Second),
		Secure:   s.Secure(),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// ClearCookie makes the browser forget the cookie name of the request's site.
func ClearCookie(w http.ResponseWriter, r *http.Request, name string) {
	s := SiteOf(r)
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(s, name),
		Path:     cookiePath(s),
		MaxAge:   -1,
		Secure:   s.Secure(),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// Cookie returns the value of the cookie name of the request's site; "" when the
// browser sent none, or one longer than MaxCookie.
func Cookie(r *http.Request, name string) string {
	c, err := r.Cookie(cookieName(SiteOf(r), name))
	if err != nil || len(c.Value) > MaxCookie {
		return ""
	}
	return c.Value
}

// browserBytes is the size of the browser secret before encoding.
const browserBytes = 32

// Browser returns the random secret of this browser on this site, from the cookie
// gh_browser, and sets one when there is none or it is not of our making. What was
// begun in a browser (a sign-in, a consent) is bound to it, so that a link with the
// flow's id is worth nothing elsewhere. Store its hash, not the secret.
func Browser(w http.ResponseWriter, r *http.Request) string {
	s := scopeOf(r.Context())
	if s != nil && s.browser != "" {
		return s.browser
	}
	v := Cookie(r, "browser")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(v)
	if err != nil || len(raw) != browserBytes {
		b := make([]byte, browserBytes)
		rand.Read(b) // never fails: crypto/rand ends the program instead
		v = base64.RawURLEncoding.EncodeToString(b)
		SetCookie(w, r, "browser", v, 0)
	}
	if s != nil {
		s.browser = v
	}
	return v
}
