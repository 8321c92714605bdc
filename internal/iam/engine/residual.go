package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/types/known/structpb"
)

// Reasons why a condition cannot become a filter.
var (
	errWhole   = errors.New("a condition names all of R, request, V or runtime, instead of one of its fields")
	errNoJSON  = errors.New("a condition compares with a value that JSON does not have")
	errMacro   = errors.New("a condition has a macro that no filter has, over values that are not known")
	errOpaque  = errors.New("a condition has an optional value or a message, of values that are not known")
	errNumbers = errors.New("a condition has arithmetic of whole numbers, string(), type() or format(), of values " +
		"that are not known")
	errKeys    = errors.New("a condition has a map of values that are not known, whose keys may be the same")
	errTooLong = fmt.Errorf("the conditions become more than %d nodes, or %d operands", maxUnfolded, maxOperands)
)

// residual is what is left of an expression when a plan's request is known: a value, or an
// expression of what the request does not give. It says of each kind of value whether the
// expression may have it in a check. With no kinds it is missing: a check fails there.
type residual struct {
	e               *exprpb.Expr
	kinds, elements kinds
	value           ref.Val      // nil unless it is known
	unrolled        *exprpb.Expr // the same, spelled out
	refused         bool
	// bare is an operand that is all that is left of a condition. As a condition both are the
	// same, also if the operand is not a boolean: none holds. As a value they differ: the operand
	// has one, and the condition fails.
	bare bool
	// nullable is a variable that is null in a check, if its expression fails there. As a condition
	// neither holds.
	nullable bool
	keyed    *exprpb.Expr // holds if the expression has a value; nil unless it is spelled
}

func (r residual) missing() bool { return r.kinds == 0 }

// truth returns the value of a known boolean.
func (r residual) truth() (bool, bool) {
	b, ok := r.value.(types.Bool)
	return bool(b), ok
}

// void has no value: its check fails.
var void = residual{e: missing()}

// asElement returns the kinds of r within a list or a map. What an element of JSON consists of is
// JSON too. An element that is not counts as one of another kind, which no filter has.
func (r residual) asElement() kinds {
	if r.kinds&(listKind|mapKind) != 0 && r.elements&^jsonKind != 0 {
		return r.kinds | otherKind
	}
	return r.kinds
}

// asValue returns r as a value, and not as a condition.
func (r residual) asValue() residual {
	if r.nullable && !r.refused {
		return untold(anyKind)
	}
	if r.bare && !r.refused {
		return untold(boolKind)
	}
	return r
}

// untold is an expression of which no filter can tell the value, or whether it has one. No resource
// is shown because of it, whether it is true or false.
func untold(k kinds) residual { return residual{e: missing(), kinds: k, elements: anyKind} }

func truthOf(v bool) residual {
	return residual{e: boolean(v), kinds: boolKind, value: types.Bool(v)}
}

func openBool(e *exprpb.Expr) residual { return residual{e: e, kinds: boolKind} }

// planning is what all evaluations of one plan share.
type planning struct {
	ctx     context.Context
	nodes   int
	refusal error // why an expression is refused
}

// partial evaluates expressions of one policy for the request of a plan. What the request gives is
// evaluated by the same programs as in a check, so it has the same value, or fails as well.
type partial struct {
	*planning
	names  map[string]any             // what CEL finds by name
	given  map[string]*structpb.Value // the attributes of the resource that the request gives
	opened map[string]residual        // variables whose value is not known
	bound  []binding                  // variables of macros, the innermost last
	nulls  bool                       // variables that fail are null, and not undefined
	values map[*exprpb.Expr]residual  // of what names no variable of a macro
	// roles returns runtime.effectiveDerivedRoles, which namesRoles notes.
	roles      func() (residual, error)
	namesRoles *bool
}

// binding is a variable of a macro.
type binding struct {
	name string
	is   residual
}

// define evaluates a variable, which may name those before it. One that fails stays undefined.
func (p *partial) define(name string, e *exprpb.Expr) error {
	r, err := p.part(e)
	switch {
	case err != nil:
		return err
	case r.missing() && p.nulls:
		p.names["V"].(map[string]any)[name] = nil
	case r.missing():
	case r.value != nil:
		p.names["V"].(map[string]any)[name] = r.value.Value() // as a check does
	case r.kinds&otherKind != 0 && !r.refused:
		p.opened[name] = p.refused(errOpaque)
	default:
		r.nullable = p.nulls
		p.opened[name] = r
	}
	return nil
}

