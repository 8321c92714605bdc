package engine

import (
	"slices"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// An attribute that is a number is a double. CEL has no sum of a double and a whole number, so a
// check of R.attr.size + 1 > 2 always fails. A filter has one kind of number, so there the sum has
// a value. In a plan such arithmetic is an attribute that no resource has. The condition of a
// filter that names it is false, and so is its negation.

// arithmetic are the operators of CEL that need two operands of one type.
var arithmetic = []string{"_+_", "_-_", "_*_", "_/_", "_%_"}

// numbers knows which expressions of a table may be attributes, and which may be whole numbers.
type numbers struct {
	types     map[int64]*exprpb.Type // of the expression at hand, by the id of a node
	variables map[string]kindOfVariable
	elements  []string // names of the elements of lists in attributes
}

// kindOfVariable says what a variable may be: an attribute, a number made of attributes, a whole
// number.
type kindOfVariable struct{ attribute, double, whole bool }

// numbersOf returns what is known of the variables of a table. Policies may define one name in
// several ways. Then it counts as each of them, so that a plan hides too much and not too little.
func numbersOf(rt *runtimev1.RuleTable) numbers {
	n := numbers{variables: map[string]kindOfVariable{}}
	add := func(of []*runtimev1.Variable) { // each names only those before it
		for _, v := range of {
			x := n.in(v.GetExpr().GetChecked())
			kind, e := n.variables[v.GetName()], v.GetExpr().GetChecked().GetExpr()
			n.variables[v.GetName()] = kindOfVariable{
				attribute: kind.attribute || x.attribute(e),
				double:    kind.double || x.holds(e) || x.double(e),
				whole:     kind.whole || x.whole(e) || x.wholes(e),
			}
		}
	}
	for _, row := range rt.GetRules() {
		add(row.GetParams().GetOrderedVariables())
		add(row.GetDerivedRoleParams().GetOrderedVariables())
	}
	for _, roles := range rt.GetPolicyDerivedRoles() {
		for _, role := range roles.GetDerivedRoles() {
			add(role.GetOrderedVariables())
		}
	}
	return n
}

// in returns n for the nodes of an expression.
func (n numbers) in(x *exprpb.CheckedExpr) numbers {
	return numbers{types: x.GetTypeMap(), variables: n.variables}
}

// ofVariable returns the kind of the variable that e names.
func (n numbers) ofVariable(e *exprpb.Expr) kindOfVariable {
	if s := e.GetSelectExpr(); isVariables(s.GetOperand()) {
		return n.variables[s.GetField()]
	}
	return kindOfVariable{}
}

// fails reports whether a call is arithmetic of an attribute that no check evaluates.
func (n numbers) fails(c *exprpb.Expr_Call) bool {
	if !slices.Contains(arithmetic, c.GetFunction()) || len(c.GetArgs()) != 2 {
		return false
	}
	a, b := c.GetArgs()[0], c.GetArgs()[1]
	if c.GetFunction() == "_%_" { // only whole numbers have a remainder
		return n.double(a) || n.double(b)
	}
	return n.double(a) && n.whole(b) || n.whole(a) && n.double(b)
}

// double reports whether e may be a double: the compiler knows that it is one, or it names an
// attribute and the compiler does not know its type.
func (n numbers) double(e *exprpb.Expr) bool {
	t, known := n.types[e.GetId()]
	return t.GetPrimitive() == exprpb.Type_DOUBLE || (!known || t.GetDyn() != nil) && n.names(e)
}

// holds reports whether e may be or have a number that comes from an attribute. A list or a map has
// the numbers of its elements.
func (n numbers) holds(e *exprpb.Expr) bool {
	t := n.types[e.GetId()].GetPrimitive()
	return (t == exprpb.Type_PRIMITIVE_TYPE_UNSPECIFIED || t == exprpb.Type_DOUBLE) && n.names(e)
}

// names reports whether e, or a part of it, may be an attribute.
func (n numbers) names(e *exprpb.Expr) bool {
	if n.attribute(e) || n.ofVariable(e).double {
		return true
	}
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_SelectExpr:
		return n.names(k.SelectExpr.GetOperand())
	case *exprpb.Expr_CallExpr:
		return n.names(k.CallExpr.GetTarget()) || slices.ContainsFunc(k.CallExpr.GetArgs(), n.names)
	case *exprpb.Expr_ListExpr:
		return slices.ContainsFunc(k.ListExpr.GetElements(), n.names)
	case *exprpb.Expr_StructExpr:
		return slices.ContainsFunc(k.StructExpr.GetEntries(), func(x *exprpb.Expr_CreateStruct_Entry) bool {
			return n.names(x.GetMapKey()) || n.names(x.GetValue())
		})
	case *exprpb.Expr_ComprehensionExpr:
		c := k.ComprehensionExpr
		return slices.ContainsFunc([]*exprpb.Expr{c.GetIterRange(), c.GetLoopStep(), c.GetResult()}, n.names)
	}
	return false
}

