package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// custom is the role of a caller with roles that the tenant has defined. The policies do not see
// the names of those roles: one could be the name of a later built-in role.
const custom = "custom"

// principalOf returns the caller as the policies see it. The package comment of policies/ explains
// each attribute.
func principalOf(actor caller.Actor, held role.Set, platform bool) *enginev1.Principal {
	roles, own, only := held.Builtins(), held.Own(), held.Only()
	if len(own)+len(only) > 0 {
		roles = append(roles, custom)
	}
	return &enginev1.Principal{
		Id:    actor.ID.String(),
		Roles: roles,
		Attr: map[string]*structpb.Value{
			"held":     engine.Texts(own),
			"only":     lists(only),
			"platform": structpb.NewBoolValue(platform),
		},
	}
}

func lists(m map[string][]string) *structpb.Value {
	fields := make(map[string]*structpb.Value, len(m))
	for k, v := range m {
		fields[k] = engine.Texts(v)
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}

// kindOf splits an action into the kind and the action of a check: user.read is read of
// gatehouse:user.
func kindOf(action string) (string, string) {
	noun, verb, _ := strings.Cut(action, ".")
	return ownKind + noun, verb
}

// ownKind begins the kinds of our own policies. Those of kindOfTenants exist in the platform only.
const (
	ownKind       = "gatehouse:"
	kindOfTenants = ownKind + "tenant"
)

// actionOf is the inverse of kindOf.
func actionOf(kind, verb string) string { return strings.TrimPrefix(kind, ownKind) + "." + verb }

// maxResourceID is how many bytes of a path segment become the resource id of a decision.
const maxResourceID = 256

// resourceOf returns the id that the policies see: the object's, or for a collection the tenant's.
func resourceOf(r *http.Request, c caller.Caller) string {
	return cmp.Or(objectOf(r), c.Tenant.String())
}

// objectOf returns the id or the name in the request's path. A collection has none.
func objectOf(r *http.Request) string {
	for _, name := range []string{"id", "name", "kid"} {
		if v := r.PathValue(name); v != "" {
			return strings.ToValidUTF8(v[:min(len(v), maxResourceID)], "")
		}
	}
	return ""
}

// ruling is the answer of the policies to one request.
type ruling struct {
	allowed  bool
	shown    filter.Filter // of a filtered list
	decision decision.Decision
}

// ask evaluates the policies for one operation. For a filtered list it returns what the principal
// may see of it.
func (g *Gate) ask(ctx context.Context, c caller.Caller, op api.Op, p *enginev1.Principal, resource string) (ruling,
	error) {
	kind, verb := kindOf(op.Action)
	began := g.Clock.Now()
	// Roles that are limited to many applications make a principal large. The recorder bounds its
	// queue by this size.
	a := ruling{decision: decision.Decision{ID: id.At(began), Kind: decision.Admin, Size: p.SizeVT()}}
	if op.Filtered {
		in := &enginev1.PlanResourcesInput{
			RequestId: c.RequestID, Actions: []string{verb}, Principal: p,
			Resource: &enginev1.PlanResourcesInput_Resource{Kind: kind},
		}
		planned, err := g.Engine.Plan(ctx, c, in)
		if err != nil {
			return a, fmt.Errorf("admin: plan %s: %w", op.Action, err)
		}
		a.decision.PlanInput, a.decision.PlanOutput, a.decision.Took = in, planned.Output, g.Clock.Now().Sub(began)
		a.shown, a.allowed, err = planOf(planned.Output)
		return a, err
	}
	in := []*enginev1.CheckInput{{
		RequestId: c.RequestID, Actions: []string{verb}, Principal: p,
		Resource: &enginev1.Resource{Kind: kind, Id: resource},
	}}
	checked, err := g.Engine.Check(ctx, c, in)
	if err != nil {
		return a, fmt.Errorf("admin: check %s: %w", op.Action, err)
	}
	a.decision.Inputs, a.decision.Outputs, a.decision.Took = in, checked.Outputs, g.Clock.Now().Sub(began)
	a.allowed = len(checked.Outputs) == 1 &&
		checked.Outputs[0].GetActions()[verb].GetEffect() == effectv1.Effect_EFFECT_ALLOW
	return a, nil
}

// mayRead reports whether the principal may see all of the answer of an operation that it may do.
// It leaves no decision record: the caller asked for something else.
func (g *Gate) mayRead(ctx context.Context, c caller.Caller, op api.Op, p *enginev1.Principal,
	resource string) (bool, error) {
	if op.Method == http.MethodGet || op.ReadAction() == op.Action {
		return true, nil
	}
	a, err := g.ask(ctx, c, api.Op{Action: op.ReadAction()}, p, resource)
	return a.allowed, err
}

// planOf translates a plan into a filter. It returns false if the plan shows nothing.
func planOf(p *enginev1.PlanResourcesOutput) (filter.Filter, bool, error) {
	f := p.GetFilter()
	switch f.GetKind() {
	case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
		return filter.All(), true, nil
	case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
		n, err := nodeOf(f.GetCondition(), 0)
		return filter.Where(n), err == nil, err
	case enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED, enginev1.PlanResourcesFilter_KIND_UNSPECIFIED:
	}
	return filter.Nothing(), false, nil
}

// The variables of a plan's expressions that stand for attributes of a row.
const (
	planID        = "request.resource.id"
	planAttribute = "request.resource.attr."
)

// maxPlanDepth is how many levels a plan's expression can have. Ours have at most four.
const maxPlanDepth = 32

// nodeOf translates an expression of a plan. It fails with filter.ErrUnsupported for anything
// unknown.
func nodeOf(o *enginev1.PlanResourcesFilter_Expression_Operand, depth int) (filter.Node, error) {
	if depth > maxPlanDepth {
		return filter.Node{}, filter.ErrUnsupported
	}
	switch n := o.GetNode().(type) {
	case *enginev1.PlanResourcesFilter_Expression_Operand_Value:
		return filter.Node{Value: n.Value.AsInterface()}, nil
	case *enginev1.PlanResourcesFilter_Expression_Operand_Variable:
		if n.Variable == planID {
			return filter.Node{Attribute: "id"}, nil
		}
		if name, ok := strings.CutPrefix(n.Variable, planAttribute); ok && name != "" {
			return filter.Node{Attribute: name}, nil
		}
		return filter.Node{}, filter.ErrUnsupported.Because(fmt.Errorf("variable %s", n.Variable))
	case *enginev1.PlanResourcesFilter_Expression_Operand_Expression:
		out := filter.Node{Operator: n.Expression.GetOperator()}
		for _, operand := range n.Expression.GetOperands() {
			child, err := nodeOf(operand, depth+1)
			if err != nil {
				return filter.Node{}, err
			}
			out.Operands = append(out.Operands, child)
		}
		if out.Operator == "" { // would be taken for a leaf
			return filter.Node{}, filter.ErrUnsupported
		}
		return out, nil
	}
	return filter.Node{}, filter.ErrUnsupported
}
