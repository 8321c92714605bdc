package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func TestClientAuthentication(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Machine, Name: "Robot"})
		grant := []string{"grant_type", "client_credentials"}
		mustTokens(t, c.post("/oauth2/token", grant...))
		// Basic and post carry the same secret.
		plain := *c
		plain.AuthMethod = "by hand"
		mustTokens(t, plain.post("/oauth2/token", append(grant, "client_id", c.ClientID, "client_secret",
			c.Secret.Reveal())...))
		for name, kv := range map[string][]string{
			"no secret":    {"client_id", c.ClientID},
			"wrong secret": {"client_id", c.ClientID, "client_secret", "wrong"},
			"unknown":      {"client_id", "nobody", "client_secret", c.Secret.Reveal()},
			"no client":    {"client_secret", c.Secret.Reveal()},
			"strange id":   {"client_id", "a\"b", "client_secret", c.Secret.Reveal()},
			"jwt for basic": {
				"client_id", c.ClientID, "client_assertion_type", assertionType, "client_assertion", "e30.e30.e30",
			},
		} {
			refusedWith(t, name, plain.post("/oauth2/token", append(grant, kv...)...), 401, "invalid_client")
		}
		// exactly one method
		refusedWith(t, "two methods", c.post("/oauth2/token", append(grant, "client_secret", c.Secret.Reveal())...),
			400, "invalid_request")
		refusedWith(t, "another client_id", c.post("/oauth2/token", append(grant, "client_id", "x")...), 400,
			"invalid_request")
		wrong := *c
		wrong.Secret = "wrong"
		a := wrong.post("/oauth2/token", grant...)
		refusedWith(t, "wrong Basic", a, 401, "invalid_client")
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
		}
		w.disable(c)
		refusedWith(t, "disabled", c.post("/oauth2/token", grant...), 401, "invalid_client")
	})
}

// RFC 7523 §3: audience = issuer, jti used once per tenant.
func TestPrivateKeyJWT(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
			key, err := jose.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			jwks, err := jose.Set{key.Public()}.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			c := w.client(application.New{Type: application.Machine, Name: "Robot", AuthMethod: application.AuthJWT,
				JWKS: jwks})
			n := 0
			sign := func(key *jose.PrivateKey, typ string, change func(map[string]any)) string {
				n++
				now := w.Clock.Now()
				claims := map[string]any{"iss": c.ClientID, "sub": c.ClientID, "aud": w.issuer,
					"jti": fmt.Sprint("j", n),
					"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
				if change != nil {
					change(claims)
				}
				s, err := jose.NewSigner(key, typ)
				if err != nil {
					t.Fatal(err)
				}
				tok, err := s.Sign(claims)
				if err != nil {
					t.Fatal(err)
				}
				return tok
			}
			post := func(assertion string, kv ...string) world.Answer {
				return c.post("/oauth2/token", append([]string{"grant_type", "client_credentials",
					"client_assertion_type", assertionType, "client_assertion", assertion}, kv...)...)
			}
			set := func(name string, v any) func(map[string]any) {
				return func(m map[string]any) {
					if m[name] = v; v == nil {
						delete(m, name)
					}
				}
			}
			good := sign(key, "JWT", nil)
			mustTokens(t, post(good))
			refusedWith(t, "jti again", post(good), 401, "invalid_client")
			mustTokens(t, post(sign(key, "client-authentication+jwt", nil), "client_id", c.ClientID))
			mustTokens(t, post(sign(key, "JWT", set("aud", []string{w.issuer}))))
			mustTokens(t, post(sign(key, "JWT", set("iat", w.Clock.Now().Add(10*time.Second).Unix()))))
			now := w.Clock.Now()
			strange, err := jose.Generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			for name, bad := range map[string]string{
				"another key":          sign(strange, "JWT", nil),
				"type":                 sign(key, "at+jwt", nil),
				"token endpoint":       sign(key, "JWT", set("aud", w.issuer+"/oauth2/token")),
				"two audiences":        sign(key, "JWT", set("aud", []string{w.issuer, "https://other.example"})),
				"another tenant":       sign(key, "JWT", set("aud", w.Origin+"/t/globex")),
				"no audience":          sign(key, "JWT", set("aud", nil)),
				"another issuer":       sign(key, "JWT", set("iss", "x")),
				"another subject":      sign(key, "JWT", func(m map[string]any) { m["sub"] = "x" }),
				"no jti":               sign(key, "JWT", set("jti", nil)),
				"no exp":               sign(key, "JWT", set("exp", nil)),
				"expired":              sign(key, "JWT", set("exp", now.Unix())),
				"lives too long":       sign(key, "JWT", set("exp", now.Add(61*time.Minute).Unix())),
				"iat 61 s ahead":       sign(key, "JWT", set("iat", now.Add(61*time.Second).Unix())),
				"nbf 61 s ahead":       sign(key, "JWT", set("nbf", now.Add(61*time.Second).Unix())),
				"jti with a NUL":       sign(key, "JWT", set("jti", "a\x00")),
				"jti, long":            sign(key, "JWT", set("jti", strings.Repeat("j", 300))),
				"nonsense":             "nonsense",
				"claims that are none": sign(key, "JWT", set("exp", "soon")),
			} {
				refusedWith(t, name, post(bad, "client_id", c.ClientID), 401, "invalid_client")
			}
			// By a clock that is ahead of ours, an hour is a few seconds more.
			mustTokens(t, post(sign(key, "JWT", set("exp", now.Add(time.Hour+20*time.Second).Unix()))))
			// A client that proved who it is is told why; the audit log always says it.
			w.Clock.Advance(20 * time.Minute) // for the bound on such events
			now, good = w.Clock.Now(), sign(key, "JWT", nil)
			mustTokens(t, post(good))
			for name, tt := range map[string]struct {
				assertion, why string
				told           bool
			}{
				"two hours": {sign(key, "JWT", set("exp", now.Add(2*time.Hour).Unix())),
					"at most 3600 are accepted", true},
				"token endpoint": {sign(key, "JWT", set("aud", w.issuer+"/oauth2/token")), "issuer " + w.issuer +
					" alone", true},
				"used":        {good, "jti was used before", true},
				"another key": {sign(strange, "JWT", nil), "by no key of the application", false},
			} {
				a := post(tt.assertion)
				if told := strings.Contains(a.Body, tt.why); told != tt.told {
					t.Errorf("%s: the client is told: %t (%s)", name, told, a.Body)
				}
				found := w.events(audit.Filter{RequestID: a.Header.Get("X-Request-Id")})
				if len(found) != 1 || found[0].Action != "client.refuse" || found[0].Target.ID != c.ID.String() ||
					found[0].Target.Name != c.Name || !strings.Contains(string(found[0].Detail), tt.why) {
					t.Errorf("%s: %+v", name, found)
				}
			}
			refusedWith(t, "no assertion", c.post("/oauth2/token", "grant_type", "client_credentials", "client_id",
				c.ClientID), 401, "invalid_client")
			refusedWith(t, "a secret instead", c.post("/oauth2/token", "grant_type", "client_credentials",
				"client_id", c.ClientID, "client_secret", "x"), 401, "invalid_client")

			once := sign(key, "JWT", nil)
			var wg sync.WaitGroup
			var mu sync.Mutex
			status := map[int]int{}
			for range 16 {
				wg.Go(func() {
					a := post(once)
					mu.Lock()
					status[a.Status]++
					mu.Unlock()
				})
			}
			wg.Wait()
			if status[200] != 1 || status[401] != 15 {
				t.Errorf("of 16 with one jti: %v", status)
			}
		}
	})
}

