package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

func TestCodeFlow(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		algs := []string{"ES256", "EdDSA", "RS256"}
		clients := make([]*client, len(algs)) // created before the tenant's keys
		for i, alg := range algs {
			clients[i] = w.client(application.New{IDTokenAlg: alg})
		}
		for i, alg := range algs {
			c := clients[i]
			got := c.signedIn(t, w.user)
			if got.Type != "Bearer" || got.Expires != 600 || got.Scope != "openid profile email offline_access" ||
				got.Refresh == "" {
				t.Errorf("%+v", got)
			}
			id, header := w.claims(t, got.ID, "JWT")
			if header["alg"] != alg || id["iss"] != w.issuer || id["aud"] != c.ClientID ||
				id["sub"] != w.user.ID.String() || id["nonce"] != "n-1" ||
				id["acr"] != "aal1" || id["auth_time"] != float64(w.Clock.Now().Unix()) || id["sid"] == nil ||
				id["at_hash"] == nil || id["email"] != "ada@example.com" {
				t.Errorf("ID token: %v %v", header, id)
			}
			// RFC 9068
			at, header := w.claims(t, got.Access, "at+jwt")
			if header["typ"] != "at+jwt" || at["iss"] != w.issuer || at["aud"] != w.issuer ||
				at["sub"] != w.user.ID.String() || at["client_id"] != c.ClientID ||
				at["scope"] != got.Scope || at["jti"] == nil || at["exp"].(float64)-at["iat"].(float64) != 600 {
				t.Errorf("access token: %v %v", header, at)
			}
		}
	})
}

// RFC 6749 §4.1.2, §10.5: replay revokes what the code gave.
func TestCodeReplayRevokes(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{AccessToken: form})
			code, verifier := c.code(t, w.user)
			got := c.redeem(t, code, verifier)
			if s := w.userinfo(got.Access).Status; s != http.StatusOK {
				t.Fatalf("%s: userinfo %d", form, s)
			}
			refusedWith(t, "replay", c.post("/oauth2/token", "grant_type", "authorization_code", "code", code,
				"redirect_uri", redirectURI, "code_verifier", verifier), 400, "invalid_grant")
			refusedWith(t, "its refresh token", c.refresh(got.Refresh), 400, "invalid_grant")
			refusedWith(t, "its access token", w.userinfo(got.Access), 401, "invalid_token")
			if !slices.Contains(w.actions(), "code.replay") {
				t.Error("the replay was not audited")
			}
		}
	})
}

// The rules are asked at every use: a code too gives nothing to a person whom they refuse.
func TestACodeGivesNothingOnceTheRulesRefuse(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		owner := w.Holder("acme", role.Owner)
		code, verifier := c.code(t, w.user)
		redeem := func() world.Answer {
			return c.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "redirect_uri",
				redirectURI, "code_verifier", verifier)
		}
		rules := func(block []any) {
			w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"signin": map[string]any{"block": block}})
		}
		rules([]any{map[string]any{"applications": []any{c.ID}}})
		before := len(w.actions())
		refusedWith(t, "blocked", redeem(), 400, "invalid_grant")
		if n := len(w.actions()) - before; n != 1 || !slices.Contains(w.actions(), "token_request.refuse") ||
			slices.Contains(w.actions(), "grant.create") {
			t.Errorf("nothing was given, and the audit log has %d more events, want the refusal: %v", n, w.actions())
		}
		rules([]any{})
		refusedWith(t, "the same code, once it is allowed again", redeem(), 400, "invalid_grant")
		code, verifier = c.code(t, w.user)
		c.redeem(t, code, verifier)
	})
}

func TestCodeHasOneRedeemer(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		code, verifier := c.code(t, w.user)
		var wg sync.WaitGroup
		var mu sync.Mutex
		status := map[int]int{}
		for range 16 {
			wg.Go(func() {
				a := c.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "redirect_uri",
					redirectURI, "code_verifier", verifier)
				mu.Lock()
				status[a.Status]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if status[200] != 1 || status[400] != 15 {
			t.Errorf("of 16 redeemers: %v", status)
		}
	})
}

