package engine

import (
	"math"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// known reports whether the request gives all that e names.
func (p *partial) known(e *exprpb.Expr) bool {
	all := func(of ...*exprpb.Expr) bool {
		return !slices.ContainsFunc(of, func(x *exprpb.Expr) bool { return !p.known(x) })
	}
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_IdentExpr:
		name := k.IdentExpr.GetName()
		if b := p.binding(name); b != nil {
			return b.value != nil
		}
		switch name {
		case "R", "request", "runtime":
			return false
		case "V", "variables":
			return len(p.opened) == 0
		}
	case *exprpb.Expr_SelectExpr:
		s := k.SelectExpr
		switch of := s.GetOperand(); {
		case p.isVariables(of):
			_, open := p.opened[s.GetField()]
			return !open
		case p.binding("R") == nil && p.binding("request") == nil && isResource(of):
			return s.GetField() != "attr" && s.GetField() != "id"
		case of.GetSelectExpr().GetField() == "attr" && isResource(of.GetSelectExpr().GetOperand()):
			return p.given[s.GetField()] != nil
		case of.GetIdentExpr().GetName() == "request" && p.binding("request") == nil:
			return s.GetField() != "resource"
		default:
			return p.known(of)
		}
	case *exprpb.Expr_ComprehensionExpr:
		c := k.ComprehensionExpr
		if !all(c.GetIterRange(), c.GetAccuInit()) {
			return false
		}
		inner := p.with(residual{value: types.True}, c.GetIterVar(), c.GetIterVar2(), c.GetAccuVar())
		return inner.known(c.GetLoopCondition()) && inner.known(c.GetLoopStep()) && inner.known(c.GetResult())
	default:
		return all(partsOf(e)...)
	}
	return true
}

// evaluate returns the value of an expression that is known.
func (p *partial) evaluate(e *exprpb.Expr) (residual, error) {
	if c := e.GetConstExpr(); c != nil {
		v, err := celast.ConstantToVal(c)
		if err == nil && literalOf(v) != nil {
			k, elements := kindsOf(v)
			return residual{e: e, kinds: k, elements: elements, value: v}, nil
		}
	}
	tree, err := celast.ProtoToExpr(e)
	if err != nil {
		return void, err
	}
	program, err := Environment().PlanProgram(celast.NewAST(tree, nil), cel.CustomDecorator(timeDecorator()))
	if err != nil {
		return void, err
	}
	names := p.names
	if len(p.bound) > 0 {
		names = map[string]any{}
		for name, value := range p.names {
			names[name] = value
		}
		for _, b := range p.bound {
			if delete(names, b.name); b.is.value != nil {
				names[b.name] = b.is.value
			}
		}
	}
	v, _, err := program.ContextEval(p.ctx, names)
	if err != nil {
		if v != nil && types.IsError(v) && p.ctx.Err() == nil {
			return void, nil
		}
		return void, err
	}
	return p.literal(e, v)
}

// literal returns a value of an expression. Only a type keeps the expression.
func (p *partial) literal(e *exprpb.Expr, v ref.Val) (residual, error) {
	k, elements := kindsOf(v)
	if out := literalOf(v); out != nil {
		return residual{e: out, kinds: k, elements: elements, value: v}, nil
	}
	if isOfTypes(e) {
		return residual{e: e, kinds: k, elements: elements}, nil
	}
	if c := e.GetCallExpr(); c != nil && c.GetFunction() != operators.Conditional &&
		c.GetFunction() != operators.Index {
		return p.kept(c, k) // such as hierarchy("a.b")
	}
	return void, errNoJSON
}

// kept returns a call whose value no filter has. Its arguments are known.
func (p *partial) kept(c *exprpb.Expr_Call, of kinds) (residual, error) {
	out := call(c.GetFunction())
	if c.GetTarget() != nil {
		target, err := p.part(c.GetTarget())
		if err != nil {
			return void, err
		}
		out.GetCallExpr().Target = target.e
	}
	for _, x := range c.GetArgs() {
		arg, err := p.part(x)
		if err != nil {
			return void, err
		}
		out.GetCallExpr().Args = append(out.GetCallExpr().Args, arg.e)
	}
	return residual{e: out, kinds: of}, nil
}

// isOfTypes reports whether e is the name of a type, or a list of names.
func isOfTypes(e *exprpb.Expr) bool {
	return e.GetIdentExpr() != nil && !slices.Contains([]string{"P", "G", "globals", "C", "constants"},
		e.GetIdentExpr().GetName()) || e.GetListExpr() != nil && !slices.ContainsFunc(e.GetListExpr().GetElements(),
		func(x *exprpb.Expr) bool { return !isOfTypes(x) })
}

// maxWhole is the largest number up to which a filter has all whole numbers.
const maxWhole = 1 << 53

// keyOf returns the key of a map as a text: 1 and 1u are two keys, and one number in a filter.
func keyOf(key ref.Val) ref.Val { return key.ConvertToType(types.StringType) }

// literalOf returns the expression of a value, or nil if there is none.
func literalOf(v ref.Val) *exprpb.Expr {
	text := func(function string) *exprpb.Expr {
		s, _ := v.ConvertToType(types.StringType).(types.String)
		return call(function, literal(string(s)))
	}
	switch of := v.(type) {
	case types.Bytes:
		return nil
	case types.Timestamp:
		return text("timestamp")
	case types.Duration:
		return text("duration")
	case types.Int:
		if of > maxWhole || of < -maxWhole {
			return nil
		}
	case types.Uint:
		if of > maxWhole {
			return nil
		}
	case types.Double:
		if math.IsNaN(float64(of)) || math.IsInf(float64(of), 0) {
			return nil
		}
	case traits.Mapper:
		out, seen := &exprpb.Expr_CreateStruct{}, map[ref.Val]bool{}
		for it := of.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			k, value := literalOf(key), literalOf(of.Get(key))
			if k == nil || value == nil || seen[keyOf(key)] {
				return nil
			}
			seen[keyOf(key)] = true
			out.Entries = append(out.Entries, &exprpb.Expr_CreateStruct_Entry{Value: value,
				KeyKind: &exprpb.Expr_CreateStruct_Entry_MapKey{MapKey: k}})
		}
		slices.SortFunc(out.Entries, func(a, b *exprpb.Expr_CreateStruct_Entry) int {
			return strings.Compare(a.GetMapKey().GetConstExpr().String(), b.GetMapKey().GetConstExpr().String())
		})
		return &exprpb.Expr{ExprKind: &exprpb.Expr_StructExpr{StructExpr: out}}
	case traits.Lister:
		out := &exprpb.Expr_CreateList{}
		for it := of.Iterator(); it.HasNext() == types.True; {
			x := literalOf(it.Next())
			if x == nil {
				return nil
			}
			out.Elements = append(out.Elements, x)
		}
		return &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: out}}
	}
	c, err := celast.ValToConstant(v)
	if err != nil {
		return nil
	}
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ConstExpr{ConstExpr: c}}
}
