package engine

import (
	"slices"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// maxSpelled is the number of elements up to which a filter spells out an all() or exists() that is
// the whole of a condition.
const maxSpelled = 10

// maxUnrolled is the number of elements up to which a filter spells one out that it cannot have
// otherwise.
const maxUnrolled = 100

// reserved are the names of a condition's inputs, which no variable of an open macro may have.
var reserved = []string{"R", "P", "V", "C", "G", "request", "variables", "constants", "globals", "runtime", "bool",
	"bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"}

// macro returns what is left of all(), exists(), map() and the like, which CEL expands to a
// comprehension.
func (p *partial) macro(c *exprpb.Expr_Comprehension) (residual, error) {
	if slices.Contains(reserved, c.GetIterVar()) || slices.Contains(reserved, c.GetIterVar2()) {
		return void, errMacro
	}
	over, err := p.value(c.GetIterRange())
	if err != nil || over.missing() || over.refused {
		return over, err
	}
	switch {
	case over.kinds&(listKind|mapKind) != 0:
	case over.value != nil:
		return void, nil
	default:
		return untold(anyKind), nil
	}
	if empty, ok := over.value.(traits.Sizer); ok && empty.Size() == types.IntZero &&
		c.GetLoopStep().GetCallExpr() != nil && p.known(c.GetAccuInit()) &&
		p.with(truthOf(true), c.GetAccuVar()).known(c.GetResult()) {
		return p.evaluate(comprehension(c, over.e, c.GetLoopStep())) // its step has no turn
	}
	if over.e.GetStructExpr() != nil && over.value == nil { // a filter has its keys only
		return void, errMacro
	}
	step := c.GetLoopStep().GetCallExpr()
	accumulated := func(e *exprpb.Expr) bool { return e.GetIdentExpr().GetName() == c.GetAccuVar() }
	if function := step.GetFunction(); (function == operators.LogicalAnd || function == operators.LogicalOr) &&
		len(step.GetArgs()) == 2 && accumulated(step.GetArgs()[0]) {
		return p.quantifier(c, over, function, step.GetArgs()[1])
	}
	b := body{partial: p.elements(c, over), accumulator: c.GetAccuVar()}
	made := b.step(c.GetLoopStep())
	if over.value != nil {
		if err := p.each(c, over.value, func(inner *partial) error {
			one := body{partial: inner, accumulator: c.GetAccuVar()}
			one.step(c.GetLoopStep())
			b.missing = b.missing || one.missing
			return one.err
		}); err != nil {
			return void, err
		}
	}
	switch {
	case b.err != nil:
		return void, b.err
	case b.missing:
		return untold(anyKind), nil
	case b.refused:
		return p.refused(p.refusal), nil
	}
	out := residual{e: comprehension(c, over.e, made), elements: b.inserted}
	switch {
	case losesValues(c, over) && c.GetAccuInit().GetConstExpr() != nil, isTakenForFilter(c, made),
		c.GetAccuInit().GetListExpr() != nil && isOfMap(over.value):
		return void, errMacro
	case c.GetAccuInit().GetListExpr() != nil:
		out.kinds = listKind
	case c.GetAccuInit().GetStructExpr() != nil:
		out.kinds = mapKind
	case c.GetAccuInit().GetConstExpr() != nil:
		out.kinds, out.elements = boolKind, 0
	default:
		return void, errMacro
	}
	return out, nil
}

// quantifier returns what is left of all() or exists(). Over a known list it is the same as all its
// elements joined, which shows the elements for which the body fails.
func (p *partial) quantifier(c *exprpb.Expr_Comprehension, over residual, function string, of *exprpb.Expr) (residual,
	error) {
	whole, count := truthOf(function == operators.LogicalAnd), 0
	if over.value != nil {
		if err := p.each(c, over.value, func(inner *partial) error {
			r, err := inner.part(of)
			whole, count = junction(function, whole, r), count+1
			return err
		}); err != nil || whole.missing() || whole.value != nil || whole.refused {
			return whole, err
		}
		if lacks(whole.e) || losesValues(c, over) {
			if count > maxUnrolled {
				return untold(boolKind), nil
			}
			return whole, nil
		}
	}
	r, err := p.elements(c, over).part(of)
	if err != nil {
		return r, err
	}
	if over.value != nil && (r.missing() || r.value != nil || r.refused && count <= maxUnrolled) {
		return whole, nil
	}
	if r.refused {
		return r, nil
	}
	r = condition(r)
	out := openBool(comprehension(c, over.e, call(function, ident(c.GetAccuVar()), r.e)))
	if over.value != nil && count <= maxSpelled {
		out.unrolled = whole.e
	}
	return out, nil
}

// losesValues reports whether a filter has the keys of a macro's map only, and the macro asks for
// its values.
func losesValues(c *exprpb.Expr_Comprehension, over residual) bool {
	return c.GetIterVar2() != "" && over.e.GetStructExpr() != nil
}

// isOfMap reports whether a value is a map of several elements, which have no order.
func isOfMap(v ref.Val) bool {
	m, is := v.(traits.Mapper)
	return is && m.Size() != types.IntOne
}

// isTakenForFilter reports whether Cerbos writes a macro that maps as one that filters: one with a
// condition, whose result is not a call.
func isTakenForFilter(c *exprpb.Expr_Comprehension, step *exprpb.Expr) bool {
	choice := step.GetCallExpr()
	if choice.GetFunction() != operators.Conditional || c.GetAccuInit().GetListExpr() == nil {
		return false
	}
	args := choice.GetArgs()[1].GetCallExpr().GetArgs()
	if len(args) != 2 || len(args[1].GetListExpr().GetElements()) != 1 {
		return true
	}
	result := args[1].GetListExpr().GetElements()[0]
	filters := c.GetIterVar2() == "" && result.GetIdentExpr().GetName() == c.GetIterVar()
	return !filters && result.GetCallExpr() == nil
}

// each calls f for each element of a known list or map, with p within the macro.
func (p *partial) each(c *exprpb.Expr_Comprehension, over ref.Val, f func(*partial) error) error {
	known := func(v ref.Val) residual {
		k, elements := kindsOf(v)
		return residual{kinds: k, elements: elements, value: v}
	}
	call := func(first, second ref.Val) error {
		inner := p.with(known(first), c.GetIterVar())
		if c.GetIterVar2() != "" {
			inner = inner.with(known(second), c.GetIterVar2())
		}
		return f(inner)
	}
	switch of := over.(type) {
	case traits.Mapper:
		for it := of.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			if err := call(key, of.Get(key)); err != nil {
				return err
			}
		}
	case traits.Lister:
		for i, it := types.Int(0), of.Iterator(); it.HasNext() == types.True; i++ {
			first, second := it.Next(), ref.Val(nil)
			if c.GetIterVar2() != "" {
				first, second = i, first
			}
			if err := call(first, second); err != nil {
				return err
			}
		}
	}
	return nil
}

