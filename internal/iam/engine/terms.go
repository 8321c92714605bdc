package engine

import (
	"slices"

	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Expressions of conditions, as CEL parses them.

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

func boolean(v bool) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ConstExpr{ConstExpr: &exprpb.Constant{
		ConstantKind: &exprpb.Constant_BoolValue{BoolValue: v}}}}
}

func fieldOf(of *exprpb.Expr, name string) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_SelectExpr{SelectExpr: &exprpb.Expr_Select{Operand: of, Field: name}}}
}

func isResource(e *exprpb.Expr) bool {
	s := e.GetSelectExpr()
	return e.GetIdentExpr().GetName() == "R" ||
		s.GetField() == "resource" && s.GetOperand().GetIdentExpr().GetName() == "request"
}

func listOf(elements ...*exprpb.Expr) *exprpb.Expr {
	return &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: &exprpb.Expr_CreateList{Elements: elements}}}
}

// lacks reports whether a part of e is missing.
func lacks(e *exprpb.Expr) bool {
	return e.GetSelectExpr().GetField() == absent || slices.ContainsFunc(partsOf(e), lacks)
}

// mentions reports whether e has a variable of a name.
func mentions(e *exprpb.Expr, name string) bool {
	return e.GetIdentExpr().GetName() == name && name != "" ||
		slices.ContainsFunc(partsOf(e), func(x *exprpb.Expr) bool { return mentions(x, name) })
}

// partsOf returns the expressions that e has.
func partsOf(e *exprpb.Expr) []*exprpb.Expr {
	var out []*exprpb.Expr
	add := func(of ...*exprpb.Expr) {
		for _, x := range of {
			if x != nil {
				out = append(out, x)
			}
		}
	}
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_SelectExpr:
		add(k.SelectExpr.GetOperand())
	case *exprpb.Expr_CallExpr:
		add(k.CallExpr.GetTarget())
		add(k.CallExpr.GetArgs()...)
	case *exprpb.Expr_ListExpr:
		add(k.ListExpr.GetElements()...)
	case *exprpb.Expr_StructExpr:
		for _, x := range k.StructExpr.GetEntries() {
			add(x.GetMapKey(), x.GetValue())
		}
	case *exprpb.Expr_ComprehensionExpr:
		c := k.ComprehensionExpr
		add(c.GetIterRange(), c.GetAccuInit(), c.GetLoopCondition(), c.GetLoopStep(), c.GetResult())
	}
	return out
}
