package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// planner makes the filter of one plan from the rules that a check of its resources may evaluate.
//
// It follows the check: the policies of the principal decide before those of the resource, a scope
// before its parents, and a DENY before an ALLOW. Where the check evaluates a condition, the filter
// has what the condition becomes for the request (residual.go).
type planner struct {
	planning
	table    *ruleTable
	settings Settings
	globals  map[string]any
	in       *enginev1.PlanResourcesInput
	request  *enginev1.Request
	now      func() time.Time

	scope, version        string // of the resource
	principals, resources []string
	conditions            map[place]*operand
	evaluations           map[place]*partial  // by places without a condition
	derived               map[string]residual // the effective derived roles, by scope
}

// place is a condition where it stands: its variables and the derived roles depend on it.
type place struct {
	kind      policyv1.Kind
	condition *runtimev1.Condition
	params    *ruletable.RowParams
	scope     string
}

func (e *Evaluator) newPlanner(ctx context.Context, in *enginev1.PlanResourcesInput) *planner {
	now := clock.System{}.Now()
	p := &planner{planning: planning{ctx: ctx}, table: e.table.rules, settings: e.settings, globals: e.globals, in: in,
		request: planRequest(in), now: func() time.Time { return now }, conditions: map[place]*operand{},
		evaluations: map[place]*partial{},
		derived:     map[string]residual{}}
	// Cerbos' planner leaves out the versions that a check has.
	p.request.Principal.PolicyVersion = in.GetPrincipal().GetPolicyVersion()
	p.request.Resource.PolicyVersion = in.GetResource().GetPolicyVersion()
	who, what := in.GetPrincipal(), in.GetResource()
	scope := func(of string) string { return strings.TrimPrefix(first(of, e.settings.DefaultScope), ".") }
	version := func(of string) string { return first(of, first(e.settings.DefaultVersion, "default")) }
	p.scope, p.version = scope(what.GetScope()), version(what.GetPolicyVersion())
	p.principals, _, _ = allScopes(p.table, policyv1.Kind_KIND_PRINCIPAL, scope(who.GetScope()), who.GetId(),
		version(who.GetPolicyVersion()), e.settings.LenientScopeSearch)
	p.resources, _, _ = allScopes(p.table, policyv1.Kind_KIND_RESOURCE, p.scope, what.GetKind(), p.version,
		e.settings.LenientScopeSearch)
	return p
}

func first(of, otherwise string) string {
	if of != "" {
		return of
	}
	return otherwise
}

// rows returns the rules of one scope for an action of a role.
func (p *planner) rows(kind policyv1.Kind, scope, action, role string) []*ruletable.FunctionalCore {
	principal, version := "", p.version
	if kind == policyv1.Kind_KIND_PRINCIPAL {
		principal, version = p.in.GetPrincipal().GetId(), first(p.in.GetPrincipal().GetPolicyVersion(), p.version)
	}
	roles := p.table.idx.AddParentRoles([]string{p.scope}, []string{role})
	var out []*ruletable.FunctionalCore
	for _, row := range p.table.idx.Query(version, ComparedKind(p.in.GetResource().GetKind()), scope, action, roles,
		kind, principal, nil) {
		out = append(out, row.Core)
	}
	return out
}

// filter returns the condition of all actions.
func (p *planner) filter() (*operand, error) {
	var all []*operand
	for _, action := range p.in.GetActions() {
		own, err := p.policies(policyv1.Kind_KIND_PRINCIPAL, p.principals, action)
		if err != nil {
			return nil, err
		}
		of, err := p.policies(policyv1.Kind_KIND_RESOURCE, p.resources, action)
		if err != nil {
			return nil, err
		}
		all = append(all, expression("and", expression("not", own.deny), expression("or", own.allow,
			expression("and", expression("not", of.deny), of.allow))))
	}
	return expression("and", all...), nil
}

// effects are the conditions under which policies allow and deny.
type effects struct{ allow, deny *operand }

