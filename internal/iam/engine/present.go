package engine

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Cerbos' planner decides some parts of a condition that fail in a check of a resource without an
// attribute: has() is true, "in" an empty list is false. A plan would then show a resource that a
// check denies.
//
// So the planner gets conditions that say the same in a check, and that it cannot decide: they
// compare the attribute with a text that no attribute has. Such a comparison is a guard. In the
// filter a guard becomes "is not null" where that can only hide resources, and true elsewhere. It
// disappears if another part of the filter needs the attribute anyway.
//
// Arithmetic that no check evaluates is corrected on the same way (arithmetic.go).

// absent is the text of guards. No policy can name it.
var absent = "absent:" + rand.Text()

// planned returns the expression that a plan uses for x, or nil for x itself. If evaluation is
// strict, a part that fails must not become false either.
func planned(x *exprpb.CheckedExpr, n numbers, strict bool) *exprpb.Expr {
	w := rewriter{numbers: n.in(x)}
	if out := w.rewrite(proto.CloneOf(x.GetExpr()), !strict); w.changed {
		return out
	}
	return nil
}

// planExpressions returns the expressions of a table that a plan replaces, by their source. Most
// tables have none.
func planExpressions(rt *runtimev1.RuleTable, strict bool) map[string]*exprpb.Expr {
	out := map[string]*exprpb.Expr{}
	known := numbersOf(rt)
	eachExpression(rt, func(x *runtimev1.Expr) {
		text := x.GetOriginal()
		if out[text] == nil && (strings.Contains(text, "has") || strings.Contains(text, "in") ||
			strings.ContainsAny(text, "[+-*/%&|")) {
			if e := planned(x.GetChecked(), known, strict); e != nil {
				out[text] = e
			}
		}
	})
	if namesDerivedRoles(rt) {
		separate(rt, out)
	}
	return out
}

type rewriter struct {
	numbers
	changed bool
}

// rewrite changes e. It is positive if e can only make the whole expression true by being true.
func (w *rewriter) rewrite(e *exprpb.Expr, positive bool) *exprpb.Expr {
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_SelectExpr:
		s := k.SelectExpr
		if isVariables(s.Operand) || s.Operand.GetIdentExpr().GetName() == "runtime" {
			if s.TestOnly { // the planner takes it for the value
				w.changed = true
				return missing()
			}
			return e
		}
		s.Operand = w.rewrite(s.Operand, false)
		if s.TestOnly && open(s.Operand) {
			w.changed = true
			value := &exprpb.Expr{ExprKind: &exprpb.Expr_SelectExpr{SelectExpr: &exprpb.Expr_Select{
				Operand: proto.CloneOf(s.Operand), Field: s.Field}}}
			if a := s.Operand.GetSelectExpr(); a.GetField() == "attr" && isResource(a.GetOperand()) {
				return guard(value) // alone: the planner takes has() of a known attribute for false
			}
			return call("_&&_", e, guard(value))
		}
		if s.TestOnly {
			w.changed = true
			return hasField(s.Operand, s.Field)
		}
	case *exprpb.Expr_CallExpr:
		return w.call(e, k.CallExpr, positive)
	case *exprpb.Expr_ListExpr:
		for i, x := range k.ListExpr.Elements {
			k.ListExpr.Elements[i] = w.rewrite(x, false)
		}
	case *exprpb.Expr_StructExpr:
		for _, x := range k.StructExpr.Entries {
			x.Value = w.rewrite(x.Value, false)
		}
	case *exprpb.Expr_ComprehensionExpr:
		c := k.ComprehensionExpr
		c.IterRange = w.rewrite(c.IterRange, false)
		outer := w.elements
		w.elements = slices.DeleteFunc(slices.Clone(outer), func(name string) bool {
			return name == c.IterVar || name == c.IterVar2 || name == c.AccuVar
		})
		if w.holds(c.IterRange) {
			element := c.IterVar
			if c.IterVar2 != "" { // the first one is the index or the key
				element = c.IterVar2
			}
			w.elements = append(w.elements, element)
		}
		c.LoopStep = w.rewrite(c.LoopStep, false)
		w.elements = outer
	}
	return e
}

