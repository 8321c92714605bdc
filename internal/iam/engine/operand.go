package engine

import (
	"bytes"
	"crypto/sha256"
	"slices"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// operand is a part of a plan's filter.
type operand = enginev1.PlanResourcesFilter_Expression_Operand

// conditionOf returns a filter as a condition.
func conditionOf(f *enginev1.PlanResourcesFilter) *operand {
	switch f.GetKind() {
	case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
		return truth(true)
	case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
		return f.GetCondition()
	}
	return truth(false)
}

// filterOf returns a condition as a filter.
func filterOf(o *operand) *enginev1.PlanResourcesFilter {
	if v, known := constant(o); known && v {
		return &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED}
	} else if known {
		return &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED}
	}
	return &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL, Condition: o}
}

// simplify evaluates and, or, not and if where their operands are known. It flattens and removes
// repetitions. The operand is a condition.
func simplify(o *operand) *operand { return digests{}.simplify(o) }

func (f digests) simplify(o *operand) *operand {
	e := o.GetExpression()
	switch operator := e.GetOperator(); operator {
	case "and", "or", "not", "if":
		of := make([]*operand, len(e.GetOperands()))
		for i, x := range e.GetOperands() {
			of[i] = f.simplify(x)
		}
		return f.reduced(operator, of, true)
	}
	return o
}

// isConditionOf reports whether operand i of an operator is a condition: if it is not a boolean,
// the whole has no value.
func isConditionOf(operator string, i int, whole bool) bool {
	switch operator {
	case "and", "or", "not":
		return true
	case "if":
		return i == 0 || whole
	case "lambda":
		return i == 0 && whole
	case "all", "exists":
		return i == 1
	}
	return false
}

// reduced returns the simple form of an expression whose operands are simple.
//
// An operand that is left alone stands for its condition. If it is not a boolean, neither holds.
// As a value the operand has one, and the condition fails. So what is not a condition stays.
func (f digests) reduced(operator string, operands []*operand, isCondition bool) *operand {
	if !isCondition && operator != "if" {
		return expression(operator, operands...)
	}
	switch operator {
	case "not":
		if v, known := constant(operands[0]); known {
			return truth(!v)
		}
		if x := operands[0].GetExpression(); x.GetOperator() == "not" {
			return x.GetOperands()[0]
		}
	case "if":
		if v, known := constant(operands[0]); known && v {
			return operands[1]
		} else if known {
			return operands[2]
		}
	case "and", "or":
		neutral := operator == "and"
		var rest []*operand
		seen := map[digest]bool{}
		add := func(x *operand) {
			if key := f.of(x); !seen[key] {
				seen[key] = true
				rest = append(rest, x)
			}
		}
		for _, x := range operands {
			if v, known := constant(x); known {
				if v != neutral {
					return truth(v)
				}
			} else if inner := x.GetExpression(); inner.GetOperator() == operator {
				for _, y := range inner.GetOperands() {
					add(y)
				}
			} else {
				add(x)
			}
		}
		switch len(rest) {
		case 0:
			return truth(neutral)
		case 1:
			return rest[0]
		}
		operands = rest
	}
	return expression(operator, operands...)
}

// digest is one that is equal for conditions that differ in the order and repetition of operands
// alone.
type digest [sha256.Size]byte

// digests has those of operands that are compared with each other.
type digests map[*operand]digest

func (f digests) of(o *operand) digest {
	if known, ok := f[o]; ok {
		return known
	}
	var out digest
	if e := o.GetExpression(); e.GetOperator() == "and" || e.GetOperator() == "or" || e.GetOperator() == "not" {
		var of []digest
		for _, x := range e.GetOperands() {
			of = append(of, f.of(x))
		}
		slices.SortFunc(of, func(a, b digest) int { return bytes.Compare(a[:], b[:]) })
		sum := sha256.New()
		sum.Write([]byte("(" + e.GetOperator()))
		for _, x := range slices.Compact(of) {
			sum.Write(x[:])
		}
		sum.Sum(out[:0])
	} else {
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(o) // it is the planner's own
		out = sha256.Sum256(b)
	}
	f[o] = out
	return out
}

// fits reports whether a condition has at most n operands.
func fits(o *operand, n int) bool {
	left := n
	var count func(*operand)
	count = func(o *operand) {
		if left--; left < 0 {
			return
		}
		for _, x := range o.GetExpression().GetOperands() {
			count(x)
		}
	}
	count(o)
	return left >= 0
}

func expression(operator string, of ...*operand) *operand {
	return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Expression{
		Expression: &enginev1.PlanResourcesFilter_Expression{Operator: operator, Operands: of}}}
}

func truth(v bool) *operand {
	return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{Value: structpb.NewBoolValue(v)}}
}

// constant returns the truth value of an operand, and whether it is one.
func constant(o *operand) (bool, bool) {
	v, ok := o.GetValue().GetKind().(*structpb.Value_BoolValue)
	return ok && v.BoolValue, ok
}

func isTrue(o *operand) bool {
	v, known := constant(o)
	return v && known
}

func isFalse(o *operand) bool {
	v, known := constant(o)
	return known && !v
}

// operandOf returns an expression as an operand, as Cerbos writes it.
func operandOf(e *exprpb.Expr) (*operand, error) {
	out := new(operand)
	if err := buildOperand(e, out); err != nil {
		return nil, err
	}
	return normalised(out), nil
}

// normalised returns an operand with the full names of the request's fields. A list of one element
// is the element, and what is known is left out.
func normalised(o *operand) *operand { return digests{}.normalised(o, true) }

func (f digests) normalised(o *operand, isCondition bool) *operand {
	if name := o.GetVariable(); name != "" {
		return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Variable{Variable: expandName(name)}}
	}
	e := o.GetExpression()
	if e == nil {
		return o
	}
	of := make([]*operand, len(e.GetOperands()))
	for i, x := range e.GetOperands() {
		if of[i] = x; i == 0 || e.GetOperator() != "get-field" { // a field may be called R
			of[i] = f.normalised(x, isConditionOf(e.GetOperator(), i, isCondition))
		}
	}
	if e.GetOperator() == "in" && len(of) == 2 {
		if one := of[1].GetValue().GetListValue().GetValues(); len(one) == 1 {
			return expression("eq", of[0], &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{
				Value: one[0]}})
		}
	}
	return f.reduced(e.GetOperator(), of, isCondition)
}

// leaves counts the parts of a condition that have no conditions as operands.
func leaves(o *operand) int {
	switch e := o.GetExpression(); e.GetOperator() {
	case "and", "or", "not", "if":
		n := 0
		for _, x := range e.GetOperands() {
			n += leaves(x)
		}
		return n
	}
	return 1
}
