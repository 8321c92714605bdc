package oidc

import (
	"net/http"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// redeemRefresh redeems a refresh token (RFC 6749 §6).
func (d *Door) redeemRefresh(r *http.Request, app *application.Application, p params) (issued, error) {
	shown := p.get("refresh_token")
	if shown == "" {
		return issued{}, invalidRequest("refresh_token is missing.")
	}
	asked, err := words(p.get("scope"), maxScopes)
	if err != nil {
		return issued{}, tooManyScopes()
	}
	resource, err := d.resource(r.Context(), web.CallerOf(r), p, "")
	if err != nil {
		return issued{}, err
	}
	m, err := d.userMint(r, app)
	if err != nil {
		return issued{}, err
	}
	rotation := grant.Rotation{
		Keep:     !app.Rotation && app.AuthMethod != application.AuthNone,
		Lifetime: app.Lifetimes.RefreshIdle,
	}
	got, err := db.Write(r.Context(), d.DB, actorOf(web.CallerOf(r), app), func(tx *db.Tx) (issued, error) {
		g, successor, outcome, err := grant.RotateRefresh(r.Context(), tx, d.Ring, shown, app.ID, rotation)
		if err != nil || outcome != grant.Accepted {
			return issued{outcome: outcome}, err
		}
		allowed, err := d.SignIn.AllowsGrant(r.Context(), tx, g)
		if err == nil && !allowed { // rolls the rotation back too: the rules may change again
			err = invalidGrant(refusals[grant.RuledOut])
		}
		if err != nil {
			return issued{}, err
		}
		scopes, err := narrowed(app, g, asked)
		if err != nil { // rolls the rotation back: nothing was issued
			return issued{}, err
		}
		api, err := d.apiOf(r.Context(), tx, app, g, resource)
		if err != nil {
			return issued{}, err
		}
		if err := enough(api, g, tx.Now().Sub(g.AuthTime)); err != nil {
			return issued{}, err
		}
		g.Nonce = "" // it belongs to the sign-in, not to its renewals (OpenID Connect Core §12.2)
		i, err := m.at(api).issue(tx, g, scopesAt(api, scopes))
		i.refresh = successor
		return i, err
	})
	if err == nil && got.outcome != grant.Accepted {
		err = invalidGrant(refusals[got.outcome])
	}
	return got, err
}

// narrowed returns the scopes of a refreshed token: asked, or all that the grant still allows. An
// administrator may have removed some from the application since, and no refresh restores them.
func narrowed(app *application.Application, g grant.Grant, asked []string) ([]string, error) {
	scopes := allowedScopes(app, g.Scopes)
	if len(asked) == 0 {
		return scopes, nil
	}
	for _, s := range asked {
		if !slices.Contains(scopes, s) {
			return nil, invalidScope("The scope %q was not granted; a refresh can only narrow the scope.", s)
		}
	}
	return asked, nil
}