func (p *partial) binding(name string) *residual {
	for i := len(p.bound) - 1; i >= 0; i-- {
		if p.bound[i].name == name {
			return &p.bound[i].is
		}
	}
	return nil
}

// with returns p within a macro whose variables have the names.
func (p *partial) with(is residual, names ...string) *partial {
	inner := *p
	inner.bound = slices.Clip(p.bound)
	for _, name := range names {
		if name != "" {
			named := is
			if is.value == nil {
				named.e = ident(name)
			}
			inner.bound = append(inner.bound, binding{name, named})
		}
	}
	return &inner
}

func (p *partial) isVariables(e *exprpb.Expr) bool {
	name := e.GetIdentExpr().GetName()
	return (name == "V" || name == "variables") && p.binding(name) == nil
}

// refused stands for an expression that cannot become a filter. The plan is refused if its filter
// needs the expression.
func (p *partial) refused(why error) residual {
	p.refusal = why
	return residual{e: fieldOf(fieldOf(ident("R"), "attr"), refusedName), kinds: anyKind, elements: anyKind,
		refused: true}
}

// part returns what is left of an expression that may be a condition: r.asValue is what is left of
// it elsewhere.
func (p *partial) part(e *exprpb.Expr) (residual, error) {
	if p.nodes++; p.nodes > maxUnfolded {
		return void, errTooLong
	}
	if p.nodes%interruptEvery == 0 && p.ctx.Err() != nil {
		return void, p.ctx.Err()
	}
	r, err := p.rest(e)
	if err != nil && slices.Contains([]error{errWhole, errNoJSON, errMacro, errOpaque, errNumbers, errKeys}, err) {
		return p.refused(err), nil
	}
	return r, err
}

// value returns what is left of an expression that is not a condition.
func (p *partial) value(e *exprpb.Expr) (residual, error) {
	r, err := p.part(e)
	return r.asValue(), err
}

func (p *partial) rest(e *exprpb.Expr) (residual, error) {
	if p.known(e) {
		if slices.ContainsFunc(p.bound, func(b binding) bool { return mentions(e, b.name) }) {
			return p.evaluate(e)
		}
		r, known := p.values[e]
		var err error
		if !known {
			if r, err = p.evaluate(e); err == nil {
				p.values[e] = r // a list may stand in a macro over another
			}
		}
		return r, err
	}
	switch k := e.GetExprKind().(type) {
	case *exprpb.Expr_IdentExpr:
		if b := p.binding(k.IdentExpr.GetName()); b != nil {
			return *b, nil
		}
		return void, errWhole
	case *exprpb.Expr_SelectExpr:
		return p.selected(k.SelectExpr)
	case *exprpb.Expr_CallExpr:
		return p.call(k.CallExpr)
	case *exprpb.Expr_ListExpr:
		return p.list(k.ListExpr)
	case *exprpb.Expr_StructExpr:
		return p.record(k.StructExpr)
	case *exprpb.Expr_ComprehensionExpr:
		return p.macro(k.ComprehensionExpr)
	}
	return void, errOpaque
}

// selected returns what is left of a field, or of has() of it.
func (p *partial) selected(s *exprpb.Expr_Select) (residual, error) {
	of := s.GetOperand()
	switch field := s.GetField(); {
	case p.isVariables(of):
		r := p.opened[field]
		if !s.GetTestOnly() {
			return r, nil
		}
		if r.bare || r.nullable || r.e.GetSelectExpr() == nil { // it has a value if all its parts have
			return untold(boolKind), nil
		}
		return openBool(guard(r.e)), nil
	case of.GetIdentExpr().GetName() == "runtime":
		if s.GetTestOnly() || p.roles == nil || field != "effectiveDerivedRoles" && field != "effective_derived_roles" {
			return void, errWhole
		}
		*p.namesRoles = true
		return p.roles()
	case isResource(of):
		e := fieldOf(of, field)
		switch {
		case s.GetTestOnly() && field == "attr": // false without attributes
			return untold(boolKind), nil
		case s.GetTestOnly():
			return openBool(guard(e)), nil
		case field == "attr":
			return residual{e: e, kinds: mapKind, elements: jsonKind}, nil
		}
		return residual{e: e, kinds: stringKind}, nil
	}
	r, err := p.value(of)
	if err != nil || r.missing() || r.refused {
		return r, err
	}
	e := &exprpb.Expr{ExprKind: &exprpb.Expr_SelectExpr{SelectExpr: &exprpb.Expr_Select{Operand: r.e,
		Field: s.GetField(), TestOnly: s.GetTestOnly()}}}
	switch {
	case r.value != nil:
		return p.evaluate(e)
	case r.kinds&otherKind != 0:
		return void, errOpaque
	case r.kinds&mapKind == 0:
		return untold(anyKind), nil
	case s.GetTestOnly():
		return openBool(guard(fieldOf(r.e, s.GetField()))), nil
	}
	out := residual{e: e, kinds: r.elements, elements: anyKind}
	if r.elements&^jsonKind == 0 {
		out.elements = jsonKind
	}
	return out, nil
}