func (w *rewriter) call(e *exprpb.Expr, c *exprpb.Expr_Call, positive bool) *exprpb.Expr {
	if w.fails(c) {
		w.changed = true
		return missing()
	}
	if c.Target != nil {
		c.Target = w.rewrite(c.Target, false)
	}
	for i, arg := range c.Args {
		switch c.Function {
		case "_&&_", "_||_":
			c.Args[i] = w.truthOf(w.rewrite(arg, positive))
		case "_?_:_":
			c.Args[i] = w.rewrite(arg, positive && i > 0)
		default:
			c.Args[i] = w.rewrite(arg, false)
		}
	}
	switch mirrored := map[string]string{"_<_": "_>_", "_>_": "_<_", "_<=_": "_>=_", "_>=_": "_<=_"}; {
	case c.Function == "@in" && open(c.Args[0]):
		out := e
		if c.Args[1].GetListExpr() == nil && !open(c.Args[1]) {
			// The planner takes "in" a text for "equals".
			w.changed = true
			out = call("_?_:_", isList(proto.CloneOf(c.Args[1])), out, boolean(false))
		}
		if !positive && c.Args[0].GetIdentExpr() == nil { // an element of a list is present
			w.changed = true
			out = call("_||_", out, call("!_", guard(proto.CloneOf(c.Args[0]))))
		}
		return out
	case mirrored[c.Function] != "" && indexes(c.Args[0]):
		// The planner turns a comparison with an element around: it takes m[k] < 5 for 5 < m[k].
		w.changed = true
		c.Function, c.Args[0], c.Args[1] = mirrored[c.Function], c.Args[1], c.Args[0]
	}
	return e
}

// truthOf returns e, an operand of && or ||. If a plan knows its value, and that is not a boolean,
// the operand is missing. A check fails there, and the planner drops the operand.
func (w *rewriter) truthOf(e *exprpb.Expr) *exprpb.Expr {
	if t, known := w.types[e.GetId()]; known && t.GetDyn() == nil || e.GetConstExpr() != nil || open(e) {
		return e
	}
	w.changed = true
	is := func(v bool) *exprpb.Expr { return call("_==_", proto.CloneOf(e), boolean(v)) }
	return call("_?_:_", call("_||_", is(true), is(false)), e, missing())
}

// open reports whether a plan does not know the value of e.
func open(e *exprpb.Expr) bool {
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_IdentExpr:
		switch k.IdentExpr.GetName() {
		case "P", "G", "globals", "C", "constants":
			return false
		}
		return true
	case *exprpb.Expr_SelectExpr:
		if k.SelectExpr.GetOperand().GetIdentExpr().GetName() == "request" {
			return k.SelectExpr.GetField() == "resource"
		}
		return open(k.SelectExpr.GetOperand())
	case *exprpb.Expr_CallExpr:
		return k.CallExpr.Target != nil && open(k.CallExpr.Target) || slices.ContainsFunc(k.CallExpr.GetArgs(), open)
	case *exprpb.Expr_ListExpr:
		return slices.ContainsFunc(k.ListExpr.GetElements(), open)
	case *exprpb.Expr_StructExpr:
		return slices.ContainsFunc(k.StructExpr.GetEntries(), func(x *exprpb.Expr_CreateStruct_Entry) bool {
			return open(x.GetMapKey()) || open(x.GetValue())
		})
	case *exprpb.Expr_ComprehensionExpr:
		return true
	}
	return false
}

// hasField returns has(e.field), of a value that a plan knows, as a call. The planner evaluates it,
// but in a branch of a conditional whose condition is open. There it takes has() for true.
func hasField(e *exprpb.Expr, field string) *exprpb.Expr {
	name := literal(field)
	if isMessage(e) {
		// The planner refuses this one if it does not evaluate it.
		out := call("hasValue")
		out.GetCallExpr().Target = call("_?._", e, name)
		return out
	}
	isMap := call("_==_", call("type", proto.CloneOf(e)), ident("map"))
	return call("_?_:_", isMap, call("@in", name, e), missing())
}

// isVariables reports whether e stands for all variables.
func isVariables(e *exprpb.Expr) bool {
	name := e.GetIdentExpr().GetName()
	return name == "V" || name == "variables"
}

