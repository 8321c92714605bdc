package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // of the script
	"encoding/base64"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// checkSessionPath is the page that applications frame in order to learn whether the person is
// still signed in (OpenID Connect Session Management 1.0 §3.3).
const checkSessionPath = "/oauth2/session"

// sessionState returns the session_state of an authorization response (Session Management §3.1), or
// "" for a redirect URI that has no web origin. It names neither the person nor the session.
func sessionState(clientID, redirectURI, browserState string) string {
	origin := application.OriginOf(redirectURI)
	if origin == "" {
		return ""
	}
	salt := rand.Text()
	sum := sha256.Sum256([]byte(clientID + " " + origin + " " + browserState + " " + salt))
	return base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt
}

//go:embed check_session.js
var checkSessionScript string

// checkSessionBody is the whole page.
var checkSessionBody = []byte("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">" +
	"<title>Session</title></head><body><script>" + checkSessionScript + "</script></body></html>\n")

// checkSessionPolicy allows that script, and any page around this one. It sets no cookie and has no
// form, so a page gains nothing from framing it. The script compares the origin of its caller.
var checkSessionPolicy = func() string {
	sum := sha256.Sum256([]byte(checkSessionScript))
	return "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors *; base-uri 'none'; form-action 'none'"
}()

// checkSession answers with the same page for everyone. It reads no cookie: its script does.
func (d *Door) checkSession(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", checkSessionPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h["Cache-Control"] = cacheable
	h.Del("X-Frame-Options")
	_, _ = w.Write(checkSessionBody) // a failure means that the reader has gone
	return nil
}
