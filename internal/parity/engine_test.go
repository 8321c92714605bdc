package parity

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// direct asks the engine in this process, with no door before it.
type direct struct {
	engine policy.Engine
	caller caller.Caller
}

// published is the source of one tenant.
type published struct{ in policy.Published }

func (p published) Published(context.Context, caller.Caller) (policy.Published, error) {
	return p.in, nil
}

func newDirect(t testing.TB, w *world) direct {
	t.Helper()
	table, err := policy.Compile(t.Context(), w.files, w.settings)
	if err != nil {
		if problems, ok := errors.AsType[policy.Problems](err); ok {
			for _, p := range problems[:min(len(problems), 20)] {
				t.Errorf("%s:%d:%d: %s\n%s", p.File, p.Line, p.Column, p.Message, w.files[p.File])
			}
		}
		t.Fatalf("%s does not compile: %v", w.name, err)
	}
	source := published{in: policy.Published{Revision: 1, Table: table, Settings: w.settings}}
	return direct{policy.NewInProcess(source, fstest.MapFS{}), caller.Caller{Tenant: id.New(), Actor: caller.Actor{Kind: caller.System, Name: "test"}}}
}

func (d direct) check(ctx context.Context, in *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	var inputs []*enginev1.CheckInput
	for _, r := range in.Resources {
		inputs = append(inputs, &enginev1.CheckInput{RequestId: in.RequestId, Resource: r.Resource, Principal: in.Principal, Actions: r.Actions, AuxData: claims(in.AuxData)})
	}
	checked, err := d.engine.Check(ctx, d.caller, inputs)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	out := &responsev1.CheckResourcesResponse{RequestId: in.RequestId}
	for i, o := range checked.Outputs {
		r := in.Resources[i].Resource
		entry := &responsev1.CheckResourcesResponse_ResultEntry{
			Resource:         &responsev1.CheckResourcesResponse_ResultEntry_Resource{Id: r.Id, Kind: r.Kind, PolicyVersion: r.PolicyVersion, Scope: r.Scope},
			ValidationErrors: o.ValidationErrors, Outputs: o.Outputs, Actions: map[string]effectv1.Effect{}}
		if in.IncludeMeta {
			entry.Meta = &responsev1.CheckResourcesResponse_ResultEntry_Meta{EffectiveDerivedRoles: o.EffectiveDerivedRoles, Actions: map[string]*responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{}}
		}
		for name, action := range o.Actions {
			entry.Actions[name] = action.Effect
			if in.IncludeMeta {
				entry.Meta.Actions[name] = &responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{MatchedPolicy: action.Policy, MatchedScope: action.Scope}
			}
		}
		out.Results = append(out.Results, entry)
	}
	return out, nil
}

func (d direct) plan(ctx context.Context, in *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse, error) {
	input := &enginev1.PlanResourcesInput{RequestId: in.RequestId, Action: in.Action, Actions: in.Actions, Principal: in.Principal, Resource: in.Resource, IncludeMeta: in.IncludeMeta, AuxData: claims(in.AuxData)}
	if in.Action != "" {
		input.Actions = []string{in.Action}
	}
	planned, err := d.engine.Plan(ctx, d.caller, input)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	o := planned.Output
	out := &responsev1.PlanResourcesResponse{RequestId: in.RequestId, Action: in.Action, Actions: in.Actions, ResourceKind: in.Resource.Kind, PolicyVersion: in.Resource.PolicyVersion, Filter: o.Filter, ValidationErrors: o.ValidationErrors}
	if in.IncludeMeta {
		out.Meta = &responsev1.PlanResourcesResponse_Meta{FilterDebug: o.FilterDebug}
		if in.Action == "" {
			out.Meta.MatchedScopes = o.MatchedScopes
		} else {
			out.Meta.MatchedScope = o.MatchedScopes[in.Action]
		}
	}
	return out, nil
}

// claims are what a verified auxData holds.
func claims(in *requestv1.AuxData) *enginev1.AuxData {
	if in == nil {
		return nil
	}
	values := func(token string) map[string]*structpb.Value {
		s, err := structpb.NewStruct(claimsOf(token))
		if err != nil {
			panic(err)
		}
		return s.Fields
	}
	if in.Jwt != nil {
		return &enginev1.AuxData{Jwt: values(in.Jwt.Token)}
	}
	out := &enginev1.AuxData{Jwts: map[string]*enginev1.AuxData_JWT{}}
	for name, token := range in.Jwts {
		out.Jwts[name] = &enginev1.AuxData_JWT{Claims: values(token.Token)}
	}
	return out
}
