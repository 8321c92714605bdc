package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// nonsense is put into every parameter of every endpoint.
var nonsense = map[string]string{
	"NUL":              "a\x00b",
	"not UTF-8":        "\xff\xfe",
	"half a rune":      "a\xe2\x82",
	"a control":        "a\x1b[2Jb",
	"a line break":     "a\r\nSet-Cookie: x=y",
	"long":             strings.Repeat("a", 3000),
	"longer":           strings.Repeat("é", 3000),
	"the longest":      strings.Repeat("a", 12_000),
	"quotes":           `'"\;--`,
	"markup":           `<script>alert(1)</script>`,
	"blanks":           "   ",
	"wide":             "\u202e\U0001F4A5\ufeff",
	"percent":          "%00%zz",
	"a number":         "99999999999999999999999",
	"a negative one":   "-1",
	"JSON":             `{"id_token":{"sub":{"value":"\u0000"},"\u0000":null}}`,
	"nested JSON":      strings.Repeat(`{"id_token":`, 300),
	"JSON of many":     `{"userinfo":{` + strings.Repeat(`"a":null,`, 900) + `"b":null}}`,
	"brackets to keep": `{"id_token":{"email":{"value":"` + strings.Repeat("<", 2500) + `"}}}`,
	"a token's form":   "gh_at_" + strings.Repeat("a", 100),
	"a JWT's form":     "eyJhbGciOiJFUzI1NiIsImtpZCI6IlwwMDAwIn0.e30.AAAA",
}

// fine checks what every answer to nonsense must be: no fault of ours, and nothing of
// the request where a browser or a header could take it for something else.
func fine(t *testing.T, what string, a world.Answer) {
	t.Helper()
	loc := a.Header.Get("Location")
	if a.Status >= 500 || strings.Contains(a.Body, "server_error") || strings.Contains(loc, "error=server_error") ||
		strings.Contains(loc, "error=temporarily") {
		t.Errorf("%s: %d %s %.300s", what, a.Status, loc, a.Body)
	}
	if strings.Contains(a.Body, "<script>alert") || a.Header.Get("Set-Cookie") == "x=y" ||
		strings.Contains(a.Body, "goroutine ") {
		t.Errorf("%s: comes back as it was: %.300s", what, a.Body)
	}
	if a.Status >= 300 && a.Status < 400 && !strings.HasPrefix(loc, redirectURI+"?") &&
		!strings.HasPrefix(loc, redirectURI+"#") && !strings.HasPrefix(loc, "/t/acme/") {
		t.Errorf("%s: redirected to %q", what, loc)
	}
}

// Nonsense gets a clear refusal, or is ignored where a standard says so: never a 500.
func TestNonsense(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, Name: "Third party",
			PostLogoutRedirectURIs: []string{afterLogout}})
		got := c.signedInWithConsent(t)
		_, challenge := pkce()
		in, out := w.browser(), w.browser()
		in.signIn(w.user)
		authorize, _ := url.Parse(c.authorizeURL(challenge))
		for _, endpoint := range []struct {
			path, method string
			good         url.Values
			more         []string
			auth         bool
		}{
			{
				"/oauth2/authorize", "GET", authorize.Query(),
				[]string{
					"prompt", "max_age", "claims", "acr_values", "login_hint", "ui_locales", "id_token_hint",
					"response_mode", "display", "resource", "x",
				},
				false,
			},
			{"/oauth2/authorize", "POST", authorize.Query(), []string{"claims", "login_hint"}, false},
			{"/oauth2/authorize/continue", "GET", url.Values{"flow": {"x"}}, nil, false},
			{"/oauth2/logout/continue", "GET", url.Values{"flow": {"x"}}, nil, false},
			{
				"/oauth2/logout", "GET", url.Values{"client_id": {c.ClientID}},
				[]string{"id_token_hint", "post_logout_redirect_uri", "state", "ui_locales", "logout_hint"}, false,
			},
			{"/oauth2/logout", "POST", url.Values{}, []string{"id_token_hint"}, false},
			{
				"/oauth2/token", "POST",
				url.Values{
					"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {redirectURI},
					"code_verifier": {"x"},
				},
				[]string{"client_id", "resource"}, true,
			},
			{
				"/oauth2/token", "POST", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}},
				[]string{"scope"}, true,
			},
			{
				"/oauth2/token", "POST", url.Values{"grant_type": {"client_credentials"}},
				[]string{"client_id", "client_secret", "client_assertion", "client_assertion_type", "scope"}, false,
			},
			{"/oauth2/introspect", "POST", url.Values{"token": {"x"}}, []string{"token_type_hint"}, true},
			{"/oauth2/revoke", "POST", url.Values{"token": {"x"}}, []string{"token_type_hint"}, true},
			{"/oauth2/userinfo", "POST", url.Values{"access_token": {"x"}}, nil, false},
		} {
			names := endpoint.more
			for name := range endpoint.good {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				for kind, value := range nonsense {
					v := url.Values{}
					for k, s := range endpoint.good {
						v[k] = s
					}
					v[name] = []string{value}
					what := endpoint.method + " " + endpoint.path + " with " + name + ": " + kind
					fine(t, what, w.sendForm(out, endpoint.method, endpoint.path, v, endpoint.auth, c))
					if endpoint.path == "/oauth2/authorize" {
						fine(t, what+", signed in", w.sendForm(in, endpoint.method, endpoint.path, v, endpoint.auth, c))
					}
				}
				if name == "resource" { // RFC 8707 §2
					continue
				}
				// RFC 6749 §3.1, §3.2: no other parameter may come twice.
				v := url.Values{}
				for k, s := range endpoint.good {
					v[k] = s
				}
				v[name] = []string{"a", "a"}
				a := w.sendForm(out, endpoint.method, endpoint.path, v, endpoint.auth, c)
				fine(t, endpoint.path+" with two of "+name, a)
				if q, _ := url.Parse(a.Header.Get("Location")); a.Status < 400 &&
					q.Query().Get("error") != "invalid_request" && endpoint.method == "GET" {
					t.Errorf("%s with two of %s: %d %s", endpoint.path, name, a.Status, a.Header.Get("Location"))
				}
				if a.Status < 400 && strings.HasPrefix(endpoint.path, "/oauth2/") && a.Header.Get("Location") == "" {
					t.Errorf("%s with two of %s: %d", endpoint.path, name, a.Status)
				}
			}
		}
	})
}