// isMessage reports whether e is a part of the request that has fixed fields.
func isMessage(e *exprpb.Expr) bool {
	switch e.GetIdentExpr().GetName() {
	case "P", "request", "runtime":
		return true
	}
	of := e.GetSelectExpr().GetOperand()
	if of.GetIdentExpr().GetName() == "request" {
		return true
	}
	return of.GetSelectExpr().GetField() == "jwts"
}

// indexes reports whether e is an element of a list or map, or a field of one.
func indexes(e *exprpb.Expr) bool {
	return e.GetCallExpr().GetFunction() == "_[_]" ||
		e.GetSelectExpr().GetOperand().GetCallExpr().GetFunction() == "_[_]"
}

func call(function string, args ...*exprpb.Expr) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_CallExpr{CallExpr: &exprpb.Expr_Call{Function: function, Args: args}}}
}

func ident(name string) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_IdentExpr{IdentExpr: &exprpb.Expr_Ident{Name: name}}}
}

func literal(s string) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ConstExpr{ConstExpr: &exprpb.Constant{
		ConstantKind: &exprpb.Constant_StringValue{StringValue: s}}}}
}

func guard(value *exprpb.Expr) *exprpb.Expr { return call("_!=_", value, literal(absent)) }

func boolean(v bool) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ConstExpr{ConstExpr: &exprpb.Constant{
		ConstantKind: &exprpb.Constant_BoolValue{BoolValue: v}}}}
}

// isList returns e.all(x, true), which fails unless e is a list or a map.
func isList(e *exprpb.Expr) *exprpb.Expr {
	result := func() *exprpb.Expr { return ident("@result") }
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ComprehensionExpr{ComprehensionExpr: &exprpb.Expr_Comprehension{
		IterVar: "element", IterRange: e, AccuVar: "@result", AccuInit: boolean(true),
		LoopCondition: call("@not_strictly_false", result()), LoopStep: call("_&&_", result(), boolean(true)),
		Result: result()}}}
}

// guarded returns the operand whose presence a guard asks for, or nil if o is not a guard.
func guarded(o *operand) *operand {
	e := o.GetExpression()
	if e.GetOperator() == "ne" && len(e.GetOperands()) == 2 &&
		e.GetOperands()[1].GetValue().GetStringValue() == absent {
		return e.GetOperands()[0]
	}
	return nil
}

// guards returns the guards within o.
func guards(o *operand) []*operand {
	if guarded(o) != nil {
		return []*operand{o}
	}
	var out []*operand
	for _, x := range o.GetExpression().GetOperands() {
		out = append(out, guards(x)...)
	}
	return out
}

// withoutGuards returns o where each guard holds.
func withoutGuards(o *operand) *operand {
	e := o.GetExpression()
	if e == nil {
		return o
	}
	if guarded(o) != nil {
		return truth(true)
	}
	of := make([]*operand, len(e.GetOperands()))
	for i, x := range e.GetOperands() {
		of[i] = withoutGuards(x)
	}
	return simplify(expression(e.GetOperator(), of...))
}

// lifted returns a condition whose guards stand where they can only hide resources. The condition
// is positive unless it stands within a not.
func lifted(o *operand, positive bool) (*operand, error) {
	found := guards(o)
	if len(found) == 0 {
		return o, nil
	}
	e := o.GetExpression()
	if guarded(o) != nil {
		if positive {
			return o, nil
		}
		return truth(true), nil
	}
	switch operator := e.GetOperator(); operator {
	case "and", "or", "not", definite:
		var of []*operand
		for _, x := range e.GetOperands() {
			part, err := lifted(x, positive == (operator != "not"))
			if err != nil {
				return nil, err
			}
			of = append(of, part)
		}
		if operator != definite {
			return expression(operator, of...), nil
		}
		not, err := lifted(e.GetOperands()[0], !positive)
		return expression("or", of[0], expression("not", not)), err
	}
	if list, lambda := e.GetOperands()[0], ofElements(o); lambda != nil && len(guards(list)) == 0 {
		body, err := lifted(lambda.GetOperands()[0], positive)
		return expression(e.GetOperator(), list, withBody(lambda, body)), err
	}
	out := []*operand{withoutGuards(o)}
	for _, g := range found {
		if !ofResource(guarded(g)) {
			return nil, fmt.Errorf("has() or in, of an element of a list, within %s", e.GetOperator())
		}
		if !positive {
			g = expression("not", g)
		}
		out = append(out, g)
	}
	if positive {
		return expression("and", out...), nil
	}
	return expression("or", out...), nil
}

