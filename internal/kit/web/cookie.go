package web

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxCookie is the longest cookie value that Cookie returns, in bytes.
const maxCookie = 2 << 10

// Limits on the cookies of one family. Common proxies take 8 KiB for the line with all cookies.
const (
	familyCount = 8
	familyBytes = 5 << 10
)

// cookieName returns the name on the wire. The prefixes make browsers refuse such a cookie from
// plain HTTP and, for __Host-, from other subdomains (RFC 6265bis §4.1.3). __Host- requires Path=/,
// which only a custom domain has.
func cookieName(s Site, name string) string {
	switch {
	case !s.secure():
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

// SetCookie sets a cookie for the request's site only: HttpOnly, SameSite=Lax, the site's path, and
// on https Secure and a name prefix. With a maxAge of zero it lasts until the browser is closed.
// The value must be base64url or plain ASCII without quotes, commas and semicolons.
func SetCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge time.Duration) {
	s := SiteOf(r)
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(s, name),
		Value:    value,
		Path:     cookiePath(s),
		MaxAge:   int(maxAge / time.Second),
		Secure:   s.secure(),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// ClearCookie deletes a cookie of the request's site.
func ClearCookie(w http.ResponseWriter, r *http.Request, name string) {
	s := SiteOf(r)
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(s, name),
		Path:     cookiePath(s),
		MaxAge:   -1,
		Secure:   s.secure(),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// Cookie returns the value of a cookie of the request's site. It returns "" for no cookie and for a
// value longer than maxCookie.
func Cookie(r *http.Request, name string) string {
	c, err := r.Cookie(cookieName(SiteOf(r), name))
	if err != nil || len(c.Value) > maxCookie {
		return ""
	}
	return c.Value
}

// CookieOf returns the value of a cookie of a family, such as one that is named by an id.
func CookieOf(r *http.Request, family, name string) string { return Cookie(r, family+"_"+name) }

// ClearCookieOf deletes a cookie of a family.
func ClearCookieOf(w http.ResponseWriter, r *http.Request, family, name string) {
	ClearCookie(w, r, family+"_"+name)
}

// SetCookieOf sets a cookie of a family, as SetCookie does. It deletes the family's oldest cookies
// when they become too many. Names must sort by age, as ids do.
func SetCookieOf(w http.ResponseWriter, r *http.Request, family, name, value string, maxAge time.Duration) {
	SetCookie(w, r, family+"_"+name, value, maxAge)
	prefix := cookieName(SiteOf(r), family+"_")
	var others []*http.Cookie
	for _, c := range r.Cookies() {
		if old, ok := strings.CutPrefix(c.Name, prefix); ok && old != name {
			others = append(others, c)
		}
	}
	slices.SortFunc(others, func(a, b *http.Cookie) int { return strings.Compare(b.Name, a.Name) })
	count, size := 1, len(prefix)+len(name)+len(value)
	for _, c := range others {
		count, size = count+1, size+len(c.Name)+len(c.Value)
		if count > familyCount || size > familyBytes {
			ClearCookieOf(w, r, family, strings.TrimPrefix(c.Name, prefix))
		}
	}
}

// browserBytes is the size of the browser secret before encoding.
const browserBytes = 32

// Browser returns the random secret of this browser on this site. It comes from the cookie
// gh_browser, which Browser sets if it is missing or malformed. A sign-in or consent is bound to
// its browser, so that a link with the flow's id is worthless elsewhere. Store the hash, not the
// secret.
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
