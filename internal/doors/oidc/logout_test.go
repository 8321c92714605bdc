package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

const afterLogout = "https://app.example.com/bye"

func (w *scene) logoutURL(kv ...string) string {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return w.issuer + "/oauth2/logout?" + v.Encode()
}

func (w *scene) sessionLives(s session.Session) bool {
	w.T.Helper()
	err := w.View(ctx, w.c, func(tx *db.Tx) error {
		_, err := session.Get(ctx, tx, s.ID)
		return err
	})
	return err == nil
}

// hinted signs u in at c and returns the browser, its session and an ID token of it.
func (c *client) hinted(t testing.TB) (*browser, session.Session, string) {
	t.Helper()
	b := c.w.browser()
	s := b.signIn(c.w.user)
	verifier, challenge := pkce()
	q := c.w.response(t, b.Visit(c.authorizeURL(challenge)))
	return b, s, c.redeem(t, q.Get("code"), verifier).ID
}

// RP-Initiated Logout §2, §3: a valid hint about this session ends it; an expired one too.
func TestLogoutWithHint(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout, afterLogout + "?x=1"}})
		for to, want := range map[string]string{afterLogout: afterLogout + "?state=a+b", afterLogout +
			"?x=1": afterLogout + "?x=1&state=a+b"} {
			b, s, hint := c.hinted(t)
			w.Clock.Advance(time.Hour)
			a := b.Visit(w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri", to, "state", "a b"))
			if a.Status != http.StatusSeeOther || a.Header.Get("Location") != want {
				t.Errorf("%d %s, want %s", a.Status, a.Header.Get("Location"), want)
			}
			if w.sessionLives(s) || b.Cookie("session") != "" {
				t.Error("the session was not ended")
			}
			// Again: there is no session, and the application gets its answer.
			if a := b.Visit(w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri",
				to)); a.Header.Get("Location") != to {
				t.Errorf("again: %d %s", a.Status, a.Header.Get("Location"))
			}
		}
		b, _, hint := c.hinted(t)
		if a := b.Visit(w.logoutURL("id_token_hint", hint)); a.Header.Get("Location") != "/t/acme/signedout" {
			t.Errorf("without an address: %d %s", a.Status, a.Header.Get("Location"))
		}
		// By POST: the browser comes again with its cookies.
		b, s, hint := c.hinted(t)
		r, err := http.NewRequest(http.MethodPost, w.issuer+"/oauth2/logout",
			strings.NewReader(url.Values{"id_token_hint": {hint}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := b.Visit(w.Origin + b.Send(r).Header.Get("Location")); a.Status != http.StatusSeeOther ||
			w.sessionLives(s) {
			t.Errorf("POST: %d, session lives: %v", a.Status, w.sessionLives(s))
		}
	})
}

// Logout without a valid hint asks for confirmation.
func TestLogoutAsks(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout}})
		_, _, elsewhere := c.hinted(t) // the same person, in another browser's session
		for name, kv := range map[string][]string{
			"no hint": {"client_id", c.ClientID, "post_logout_redirect_uri", afterLogout, "state", "s"},
			"nonsense": {
				"id_token_hint", "x", "client_id", c.ClientID, "post_logout_redirect_uri", afterLogout, "state", "s",
			},
			"another session's": {"id_token_hint", elsewhere, "post_logout_redirect_uri", afterLogout, "state", "s"},
		} {
			b, s, _ := c.hinted(t)
			a := b.Visit(w.logoutURL(kv...))
			loc := a.Header.Get("Location")
			if a.Status != http.StatusSeeOther || !strings.HasPrefix(loc, "/t/acme/signout?flow=") ||
				!w.sessionLives(s) {
				t.Fatalf("%s: %d %s, session lives: %v", name, a.Status, loc, w.sessionLives(s))
			}
			f := b.flow(loc)
			if f.Kind != signin.SignOut || f.Session != s.ID || f.PostLogoutName != c.Name {
				t.Errorf("%s: %+v", name, f)
			}
			again := w.issuer + "/oauth2/logout/continue?flow=" + f.ID.String()
			if a := b.Visit(again); a.Header.Get("Location") != loc || !w.sessionLives(s) {
				t.Errorf("%s, not confirmed: %d %s", name, a.Status, a.Header.Get("Location"))
			}
			b.change(f, func(_ *db.Tx, s *signin.Standing) error { s.Flow.SignedOut = true; return nil })
			if a := w.browser().Visit(again); a.Status != http.StatusNotFound || !w.sessionLives(s) {
				t.Errorf("%s, another browser: %d", name, a.Status)
			}
			if a := b.Visit(again); a.Header.Get("Location") != afterLogout+"?state=s" || w.sessionLives(s) ||
				b.Cookie("session") != "" {
				t.Errorf("%s, confirmed: %d %s", name, a.Status, a.Header.Get("Location"))
			}
			if a := b.Visit(again); a.Status != http.StatusNotFound {
				t.Errorf("%s, twice: %d", name, a.Status)
			}
		}
		// A sign-in flow is not a sign-out flow, and does not change.
		b := w.browser()
		_, challenge := pkce()
		done := b.complete(toSignIn(t, b.Visit(c.authorizeURL(challenge))), w.user, true)
		if a := b.Visit(strings.Replace(done, "authorize", "logout", 1)); a.Status != http.StatusNotFound {
			t.Errorf("a sign-in flow: %d", a.Status)
		}
		if q := w.response(t, b.Visit(done)); q.Get("code") == "" {
			t.Errorf("the sign-in flow was consumed: %v", q)
		}
	})
}