// optional are the functions of optional values, some of which do not need all their arguments.
var optional = []string{operators.OptIndex, operators.OptSelect, "or", "orValue", "hasValue", "value", "optional.of",
	"optional.ofNonZeroValue", "optional.none", "optional.unwrap", "unwrapOpt", "first", "last"}

// condition returns r as an operand of a logical operator.
func condition(r residual) residual {
	switch {
	case r.missing(), r.kinds&boolKind == 0 && r.value != nil:
		return void
	case r.kinds&boolKind == 0:
		return untold(boolKind)
	}
	r.bare = r.bare || r.kinds != boolKind
	r.kinds = boolKind
	return r
}

// junction returns a && b, or a || b. One that decides does so whether the other fails or not.
func junction(function string, a, b residual) residual {
	decides := function == operators.LogicalOr
	a, b = condition(a), condition(b)
	for _, x := range [][2]residual{{a, b}, {b, a}} {
		if v, known := x[0].truth(); known {
			if v == decides {
				return truthOf(v)
			}
			return x[1]
		}
	}
	switch {
	case a.refused:
		return a
	case b.refused:
		return b
	case a.missing() && b.missing():
		return void
	}
	return openBool(call(function, a.e, b.e))
}

func negation(r residual) residual {
	if r = condition(r); r.missing() {
		return void
	}
	if v, known := r.truth(); known {
		return truthOf(!v)
	}
	if r.refused {
		return r
	}
	return openBool(call(operators.LogicalNot, r.e))
}

func (p *partial) call(c *exprpb.Expr_Call) (residual, error) {
	switch function := c.GetFunction(); function {
	case operators.LogicalAnd, operators.LogicalOr:
		a, err := p.part(c.GetArgs()[0])
		if err != nil {
			return void, err
		}
		b, err := p.part(c.GetArgs()[1])
		return junction(function, a, b), err
	case operators.LogicalNot:
		r, err := p.part(c.GetArgs()[0])
		return negation(r), err
	case operators.Conditional:
		return p.choice(c)
	}
	if slices.Contains(optional, c.GetFunction()) {
		return void, errOpaque
	}
	var args []residual
	of := c.GetArgs()
	if c.GetTarget() != nil {
		of = append([]*exprpb.Expr{c.GetTarget()}, of...)
	}
	known := true
	for _, x := range of {
		r, err := p.value(x)
		if err != nil {
			return void, err
		}
		args = append(args, r)
		known = known && r.value != nil
	}
	return p.apply(c.GetFunction(), c.GetTarget() != nil, args, known)
}

func (p *partial) choice(c *exprpb.Expr_Call) (residual, error) {
	of, err := p.part(c.GetArgs()[0])
	if of = condition(of); err != nil || of.missing() || of.refused {
		return of, err
	}
	if v, known := of.truth(); known {
		if v {
			return p.part(c.GetArgs()[1])
		}
		return p.part(c.GetArgs()[2])
	}
	a, err := p.part(c.GetArgs()[1])
	if err != nil {
		return void, err
	}
	b, err := p.part(c.GetArgs()[2])
	switch {
	case err != nil || a.missing() && b.missing():
		return void, err
	case a.refused:
		return a, nil
	case b.refused:
		return b, nil
	}
	return residual{e: call(operators.Conditional, of.e, a.e, b.e), kinds: a.kinds | b.kinds,
		elements: a.elements | b.elements, bare: a.bare || b.bare}, nil
}

