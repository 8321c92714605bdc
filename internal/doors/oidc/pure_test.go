package oidc

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

func TestParseQuery(t *testing.T) {
	p, err := parseQuery("a=1&b=&c=x&c=y&d=%20z")
	if err != nil {
		t.Fatal(err)
	}
	if p.get("a") != "1" || p.get("d") != " z" || p.has("b") || p.has("c") || p.repeated != "c" {
		t.Errorf("%+v", p)
	}
	for name, q := range map[string]string{
		"not UTF-8":      "a=%ff",
		"NUL":            "a=%00",
		"escape":         "a=%1b",
		"bad escape":     "a=%zz",
		"control name":   "%01=a",
		"too many":       strings.Repeat("a=1&", maxParams+1),
		"too long":       "a=" + strings.Repeat("x", maxValue+1),
		"too long claim": "claims=" + strings.Repeat("x", maxLongValue+1),
		"long name":      strings.Repeat("n", maxName+1) + "=1",
	} {
		if p, err := parseQuery(q); err == nil {
			t.Errorf("%s: accepted as %d parameters", name, len(p.values))
		}
	}
	if _, err := parseQuery("claims=" + strings.Repeat("x", maxLongValue)); err != nil {
		t.Errorf("a long claims parameter: %v", err)
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("client_id=a&redirect_uri=https%3A%2F%2Fa.example%2Fcb&scope=openid&claims=%7B%7D")
	f.Add("a=1&a=2")
	f.Fuzz(func(t *testing.T, q string) {
		p, err := parseQuery(q)
		if err != nil {
			return
		}
		want, err := url.ParseQuery(q)
		if err != nil {
			t.Fatalf("%q: accepted, but url.ParseQuery says %v", q, err)
		}
		for name, v := range p.values {
			if len(want[name]) != 1 || want[name][0] != v || v == "" || !printable(v) {
				t.Fatalf("%q: %s = %q", q, name, v)
			}
		}
		if p.repeated != "" && len(want[p.repeated]) < 2 {
			t.Fatalf("%q: %s came once", q, p.repeated)
		}
	})
}

func TestWords(t *testing.T) {
	w, err := words("openid  email openid", 2+1)
	if err != nil || strings.Join(w, ",") != "openid,email" {
		t.Errorf("%v, %v", w, err)
	}
	if _, err := words("a b c", 2); err == nil {
		t.Error("too many words accepted")
	}
}

// RFC 7636 Appendix B.
func TestChallenge(t *testing.T) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if !validChallenge(challenge) || !verifyChallenge(challenge, verifier) {
		t.Fatal("the example of the RFC is refused")
	}
	for _, v := range []string{"", challenge, verifier + "x", verifier[:42], strings.Repeat("a", 129),
		strings.Replace(verifier, "d", "+", 1)} {
		if verifyChallenge(challenge, v) {
			t.Errorf("verifier %q accepted", v)
		}
	}
	if verifyChallenge(verifier, verifier) {
		t.Error("plain is accepted")
	}
	for _, c := range []string{"", challenge[1:], challenge + "a", strings.Replace(challenge, "-", "+", 1),
		challenge[:42] + "d"} {
		if validChallenge(c) {
			t.Errorf("challenge %q accepted", c)
		}
	}
}