// Some libraries send only the token endpoint as the audience. An application says that its does.
func TestTheTokenEndpointAsAudience(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		key, err := jose.Generate(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		jwks, err := jose.Set{key.Public()}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(key, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		own, err := url.Parse(w.Origin)
		if err != nil {
			t.Fatal(err)
		}
		domain := "http://login.acme.test:" + own.Port()
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &[]string{"login.acme.test"}})
			return err
		})
		token, n := w.issuer+"/oauth2/token", 0
		strict := w.client(application.New{Type: application.Machine, AuthMethod: application.AuthJWT, JWKS: jwks})
		lenient := w.client(application.New{Type: application.Machine, AuthMethod: application.AuthJWT, JWKS: jwks,
			TokenEndpointAudience: true})
		for name, tt := range map[string]struct {
			aud             any
			strict, lenient bool
		}{
			"the issuer":                  {w.issuer, true, true},
			"another base of the tenant":  {domain, true, true},
			"the token endpoint":          {token, false, true},
			"its other address":           {domain + "/oauth2/token", false, true},
			"both":                        {[]string{w.issuer, token}, false, true},
			"two of its bases":            {[]string{w.issuer, domain}, false, true},
			"neither":                     {[]string{}, false, false},
			"another endpoint":            {w.issuer + "/oauth2/introspect", false, false},
			"another tenant's":            {w.Base("globex") + "/oauth2/token", false, false},
			"one more":                    {[]string{w.issuer, token, "https://other.example"}, false, false},
			"a stranger's":                {[]string{token, "https://other.example"}, false, false},
			"the path alone":              {"/oauth2/token", false, false},
			"the token endpoint, slashed": {token + "/", false, false},
		} {
			for c, want := range map[*client]bool{strict: tt.strict, lenient: tt.lenient} {
				n++
				now := w.Clock.Now()
				assertion, err := signer.Sign(map[string]any{"iss": c.ClientID, "sub": c.ClientID, "aud": tt.aud,
					"jti": fmt.Sprint(n), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
				if err != nil {
					t.Fatal(err)
				}
				a := c.post("/oauth2/token", "grant_type", "client_credentials", "client_assertion_type",
					assertionType, "client_assertion", assertion)
				if (a.Status == 200) != want {
					t.Errorf("%s, switched on %t: %d %s", name, c == lenient, a.Status, a.Body)
				}
			}
		}
	})
}