func TestCodeIsRefused(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c, other := w.client(application.New{}), w.client(application.New{Name: "Other"})
		form := func(code, verifier string, kv ...string) []string {
			return append([]string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI,
				"code_verifier", verifier}, kv...)
		}
		code, verifier := c.code(t, w.user)
		// The client is authenticated first: a stranger does not consume the code.
		stranger := *c
		stranger.Secret = "gh_wrong"
		refusedWith(t, "wrong secret", stranger.post("/oauth2/token", form(code, verifier)...), 401, "invalid_client")
		refusedWith(t, "another client", other.post("/oauth2/token", form(code, verifier)...), 400, "invalid_grant")
		c.redeem(t, code, verifier) // neither has spent it

		// RFC 9700 §2.1: redirect_uri again, byte for byte, if it is sent.
		for _, uri := range []string{redirectURI + "/", redirectURI + "?", strings.ToUpper(redirectURI),
			"https://evil.example"} {
			code, verifier = c.code(t, w.user)
			refusedWith(t, "redirect_uri "+uri, c.post("/oauth2/token", form(code, verifier, "redirect_uri", uri)...),
				400, "invalid_grant")
			refusedWith(t, "after a wrong redirect_uri", c.post("/oauth2/token", form(code, verifier)...), 400,
				"invalid_grant")
		}
		// RFC 7636 §4.6
		otherVerifier, challenge := pkce()
		for _, v := range []string{"", otherVerifier, challenge} {
			code, verifier = c.code(t, w.user)
			refusedWith(t, "verifier "+v, c.post("/oauth2/token", form(code, v)...), 400, "invalid_grant")
			refusedWith(t, "after a wrong verifier", c.post("/oauth2/token", form(code, verifier)...), 400,
				"invalid_grant")
		}
		// RFC 9700 §4.8.2: a verifier without a stored challenge.
		code, _ = c.code(t, w.user, "code_challenge", "", "code_challenge_method", "")
		refusedWith(t, "verifier without challenge", c.post("/oauth2/token", form(code, verifier)...), 400,
			"invalid_grant")
		code, _ = c.code(t, w.user, "code_challenge", "", "code_challenge_method", "")
		c.redeem(t, code, "")

		code, verifier = c.code(t, w.user)
		w.Clock.Advance(grant.CodeLifetime)
		refusedWith(t, "after 60 s", c.post("/oauth2/token", form(code, verifier)...), 400, "invalid_grant")
		w.Clock.Advance(-grant.CodeLifetime)

		refusedWith(t, "no code", c.post("/oauth2/token", "grant_type", "authorization_code"), 400, "invalid_request")
		refusedWith(t, "no token at all", c.post("/oauth2/token", form("nonsense", verifier)...), 400, "invalid_grant")
		refusedWith(t, "unknown grant type", c.post("/oauth2/token", "grant_type", "password"), 400,
			"unsupported_grant_type")
		refusedWith(t, "no grant type", c.post("/oauth2/token"), 400, "invalid_request")
	})
}

