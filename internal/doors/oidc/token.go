package oidc

import (
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Grant types (RFC 6749 §4).
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantClient  = "client_credentials"
)

// tokenResponse is the answer of the token endpoint (RFC 6749 §5.1, OpenID Connect
// Core §3.1.3.3). The scope is always said.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	Scope        string `json:"scope,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// token answers the token endpoint: the client is authenticated before anything it
// shows is looked at (RFC 6749 §3.2.1).
func (d *Door) token(w http.ResponseWriter, r *http.Request) error {
	allowOrigins(w.Header())
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	var resp tokenResponse
	switch p.get("grant_type") {
	case grantClient:
		resp, err = d.clientToken(r, app, p)
	case grantCode:
		resp, err = d.codeToken(r, app, p)
	case grantRefresh:
		resp, err = d.refreshToken(r, app, p)
	case "":
		err = invalidRequest("grant_type is missing.")
	default:
		err = &apiError{status: http.StatusBadRequest, code: codeUnsupportedGrant,
			description: "grant_type must be authorization_code, refresh_token or client_credentials."}
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, jsonBody(resp))
	return nil
}

// access is an access token being made: opaque ones are stored with the transaction
// that gives them, JWTs are signed after it.
type access struct {
	app    *application.Application
	issuer string
	scopes []string
	now    time.Time
	signer *jose.Signer // nil for opaque tokens
	id     string
	text   string
}

// prepare readies what can fail without anything having been consumed: the keys.
func (d *Door) prepare(r *http.Request, app *application.Application) (*access, error) {
	a := &access{app: app, issuer: web.SiteOf(r).Base}
	if app.AccessToken == application.Opaque {
		return a, nil
	}
	var err error
	a.signer, err = d.Keys.Signer(r.Context(), web.CallerOf(r), jose.ES256, jose.TypeAccessToken)
	return a, err
}

// store writes an opaque token in tx; for JWTs it only notes the time.
func (a *access) store(tx *db.Tx, g grant.Grant, scopes []string) {
	a.now, a.scopes = tx.Now(), scopes
	if a.signer == nil {
		token, tid := grant.NewOpaque(tx, g, a.app.ID, scopes, a.issuer, a.app.Lifetimes.AccessToken)
		a.text, a.id = token.Reveal(), tid.String()
	}
}

// finish returns the token; g is the zero Grant for a machine application's own.
func (a *access) finish(g grant.Grant) (tokenResponse, error) {
	resp := tokenResponse{TokenType: "Bearer", ExpiresIn: int64(a.app.Lifetimes.AccessToken / time.Second), Scope: joinScopes(a.scopes)}
	if a.signer != nil {
		jti := newJTI()
		claims := grant.AccessClaims{
			Claims: jose.Claims{
				Issuer: a.issuer, Subject: a.app.ID.String(), Audience: jose.Audience{a.issuer},
				Expiry: jose.At(a.now.Add(a.app.Lifetimes.AccessToken)), IssuedAt: jose.At(a.now), ID: jti,
			},
			ClientID: a.app.ClientID, Scope: resp.Scope, Application: a.app.ID.String(),
		}
		if !g.ID.IsZero() {
			claims.Subject, claims.GrantID, claims.SessionID = g.User.String(), g.ID.String(), g.Session.String()
			claims.AuthTime, claims.ACR, claims.AMR = jose.At(g.AuthTime), g.ACR, g.AMR
		}
		var err error
		if a.text, err = a.signer.Sign(claims); err != nil {
			return tokenResponse{}, err
		}
		a.id = jti
	}
	resp.AccessToken = a.text
	return resp, nil
}

// note makes the access record of a token that was given.
func (d *Door) note(r *http.Request, a *access, g grant.Grant, grantType string) {
	detail := map[string]any{"grant_type": grantType, "scope": joinScopes(a.scopes), "jti": a.id}
	if !g.ID.IsZero() {
		detail["user"], detail["grant"] = g.User.String(), g.ID.String()
	}
	d.Records.Record(actorOf(web.CallerOf(r), a.app), audit.Access{Action: "token.issue",
		Target: audit.Target{Kind: "application", ID: a.app.ID.String(), Name: a.app.Name}, Detail: detail})
}

// clientToken gives a machine application a token of its own (RFC 6749 §4.4). Without
// a scope it gets all it may have.
func (d *Door) clientToken(r *http.Request, app *application.Application, p params) (tokenResponse, error) {
	if app.Type != application.Machine || app.AuthMethod == application.AuthNone {
		return tokenResponse{}, &apiError{status: http.StatusBadRequest, code: codeUnauthorizedClient,
			description: "Only machine applications get tokens of their own."}
	}
	scopes, err := machineScopes(app, p.get("scope"))
	if err != nil {
		return tokenResponse{}, err
	}
	a, err := d.prepare(r, app)
	if err != nil {
		return tokenResponse{}, err
	}
	if a.signer != nil {
		a.now, a.scopes = d.Clock.Now(), scopes
	} else {
		c := actorOf(web.CallerOf(r), app)
		if err := d.DB.Update(r.Context(), c, func(tx *db.Tx) error { a.store(tx, grant.Grant{}, scopes); return nil }); err != nil {
			return tokenResponse{}, err
		}
	}
	resp, err := a.finish(grant.Grant{})
	if err == nil {
		d.note(r, a, grant.Grant{}, grantClient)
	}
	return resp, err
}