// policies returns the effects of the principal's policies, or of the resource's. Each role allows
// for itself. A DENY of one role that is not certain denies all. That may hide what a check allows.
func (p *planner) policies(kind policyv1.Kind, scopes []string, action string) (effects, error) {
	out := effects{truth(false), truth(false)}
	for _, role := range p.in.GetPrincipal().GetRoles() {
		of, rolePolicies, err := p.role(kind, scopes, action, role)
		if err != nil {
			return effects{}, err
		}
		if kind == policyv1.Kind_KIND_PRINCIPAL { // its rules know no roles
			return of, nil
		}
		if isTrue(of.deny) || isTrue(rolePolicies) {
			continue
		}
		allow := simplify(expression("and", of.allow, expression("not", rolePolicies)))
		if isTrue(allow) && isFalse(of.deny) {
			return effects{truth(true), truth(false)}, nil
		}
		out.allow = simplify(expression("or", out.allow, allow))
		out.deny = simplify(expression("or", out.deny, of.deny))
	}
	return out, nil
}

// role returns the effects for one role, and the condition under which its role policies deny. An
// ALLOW of a scope that overrides its parents keeps those from denying.
func (p *planner) role(kind policyv1.Kind, scopes []string, action, role string) (effects, *operand, error) {
	out, rolePolicies := effects{truth(false), truth(false)}, truth(false)
	overridden, pending := truth(false), false
	for _, scope := range scopes {
		allow, deny, denyOfRole, allows := truth(false), truth(false), truth(false), false
		for _, row := range p.rows(kind, scope, action, role) {
			holds, err := p.row(row, scope)
			if err != nil {
				return effects{}, nil, err
			}
			switch {
			case row.Effect == effectv1.Effect_EFFECT_ALLOW:
				allow, allows = expression("or", allow, holds), true
			case row.FromRolePolicy:
				denyOfRole = expression("or", denyOfRole, holds)
			case row.Effect == effectv1.Effect_EFFECT_DENY:
				deny = expression("or", deny, holds)
			}
		}
		reached := expression("not", overridden)
		out.deny = expression("or", out.deny, expression("and", reached, deny))
		rolePolicies = expression("or", rolePolicies, expression("and", reached, denyOfRole))
		if !allows {
			continue
		}
		if pending {
			out.allow = expression("and", out.allow, allow)
		} else {
			out.allow = expression("or", out.allow, allow)
		}
		permissions := scopePermissions(p.table, scope)
		pending = permissions == policyv1.ScopePermissions_SCOPE_PERMISSIONS_REQUIRE_PARENTAL_CONSENT_FOR_ALLOWS
		if permissions == policyv1.ScopePermissions_SCOPE_PERMISSIONS_OVERRIDE_PARENT {
			overridden = expression("or", overridden, allow)
		}
	}
	if pending {
		out.allow = truth(false)
	}
	out.allow, out.deny = simplify(out.allow), simplify(out.deny)
	if isTrue(out.deny) && kind == policyv1.Kind_KIND_RESOURCE {
		out.allow = truth(false)
	}
	return out, simplify(rolePolicies), nil
}

// row returns the condition of a rule, and of its derived role.
func (p *planner) row(row *ruletable.FunctionalCore, scope string) (*operand, error) {
	own, err := p.condition(row.PolicyKind, row.Condition, row.Params, scope)
	if err != nil {
		return nil, err
	}
	role, err := p.condition(row.PolicyKind, row.DerivedRoleCondition, row.DerivedRoleParams, scope)
	return simplify(expression("and", own, role)), err
}

// condition returns what a condition of a rule becomes.
func (p *planner) condition(kind policyv1.Kind, c *runtimev1.Condition, params *ruletable.RowParams,
	scope string) (*operand, error) {
	key := place{kind, c, params, scope}
	if c == nil {
		return truth(true), nil
	}
	if known := p.conditions[key]; known != nil {
		return known, nil
	}
	of, err := p.evaluation(kind, params, scope)
	if err != nil {
		return nil, err
	}
	r, err := p.joined(c, of)
	if err != nil {
		return nil, err
	}
	out, err := operandOf(r.e)
	if err == nil {
		p.conditions[key] = out
	}
	return out, err
}

// evaluation returns the evaluation of conditions with the constants and variables of a rule. Rules
// of one policy have the same.
func (p *planner) evaluation(kind policyv1.Kind, params *ruletable.RowParams, scope string) (*partial, error) {
	key := place{kind: kind, params: params, scope: scope}
	known := p.evaluations[key]
	if known == nil {
		var err error
		if known, err = p.variables(kind, params, scope); err != nil {
			return nil, err
		}
		p.evaluations[key] = known
	}
	out, names := *known, *known.namesRoles // of the variables
	out.namesRoles = &names
	return &out, nil
}

