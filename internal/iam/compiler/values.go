package compiler

import (
	"encoding/json"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	celast "github.com/google/cel-go/common/ast"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// visibleValues are the values that expressions can read: the request, the variables so far, the
// globals and the derived roles.
type visibleValues struct {
	roots     map[string]any
	variables map[string]any
}

// abbreviations are Cerbos' short names of the roots of paths.
var abbreviations = map[string]string{
	"R": "request.resource", "P": "request.principal", "V": "variables", "C": "constants", "G": "globals",
}

func newVisibleValues(in *enginev1.CheckInput, out *enginev1.CheckOutput, s engine.Settings) visibleValues {
	variables := map[string]any{}
	return visibleValues{variables: variables, roots: map[string]any{
		"request": map[string]any{"principal": jsonOf(in.GetPrincipal()), "resource": jsonOf(in.GetResource()),
			"aux_data": jsonOf(in.GetAuxData())},
		"variables": variables,
		"globals":   s.Globals,
		"runtime":   map[string]any{"effectiveDerivedRoles": out.GetEffectiveDerivedRoles()},
	}}
}

// jsonOf returns a message as nested maps.
func jsonOf(m proto.Message) map[string]any {
	out := map[string]any{}
	if b, err := (protojson.MarshalOptions{UseProtoNames: true}).Marshal(m); err == nil { // CEL says aux_data
		_ = json.Unmarshal(b, &out) // our own JSON
	}
	return out
}

// of returns the values that an expression reads, in the order of the expression. It leaves out
// constants, which stand in the policy, and the elements of a list that a loop reads.
func (s visibleValues) of(expression string) []Value {
	var out []Value
	parsed, wrong := engine.Environment().Parse(expression)
	if wrong.Err() != nil {
		return nil
	}
	said := map[string]bool{}
	var walk func(celast.NavigableExpr)
	walk = func(e celast.NavigableExpr) {
		if path := pathOf(e); path != nil {
			name := strings.Join(path, ".")
			if value, known := s.at(path); !said[name] && path[0] != "constants" {
				said[name] = true
				out = append(out, Value{Path: name, Value: value, Absent: !known})
			}
			return
		}
		for _, child := range e.Children() {
			walk(child)
		}
	}
	walk(celast.NavigateAST(parsed.NativeRep()))
	return out
}

// pathOf returns the path from one of the roots that an expression is, or nil.
func pathOf(e celast.Expr) []string {
	switch e.Kind() {
	case celast.IdentKind:
		name := e.AsIdent()
		if long, ok := abbreviations[name]; ok {
			return strings.Split(long, ".")
		}
		switch name {
		case "request", "variables", "constants", "globals", "runtime":
			return []string{name}
		}
	case celast.SelectKind:
		if before := pathOf(e.AsSelect().Operand()); before != nil {
			return append(before, e.AsSelect().FieldName())
		}
	case celast.CallKind:
		if call := e.AsCall(); call.FunctionName() == "_[_]" && call.Args()[1].Kind() == celast.LiteralKind {
			if name, ok := call.Args()[1].AsLiteral().Value().(string); ok {
				if before := pathOf(call.Args()[0]); before != nil {
					return append(before, name)
				}
			}
		}
	}
	return nil
}

// at returns the value at a path.
func (s visibleValues) at(path []string) (any, bool) {
	var here any = s.roots
	for _, name := range path {
		fields, ok := here.(map[string]any)
		if !ok {
			return nil, false
		}
		if here, ok = fields[name]; !ok {
			return nil, false
		}
	}
	return here, true
}