// elements returns p within the macro, whose variables stand for any element.
func (p *partial) elements(c *exprpb.Expr_Comprehension, over residual) *partial {
	element := residual{kinds: over.elements, elements: anyKind}
	if over.elements&^jsonKind == 0 {
		element.elements = jsonKind
	}
	key := residual{kinds: anyKind &^ otherKind, elements: anyKind}
	if over.e.GetSelectExpr() != nil || over.e.GetIdentExpr() != nil { // JSON, whose keys are texts
		key = residual{kinds: stringKind}
	}
	switch {
	case c.GetIterVar2() != "":
		if over.kinds&listKind != 0 {
			key.kinds |= intKind
		}
		return p.with(key, c.GetIterVar()).with(element, c.GetIterVar2())
	case over.kinds&listKind == 0:
		return p.with(key, c.GetIterVar())
	case over.kinds&mapKind != 0:
		element.kinds |= key.kinds
	}
	return p.with(element, c.GetIterVar())
}

// body is the step of a macro that builds a list or a map, or counts.
type body struct {
	*partial
	accumulator string
	missing     bool  // a part of it is
	refused     bool  // a part of it is
	inserted    kinds // of the elements that it adds
	err         error
}

// step returns a step with what is left of its parts.
func (b *body) step(e *exprpb.Expr) *exprpb.Expr {
	c := e.GetCallExpr()
	switch {
	case e.GetIdentExpr().GetName() == b.accumulator:
		return e
	case c.GetFunction() == operators.Conditional:
		return call(operators.Conditional, b.use(b.partial.part(c.GetArgs()[0])), b.step(c.GetArgs()[1]),
			b.step(c.GetArgs()[2]))
	case c.GetFunction() == operators.Add && c.GetArgs()[0].GetIdentExpr().GetName() == b.accumulator,
		c.GetFunction() == "cel.@mapInsert" && c.GetArgs()[0].GetIdentExpr().GetName() == b.accumulator:
		out := call(c.GetFunction(), c.GetArgs()[0])
		for i, x := range c.GetArgs()[1:] {
			if l := x.GetListExpr(); l != nil && len(l.GetElements()) == 1 {
				x = &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: &exprpb.Expr_CreateList{
					Elements: []*exprpb.Expr{b.inserts(l.GetElements()[0])}}}}
			} else if i == len(c.GetArgs())-2 {
				x = b.inserts(x)
			} else {
				x = b.use(b.value(x))
			}
			out.GetCallExpr().Args = append(out.GetCallExpr().Args, x)
		}
		return out
	}
	b.err = errMacro
	return e
}

// inserts returns what is left of an element that the step adds.
func (b *body) inserts(e *exprpb.Expr) *exprpb.Expr {
	r, err := b.value(e)
	b.inserted |= r.asElement()
	if r.kinds&mapKind != 0 {
		b.inserted |= r.elements // the argument of a transformMapEntry
	}
	return b.use(r, err)
}

func (b *body) use(r residual, err error) *exprpb.Expr {
	if err != nil {
		b.err = err
	}
	b.missing, b.refused = b.missing || r.missing() || lacks(r.e), b.refused || r.refused
	return r.e
}

// comprehension returns c over another list, with another step.
func comprehension(c *exprpb.Expr_Comprehension, over, step *exprpb.Expr) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ComprehensionExpr{ComprehensionExpr: &exprpb.Expr_Comprehension{
		IterVar: c.GetIterVar(), IterVar2: c.GetIterVar2(), IterRange: over, AccuVar: c.GetAccuVar(),
		AccuInit: c.GetAccuInit(), LoopCondition: c.GetLoopCondition(), LoopStep: step, Result: c.GetResult()}}}
}
