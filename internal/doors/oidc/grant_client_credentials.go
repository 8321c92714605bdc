package oidc

import (
	"net/http"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// redeemClientCredentials issues a token of its own to a machine application (RFC 6749 §4.4).
func (d *Door) redeemClientCredentials(r *http.Request, app *application.Application, p params) (issued, error) {
	if app.Type != application.Machine || app.AuthMethod == application.AuthNone {
		return issued{}, badRequest(codeUnauthorizedClient, "Only machine applications get tokens of their own.")
	}
	ctx, c := r.Context(), web.CallerOf(r)
	resource, err := d.resource(ctx, c, p, app.DefaultAPI)
	if err != nil {
		return issued{}, err
	}
	api, err := d.api(ctx, c, app, resource)
	if err != nil {
		return issued{}, err
	}
	scopes, err := machineScopes(app, api, p.get("scope"))
	if err != nil {
		return issued{}, err
	}
	m, err := d.clientMint(r, app)
	if err != nil {
		return issued{}, err
	}
	m = m.at(api)
	if !m.isOpaque() { // a JWT is not stored, so it needs no transaction
		return m.issueJWT(d.Clock.Now(), grant.Grant{}, scopes), nil
	}
	return db.Write(r.Context(), d.DB, actorOf(web.CallerOf(r), app), func(tx *db.Tx) (issued, error) {
		return m.issueAccess(tx, grant.Grant{}, scopes), nil
	})
}

// machineScopes returns the scopes of a machine application's token. Without a scope parameter they
// are all that the application has, and at an API those of the API.
func machineScopes(app *application.Application, api *resourceserver.API, scope string) ([]string, error) {
	if scope == "" {
		return scopesAt(api, app.Scopes), nil
	}
	asked, err := words(scope, maxScopes)
	if err != nil {
		return nil, tooManyScopes()
	}
	for _, s := range asked {
		if !slices.Contains(app.Scopes, s) || s == scopeOpenID || s == scopeOffline {
			return nil, invalidScope("This application may not ask for the scope %q.", s)
		}
		if api != nil && !api.Has(s) {
			return nil, invalidScope("The API %s has no scope %q.", api.Identifier, s)
		}
	}
	return asked, nil
}
