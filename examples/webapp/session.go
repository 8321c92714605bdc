package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	cookiePending = "webapp_pending"
	cookieSession = "webapp_session"
)

// session is one signed-in browser. Its tokens never leave the server.
type session struct {
	subject  string     // of the first ID token
	sid      string     // the provider's session, "" if it names none
	mu       sync.Mutex // held during a refresh, so that two tabs do not use one refresh token
	token    *oauth2.Token
	idToken  *oidc.IDToken
	raw      string
	claims   map[string]any
	userinfo map[string]any
	renewed  int
}

// view is the part of a session that the pages show.
type view struct {
	Name, Email, Subject, Issuer string
	RawIDToken                   string
	Claims                       []claim
	Expires                      time.Time
	CanRefresh                   bool
	Renewed                      int
}

type claim struct{ Name, Value string }

// newSession verifies the tokens for a code, and starts a session.
//
// It checks the signature, issuer, audience and expiry of the ID token, its nonce, and that
// userinfo has the same subject (OpenID Connect Core 1.0 §3.1.3.7, §5.3.2).
func (a *webapp) newSession(ctx context.Context, token *oauth2.Token, nonce string) (*session, error) {
	s := &session{}
	if err := s.accept(ctx, a, token); err != nil {
		return nil, err
	}
	if s.idToken == nil {
		return nil, errors.New("no id_token in the answer")
	}
	if subtle.ConstantTimeCompare([]byte(s.idToken.Nonce), []byte(nonce)) != 1 {
		return nil, errors.New("the ID token has another nonce than the request")
	}
	s.subject = s.idToken.Subject
	s.sid, _ = s.claims["sid"].(string)
	info, err := a.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	if info.Subject != s.idToken.Subject {
		return nil, errors.New("userinfo has another subject than the ID token")
	}
	return s, info.Claims(&s.userinfo)
}

// accept verifies tokens and stores them. A refresh may return no ID token. If it returns one, that
// must have the same subject (OpenID Connect Core 1.0 §12.2).
func (s *session) accept(ctx context.Context, a *webapp, token *oauth2.Token) error {
	if raw, ok := token.Extra("id_token").(string); ok {
		idToken, err := a.verifier.Verify(ctx, raw)
		if err != nil {
			return err
		}
		if idToken.AccessTokenHash != "" {
			if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
				return err
			}
		}
		if s.idToken != nil && s.idToken.Subject != idToken.Subject {
			return errors.New("the new ID token has another subject")
		}
		claims := map[string]any{}
		if err := idToken.Claims(&claims); err != nil {
			return err
		}
		s.idToken, s.raw, s.claims = idToken, raw, claims
	}
	s.token = token
	return nil
}

func (s *session) refresh(ctx context.Context, a *webapp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.RefreshToken == "" {
		return errors.New("the provider gave no refresh token")
	}
	old := &oauth2.Token{RefreshToken: s.token.RefreshToken}
	token, err := a.oauth.TokenSource(ctx, old).Token()
	if err != nil {
		return err
	}
	s.renewed++
	return s.accept(ctx, a, token)
}

func (s *session) view() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{
		Subject: s.idToken.Subject, Issuer: s.idToken.Issuer, RawIDToken: s.raw,
		Expires: s.token.Expiry, CanRefresh: s.token.RefreshToken != "", Renewed: s.renewed,
	}
	all := maps.Clone(s.userinfo)
	maps.Copy(all, s.claims)
	v.Name, _ = all["name"].(string)
	v.Email, _ = all["email"].(string)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v.Claims = append(v.Claims, claim{name, text(name, all[name])})
	}
	return v
}

// text formats a claim for people: a time as a time, any other value as JSON.
func text(name string, value any) string {
	if n, ok := value.(float64); ok && slices.Contains([]string{"iat", "exp", "auth_time", "updated_at"}, name) {
		return time.Unix(int64(n), 0).UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if s, ok := value.(string); ok {
		return s
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(encoded)
}

// store keeps values under random keys for a time. A full store drops its oldest value.
type store[T any] struct {
	mu    sync.Mutex
	life  time.Duration
	limit int
	items map[string]item[T]
	order []string
}

type item[T any] struct {
	value T
	until time.Time
}

func newStore[T any](life time.Duration, limit int) *store[T] {
	return &store[T]{life: life, limit: limit, items: map[string]item[T]{}}
}

func (s *store[T]) put(value T) (key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 && (len(s.order) >= s.limit || time.Now().After(s.items[s.order[0]].until)) {
		delete(s.items, s.order[0])
		s.order = s.order[1:]
	}
	key = rand.Text() + rand.Text()
	s.items[key] = item[T]{value, time.Now().Add(s.life)}
	s.order = append(s.order, key)
	return key
}

func (s *store[T]) get(key string) (value T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.items[key]
	if !ok || time.Now().After(found.until) {
		return value, false
	}
	return found.value, true
}

func (s *store[T]) take(key string) (value T, ok bool) {
	value, ok = s.get(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, still := s.items[key]
	delete(s.items, key)
	return value, ok && still
}

func (s *store[T]) drop(key string) { s.take(key) }

// dropIf removes the values that which selects, and returns how many.
func (s *store[T]) dropIf(which func(T) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for key, i := range s.items {
		if which(i.value) {
			delete(s.items, key)
			n++
		}
	}
	return n
}

func (a *webapp) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(a.cfg.PublicURL, "https:"),
	})
}

func (a *webapp) clearCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func cookieValue(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}
