package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// introspection is the answer of RFC 7662 §2.2. For a token that is inactive, unknown or not
// visible to the caller it has only active=false.
type introspection struct {
	Active    bool          `json:"active"`
	Scope     string        `json:"scope,omitempty"`
	ClientID  string        `json:"client_id,omitempty"`
	Username  string        `json:"username,omitempty"`
	TokenType string        `json:"token_type,omitempty"`
	Expiry    jose.Time     `json:"exp,omitempty"`
	IssuedAt  jose.Time     `json:"iat,omitempty"`
	Subject   string        `json:"sub,omitempty"`
	Audience  jose.Audience `json:"aud,omitempty"`
	Issuer    string        `json:"iss,omitempty"`
	ID        string        `json:"jti,omitempty"`
	AuthTime  jose.Time     `json:"auth_time,omitempty"`
	ACR       string        `json:"acr,omitempty"`
	AMR       []string      `json:"amr,omitempty"`
	SessionID string        `json:"sid,omitempty"`
}

var inactive = jsonBody(introspection{})

// introspect describes a token to a confidential client. An application sees its own tokens, and an
// API those for it (mayInspect).
func (d *Door) introspect(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	if app.AuthMethod == application.AuthNone {
		return invalidClient("Only clients that authenticate may introspect tokens.", false)
	}
	token := p.get("token")
	if token == "" {
		return invalidRequest("token is missing.")
	}
	ctx, c := r.Context(), web.CallerOf(r)
	body := inactive
	refresh := secret.HasKind(token, secret.RefreshToken)
	t, err := d.findToken(ctx, c, token)
	switch {
	case errors.Is(err, grant.ErrToken):
	case err != nil:
		return err
	default:
		if sees, err := d.mayInspect(ctx, c, app, t, refresh); err != nil {
			return err
		} else if !sees {
			break
		}
		if body, err = d.describeToken(ctx, c, web.SiteOf(r).Base, t, refresh); err != nil {
			return err
		}
	}
	d.Records.Record(actorOf(c, app), audit.Access{Action: "token.introspect",
		Target: audit.Target{Kind: "token", ID: t.ID}, Detail: map[string]any{"active": len(body) != len(inactive)}})
	writeJSON(w, http.StatusOK, body)
	return nil
}

// mayInspect reports whether an application sees a token. Its holder does. A token for a registered
// API is seen by the applications that are the API, and by nothing else. A token for the tenant is
// seen by the applications that have InspectsTenant. An application loses that when it becomes an
// API, and does not get it back when the API goes. Many services ask only whether a token is
// active, so one that is meant for another API must not look active to them.
func (d *Door) mayInspect(ctx context.Context, c caller.Caller, app *application.Application, t grant.Token,
	refresh bool) (bool, error) {
	if t.Application == app.ID || refresh {
		return t.Application == app.ID, nil
	}
	if slices.Contains(t.Audience, t.Issuer) {
		return app.InspectsTenant, nil
	}
	for _, identifier := range t.Audience {
		if strings.HasPrefix(identifier, t.Issuer+"/") { // ours, such as userinfo
			continue
		}
		a, err := d.APIs.ByIdentifier(ctx, c, identifier)
		switch {
		case err == nil && slices.Contains(a.Servers, app.ID):
			return true, nil
		case err != nil && fault.Of(err) != fault.NotFound:
			return false, err
		}
	}
	return false, nil
}

// findToken returns an active token of any kind. A token names its own kind, so token_type_hint is
// not needed.
func (d *Door) findToken(ctx context.Context, c caller.Caller, token string) (grant.Token, error) {
	if secret.HasKind(token, secret.RefreshToken) {
		return db.Read(ctx, d.DB, c, func(tx *db.Tx) (grant.Token, error) { return grant.Refresh(ctx, tx, token) })
	}
	return d.verifier.Verify(ctx, c, token)
}

// showsLogin reports whether an application may know the address or name by which a user signs in.
// Otherwise those with pairwise subs could compare their users by it.
func showsLogin(app *application.Application, scopes []string) bool {
	return slices.ContainsFunc(allowedScopes(app, scopes), func(s string) bool {
		return s == claim.ScopeProfile || s == claim.ScopeEmail
	})
}

// describeToken returns what introspection says of an active token.
func (d *Door) describeToken(
	ctx context.Context, c caller.Caller, base string, t grant.Token, refresh bool,
) ([]byte, error) {
	of, err := d.Applications.ByID(ctx, c, t.Application)
	if fault.Of(err) == fault.NotFound || err == nil && of.Status != application.Active {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	var about *claim.About
	if !t.User.IsZero() {
		allowed, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
			allowed, err := d.SignIn.AllowsToken(ctx, tx, t)
			if err == nil && allowed && !refresh {
				ask := claim.Ask{Application: of, User: t.User, Scopes: t.Scopes}
				about = claim.Read(tx, ask, claim.Introspection)
			}
			return allowed, err
		})
		if err != nil || !allowed {
			return inactive, err
		}
	}
	out := introspection{
		Active: true, Scope: joinScopes(allowedScopes(of, t.Scopes)), ClientID: of.ClientID, TokenType: "Bearer",
		Expiry: jose.At(t.ExpiresAt), IssuedAt: jose.At(t.IssuedAt), Subject: of.ID.String(), Audience: t.Audience,
		Issuer: base, ID: t.ID, ACR: t.ACR, AMR: t.AMR, SessionID: t.Session.String(),
	}
	if t.Issuer != "" { // a base of the tenant, perhaps another one than this
		out.Issuer = t.Issuer
	}
	if refresh {
		out.TokenType = ""
	}
	if !t.User.IsZero() {
		key, err := d.Subjects.For(ctx, c, of)
		if err != nil {
			return nil, err
		}
		out.Subject = key.Of(t.User)
		if showsLogin(of, t.Scopes) {
			out.Username = t.UserName
		}
	}
	if t.AuthTime.Unix() > 0 {
		out.AuthTime = jose.At(t.AuthTime)
	}
	told := about.Claims(claim.Introspection, "")
	d.noteMappings(ctx, c, of, about)
	if len(told) == 0 {
		return jsonBody(out), nil
	}
	all, err := merge(out, told)
	return jsonBody(all), err
}