// A secret that an application has none to compare with is said to be wrong for that reason.
func TestASecretOfAnApplicationThatHasNone(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		key, err := jose.Generate(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		jwks, err := jose.Set{key.Public()}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{
			w.client(application.New{Type: application.SPA}),
			w.client(application.New{Type: application.Machine, AuthMethod: application.AuthJWT, JWKS: jwks}),
		} {
			for _, basic := range []bool{true, false} {
				r := form(w, "/oauth2/token", "grant_type", "client_credentials", "client_id", c.ClientID,
					"client_secret", "a secret")
				if basic {
					r = form(w, "/oauth2/token", "grant_type", "client_credentials")
					r.SetBasicAuth(c.ClientID, "a secret")
				}
				a := w.Send(r)
				refusedWith(t, string(c.Type), a, 401, "invalid_client")
				if !strings.Contains(a.Body, "has no secret") {
					t.Errorf("%s: %s", c.Type, a.Body)
				}
			}
		}
	})
}

func TestClientCredentials(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{Type: application.Machine, Name: "Robot",
				Scopes: []string{"a:read", "a:write"}, AccessToken: form})
			got := mustTokens(t, c.post("/oauth2/token", "grant_type", "client_credentials"))
			if got.Scope != "a:read a:write" || got.Refresh != "" || got.ID != "" || got.Expires != 600 {
				t.Errorf("%s: %+v", form, got)
			}
			if form == application.JWT {
				at, _ := w.claims(t, got.Access, "at+jwt")
				if at["sub"] != c.ID.String() || at["client_id"] != c.ClientID || at["aud"] != w.issuer {
					t.Errorf("%v", at)
				}
			}
			if got := mustTokens(t, c.post("/oauth2/token", "grant_type", "client_credentials", "scope",
				"a:write")); got.Scope != "a:write" {
				t.Errorf("narrowed: %+v", got)
			}
			refusedWith(t, "more scope", c.post("/oauth2/token", "grant_type", "client_credentials", "scope",
				"a:read b:read"), 400, "invalid_scope")
			refusedWith(t, "openid", c.post("/oauth2/token", "grant_type", "client_credentials", "scope", "openid"),
				400, "invalid_scope")
			refusedWith(t, "a machine at userinfo", w.userinfo(got.Access), 401, "invalid_token")
		}
		web := w.client(application.New{})
		refusedWith(t, "a web application", web.post("/oauth2/token", "grant_type", "client_credentials"), 400,
			"unauthorized_client")
		spa := w.client(application.New{Type: application.SPA})
		refusedWith(t, "a public one", spa.post("/oauth2/token", "grant_type", "client_credentials"), 400,
			"unauthorized_client")
	})
}

// RFC 6749 §3.2: a body that is not a form, or repeats a parameter, is refused.
func TestTokenRequestsThatCannotBeRead(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Machine, Name: "Robot"})
		send := func(method, contentType, body string) world.Answer {
			r, err := http.NewRequest(method, w.issuer+"/oauth2/token", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if contentType != "" {
				r.Header.Set("Content-Type", contentType)
			}
			r.SetBasicAuth(c.ClientID, c.Secret.Reveal())
			return w.browser().Send(r)
		}
		const form = "application/x-www-form-urlencoded"
		for name, a := range map[string]world.Answer{
			"JSON":            send("POST", "application/json", `{"grant_type":"client_credentials"}`),
			"no type":         send("POST", "", "grant_type=client_credentials"),
			"twice":           send("POST", form, "grant_type=client_credentials&grant_type=client_credentials"),
			"not decodable":   send("POST", form, "grant_type=%zz"),
			"not UTF-8":       send("POST", form, "grant_type=%ff"),
			"NUL":             send("POST", form, "grant_type=%00"),
			"too many":        send("POST", form, "grant_type=client_credentials"+strings.Repeat("&a=1", 100)),
			"too long":        send("POST", form, "grant_type=client_credentials&a="+strings.Repeat("x", 1<<16)),
			"empty":           send("POST", form, ""),
			"larger than any": send("POST", form, strings.Repeat("x", 2<<20)),
		} {
			refusedWith(t, name, a, 400, "invalid_request")
		}
		if a := send("GET", "", ""); a.Status != http.StatusMethodNotAllowed {
			t.Errorf("GET: %d", a.Status)
		}
		// Parameters in the query are ignored, because logs would have the secrets.
		r, _ := http.NewRequest("POST", w.issuer+"/oauth2/token?"+url.Values{"grant_type": {"client_credentials"},
			"client_id": {c.ClientID}, "client_secret": {c.Secret.Reveal()}}.Encode(), strings.NewReader(""))
		r.Header.Set("Content-Type", form)
		refusedWith(t, "in the query", w.browser().Send(r), 401, "invalid_client")
	})
}

// A secret that only looks like one of ours opens nothing.
func TestForgedClientSecret(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Machine, Name: "Robot"})
		other, _ := secret.NewToken(secret.ClientSecret, w.c.Tenant)
		c.Secret = other
		refusedWith(t, "a secret of the right form", c.post("/oauth2/token", "grant_type", "client_credentials"), 401,
			"invalid_client")
	})
}
