package pdp

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"context"
	"slices"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// CerbosVersion is the version of Cerbos whose API this is. SDKs ask for it before they use what
// is newer.
const CerbosVersion = "0.55.0"

var serverInfo = &responsev1.ServerInfoResponse{Version: CerbosVersion}

// cerbosService is cerbos.svc.v1.CerbosService. Its exported methods are gRPC's; each has a
// twin for both transports.
type cerbosService struct {
	svcv1.UnimplementedCerbosServiceServer
	d *Door
}

// CheckResources implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResources(ctx context.Context, m *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	var sc scan
	sc.text(m.RequestId)
	sc.principal(m.Principal)
	for _, e := range m.Resources {
		sc.text(e.GetActions()...)
		sc.resource(e.GetResource())
	}
	return called(ctx, &sc, m, s.checkResources)
}

// PlanResources implements svcv1.CerbosServiceServer.
func (s cerbosService) PlanResources(ctx context.Context, m *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse, error) {
	var sc scan
	sc.text(m.RequestId, m.Action) //nolint:staticcheck // still served
	sc.text(m.Actions...)
	sc.principal(m.Principal)
	if r := m.Resource; r != nil {
		sc.text(r.Kind, r.PolicyVersion, r.Scope)
		sc.fields(r.Attr)
	}
	return called(ctx, &sc, m, s.planResources)
}

// CheckResourceSet implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResourceSet(ctx context.Context, m *requestv1.CheckResourceSetRequest) (*responsev1.CheckResourceSetResponse, error) {
	var sc scan
	sc.text(m.RequestId, m.Resource.GetKind(), m.Resource.GetPolicyVersion(), m.Resource.GetScope())
	sc.text(m.Actions...)
	sc.principal(m.Principal)
	for name, r := range m.Resource.GetInstances() {
		sc.text(name)
		sc.fields(r.GetAttr())
	}
	return called(ctx, &sc, m, s.checkResourceSet)
}

// CheckResourceBatch implements svcv1.CerbosServiceServer.
func (s cerbosService) CheckResourceBatch(ctx context.Context, m *requestv1.CheckResourceBatchRequest) (*responsev1.CheckResourceBatchResponse, error) {
	var sc scan
	sc.text(m.RequestId)
	sc.principal(m.Principal)
	for _, e := range m.Resources {
		sc.text(e.GetActions()...)
		sc.resource(e.GetResource())
	}
	return called(ctx, &sc, m, s.checkResourceBatch)
}

// ServerInfo implements svcv1.CerbosServiceServer.
func (s cerbosService) ServerInfo(context.Context, *requestv1.ServerInfoRequest) (*responsev1.ServerInfoResponse, error) {
	return serverInfo, nil
}

// called answers a gRPC call.
func called[Req, Resp any](ctx context.Context, sc *scan, m *Req, fn func(context.Context, *asker, *Req, int) (*Resp, error)) (*Resp, error) {
	if err := sc.err(); err != nil {
		return nil, callError(ctx, err)
	}
	resp, err := fn(ctx, askerOf(ctx), m, web.CallSize(ctx))
	if err != nil {
		return nil, callError(ctx, err)
	}
	return resp, nil
}

// lawful applies a message's rules. good says whether it keeps them all.
func (a *asker) lawful(m proto.Message, p **enginev1.Principal, good func() bool) error {
	named := *p
	if a.fromDirectory() {
		*p = a.standIn(named)
	}
	ok := good()
	var err error
	if !ok {
		err = violations(m)
	}
	*p = named
	return err
}

// standIn is the principal for the rules, where the request may leave to the directory what Cerbos
// would have it say: the roles, and of the token's own holder everything.
func (a *asker) standIn(p *enginev1.Principal) *enginev1.Principal {
	out := &enginev1.Principal{Id: p.GetId(), PolicyVersion: p.GetPolicyVersion(), Roles: p.GetRoles(), Attr: p.GetAttr(), Scope: p.GetScope()}
	if p == nil {
		out.Id = "-"
	}
	if len(out.Roles) == 0 {
		out.Roles = []string{"-"}
	}
	return out
}

