package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// RFC 6749 §4.1.2.1: never redirect before client and redirect_uri are valid.
func TestErrorsOnAPage(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		off := w.client(application.New{Name: "Off"})
		w.disable(off)
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		good := c.authorizeURL(challenge)
		for name, address := range map[string]string{
			"no client":            c.authorizeURL(challenge, "client_id", ""),
			"unknown client":       c.authorizeURL(challenge, "client_id", "nobody"),
			"client with controls": c.authorizeURL(challenge, "client_id", "a\x01b"),
			"disabled":             off.authorizeURL(challenge),
			"no redirect_uri":      c.authorizeURL(challenge, "redirect_uri", ""),
			"longer":               c.authorizeURL(challenge, "redirect_uri", redirectURI+"/x"),
			"shorter":              c.authorizeURL(challenge, "redirect_uri", redirectURI[:len(redirectURI)-1]),
			"with a query":         c.authorizeURL(challenge, "redirect_uri", redirectURI+"?a=b"),
			"with a fragment":      c.authorizeURL(challenge, "redirect_uri", redirectURI+"#x"),
			"another case": c.authorizeURL(challenge, "redirect_uri",
				strings.Replace(redirectURI, "callback", "Callback", 1)),
			"another scheme": c.authorizeURL(challenge, "redirect_uri",
				strings.Replace(redirectURI, "https", "http", 1)),
			"another port": c.authorizeURL(challenge, "redirect_uri",
				strings.Replace(redirectURI, ".com", ".com:8443", 1)),
			"a subdomain": c.authorizeURL(challenge, "redirect_uri",
				strings.Replace(redirectURI, "app.", "evil.app.", 1)),
			"user information": c.authorizeURL(challenge, "redirect_uri",
				strings.Replace(redirectURI, "https://", "https://x@", 1)),
			"a script":              c.authorizeURL(challenge, "redirect_uri", "javascript:alert(1)"),
			"client_id twice":       good + "&client_id=" + c.ClientID,
			"redirect_uri twice":    good + "&redirect_uri=" + url.QueryEscape(redirectURI),
			"redirect_uri and evil": good + "&redirect_uri=https%3A%2F%2Fevil.example",
			"not UTF-8":             good + "&x=%ff",
			"not decodable":         good + "&x=%zz",
			"too many":              good + strings.Repeat("&x=1", 100),
		} {
			a := b.Visit(address)
			if a.Status < 400 || a.Status > 499 || a.Header.Get("Location") != "" ||
				!strings.Contains(a.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%s: %d %s %s", name, a.Status, a.Header.Get("Location"), a.Header.Get("Content-Type"))
			}
			if a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: authorize allows origins", name)
			}
		}
	})
}

