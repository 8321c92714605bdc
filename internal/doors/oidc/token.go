package oidc

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// The paths of the endpoints for programs, besides discovery.
const (
	tokenPath      = "/oauth2/token"
	introspectPath = "/oauth2/introspect"
	revokePath     = "/oauth2/revoke"
)

// userinfoPath is the path of userinfo, which is a protected resource too.
var userinfoPath = resourceserver.Userinfo.Path

// grantType is one way to get tokens (RFC 6749 §4). Each has a file of its own.
type grantType struct {
	name string // the value of grant_type
	// redeem checks the parameters of a client that has authenticated. It consumes the code or
	// token among them in one transaction, and fails with an apiError if that is refused.
	redeem func(*Door, *http.Request, *application.Application, params) (issued, error)
}

// grantTypes are the grant types that the token endpoint accepts and discovery names.
var grantTypes = []grantType{
	{"authorization_code", (*Door).redeemCode},
	{"refresh_token", (*Door).redeemRefresh},
	{"client_credentials", (*Door).redeemClientCredentials},
	{deviceGrant, (*Door).redeemDevice},
}

func grantTypeNames() []string {
	names := make([]string, len(grantTypes))
	for i, g := range grantTypes {
		names[i] = g.name
	}
	return names
}

// token answers the token endpoint. It authenticates the client before it reads any other parameter
// (RFC 6749 §3.2.1).
func (d *Door) token(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	name := p.get("grant_type")
	if name == "" {
		return invalidRequest("grant_type is missing.")
	}
	i := slices.IndexFunc(grantTypes, func(g grantType) bool { return g.name == name })
	if i < 0 {
		return badRequest(codeUnsupportedGrant,
			"grant_type must be one of: "+strings.Join(grantTypeNames(), ", ")+".")
	}
	got, err := grantTypes[i].redeem(d, r, app, p)
	if err != nil {
		return targetRefused(err)
	}
	if got.api != nil && !got.isOpaque() {
		if got.access, err = d.apiSigner(r.Context(), web.CallerOf(r), got.api); err != nil {
			return err
		}
	}
	resp, err := got.response()
	if err != nil {
		return err
	}
	d.recordIssue(r, got, name)
	d.noteMappings(r.Context(), actorOf(web.CallerOf(r), app), app, got.about)
	writeJSON(w, http.StatusOK, jsonBody(resp))
	return nil
}

// recordIssue writes the access record of tokens that were issued.
func (d *Door) recordIssue(r *http.Request, got issued, grantType string) {
	detail := map[string]any{"grant_type": grantType, "scope": joinScopes(got.scopes), "jti": got.tokenID}
	if got.api != nil {
		detail["api"] = got.api.Identifier
	}
	if g := got.grant; !g.ID.IsZero() {
		detail["user"], detail["grant"] = g.User.String(), g.ID.String()
	}
	d.Records.Record(actorOf(web.CallerOf(r), got.app), audit.Access{Action: "token.issue",
		Target: audit.Target{Kind: "application", ID: got.app.ID.String(), Name: got.app.Name},
		User:   got.grant.User, GrantType: grantType, Detail: detail})
}

// refusals are the descriptions of invalid_grant. They tell the client why its code or refresh
// token was refused.
var refusals = map[grant.Outcome]string{
	grant.Unknown:  "It is unknown, was issued to another client, or the sign-in that it came from has ended.",
	grant.Expired:  "It has expired.",
	grant.Replayed: "It was used before. For safety everything that came from it has been revoked.",
	grant.Mismatch: "redirect_uri or code_verifier differs from the one in the authorization request.",
	grant.RuledOut: "The person may not go on using this application without signing in again.",
}
