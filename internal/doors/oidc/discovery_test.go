package oidc_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// With path issuers RFC 8414 inserts the well-known segment after the host, OpenID
// Connect appends it: both are served, with the same bytes.
func TestDiscovery(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		b := w.browser()
		appended := b.Visit(w.issuer + "/.well-known/openid-configuration")
		inserted := b.Visit(w.Origin + "/.well-known/oauth-authorization-server/t/acme")
		if appended.Status != 200 || inserted.Status != 200 || appended.Body != inserted.Body {
			t.Fatalf("%d %s\n%d %s", appended.Status, appended.Body, inserted.Status, inserted.Body)
		}
		m := appended.JSON(t)
		if m["issuer"] != w.issuer || m["authorization_response_iss_parameter_supported"] != true ||
			m["request_parameter_supported"] != false {
			t.Errorf("%s", appended.Body)
		}
		if got := m["code_challenge_methods_supported"].([]any); len(got) != 1 || got[0] != "S256" {
			t.Errorf("PKCE methods: %v", got)
		}
		// Every endpoint it names is there.
		for name, v := range m {
			address, ok := v.(string)
			if !ok || !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			if !strings.HasPrefix(address, w.issuer+"/") {
				t.Errorf("%s: %s is not below the issuer", name, address)
			}
			if a := b.Visit(address); a.Status == http.StatusNotFound {
				t.Errorf("%s: nothing at %s", name, address)
			}
		}
		for _, missing := range []string{"/.well-known/openid-configuration",
			"/t/nobody/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/nobody"} {
			if a := b.Visit(w.Origin + missing); a.Status != http.StatusNotFound {
				t.Errorf("%s: %d", missing, a.Status)
			}
		}
	})
}

// Discovery names the grant types that the token endpoint knows, and no others.
func TestGrantTypesInDiscovery(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		named := w.browser().Visit(w.issuer +
			"/.well-known/openid-configuration").JSON(t)["grant_types_supported"].([]any)
		want := []any{"authorization_code", "refresh_token", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code"}
		if !slices.Equal(named, want) {
			t.Errorf("grant_types_supported: %v, want %v", named, want)
		}
		robot := w.client(application.New{Type: application.Machine})
		for _, name := range append(named, "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code") {
			code := robot.post("/oauth2/token", "grant_type", name.(string)).JSON(t)["error"]
			if known := slices.Contains(named, name); (code != "unsupported_grant_type") != known {
				t.Errorf("grant_type %v: error %v, named by discovery: %v", name, code, known)
			}
		}
	})
}

func TestKeySet(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		clients := map[jose.Algorithm]*client{}
		for _, alg := range jose.Signing {
			clients[alg] = w.client(application.New{IDTokenAlg: string(alg)})
		}
		a := w.browser().Visit(w.issuer + "/oauth2/jwks")
		set, err := jose.ParseSet([]byte(a.Body))
		if err != nil || len(set) != 2*len(jose.Signing) {
			t.Fatalf("%d %s %v, want the current and the next key of each algorithm", a.Status, a.Body, err)
		}
		// A client that keeps the key set for as long as it may knows each key that signs.
		age, err := time.ParseDuration(strings.TrimPrefix(a.Header.Get("Cache-Control"), "public, max-age=") + "s")
		if err != nil || 2*age > signingkey.PublishAhead {
			t.Errorf("Cache-Control: %s; keys sign after %s", a.Header.Get("Cache-Control"), signingkey.PublishAhead)
		}
		for _, alg := range jose.Signing {
			late := clients[alg].signedIn(t, w.user)
			if _, err := jose.Verify(late.ID, []string{jose.TypeJWT}, set.Find); err != nil {
				t.Errorf("the first token signed with %s: %v", alg, err)
			}
		}
		c := w.client(application.New{})
		before := c.signedIn(t, w.user)
		if _, err := w.App.Keys.Rotate(ctx, w.c, jose.ES256); err != nil {
			t.Fatal(err)
		}
		// The key that signs now was known before; the one before is still published.
		after := c.signedIn(t, w.user)
		if _, err := jose.Verify(after.ID, []string{jose.TypeJWT}, set.Find); err != nil {
			t.Errorf("who kept the key set cannot check a token signed after the rotation: %v", err)
		}
		w.claims(t, before.ID, jose.TypeJWT)
		if s := w.userinfo(before.Access).Status; s != 200 {
			t.Errorf("a token of the retired key: %d", s)
		}
	})
}