// ofElements returns the lambda of a condition that holds of all elements of a list, or of one. It
// is nil for other operands.
func ofElements(o *operand) *enginev1.PlanResourcesFilter_Expression {
	e := o.GetExpression()
	if operator := e.GetOperator(); (operator == "all" || operator == "exists") && len(e.GetOperands()) == 2 {
		if lambda := e.GetOperands()[1].GetExpression(); lambda.GetOperator() == "lambda" {
			return lambda
		}
	}
	return nil
}

func withBody(lambda *enginev1.PlanResourcesFilter_Expression, body *operand) *operand {
	return expression("lambda", append([]*operand{body}, lambda.GetOperands()[1:]...)...)
}

// ofResource reports whether o names no variable of a list's element.
func ofResource(o *operand) bool {
	if name := o.GetVariable(); name != "" {
		return strings.HasPrefix(name, "request.")
	}
	e := o.GetExpression()
	if e.GetOperator() == "get-field" { // the field is a variable too
		return ofResource(e.GetOperands()[0])
	}
	return !slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return !ofResource(x) })
}

// fact is a condition that is true, or false, of each resource that a filter shows.
type fact struct {
	of    *operand
	value bool
}

// settled returns a lifted condition without the guards, and without the demands for definite
// values, that follow from the rest of the filter.
func settled(o *operand, positive bool, facts []fact) *operand {
	if value := guarded(o); value != nil {
		if isSettled(value, facts) {
			return truth(true)
		}
		return expression("ne", value, &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{
			Value: structpb.NewNullValue()}})
	}
	e := o.GetExpression()
	switch operator := e.GetOperator(); operator {
	case definite:
		of := e.GetOperands()[0]
		if isSettled(of, facts) {
			return truth(true)
		}
		return expression("or", of, expression("not", of))
	case "not":
		return expression("not", settled(e.GetOperands()[0], !positive, facts))
	case "and", "or":
		var of []*operand
		for i, x := range e.GetOperands() {
			known := slices.Clip(facts)
			if (operator == "and") == positive {
				for j, sibling := range e.GetOperands() {
					if i != j {
						known = append(known, fact{sibling, positive})
					}
				}
			}
			of = append(of, settled(x, positive, known))
		}
		return expression(operator, of...)
	}
	if lambda := ofElements(o); lambda != nil {
		return expression(e.GetOperator(), e.GetOperands()[0],
			withBody(lambda, settled(lambda.GetOperands()[0], positive, facts)))
	}
	return o
}

// isSettled reports whether the facts imply that o has a value.
func isSettled(o *operand, facts []fact) bool {
	if of := guarded(o); of != nil {
		return isSettled(of, facts)
	}
	if e := o.GetExpression(); e.GetOperator() == "and" || e.GetOperator() == "or" || e.GetOperator() == "not" {
		return !slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return !isSettled(x, facts) })
	}
	return slices.ContainsFunc(facts, func(f fact) bool { return f.implies(o) })
}

// implies reports whether o has a value if the fact holds.
func (f fact) implies(o *operand) bool {
	e := f.of.GetExpression()
	does := func(x *operand) bool { return fact{x, f.value}.implies(o) }
	switch operator := e.GetOperator(); {
	case operator == "not":
		return fact{e.GetOperands()[0], !f.value}.implies(o)
	case operator == "and" && f.value, operator == "or" && !f.value:
		return slices.ContainsFunc(e.GetOperands(), does)
	case operator == "and", operator == "or":
		return !slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return !does(x) })
	case operator == definite, guarded(f.of) != nil:
		return false // two of them would settle each other
	}
	return needs(f.of, o)
}

// needs reports whether from has a value only if o has one.
func needs(from, o *operand) bool {
	if proto.Equal(from, o) {
		return true
	}
	if name := o.GetVariable(); name != "" && strings.HasPrefix(from.GetVariable(), name+".") {
		return true
	}
	of := from.GetExpression().GetOperands()
	switch from.GetExpression().GetOperator() {
	case "and", "or":
		return false
	case "if":
		of = of[:1]
	}
	return slices.ContainsFunc(of, func(x *operand) bool {
		return x.GetExpression().GetOperator() != "lambda" && needs(x, o)
	})
}
