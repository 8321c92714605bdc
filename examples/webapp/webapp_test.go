package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// fakeProvider answers as an OpenID provider, unless a test makes it lie.
type fakeProvider struct {
	*httptest.Server
	key   *ecdsa.PrivateKey
	nonce string         // of the last authorization request
	lie   map[string]any // claims of the ID token to replace
	subOf string         // subject of userinfo, if not that of the ID token
}

func newFakeProvider(t *testing.T) *fakeProvider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &fakeProvider{key: key}
	keys := &oidctest.Server{
		PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.ES256}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"userinfo_endpoint": p.URL + "/userinfo", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint":                           p.URL + "/logout",
			"id_token_signing_alg_values_supported":          []string{"ES256"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		claims := map[string]any{
			"iss": p.URL, "aud": "app", "sub": "u1", "name": "Ada", "email": "ada@example.com", "nonce": p.nonce,
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		}
		maps.Copy(claims, p.lie)
		encoded, _ := json.Marshal(claims)
		p.json(w, map[string]any{
			"access_token": "at", "token_type": "Bearer", "expires_in": 300, "refresh_token": "rt",
			"id_token": oidctest.SignIDToken(p.key, "k", oidc.ES256, string(encoded)),
		})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, map[string]any{"sub": cmp.Or(p.subOf, "u1"), "locale": "en"})
	})
	mux.Handle("/", keys)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	keys.SetIssuer(p.URL)
	return p
}

func (p *fakeProvider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// browser starts the application and returns a client with cookies that stops at redirects to the
// provider.
func browser(t *testing.T, p *fakeProvider) (*httptest.Server, *http.Client) {
	t.Helper()
	app := httptest.NewUnstartedServer(nil)
	a, err := newWebapp(t.Context(), config{
		Issuer: p.URL, ClientID: "app", ClientSecret: "s", PublicURL: "http://" + app.Listener.Addr().String(),
		Scopes: []string{"openid"},
	})
	if err != nil {
		t.Fatal(err)
	}
	app.Config.Handler = a.handler()
	app.Start()
	t.Cleanup(app.Close)
	jar, _ := cookiejar.New(nil)
	return app, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != app.Listener.Addr().String() {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// start begins a sign-in and returns the parameters of the authorization request.
func start(t *testing.T, p *fakeProvider, app *httptest.Server, client *http.Client) url.Values {
	t.Helper()
	res, err := client.Get(app.URL + "/signin")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	to, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	p.nonce = to.Query().Get("nonce")
	return to.Query()
}

func get(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	res, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestSignInRefreshSignOut(t *testing.T) {
	p := newFakeProvider(t)
	app, client := browser(t, p)
	sent := start(t, p, app, client)
	if sent.Get("code_challenge_method") != "S256" || sent.Get("code_challenge") == "" || len(sent.Get("nonce")) < 20 {
		t.Fatalf("authorization request without PKCE S256 or nonce: %v", sent)
	}
	answer := app.URL + "/callback?code=c&state=" + sent.Get("state") + "&iss=" + url.QueryEscape(p.URL)
	if status, body := get(t, client, answer); status != 200 || !strings.Contains(body, `Hello, <span id="name">Ada`) {
		t.Fatalf("not signed in: %d\n%s", status, body)
	}
	if status, _ := get(t, client, answer); status != http.StatusBadRequest {
		t.Errorf("an answer was accepted twice: %d", status)
	}
	res, err := client.PostForm(app.URL+"/refresh", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !strings.Contains(string(body), "The tokens were refreshed") {
		t.Errorf("refresh: %d\n%s", res.StatusCode, body)
	}
	res, err = client.PostForm(app.URL+"/signout", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	to, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	if to.Path != "/logout" || q.Get("id_token_hint") == "" ||
		q.Get("post_logout_redirect_uri") != app.URL+"/signedout" {
		t.Errorf("logout request: %s", to)
	}
	if _, body := get(t, client, app.URL+"/"); !strings.Contains(body, "You are not signed in") {
		t.Error("still signed in after signing out")
	}
	_, page := get(t, client, app.URL+"/signedout?state="+q.Get("state"))
	if !strings.Contains(page, "at the provider.") || strings.Contains(page, "may still") {
		t.Errorf("the provider's confirmation was not recognised:\n%s", page)
	}
	if _, body := get(t, client, app.URL+"/signedout?state="+q.Get("state")); !strings.Contains(body, "may still") {
		t.Error("a state was accepted twice")
	}
}

func TestAnswersThatMustBeRefused(t *testing.T) {
	lie := func(name string, value any) func(*fakeProvider, url.Values) {
		return func(p *fakeProvider, _ url.Values) { p.lie = map[string]any{name: value} }
	}
	for name, c := range map[string]struct {
		change func(p *fakeProvider, q url.Values)
		status int
	}{
		"another browser's state": {func(_ *fakeProvider, q url.Values) { q.Set("state", "x") }, 400},
		"another issuer":          {func(_ *fakeProvider, q url.Values) { q.Set("iss", "https://evil.example") }, 400},
		"no issuer":               {func(_ *fakeProvider, q url.Values) { q.Del("iss") }, 400},
		"denied":                  {func(_ *fakeProvider, q url.Values) { q.Set("error", "access_denied") }, 403},
		"another nonce":           {lie("nonce", "old"), 502},
		"another audience":        {lie("aud", "other"), 502},
		"expired":                 {lie("exp", 1000), 502},
		"another subject":         {func(p *fakeProvider, _ url.Values) { p.subOf = "u2" }, 502},
		"another key": {func(p *fakeProvider, _ url.Values) {
			p.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			p := newFakeProvider(t)
			app, client := browser(t, p)
			sent := start(t, p, app, client)
			q := url.Values{"code": {"c"}, "state": {sent.Get("state")}, "iss": {p.URL}}
			c.change(p, q)
			if status, body := get(t, client, app.URL+"/callback?"+q.Encode()); status != c.status {
				t.Errorf("status %d, want %d\n%s", status, c.status, body)
			}
			if _, body := get(t, client, app.URL+"/"); !strings.Contains(body, "You are not signed in") {
				t.Error("signed in all the same")
			}
		})
	}
}

func TestRefreshByAnotherSite(t *testing.T) {
	p := newFakeProvider(t)
	app, client := browser(t, p)
	for _, path := range []string{"/refresh", "/signout"} {
		r, _ := http.NewRequest("POST", app.URL+path, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another site: %d", path, res.StatusCode)
		}
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := newStore[int](time.Minute, 3)
	var keys []string
	for i := range 5 {
		keys = append(keys, s.put(i))
	}
	if len(s.items) != 3 || len(s.order) != 3 {
		t.Errorf("%d items, %d keys; want 3", len(s.items), len(s.order))
	}
	if _, ok := s.get(keys[0]); ok {
		t.Error("the oldest is still there")
	}
	if v, ok := s.take(keys[4]); !ok || v != 4 {
		t.Errorf("take: %v %v", v, ok)
	}
	if _, ok := s.take(keys[4]); ok {
		t.Error("taken twice")
	}
	if v := fmt.Sprint(text("exp", float64(0)), text("aud", []any{"a"})); v != `1970-01-01 00:00:00 UTC["a"]` {
		t.Error(v)
	}
}