func TestParseClaims(t *testing.T) {
	c, err := parseClaims(`{"userinfo":{"email":null,"name":{"essential":true}},"id_token":{"acr":{"values":["aal2",` +
		`1]},"sub":{"value":"u"}},"other":1}`)
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := c.Userinfo["email"]; !ok || w.Essential {
		t.Errorf("null: %+v, %v", w, ok)
	}
	if !c.Userinfo["name"].Essential || strings.Join(c.IDToken["acr"].strings(), ",") != "aal2" {
		t.Errorf("%+v", c)
	}
	if _, there := c.IDToken["email"]; there {
		t.Error("the two halves run into one another")
	}
	if sub, ok := c.subject(); sub != "u" || !ok {
		t.Errorf("subject %q, %v", sub, ok)
	}
	for _, bad := range []string{"x", "[]", "null", `"a"`, `{"userinfo":[]}`, `{"userinfo":{"a":1}}`,
		`{"id_token":{"":null}}`,
		`{"id_token":{"a":{"essential":"yes"}}}`, `{"id_token":{` + strings.Repeat(`"a":null,`, 10) + `}}`,
		strings.Repeat(`{"id_token":`, 5000)} {
		if c, err := parseClaims(bad); err == nil {
			t.Errorf("%.60s: accepted as %+v", bad, c)
		}
	}
	for _, s := range []string{`{"id_token":{"sub":{"value":1}}}`,
		`{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"value":"b"}}}`} {
		c, err := parseClaims(s)
		if err != nil {
			t.Fatal(err)
		}
		if sub, ok := c.subject(); ok {
			t.Errorf("%s: subject %q", s, sub)
		}
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add(`{"userinfo":{"email":null},"id_token":{"acr":{"values":["aal2"]}}}`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseClaims(s)
		if err == nil {
			c.subject()
		}
	})
}

