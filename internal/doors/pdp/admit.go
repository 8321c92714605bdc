package pdp

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

var (
	errNoToken = fault.New(fault.Unauthenticated, "token.missing", "Send an access token with the scope %s: Authorization: Bearer, a space, and the token.", application.ScopeDecide)
	errScope   = fault.New(fault.Denied, "token.scope", "The access token is good, but it does not have the scope %s.", application.ScopeDecide)
)

// asker is who asks, once a token has shown it.
type asker struct {
	caller caller.Caller
	token  grant.Token
	mode   application.PrincipalMode
	base   string // of the tenant, as it was reached
}

// about is the question whom a request is about, as it says itself.
func (a *asker) about(asserted *enginev1.Principal) principal.Ask {
	return principal.Ask{
		Mode: a.mode, Asserted: asserted,
		User: a.token.User, Application: a.token.Application, AMR: a.token.AMR, ACR: a.token.ACR, AuthTime: a.token.AuthTime,
	}
}

// fromDirectory reports whether the directory says who the principal is. Then the request need not
// say what roles it has, nor, for the token's own holder, anything at all.
func (a *asker) fromDirectory() bool { return a.mode == application.FromDirectory }

// admit finds out who holds a token of site's tenant.
func (d *Door) admit(ctx context.Context, c caller.Caller, site web.Site, bearer string) (*asker, error) {
	token, err := d.Tokens.Verify(ctx, c, site.Base, bearer)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(token.Audience, site.Base) && !d.meant(ctx, site, token) {
		return nil, grant.ErrToken
	}
	if !token.Has(application.ScopeDecide) {
		return nil, errScope
	}
	app, err := d.Applications.ByID(ctx, c, token.Application)
	if errors.Is(err, application.ErrNotFound) || err == nil && app.Status != application.Active {
		return nil, grant.ErrToken
	}
	if err != nil {
		return nil, err
	}
	a := &asker{token: token, mode: app.PrincipalMode, base: site.Base}
	actor := caller.Actor{Kind: caller.Application, ID: app.ID, Tenant: c.Tenant, Name: app.Name}
	if !token.User.IsZero() {
		a.mode = application.FromDirectory
		actor = caller.Actor{Kind: caller.User, ID: token.User, Tenant: c.Tenant, Name: token.UserName, Via: app.ID, Session: token.Session}
	}
	a.caller = c.As(actor)
	return a, nil
}

// meant reports whether a token is for another base of the same tenant: one that was given out
// under a domain of its own and is shown over gRPC, where no base is named.
func (d *Door) meant(ctx context.Context, site web.Site, t grant.Token) bool {
	return slices.ContainsFunc(t.Audience, func(aud string) bool {
		of, err := d.Sites.ByIssuer(ctx, aud)
		return err == nil && of.Tenant == site.Tenant
	})
}

// admitCall admits a gRPC call. Whose it is, its token alone says.
func (d *Door) admitCall(ctx context.Context, authorization []string) (context.Context, error) {
	bearer, err := bearerOf(authorization)
	if err != nil {
		return nil, callError(ctx, err)
	}
	site, err := d.home(ctx, bearer)
	if err != nil {
		return nil, callError(ctx, err)
	}
	a, err := d.admit(ctx, web.Enter(ctx, site), site, bearer)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return context.WithValue(ctx, askerKey{}, a), nil
}

type askerKey struct{}

func askerOf(ctx context.Context) *asker { return ctx.Value(askerKey{}).(*asker) }

// home is the tenant whose token it claims to be. Nothing is believed yet; it only says whose
// keys and rows to ask. A token that claims none of ours is as bad as any other.
func (d *Door) home(ctx context.Context, bearer string) (web.Site, error) {
	var site web.Site
	if t, err := secret.ParseToken(bearer); err == nil {
		site, err = d.Sites.Active(ctx, t.Tenant)
		return site, unknownHome(err)
	}
	hash := maphash.String(d.seed, bearer)
	issuer, ok := d.homes.Get(hash)
	if !ok {
		issuer = jose.Peek(bearer).Issuer
		d.homes.Add(hash, issuer)
	}
	site, err := d.Sites.ByIssuer(ctx, issuer)
	return site, unknownHome(err)
}

func unknownHome(err error) error {
	if err != nil && fault.Of(err) == fault.NotFound {
		return grant.ErrToken
	}
	return err
}

// bearerOf reads the one bearer token of a request (RFC 6750 §2.1). Tokens in the query or a
// form are not looked for.
func bearerOf(values []string) (string, error) {
	if len(values) == 0 {
		return "", errNoToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errNoToken
	}
	return token, nil
}
