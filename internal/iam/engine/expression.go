package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// Bounds on expressions, which are evaluated while a person waits for a token. The expressions of
// one Budget share all of them but expressionCost.
const (
	expressionCost = 50_000             // of one expression as CEL counts: a loop over 500 groups is about 4,000
	budgetCost     = 4 * expressionCost // some ten milliseconds
	budgetMade     = 1 << 20            // bytes of values that they create
	budgetSteps    = 200_000            // see callCost: some milliseconds
	budgetResults  = 16 << 10           // bytes of all values as JSON: servers refuse longer headers
)

// Language is CEL with the functions of conditions, over the fields of the struct V. A field's tag
// cel names its variable. The fields of a variable that is a struct are named so too, and an
// expression that names another one does not compile. It is safe for concurrent use.
type Language[V any] struct {
	env    *cel.Env
	plain  *cel.Env // env without macros
	macros map[string]bool
	names  []string // in the order of the fields of V
}

// NewLanguage returns the language over V. It panics if a field of V can be no variable.
func NewLanguage[V any]() *Language[V] {
	l := &Language[V]{}
	var options []cel.EnvOption
	for f := range reflect.TypeFor[V]().Fields() {
		name := f.Tag.Get("cel")
		l.names = append(l.names, name)
		switch {
		case f.Type.Kind() == reflect.Struct:
			options = append(options, ext.NativeTypes(ext.ParseStructTags(true), f.Type),
				cel.Variable(name, cel.ObjectType(f.Type.String())))
		case f.Type == reflect.TypeFor[[]string]():
			options = append(options, cel.Variable(name, cel.ListType(cel.StringType)))
		default:
			panic("engine: the variable " + name + " is neither a struct nor a list of texts")
		}
	}
	env, err := Environment().Extend(options...)
	if err == nil {
		l.plain, err = env.Extend(cel.ClearMacros())
	}
	if err != nil {
		panic("engine: " + err.Error())
	}
	l.env, l.macros = env, macrosOf(env)
	return l
}

// Expression is a compiled expression over V. It is safe for concurrent use.
type Expression[V any] struct {
	names   []string
	program cel.Program
}

// Wrong is the place and the reason of an expression that does not compile.
type Wrong struct {
	Line, Column int // from 1
	Reason       string
}

// Error implements error.
func (w Wrong) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", w.Line, w.Column, w.Reason)
}

// Compile checks an expression. It fails with a Wrong.
func (l *Language[V]) Compile(source string) (*Expression[V], error) {
	if err := l.checkShape(source); err != nil {
		return nil, err
	}
	ast, issues := l.env.Compile(source)
	if issues.Err() != nil {
		return nil, wrongOf(issues)
	}
	native := ast.NativeRep()
	for node, reference := range native.ReferenceMap() {
		if foreign(reference.Name) {
			where := native.SourceInfo().GetStartLocation(node)
			return nil, Wrong{where.Line(), where.Column() + 1, "undeclared reference to '" + reference.Name +
				"'. There are " + strings.Join(l.names, ", ")}
		}
	}
	program, err := l.env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostLimit(expressionCost), cel.CustomDecorator(timeDecorator()))
	if err != nil {
		return nil, Wrong{1, 1, err.Error()}
	}
	return &Expression[V]{l.names, program}, nil
}

// foreign reports whether a name is one of the variables of conditions.
func foreign(name string) bool {
	return slices.ContainsFunc(Environment().Variables(), func(v *decls.VariableDecl) bool {
		return v.Name() == name && v.Type().Kind() != types.TypeKind
	})
}

// Budget bounds the expressions that are evaluated for one person. One goroutine at a time uses it.
type Budget struct {
	running *evaluation
	cost    uint64
	results int // bytes that are left
}

// NewBudget returns an unused budget; end it with End. It does not end with the request: tokens are
// signed after the commit, whether their requester still waits or not.
func NewBudget() *Budget {
	return &Budget{running: &evaluation{Bounded: clock.Within(context.Background(), evaluationTime),
		maxMade: budgetMade, maxSteps: budgetSteps}, results: budgetResults}
}

// End releases the budget.
func (b *Budget) End() { b.running.End() }

// errGreedy is the error of an expression that exceeds its bounds.
var errGreedy = errors.New("it takes too long or builds too much. Look for loops within loops, regular expressions " +
	"and texts that grow")

// Evaluate returns the value of the expression as it stands in JSON, and its cost as CEL counts. It
// fails if the expression does, if the budget ends, or if the value is too large or nothing that
// JSON has.
func (x *Expression[V]) Evaluate(b *Budget, vars V) (any, uint64, error) {
	if b.cost > budgetCost || b.running.over || b.running.Err() != nil {
		return nil, 0, errors.New("the mappings before it have used all the time that a token may take")
	}
	names := map[string]any{evaluationName: b.running}
	of := reflect.ValueOf(vars)
	for i, name := range x.names {
		names[name] = of.Field(i).Interface()
	}
	value, details, err := x.program.ContextEval(b.running, names)
	cost := uint64(0)
	if c := details.ActualCost(); c != nil {
		cost = *c
	}
	b.cost += cost
	switch {
	case b.running.over, b.running.Err() != nil, cost > expressionCost:
		b.running.over = b.running.over || b.running.Err() != nil
		return nil, cost, errGreedy
	case err != nil:
		return nil, cost, err
	}
	out, err := jsonOf(value, &b.results)
	return out, cost, err
}
