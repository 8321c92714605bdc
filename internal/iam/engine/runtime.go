package engine

import (
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
)

// The value of runtime.effectiveDerivedRoles belongs to one scope of a resource's policies. Within
// a check Cerbos keeps it longer. The next action's principal policy sees the roles of the action
// before. The derived roles of a parent scope see those of the child. And a variable with one text
// in two policies has the value of the first.
//
// So a table tells such expressions apart by their text, because Cerbos keeps programs and
// variables by that. It ends them with blanks, which mean nothing in CEL.

// withoutRoles ends an expression that sees no derived roles: one of a principal policy, or of the
// definition of a derived role.
const withoutRoles = " "

// inScope ends a variable of a scope. A check visits a scope and its parents, so the depth tells
// them apart.
func inScope(scope string) string {
	if scope == "" {
		return ""
	}
	return strings.Repeat(" ", 2+strings.Count(scope, "."))
}

// bindRuntime gives the expressions that name the runtime their ends. Cerbos keeps the results of
// rules by scope, so the conditions of resource and role policies need none.
func bindRuntime(rt *runtimev1.RuleTable) {
	ending := func(with string) func(*runtimev1.Expr) {
		return func(x *runtimev1.Expr) {
			if namesRuntime(x) {
				x.Original = strings.TrimRight(x.Original, " \t\r\n") + with
			}
		}
	}
	for _, row := range rt.GetRules() {
		if row.GetPolicyKind() == policyv1.Kind_KIND_PRINCIPAL {
			eachOfRow(row, ending(withoutRoles))
			continue
		}
		eachOfRow(row, ending(""))
		eachVariable(row.GetParams().GetOrderedVariables(), ending(inScope(row.GetScope())))
		eachVariable(row.GetDerivedRoleParams().GetOrderedVariables(), ending(inScope(row.GetScope())))
	}
	for _, roles := range rt.GetPolicyDerivedRoles() {
		for _, role := range roles.GetDerivedRoles() {
			eachOfRole(role, ending(withoutRoles))
		}
	}
}

// seesNoRoles reports whether bindRuntime ended an expression with withoutRoles.
func seesNoRoles(x *runtimev1.Expr) bool {
	text, ended := strings.CutSuffix(x.GetOriginal(), withoutRoles)
	return ended && namesRuntime(x) && !strings.HasSuffix(text, " ")
}

// noRoles is the runtime without derived roles.
var noRoles = &enginev1.Runtime{}

func namesRuntime(x *runtimev1.Expr) bool { return strings.Contains(x.GetOriginal(), "runtime") }