// apply returns a call of a function that needs all its arguments.
func (p *partial) apply(function string, member bool, args []residual, known bool) (residual, error) {
	if slices.ContainsFunc(args, residual.missing) {
		return void, nil
	}
	if i := slices.IndexFunc(args, func(r residual) bool { return r.refused }); i >= 0 {
		return args[i], nil
	}
	if function == operators.Index && args[0].e.GetSelectExpr().GetField() == "attr" &&
		isResource(args[0].e.GetSelectExpr().GetOperand()) {
		if name, ok := args[1].value.(types.String); ok && p.given[string(name)] != nil {
			return p.evaluate(fieldOf(args[0].e, string(name)))
		}
	}
	e := call(function)
	for i, x := range args {
		if i == 0 && member {
			e.GetCallExpr().Target = x.e
		} else {
			e.GetCallExpr().Args = append(e.GetCallExpr().Args, x.e)
		}
	}
	if known {
		return p.evaluate(e)
	}
	result, elements := called(function, member, args)
	if result == 0 {
		return untold(anyKind), nil
	}
	if ofWholeNumbers(function, args, result) {
		return void, errNumbers
	}
	switch function {
	case operators.Equals, operators.NotEquals: // no filter compares what JSON does not have
		if args[0].kinds.comparable()&args[1].kinds.comparable() == 0 {
			return untold(boolKind), nil
		}
	case operators.In:
		list, isList := args[1].value.(traits.Lister)
		switch {
		case args[1].e.GetStructExpr() != nil && args[1].value == nil: // a filter has its keys only
			return untold(boolKind), nil
		case isList && list.Size() == types.IntZero: // false, unless the other side fails
			if args[0].e.GetIdentExpr() != nil {
				return truthOf(false), nil
			}
			return openBool(call(operators.LogicalNot, call(operators.NotEquals, args[0].e, literal(needed)))), nil
		case isList && args[1].elements&^jsonKind != 0 && args[0].kinds&^jsonKind == 0 &&
			args[1].elements&^(jsonKind|numberKind) != 0:
			return untold(boolKind), nil
		}
	}
	return residual{e: e, kinds: result, elements: elements}, nil
}

// ofWholeNumbers reports whether a call depends on which numbers are whole: 3 / 2 is 1, and a sum
// may be too large. A database has one kind of number, and other texts of them.
func ofWholeNumbers(function string, args []residual, result kinds) bool {
	switch function {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate:
		return result&(intKind|uintKind) != 0
	case "string":
		return args[0].kinds&^stringKind != 0
	case "format":
		return len(args) != 2 || args[1].elements&^stringKind != 0
	}
	return function == "type"
}

func (p *partial) list(l *exprpb.Expr_CreateList) (residual, error) {
	if len(l.GetOptionalIndices()) > 0 {
		return void, errOpaque
	}
	out, elements := &exprpb.Expr_CreateList{}, kinds(0)
	for _, x := range l.GetElements() {
		r, err := p.value(x)
		if err != nil || r.missing() || r.refused {
			return r, err
		}
		out.Elements = append(out.Elements, r.e)
		elements |= r.asElement()
	}
	return residual{e: &exprpb.Expr{ExprKind: &exprpb.Expr_ListExpr{ListExpr: out}}, kinds: listKind,
		elements: elements}, nil
}

func (p *partial) record(s *exprpb.Expr_CreateStruct) (residual, error) {
	if s.GetMessageName() != "" {
		return void, errOpaque
	}
	out, elements, keys := &exprpb.Expr_CreateStruct{}, kinds(0), map[ref.Val]bool{}
	for _, x := range s.GetEntries() {
		if x.GetOptionalEntry() {
			return void, errOpaque
		}
		key, err := p.value(x.GetMapKey())
		if err != nil || key.missing() || key.refused {
			return key, err
		}
		value, err := p.value(x.GetValue())
		if err != nil || value.missing() || value.refused {
			return value, err
		}
		if len(s.GetEntries()) > 1 {
			if key.value == nil || keys[keyOf(key.value)] {
				return void, errKeys
			}
			keys[keyOf(key.value)] = true
		}
		out.Entries = append(out.Entries, &exprpb.Expr_CreateStruct_Entry{Value: value.e,
			KeyKind: &exprpb.Expr_CreateStruct_Entry_MapKey{MapKey: key.e}})
		elements |= value.asElement()
	}
	return residual{e: &exprpb.Expr{ExprKind: &exprpb.Expr_StructExpr{StructExpr: out}}, kinds: mapKind,
		elements: elements}, nil
}
