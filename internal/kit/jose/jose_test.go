package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func newKey(t testing.TB, alg Algorithm) *PrivateKey {
	t.Helper()
	k, err := Generate(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func token(t testing.TB, k *PrivateKey, typ string, claims any) string {
	t.Helper()
	s, err := NewSigner(k, typ)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestSignAndVerify(t *testing.T) {
	for _, alg := range Signing {
		k := newKey(t, alg)
		der, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if k, err = ParsePrivateKey(alg, der); err != nil {
			t.Fatal(err)
		}
		tok := token(t, k, TypeAccessToken, map[string]string{"sub": "x"})
		set := Set{k.Public()}
		j, err := set.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSet(j)
		if err != nil {
			t.Fatalf("%s: %s: %v", alg, j, err)
		}
		if strings.Contains(string(j), `"d"`) {
			t.Errorf("%s: the set holds a private key", alg)
		}
		for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt"} {
			b, err := Verify(tok, []string{typ, ""}, back.Find)
			if (err == nil) != (typ != "application/at+jwt") || err == nil && string(b) != `{"sub":"x"}` {
				t.Errorf("%s, type %s: %s, %v", alg, typ, b, err)
			}
		}
	}
}

// RFC 8725 §3.11: a token of one type is not one of another.
func TestVerifyChecksTheType(t *testing.T) {
	k := newKey(t, ES256)
	find := Set{k.Public()}.Find
	for _, tt := range []struct {
		typ    string
		accept []string
		ok     bool
	}{
		{"JWT", []string{"JWT"}, true},
		{"jwt", []string{"JWT"}, true},
		{"application/at+jwt", []string{"at+jwt"}, true},
		{"JWT", []string{"at+jwt"}, false},
		{"at+jwt", []string{"JWT", ""}, false},
		{"logout+jwt", []string{"JWT", ""}, false},
		{"", []string{"JWT"}, false},
		{"at+jwt", nil, false},
	} {
		if _, err := Verify(token(t, k, tt.typ, 1), tt.accept, find); (err == nil) != tt.ok {
			t.Errorf("typ %q, accepted %q: %v", tt.typ, tt.accept, err)
		}
	}
}

func raw(header, payload string, sig []byte) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(payload)) + "." + e(sig)
}