func machineScopes(app *application.Application, scope string) ([]string, error) {
	if scope == "" {
		return app.Scopes, nil
	}
	asked, err := words(scope, maxScopes)
	if err != nil {
		return nil, invalidScope("scope has more than %d entries.", maxScopes)
	}
	for _, s := range asked {
		if !slices.Contains(app.Scopes, s) || s == scopeOpenID || s == scopeOffline {
			return nil, invalidScope("This application may not ask for the scope %q.", s)
		}
	}
	return asked, nil
}

// codeToken redeems an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (d *Door) codeToken(r *http.Request, app *application.Application, p params) (tokenResponse, error) {
	code, uri, verifier := p.get("code"), p.get("redirect_uri"), p.get("code_verifier")
	if code == "" {
		return tokenResponse{}, invalidRequest("code is missing.")
	}
	a, err := d.prepare(r, app)
	if err != nil {
		return tokenResponse{}, err
	}
	ids, err := d.idTokens(r, app)
	if err != nil {
		return tokenResponse{}, err
	}
	// A verifier for a code without a challenge is an error too: somebody stripped the
	// challenge from the authorization request (RFC 9700 §4.8.2).
	verify := func(redirectURI, challenge string) bool {
		if redirectURI != uri {
			return false
		}
		if challenge == "" {
			return verifier == "" && app.AuthMethod != application.AuthNone
		}
		return verifyChallenge(challenge, verifier)
	}
	var (
		g       grant.Grant
		outcome grant.Outcome
		refresh secret.String
	)
	err = d.DB.Update(r.Context(), actorOf(web.CallerOf(r), app), func(tx *db.Tx) (err error) {
		g, outcome, err = grant.ConsumeCode(r.Context(), tx, code, app.ID, verify)
		if err != nil || outcome != grant.Accepted {
			return err
		}
		a.store(tx, g, allowedScopes(app, g.Scopes))
		refresh = grant.NewRefresh(tx, d.Ring, g, app.Lifetimes.RefreshIdle)
		return ids.read(r.Context(), tx, g)
	})
	if err != nil {
		return tokenResponse{}, err
	}
	if outcome != grant.Accepted {
		return tokenResponse{}, invalidGrant(refusals[outcome])
	}
	return d.respond(r, a, ids, g, refresh, grantCode)
}

// refusals says in the client's words why a code or refresh token was refused.
var refusals = map[grant.Outcome]string{
	grant.Unknown:  "It is unknown, was issued to another client, or the sign-in that it came from has ended.",
	grant.Expired:  "It has expired.",
	grant.Replayed: "It was used before. For safety everything that came from it has been revoked.",
	grant.Mismatch: "redirect_uri or code_verifier is not the one that the code was asked for with.",
}

// refreshToken redeems a refresh token (RFC 6749 §6).
func (d *Door) refreshToken(r *http.Request, app *application.Application, p params) (tokenResponse, error) {
	shown := p.get("refresh_token")
	if shown == "" {
		return tokenResponse{}, invalidRequest("refresh_token is missing.")
	}
	asked, err := words(p.get("scope"), maxScopes)
	if err != nil {
		return tokenResponse{}, invalidScope("scope has more than %d entries.", maxScopes)
	}
	a, err := d.prepare(r, app)
	if err != nil {
		return tokenResponse{}, err
	}
	ids, err := d.idTokens(r, app)
	if err != nil {
		return tokenResponse{}, err
	}
	var (
		g         grant.Grant
		outcome   grant.Outcome
		successor secret.String
	)
	rotation := grant.Rotation{Keep: !app.Rotation && app.AuthMethod != application.AuthNone, Lifetime: app.Lifetimes.RefreshIdle}
	err = d.DB.Update(r.Context(), actorOf(web.CallerOf(r), app), func(tx *db.Tx) (err error) {
		g, successor, outcome, err = grant.RotateRefresh(r.Context(), tx, d.Ring, shown, app.ID, rotation)
		if err != nil || outcome != grant.Accepted {
			return err
		}
		// What an administrator took from the application since, no refresh brings back.
		scopes := allowedScopes(app, g.Scopes)
		if len(asked) > 0 {
			for _, s := range asked {
				if !slices.Contains(scopes, s) {
					// An error, so that the rotation is rolled back: nothing was given.
					return invalidScope("The scope %q was not granted; a refresh can only narrow the scope.", s)
				}
			}
			scopes = asked
		}
		a.store(tx, g, scopes)
		return ids.read(r.Context(), tx, g)
	})
	if err != nil {
		return tokenResponse{}, err
	}
	if outcome != grant.Accepted {
		return tokenResponse{}, invalidGrant(refusals[outcome])
	}
	// The nonce belongs to the sign-in, not to its renewals (OpenID Connect Core §12.2).
	g.Nonce = ""
	return d.respond(r, a, ids, g, successor, grantRefresh)
}

// respond signs what was granted and records it.
func (d *Door) respond(r *http.Request, a *access, ids *idTokens, g grant.Grant, refresh secret.String, grantType string) (tokenResponse, error) {
	resp, err := a.finish(g)
	if err != nil {
		return tokenResponse{}, err
	}
	if slices.Contains(a.scopes, scopeOpenID) {
		if resp.IDToken, err = ids.sign(g, a.now, resp.AccessToken); err != nil {
			return tokenResponse{}, err
		}
	}
	resp.RefreshToken = refresh.Reveal()
	d.note(r, a, g, grantType)
	return resp, nil
}
