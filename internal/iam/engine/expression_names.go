package engine

import (
	"cmp"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
)

// Bounds on one compiled expression. Parsing, naming and planning take time that is linear in its
// nodes and in the programs of its regular expressions, and nothing else has a part in it.
const (
	maxCharacters   = 16 << 10
	maxNodes        = 10_000 // after macros: 157 loops over groups have 3,000
	maxInstructions = 16_000 // of all constant regular expressions: [\p{L}\p{N}]{1,64} has 13,000
)

// What a compiled expression keeps in memory, in bytes.
const (
	programBytes     = 24 << 10
	nodeBytes        = 512
	instructionBytes = 128
)

// naming checks what an expression names: variables, fields, functions and regular expressions.
type naming struct {
	parsed       *ast.AST
	env          *cel.Env
	functions    map[string]*decls.FunctionDecl
	names        []string
	fields       map[string][]string
	places       places
	nodes        int
	instructions int64
}

// scope is a local variable of a loop or of cel.bind, within others.
type scope struct {
	name  string
	outer *scope
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.name == name {
			return true
		}
	}
	return false
}

func (s *scope) with(names ...string) *scope {
	for _, name := range names {
		if name != "" {
			s = &scope{name, s}
		}
	}
	return s
}

// walk checks an expression and those within it. It fails with a Wrong.
func (n *naming) walk(x ast.Expr, local *scope) error {
	if n.nodes++; n.nodes > maxNodes {
		return n.places.wrong(x.ID(), "it has more than %d parts", maxNodes)
	}
	var within []ast.Expr
	switch x.Kind() {
	case ast.IdentKind:
		return n.variable(x, local)
	case ast.SelectKind:
		if name, ok := qualified(x, local); ok && n.constant(name) {
			return nil
		}
		within = []ast.Expr{x.AsSelect().Operand()}
		if err := n.field(x, local); err != nil {
			return err
		}
	case ast.CallKind:
		target, err := n.call(x, local)
		if err != nil {
			return err
		}
		within = append(target, x.AsCall().Args()...)
	case ast.ListKind:
		within = x.AsList().Elements()
	case ast.MapKind:
		for _, e := range x.AsMap().Entries() {
			within = append(within, e.AsMapEntry().Key(), e.AsMapEntry().Value())
		}
	case ast.StructKind:
		return n.places.wrong(x.ID(), "it creates a %s, which no mapping can", x.AsStruct().TypeName())
	case ast.ComprehensionKind:
		return n.loop(x.AsComprehension(), local)
	}
	return n.all(local, within...)
}

func (n *naming) all(local *scope, within ...ast.Expr) error {
	for _, x := range within {
		if err := n.walk(x, local); err != nil {
			return err
		}
	}
	return nil
}

func (n *naming) loop(c ast.ComprehensionExpr, local *scope) error {
	if err := n.all(local, c.IterRange(), c.AccuInit()); err != nil {
		return err
	}
	after := local.with(c.AccuVar())
	if err := n.all(after.with(c.IterVar(), c.IterVar2()), c.LoopCondition(), c.LoopStep()); err != nil {
		return err
	}
	return n.walk(c.Result(), after)
}

func (n *naming) variable(x ast.Expr, local *scope) error {
	name := x.AsIdent()
	switch {
	case local.has(name):
		return nil
	case slices.Contains(n.names, name):
		// Otherwise CEL would look for a variable user.name, and for longer names yet.
		n.parsed.SetReference(x.ID(), ast.NewIdentReference(name, nil))
		return nil
	case n.constant(name):
		return nil
	}
	return n.places.wrong(x.ID(), "undeclared reference to '%s'. There are %s", name, strings.Join(n.names, ", "))
}

// constant reports whether a name is one of CEL's own: a type or the value of an enumeration.
func (n *naming) constant(name string) bool {
	_, found := n.env.CELTypeProvider().FindIdent(name)
	return found
}

