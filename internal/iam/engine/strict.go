package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	celast "github.com/google/cel-go/common/ast"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// With strict evaluation a check is denied if any condition on its way fails. Cerbos' planner does
// not know the values that fail. It shows a resource if one rule allows it, although the condition
// of another rule would fail.
//
// So the filter also demands that each of these conditions has a value: x or not x, which holds
// unless x fails or is unknown. A demand disappears if the filter needs the value anyway.

// definite is the operator of a demand, until the filter is complete.
const definite = "definite"

// attributePrefix begins the names of a resource's attributes.
const attributePrefix = "request.resource.attr."

var errDerivedRoles = errors.New("a condition names runtime.effectiveDerivedRoles, and evaluation is strict")

// strict finds what a plan needs under strict evaluation.
type strict struct {
	table   *ruleTable
	eval    *planContext
	request *enginev1.Request
	globals map[string]any
}

// demands returns a condition that holds of a resource for which no condition fails. It may demand
// more than a check evaluates.
func (e *Evaluator) demands(ctx context.Context, in *enginev1.PlanResourcesInput) (*operand, error) {
	now := clock.System{}.Now()
	s := strict{table: e.table.rules, globals: e.globals, request: planRequest(in), eval: &planContext{
		now: func() time.Time { return now }, expressions: e.table.rules.planExprCache, errors: newCELErrors("none")}}
	var out []*operand
	seen := map[*ruletable.FunctionalCore]bool{}
	for _, row := range e.rowsOf(in) {
		if seen[row] {
			continue
		}
		seen[row] = true
		of, err := s.row(ctx, row)
		if err != nil {
			return nil, err
		}
		out = append(out, of)
	}
	return expression("and", out...), nil
}

// rowsOf returns the rules that a check of the plan's principal, actions and kind may evaluate.
func (e *Evaluator) rowsOf(in *enginev1.PlanResourcesInput) []*ruletable.FunctionalCore {
	p, r := in.GetPrincipal(), in.GetResource()
	scope := func(of string) string { return strings.TrimPrefix(first(of, e.settings.DefaultScope), ".") }
	version := func(of string) string { return first(of, first(e.settings.DefaultVersion, "default")) }
	lenient := e.settings.LenientScopeSearch
	principalScopes, _, _ := allScopes(e.table.rules, policyv1.Kind_KIND_PRINCIPAL, scope(p.GetScope()), p.GetId(),
		version(p.GetPolicyVersion()), lenient)
	resourceScopes, _, _ := allScopes(e.table.rules, policyv1.Kind_KIND_RESOURCE, scope(r.GetScope()), r.GetKind(),
		version(r.GetPolicyVersion()), lenient)
	var out []*ruletable.FunctionalCore
	for _, action := range in.GetActions() {
		for _, role := range p.GetRoles() {
			roles := e.table.rules.idx.AddParentRoles([]string{scope(r.GetScope())}, []string{role})
			query := func(scopes []string, kind policyv1.Kind, principal, named string) {
				for _, of := range scopes {
					for _, row := range e.table.rules.idx.Query(version(named),
						ComparedKind(r.GetKind()), of, action, roles, kind, principal, nil) {
						out = append(out, row.Core)
					}
				}
			}
			query(principalScopes, policyv1.Kind_KIND_PRINCIPAL, p.GetId(), first(p.GetPolicyVersion(),
				r.GetPolicyVersion()))
			query(resourceScopes, policyv1.Kind_KIND_RESOURCE, "", r.GetPolicyVersion())
		}
	}
	return out
}

func first(of, otherwise string) string {
	if of != "" {
		return of
	}
	return otherwise
}

// row returns the demand of a rule: its derived role's condition has a value, and if that is true,
// its own has one.
func (s strict) row(ctx context.Context, row *ruletable.FunctionalCore) (*operand, error) {
	role, roleHolds, err := s.condition(ctx, row.DerivedRoleCondition, row.DerivedRoleParams)
	if err != nil {
		return nil, err
	}
	own, _, err := s.condition(ctx, row.Condition, row.Params)
	return expression("and", role, expression("or", expression("not", roleHolds), own)), err
}

// condition returns the demand that a condition has a value, and the condition.
func (s strict) condition(ctx context.Context, c *runtimev1.Condition, params *ruletable.RowParams) (*operand, *operand,
	error) {
	if c == nil {
		return truth(true), truth(true), nil
	}
	var constants map[string]any
	var variables map[string]celast.Expr
	if params != nil {
		var err error
		constants = params.Constants
		if variables, err = variableExprs(s.eval, params.Variables); err != nil {
			return nil, nil, err
		}
	}
	return s.part(ctx, c, constants, variables)
}

func (s strict) part(ctx context.Context, c *runtimev1.Condition, constants map[string]any,
	variables map[string]celast.Expr) (*operand, *operand, error) {
	var of []*runtimev1.Condition
	switch op := c.GetOp().(type) {
	case *runtimev1.Condition_All:
		of = op.All.GetExpr()
	case *runtimev1.Condition_Any:
		of = op.Any.GetExpr()
	case *runtimev1.Condition_None:
		of = op.None.GetExpr()
	default:
		return s.leaf(ctx, c, constants, variables)
	}
	// A check evaluates the next part if no part before it has decided.
	all := c.GetAll() != nil
	demand, values := truth(true), []*operand{}
	reached := truth(true)
	for _, x := range of {
		own, value, err := s.part(ctx, x, constants, variables)
		if err != nil {
			return nil, nil, err
		}
		demand = expression("and", demand, expression("or", expression("not", reached), own))
		values = append(values, value)
		if !all {
			value = expression("not", value)
		}
		reached = expression("and", reached, value)
	}
	switch {
	case all:
		return demand, expression("and", values...), nil
	case c.GetAny() != nil:
		return demand, expression("or", values...), nil
	}
	return demand, expression("not", expression("or", values...)), nil
}

func (s strict) leaf(ctx context.Context, c *runtimev1.Condition, constants map[string]any,
	variables map[string]celast.Expr) (*operand, *operand, error) {
	namesRoles := false
	node, err := evaluateCondition(s.eval, ctx, c, s.request, s.globals, constants, variables,
		func() (*exprpb.Expr, error) {
			namesRoles = true
			return &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: &exprpb.Expr_CreateList{}}}, nil
		})
	if err == nil && namesRoles {
		err = errDerivedRoles
	}
	if err != nil {
		return nil, nil, err
	}
	filter, err := filterOfNode(node)
	if err != nil {
		return nil, nil, err
	}
	value := simplify(conditionOf(filter))
	if _, known := constant(value); known {
		return truth(true), value, nil
	}
	// has() of an attribute fails only if what it is an attribute of is missing.
	name, is := strings.CutPrefix(guarded(value).GetVariable(), attributePrefix)
	if is && !strings.Contains(name, ".") {
		return truth(true), value, nil
	}
	return expression(definite, value), value, nil
}
