package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// logoutClaims are those of a good logout token about the session s1 of u1, changed by change. A
// nil value removes a claim.
func (p *fakeProvider) logoutClaims(change map[string]any) string {
	claims := map[string]any{
		"iss": p.URL, "aud": "app", "sub": "u1", "sid": "s1", "jti": fmt.Sprint(time.Now().UnixNano()),
		"iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	encoded, _ := json.Marshal(claims)
	return string(encoded)
}

func (p *fakeProvider) logoutToken(change map[string]any) string {
	return oidctest.SignIDToken(p.key, "k", oidc.ES256, p.logoutClaims(change))
}

// Back-Channel Logout §2.6: a good token ends the sessions that it is about, and no other token
// ends any.
func TestBackchannelLogout(t *testing.T) {
	p := newFakeProvider(t)
	p.lie = map[string]any{"sid": "s1"}
	app, client := browser(t, p)
	signIn := func() {
		t.Helper()
		sent := start(t, p, app, client)
		answer := app.URL + "/callback?code=c&state=" + sent.Get("state") + "&iss=" + url.QueryEscape(p.URL)
		if status, body := get(t, client, answer); status != 200 {
			t.Fatalf("not signed in: %d\n%s", status, body)
		}
	}
	signedIn := func() bool {
		t.Helper()
		_, body := get(t, client, app.URL+"/")
		return strings.Contains(body, "Hello")
	}
	send := func(token string) int {
		t.Helper()
		res, err := http.PostForm(app.URL+"/backchannel-logout", url.Values{"logout_token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Error("the answer may be cached")
		}
		return res.StatusCode
	}
	other := newFakeProvider(t)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(p.logoutClaims(nil))) + "."
	idToken, _ := json.Marshal(map[string]any{"iss": p.URL, "aud": "app", "sub": "u1", "sid": "s1", "jti": "j",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()})

	signIn()
	for name, token := range map[string]string{
		"nothing":            "",
		"no JWT":             "x",
		"signed by another":  oidctest.SignIDToken(other.key, "k", oidc.ES256, p.logoutClaims(nil)),
		"alg none":           none,
		"an ID token":        oidctest.SignIDToken(p.key, "k", oidc.ES256, string(idToken)),
		"with a nonce":       p.logoutToken(map[string]any{"nonce": "n"}),
		"another event":      p.logoutToken(map[string]any{"events": map[string]any{"x": map[string]any{}}}),
		"another audience":   p.logoutToken(map[string]any{"aud": "other"}),
		"another issuer":     p.logoutToken(map[string]any{"iss": other.URL}),
		"expired":            p.logoutToken(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}),
		"without an end":     p.logoutToken(map[string]any{"exp": nil}),
		"of yesterday":       p.logoutToken(map[string]any{"iat": time.Now().Add(-24 * time.Hour).Unix()}),
		"of tomorrow":        p.logoutToken(map[string]any{"iat": time.Now().Add(24 * time.Hour).Unix()}),
		"without a time":     p.logoutToken(map[string]any{"iat": nil}),
		"without a name":     p.logoutToken(map[string]any{"jti": nil}),
		"of nothing":         p.logoutToken(map[string]any{"sub": nil, "sid": nil}),
		"as large as a book": p.logoutToken(map[string]any{"x": strings.Repeat("x", maxLogoutBody)}),
	} {
		if status := send(token); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	if !signedIn() {
		t.Fatal("a token that was refused ended the session")
	}

	for name, change := range map[string]map[string]any{
		"another session": {"sid": "s2"}, "another person": {"sub": "u2"},
	} {
		if status := send(p.logoutToken(change)); status != http.StatusOK || !signedIn() {
			t.Errorf("%s: %d, or the session was ended", name, status)
		}
	}
	good := p.logoutToken(nil)
	if status := send(good); status != http.StatusOK || signedIn() {
		t.Fatalf("a good token: %d, or the session goes on", status)
	}
	signIn()
	if status := send(good); status != http.StatusBadRequest || !signedIn() {
		t.Errorf("the same token again: %d, or it ended the next session", status)
	}
	for name, change := range map[string]map[string]any{"sub alone": {"sid": nil}, "sid alone": {"sub": nil}} {
		if status := send(p.logoutToken(change)); status != http.StatusOK || signedIn() {
			t.Errorf("%s: %d, or the session goes on", name, status)
		}
		signIn()
	}
}

func TestTheMemoryOfLogoutTokensIsBounded(t *testing.T) {
	s := &seen{limit: 2, until: map[string]time.Time{}}
	later := time.Now().Add(time.Hour)
	if !s.first("a", later) || s.first("a", later) || !s.first("b", time.Now().Add(-time.Second)) {
		t.Error("a first id is refused, or a second one accepted")
	}
	if !s.first("c", later) || s.first("d", later) {
		t.Error("an expired id takes a place, or a full memory accepts")
	}
}

func TestAnUnknownAddressIsAPage(t *testing.T) {
	p := newFakeProvider(t)
	app, client := browser(t, p)
	if status, body := get(t, client, app.URL+"/favicon"); status != 404 ||
		!strings.Contains(body, "<main id=\"nothing\">") {
		t.Errorf("%d %s", status, body)
	}
}
