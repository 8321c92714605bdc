package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// Cerbos' planner replaces runtime.effectiveDerivedRoles with a list of the derived roles'
// conditions. It evaluates each condition first, which numbers its nodes from 1, and then the list.
// There, nodes of one number have one value. So R.attr.owner == "ada" takes the text of another
// role's condition, and the filter shows other rows.
//
// A plan gives the conditions of a policy's derived roles numbers of their own. It refuses what
// still has one number twice, such as the nodes of two comprehensions.

var errMixedRoles = errors.New("a condition names runtime.effectiveDerivedRoles, and the planner mixes up the " +
	"conditions of the derived roles")

// maxPadding bounds the nodes before the condition of a derived role.
const maxPadding = 1_000

// separate puts constants before the conditions of each policy's derived roles, so that the numbers
// of their nodes differ. The planner removes the constants. It adds to out, the expressions that a
// plan replaces, by their source.
func separate(rt *runtimev1.RuleTable, out map[string]*exprpb.Expr) {
	type interval struct{ start, end int64 }
	placed := map[string]interval{}
	for _, policy := range slices.Sorted(maps.Keys(rt.GetPolicyDerivedRoles())) {
		roles := rt.GetPolicyDerivedRoles()[policy].GetDerivedRoles()
		sizes, end := map[string]int64{}, int64(0)
		for _, role := range roles {
			u := unfold(role.GetOrderedVariables(), 0)
			eachOfCondition(role.GetCondition(), func(x *runtimev1.Expr) {
				e := out[x.GetOriginal()]
				if e == nil {
					e = proto.CloneOf(x.GetChecked().GetExpr())
				}
				if is, known := placed[x.GetOriginal()]; known {
					end = max(end, is.end)
				} else {
					sizes[x.GetOriginal()] = max(sizes[x.GetOriginal()], u.nodes(e))
					out[x.GetOriginal()] = e
				}
			})
		}
		for _, text := range slices.Sorted(maps.Keys(sizes)) {
			if end > maxPadding {
				break
			}
			at := interval{end, end + 4 + 2*sizes[text]} // with what the padding itself needs
			if placed[text] = at; at.start > 0 {
				out[text] = call("_&&_", padding(at.start), out[text])
			}
			end = at.end
		}
	}
}

// padding returns an expression of n nodes and some more, which is true.
func padding(n int64) *exprpb.Expr {
	number := func(v int64) *exprpb.Expr {
		return &exprpb.Expr{ExprKind: &exprpb.Expr_ConstExpr{ConstExpr: &exprpb.Constant{
			ConstantKind: &exprpb.Constant_Int64Value{Int64Value: v}}}}
	}
	list := &exprpb.Expr_CreateList{}
	for range n {
		list.Elements = append(list.Elements, number(0))
	}
	return call("_>_", call("size", &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: list}}), number(0))
}

// namesDerivedRoles reports whether a condition of the table may name the effective derived roles.
func namesDerivedRoles(rt *runtimev1.RuleTable) bool {
	found := false
	eachExpression(rt, func(x *runtimev1.Expr) { found = found || namesRuntime(x) })
	return found
}

func namesRuntime(x *runtimev1.Expr) bool { return strings.Contains(x.GetOriginal(), "runtime") }

// rowNamesRuntime reports whether a condition of the row, or a variable, may name the runtime.
func rowNamesRuntime(row *ruletable.FunctionalCore) bool {
	found := false
	note := func(x *runtimev1.Expr) { found = found || namesRuntime(x) }
	eachOfCondition(row.Condition, note)
	eachOfCondition(row.DerivedRoleCondition, note)
	for _, params := range []*ruletable.RowParams{row.Params, row.DerivedRoleParams} {
		if params != nil {
			for _, v := range params.Variables {
				note(v.GetExpr())
			}
		}
	}
	return found
}

