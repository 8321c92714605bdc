package engine

import (
	"slices"
	"strings"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
)

// With strict evaluation a check is denied if any condition on its way fails. So the filter also
// demands that each of these conditions has a value: x or not x, which holds unless x fails or is
// unknown. A demand disappears if the filter needs the value anyway.

// definite is the operator of a demand, until the filter is complete.
const definite = "definite"

// attributePrefix begins the names of a resource's attributes.
const attributePrefix = "request.resource.attr."

// demands returns a condition that holds of a resource for which no condition fails. It may demand
// more than a check evaluates.
func (p *planner) demands() (*operand, error) {
	out := truth(true)
	// Two scopes may share a rule, and have other derived roles.
	type ruleOfScope struct {
		rule  *ruletable.FunctionalCore
		scope string
	}
	seen := map[ruleOfScope]bool{}
	of := func(kind policyv1.Kind, scopes []string) error {
		for _, action := range p.in.GetActions() {
			for _, role := range p.in.GetPrincipal().GetRoles() {
				for _, scope := range scopes {
					for _, row := range p.rows(kind, scope, action, role) {
						if seen[ruleOfScope{row, scope}] {
							continue
						}
						seen[ruleOfScope{row, scope}] = true
						own, err := p.demandOf(row, scope)
						if err != nil {
							return err
						}
						out = expression("and", out, own)
					}
				}
			}
		}
		return nil
	}
	if err := of(policyv1.Kind_KIND_PRINCIPAL, p.principals); err != nil {
		return nil, err
	}
	return out, of(policyv1.Kind_KIND_RESOURCE, p.resources)
}

// demandOf returns the demand of a rule: its derived role's condition has a value, and if that is
// true, its own has one.
func (p *planner) demandOf(row *ruletable.FunctionalCore, scope string) (*operand, error) {
	role, roleHolds, err := p.demand(row.PolicyKind, row.DerivedRoleCondition, row.DerivedRoleParams, scope)
	if err != nil {
		return nil, err
	}
	own, _, err := p.demand(row.PolicyKind, row.Condition, row.Params, scope)
	return expression("and", role, expression("or", expression("not", roleHolds), own)), err
}

// demand returns the demand that a condition has a value, and the condition.
func (p *planner) demand(kind policyv1.Kind, c *runtimev1.Condition, params *ruletable.RowParams,
	scope string) (*operand, *operand, error) {
	if c == nil {
		return truth(true), truth(true), nil
	}
	with, err := p.evaluation(kind, params, scope)
	if err != nil {
		return nil, nil, err
	}
	demand, value, err := p.demandOfPart(c, with)
	if err != nil || !*with.namesRoles || kind == policyv1.Kind_KIND_PRINCIPAL {
		return demand, value, err
	}
	// The derived roles have no value if the condition of one fails.
	err = p.eachDerivedRole(scope, func(_ string, role *derivedRole, with *partial) error {
		if role.GetCondition() == nil {
			return nil
		}
		own, _, err := p.demandOfPart(role.GetCondition(), with)
		demand = expression("and", demand, own)
		return err
	})
	return demand, value, err
}

func (p *planner) demandOfPart(c *runtimev1.Condition, with *partial) (*operand, *operand, error) {
	var of []*runtimev1.Condition
	switch op := c.GetOp().(type) {
	case *runtimev1.Condition_All:
		of = op.All.GetExpr()
	case *runtimev1.Condition_Any:
		of = op.Any.GetExpr()
	case *runtimev1.Condition_None:
		of = op.None.GetExpr()
	default:
		return p.demandOfLeaf(c.GetExpr(), with)
	}
	// A check evaluates the next part if no part before it has decided.
	all := c.GetAll() != nil
	demands, values := make([]*operand, len(of)), make([]*operand, len(of))
	for i, x := range of {
		var err error
		if demands[i], values[i], err = p.demandOfPart(x, with); err != nil {
			return nil, nil, err
		}
	}
	demand := truth(true)
	for i := range slices.Backward(of) {
		decides := values[i]
		if all {
			decides = expression("not", decides)
		}
		demand = expression("and", demands[i], expression("or", decides, demand))
	}
	switch {
	case all:
		return demand, expression("and", values...), nil
	case c.GetAny() != nil:
		return demand, expression("or", values...), nil
	}
	return demand, expression("not", expression("or", values...)), nil
}

func (p *planner) demandOfLeaf(x *runtimev1.Expr, with *partial) (*operand, *operand, error) {
	r, err := p.leaf(x, with)
	if err != nil {
		return nil, nil, err
	}
	if r.missing() {
		return truth(false), truth(false), nil
	}
	value, err := operandOf(r.e)
	if err != nil {
		return nil, nil, err
	}
	if r.keyed != nil {
		keyed, err := operandOf(r.keyed)
		return expression(definite, value, keyed), value, err
	}
	value = simplify(value)
	if _, known := constant(value); known {
		return truth(true), value, nil
	}
	// has() of an attribute fails only if what it is an attribute of is missing.
	name, is := strings.CutPrefix(guarded(value).GetVariable(), attributePrefix)
	if is && !strings.Contains(name, ".") && !isNeeded(value) {
		return truth(true), value, nil
	}
	return expression(definite, value), value, nil
}
