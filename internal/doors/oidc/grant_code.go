package oidc

import (
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// redeemCode redeems an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (d *Door) redeemCode(r *http.Request, app *application.Application, p params) (issued, error) {
	code, uri, verifier := p.get("code"), p.get("redirect_uri"), p.get("code_verifier")
	if code == "" {
		return issued{}, invalidRequest("code is missing.")
	}
	resource, err := d.resource(r.Context(), web.CallerOf(r), p, "")
	if err != nil {
		return issued{}, err
	}
	m, err := d.userMint(r, app)
	if err != nil {
		return issued{}, err
	}
	matches := func(redirectURI, challenge string) bool {
		// OAuth 2.1 §4.1.3 drops redirect_uri here: the challenge binds the code to the client that
		// sent the request. openid-client takes it from the browser's address, which has a path.
		if redirectURI != uri && application.OtherSpelling(redirectURI) != uri && (uri != "" || challenge == "") {
			return false
		}
		// A verifier for a code without a challenge is an error: an attacker removed the challenge
		// from the authorization request (RFC 9700 §4.8.2).
		if challenge == "" {
			return verifier == "" && app.AuthMethod != application.AuthNone
		}
		return verifyChallenge(challenge, verifier)
	}
	redemption := grant.Redemption{Application: app.ID, Matches: matches, Allows: d.SignIn.AllowsGrant}
	got, err := db.Write(r.Context(), d.DB, actorOf(web.CallerOf(r), app), func(tx *db.Tx) (issued, error) {
		g, outcome, err := grant.ConsumeCode(r.Context(), tx, code, redemption)
		if err != nil || outcome != grant.Accepted {
			return issued{outcome: outcome}, err
		}
		return d.issueFirst(r.Context(), tx, m, g, resource)
	})
	if err == nil && got.outcome != grant.Accepted {
		err = invalidGrant(refusals[got.outcome])
	}
	return got, err
}
