package web

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits on the cookies of one name that Cookies returns.
const (
	maxCookie   = 2 << 10 // bytes of a value
	maxRepeated = 4
)

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
	setCookie(w, SiteOf(r), name, value, maxAge, http.SameSiteLaxMode)
}

// SetStrictCookie is SetCookie with SameSite=Strict, until the browser is closed. The browser sends
// it with no request that a page of another site begins, not even when a person follows a link.
func SetStrictCookie(w http.ResponseWriter, r *http.Request, name, value string) {
	setCookie(w, SiteOf(r), name, value, 0, http.SameSiteStrictMode)
}

func setCookie(w http.ResponseWriter, s Site, name, value string, maxAge time.Duration, same http.SameSite) {
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(s, name),
		Value:    value,
		Path:     cookiePath(s),
		MaxAge:   int(maxAge / time.Second),
		Secure:   s.secure(),
		HttpOnly: true,
		SameSite: same,
	})
}

// SetReadableCookie is SetCookie for a value that is not secret. Scripts of the site's pages read
// it, also in a page that another site frames: on https it has SameSite=None.
func SetReadableCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge time.Duration) {
	s := SiteOf(r)
	c := &http.Cookie{Name: cookieName(s, name), Value: value, Path: cookiePath(s), MaxAge: int(maxAge / time.Second),
		Secure: s.secure(), SameSite: http.SameSiteLaxMode}
	if s.secure() { // browsers accept None with Secure only
		c.SameSite = http.SameSiteNoneMode
	}
	http.SetCookie(w, c)
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

// Cookies returns the values of the cookies of the request's site with a name, without those longer
// than maxCookie. There are several if other paths or domains have cookies of that name (RFC 6265
// §5.4), and the browser does not say which is ours. The caller tries each, maxRepeated at most.
func Cookies(r *http.Request, name string) []string {
	var values []string
	for _, c := range r.CookiesNamed(cookieName(SiteOf(r), name)) {
		if len(c.Value) <= maxCookie && len(values) < maxRepeated {
			values = append(values, c.Value)
		}
	}
	return values
}

// CookiesOf returns the values of the cookies of a family with a name, such as an id.
func CookiesOf(r *http.Request, family, name string) []string { return Cookies(r, family+"_"+name) }

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
	var v string
	// Browsers send several cookies in one order, so the first is the same each time.
	sent := Cookies(r, "browser")
	if i := slices.IndexFunc(sent, isBrowser); i >= 0 {
		v = sent[i]
	} else {
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

func isBrowser(v string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(v)
	return err == nil && len(raw) == browserBytes
}
