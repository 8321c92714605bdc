package pdp

//lint:file-ignore SA1019 Clients still send and read what Cerbos has deprecated.

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
)

func (s cerbosService) planResources(
	ctx context.Context, a *requester, m *requestv1.PlanResourcesRequest, size int,
) (*responsev1.PlanResourcesResponse, error) {
	if err := a.validate(m, &m.Principal, func() bool { return goodPlanResources(m) }); err != nil {
		return nil, err
	}
	aux, err := s.d.Engine.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	one := m.Action //nolint:staticcheck // still served
	actions := m.Actions
	if one != "" {
		actions = []string{one}
	}
	call, out, err := s.d.plan(ctx, a, &enginev1.PlanResourcesInput{
		RequestId: m.RequestId, Action: one, Actions: actions, Principal: m.Principal, Resource: m.Resource,
		AuxData: aux, IncludeMeta: m.IncludeMeta,
	}, size)
	if err != nil {
		return nil, err
	}
	resp := &responsev1.PlanResourcesResponse{
		RequestId: m.RequestId, ResourceKind: m.Resource.Kind, PolicyVersion: m.Resource.PolicyVersion,
		Filter: out.Filter, ValidationErrors: out.ValidationErrors, CerbosCallId: call.String(),
	}
	if m.IncludeMeta {
		resp.Meta = &responsev1.PlanResourcesResponse_Meta{FilterDebug: out.FilterDebug}
	}
	if one == "" {
		resp.Actions = m.Actions
		if resp.Meta != nil {
			resp.Meta.MatchedScopes = out.MatchedScopes
		}
		return resp, nil
	}
	resp.Action = one //nolint:staticcheck // still served
	if resp.Meta != nil {
		resp.Meta.MatchedScope = out.MatchedScopes[one] //nolint:staticcheck // still served
	}
	return resp, nil
}
