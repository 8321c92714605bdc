package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
)

// Session Management §3.1: the session_state of an answer to an OpenID request is a salted hash of
// client, origin and the browser's state, which the browser gets with it.
func TestSessionState(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		answer := func(b *browser, kv ...string) string {
			t.Helper()
			return w.response(t, b.Visit(c.authorizeURL(challenge, kv...))).Get("session_state")
		}
		b := w.browser()
		s := b.signIn(w.user)
		first, second := answer(b), answer(b)
		state := b.Cookie(session.StateCookie)
		if state != session.BrowserState(s.ID) || strings.Contains(state, b.Cookie(session.Cookie)) {
			t.Errorf("the browser's state is %q", state)
		}
		for _, got := range []string{first, second} {
			hash, salt, _ := strings.Cut(got, ".")
			sum := sha256.Sum256([]byte(c.ClientID + " https://app.example.com " + state + " " + salt))
			if hash != base64.RawURLEncoding.EncodeToString(sum[:]) || len(salt) < 20 {
				t.Errorf("session_state = %q", got)
			}
		}
		if first == second {
			t.Error("two answers have one salt")
		}
		if got := answer(b, "scope", "profile"); got != "" {
			t.Errorf("an answer without OpenID has session_state %q", got)
		}
		b.signIn(w.user)
		if answer(b); b.Cookie(session.StateCookie) == state {
			t.Error("another session has the same state")
		}
	})
}

// Session Management §3.3: any page may frame the one that compares. It sets no cookie, and runs
// one script.
func TestCheckSessionPage(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		described := w.browser().Visit(w.issuer + "/.well-known/openid-configuration").JSON(t)
		page := w.browser().Visit(described["check_session_iframe"].(string))
		h := page.Header
		csp := h.Get("Content-Security-Policy")
		if page.Status != http.StatusOK || h.Get("X-Frame-Options") != "" || h.Get("Set-Cookie") != "" ||
			h.Get("Cross-Origin-Opener-Policy") != "" || !strings.Contains(csp, "frame-ancestors *") ||
			!strings.HasPrefix(csp, "default-src 'none'; script-src 'sha256-") || strings.Contains(csp, "unsafe") {
			t.Errorf("%d %v", page.Status, h)
		}
	})
}