// An application that changes to EdDSA goes on with its earlier algorithm until clients can have
// the key. A key set without EdDSA stays so until an application names it.
func TestAChangeToEdDSALosesNoSignIn(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		set := func() string { return w.browser().Visit(w.issuer + "/oauth2/jwks").Body }
		c := w.client(application.New{IDTokenAlg: "RS256"})
		c.signedIn(t, w.user)
		if body := set(); strings.Contains(body, `"OKP"`) {
			t.Fatalf("nothing needs EdDSA: %s", body)
		}
		algOf := func() any {
			t.Helper()
			_, header := w.claims(t, c.signedIn(t, w.user).ID, jose.TypeJWT)
			return header["alg"]
		}
		owner := w.Holder("acme", role.Owner)
		w.Clock.Advance(time.Minute)
		if a := w.Call(owner, "PATCH", "acme", "/applications/"+c.ID.String(),
			map[string]any{"id_token_alg": "EdDSA"}); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		// The change itself published the key: from here on the ten minutes count.
		if alg := algOf(); alg != "RS256" {
			t.Errorf("signed with %v before clients can have the key", alg)
		}
		if body := set(); strings.Count(body, `"OKP"`) != 2 {
			t.Errorf("the key is not published: %s", body)
		}
		w.Clock.Advance(signingkey.PublishAhead)
		if alg := algOf(); alg != "EdDSA" {
			t.Errorf("signed with %v after ten minutes", alg)
		}
	})
}

// RFC 6749 §5.1, RFC 9700 §2.6: no-store where tokens are; CORS on token, userinfo,
// discovery and JWKS, never on authorize.
func TestHeaders(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		got := c.signedIn(t, w.user)
		_, challenge := pkce()
		b := w.browser()
		b.signIn(w.user)
		for name, tt := range map[string]struct {
			a     world.Answer
			cors  bool
			store bool
		}{
			"token":          {c.refresh(got.Refresh), true, false},
			"token error":    {c.post("/oauth2/token"), true, false},
			"userinfo":       {w.userinfo(got.Access), true, false},
			"userinfo error": {w.userinfo("x"), true, false},
			"introspection":  {c.post("/oauth2/introspect", "token", "x"), true, false},
			"revocation":     {c.post("/oauth2/revoke", "token", "x"), true, false},
			"discovery":      {b.Visit(w.issuer + "/.well-known/openid-configuration"), true, true},
			"jwks":           {b.Visit(w.issuer + "/oauth2/jwks"), true, true},
			"authorize":      {b.Visit(c.authorizeURL(challenge)), false, false},
			"authorize form": {b.Visit(c.authorizeURL(challenge, "response_mode", "form_post")), false, false},
			"authorize page": {b.Visit(c.authorizeURL(challenge, "client_id", "x")), false, false},
			"continue":       {b.Visit(w.issuer + "/oauth2/authorize/continue"), false, false},
			"logout":         {b.Visit(w.issuer + "/oauth2/logout"), false, false},
		} {
			origin, cache := tt.a.Header.Get("Access-Control-Allow-Origin"), tt.a.Header.Get("Cache-Control")
			if (origin == "*") != tt.cors || tt.a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: Access-Control-Allow-Origin %q", name, origin)
			}
			if (cache != "no-store") != tt.store {
				t.Errorf("%s: Cache-Control %q", name, cache)
			}
			if strings.Contains(name, "authorize") && tt.a.Header.Get("Location") != "" &&
				tt.a.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: Referrer-Policy %q", name, tt.a.Header.Get("Referrer-Policy"))
			}
		}
		// Scripts read that there is nothing, and that a method is wrong.
		for address, status := range map[string]int{
			w.issuer + "/oauth2/nothing": 404, w.issuer + "/.well-known/nothing": 404,
			w.Origin + "/.well-known/openid-configuration":          404,
			w.Origin + "/t/nobody/.well-known/openid-configuration": 404,
			w.issuer + "/oauth2/token":                              405,
			w.issuer + "/oauth2/revoke":                             405,
		} {
			a := b.Visit(address)
			if a.Status != status || a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %d %v", address, a.Status, a.Header)
			}
		}
		r, err := http.NewRequest(http.MethodDelete, w.issuer+"/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := b.Send(r); a.Status != 405 || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("DELETE of the metadata: %d %v", a.Status, a.Header)
		}
		for path, allowed := range map[string]bool{"/oauth2/token": true, "/oauth2/userinfo": true,
			"/oauth2/revoke": true, "/oauth2/jwks": true, "/oauth2/introspect": true,
			"/.well-known/openid-configuration": true, "/oauth2/authorize": false, "/oauth2/logout": false} {
			r, err := http.NewRequest(http.MethodOptions, w.issuer+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", "https://app.example.com")
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "authorization,x-client-version")
			if a := b.Send(r); (a.Status == http.StatusNoContent) != allowed ||
				(a.Header.Get("Access-Control-Allow-Origin") == "*") != allowed ||
				(a.Header.Get("Access-Control-Allow-Headers") == "authorization,x-client-version") != allowed ||
				a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("preflight of %s: %d", path, a.Status)
			}
		}
	})
}

