package world

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Browser is a browser without JavaScript at one tenant: cookies, pages and forms.
type Browser struct {
	HTTP *http.Client // follows no redirect
	w    *World
	base string // of the tenant
}

// Browser returns a browser without cookies at the base of the tenant with this slug.
func (w *World) Browser(slug string) *Browser {
	jar, _ := cookiejar.New(nil) // never fails
	return &Browser{w: w, base: w.Base(slug), HTTP: &http.Client{
		Transport: w.transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Base returns the base URL of the tenant with this slug, which is its issuer.
func (w *World) Base(slug string) string { return w.Origin + "/t/" + slug }

// Answer is a response that was read.
type Answer struct {
	Status   int
	Header   http.Header
	Body     string
	Path     string // of the page, below the tenant's base, with its query
	Location string // of a redirect that was not followed
}

// JSON returns the body's fields.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.Body), &m); err != nil {
		t.Fatalf("%d %q is not JSON: %v", a.Status, a.Body, err)
	}
	return m
}

// Text returns what the page says, without markup.
func (a Answer) Text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(a.Body, " "))), " ")
}

// Find returns the first group of re in the page, and fails the test when there is none.
func (a Answer) Find(t testing.TB, re *regexp.Regexp) string {
	t.Helper()
	m := re.FindStringSubmatch(a.Body)
	if m == nil {
		t.Fatalf("%s does not show %s: %s", a.Path, re, a.Text())
	}
	return m[1]
}

var (
	tags     = regexp.MustCompile(`(?s)<head>.*?</head>|<svg.*?</svg>|<[^>]*>`)
	hiddenRE = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)"`)
	actionRE = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
)

// Send sends one request with the browser's cookies. It follows no redirect.
func (b *Browser) Send(r *http.Request) Answer {
	b.w.T.Helper()
	res, err := b.HTTP.Do(r)
	if err != nil {
		b.w.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.w.T.Fatal(err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: string(body), Location: res.Header.Get("Location")}
}

// Visit opens an address. It follows no redirect.
func (b *Browser) Visit(address string) Answer {
	b.w.T.Helper()
	return b.Send(b.request(http.MethodGet, address, nil))
}

// Open opens a page below the tenant's base and follows redirects to other pages.
func (b *Browser) Open(path string) Answer {
	b.w.T.Helper()
	return b.walk(http.MethodGet, path, nil)
}

// Post sends a form below the tenant's base and follows redirects to pages.
func (b *Browser) Post(path string, form url.Values) Answer {
	b.w.T.Helper()
	return b.walk(http.MethodPost, path, form)
}

func (b *Browser) request(method, address string, form url.Values) *http.Request {
	b.w.T.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.T.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// walk ends at a page, or at a redirect that leads away from the tenant's pages.
func (b *Browser) walk(method, path string, form url.Values) Answer {
	b.w.T.Helper()
	for range 12 {
		a := b.Send(b.request(method, b.base+path, form))
		a.Path = path
		if a.Status >= 500 && a.Status != http.StatusServiceUnavailable {
			b.w.T.Errorf("%s %s answers %d: %s", method, path, a.Status, a.Text())
		}
		if a.Status < 300 || a.Status >= 400 {
			return a
		}
		to, err := url.Parse(b.base + path)
		if err == nil {
			to, err = to.Parse(a.Location)
		}
		if err != nil {
			b.w.T.Fatal(err)
		}
		a.Location = to.String()
		below, ok := strings.CutPrefix(a.Location, b.base)
		if !ok || strings.HasPrefix(below, "/oauth2/") {
			return a
		}
		method, path, form = http.MethodGet, below, nil
	}
	b.w.T.Fatalf("redirects without end, last to %s", path)
	return Answer{}
}

// Fill submits the last form of a page with these names and values, besides the hidden ones.
func (b *Browser) Fill(page Answer, values ...string) Answer {
	b.w.T.Helper()
	return b.FillForm(page, "", values...)
}

// FillForm is Fill for the form whose action ends in action.
func (b *Browser) FillForm(page Answer, action string, values ...string) Answer {
	b.w.T.Helper()
	for _, at := range actionRE.FindAllStringSubmatchIndex(page.Body, -1) {
		to := html.UnescapeString(page.Body[at[2]:at[3]])
		if action != "" && !strings.HasSuffix(to, action) || action == "" && strings.HasSuffix(to, "/signin/forget") {
			continue
		}
		part, _, _ := strings.Cut(page.Body[at[0]:], "</form>")
		form := url.Values{}
		for _, m := range hiddenRE.FindAllStringSubmatch(part, -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
		for i := 0; i+1 < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return b.Post(strings.TrimPrefix(to, strings.TrimPrefix(b.base, b.w.Origin)), form)
	}
	b.w.T.Fatalf("%s has no such form: %s", page.Path, page.Text())
	return Answer{}
}

// SignIn signs in at the account page with the Password and returns the page that follows.
func (b *Browser) SignIn(login string) Answer {
	b.w.T.Helper()
	return b.Fill(b.Open("/account"), "username", login, "password", Password)
}

// Cookie returns the value of one of the tenant's cookies.
func (b *Browser) Cookie(name string) string {
	u, _ := url.Parse(b.base + "/x")
	for _, c := range b.HTTP.Jar.Cookies(u) {
		if c.Name == "gh_"+name {
			return c.Value
		}
	}
	return ""
}

// SetCookie puts one of the tenant's cookies into the browser.
func (b *Browser) SetCookie(name, value string) {
	u, _ := url.Parse(b.base + "/x")
	b.HTTP.Jar.SetCookies(u,
		[]*http.Cookie{{Name: "gh_" + name, Value: value, Path: strings.TrimPrefix(b.base, b.w.Origin)}})
}
