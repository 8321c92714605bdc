package oidc

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// tokenResponse is the answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`      // seconds
	Scope        string `json:"scope,omitempty"` // sent even if it equals the requested one
	IDToken      string `json:"id_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// mint has the keys for one token response. It is made before the transaction that consumes
// something, so that nothing is consumed when a key is missing.
type mint struct {
	app    *application.Application
	issuer string
	access *jose.Signer        // of the tenant's tokens; nil if the application's are opaque, also at built-in APIs
	id     *jose.Signer        // nil if no user is concerned
	api    *resourceserver.API // nil for the tenant itself

	subject subject.Key // of the users that the application is told of
}

// at returns the mint for a token of an API. nil stands for the tenant itself.
func (m mint) at(api *resourceserver.API) mint {
	m.api = api
	return m
}

// isOpaque reports whether the access token is opaque.
func (m mint) isOpaque() bool {
	if m.api != nil && !m.api.BuiltIn {
		return m.api.TokenProfile == resourceserver.Opaque
	}
	return m.access == nil
}

// lifetime returns how long the access token is good.
func (m mint) lifetime() time.Duration {
	if m.api != nil {
		return m.api.Lifetime(m.app)
	}
	return m.app.Lifetimes.AccessToken
}

// clientMint returns the mint for a token of the application's own.
func (d *Door) clientMint(r *http.Request, app *application.Application) (mint, error) {
	m := mint{app: app, issuer: web.SiteOf(r).Base}
	if app.AccessToken == application.Opaque {
		return m, nil
	}
	var err error
	m.access, err = d.Keys.Signer(r.Context(), web.CallerOf(r), jose.ES256, jose.TypeAccessToken)
	return m, err
}

// userMint returns the mint for tokens about a user.
func (d *Door) userMint(r *http.Request, app *application.Application) (mint, error) {
	m, err := d.clientMint(r, app)
	if err != nil {
		return m, err
	}
	if m.subject, err = d.Subjects.For(r.Context(), web.CallerOf(r), app); err != nil {
		return m, err
	}
	m.id, err = d.Keys.IDSigner(r.Context(), web.CallerOf(r), app, jose.TypeJWT)
	return m, err
}

// issued is what one transaction granted. Its JWTs are signed after the commit, by response.
type issued struct {
	mint
	outcome grant.Outcome // grant.Accepted; for any other outcome nothing else is set
	grant   grant.Grant   // zero for an application's own token
	scopes  []string
	at      time.Time
	tokenID string        // of the access token
	opaque  secret.String // the access token itself, if it is opaque
	about   *claim.About  // the user; nil without one
	refresh secret.String
}

// issue issues an access token, and reads the claims about the user of g.
func (m mint) issue(tx *db.Tx, g grant.Grant, scopes []string) (issued, error) {
	i := m.issueAccess(tx, g, scopes)
	var err error
	i.about, err = readClaims(tx, m.app, g, scopes)
	return i, err
}

// issueFirst issues the first tokens of a grant, whose code is redeemed in tx. An error rolls that
// back: the code is as good as before for the right API.
func (d *Door) issueFirst(ctx context.Context, tx *db.Tx, m mint, g grant.Grant, resource string) (issued, error) {
	api, err := d.apiOf(ctx, tx, m.app, g, resource)
	if err != nil {
		return issued{}, err
	}
	if err := enough(api, g, g.CreatedAt.Sub(g.AuthTime)); err != nil {
		return issued{}, err
	}
	i, err := m.at(api).issue(tx, g, scopesAt(api, allowedScopes(m.app, g.Scopes)))
	i.refresh = grant.NewRefresh(tx, d.Ring, g, m.app.Lifetimes.RefreshIdle)
	return i, err
}

// issueAccess issues an access token. Opaque ones are stored in tx.
func (m mint) issueAccess(tx *db.Tx, g grant.Grant, scopes []string) issued {
	i := m.issueJWT(tx.Now(), g, scopes)
	if m.isOpaque() {
		token, tokenID := grant.NewOpaque(tx, g, m.app, scopes, m.audience(scopes), m.issuer, m.lifetime())
		i.opaque, i.tokenID = token, tokenID.String()
	}
	return i
}

// issueJWT issues an access token that is not stored.
func (m mint) issueJWT(at time.Time, g grant.Grant, scopes []string) issued {
	return issued{mint: m, outcome: grant.Accepted, grant: g, scopes: scopes, at: at, tokenID: id.New().String()}
}

// response signs the tokens and returns the answer of the token endpoint.
func (i issued) response() (tokenResponse, error) {
	resp := tokenResponse{
		AccessToken: i.opaque.Reveal(), TokenType: "Bearer", Scope: joinScopes(i.scopes),
		ExpiresIn: int64(i.lifetime() / time.Second), RefreshToken: i.refresh.Reveal(),
	}
	var err error
	if !i.isOpaque() {
		if resp.AccessToken, err = sign(i.access, i.accessClaims(), i.told(claim.AccessToken)); err != nil {
			return tokenResponse{}, err
		}
	}
	if i.id != nil && slices.Contains(i.scopes, scopeOpenID) {
		if resp.IDToken, err = i.idToken(resp.AccessToken); err != nil {
			return tokenResponse{}, err
		}
	}
	return resp, nil
}

// told returns what a token says about the user. No token names userinfo as the source of a list
// unless the access token of the same answer is good there.
func (i issued) told(at claim.Place) map[string]any {
	return i.about.Claims(at, i.userinfo(i.scopes))
}

// accessClaims returns the claims of a JWT access token (RFC 9068 §2.2).
func (i issued) accessClaims() grant.AccessClaims {
	claims := grant.AccessClaims{
		Claims: jose.Claims{
			Issuer: i.issuer, Subject: i.app.ID.String(), Audience: i.audience(i.scopes),
			Expiry: jose.At(i.at.Add(i.lifetime())), IssuedAt: jose.At(i.at), ID: i.tokenID,
		},
		ClientID: i.app.ClientID, Scope: joinScopes(i.scopes), Application: i.app.ID.String(),
	}
	if i.api != nil && i.api.TokenProfile == resourceserver.JWT {
		claims.Use = grant.UseAccess
	}
	if g := i.grant; !g.ID.IsZero() {
		claims.Subject, claims.GrantID, claims.SessionID = i.subject.Of(g.User), g.ID.String(), g.Session.String()
		claims.AuthTime, claims.ACR, claims.AMR = jose.At(g.AuthTime), g.ACR, g.AMR
	}
	return claims
}