func (s cerbosService) checkResources(ctx context.Context, a *asker, m *requestv1.CheckResourcesRequest, size int) (*responsev1.CheckResourcesResponse, error) {
	if err := a.lawful(m, &m.Principal, func() bool { return goodCheckResources(m) }); err != nil {
		return nil, err
	}
	if err := fewResources(len(m.Resources)); err != nil {
		return nil, err
	}
	aux, err := s.d.AuxData.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	inputs := make([]*enginev1.CheckInput, len(m.Resources))
	for i, e := range m.Resources {
		if err := fewActions(len(e.Actions)); err != nil {
			return nil, err
		}
		inputs[i] = &enginev1.CheckInput{RequestId: m.RequestId, Actions: e.Actions, Principal: m.Principal, Resource: e.Resource, AuxData: aux}
	}
	call, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	return results(m.RequestId, call.String(), inputs, outputs, m.IncludeMeta), nil
}

// results is Cerbos' answer to a check.
func results(requestID, callID string, inputs []*enginev1.CheckInput, outputs []*enginev1.CheckOutput, meta bool) *responsev1.CheckResourcesResponse {
	resp := &responsev1.CheckResourcesResponse{RequestId: requestID, CerbosCallId: callID, Results: make([]*responsev1.CheckResourcesResponse_ResultEntry, len(outputs))}
	for i, out := range outputs {
		r := inputs[i].Resource
		entry := &responsev1.CheckResourcesResponse_ResultEntry{
			Resource:         &responsev1.CheckResourcesResponse_ResultEntry_Resource{Id: r.Id, Kind: r.Kind, PolicyVersion: r.PolicyVersion, Scope: r.Scope},
			Actions:          effects(out),
			ValidationErrors: out.ValidationErrors,
			Outputs:          out.Outputs,
		}
		if meta {
			entry.Meta = &responsev1.CheckResourcesResponse_ResultEntry_Meta{
				EffectiveDerivedRoles: out.EffectiveDerivedRoles,
				Actions:               make(map[string]*responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta, len(out.Actions)),
			}
			for action, e := range out.Actions {
				entry.Meta.Actions[action] = &responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{MatchedPolicy: e.Policy, MatchedScope: e.Scope}
			}
		}
		resp.Results[i] = entry
	}
	return resp
}

func effects(out *enginev1.CheckOutput) map[string]effectv1.Effect {
	m := make(map[string]effectv1.Effect, len(out.Actions))
	for action, e := range out.Actions {
		m[action] = e.Effect
	}
	return m
}

