package session

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Cookie is the name of the token's cookie for kit/web.
const Cookie = "session"

// StateCookie is the name of the browser state's cookie for kit/web (OpenID Connect Session
// Management 1.0 §3.2). Scripts of ours can read it.
const StateCookie = "browser_state"

// SetCookies gives the browser a session, once that is committed.
func SetCookies(w http.ResponseWriter, r *http.Request, s Session, token secret.String, lasts time.Duration) {
	web.SetCookie(w, r, Cookie, token.Reveal(), lasts)
	web.SetReadableCookie(w, r, StateCookie, BrowserState(s.ID), lasts)
}

// ClearCookies takes its session from the browser.
func ClearCookies(w http.ResponseWriter, r *http.Request) {
	web.ClearCookie(w, r, Cookie)
	web.ClearCookie(w, r, StateCookie)
	web.ClearCookie(w, r, ConsoleCookie)
}

// BrowserState returns a text that is another one for each session, and opens none. It is a hash of
// the id, which applications know as sid, and has nothing of the token.
func BrowserState(session id.ID) string {
	sum := sha256.Sum256([]byte("browser state\x00" + session.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
