package pdp

//lint:file-ignore SA1019 Clients still send and read what Cerbos has deprecated.

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// cerbosVersion is the version of Cerbos whose API this is. SDKs read it before they use newer
// features.
const cerbosVersion = "0.55.0"

var serverInfo = &responsev1.ServerInfoResponse{Version: cerbosVersion}

// cerbosService is cerbos.svc.v1.CerbosService. Each exported method serves gRPC and calls an
// unexported one, which HTTP shares.
type cerbosService struct {
	svcv1.UnimplementedCerbosServiceServer
	d *Door
}

// CheckResources implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResources(
	ctx context.Context, m *requestv1.CheckResourcesRequest,
) (*responsev1.CheckResourcesResponse, error) {
	var sc scan
	sc.text(m.RequestId)
	sc.principal(m.Principal)
	for _, e := range m.Resources {
		sc.text(e.GetActions()...)
		sc.resource(e.GetResource())
	}
	return serveCall(ctx, &sc, m, s.checkResources)
}

// PlanResources implements svcv1.CerbosServiceServer.
func (s cerbosService) PlanResources(
	ctx context.Context, m *requestv1.PlanResourcesRequest,
) (*responsev1.PlanResourcesResponse, error) {
	var sc scan
	sc.text(m.RequestId, m.Action) //nolint:staticcheck // still served
	sc.text(m.Actions...)
	sc.principal(m.Principal)
	if r := m.Resource; r != nil {
		sc.text(r.Kind, r.PolicyVersion, r.Scope)
		sc.attributes(r.Attr)
	}
	return serveCall(ctx, &sc, m, s.planResources)
}

// CheckResourceSet implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResourceSet(
	ctx context.Context, m *requestv1.CheckResourceSetRequest,
) (*responsev1.CheckResourceSetResponse, error) {
	var sc scan
	sc.text(m.RequestId, m.Resource.GetKind(), m.Resource.GetPolicyVersion(), m.Resource.GetScope())
	sc.text(m.Actions...)
	sc.principal(m.Principal)
	for name, r := range m.Resource.GetInstances() {
		sc.text(name)
		sc.attributes(r.GetAttr())
	}
	return serveCall(ctx, &sc, m, s.checkResourceSet)
}

// CheckResourceBatch implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResourceBatch(
	ctx context.Context, m *requestv1.CheckResourceBatchRequest,
) (*responsev1.CheckResourceBatchResponse, error) {
	var sc scan
	sc.text(m.RequestId)
	sc.principal(m.Principal)
	for _, e := range m.Resources {
		sc.text(e.GetActions()...)
		sc.resource(e.GetResource())
	}
	return serveCall(ctx, &sc, m, s.checkResourceBatch)
}

// ServerInfo implements svcv1.CerbosServiceServer.
func (s cerbosService) ServerInfo(
	context.Context, *requestv1.ServerInfoRequest,
) (*responsev1.ServerInfoResponse, error) {
	return serverInfo, nil
}

// serveCall answers a gRPC call with fn, unless sc found the message unfit.
func serveCall[Req, Resp any](
	ctx context.Context, sc *scan, m *Req, fn func(context.Context, *requester, *Req, int) (*Resp, error),
) (*Resp, error) {
	if err := sc.err(); err != nil {
		return nil, callError(ctx, err)
	}
	resp, err := fn(ctx, requesterOf(ctx), m, web.CallSize(ctx))
	if err != nil {
		return nil, callError(ctx, err)
	}
	return resp, nil
}

// validate applies the rules of m, whose principal is *p. good reports whether m keeps them all.
// Otherwise protovalidate says which it breaks.
func (a *requester) validate(m proto.Message, p **enginev1.Principal, good func() bool) error {
	named := *p
	if a.fromDirectory() {
		*p = placeholderPrincipal(named)
		defer func() { *p = named }()
	}
	if good() {
		return nil
	}
	return violations(m)
}

// placeholderPrincipal completes p for the rules. With the directory a request may omit what Cerbos
// requires: the roles, and the whole principal if it is the token's own holder.
func placeholderPrincipal(p *enginev1.Principal) *enginev1.Principal {
	out := &enginev1.Principal{
		Id: p.GetId(), PolicyVersion: p.GetPolicyVersion(), Roles: p.GetRoles(), Attr: p.GetAttr(), Scope: p.GetScope(),
	}
	if p == nil {
		out.Id = "-"
	}
	if len(out.Roles) == 0 {
		out.Roles = []string{"-"}
	}
	return out
}

// noShortcut leaves the rules of the older messages to protovalidate.
func noShortcut() bool { return false }