func (s cerbosService) planResources(ctx context.Context, a *asker, m *requestv1.PlanResourcesRequest, size int) (*responsev1.PlanResourcesResponse, error) {
	if err := a.lawful(m, &m.Principal, func() bool { return goodPlanResources(m) }); err != nil {
		return nil, err
	}
	aux, err := s.d.AuxData.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	one := m.Action //nolint:staticcheck // still served
	actions := m.Actions
	if one != "" {
		actions = []string{one}
	}
	call, out, err := s.d.plan(ctx, a, &enginev1.PlanResourcesInput{
		RequestId: m.RequestId, Action: one, Actions: actions, Principal: m.Principal, Resource: m.Resource, AuxData: aux, IncludeMeta: m.IncludeMeta,
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
		if one == "" {
			resp.Meta.MatchedScopes = out.MatchedScopes
		} else {
			resp.Meta.MatchedScope = out.MatchedScopes[one] //nolint:staticcheck // still served
		}
	}
	if one == "" {
		resp.Actions = m.Actions
	} else {
		resp.Action = one //nolint:staticcheck // still served
	}
	return resp, nil
}

// checkResourceSet answers the oldest form: one kind, some instances, the same actions on each.
func (s cerbosService) checkResourceSet(ctx context.Context, a *asker, m *requestv1.CheckResourceSetRequest, size int) (*responsev1.CheckResourceSetResponse, error) {
	if err := a.lawful(m, &m.Principal, never); err != nil {
		return nil, err
	}
	if err := fewResources(len(m.Resource.Instances)); err != nil {
		return nil, err
	}
	if err := fewActions(len(m.Actions)); err != nil {
		return nil, err
	}
	aux, err := s.d.AuxData.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	inputs := make([]*enginev1.CheckInput, 0, len(m.Resource.Instances))
	for name, instance := range m.Resource.Instances {
		inputs = append(inputs, &enginev1.CheckInput{RequestId: m.RequestId, Actions: m.Actions, Principal: m.Principal, AuxData: aux, Resource: &enginev1.Resource{
			Kind: m.Resource.Kind, PolicyVersion: m.Resource.PolicyVersion, Scope: m.Resource.Scope, Id: name, Attr: instance.GetAttr(),
		}})
	}
	slices.SortFunc(inputs, func(a, b *enginev1.CheckInput) int {
		if a.Resource.Id < b.Resource.Id {
			return -1
		}
		return 1
	})
	_, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	resp := &responsev1.CheckResourceSetResponse{RequestId: m.RequestId, ResourceInstances: make(map[string]*responsev1.CheckResourceSetResponse_ActionEffectMap, len(outputs))}
	if m.IncludeMeta {
		resp.Meta = &responsev1.CheckResourceSetResponse_Meta{ResourceInstances: make(map[string]*responsev1.CheckResourceSetResponse_Meta_ActionMeta, len(outputs))}
	}
	for i, out := range outputs {
		name := inputs[i].Resource.Id
		resp.ResourceInstances[name] = &responsev1.CheckResourceSetResponse_ActionEffectMap{Actions: effects(out), ValidationErrors: out.ValidationErrors}
		if m.IncludeMeta {
			meta := &responsev1.CheckResourceSetResponse_Meta_ActionMeta{
				EffectiveDerivedRoles: out.EffectiveDerivedRoles,
				Actions:               make(map[string]*responsev1.CheckResourceSetResponse_Meta_EffectMeta, len(out.Actions)),
			}
			for action, e := range out.Actions {
				meta.Actions[action] = &responsev1.CheckResourceSetResponse_Meta_EffectMeta{MatchedPolicy: e.Policy, MatchedScope: e.Scope}
			}
			resp.Meta.ResourceInstances[name] = meta
		}
	}
	return resp, nil
}

// checkResourceBatch answers the form before CheckResources.
func (s cerbosService) checkResourceBatch(ctx context.Context, a *asker, m *requestv1.CheckResourceBatchRequest, size int) (*responsev1.CheckResourceBatchResponse, error) {
	if err := a.lawful(m, &m.Principal, never); err != nil {
		return nil, err
	}
	if err := fewResources(len(m.Resources)); err != nil {
		return nil, err
	}
	aux, err := s.d.AuxData.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	inputs := make([]*enginev1.CheckInput, len(m.Resources))
	for i, e := range m.Resources {
		if err := fewActions(len(e.Actions)); err != nil {
			return nil, err
		}
		inputs[i] = &enginev1.CheckInput{RequestId: m.RequestId, Actions: e.Actions, Principal: m.Principal, Resource: e.Resource, AuxData: aux}
	}
	_, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	resp := &responsev1.CheckResourceBatchResponse{RequestId: m.RequestId, Results: make([]*responsev1.CheckResourceBatchResponse_ActionEffectMap, len(outputs))}
	for i, out := range outputs {
		resp.Results[i] = &responsev1.CheckResourceBatchResponse_ActionEffectMap{ResourceId: inputs[i].Resource.Id, Actions: effects(out), ValidationErrors: out.ValidationErrors}
	}
	return resp, nil
}

// never leaves the rules of the older messages to protovalidate.
func never() bool { return false }
