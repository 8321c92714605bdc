package main

import (
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	maxLogoutBody = 16 << 10 // bytes
	clockSkew     = time.Minute
	maxLogoutAge  = 10 * time.Minute // of a token that has a long exp
)

// backchannelLogout ends sessions because the provider says so (OpenID Connect Back-Channel Logout
// 1.0 §2.5). The provider calls it, and not the browser: there is no cookie. The token alone proves
// who sent it.
func (a *webapp) backchannelLogout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutBody)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil || len(r.PostForm["logout_token"]) != 1 {
		refuseLogout(w, errors.New("the body is not a form with one logout_token"))
		return
	}
	token, err := a.verifyLogout(r, r.PostForm.Get("logout_token"))
	if err != nil {
		refuseLogout(w, err)
		return
	}
	ended := a.sessions.dropIf(func(s *session) bool { return s.endedBy(token) })
	slog.Info("the provider ended sessions", "sessions", ended, "sid", token.SessionID)
	w.WriteHeader(http.StatusOK)
}

// verifyLogout checks a logout token (Back-Channel Logout §2.6). go-oidc checks signature, issuer,
// audience, exp, the event, that there is sub or sid, and that there is no nonce.
func (a *webapp) verifyLogout(r *http.Request, raw string) (*oidc.LogoutToken, error) {
	token, err := a.verifier.VerifyLogout(oidc.ClientContext(r.Context(), a.http), raw)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if token.IssuedAt.After(now.Add(clockSkew)) || token.IssuedAt.Before(now.Add(-maxLogoutAge)) {
		return nil, errors.New("the logout token was not issued just now")
	}
	if !a.seen.first(token.TokenID, token.Expiry) {
		return nil, errors.New("this logout token was used before")
	}
	return token, nil
}

// refuseLogout answers as Back-Channel Logout §2.8 says. The reason is for the log only.
func refuseLogout(w http.ResponseWriter, err error) {
	slog.Warn("a logout token was refused", "error", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"The logout token is not valid."}` + "\n"))
}

// endedBy reports whether a logout token is about the provider's session in which this one began. A
// token without sid is about all sessions of its subject.
func (s *session) endedBy(t *oidc.LogoutToken) bool {
	return (t.Subject == "" || t.Subject == s.subject) && (t.SessionID == "" || t.SessionID == s.sid)
}

// seen remembers the ids of tokens until these expire.
type seen struct {
	mu    sync.Mutex
	limit int
	until map[string]time.Time
}

// first reports whether an id is new, and remembers it. A full memory refuses everything: only the
// provider can fill it, with tokens that are valid.
func (s *seen) first(id string, until time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.until) >= s.limit {
		for old, end := range s.until {
			if now.After(end) {
				delete(s.until, old)
			}
		}
	}
	if _, known := s.until[id]; known || len(s.until) >= s.limit {
		return false
	}
	s.until[id] = until
	return true
}