// After that always redirect, with state and iss, in the requested response mode.
func TestErrorsAtTheApplication(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		for name, tt := range map[string]struct {
			kv   []string
			code string
		}{
			"no response_type":         {[]string{"response_type", ""}, "invalid_request"},
			"unknown response_type":    {[]string{"response_type", "nonsense"}, "unsupported_response_type"},
			"response_mode":            {[]string{"response_mode", "web_message"}, "invalid_request"},
			"no scope":                 {[]string{"scope", ""}, "invalid_scope"},
			"no scope of its own":      {[]string{"scope", "admin root"}, "invalid_scope"},
			"plain":                    {[]string{"code_challenge_method", "plain"}, "invalid_request"},
			"method omitted":           {[]string{"code_challenge_method", ""}, "invalid_request"},
			"method without challenge": {[]string{"code_challenge", ""}, "invalid_request"},
			"short challenge":          {[]string{"code_challenge", challenge[1:]}, "invalid_request"},
			"OAuth without PKCE": {
				[]string{"code_challenge", "", "code_challenge_method", "", "scope", "profile"}, "invalid_request",
			},
			"neither PKCE nor a nonce": {
				[]string{"code_challenge", "", "code_challenge_method", "", "nonce", ""}, "invalid_request",
			},
			"none and login":     {[]string{"prompt", "none login"}, "invalid_request"},
			"unknown prompt":     {[]string{"prompt", "please"}, "invalid_request"},
			"max_age":            {[]string{"max_age", "-1"}, "invalid_request"},
			"max_age, no number": {[]string{"max_age", "soon"}, "invalid_request"},
			"claims":             {[]string{"claims", "{"}, "invalid_request"},
			"claims for nobody":  {[]string{"claims", `{"id_token":{"sub":{"value":7}}}`}, "invalid_request"},
			"request object":     {[]string{"request", "e30.e30."}, "request_not_supported"},
			"request_uri": {
				[]string{"request_uri", "https://app.example.com/r"}, "request_uri_not_supported",
			},
			"registration": {[]string{"registration", "{}"}, "registration_not_supported"},
			"hint":         {[]string{"id_token_hint", "nonsense"}, "invalid_request"},
			"essential acr": {
				[]string{"claims", `{"id_token":{"acr":{"essential":true,"values":["gold"]}}}`},
				"unmet_authentication_requirements",
			},
			"too many scopes": {
				[]string{"scope", strings.Repeat("a ", 20) + "openid" + words60()}, "invalid_scope",
			},
		} {
			q := w.response(t, b.Visit(c.authorizeURL(challenge, tt.kv...)))
			if q.Get("error") != tt.code || q.Get("state") != "s t&te" || q.Get("error_description") == "" ||
				q.Get("code") != "" {
				t.Errorf("%s: %v, want %s", name, q, tt.code)
			}
		}
		// What comes back of the request's own words cannot be taken for anything else.
		for _, name := range []string{`"><script>`, "a\nb", "ä\\"} {
			if q := w.response(t, b.Visit(c.authorizeURL(challenge)+"&"+url.QueryEscape(name)+"=1&"+url.QueryEscape(name)+"=2")); q.Get("error") != "invalid_request" {
				t.Errorf("%q twice: %v", name, q)
			}
		}
		// A repeated parameter: the application is told, but not with a state that may not be its
		// own.
		q := w.response(t, b.Visit(c.authorizeURL(challenge)+"&nonce=other"))
		if q.Get("error") != "invalid_request" || q.Get("state") != "s t&te" {
			t.Errorf("nonce twice: %v", q)
		}
		q = w.response(t, b.Visit(c.authorizeURL(challenge)+"&state=other"))
		if q.Get("error") != "invalid_request" || q.Get("state") != "" {
			t.Errorf("state twice: %v", q)
		}
		// response_mode=form_post, errors too
		a := b.Visit(c.authorizeURL(challenge, "response_mode", "form_post", "scope", ""))
		if a.Status != 200 || !strings.Contains(a.Body, `name="error" value="invalid_scope"`) ||
			!strings.Contains(a.Body, `name="iss" value="`+w.issuer+`"`) ||
			!strings.Contains(a.Body, `name="state" value="s t&amp;te"`) ||
			!strings.Contains(a.Body, `action="`+redirectURI+`"`) {
			t.Errorf("form_post: %d %s", a.Status, a.Body)
		}
		if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'sha256-") ||
			strings.Contains(csp, "unsafe") {
			t.Errorf("form_post has the policy %q", csp)
		}
		// The answers of other response types come in the fragment, and so do their errors.
		for _, kv := range [][]string{{"response_mode", "fragment"}, {"response_mode", "fragment", "scope", ""}} {
			if loc := b.Visit(c.authorizeURL(challenge, kv...)).Header.Get("Location"); !strings.HasPrefix(loc,
				redirectURI+"#") || !strings.Contains(loc, "error=invalid_request") {
				t.Errorf("%v: %s", kv, loc)
			}
		}
		a = b.Visit(c.authorizeURL(challenge, "response_type", "id_token token"))
		if loc := a.Header.Get("Location"); !strings.HasPrefix(loc, redirectURI+"#") ||
			!strings.Contains(loc, "error=unsupported_response_type") {
			t.Errorf("implicit: %s", loc)
		}
	})
}

