package pdp

//lint:file-ignore SA1019 Clients still send and read what Cerbos has deprecated.

import (
	"context"
	"slices"
	"strings"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
)

// batchEntry is a resource of a batch with the actions to decide.
type batchEntry interface {
	GetActions() []string
	GetResource() *enginev1.Resource
}

// batch is a request that checks several resources for one principal.
type batch[E batchEntry] struct {
	requestID string
	principal *enginev1.Principal
	entries   []E
	auxData   *requestv1.AuxData
}

// inputs returns one input of the engine for each entry, or refuses a batch that is too large.
func (b batch[E]) inputs(ctx context.Context, d *Door, a *requester) ([]*enginev1.CheckInput, error) {
	if err := limitResources(len(b.entries)); err != nil {
		return nil, err
	}
	aux, err := d.Engine.AuxData(ctx, a.caller, b.auxData)
	if err != nil {
		return nil, err
	}
	inputs := make([]*enginev1.CheckInput, len(b.entries))
	for i, e := range b.entries {
		if err := limitActions(len(e.GetActions())); err != nil {
			return nil, err
		}
		inputs[i] = &enginev1.CheckInput{
			RequestId: b.requestID, Principal: b.principal, AuxData: aux,
			Actions: e.GetActions(), Resource: e.GetResource(),
		}
	}
	return inputs, nil
}

func (s cerbosService) checkResources(
	ctx context.Context, a *requester, m *requestv1.CheckResourcesRequest, size int,
) (*responsev1.CheckResourcesResponse, error) {
	if err := a.validate(m, &m.Principal, func() bool { return goodCheckResources(m) }); err != nil {
		return nil, err
	}
	b := batch[*requestv1.CheckResourcesRequest_ResourceEntry]{m.RequestId, m.Principal, m.Resources, m.AuxData}
	inputs, err := b.inputs(ctx, s.d, a)
	if err != nil {
		return nil, err
	}
	call, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	return results(m.RequestId, call.String(), inputs, outputs, m.IncludeMeta), nil
}

// results returns Cerbos' answer to a check.
func results(
	requestID, callID string, inputs []*enginev1.CheckInput, outputs []*enginev1.CheckOutput, meta bool,
) *responsev1.CheckResourcesResponse {
	resp := &responsev1.CheckResourcesResponse{
		RequestId: requestID, CerbosCallId: callID,
		Results: make([]*responsev1.CheckResourcesResponse_ResultEntry, len(outputs)),
	}
	for i, out := range outputs {
		r := inputs[i].Resource
		resp.Results[i] = &responsev1.CheckResourcesResponse_ResultEntry{
			Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{
				Id: r.Id, Kind: r.Kind, PolicyVersion: r.PolicyVersion, Scope: r.Scope,
			},
			Actions: effects(out), ValidationErrors: out.ValidationErrors, Outputs: out.Outputs,
		}
		if meta {
			resp.Results[i].Meta = resultMeta(out)
		}
	}
	return resp
}

// resultMeta says which policies decided, and which derived roles held.
func resultMeta(out *enginev1.CheckOutput) *responsev1.CheckResourcesResponse_ResultEntry_Meta {
	type effectMeta = responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta
	actions := make(map[string]*effectMeta, len(out.Actions))
	for action, e := range out.Actions {
		actions[action] = &effectMeta{MatchedPolicy: e.Policy, MatchedScope: e.Scope}
	}
	return &responsev1.CheckResourcesResponse_ResultEntry_Meta{
		EffectiveDerivedRoles: out.EffectiveDerivedRoles, Actions: actions,
	}
}

func effects(out *enginev1.CheckOutput) map[string]effectv1.Effect {
	m := make(map[string]effectv1.Effect, len(out.Actions))
	for action, e := range out.Actions {
		m[action] = e.Effect
	}
	return m
}