// attribute reports whether e may be an attribute of the resource or the principal, a claim, a
// constant or a global, or a part of one. All of them are JSON.
func (n numbers) attribute(e *exprpb.Expr) bool {
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_IdentExpr:
		switch name := k.IdentExpr.GetName(); name {
		case "G", "globals", "C", "constants":
			return true
		default:
			return slices.Contains(n.elements, name)
		}
	case *exprpb.Expr_SelectExpr:
		of := k.SelectExpr.GetOperand()
		if k.SelectExpr.GetTestOnly() {
			return false
		}
		switch field := k.SelectExpr.GetField(); {
		case field == "attr" && (isResource(of) || isPrincipal(of)),
			field == "auxData" && of.GetIdentExpr().GetName() == "request":
			return true
		}
		return n.attribute(of) || n.ofVariable(e).attribute
	case *exprpb.Expr_CallExpr:
		args := k.CallExpr.GetArgs()
		switch k.CallExpr.GetFunction() {
		case "_[_]":
			return n.attribute(args[0])
		case "_?_:_":
			return n.attribute(args[1]) || n.attribute(args[2])
		case "dyn":
			return n.attribute(args[0])
		}
	}
	return false
}

func isResource(e *exprpb.Expr) bool {
	s := e.GetSelectExpr()
	return e.GetIdentExpr().GetName() == "R" ||
		s.GetField() == "resource" && s.GetOperand().GetIdentExpr().GetName() == "request"
}

func isPrincipal(e *exprpb.Expr) bool {
	s := e.GetSelectExpr()
	return e.GetIdentExpr().GetName() == "P" ||
		s.GetField() == "principal" && s.GetOperand().GetIdentExpr().GetName() == "request"
}

// whole reports whether e may be a whole number.
func (n numbers) whole(e *exprpb.Expr) bool {
	if t := n.types[e.GetId()].GetPrimitive(); t == exprpb.Type_INT64 || t == exprpb.Type_UINT64 {
		return true
	}
	if of := e.GetSelectExpr().GetOperand(); of != nil && (n.ofVariable(of).whole || n.wholes(of)) {
		return true // in a map
	}
	switch c := e.GetCallExpr(); c.GetFunction() {
	case "_[_]":
		of := c.GetArgs()[0]
		return n.ofVariable(of).whole || n.wholes(of)
	case "_?_:_":
		return n.whole(c.GetArgs()[1]) || n.whole(c.GetArgs()[2])
	case "dyn":
		return n.whole(c.GetArgs()[0])
	}
	return n.ofVariable(e).whole
}

// wholes reports whether e may be a list or a map of whole numbers.
func (n numbers) wholes(e *exprpb.Expr) bool {
	t := n.types[e.GetId()]
	for _, of := range []*exprpb.Type{t.GetListType().GetElemType(), t.GetMapType().GetValueType()} {
		if p := of.GetPrimitive(); p == exprpb.Type_INT64 || p == exprpb.Type_UINT64 {
			return true
		}
	}
	return slices.ContainsFunc(e.GetListExpr().GetElements(), n.whole) ||
		slices.ContainsFunc(e.GetStructExpr().GetEntries(), func(x *exprpb.Expr_CreateStruct_Entry) bool {
			return n.whole(x.GetValue())
		})
}

// valueless is the name of missing in filters.
var valueless = attributePrefix + absent

// missing returns an attribute that no resource has, which the planner cannot decide.
func missing() *exprpb.Expr {
	of := func(e *exprpb.Expr, field string) *exprpb.Expr {
		return &exprpb.Expr{ExprKind: &exprpb.Expr_SelectExpr{
			SelectExpr: &exprpb.Expr_Select{Operand: e, Field: field}}}
	}
	return of(of(ident("R"), "attr"), absent)
}

// hasValue reports whether no part of o is missing.
func hasValue(o *operand) bool {
	return o.GetVariable() != valueless &&
		!slices.ContainsFunc(o.GetExpression().GetOperands(), func(x *operand) bool { return !hasValue(x) })
}

// withoutMissing returns a condition that hides each resource for which a missing part decides. It
// is positive unless it stands within a not.
func withoutMissing(o *operand, positive bool) *operand {
	if hasValue(o) {
		return o
	}
	e := o.GetExpression()
	switch operator := e.GetOperator(); operator {
	case "and", "or", "not":
		var of []*operand
		for _, x := range e.GetOperands() {
			of = append(of, withoutMissing(x, positive == (operator != "not")))
		}
		return expression(operator, of...)
	case "if":
		if of := e.GetOperands(); hasValue(of[0]) {
			return expression(operator, of[0], withoutMissing(of[1], positive), withoutMissing(of[2], positive))
		}
	case definite:
		x := e.GetOperands()[0]
		return expression("or", withoutMissing(x, positive), expression("not", withoutMissing(x, !positive)))
	}
	if lambda := ofElements(o); lambda != nil && hasValue(e.GetOperands()[0]) {
		return expression(e.GetOperator(), e.GetOperands()[0],
			withBody(lambda, withoutMissing(lambda.GetOperands()[0], positive)))
	}
	return truth(!positive)
}