func words60() string {
	var b strings.Builder
	for i := range 60 {
		b.WriteString(" s" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
	}
	return b.String()
}

func TestFormPostAndPost(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		verifier, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		a := b.Visit(c.authorizeURL(challenge, "response_mode", "form_post"))
		_, rest, ok := strings.Cut(a.Body, `name="code" value="`)
		if !ok {
			t.Fatalf("no code: %s", a.Body)
		}
		code, _, _ := strings.Cut(rest, `"`)
		c.redeem(t, code, verifier)

		// A request by POST, as another site's page sends it: without our cookies. The
		// browser is asked to come again with them.
		address, query, _ := strings.Cut(c.authorizeURL(challenge), "?")
		r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(query))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		a = w.browser().Send(r)
		if a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"),
			"/t/acme/oauth2/authorize?") {
			t.Fatalf("POST: %d %s", a.Status, a.Header.Get("Location"))
		}
		if q := w.response(t, b.Visit(w.Origin+a.Header.Get("Location"))); q.Get("code") == "" {
			t.Errorf("POST: %v", q)
		}
	})
}

// toSignIn checks that a sends the browser to the sign-in pages and returns where.
func toSignIn(t testing.TB, a world.Answer) string {
	t.Helper()
	loc := a.Header.Get("Location")
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(loc, "/t/acme/signin?flow=") {
		t.Fatalf("not sent to the sign-in pages: %d %s %.300s", a.Status, loc, a.Body)
	}
	return loc
}

func TestInteraction(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, Name: "Third party"})
		verifier, challenge := pkce()
		b := w.browser()
		at := toSignIn(t, b.Visit(c.authorizeURL(challenge, "login_hint", "ada@example.com", "ui_locales", "de en")))
		f := b.flow(at)
		if f.Application != c.ID || f.LoginHint != "ada@example.com" || strings.Join(f.Locales, " ") != "de en" ||
			f.Reauthenticate || f.MaxAge != nil ||
			strings.Join(f.ConsentScopes, " ") != "openid profile email offline_access" {
			t.Errorf("%+v", f)
		}
		// Not done yet: back to the pages.
		toSignIn(t, b.Visit(w.issuer+"/oauth2/authorize/continue?flow="+f.ID.String()))
		// Another browser cannot finish it.
		done := b.complete(at, w.user, true)
		if a := w.browser().Visit(done); a.Status != http.StatusNotFound {
			t.Errorf("another browser: %d", a.Status)
		}
		q := w.response(t, b.Visit(done))
		c.redeem(t, q.Get("code"), verifier)
		if a := b.Visit(done); a.Status != http.StatusNotFound {
			t.Errorf("finished twice: %d %s", a.Status, a.Header.Get("Location"))
		}
		// Signed in and consented: nothing is asked.
		if q := w.response(t, b.Visit(c.authorizeURL(challenge))); q.Get("code") == "" {
			t.Errorf("second time: %v", q)
		}
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none"))); q.Get("code") == "" {
			t.Errorf("prompt=none: %v", q)
		}
		// The person says no.
		b = w.browser()
		q = w.response(t, b.Visit(b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, false)))
		if q.Get("error") != "access_denied" || q.Get("state") != "s t&te" {
			t.Errorf("denied: %v", q)
		}
		for _, bad := range []string{"", "?flow=", "?flow=x", "?flow=" + w.user.ID.String(), "?flow=a&flow=b"} {
			if a := b.Visit(w.issuer + "/oauth2/authorize/continue" + bad); a.Status != http.StatusNotFound {
				t.Errorf("continue%s: %d", bad, a.Status)
			}
		}
	})
}