// RFC 9700 §4.14: rotation, a grace in which the same successor is returned, and
// revocation of the family after it.
func TestRefresh(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c, other := w.client(application.New{}), w.client(application.New{Name: "Other"})
		first := c.signedIn(t, w.user)
		refusedWith(t, "another client", other.refresh(first.Refresh), 400, "invalid_grant")

		w.Clock.Advance(10 * time.Minute)
		second := mustTokens(t, c.refresh(first.Refresh))
		if second.Refresh == first.Refresh || second.Refresh == "" {
			t.Fatal("the refresh token was not rotated")
		}
		// Core §12.2: auth_time is that of the sign-in; nonce is not repeated.
		before, _ := w.claims(t, first.ID, "JWT")
		after, _ := w.claims(t, second.ID, "JWT")
		if after["auth_time"] != before["auth_time"] || after["sub"] != before["sub"] ||
			after["iat"] == before["iat"] || after["nonce"] != nil {
			t.Errorf("ID token of the refresh: %v, before %v", after, before)
		}
		w.Clock.Advance(grant.Grace)
		if tab := mustTokens(t, c.refresh(first.Refresh)); tab.Refresh != second.Refresh {
			t.Error("a parallel tab got another successor")
		}
		w.Clock.Advance(time.Second)
		refusedWith(t, "after the grace", c.refresh(first.Refresh), 400, "invalid_grant")
		refusedWith(t, "the family", c.refresh(second.Refresh), 400, "invalid_grant")
		refusedWith(t, "its access token", w.userinfo(second.Access), 401, "invalid_token")
		if !slices.Contains(w.actions(), "token.replay") {
			t.Error("the reuse was not audited")
		}

		// scope: a ceiling
		got := c.signedIn(t, w.user, "scope", "openid email offline_access")
		refusedWith(t, "more scope", c.refresh(got.Refresh, "scope", "openid profile"), 400, "invalid_scope")
		narrow := mustTokens(t, c.refresh(got.Refresh, "scope", "email"))
		if narrow.Scope != "email" || narrow.ID != "" {
			t.Errorf("narrowed: %+v", narrow)
		}
		if wide := mustTokens(t, c.refresh(narrow.Refresh)); wide.Scope != "openid email offline_access" {
			t.Errorf("after narrowing: %q", wide.Scope)
		}
		refusedWith(t, "nothing", c.refresh(""), 400, "invalid_request")
		refusedWith(t, "an access token", c.refresh(got.Access), 400, "invalid_grant")
	})
}

// A scope that was taken from the application is in no token of older grants.
func TestScopesThatWereTaken(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		for _, form := range []application.AccessToken{application.JWT, application.Opaque} {
			c := w.client(application.New{Scopes: []string{"email", "profile"}, AccessToken: form})
			got := c.signedIn(t, w.user, "scope", "openid email profile")
			code, verifier := c.code(t, w.user, "scope", "openid email profile")
			w.Do(w.c, func(tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, role.Everything(), c.ID,
					application.Patch{Scopes: &[]string{"profile"}})
				return err
			})
			if next := c.redeem(t, code, verifier); next.Scope != "openid profile" {
				t.Errorf("%s, code: %q", form, next.Scope)
			}
			refusedWith(t, "asked for by name", c.refresh(got.Refresh, "scope", "email"), 400, "invalid_scope")
			next := mustTokens(t, c.refresh(got.Refresh))
			if next.Scope != "openid profile" {
				t.Errorf("%s, refresh: %q", form, next.Scope)
			}
			if info := w.userinfo(next.Access).JSON(t); info["email"] != nil || info["given_name"] != "Ada" {
				t.Errorf("%s: %v", form, info)
			}
		}
	})
}

func TestRefreshHasOneSuccessor(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{AccessToken: application.Opaque})
		got := c.signedIn(t, w.user)
		var wg sync.WaitGroup
		var mu sync.Mutex
		successors := map[string]int{}
		for range 16 {
			wg.Go(func() {
				a := c.refresh(got.Refresh)
				mu.Lock()
				defer mu.Unlock()
				if a.Status != 200 {
					t.Errorf("%d %s", a.Status, a.Body)
					return
				}
				successors[mustTokens(t, a).Refresh]++
			})
		}
		wg.Wait()
		if len(successors) != 1 {
			t.Errorf("%d successors", len(successors))
		}
	})
}

// FAPI 2.0 §5.3.2.1 forbids routine rotation: per application, for those with a secret.
func TestRefreshWithoutRotation(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{NoRotation: true})
		got := c.signedIn(t, w.user)
		for range 3 {
			w.Clock.Advance(time.Hour)
			if next := mustTokens(t, c.refresh(got.Refresh)); next.Refresh != got.Refresh {
				t.Error("rotated")
			}
		}
	})
}

