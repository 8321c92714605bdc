package engine

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// A condition fails in a check of a resource that lacks an attribute. So has() of an attribute that
// the request does not give, and "in" an empty list, have a value only if the attribute is there.
// What fails in every check is missing: an attribute that no resource has.
//
// In a filter has() is a guard, until the filter is complete: a comparison with a text that no
// attribute has. A guard becomes "is not null" where that can only hide resources, and true
// elsewhere. It disappears if another part of the filter needs the attribute anyway. What is
// missing becomes false, and true within a not.

// absent is the text of guards. No policy can name it.
var absent = "absent:" + rand.Text()

// needed is the text of a guard on which the value of the condition depends, as with "in" an empty
// list. has() itself has a value if the attribute is missing.
var needed = "needed:" + rand.Text()

// refusedName is the name of an attribute that stands for what cannot become a filter.
var refusedName = "refused:" + rand.Text()

// isRefused reports whether a part of o cannot become a filter.
func isRefused(o *operand) bool {
	return o.GetVariable() == attributePrefix+refusedName ||
		slices.ContainsFunc(o.GetExpression().GetOperands(), isRefused)
}

// guard returns has() of a value.
func guard(value *exprpb.Expr) *exprpb.Expr { return call("_!=_", value, literal(absent)) }

// guarded returns the operand whose presence a guard asks for, or nil if o is not a guard.
func guarded(o *operand) *operand {
	e := o.GetExpression()
	if e.GetOperator() == "ne" && len(e.GetOperands()) == 2 {
		if text := e.GetOperands()[1].GetValue().GetStringValue(); text == absent || text == needed {
			return e.GetOperands()[0]
		}
	}
	return nil
}

// isNeeded reports whether a guard decides if its condition has a value.
func isNeeded(guard *operand) bool {
	return guard.GetExpression().GetOperands()[1].GetValue().GetStringValue() == needed
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
func withoutGuards(o *operand, isCondition bool) *operand {
	e := o.GetExpression()
	if e == nil {
		return o
	}
	if guarded(o) != nil {
		return truth(true)
	}
	of := make([]*operand, len(e.GetOperands()))
	for i, x := range e.GetOperands() {
		of[i] = withoutGuards(x, isConditionOf(e.GetOperator(), i, isCondition))
	}
	return digests{}.reduced(e.GetOperator(), of, isCondition)
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
		if operator == definite && len(e.GetOperands()) == 2 {
			return nil, errMacro // the key of a map is open to has()
		}
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
	out := []*operand{withoutGuards(o, true)}
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
func (f digests) settled(o *operand, positive bool, facts []fact) *operand {
	if value := guarded(o); value != nil {
		if hasValueBy(value, facts) {
			return truth(true)
		}
		return expression("ne", value, &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{
			Value: structpb.NewNullValue()}})
	}
	e := o.GetExpression()
	switch operator := e.GetOperator(); operator {
	case definite:
		of := e.GetOperands()[0]
		switch keyed := len(e.GetOperands()) == 2; {
		case slices.ContainsFunc(facts, func(known fact) bool { return known.shows(of, f) }),
			!keyed && isBooleanBy(of, facts):
			return truth(true)
		case keyed:
			return e.GetOperands()[1]
		}
		return expression("or", of, expression("not", of))
	case "not":
		return expression("not", f.settled(e.GetOperands()[0], !positive, facts))
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
			of = append(of, f.settled(x, positive, known))
		}
		return expression(operator, of...)
	}
	if lambda := ofElements(o); lambda != nil {
		outer := slices.DeleteFunc(slices.Clone(facts), func(known fact) bool { // within, the name means an element
			return slices.ContainsFunc(lambda.GetOperands()[1:], func(v *operand) bool {
				return namesVariable(known.of, v.GetVariable())
			})
		})
		return expression(e.GetOperator(), e.GetOperands()[0],
			withBody(lambda, f.settled(lambda.GetOperands()[0], positive, outer)))
	}
	return o
}

// namesVariable reports whether a part of o is the variable, or a field of it.
func namesVariable(o *operand, name string) bool {
	return o.GetVariable() == name || strings.HasPrefix(o.GetVariable(), name+".") ||
		slices.ContainsFunc(o.GetExpression().GetOperands(), func(x *operand) bool { return namesVariable(x, name) })
}

// hasValueBy reports whether the facts imply that o has a value.
func hasValueBy(o *operand, facts []fact) bool {
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.implies(func(leaf *operand) bool { return needs(leaf, o) })
	})
}

// isBooleanBy reports whether the facts imply that a condition is true or false. An attribute may
// have another value. Then a fact must be the attribute itself.
func isBooleanBy(o *operand, facts []fact) bool {
	if of := guarded(o); of != nil {
		return hasValueBy(of, facts)
	}
	switch e := o.GetExpression(); e.GetOperator() {
	case "and", "or", "not":
		return !slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return !isBooleanBy(x, facts) })
	case "eq", "ne", "lt", "le", "gt", "ge", "in":
		return hasValueBy(o, facts)
	}
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.implies(func(leaf *operand) bool { return proto.Equal(leaf, o) })
	})
}

// implies reports whether a condition has one of the leaves, on which the fact depends.
func (f fact) implies(has func(leaf *operand) bool) bool {
	e := f.of.GetExpression()
	does := func(x *operand) bool { return fact{x, f.value}.implies(has) }
	switch operator := e.GetOperator(); {
	case operator == "not":
		return fact{e.GetOperands()[0], !f.value}.implies(has)
	case operator == "and" && f.value, operator == "or" && !f.value:
		return slices.ContainsFunc(e.GetOperands(), does)
	case operator == "and", operator == "or":
		return !slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return !does(x) })
	case operator == definite, guarded(f.of) != nil:
		return false // two of them would settle each other
	}
	return has(f.of)
}

// shows reports whether o is true if the fact holds.
func (f fact) shows(o *operand, by digests) bool {
	if !f.value {
		return false
	}
	e := f.of.GetExpression()
	return by.of(f.of) == by.of(o) || e.GetOperator() == "and" &&
		slices.ContainsFunc(e.GetOperands(), func(x *operand) bool { return fact{x, true}.shows(o, by) })
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

// valueless is the name of missing in filters.
var valueless = attributePrefix + absent

// missing returns an attribute that no resource has.
func missing() *exprpb.Expr { return fieldOf(fieldOf(ident("R"), "attr"), absent) }

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
		if len(e.GetOperands()) == 2 {
			break
		}
		x := e.GetOperands()[0]
		return expression("or", withoutMissing(x, positive), expression("not", withoutMissing(x, !positive)))
	}
	if lambda := ofElements(o); lambda != nil && hasValue(e.GetOperands()[0]) {
		return expression(e.GetOperator(), e.GetOperands()[0],
			withBody(lambda, withoutMissing(lambda.GetOperands()[0], positive)))
	}
	return truth(!positive)
}
