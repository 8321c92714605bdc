package pdp

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// errNoToken is access.ErrNoToken with the scope that the token must have.
var errNoToken = fault.New(access.ErrNoToken.Kind, access.ErrNoToken.Code,
	"Send an access token with the scope %s: Authorization: Bearer, a space, and the token.",
	resourceserver.Decision.Scope)

// requester is the holder of the token that a request was admitted with.
type requester struct {
	caller caller.Caller
	token  grant.Token
	mode   application.PrincipalMode
	base   string // of the tenant, as the request addressed it
}

// about returns the question that resolves the principal of a request. asserted is the principal in
// the request.
func (a *requester) about(asserted *enginev1.Principal) principal.Ask {
	return principal.Ask{
		Mode: a.mode, Asserted: asserted, User: a.token.User, Application: a.token.Application,
		AMR: a.token.AMR, ACR: a.token.ACR, AuthTime: a.token.AuthTime,
	}
}

// fromDirectory reports whether principals come from the directory. Then a request may omit their
// roles, and the whole principal if it is the token's own holder.
func (a *requester) fromDirectory() bool { return a.mode == application.FromDirectory }

// admit admits a token to a base of its own tenant.
func (d *Door) admit(ctx context.Context, c caller.Caller, site web.Site, bearer string) (*requester, error) {
	h, err := d.Access.Admit(ctx, c, site, access.Proof{Bearer: bearer}, access.Want{Own: resourceserver.Decision})
	if err != nil {
		return nil, err
	}
	a := &requester{caller: h.Caller, token: h.Token, mode: h.Application.PrincipalMode, base: site.Base}
	if !h.Token.User.IsZero() {
		a.mode = application.FromDirectory
	}
	return a, nil
}

// admitCall admits a gRPC call. Its token alone selects the tenant.
func (d *Door) admitCall(ctx context.Context, authorization []string) (context.Context, error) {
	bearer, ok := access.Bearer(authorization)
	if !ok {
		return nil, callError(ctx, errNoToken)
	}
	site, err := d.Access.Home(ctx, bearer)
	if err != nil {
		return nil, callError(ctx, err)
	}
	c := web.Enter(ctx, site)
	a, err := d.admit(ctx, c, site, bearer)
	if err != nil {
		d.Access.Record(ctx, c, access.RefusedDecision, err)
		return nil, callError(ctx, err)
	}
	return context.WithValue(ctx, requesterKey{}, a), nil
}

type requesterKey struct{}

func requesterOf(ctx context.Context) *requester { return ctx.Value(requesterKey{}).(*requester) }