// Headers are a stranger's as well.
func TestNonsenseInHeaders(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		values := []string{"", "\xff\xfe", "x", strings.Repeat("a", 5000), "gh_at_x", "Basic", "Basic ", "Basic =",
			"Basic Og==", "Basic /////w==",
			"Bearer", "Bearer ", "Bearer \xff", "Bearer a b", "Bearer " + strings.Repeat("a", 20_000), "Bearer " +
				strings.Repeat("a.", 3000), "DPoP x", "gh_session=\xff; gh_browser=\xff",
			"gh_session=" + strings.Repeat("a", 5000) + "; gh_browser=" + strings.Repeat("b", 5000), `gh_session="x`}
		for _, header := range []string{"Authorization", "Cookie", "User-Agent", "Accept-Language", "Content-Type",
			"Origin", "Accept", "X-Forwarded-For", "X-Request-Id"} {
			for _, value := range values {
				for _, to := range []struct{ method, address string }{
					{
						"GET", c.authorizeURL(challenge)}, {"GET", w.issuer + "/oauth2/userinfo"}, {"POST",
						w.issuer + "/oauth2/token"}, {"GET", w.issuer + "/oauth2/logout"}, {"POST",
						w.issuer + "/oauth2/introspect",
					},
				} {
					r, err := http.NewRequest(to.method, to.address,
						strings.NewReader("token=x&grant_type=refresh_token&refresh_token=x&client_id="+c.ClientID))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					r.Header[header] = []string{value}
					what := to.method + " " + to.address[len(w.issuer):len(w.issuer)+12]
					fine(t, what+" with "+header+": "+value[:min(len(value), 30)], w.browser().Send(r))
				}
			}
		}
		for _, header := range []string{"Authorization", "Content-Type"} {
			r, err := http.NewRequest("POST", w.issuer+"/oauth2/token", strings.NewReader("grant_type=refresh_token"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
			r.Header[header] = append(r.Header[header], "a", "b")
			if a := w.browser().Send(r); a.Status != http.StatusBadRequest {
				t.Errorf("two of %s: %d %s", header, a.Status, a.Body)
			}
		}
	})
}

func (w *scene) sendForm(b *browser, method, path string, v url.Values, auth bool, c *client) world.Answer {
	w.T.Helper()
	address, body := w.issuer+path, v.Encode()
	if method == http.MethodGet {
		address, body = address+"?"+body, ""
	}
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if auth {
		r.SetBasicAuth(c.ClientID, c.Secret.Reveal())
	}
	return b.Send(r)
}

// signedInWithConsent is signedIn for an application that has to ask.
func (c *client) signedInWithConsent(t testing.TB) tokens {
	t.Helper()
	b := c.w.browser()
	verifier, challenge := pkce()
	done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), c.w.user, true)
	return c.redeem(t, c.w.response(t, b.Visit(done)).Get("code"), verifier)
}