// Some clients cannot bind the code. An application says that its cannot.
func TestAnUnboundCode(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		unbound := []string{"code_challenge", "", "code_challenge_method", "", "nonce", ""}
		strict := w.client(application.New{})
		lenient := w.client(application.New{AllowUnboundCode: true})
		for name, tt := range map[string]struct {
			c  *client
			kv []string
			ok bool
		}{
			"switched off":         {strict, unbound, false},
			"switched on":          {lenient, unbound, true},
			"without openid":       {lenient, append([]string{"scope", "profile"}, unbound...), true},
			"a challenge of plain": {lenient, []string{"code_challenge_method", "plain"}, false},
			"a short challenge":    {lenient, []string{"code_challenge", "short"}, false},
			"only the method":      {lenient, []string{"code_challenge", ""}, false},
		} {
			_, challenge := pkce()
			b := w.browser()
			b.signIn(w.user)
			q := w.response(t, b.Visit(tt.c.authorizeURL(challenge, tt.kv...)))
			if code := q.Get("code"); tt.ok {
				a := tt.c.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "redirect_uri",
					redirectURI)
				if mustTokens(t, a).Access == "" {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
				continue
			}
			if q.Get("code") != "" || q.Get("error") != "invalid_request" {
				t.Errorf("%s: %v", name, q)
			}
			if tt.c == strict && !strings.Contains(q.Get("error_description"), "allow_unbound_code") {
				t.Errorf("%s: %s does not name the setting", name, q.Get("error_description"))
			}
		}
		// A verifier that no challenge asked for is still wrong (RFC 9700 §4.8.2).
		b := w.browser()
		b.signIn(w.user)
		code := w.response(t, b.Visit(lenient.authorizeURL("", unbound...))).Get("code")
		refusedWith(t, "a verifier without a challenge", lenient.post("/oauth2/token", "grant_type",
			"authorization_code", "code", code, "redirect_uri", redirectURI, "code_verifier", strings.Repeat("v", 43)),
			400, "invalid_grant")
	})
}

// A grant ends with its session unless it is offline; both end with the user.
func TestGrantsEnd(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		online, offline := c.signedIn(t, w.user, "scope", "openid"), c.signedIn(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1`, tx.Now())
			return err
		})
		refusedWith(t, "online, signed out", c.refresh(online.Refresh), 400, "invalid_grant")
		refusedWith(t, "online, signed out", w.userinfo(online.Access), 401, "invalid_token")
		offline = mustTokens(t, c.refresh(offline.Refresh))
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE users SET status = 'deactivated' WHERE tenant_id = $1`)
			return err
		})
		refusedWith(t, "deactivated", c.refresh(offline.Refresh), 400, "invalid_grant")
		refusedWith(t, "deactivated", w.userinfo(offline.Access), 401, "invalid_token")
	})
}

func TestPublicClients(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		const loopback = "http://127.0.0.1/cb"
		spa := w.client(application.New{Type: application.SPA, FirstParty: true})
		got := spa.signedIn(t, w.user)
		next := mustTokens(t, spa.refresh(got.Refresh))
		if next.Refresh == got.Refresh {
			t.Error("a public client's refresh token is not rotated")
		}
		refusedWith(t, "a public client with a secret", spa.post("/oauth2/token", "grant_type", "refresh_token",
			"refresh_token", next.Refresh, "client_secret", "x"), 401, "invalid_client")
		b := w.browser()
		b.signIn(w.user)
		q := w.response(t, b.Visit(spa.authorizeURL("", "code_challenge_method", "")))
		if q.Get("error") != "invalid_request" {
			t.Errorf("a public client without PKCE: %v", q)
		}
		// RFC 8252 §7.3: any port of a loopback IP, the same one at the token endpoint.
		native := w.client(application.New{Type: application.Native, FirstParty: true,
			RedirectURIs: []string{loopback}})
		verifier, challenge := pkce()
		a := b.Visit(native.authorizeURL(challenge, "redirect_uri", "http://127.0.0.1:51004/cb"))
		loc, err := url.Parse(a.Header.Get("Location"))
		if err != nil || loc.Host != "127.0.0.1:51004" {
			t.Fatalf("%d %v", a.Status, loc)
		}
		form := []string{"grant_type", "authorization_code", "code", loc.Query().Get("code"), "code_verifier",
			verifier, "redirect_uri", "http://127.0.0.1:51005/cb"}
		refusedWith(t, "another port at the token endpoint", native.post("/oauth2/token", form...), 400,
			"invalid_grant")
	})
}