// §3: never redirect to what is not registered; the person stays signed in.
func TestLogoutRefuses(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout}})
		other := w.client(application.New{Name: "Other"})
		b, s, hint := c.hinted(t)
		for name, address := range map[string]string{
			"another address": w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri",
				"https://evil.example"),
			"longer": w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri",
				afterLogout+"/x"),
			"a redirect_uri":       w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri", redirectURI),
			"of nobody":            w.logoutURL("post_logout_redirect_uri", afterLogout),
			"of an unknown client": w.logoutURL("client_id", "x", "post_logout_redirect_uri", afterLogout),
			"of another client": w.logoutURL("client_id", other.ClientID, "post_logout_redirect_uri",
				afterLogout),
			"hint of another client": w.logoutURL("client_id", other.ClientID, "id_token_hint", hint),
			"twice": w.logoutURL("id_token_hint", hint) + "&post_logout_redirect_uri=" +
				url.QueryEscape(afterLogout) + "&post_logout_redirect_uri=x",
			"not decodable":             w.logoutURL("id_token_hint", hint) + "&x=%ff",
			"continue without a flow":   w.issuer + "/oauth2/logout/continue",
			"continue with an unknown":  w.issuer + "/oauth2/logout/continue?flow=" + w.user.ID.String(),
			"continue with two of them": w.issuer + "/oauth2/logout/continue?flow=a&flow=b",
		} {
			if a := b.Visit(address); a.Status < 400 || a.Status > 499 || a.Header.Get("Location") != "" ||
				!w.sessionLives(s) {
				t.Errorf("%s: %d %s, session lives: %v", name, a.Status, a.Header.Get("Location"), w.sessionLives(s))
			}
		}
	})
}

// tokensIn gets tokens in a browser that is signed in already.
func (c *client) tokensIn(t testing.TB, b *browser, kv ...string) tokens {
	t.Helper()
	verifier, challenge := pkce()
	q := c.w.response(t, b.Visit(c.authorizeURL(challenge, kv...)))
	return c.redeem(t, q.Get("code"), verifier)
}

// signedInStill asks, as an application would, whether the browser has a session.
func (b *browser) signedInStill(t testing.TB, c *client) bool {
	t.Helper()
	_, challenge := pkce()
	return b.w.response(t, b.Visit(c.authorizeURL(challenge, "prompt", "none"))).Get("code") != ""
}

// toSignOut checks that the person is asked and returns where.
func toSignOut(t testing.TB, what string, a world.Answer) string {
	t.Helper()
	loc := a.Header.Get("Location")
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(loc, "/t/acme/signout?flow=") {
		t.Fatalf("%s: the person is not asked: %d %s %.300s", what, a.Status, loc, a.Body)
	}
	return loc
}

// These requests sign out only after the user confirms. Otherwise any page could sign them out.
func TestLogoutHintsThatAreNone(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout}})
		off := w.client(application.New{Name: "Off", PostLogoutRedirectURIs: []string{afterLogout}})
		grace := w.person("grace@example.com", "Grace", "Hopper")
		b := w.browser()
		b.signIn(w.user)
		own, offHint := c.tokensIn(t, b), off.tokensIn(t, b).ID
		for name, hint := range map[string]string{
			"a cut signature": own.ID[:len(own.ID)-4],
			"an access token": own.Access,
			"somebody else's": c.signedIn(t, grace).ID,
			"another of hers": c.signedIn(t, w.user).ID,
			"a refresh token": own.Refresh,
			"no token at all": "",
		} {
			toSignOut(t, name, b.Visit(w.logoutURL("id_token_hint", hint)))
			if !b.signedInStill(t, c) {
				t.Fatalf("%s: signed out without being asked", name)
			}
		}
		f := b.flow(toSignOut(t, "no hint",
			b.Visit(w.logoutURL("client_id", c.ClientID, "post_logout_redirect_uri", afterLogout))))
		// It is not a sign-in.
		b.change(f, func(_ *db.Tx, s *signin.Standing) error { s.Flow.Denied = true; return nil })
		if a := b.Visit(w.issuer + "/oauth2/authorize/continue?flow=" +
			f.ID.String()); a.Status != http.StatusNotFound {
			t.Errorf("a sign-out at authorize: %d %s", a.Status, a.Header.Get("Location"))
		}
		// The person said no: the application is not told.
		if a := b.Visit(w.Origin + "/t/acme" + f.Return()); a.Header.Get("Location") != "/t/acme/account" ||
			!b.signedInStill(t, c) {
			t.Errorf("refused by the person: %d %s", a.Status, a.Header.Get("Location"))
		}
		// A disabled application is not returned to.
		w.disable(off)
		for _, who := range []*browser{b, w.browser()} {
			if a := who.Visit(w.logoutURL("id_token_hint", offHint, "post_logout_redirect_uri",
				afterLogout)); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
				t.Errorf("switched off: %d %s", a.Status, a.Header.Get("Location"))
			}
		}
		if !b.signedInStill(t, c) {
			t.Error("a refused request signed out")
		}
		// Signing out ends what is not offline.
		online := c.tokensIn(t, b, "scope", "openid")
		if a := b.Visit(w.logoutURL("id_token_hint", online.ID)); a.Header.Get("Location") != "/t/acme/signedout" ||
			b.signedInStill(t, c) {
			t.Errorf("%d %s", a.Status, a.Header.Get("Location"))
		}
		refusedWith(t, "online", c.refresh(online.Refresh), 400, "invalid_grant")
		refusedWith(t, "online", w.userinfo(online.Access), 401, "invalid_token")
	})
}