// RFC 6749 §2.3: exactly one method; §2.3.1: both halves of Basic are form-encoded.
func TestParseClientAuth(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	jwt := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"j"}`)) + ".x"
	post := func(kv ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return v
	}
	for name, tt := range map[string]struct {
		header string
		form   url.Values
		want   presented
		code   string
	}{
		"basic": {
			basic("a%3Ab:c%2Bd+e"), nil, presented{method: application.AuthBasic, clientID: "a:b", secret: "c+d e",
				plain: "c%2Bd+e"},
			"",
		},
		"basic, lower case": {
			"basic " + basic("a:b")[6:], nil,
			presented{method: application.AuthBasic, clientID: "a", secret: "b", plain: "b"},
			"",
		},
		"basic and same id": {
			basic("a:b"), post("client_id", "a"),
			presented{method: application.AuthBasic, clientID: "a", secret: "b", plain: "b"}, "",
		},
		"post": {
			"", post("client_id", "a", "client_secret", "b"),
			presented{method: application.AuthPost, clientID: "a", secret: "b"}, "",
		},
		"none": {
			"", post("client_id", "a"), presented{method: application.AuthNone, clientID: "a"}, "",
		},
		"jwt": {
			"", post("client_assertion_type", assertionType, "client_assertion", jwt),
			presented{method: application.AuthJWT, clientID: "j", assertion: jwt}, "",
		},
		"jwt and id": {
			"", post("client_assertion_type", assertionType, "client_assertion", jwt, "client_id", "k"),
			presented{method: application.AuthJWT, clientID: "k", assertion: jwt}, "",
		},
		"nobody": {"", nil, presented{}, codeInvalidClient},
		"basic and post": {
			basic("a:b"), post("client_id", "a", "client_secret", "b"), presented{}, codeInvalidRequest,
		},
		"basic and jwt": {
			basic("a:b"), post("client_assertion_type", assertionType, "client_assertion", jwt), presented{},
			codeInvalidRequest,
		},
		"post and jwt": {
			"",
			post("client_id", "a", "client_secret", "b", "client_assertion_type", assertionType, "client_assertion",
				jwt),
			presented{}, codeInvalidRequest,
		},
		"basic and another id": {basic("a:b"), post("client_id", "c"), presented{}, codeInvalidRequest},
		"bearer":               {"Bearer x", post("client_id", "a"), presented{}, codeInvalidClient},
		"basic, no base64":     {"Basic %%", nil, presented{}, codeInvalidClient},
		"basic, no colon":      {basic("ab"), nil, presented{}, codeInvalidClient},
		"basic, bad escape":    {basic("a%zz:b"), nil, presented{}, codeInvalidClient},
		"basic, control":       {basic("a%00:b"), nil, presented{}, codeInvalidClient},
		"jwt of another type": {
			"", post("client_assertion_type", "saml", "client_assertion", jwt), presented{}, codeInvalidRequest,
		},
		"type without jwt": {
			"", post("client_assertion_type", assertionType, "client_id", "a"), presented{}, codeInvalidRequest,
		},
		"jwt that is no JWT": {
			"", post("client_assertion_type", assertionType, "client_assertion", "x"), presented{}, codeInvalidClient,
		},
		"secret without an id":  {"", post("client_secret", "b"), presented{}, codeInvalidClient},
		"basic with empty user": {basic(":b"), nil, presented{}, codeInvalidClient},
	} {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		p, err := paramsOf(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseClientAuth(r, p)
		if tt.code != "" {
			if e, ok := errors.AsType[*apiError](err); !ok || e.code != tt.code {
				t.Errorf("%s: err = %v, want %s", name, err, tt.code)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v %q, %v", name, got, got.secret.Reveal(), err)
		}
	}
}

func FuzzParseBasic(f *testing.F) {
	f.Add("Basic YTpi")
	f.Fuzz(func(t *testing.T, h string) {
		if c, ok := parseBasic(h); ok && (c.clientID == "" || !printable(c.clientID)) {
			t.Fatalf("%q: client %q", h, c.clientID)
		}
	})
}

// RFC 9207: iss on every response; the redirect URI's own query is kept.
func TestSend(t *testing.T) {
	const iss = "https://id.example.com/t/acme"
	for _, tt := range []struct {
		to   target
		want string
	}{
		{
			target{URI: "https://a.example/cb", Mode: modeQuery, State: "s t&x"},
			"https://a.example/cb?code=c&iss=https%3A%2F%2Fid.example.com%2Ft%2Facme&state=s%20t%26x",
		},
		{
			target{URI: "https://a.example/cb?x=1", Mode: modeQuery},
			"https://a.example/cb?x=1&code=c&iss=https%3A%2F%2Fid.example.com%2Ft%2Facme",
		},
		{
			target{URI: "com.example.app:/cb", Mode: modeQuery},
			"com.example.app:/cb?code=c&iss=https%3A%2F%2Fid.example.com%2Ft%2Facme",
		},
		{
			target{URI: "https://a.example/cb", Mode: modeFragment},
			"https://a.example/cb#code=c&iss=https%3A%2F%2Fid.example.com%2Ft%2Facme",
		},
	} {
		w := httptest.NewRecorder()
		tt.to.send(w, iss, map[string]string{"code": "c"})
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != tt.want {
			t.Errorf("%d %s, want %s", w.Code, got, tt.want)
		}
	}
	w := httptest.NewRecorder()
	target{URI: `com.example.app:/cb?a="><script>`, Mode: modeFormPost, State: `"><script>alert(1)</script>`}.send(w,
		iss, map[string]string{"code": "c"})
	body := w.Body.String()
	if w.Code != http.StatusOK || strings.Count(body, "<script>") != 1 ||
		!strings.Contains(body, `name="iss" value="`+iss+`"`) ||
		!strings.Contains(body, `name="code" value="c"`) || !strings.Contains(body, `action="com.example.app:/cb`) {
		t.Errorf("%d %s", w.Code, body)
	}
}

// A secret counts as it came too: curl -u does not form-encode it.
func TestBasicWithoutFormEncoding(t *testing.T) {
	for secret, decoded := range map[string]string{
		"ab+cd/ef==": "ab cd/ef==", "100%": "100%", "a%2Bb": "a+b", "": "",
	} {
		c, ok := parseBasic("Basic " + base64.StdEncoding.EncodeToString([]byte("id:"+secret)))
		if !ok || c.plain.Reveal() != secret || c.secret.Reveal() != decoded {
			t.Errorf("%q: %t, %q and %q", secret, ok, c.plain.Reveal(), c.secret.Reveal())
		}
	}
}
