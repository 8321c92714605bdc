package engine

import (
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// maxUnfolded bounds the size of a condition in a plan, in nodes of its expression.
const maxUnfolded = 50_000

// maxOperands bounds the operands of a filter before it is simplified.
const maxOperands = 20_000

// plannable reports whether every condition of the table stays small enough in a plan.
//
// A planner replaces each variable with its expression, and runtime.effectiveDerivedRoles with
// those of the derived roles. Twenty-four variables that each name the one before twice become
// sixteen million nodes before anything is evaluated. A check evaluates each variable once.
func plannable(rt *runtimev1.RuleTable) bool {
	fits := true
	var roles int64
	condition := func(c *runtimev1.Condition, u unfolding) int64 {
		nodes := int64(0)
		eachOfCondition(c, func(x *runtimev1.Expr) {
			n := u.nodes(x.GetChecked().GetExpr())
			fits = fits && n <= maxUnfolded
			nodes += n
		})
		return nodes
	}
	for _, of := range rt.GetPolicyDerivedRoles() {
		for _, role := range of.GetDerivedRoles() {
			roles += condition(role.GetCondition(), unfold(role.GetOrderedVariables(), 0))
		}
	}
	for _, row := range rt.GetRules() {
		condition(row.GetCondition(), unfold(row.GetParams().GetOrderedVariables(), roles))
		condition(row.GetDerivedRoleCondition(), unfold(row.GetDerivedRoleParams().GetOrderedVariables(), roles))
	}
	return fits
}

// unfolding has the number of nodes that replace a name in a plan.
type unfolding struct {
	variables map[string]int64
	roles     int64
}

// unfold returns the unfolding of variables, which may name those before them.
func unfold(variables []*runtimev1.Variable, roles int64) unfolding {
	u := unfolding{make(map[string]int64, len(variables)), roles}
	for _, v := range variables {
		u.variables[v.GetName()] = u.nodes(v.GetExpr().GetChecked().GetExpr())
	}
	return u
}

// nodes returns the number of nodes of an unfolded expression, or more than maxUnfolded.
func (u unfolding) nodes(e *exprpb.Expr) int64 {
	n := int64(1)
	switch of := e.GetSelectExpr(); {
	case e.GetExprKind() == nil:
		return 0
	case e.GetIdentExpr().GetName() == "runtime":
		n += u.roles
	case of.GetOperand().GetIdentExpr().GetName() == "V", of.GetOperand().GetIdentExpr().GetName() == "variables":
		n += u.variables[of.GetField()]
	default:
		for _, x := range partsOf(e) {
			n += u.nodes(x)
		}
	}
	return min(n, 2*maxUnfolded)
}
