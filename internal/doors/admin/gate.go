package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Scope is what a token must have to be good for this API. Roles say what its
// holder may do; the scope says that this token was meant for it, so that a token
// given to some web application does not administer a tenant.
const Scope = "gatehouse:manage"

// Tokens finds out whether an access token is good; grant.Verifier does.
type Tokens interface {
	Verify(ctx context.Context, c caller.Caller, issuer, bearer string) (grant.Token, error)
}

// Gate admits callers to operations.
type Gate struct {
	DB     *db.DB
	Tokens Tokens
	// Platform is the platform tenant's site, whose operators may act on others.
	Platform web.Site
}

var errScope = fault.New(fault.Denied, "token.scope", "The access token is good, but it does not have the scope %s.", Scope)

// Admit implements api.Gate.
func (g *Gate) Admit(r *http.Request, op api.Op) (context.Context, caller.Caller, error) {
	ctx, site, c := r.Context(), web.SiteOf(r), web.CallerOf(r)
	if op.Platform && site.Tenant != g.Platform.Tenant {
		return nil, c, fault.New(fault.NotFound, "request.not_found", "There is nothing at this address: it exists under the platform tenant only.")
	}
	bearer, err := bearerOf(r)
	if err != nil {
		return nil, c, err
	}
	home, ok := g.home(site, bearer)
	if !ok {
		return nil, c, grant.ErrToken
	}
	atHome := c
	atHome.Tenant = home.Tenant
	token, err := g.Tokens.Verify(ctx, atHome, home.Base, bearer)
	if err != nil {
		return nil, c, err
	}
	if !slices.Contains(token.Audience, home.Base) {
		return nil, c, grant.ErrToken
	}
	if !token.Has(Scope) {
		return nil, c, errScope
	}
	actor, held, err := g.holder(ctx, atHome, token)
	if err != nil {
		return nil, c, err
	}
	if !held.Allows(op.Action) {
		return nil, c, fault.New(fault.Denied, "action.denied", "None of your roles allows %s.", op.Action)
	}
	return role.Holding(ctx, held), c.As(actor), nil
}

// home is the tenant whose token it claims to be: the one addressed, or the
// platform. Nothing is believed yet; it only says whose keys and rows to ask.
func (g *Gate) home(site web.Site, bearer string) (web.Site, bool) {
	if t, err := secret.ParseToken(bearer); err == nil {
		switch t.Tenant {
		case site.Tenant:
			return site, true
		case g.Platform.Tenant:
			return g.Platform, true
		}
		return web.Site{}, false
	}
	switch issuerOf(bearer) {
	case site.Base:
		return site, true
	case g.Platform.Base:
		return g.Platform, true
	}
	return web.Site{}, false
}

// holder finds who holds a token and what they may do at this moment.
func (g *Gate) holder(ctx context.Context, c caller.Caller, t grant.Token) (actor caller.Actor, held role.Set, err error) {
	subject := role.OfApplication(t.Application)
	if !t.User.IsZero() {
		subject = role.OfUser(t.User)
	}
	err = g.DB.View(ctx, c, func(tx *db.Tx) error {
		app, err := application.Get(ctx, tx, t.Application)
		if errors.Is(err, application.ErrNotFound) || err == nil && app.Status != application.Active {
			return grant.ErrToken
		}
		if err != nil {
			return err
		}
		actor = caller.Actor{Kind: caller.Application, ID: app.ID, Tenant: c.Tenant, Name: app.Name}
		if !t.User.IsZero() {
			actor = caller.Actor{Kind: caller.User, ID: t.User, Tenant: c.Tenant, Name: t.UserName, Via: app.ID, Session: t.Session}
		}
		held, err = role.ActionsOf(ctx, tx, subject)
		return err
	})
	return actor, held, err
}

// bearerOf reads the one bearer token of a request (RFC 6750 §2.1). Tokens in the
// query or a form are not looked for.
func bearerOf(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", grant.ErrToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", grant.ErrToken
	}
	return token, nil
}

// issuerOf reads the iss claim of a JWT without believing it.
func issuerOf(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || len(jwt) > 16<<10 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
