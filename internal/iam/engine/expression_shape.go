package engine

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
)

// maxNested bounds how deep loops and cel.bind stand in each other, also as the list that another
// one loops over.
const maxNested = 8

// Bounds on evaluation begin too late: CEL expands and checks an expression before, without a limit
// or an end. Two things make that grow by a factor for each level, so that 200 bytes take hours:
//
//   - optMap and optFlatMap, whose macro copies the value that they stand behind;
//   - a map with a key of the type of a variable, whose type contains that type twice.
//
// checkShape refuses both before anything is expanded. It fails with a Wrong.
func (l *Language[V]) checkShape(source string) error {
	parsed, issues := l.plain.Parse(source)
	if issues.Err() != nil {
		return wrongOf(issues)
	}
	native := parsed.NativeRep()
	refuse := func(x ast.Expr, format string, args ...any) error {
		at := native.SourceInfo().GetStartLocation(x.ID())
		return Wrong{at.Line(), at.Column() + 1, fmt.Sprintf(format, args...)}
	}
	var walk func(x ast.Expr, nested int) error
	walk = func(x ast.Expr, nested int) error {
		var within []ast.Expr
		switch x.Kind() {
		case ast.CallKind:
			call := x.AsCall()
			switch name := call.FunctionName(); {
			case name == "optMap" || name == "optFlatMap":
				return refuse(x, "%s cannot be used here. Write orValue(…), or hasValue() ? … : …", name)
			case l.macros[name]:
				nested++
			}
			if nested > maxNested {
				return refuse(x, "loops and cel.bind stand in each other more than %d levels deep", maxNested)
			}
			within = call.Args()
			if call.IsMemberFunction() {
				within = append([]ast.Expr{call.Target()}, within...)
			}
		case ast.ListKind:
			within = x.AsList().Elements()
		case ast.MapKind:
			for _, e := range x.AsMap().Entries() {
				if key := e.AsMapEntry().Key(); key.Kind() != ast.LiteralKind {
					return refuse(key, "the key of a map must stand there as a text, a number or a bool")
				}
				within = append(within, e.AsMapEntry().Value())
			}
		case ast.StructKind:
			for _, f := range x.AsStruct().Fields() {
				within = append(within, f.AsStructField().Value())
			}
		case ast.SelectKind:
			within = []ast.Expr{x.AsSelect().Operand()}
		}
		for _, inner := range within {
			if err := walk(inner, nested); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(native.Expr(), 0)
}

// macrosOf returns the names of the macros of an environment that expand to a loop or a variable.
func macrosOf(env *cel.Env) map[string]bool {
	names := map[string]bool{}
	for _, m := range env.Macros() {
		names[m.Function()] = m.Function() != "has"
	}
	return names
}

// wrongOf returns the first of the issues.
func wrongOf(issues *cel.Issues) error {
	first := issues.Errors()[0]
	line, column := first.Location.Line(), first.Location.Column()+1
	if line < 1 { // it is about the expression as a whole
		line, column = 1, 1
	}
	return Wrong{line, column, first.Message}
}