// checkResourceSet answers the oldest form: instances of one kind, and the same actions on each.
func (s cerbosService) checkResourceSet(
	ctx context.Context, a *requester, m *requestv1.CheckResourceSetRequest, size int,
) (*responsev1.CheckResourceSetResponse, error) {
	if err := a.validate(m, &m.Principal, noShortcut); err != nil {
		return nil, err
	}
	if err := limitResources(len(m.Resource.Instances)); err != nil {
		return nil, err
	}
	if err := limitActions(len(m.Actions)); err != nil {
		return nil, err
	}
	aux, err := s.d.Engine.AuxData(ctx, a.caller, m.AuxData)
	if err != nil {
		return nil, err
	}
	inputs := make([]*enginev1.CheckInput, 0, len(m.Resource.Instances))
	for name, instance := range m.Resource.Instances {
		inputs = append(inputs, &enginev1.CheckInput{
			RequestId: m.RequestId, Principal: m.Principal, AuxData: aux, Actions: m.Actions,
			Resource: &enginev1.Resource{
				Kind: m.Resource.Kind, PolicyVersion: m.Resource.PolicyVersion, Scope: m.Resource.Scope,
				Id: name, Attr: instance.GetAttr(),
			},
		})
	}
	slices.SortFunc(inputs, func(a, b *enginev1.CheckInput) int {
		return strings.Compare(a.Resource.Id, b.Resource.Id)
	})
	_, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	return setResults(m, inputs, outputs), nil
}

// setResults returns Cerbos' answer to a check of the oldest form.
func setResults(
	m *requestv1.CheckResourceSetRequest, inputs []*enginev1.CheckInput, outputs []*enginev1.CheckOutput,
) *responsev1.CheckResourceSetResponse {
	type (
		instance = responsev1.CheckResourceSetResponse_ActionEffectMap
		meta     = responsev1.CheckResourceSetResponse_Meta_ActionMeta
	)
	resp := &responsev1.CheckResourceSetResponse{
		RequestId: m.RequestId, ResourceInstances: make(map[string]*instance, len(outputs)),
	}
	if m.IncludeMeta {
		resp.Meta = &responsev1.CheckResourceSetResponse_Meta{ResourceInstances: make(map[string]*meta, len(outputs))}
	}
	for i, out := range outputs {
		name := inputs[i].Resource.Id
		resp.ResourceInstances[name] = &instance{Actions: effects(out), ValidationErrors: out.ValidationErrors}
		if m.IncludeMeta {
			resp.Meta.ResourceInstances[name] = setMeta(out)
		}
	}
	return resp
}

// setMeta is resultMeta in the oldest form.
func setMeta(out *enginev1.CheckOutput) *responsev1.CheckResourceSetResponse_Meta_ActionMeta {
	type effectMeta = responsev1.CheckResourceSetResponse_Meta_EffectMeta
	actions := make(map[string]*effectMeta, len(out.Actions))
	for action, e := range out.Actions {
		actions[action] = &effectMeta{MatchedPolicy: e.Policy, MatchedScope: e.Scope}
	}
	return &responsev1.CheckResourceSetResponse_Meta_ActionMeta{
		EffectiveDerivedRoles: out.EffectiveDerivedRoles, Actions: actions,
	}
}

// checkResourceBatch answers the form that CheckResources replaced.
func (s cerbosService) checkResourceBatch(
	ctx context.Context, a *requester, m *requestv1.CheckResourceBatchRequest, size int,
) (*responsev1.CheckResourceBatchResponse, error) {
	if err := a.validate(m, &m.Principal, noShortcut); err != nil {
		return nil, err
	}
	b := batch[*requestv1.CheckResourceBatchRequest_BatchEntry]{m.RequestId, m.Principal, m.Resources, m.AuxData}
	inputs, err := b.inputs(ctx, s.d, a)
	if err != nil {
		return nil, err
	}
	_, outputs, err := s.d.check(ctx, a, decision.Check, inputs, size)
	if err != nil {
		return nil, err
	}
	resp := &responsev1.CheckResourceBatchResponse{
		RequestId: m.RequestId, Results: make([]*responsev1.CheckResourceBatchResponse_ActionEffectMap, len(outputs)),
	}
	for i, out := range outputs {
		resp.Results[i] = &responsev1.CheckResourceBatchResponse_ActionEffectMap{
			ResourceId: inputs[i].Resource.Id, Actions: effects(out), ValidationErrors: out.ValidationErrors,
		}
	}
	return resp, nil
}