// server answers requests without a network, for benchmarks.
func server(b *testing.B) (*scene, func(r *http.Request) int) {
	w := newScene(world.New(b, testkit.Postgres(b)))
	return w, func(r *http.Request) int {
		rec := httptest.NewRecorder()
		w.Handler.ServeHTTP(rec, r)
		return rec.Code
	}
}

func (c *client) request(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, c.w.issuer+path, strings.NewReader(body))
	r.RequestURI = ""
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(c.ClientID, c.Secret.Reveal())
	return r
}

func BenchmarkDiscovery(b *testing.B) {
	w, do := server(b)
	b.ReportAllocs()
	for b.Loop() {
		if s := do(httptest.NewRequest(http.MethodGet, w.issuer+"/.well-known/openid-configuration", nil)); s != 200 {
			b.Fatal(s)
		}
	}
}

func BenchmarkKeySet(b *testing.B) {
	w, do := server(b)
	b.ReportAllocs()
	for b.Loop() {
		if s := do(httptest.NewRequest(http.MethodGet, w.issuer+"/oauth2/jwks", nil)); s != 200 {
			b.Fatal(s)
		}
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	w, do := server(b)
	c := w.client(application.New{Type: application.Machine, Name: "Robot"})
	b.ReportAllocs()
	for b.Loop() {
		if s := do(c.request("/oauth2/token", "grant_type=client_credentials")); s != 200 {
			b.Fatal(s)
		}
	}
}

func BenchmarkIntrospection(b *testing.B) {
	w, do := server(b)
	c := w.client(application.New{Type: application.Machine, Name: "Robot", AccessToken: application.Opaque})
	got := mustTokens(b, c.post("/oauth2/token", "grant_type", "client_credentials"))
	b.ReportAllocs()
	for b.Loop() {
		if s := do(c.request("/oauth2/introspect", "token="+got.Access)); s != 200 {
			b.Fatal(s)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	w, _ := server(b)
	c := w.client(application.New{})
	got := c.signedIn(b, w.user)
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		w.Handler.ServeHTTP(rec, c.request("/oauth2/token", "grant_type=refresh_token&refresh_token="+got.Refresh))
		got = mustTokens(b, world.Answer{Status: rec.Code, Body: rec.Body.String()})
	}
}
