package main

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// goOIDC is a site with go-oidc and golang.org/x/oauth2.
func goOIDC(ctx context.Context, known registration, origin string) (http.Handler, error) {
	provider, err := oidc.NewProvider(ctx, known.issuer)
	if err != nil {
		return nil, err
	}
	config := oauth2.Config{
		ClientID:     known.clientID,
		ClientSecret: known.clientSecret,
		Endpoint:     provider.Endpoint(),
		RedirectURL:  origin + "/callback",
		Scopes:       []string{oidc.ScopeOpenID, "profile", "email"},
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: known.clientID})

	site := http.NewServeMux()
	site.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		state, nonce, pkce := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
		for name, value := range map[string]string{"state": state, "nonce": nonce, "pkce": pkce} {
			http.SetCookie(w, &http.Cookie{Name: name, Value: value, HttpOnly: true})
		}
		to := config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(pkce))
		http.Redirect(w, r, to, http.StatusFound)
	})
	site.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		kept := func(name string) string {
			cookie, err := r.Cookie(name)
			if err != nil {
				return ""
			}
			return cookie.Value
		}
		if r.FormValue("state") != kept("state") {
			http.Error(w, "another state: "+r.URL.RawQuery, http.StatusBadRequest)
			return
		}
		token, err := config.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(kept("pkce")))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		raw, _ := token.Extra("id_token").(string)
		idToken, err := verifier.Verify(ctx, raw)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		var claims, info map[string]any
		if err := idToken.Claims(&claims); err != nil || idToken.Nonce != kept("nonce") {
			http.Error(w, "the ID token has other claims", http.StatusBadGateway)
			return
		}
		user, err := provider.UserInfo(ctx, config.TokenSource(ctx, token))
		if err != nil || user.Claims(&info) != nil {
			http.Error(w, "no user information", http.StatusBadGateway)
			return
		}
		show(w, map[string]any{"claims": claims, "info": info})
	})
	return site, nil
}