func TestFlowIsFinishedOnce(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		b := w.browser()
		done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, true)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := 0
		for range 16 {
			wg.Go(func() {
				if a := b.Visit(done); a.Status == http.StatusSeeOther {
					mu.Lock()
					codes++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if codes != 1 {
			t.Errorf("of 16 finishers %d got a code", codes)
		}
	})
}

// A finished flow of another kind gives no code, even if all else in it would do.
func TestOnlyAnAuthorizeFlowGivesACode(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		b := w.browser()
		done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, true)
		if err := w.Update(t.Context(), w.c, func(tx *db.Tx) error {
			n, err := tx.Exec(t.Context(), `UPDATE signin_flows SET state = replace(state, '"kind":"authorize"',`+
				` '"kind":"signout"') WHERE tenant_id = $1`)
			if err == nil && n != 1 {
				t.Errorf("%d flows, want 1", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if a := b.Visit(done); a.Status != http.StatusNotFound {
			t.Errorf("a sign-out's flow answers %d %s", a.Status, a.Header.Get("Location"))
		}
	})
}

// OpenID Connect Core §3.1.2.1.
func TestPromptAndMaxAge(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c, third := w.client(application.New{}), w.client(application.New{Type: application.Web, Name: "Third party"})
		_, challenge := pkce()
		b := w.browser()
		failed := func(what string, b *browser, c *client, code string, kv ...string) {
			t.Helper()
			q := w.response(t, b.Visit(c.authorizeURL(challenge, append(kv, "prompt", "none")...)))
			if q.Get("error") != code || q.Get("state") != "s t&te" {
				t.Errorf("%s: %v, want %s", what, q, code)
			}
		}
		failed("nobody is signed in", b, c, "login_required")
		b.signIn(w.user)
		failed("no consent", b, third, "consent_required")
		failed("max_age=0", b, c, "login_required", "max_age", "0")
		w.Clock.Advance(time.Minute)
		failed("too old", b, c, "login_required", "max_age", "59")
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "max_age",
			"60"))); q.Get("code") == "" {
			t.Errorf("young enough: %v", q)
		}
		for name, kv := range map[string][]string{
			"login": {
				"prompt", "login"}, "select_account": {"prompt", "select_account"}, "max_age=0": {"max_age",
				"0"}, "max_age": {"max_age", "59"},
		} {
			at := toSignIn(t, b.Visit(c.authorizeURL(challenge, kv...)))
			f := b.flow(at)
			if !f.Session.IsZero() || len(f.Proofs) != 0 {
				t.Errorf("%s: the old session counts: %+v", name, f)
			}
			if f.User != w.user.ID {
				t.Errorf("%s: the pages are not told who was signed in", name)
			}
		}
		// prompt=consent asks again for what was allowed.
		b.complete(toSignIn(t, b.Visit(third.authorizeURL(challenge))), w.user, true)
		if q := w.response(t, b.Visit(third.authorizeURL(challenge))); q.Get("code") == "" {
			t.Error("consent was not kept")
		}
		if f := b.flow(toSignIn(t, b.Visit(third.authorizeURL(challenge, "prompt", "consent")))); !f.ForceConsent ||
			f.Session.IsZero() {
			t.Errorf("prompt=consent: %+v", f)
		}
	})
}

// A first-party application is not asked about, unless it would act in the tenant for the person.
func TestAFirstPartyApplicationAsksBeforeItActsForAPerson(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, FirstParty: true,
			Scopes: []string{"openid", "email", application.ScopeManage}})
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "scope", "openid email"))); q.Get("code") == "" {
			t.Errorf("without such a scope: %v", q)
		}
		scope := "openid email " + application.ScopeManage
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "scope", scope, "prompt", "none"))); q.Get(
			"error") != "consent_required" {
			t.Errorf("prompt=none: %v", q)
		}
		at := toSignIn(t, b.Visit(c.authorizeURL(challenge, "scope", scope)))
		if f := b.flow(at); len(f.ConsentScopes) != 1 || f.ConsentScopes[0] != application.ScopeManage {
			t.Errorf("the person is asked for %q", f.ConsentScopes)
		}
	})
}

// A fresh sign-in after max_age: auth_time is the new one.
func TestAuthTime(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		b := w.browser()
		b.signIn(w.user)
		w.Clock.Advance(time.Hour)
		verifier, challenge := pkce()
		done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge, "max_age", "60"))), w.user, true)
		got := c.redeem(t, w.response(t, b.Visit(done)).Get("code"), verifier)
		if id, _ := w.claims(t, got.ID, "JWT"); id["auth_time"] != float64(w.Clock.Now().Unix()) {
			t.Errorf("auth_time %v, now %d", id["auth_time"], w.Clock.Now().Unix())
		}
	})
}
