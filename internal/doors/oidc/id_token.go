package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// idTokens makes the ID token of one request: prepared before, read within and signed
// after the transaction that grants it.
type idTokens struct {
	app    *application.Application
	issuer string
	signer *jose.Signer
	claims map[string]any // what the claims parameter asked of the user
}

func (d *Door) idTokens(r *http.Request, app *application.Application) (*idTokens, error) {
	s, err := d.Keys.Signer(r.Context(), web.CallerOf(r), jose.Algorithm(app.IDTokenAlg), jose.TypeJWT)
	return &idTokens{app: app, issuer: web.SiteOf(r).Base, signer: s}, err
}

// read gets from the database what the claims parameter wants in the ID token. Most
// requests want nothing, and that costs nothing.
func (t *idTokens) read(ctx context.Context, tx *db.Tx, g grant.Grant) error {
	t.claims = nil
	wish, err := claimsOf(g.Claims)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(userClaimNames, func(n string) bool { _, ok := wish.IDToken[n]; return ok }) {
		return nil
	}
	u, err := user.Get(ctx, tx, g.User)
	if err != nil {
		return err
	}
	all := claimsAbout(u)
	t.claims = map[string]any{}
	for name := range wish.IDToken {
		if v, ok := all[name]; ok {
			t.claims[name] = v
		}
	}
	return nil
}

// sign returns the ID token (OpenID Connect Core §2). auth_time is that of the
// sign-in, on every refresh too (§12.2).
func (t *idTokens) sign(g grant.Grant, now time.Time, accessToken string) (string, error) {
	type standard struct {
		jose.Claims
		AuthTime jose.Time `json:"auth_time"`
		Nonce    string    `json:"nonce,omitempty"`
		ACR      string    `json:"acr,omitempty"`
		AMR      []string  `json:"amr,omitempty"`
		Session  string    `json:"sid,omitempty"`
		AtHash   string    `json:"at_hash"`
	}
	c := standard{
		Claims: jose.Claims{
			Issuer: t.issuer, Subject: g.User.String(), Audience: jose.Audience{t.app.ClientID},
			Expiry: jose.At(now.Add(t.app.Lifetimes.IDToken)), IssuedAt: jose.At(now),
		},
		AuthTime: jose.At(g.AuthTime), Nonce: g.Nonce, ACR: g.ACR, AMR: g.AMR, Session: g.Session.String(),
		AtHash: atHash(t.signer.Algorithm(), accessToken),
	}
	if len(t.claims) == 0 {
		return t.signer.Sign(c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	// The standard claims win: none of the user's can take their place.
	if err := json.Unmarshal(b, &t.claims); err != nil {
		return "", err
	}
	return t.signer.Sign(t.claims)
}

// atHash ties the ID token to the access token beside it (Core §3.1.3.6): the left half
// of the hash that the signature algorithm uses.
func atHash(alg jose.Algorithm, accessToken string) string {
	if alg == jose.EdDSA {
		sum := sha512.Sum512([]byte(accessToken))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// userClaimNames are the claims about a person that we can have (Core §5.1).
var userClaimNames = []string{"name", "given_name", "family_name", "preferred_username", "locale", "updated_at", "email", "email_verified"}

// scopeClaims says which claims a scope stands for (Core §5.4).
var scopeClaims = map[string][]string{
	scopeProfile: {"name", "given_name", "family_name", "preferred_username", "locale", "updated_at"},
	scopeEmail:   {"email", "email_verified"},
}

// claimsAbout returns all claims about u that have a value.
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

// claimsOf reads the claims parameter back from where a grant keeps it.
func claimsOf(stored string) (claimsRequest, error) {
	if stored == "" {
		return claimsRequest{}, nil
	}
	return parseClaims(stored)
}

func newJTI() string { return id.New().String() }

func joinScopes(s []string) string { return strings.Join(s, " ") }
