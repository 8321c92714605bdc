package oidc

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// readClaims defers the reading of what the application is told about the user of g in a token.
func readClaims(tx *db.Tx, app *application.Application, g grant.Grant, scopes []string) (*claim.About, error) {
	wish, err := claimsOf(g.Claims)
	if err != nil {
		return nil, err
	}
	ask := claim.Ask{Application: app, User: g.User, Scopes: scopes, Wished: wish.names()}
	if !slices.Contains(scopes, scopeOpenID) {
		return claim.Read(tx, ask, claim.AccessToken), nil
	}
	return claim.Read(tx, ask, claim.IDToken, claim.AccessToken), nil
}

// idClaims are the claims of an ID token besides those about the user (Core §2).
type idClaims struct {
	jose.Claims
	AuthTime jose.Time `json:"auth_time"`
	Nonce    string    `json:"nonce,omitempty"`
	ACR      string    `json:"acr,omitempty"`
	AMR      []string  `json:"amr,omitempty"`
	Session  string    `json:"sid,omitempty"`
	AtHash   string    `json:"at_hash"`
}

// idToken returns the signed ID token. auth_time is that of the sign-in, on every refresh too
// (§12.2). No claim about the user makes it look like an access token of the type JWT
// (application.ReservedClaim, RFC 8725 §3.12).
func (i issued) idToken(accessToken string) (string, error) {
	g := i.grant
	c := idClaims{
		Claims: jose.Claims{
			Issuer: i.issuer, Subject: i.subject.Of(g.User), Audience: jose.Audience{i.app.ClientID},
			Expiry: jose.At(i.at.Add(i.app.Lifetimes.IDToken)), IssuedAt: jose.At(i.at),
		},
		AuthTime: jose.At(g.AuthTime), Nonce: g.Nonce, ACR: g.ACR, AMR: g.AMR, Session: g.Session.String(),
		AtHash: atHash(i.id.Algorithm(), accessToken),
	}
	return sign(i.id, c, i.told(claim.IDToken))
}

// sign signs the claims that a protocol prescribes, and those about the user, which never replace
// them.
func sign(by *jose.Signer, standard any, about map[string]any) (string, error) {
	if len(about) == 0 {
		return by.Sign(standard)
	}
	all, err := merge(standard, about)
	if err != nil {
		return "", err
	}
	return by.Sign(all)
}

// merge adds the members of standard to about, over those of the same name.
func merge(standard any, about map[string]any) (map[string]any, error) {
	b, err := json.Marshal(standard)
	if err != nil {
		return nil, err
	}
	return about, json.Unmarshal(b, &about)
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

// claimsOf reads the claims parameter that a grant stores.
func claimsOf(stored string) (claimsRequest, error) {
	if stored == "" {
		return claimsRequest{}, nil
	}
	return parseClaims(stored)
}

func joinScopes(s []string) string { return strings.Join(s, " ") }
