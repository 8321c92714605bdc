package parity

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"context"
	"fmt"
	"maps"
	"slices"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// ofOwnPolicies reports whether the principal of a plan has policies of its own. Cerbos' planner
// combines those wrongly, so our plan may differ if it allows at most what checks allow.
func ofOwnPolicies(in *requestv1.PlanResourcesRequest) bool {
	return slices.Contains(principals[:4], in.GetPrincipal().GetId())
}

// againstCheck says how a plan that allows everything differs from a Cerbos server's check, or "".
// The checked resource has every attribute, those of the plan's request first. Cerbos' planner
// takes has() of an attribute that it does not know for true: see docs/decisions.
func againstCheck(ctx context.Context, theirs pdp, in *requestv1.PlanResourcesRequest,
	ours *responsev1.PlanResourcesResponse) string {
	if ours.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED {
		return ""
	}
	actions := in.GetActions()
	if in.GetAction() != "" {
		actions = []string{in.GetAction()}
	}
	r := in.GetResource()
	answer, err := theirs.check(ctx, &requestv1.CheckResourcesRequest{RequestId: in.GetRequestId(),
		Principal: in.GetPrincipal(), AuxData: in.GetAuxData(),
		Resources: []*requestv1.CheckResourcesRequest_ResourceEntry{{Actions: actions,
			Resource: &enginev1.Resource{Kind: r.GetKind(), Id: "any", Attr: complete(r.GetAttr()),
				Scope: r.GetScope(), PolicyVersion: r.GetPolicyVersion()}}}})
	if err != nil {
		return fmt.Sprintf("the plan allows everything, and the check fails: %v", err)
	}
	for action, effect := range answer.GetResults()[0].GetActions() {
		if effect != effectv1.Effect_EFFECT_ALLOW {
			return "the plan allows everything, and a check denies " + action
		}
	}
	return ""
}

// complete returns attributes with a value for every name that conditions use.
func complete(known map[string]*structpb.Value) map[string]*structpb.Value {
	out, err := structpb.NewStruct(map[string]any{"owner": "alice", "status": "draft", "department": "design",
		"geography": "GB", "public": true, "amount": 42, "zero": 1, "tags": []any{"design", "x"},
		"created": "2025-12-31T23:59:59Z", "cooldown": "15m", "position": "acme.hr", "path": "/docs/a.pdf",
		"address": map[string]any{"city": "Leeds"}})
	if err != nil {
		panic(err)
	}
	maps.Copy(out.Fields, known)
	return out.Fields
}