// checkDerivedRoles returns errMixedRoles if the planner mixes up conditions of derived roles.
func (e *Evaluator) checkDerivedRoles(ctx context.Context, in *enginev1.PlanResourcesInput) error {
	if !e.derivedRoles {
		return nil
	}
	named := false
	for _, row := range e.rowsOf(in) {
		named = named || rowNamesRuntime(row)
	}
	if !named {
		return nil
	}
	r := in.GetResource()
	scope := strings.TrimPrefix(first(r.GetScope(), e.settings.DefaultScope), ".")
	version := first(r.GetPolicyVersion(), first(e.settings.DefaultVersion, "default"))
	scopes, _, _ := allScopes(e.table.rules, policyv1.Kind_KIND_RESOURCE, scope, r.GetKind(), version,
		e.settings.LenientScopeSearch)
	roles := map[string]bool{}
	for _, role := range e.table.rules.idx.AddParentRoles([]string{scope}, in.GetPrincipal().GetRoles()) {
		roles[role] = true
	}
	now := clock.System{}.Now()
	eval := &planContext{now: func() time.Time { return now }, expressions: e.table.rules.planExprCache,
		errors: newCELErrors("none")}
	for _, scope := range scopes {
		nodes := numbered{}
		for _, role := range derivedRolesOf(e.table.rules, resourcePolicyName(r.GetKind(), version, scope)) {
			if !role.isFor(roles) {
				continue
			}
			variables, err := variableExprs(eval, role.GetOrderedVariables())
			if err != nil {
				return err
			}
			node, err := evaluateCondition(eval, ctx, role.GetCondition(), planRequest(in), e.globals, role.Constants,
				variables, func() (*exprpb.Expr, error) {
					return &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: &exprpb.Expr_CreateList{}}}, nil
				})
			if err != nil {
				return err
			}
			if !nodes.add(node) {
				return errMixedRoles
			}
		}
	}
	return nil
}

// derivedRole has the layout of internal/ruletable.WrappedRunnableDerivedRole.
type derivedRole struct {
	*runtimev1.RunnableDerivedRole
	Constants   map[string]any
	VarCacheKey uint64
}

// isFor reports whether the derived role applies to a principal with one of the roles.
func (r *derivedRole) isFor(roles map[string]bool) bool {
	for parent := range r.GetParentRoles() {
		if parent == "*" || roles[parent] {
			return true
		}
	}
	return false
}

// numbered has the nodes of a list of derived roles by their number.
type numbered map[int64]*exprpb.Expr

// add adds the nodes of a condition. It fails if another node has one of their numbers.
func (n numbered) add(condition *enginev1.PlanResourcesAst_Node) bool {
	for _, x := range condition.GetLogicalOperation().GetNodes() {
		if !n.add(x) {
			return false
		}
	}
	x := condition.GetExpression().GetExpr()
	return x.GetConstExpr() != nil || n.expression(x)
}

func (n numbered) expression(e *exprpb.Expr) bool {
	if e == nil {
		return true
	}
	if id := e.GetId(); id != 0 {
		if other := n[id]; other != nil && !alike(other, e) {
			return false
		}
		n[id] = e
	}
	of := []*exprpb.Expr{e.GetSelectExpr().GetOperand(), e.GetCallExpr().GetTarget()}
	of = append(of, e.GetCallExpr().GetArgs()...)
	of = append(of, e.GetListExpr().GetElements()...)
	for _, x := range e.GetStructExpr().GetEntries() {
		of = append(of, x.GetMapKey(), x.GetValue())
	}
	if c := e.GetComprehensionExpr(); c != nil {
		of = append(of, c.GetIterRange(), c.GetAccuInit(), c.GetLoopCondition(), c.GetLoopStep(), c.GetResult())
	}
	for _, x := range of {
		if !n.expression(x) {
			return false
		}
	}
	return true
}

// alike reports whether two nodes have the same value: they are the same literal, or parts of the
// request.
func alike(a, b *exprpb.Expr) bool {
	switch a.GetIdentExpr().GetName() {
	case "R", "P", "request", "G", "globals", "C", "constants":
		return a.GetIdentExpr().GetName() == b.GetIdentExpr().GetName()
	}
	return a.GetConstExpr() != nil && proto.Equal(a.GetConstExpr(), b.GetConstExpr())
}
