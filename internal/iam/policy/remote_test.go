package policy

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"
	"google.golang.org/grpc"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// fleet is a Cerbos server over one evaluator: what a fleet answers, without its process.
type fleet struct {
	svcv1.UnimplementedCerbosServiceServer
	by *Evaluator
}

func (f fleet) CheckResources(ctx context.Context, m *requestv1.CheckResourcesRequest) (*responsev1.CheckResourcesResponse, error) {
	out := &responsev1.CheckResourcesResponse{RequestId: m.GetRequestId()}
	for _, r := range m.GetResources() {
		got, _, err := f.by.Check(ctx, []*enginev1.CheckInput{{Actions: r.GetActions(), Principal: m.GetPrincipal(), Resource: r.GetResource()}})
		if err != nil {
			return nil, err
		}
		entry := &responsev1.CheckResourcesResponse_ResultEntry{
			Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{Id: r.GetResource().GetId()}, Actions: map[string]effectv1.Effect{},
			Meta: &responsev1.CheckResourcesResponse_ResultEntry_Meta{Actions: map[string]*responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{}},
		}
		for action, e := range got[0].GetActions() {
			entry.Actions[action] = e.GetEffect()
			entry.Meta.Actions[action] = &responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{MatchedPolicy: e.GetPolicy(), MatchedScope: e.GetScope()}
		}
		out.Results = append(out.Results, entry)
	}
	return out, nil
}

func (f fleet) PlanResources(ctx context.Context, m *requestv1.PlanResourcesRequest) (*responsev1.PlanResourcesResponse, error) {
	got, _, err := f.by.Plan(ctx, &enginev1.PlanResourcesInput{Actions: m.GetActions(), Principal: m.GetPrincipal(), Resource: m.GetResource()})
	if err != nil {
		return nil, err
	}
	return &responsev1.PlanResourcesResponse{Filter: got.GetFilter(), Meta: &responsev1.PlanResourcesResponse_Meta{MatchedScopes: got.GetMatchedScopes()}}, nil
}

func scoped(scope, condition string) []byte {
	return []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  scope: "` + scope + `"
  rules: [{actions: [view], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: '` + condition + `'}}}]
`)
}

func TestAFleetIsAskedBelowTheTenantsScope(t *testing.T) {
	a, b := id.New(), id.New()
	table := tableOf(t, Files{
		"root.yaml": scoped("", "false"), "a.yaml": scoped(a.String(), "false"), "ax.yaml": scoped(a.String()+".acme", "true"), "b.yaml": scoped(b.String(), "false"),
	})
	by, err := newEvaluator(table, DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	svcv1.RegisterCerbosServiceServer(server, fleet{by: by})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	local := NewInProcess(&shelf{of: map[id.ID]Published{}}, base)
	e, err := NewRemote(local, &url.URL{Scheme: "grpc", Host: listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(scope string) *enginev1.CheckInput {
		in := asking("doc", nil, "view")
		in.Resource.Scope = scope
		return in
	}
	out, err := e.Check(t.Context(), as(a), []*enginev1.CheckInput{ask("acme"), asking("gatehouse:thing", nil, "view"), ask("")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []effectv1.Effect{effectv1.Effect_EFFECT_ALLOW, effectv1.Effect_EFFECT_ALLOW, effectv1.Effect_EFFECT_DENY} {
		if got := out.Outputs[i].GetActions()["view"].GetEffect(); got != want {
			t.Errorf("input %d: %v, want %v", i, got, want)
		}
	}
	if got := out.Outputs[0].GetActions()["view"]; got.GetPolicy() != "resource.doc.vdefault/acme" || got.GetScope() != "acme" {
		t.Errorf("the tenant's scope shows: %v", got)
	}
	// Another tenant cannot name its way there.
	for _, scope := range []string{"acme", a.String() + ".acme", "." + a.String() + ".acme", "..acme"} {
		out, err := e.Check(t.Context(), as(b), []*enginev1.CheckInput{ask(scope)})
		if err == nil && out.Outputs[0].GetActions()["view"].GetEffect() != effectv1.Effect_EFFECT_DENY {
			t.Errorf("scope %q reaches another tenant", scope)
		}
	}
	plan := &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: ask("").Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc", Scope: "acme"}}
	got, err := e.Plan(t.Context(), as(a), plan)
	if err != nil || got.Output.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED || got.Output.GetMatchedScopes()["view"] != "acme" {
		t.Errorf("%v %v", got.Output, err)
	}
	withClaims := ask("acme")
	withClaims.AuxData = &enginev1.AuxData{}
	if _, err := e.Check(t.Context(), as(a), []*enginev1.CheckInput{withClaims}); !errors.Is(err, ErrRemoteAuxData) {
		t.Error(err)
	}
	server.Stop()
	if _, err := e.Check(t.Context(), as(a), []*enginev1.CheckInput{ask("acme")}); !errors.Is(err, ErrFleet) {
		t.Error(err)
	}
}
