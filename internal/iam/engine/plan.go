package engine

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"google.golang.org/protobuf/proto"
)

// Cerbos' planner does not combine the policies of a principal with those of a resource as a check
// does. It forgets a DENY of the principal that always holds (Cerbos #3387). And if the principal
// has an ALLOW, it takes "no DENY of the resource" for an ALLOW of the resource. Both show rows
// that a check denies.
//
// So for a principal with policies of its own the plan has two parts, for each action. The resource
// part is the plan of a table without principal policies. The personal part is the plan of the
// principal policies alone, with a placeholder for the resource part.
const (
	// placeholder is the one condition of resources in the table of the personal part. No plan
	// evaluates it, because the id of a resource is unknown.
	placeholder = "R.id != R.id"
	// always is a second condition of each DENY in that table, which keeps the planner from
	// forgetting it.
	always     = "R.id == R.id"
	resourceID = "request.resource.id"
)

// personal plans for principals with policies of their own.
type personal struct {
	principals map[string]bool
	parts      func() (planParts, error)
	bytes      int64 // of the table
}

type planParts struct{ resource, principal tableOfRules }

// newPersonal returns the planner of a table. The two tables are loaded when they are first needed.
func newPersonal(rt *runtimev1.RuleTable, table []byte, conf *epdpv2.Config) personal {
	p := personal{principals: map[string]bool{}}
	for _, row := range rt.GetRules() {
		if row.GetPolicyKind() == policyv1.Kind_KIND_PRINCIPAL {
			p.principals[row.GetPrincipal()] = true
		}
	}
	if len(p.principals) > 0 {
		p.bytes = int64(len(table))
		p.parts = sync.OnceValues(func() (planParts, error) { return loadParts(table, conf) })
	}
	return p
}

func (p personal) has(principal string) bool { return p.principals[principal] }

// cost estimates the bytes of the table that is kept, and of the two that are loaded from it.
func (p personal) cost() int64 { return 4 * p.bytes }

func loadParts(table []byte, conf *epdpv2.Config) (planParts, error) {
	load := func(keep func(*runtimev1.RuleTable)) (tableOfRules, error) {
		rt := new(runtimev1.RuleTable)
		if err := proto.Unmarshal(table, rt); err != nil {
			return tableOfRules{}, err
		}
		keep(rt)
		return newTableEvaluator(rt, conf)
	}
	isPersonal := func(row *runtimev1.RuleTable_RuleRow) bool {
		return row.GetPolicyKind() == policyv1.Kind_KIND_PRINCIPAL
	}
	var parts planParts
	var err error
	if parts.resource, err = load(func(rt *runtimev1.RuleTable) {
		rt.Rules = slices.DeleteFunc(rt.Rules, isPersonal)
	}); err != nil {
		return planParts{}, err
	}
	parts.principal, err = load(func(rt *runtimev1.RuleTable) {
		type place struct{ scope, version string }
		at := map[place]*runtimev1.RuleTable_RuleRow{} // the placeholders
		var rows []*runtimev1.RuleTable_RuleRow
		versions := map[string]bool{} // of principals
		root := policyv1.ScopePermissions_SCOPE_PERMISSIONS_OVERRIDE_PARENT
		for _, row := range rt.Rules {
			if isPersonal(row) {
				if row.GetEffect() == effectv1.Effect_EFFECT_DENY {
					row.Condition = both(row.GetCondition(), always)
				}
				rows, versions[row.GetVersion()] = append(rows, row), true
				continue
			}
			here := place{row.GetScope(), row.GetVersion()}
			if at[here] == nil {
				at[here] = placeholderOf(row.GetOriginFqn(), here.scope, here.version)
				rows = append(rows, at[here])
			}
			if row.GetScopePermissions() != 0 { // rules of role policies say nothing
				at[here].ScopePermissions = row.GetScopePermissions()
				if here.scope == "" {
					root = row.GetScopePermissions()
				}
			}
		}
		for _, version := range slices.Sorted(maps.Keys(versions)) { // which no resource policy may have
			if at[place{"", version}] == nil {
				row := placeholderOf("", "", version)
				row.ScopePermissions = root
				rows = append(rows, row)
			}
		}
		rt.Rules, rt.Schemas, rt.JsonSchemas = rows, nil, nil // the resource part validates the request
		rt.PolicyDerivedRoles, rt.ScopeParentRoles = nil, nil
	})
	return parts, err
}

// placeholderOf returns the rule that stands for the resource policies of a scope and version.
func placeholderOf(policy, scope, version string) *runtimev1.RuleTable_RuleRow {
	return &runtimev1.RuleTable_RuleRow{OriginFqn: policy, Resource: "*", Role: "*",
		ActionSet: &runtimev1.RuleTable_RuleRow_Action{Action: "*"}, Condition: both(nil, placeholder),
		Effect: effectv1.Effect_EFFECT_ALLOW, Scope: scope, Version: version,
		PolicyKind: policyv1.Kind_KIND_RESOURCE, Params: &runtimev1.RuleTable_RuleRow_Params{}}
}

// both returns a condition that needs c, if there is one, and an expression.
func both(c *runtimev1.Condition, expression string) *runtimev1.Condition {
	second := &runtimev1.Condition{Op: &runtimev1.Condition_Expr{Expr: &runtimev1.Expr{Original: expression}}}
	if c == nil {
		return second
	}
	return &runtimev1.Condition{Op: &runtimev1.Condition_All{All: &runtimev1.Condition_ExprList{
		Expr: []*runtimev1.Condition{c, second}}}}
}

// plan returns the filter of a principal with policies of its own. It returns Cerbos' filter if
// that means the same.
func (p personal) plan(ctx context.Context, in *enginev1.PlanResourcesInput,
	cerbos *enginev1.PlanResourcesFilter) (*enginev1.PlanResourcesFilter, error) {
	parts, err := p.parts()
	if err != nil {
		return nil, err
	}
	if len(in.GetActions()) == 0 {
		return cerbos, nil
	}
	var actions []*operand
	for _, action := range in.GetActions() {
		one := proto.CloneOf(in)
		one.Actions = []string{action}
		resource, _, err := parts.resource.Plan(ctx, one)
		if err != nil {
			return nil, err
		}
		one.Resource.PolicyVersion = first(in.GetPrincipal().GetPolicyVersion(), in.GetResource().GetPolicyVersion())
		whole, _, err := parts.principal.Plan(ctx, one)
		if err != nil {
			return nil, err
		}
		actions = append(actions, replaced(conditionOf(whole.GetFilter()), conditionOf(resource.GetFilter())))
	}
	ours := simplify(expression("and", actions...))
	if bytes.Equal(normal(ours), normal(simplify(conditionOf(cerbos)))) {
		return cerbos, nil
	}
	return filterOf(ours), nil
}

// replaced returns a personal part with the resource part in the place of the placeholder.
func replaced(o, resource *operand) *operand {
	e := o.GetExpression()
	if e == nil {
		return o
	}
	of := e.GetOperands()
	if len(of) == 2 && of[0].GetVariable() == resourceID && of[1].GetVariable() == resourceID {
		switch e.GetOperator() {
		case "eq": // always
			return truth(true)
		case "ne": // placeholder
			return resource
		}
	}
	out := make([]*operand, len(of))
	for i, x := range of {
		out[i] = replaced(x, resource)
	}
	return expression(e.GetOperator(), out...)
}