func (p *planner) variables(kind policyv1.Kind, params *ruletable.RowParams, scope string) (*partial, error) {
	var constants map[string]any
	var variables []*runtimev1.Variable
	if params != nil {
		constants, variables = params.Constants, params.Variables
	}
	if kind != policyv1.Kind_KIND_PRINCIPAL {
		roles := func() (residual, error) { return p.derivedRoles(scope) }
		return p.partial(p.request, constants, variables, roles, false)
	}
	request := p.request
	if own := p.in.GetPrincipal().GetPolicyVersion(); own != "" && own != p.version { // as in a check: versions.go
		request = proto.CloneOf(request)
		request.Resource.PolicyVersion = own
	}
	return p.partial(request, constants, variables, noRolesHere, false)
}

func (p *planner) partial(request *enginev1.Request, constants map[string]any, variables []*runtimev1.Variable,
	roles func() (residual, error), nulls bool) (*partial, error) {
	values := map[string]any{}
	out := &partial{planning: &p.planning, given: request.GetResource().GetAttr(), opened: map[string]residual{},
		values: map[*exprpb.Expr]residual{}, nulls: nulls,
		roles: roles, namesRoles: new(bool), names: map[string]any{"request": request, "R": request.GetResource(),
			"P": request.GetPrincipal(), "globals": p.globals, "G": p.globals, "constants": constants, "C": constants,
			"variables": values, "V": values, "_cerbos_now_fn": p.now}}
	for _, v := range variables {
		err := p.planned(v.GetExpr())
		var e *exprpb.Expr
		if err == nil {
			e, err = compileExpr(p.table.planExprCache, v.GetExpr())
		}
		if err == nil {
			err = out.define(v.GetName(), e)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// planned fails if no program can be made of an expression, such as one with int("q"). In a check
// all of the condition fails then, also if CEL would never reach the part.
func (p *planner) planned(x *runtimev1.Expr) error {
	prg, ok := p.table.programCache.m[x.GetOriginal()].(*program)
	if !ok {
		return nil
	}
	_, err := prg.get()
	return err
}

// leaf returns what is left of one expression of a condition. It is missing if it fails, or is not
// a boolean.
func (p *planner) leaf(x *runtimev1.Expr, with *partial) (residual, error) {
	if err := p.planned(x); err != nil {
		return void, err
	}
	e, err := compileExpr(p.table.planExprCache, x)
	if err != nil {
		return void, err
	}
	r, err := with.part(e)
	if r = condition(r); err != nil || r.missing() || r.value != nil {
		return r, err
	}
	if r.unrolled != nil {
		r.e = r.unrolled
	}
	r.e, r.keyed, err = with.spelled(r.e)
	return r, err
}

// spelled returns a comparison with an element of a known map, by a key that is not known, as those
// keys for which it holds. For keys that are not keyed the comparison fails.
func (p *partial) spelled(e *exprpb.Expr) (*exprpb.Expr, *exprpb.Expr, error) {
	c := e.GetCallExpr()
	if c.GetTarget() != nil || len(c.GetArgs()) != 2 {
		return e, nil, nil
	}
	side, other := c.GetArgs()[0], c.GetArgs()[1]
	switch c.GetFunction() {
	case operators.In:
		side, other = other, side
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater,
		operators.GreaterEquals:
	default:
		return e, nil, nil
	}
	field := ""
	if s := side.GetSelectExpr(); s != nil {
		side, field = s.GetOperand(), s.GetField()
	}
	index := side.GetCallExpr()
	if index.GetFunction() != operators.Index || other.GetConstExpr() == nil ||
		index.GetArgs()[1].GetSelectExpr() == nil || len(index.GetArgs()[0].GetStructExpr().GetEntries()) == 0 {
		return e, nil, nil
	}
	key := index.GetArgs()[1]
	out, keys := truthOf(false), []*exprpb.Expr{}
	for _, entry := range index.GetArgs()[0].GetStructExpr().GetEntries() {
		value := entry.GetValue()
		_, isText := entry.GetMapKey().GetConstExpr().GetConstantKind().(*exprpb.Constant_StringValue)
		if !p.known(value) || !isText { // two numbers may be one key
			return e, nil, nil
		}
		if field != "" {
			value = fieldOf(value, field)
		}
		holds := call(c.GetFunction(), value, other)
		if c.GetFunction() == operators.In {
			holds = call(c.GetFunction(), other, value)
		}
		r, err := p.evaluate(holds)
		if err != nil {
			return nil, nil, err
		}
		if condition(r).missing() {
			continue
		}
		keys = append(keys, entry.GetMapKey())
		is := openBool(call(operators.Equals, key, entry.GetMapKey()))
		out = junction(operators.LogicalOr, out, junction(operators.LogicalAnd, is, r))
	}
	return out.e, call(operators.In, key, listOf(keys...)), nil
}

// derivedRoles returns runtime.effectiveDerivedRoles of a scope: for each derived role a list with
// its name, or an empty one.
func (p *planner) derivedRoles(scope string) (residual, error) {
	if known, ok := p.derived[scope]; ok {
		return known, nil
	}
	var lists []*exprpb.Expr
	var last *partial
	err := p.eachDerivedRole(scope, func(name string, role *derivedRole, with *partial) error {
		holds, err := p.joined(role.GetCondition(), with)
		if err != nil {
			return err
		}
		list := listOf(literal(name))
		if v, known := holds.truth(); !known {
			list = call(operators.Conditional, holds.e, list, listOf())
		} else if !v {
			list = listOf()
		}
		lists, last = append(lists, list), with
		return nil
	})
	out := emptyRoles
	if len(lists) > 0 && err == nil {
		sum := lists[len(lists)-1]
		for _, list := range slices.Backward(lists[:len(lists)-1]) {
			sum = call(operators.Add, list, sum)
		}
		out, err = last.part(sum)
	}
	p.derived[scope] = out
	return out, err
}

// noRolesHere is runtime.effectiveDerivedRoles where a check sees none (runtime.go).
func noRolesHere() (residual, error) { return emptyRoles, nil }

var emptyRoles = residual{e: listOf(), kinds: listKind,
	value: types.NewDynamicList(types.DefaultTypeAdapter, []any{})}

// eachDerivedRole calls f for the derived roles of a scope that the principal's roles may have.
func (p *planner) eachDerivedRole(scope string, f func(name string, role *derivedRole, with *partial) error) error {
	roles := map[string]bool{}
	for _, role := range p.table.idx.AddParentRoles([]string{p.scope}, p.in.GetPrincipal().GetRoles()) {
		roles[role] = true
	}
	of := derivedRolesOf(p.table, resourcePolicyName(p.in.GetResource().GetKind(), p.version, scope))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		role := of[name]
		if !role.isFor(roles) {
			continue
		}
		// For runtime.effectiveDerivedRoles a check takes variables that fail for null.
		with, err := p.partial(p.request, role.Constants, role.GetOrderedVariables(), noRolesHere,
			!p.settings.StrictEvaluation)
		if err == nil {
			err = f(name, role, with)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// joined returns what is left of a condition, as one expression.
func (p *planner) joined(c *runtimev1.Condition, with *partial) (residual, error) {
	parts := func(function string, of *runtimev1.Condition_ExprList, each func(residual) residual) (residual, error) {
		out := truthOf(function == operators.LogicalAnd)
		for _, x := range of.GetExpr() {
			r, err := p.joined(x, with)
			if err != nil {
				return void, err
			}
			out = junction(function, out, each(r))
		}
		return out, nil
	}
	same := func(r residual) residual { return r }
	switch op := c.GetOp().(type) {
	case nil:
		return truthOf(true), nil
	case *runtimev1.Condition_All:
		return parts(operators.LogicalAnd, op.All, same)
	case *runtimev1.Condition_Any:
		return parts(operators.LogicalOr, op.Any, same)
	case *runtimev1.Condition_None:
		return parts(operators.LogicalAnd, op.None, negation)
	}
	r, err := p.leaf(c.GetExpr(), with)
	if r.missing() { // a check takes it for false
		return truthOf(false), err
	}
	return r, err
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
