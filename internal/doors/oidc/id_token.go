package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// idTokenClaims reads what the claims parameter of g wants about the user in the ID token
// (OpenID Connect Core §5.5). Most requests want nothing, and then it reads nothing.
func idTokenClaims(ctx context.Context, tx *db.Tx, g grant.Grant) (map[string]any, error) {
	wish, err := claimsOf(g.Claims)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(userClaimNames, func(n string) bool { _, ok := wish.IDToken[n]; return ok }) {
		return nil, nil
	}
	u, err := user.Get(ctx, tx, g.User)
	if err != nil {
		return nil, err
	}
	claims := claimsAbout(u)
	maps.DeleteFunc(claims, func(name string, _ any) bool { _, asked := wish.IDToken[name]; return !asked })
	return claims, nil
}

// idToken returns the signed ID token (Core §2). auth_time is that of the sign-in, on every refresh
// too (§12.2).
func (i issued) idToken(accessToken string) (string, error) {
	type standard struct {
		jose.Claims
		AuthTime jose.Time `json:"auth_time"`
		Nonce    string    `json:"nonce,omitempty"`
		ACR      string    `json:"acr,omitempty"`
		AMR      []string  `json:"amr,omitempty"`
		Session  string    `json:"sid,omitempty"`
		AtHash   string    `json:"at_hash"`
	}
	g := i.grant
	c := standard{
		Claims: jose.Claims{
			Issuer: i.issuer, Subject: g.User.String(), Audience: jose.Audience{i.app.ClientID},
			Expiry: jose.At(i.at.Add(i.app.Lifetimes.IDToken)), IssuedAt: jose.At(i.at),
		},
		AuthTime: jose.At(g.AuthTime), Nonce: g.Nonce, ACR: g.ACR, AMR: g.AMR, Session: g.Session.String(),
		AtHash: atHash(i.id.Algorithm(), accessToken),
	}
	if len(i.claims) == 0 {
		return i.id.Sign(c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	// The standard claims overwrite the user's.
	all := maps.Clone(i.claims)
	if err := json.Unmarshal(b, &all); err != nil {
		return "", err
	}
	return i.id.Sign(all)
}

// atHash ties the ID token to the access token issued with it (Core §3.1.3.6). It is the left half
// of the hash that the signature algorithm uses.
func atHash(alg jose.Algorithm, accessToken string) string {
	if alg == jose.EdDSA {
		sum := sha512.Sum512([]byte(accessToken))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// userClaimNames are the claims about a user that we support (Core §5.1).
var userClaimNames = slices.Concat(scopeClaims[scopeProfile], scopeClaims[scopeEmail])

// scopeClaims maps scopes to the claims that they stand for (Core §5.4).
var scopeClaims = map[string][]string{
	scopeProfile: {"name", "given_name", "family_name", "preferred_username", "locale", "updated_at"},
	scopeEmail:   {"email", "email_verified"},
}

// claimsAbout returns the claims about u that have a value.
func claimsAbout(u user.User) map[string]any {
	c := map[string]any{"updated_at": u.UpdatedAt.Unix()}
	set := func(name, value string) {
		if value != "" {
			c[name] = value
		}
	}
	set("given_name", u.GivenName)
	set("family_name", u.FamilyName)
	set("name", strings.TrimSpace(u.GivenName+" "+u.FamilyName))
	set("preferred_username", u.Username)
	set("locale", u.Locale)
	if u.Email != "" {
		c["email"], c["email_verified"] = u.Email, u.EmailVerified
	}
	return c
}

// claimsOf reads the claims parameter that a grant stores.
func claimsOf(stored string) (claimsRequest, error) {
	if stored == "" {
		return claimsRequest{}, nil
	}
	return parseClaims(stored)
}

func joinScopes(s []string) string { return strings.Join(s, " ") }