// RFC 8725 §3.1: the algorithm is the key's, whatever the header says.
func TestVerifyTakesTheAlgorithmFromTheKey(t *testing.T) {
	ec, rs := newKey(t, ES256), newKey(t, RS256)
	types := []string{"JWT", ""}
	find := func(k *PrivateKey) func(string) []PublicKey {
		return func(string) []PublicKey { return []PublicKey{k.Public()} }
	}
	if _, err := Verify(raw(`{"alg":"none"}`, `{}`, nil), types, find(ec)); !errors.Is(err, ErrToken) {
		t.Errorf("none: %v", err)
	}
	// HS256 with the public key as the secret
	pub, err := x509.MarshalPKIXPublicKey(rs.signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{pub, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})} {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Sign([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(tok, types, find(rs)); !errors.Is(err, ErrToken) {
			t.Errorf("HS256: %v", err)
		}
	}
	// the right RSA key, with an algorithm that is not its own
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.PS256, Key: rs.signer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(tok, types, find(rs)); !errors.Is(err, ErrToken) {
		t.Errorf("PS256 with a key of RS256: %v", err)
	}
	// a key that the token itself holds
	s, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: ec.signer}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	if o, err = s.Sign([]byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if tok, err = o.CompactSerialize(); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(tok, types, find(newKey(t, ES256))); !errors.Is(err, ErrToken) {
		t.Errorf("embedded key: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	k, other := newKey(t, ES256), newKey(t, ES256)
	tok := token(t, k, "JWT", map[string]string{"sub": "x"})
	find := Set{k.Public(), other.Public()}.Find
	parts := strings.Split(tok, ".")
	bad := map[string]string{
		"empty":        "",
		"two parts":    parts[0] + "." + parts[1],
		"four parts":   tok + ".x",
		"no signature": parts[0] + "." + parts[1] + ".",
		"another body": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"y"}`)) + "." + parts[2],
		"too long":     tok + strings.Repeat("a", maxToken),
		"JSON form": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] +
			`"}`,
		"unknown kid":    token(t, newKey(t, ES256), "JWT", 1),
		"critical":       raw(`{"alg":"ES256","typ":"JWT","crit":["b64"],"b64":true}`, `{}`, []byte("x")),
		"type, a number": raw(`{"alg":"ES256","typ":1}`, `{}`, []byte("x")),
		"no kid, two keys": func() string {
			signing := jose.SigningKey{Algorithm: jose.ES256, Key: k.signer}
			s, _ := jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT"))
			o, _ := s.Sign([]byte(`{}`))
			c, _ := o.CompactSerialize()
			return c
		}(),
	}
	for name, tok := range bad {
		if b, err := Verify(tok, []string{"JWT", ""}, find); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if _, err := Verify(bad["no kid, two keys"], []string{"JWT"}, Set{k.Public()}.Find); err != nil {
		t.Errorf("no kid, one key: %v", err)
	}
}

func TestParseSetRefuses(t *testing.T) {
	ec := newKey(t, ES256)
	private, _ := json.Marshal(jose.JSONWebKey{Key: ec.signer, KeyID: "k"})
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	big, _ := json.Marshal(jose.JSONWebKey{Key: p384.Public()})
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	small, _ := json.Marshal(jose.JSONWebKey{Key: weak.Public()})
	pub, _ := json.Marshal(jose.JSONWebKey{Key: ec.signer.Public(), KeyID: "a"})
	wrong, _ := json.Marshal(jose.JSONWebKey{Key: ec.signer.Public(), Algorithm: "HS256"})
	enc, _ := json.Marshal(jose.JSONWebKey{Key: ec.signer.Public(), Use: "enc"})
	for name, s := range map[string]string{
		"no JSON":     "x",
		"a list":      "[]",
		"no keys":     "{}",
		"empty":       `{"keys":[]}`,
		"null":        `{"keys":[null]}`,
		"private":     fmt.Sprintf(`{"keys":[%s]}`, private),
		"symmetric":   `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
		"P-384":       fmt.Sprintf(`{"keys":[%s]}`, big),
		"RSA of 1024": fmt.Sprintf(`{"keys":[%s]}`, small),
		"wrong alg":   fmt.Sprintf(`{"keys":[%s]}`, wrong),
		"only enc":    fmt.Sprintf(`{"keys":[%s]}`, enc),
		"same kid":    fmt.Sprintf(`{"keys":[%s,%s]}`, pub, pub),
		"too many":    `{"keys":[` + strings.Repeat("{},", maxSetKeys) + `{}]}`,
		"too long":    `{"keys":[` + strings.Repeat(" ", maxSetBytes) + `]}`,
	} {
		if set, err := ParseSet([]byte(s)); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v, %v", name, set, err)
		}
	}
}

// A claim about a user has a name of its own, whatever encoding/json takes it for.
func TestReadClaimsComparesNamesExactly(t *testing.T) {
	var c struct {
		Claims
		Scope string `json:"scope"`
	}
	if err := ReadClaims([]byte(`{"sub":"ada","\u017fub":"eve","scope":"a","Scope":"b","\u017fcope":"c","exp":7,"Exp":9}`),
		&c); err != nil || c.Subject != "ada" || c.Scope != "a" || c.Expiry != 7 {
		t.Errorf("%+v %v", c, err)
	}
	if err := ReadClaims([]byte(`{"scope":"a","scope":"b"}`), &c); err == nil {
		t.Error("a name twice was read")
	}
}

func TestClaimsCurrent(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) Time { return At(now.Add(d)) }
	for name, tt := range map[string]struct {
		c  Claims
		ok bool
	}{
		"current":           {Claims{Expiry: at(time.Second), IssuedAt: at(0), NotBefore: at(0)}, true},
		"no expiry":         {Claims{IssuedAt: at(0)}, false},
		"expired":           {Claims{Expiry: at(0)}, false},
		"iat 10 s ahead":    {Claims{Expiry: at(time.Hour), IssuedAt: at(10 * time.Second)}, true},
		"iat 61 s ahead":    {Claims{Expiry: at(time.Hour), IssuedAt: at(61 * time.Second)}, false},
		"nbf 10 s ahead":    {Claims{Expiry: at(time.Hour), NotBefore: at(10 * time.Second)}, true},
		"nbf 61 s ahead":    {Claims{Expiry: at(time.Hour), NotBefore: at(61 * time.Second)}, false},
		"expiry at the end": {Claims{Expiry: 1 << 50}, true},
	} {
		if got := tt.c.Current(now); got != tt.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, bad := range []string{`{"exp":"1"}`, `{"exp":-1}`, `{"exp":1e300}`, `{"aud":1}`, `{"aud":[1]}`} {
		var c Claims
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s: accepted as %+v", bad, c)
		}
	}
}

func FuzzVerify(f *testing.F) {
	k := newKey(f, ES256)
	f.Add(token(f, k, "JWT", 1))
	f.Add(raw(`{"alg":"none"}`, `{}`, nil))
	other := newKey(f, ES256)
	f.Fuzz(func(t *testing.T, tok string) {
		b, err := Verify(tok, []string{"JWT", ""}, func(string) []PublicKey { return []PublicKey{other.Public()} })
		if err == nil {
			t.Fatalf("believed %q: %s", tok, b)
		}
	})
}

func FuzzParseSet(f *testing.F) {
	j, _ := Set{newKey(f, ES256).Public(), newKey(f, EdDSA).Public()}.Marshal()
	f.Add(j)
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := ParseSet(b)
		if err != nil {
			return
		}
		if _, err := set.Marshal(); err != nil {
			t.Fatal(err)
		}
	})
}

type accessClaims struct {
	Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func benchClaims() accessClaims {
	now := time.Now()
	return accessClaims{Claims{"https://id.example.com/t/acme", "0198c7a2-7b3e-7c44-a1de-0123456789ab", Audience{"https://id.example.com/t/acme"}, At(now.Add(time.Hour)), 0, At(now), "0198c7a2-7b3e-7c44-a1de-0123456789ab"}, "client", "openid email"}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []Algorithm{ES256, EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			s, err := NewSigner(newKey(b, alg), TypeAccessToken)
			if err != nil {
				b.Fatal(err)
			}
			c := benchClaims()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	k := newKey(b, ES256)
	tok := token(b, k, TypeAccessToken, benchClaims())
	find := Set{k.Public()}.Find
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(tok, []string{TypeAccessToken}, find); err != nil {
			b.Fatal(err)
		}
	}
}
