package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// Compact serialisation by hand: an attacker writes whatever header they like.
func compact(t testing.TB, header, claims map[string]any, sign func(input []byte) []byte) string {
	t.Helper()
	enc := base64.RawURLEncoding
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := enc.EncodeToString(h) + "." + enc.EncodeToString(c)
	return input + "." + enc.EncodeToString(sign([]byte(input)))
}

// signWith signs as ES256 does (RFC 7518 §3.4).
func signWith(key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	}
}

// with is m changed by kv; a nil value removes a member.
func with(m map[string]any, kv ...any) map[string]any {
	out := maps.Clone(m)
	for i := 0; i < len(kv); i += 2 {
		if out[kv[i].(string)] = kv[i+1]; kv[i+1] == nil {
			delete(out, kv[i].(string))
		}
	}
	return out
}

// RFC 8725: the algorithm comes from the key and never from the header, keys in headers are
// ignored, a kid is found inside the tenant only, and typ is checked.
func TestForgedTokens(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		robot := w.client(application.New{Type: application.Machine, Name: "Robot"})
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout}})
		b := w.browser()
		b.signIn(w.user)
		got := c.tokensIn(t, b)
		// refused shows a token wherever one is believed.
		refused := func(name, token string) {
			t.Helper()
			refusedWith(t, name+" at userinfo", w.userinfo(token), 401, "invalid_token")
			if a := robot.post("/oauth2/introspect", "token", token); a.Body != `{"active":false}`+"\n" {
				t.Errorf("%s at introspection: %s", name, a.Body)
			}
			_, challenge := pkce()
			if q := w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none", "id_token_hint",
				token))); q.Get("error") != "invalid_request" {
				t.Errorf("%s as a hint: %v", name, q)
			}
			toSignOut(t, name+" at logout", b.Visit(w.logoutURL("id_token_hint", token)))
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		enc := base64.RawURLEncoding
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": enc.EncodeToString(point[1:33]),
			"y": enc.EncodeToString(point[33:])}
		published := w.browser().Visit(w.issuer + "/oauth2/jwks").Body
		globex := w.Tenant("globex", nil)
		foreign, err := w.App.Keys.Signer(ctx, globex, jose.ES256, jose.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []struct{ token, typ string }{{got.Access, "at+jwt"}, {got.ID, "JWT"}} {
			claims, header := w.claims(t, kind.token, kind.typ)
			parts := strings.Split(kind.token, ".")
			none := func([]byte) []byte { return nil }
			mac := func(secret []byte) func([]byte) []byte {
				return func(input []byte) []byte {
					m := hmac.New(sha256.New,
						secret)
					m.Write(input)
					return m.Sum(nil)
				}
			}
			foreignToken, err := foreign.Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			for name, token := range map[string]string{
				"alg none":                 compact(t, with(header, "alg", "none"), claims, none),
				"alg None":                 compact(t, with(header, "alg", "None"), claims, none),
				"no alg":                   compact(t, with(header, "alg", nil), claims, none),
				"HS256 with the key set":   compact(t, with(header, "alg", "HS256"), claims, mac([]byte(published))),
				"HS256 with nothing":       compact(t, with(header, "alg", "HS256"), claims, mac(nil)),
				"another key, its kid":     compact(t, header, claims, signWith(key)),
				"another key, no kid":      compact(t, with(header, "kid", nil), claims, signWith(key)),
				"a key in the header":      compact(t, with(header, "jwk", jwk), claims, signWith(key)),
				"a key in the header only": compact(t, with(header, "jwk", jwk, "kid", nil), claims, signWith(key)),
				"a key elsewhere": compact(t, with(header, "jku", "https://evil.example/jwks", "kid", "x"),
					claims, signWith(key)),
				"kid as a path":         compact(t, with(header, "kid", "../../dev/null"), claims, signWith(key)),
				"kid with a NUL":        compact(t, with(header, "kid", "a\x00'--"), claims, signWith(key)),
				"alg of another family": compact(t, with(header, "alg", "EdDSA"), claims, signWith(key)),
				"no signature":          parts[0] + "." + parts[1] + ".",
				"two parts":             parts[0] + "." + parts[1],
				"other claims": parts[0] + "." +
					enc.EncodeToString([]byte(`{"iss":"`+w.issuer+`","sub":"x"}`)) + "." + parts[2],
				"five parts":           kind.token + ".e30.e30",
				"another tenant's key": foreignToken,
			} {
				refused(kind.typ+", "+name, token)
			}
		}
		// One is not the other, whole and well signed as both are.
		refusedWith(t, "an ID token at userinfo", w.userinfo(got.ID), 401, "invalid_token")
		_, challenge := pkce()
		if q := w.response(t, b.Visit(c.authorizeURL(challenge, "id_token_hint",
			got.Access))); q.Get("error") != "invalid_request" {
			t.Errorf("an access token as a hint: %v", q)
		}
		if s := w.userinfo(got.Access).Status; s != 200 {
			t.Fatalf("the token that all were made from is refused: %d", s)
		}
	})
}

// A good signature is not enough: claims that do not hold, clocks that go ahead.
func TestAccessTokenClaims(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		robot := w.client(application.New{Type: application.Machine, Name: "Robot"})
		got := c.signedIn(t, w.user)
		claims, _ := w.claims(t, got.Access, "at+jwt")
		for _, typ := range []string{jose.TypeAccessToken, jose.TypeLogout, jose.TypeJWT} {
			s, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, typ)
			if err != nil {
				t.Fatal(err)
			}
			now := w.Clock.Now()
			in := func(d time.Duration) int64 { return now.Add(d).Unix() }
			for name, tt := range map[string]struct {
				claims map[string]any
				good   bool
			}{
				"as it was":        {claims, true},
				"iat 10 s ahead":   {with(claims, "iat", in(10*time.Second)), true},
				"nbf 10 s ahead":   {with(claims, "nbf", in(10*time.Second)), true},
				"iat 61 s ahead":   {with(claims, "iat", in(61*time.Second)), false},
				"nbf 61 s ahead":   {with(claims, "nbf", in(61*time.Second)), false},
				"expired":          {with(claims, "exp", in(0)), false},
				"no exp":           {with(claims, "exp", nil), false},
				"exp as text":      {with(claims, "exp", "2099"), false},
				"another issuer":   {with(claims, "iss", w.Origin+"/t/globex"), false},
				"issuer, slash":    {with(claims, "iss", w.issuer+"/"), false},
				"no issuer":        {with(claims, "iss", nil), false},
				"no application":   {with(claims, "app", nil), false},
				"app by case":      {with(claims, "app", nil, "App", claims["app"]), false},
				"another grant":    {with(claims, "gid", w.user.ID.String()), false},
				"another app":      {with(claims, "app", robot.ID.String()), false},
				"grant, malformed": {with(claims, "gid", "x'--"), false},
			} {
				token, err := s.Sign(tt.claims)
				if err != nil {
					t.Fatal(err)
				}
				if a := w.userinfo(token); (a.Status == 200) != (tt.good && typ == jose.TypeAccessToken) ||
					a.Status >= 500 {
					t.Errorf("%s, %s: %d %s", typ, name, a.Status, a.Body)
				}
			}
		}
		// The audience is userinfo's own to check; who introspects reads it.
		s, err := w.App.Keys.Signer(ctx, w.c, jose.ES256, jose.TypeAccessToken)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Sign(with(claims, "aud", "https://api.example"))
		if err != nil {
			t.Fatal(err)
		}
		refusedWith(t, "for another audience", w.userinfo(token), 401, "invalid_token")
	})
}
