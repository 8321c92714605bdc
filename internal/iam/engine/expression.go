package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
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
//
// CEL's type checker does not run: its work has no bound, and nothing stops it. An expression of
// 800 bytes can have types that fill the memory. So names are checked by naming, and types as the
// expression runs.
type Language[V any] struct {
	env     *cel.Env
	names   []string            // in the order of the fields of V
	fields  map[string][]string // of the variables that are structs
	example V
}

// NewLanguage returns the language over V. Check evaluates expressions for the example. It panics
// if a field of V can be no variable.
func NewLanguage[V any](example V) *Language[V] {
	l := &Language[V]{example: example, fields: map[string][]string{}}
	options := []cel.EnvOption{cel.ExpressionNodeLimit(maxNodes), cel.ParserExpressionSizeLimit(maxCharacters)}
	for f := range reflect.TypeFor[V]().Fields() {
		name := f.Tag.Get("cel")
		l.names = append(l.names, name)
		switch {
		case f.Type.Kind() == reflect.Struct:
			for inner := range f.Type.Fields() {
				l.fields[name] = append(l.fields[name], inner.Tag.Get("cel"))
			}
			options = append(options, ext.NativeTypes(ext.ParseStructTags(true), f.Type))
		case f.Type != reflect.TypeFor[[]string]():
			panic("engine: the variable " + name + " is neither a struct nor a list of texts")
		}
	}
	env, err := Environment().Extend(options...)
	if err != nil {
		panic("engine: " + err.Error())
	}
	l.env = env
	return l
}

// Expression is a compiled expression over V. It is safe for concurrent use.
type Expression[V any] struct {
	names   []string
	program cel.Program
	size    int64
}

// Size estimates the bytes of memory that the expression keeps.
func (x *Expression[V]) Size() int64 { return x.size }

// Wrong is the place and the reason of an expression that does not compile.
type Wrong struct {
	Line, Column int // from 1
	Reason       string
}

// Error implements error.
func (w Wrong) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", w.Line, w.Column, w.Reason)
}

// Compile prepares an expression, in time and memory that are bounded by maxNodes and
// maxInstructions. It fails with a Wrong.
func (l *Language[V]) Compile(source string) (*Expression[V], error) {
	x, _, err := l.compile(source)
	return x, err
}

// Check compiles an expression and evaluates it for the example, to find what a type checker would.
// An operation that has no such types is one. Other failures may be those of the example. It fails
// with a Wrong.
func (l *Language[V]) Check(b *Budget, source string) error {
	x, at, err := l.compile(source)
	if err != nil {
		return err
	}
	_, _, err = x.Evaluate(b, l.example)
	failed, ok := errors.AsType[*types.Err](err)
	if ok && slices.ContainsFunc(typeErrors, func(s string) bool { return strings.Contains(failed.String(), s) }) {
		return at.wrong(failed.NodeID(), "%s", failed)
	}
	return nil
}

// typeErrors begin the errors of CEL about the types of values.
var typeErrors = []string{"no such overload", "no such field"}

func (l *Language[V]) compile(source string) (*Expression[V], places, error) {
	parsed, issues := l.env.Parse(source)
	if wrong := issues.Errors(); len(wrong) > 0 { // issues.Err would quote the text for each of them
		return nil, places{}, wrongOf(wrong)
	}
	tree := parsed.NativeRep()
	at := places{tree.SourceInfo()}
	n := naming{parsed: tree, env: l.env, functions: l.env.Functions(), names: l.names, fields: l.fields, places: at}
	if err := n.walk(tree.Expr(), nil); err != nil {
		return nil, at, err
	}
	program, err := l.env.Program(parsed, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostLimit(expressionCost), cel.CostTracking(uncheckedCosts{}), cel.CustomDecorator(timeDecorator()))
	if err != nil {
		node := int64(0)
		if failed, ok := errors.AsType[*types.Err](err); ok {
			node = failed.NodeID()
		}
		return nil, at, at.wrong(node, "%s", err)
	}
	size := programBytes + int64(n.nodes)*nodeBytes + n.instructions*instructionBytes
	return &Expression[V]{l.names, program, size}, at, nil
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