// field checks the field of a variable that is a struct.
func (n *naming) field(x ast.Expr, local *scope) error {
	of := x.AsSelect().Operand()
	if of.Kind() != ast.IdentKind || local.has(of.AsIdent()) {
		return nil
	}
	if fields := n.fields[of.AsIdent()]; fields != nil && !slices.Contains(fields, x.AsSelect().FieldName()) {
		return n.places.wrong(x.ID(), "undefined field '%s'. There are %s", x.AsSelect().FieldName(),
			strings.Join(fields, ", "))
	}
	return nil
}

// call checks the name of a function and the number of its arguments. It returns the target, unless
// that belongs to the name, as in base64.encode.
func (n *naming) call(x ast.Expr, local *scope) ([]ast.Expr, error) {
	call := x.AsCall()
	name, args := call.FunctionName(), call.Args()
	var target []ast.Expr
	if call.IsMemberFunction() {
		target = []ast.Expr{call.Target()}
		if of, ok := qualified(call.Target(), local); ok && n.functions[of+"."+name] != nil {
			name, target = of+"."+name, nil
		}
	}
	args = slices.Concat(target, args)
	f := n.functions[name]
	switch {
	case f == nil:
		return nil, n.places.wrong(x.ID(), "undeclared reference to '%s'", name)
	case name == operators.LogicalAnd, name == operators.LogicalOr: // CEL joins a row of them
	case !slices.ContainsFunc(f.OverloadDecls(), func(o *decls.OverloadDecl) bool {
		return o.IsMemberFunction() == (target != nil) && len(o.ArgTypes()) == len(args)
	}):
		return nil, n.places.wrong(x.ID(), "found no matching overload for '%s' with so many arguments", name)
	case name == overloads.Matches:
		return target, n.pattern(args[1])
	}
	return target, nil
}

// pattern counts a constant regular expression, whose program is a part of the expression's.
func (n *naming) pattern(x ast.Expr) error {
	for x.Kind() == ast.CallKind && overloads.IsTypeConversionFunction(x.AsCall().FunctionName()) &&
		len(x.AsCall().Args()) == 1 { // string("…") is constant too
		x = x.AsCall().Args()[0]
	}
	if x.Kind() != ast.LiteralKind {
		return nil
	}
	text := ""
	switch v := x.AsLiteral().(type) {
	case types.String:
		text = string(v)
	case types.Bytes:
		text = string(v)
	}
	if n.instructions += parsing(text); n.instructions <= maxInstructions {
		if _, err := syntax.Parse(text, syntax.Perl); err != nil {
			return n.places.wrong(x.ID(), "%s", err)
		}
		n.instructions += instructions(text)
	}
	if n.instructions > maxInstructions {
		return n.places.wrong(x.ID(), "its regular expressions are too large. Repeat less in them")
	}
	return nil
}

// qualified returns the name with dots that a row of selections may be. It is none if it begins
// with a local variable.
func qualified(x ast.Expr, local *scope) (string, bool) {
	switch x.Kind() {
	case ast.IdentKind:
		return x.AsIdent(), !local.has(x.AsIdent())
	case ast.SelectKind:
		of, ok := qualified(x.AsSelect().Operand(), local)
		return of + "." + x.AsSelect().FieldName(), ok && !x.AsSelect().IsTestOnly()
	}
	return "", false
}

// places finds the places of nodes in the text of an expression.
type places struct{ of *ast.SourceInfo }

func (p places) wrong(node int64, format string, args ...any) Wrong {
	w := Wrong{1, 1, fmt.Sprintf(format, args...)}
	if at := p.of.GetStartLocation(node); at.Line() > 0 {
		w.Line, w.Column = at.Line(), at.Column()+1
	}
	return w
}

// wrongOf returns the first error in the text.
func wrongOf(all []*cel.Error) Wrong {
	e := slices.MinFunc(all, func(a, b *cel.Error) int {
		return cmp.Or(a.Location.Line()-b.Location.Line(), a.Location.Column()-b.Location.Column())
	})
	if e.Location.Line() < 1 { // it is about the expression as a whole
		return Wrong{1, 1, e.Message}
	}
	return Wrong{e.Location.Line(), e.Location.Column() + 1, e.Message}
}
