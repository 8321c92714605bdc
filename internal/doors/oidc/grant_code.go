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
	differing := ""
	compare := func(redirectURI, challenge string) string {
		// OAuth 2.1 §4.1.3 drops redirect_uri here: the challenge binds the code to the client that
		// sent the request. openid-client takes it from the browser's address, which has a path.
		if redirectURI != uri && application.OtherSpelling(redirectURI) != uri && (uri != "" || challenge == "") {
			return "redirect_uri"
		}
		// A verifier for a code without a challenge is an error: an attacker removed the challenge
		// from the authorization request (RFC 9700 §4.8.2).
		bound := verifier == "" && app.AuthMethod != application.AuthNone
		if challenge != "" {
			bound = verifyChallenge(challenge, verifier)
		}
		if !bound {
			return "code_verifier"
		}
		return ""
	}
	redemption := grant.Redemption{Application: app.ID, Differs: func(redirectURI, challenge string) string {
		differing = compare(redirectURI, challenge)
		return differing
	}, Allows: d.SignIn.AllowsGrant}
	got, err := db.Write(r.Context(), d.DB, actorOf(web.CallerOf(r), app), func(tx *db.Tx) (issued, error) {
		g, outcome, err := grant.ConsumeCode(r.Context(), tx, code, redemption)
		if err != nil || outcome != grant.Accepted {
			return issued{outcome: outcome}, err
		}
		return d.issueFirst(r.Context(), tx, m, g, resource)
	})
	if err == nil && got.outcome != grant.Accepted {
		refused := invalidGrant(refusals[got.outcome])
		if got.outcome == grant.Mismatch { // the client is not told which, because it may be a thief
			refused.cause = differing + " is not that of the authorization request."
		}
		err = refused
	}
	return got, err
}
