package engine

//lint:file-ignore U1000 Fields that nobody reads keep the places of those that somebody does.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"unsafe" // for go:linkname, and to set the fields of a type that has no constructor for us

	auditv1 "github.com/cerbos/cerbos/api/genpb/cerbos/audit/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/interpreter"
)

// This file makes Cerbos' evaluator of a rule table as ruletable.NewRuleTableFromProto does, but for its
// last act: that one ends by collecting the garbage of the whole process (debug.FreeOSMemory), which is fine for
// a server that loads once, and costs 2 seconds for each of thousands of tenants. It also puts programs into the
// evaluator's cache that are planned from the expressions as they were checked at publish, so that nothing is
// compiled from source on the path of a decision, and that can be interrupted.
//
// It leans on names and on the layout of a type inside the module, whose version is pinned. A name that is gone
// fails the build; a layout that changed is noticed by known, and then Cerbos' own constructor is used.
// TestTheLayoutOfCerbosIsKnown fails in both cases. docs/decisions/0010 has the numbers.

//go:linkname migrateTable github.com/cerbos/cerbos/internal/ruletable.migrate
func migrateTable(*runtimev1.RuleTable) error

//go:linkname initBuildState github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).initBuildState
func initBuildState(*ruleTable)

//go:linkname indexRules github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).indexRules
func indexRules(*ruleTable, []*runtimev1.RuleTable_RuleRow) error

//go:linkname releaseCheckedExprs github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).releaseCheckedExprs
func releaseCheckedExprs(*ruleTable)

//go:linkname dedupStrings github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).dedupStrings
func dedupStrings(*ruleTable)

//go:linkname newExprCache github.com/cerbos/cerbos/internal/ruletable/planner.NewExprCache
func newExprCache() unsafe.Pointer

//go:linkname newStaticEvaluator github.com/cerbos/cerbos/internal/ruletable.NewEvaluator
func newStaticEvaluator(evalConf, schemaConf unsafe.Pointer, table *ruleTable) (*tableEvaluator, error)

//go:linkname evaluatorConf github.com/cerbos/cerbos/private/ruletable.evaluatorConfFromProto
func evaluatorConf(*epdpv2.Config_Evaluator) (unsafe.Pointer, error)

//go:linkname schemaConf github.com/cerbos/cerbos/private/ruletable.schemaConfFromProto
func schemaConf(*epdpv2.Config_Schema) (unsafe.Pointer, error)

//go:linkname timeDecorator github.com/cerbos/cerbos/internal/conditions.CacheFriendlyTimeDecorator
func timeDecorator() interpreter.InterpretableDecorator

//go:linkname celEnvironment github.com/cerbos/cerbos/internal/conditions.StdEnv
var celEnvironment *cel.Env

//go:linkname sanitizedResource github.com/cerbos/cerbos/internal/namer.SanitizedResource
func sanitizedResource(kind string) string

//go:linkname matchesGlob github.com/cerbos/cerbos/internal/util.MatchesGlob
func matchesGlob(pattern, value string) bool

//go:linkname withGlobals github.com/cerbos/cerbos/internal/evaluator.WithGlobals
func withGlobals(map[string]any) unsafe.Pointer

// Environment returns the CEL environment of conditions, in which programs can be interrupted and
// costly calls are bounded. The first call installs it in Cerbos, whose compiler, planner and tracer
// have no parameter for it. Call it before Cerbos compiles or evaluates an expression.
func Environment() *cel.Env { return environment() }

var environment = sync.OnceValue(func() *cel.Env {
	limits, err := newBounds(celEnvironment)
	if err == nil {
		celEnvironment, err = celEnvironment.Extend(cel.Lib(limits))
	}
	if err == nil {
		_, err = frameContextField()
	}
	if err != nil {
		panic("engine: " + err.Error()) // another version of Cerbos or cel-go
	}
	return celEnvironment
})

// checkWithGlobals returns check with other globals than the evaluator's. It infers the type of
// Cerbos' options, which has no name outside of the module.
func checkWithGlobals[Option any](check func(context.Context, []*enginev1.CheckInput, ...Option) ([]*enginev1.CheckOutput, *auditv1.AuditTrail, error)) func(context.Context, []*enginev1.CheckInput, map[string]any) ([]*enginev1.CheckOutput, error) {
	return func(ctx context.Context, in []*enginev1.CheckInput, globals map[string]any) ([]*enginev1.CheckOutput, error) {
		option := withGlobals(globals) // a func, which is one pointer
		out, _, err := check(ctx, in, *(*Option)(unsafe.Pointer(&option)))
		return out, err
	}
}

// frameContext returns the context that a frame is evaluated with, or nil. cel-go keeps it to interrupt
// the evaluation, and does not show it to functions.
func frameContext(frame *interpreter.ExecutionFrame) context.Context {
	at, err := frameContextField()
	if err != nil {
		return nil
	}
	shared := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(frame), at.shared))
	if shared == nil {
		return nil
	}
	return *(*context.Context)(unsafe.Add(shared, at.context))
}

// frameFields are the offsets that lead from a frame to its context, in bytes.
type frameFields struct{ shared, context uintptr }

var frameContextField = sync.OnceValues(func() (frameFields, error) {
	frame := reflect.TypeFor[interpreter.ExecutionFrame]()
	shared, ok := frame.FieldByName("ctx")
	if !ok || shared.Type.Kind() != reflect.Pointer || shared.Type.Elem().Kind() != reflect.Struct {
		return frameFields{}, errors.New("cel-go's frame has another layout")
	}
	ctx, ok := shared.Type.Elem().FieldByName("ctx")
	if !ok || ctx.Type != reflect.TypeFor[context.Context]() {
		return frameFields{}, errors.New("cel-go's evaluation context has another layout")
	}
	return frameFields{shared.Offset, ctx.Offset}, nil
})

// ruleTable is the layout of internal/ruletable.RuleTable.
type ruleTable struct {
	*runtimev1.RuleTable
	idx                   *ruletable.Index
	principalScopeMap     unsafe.Pointer
	resourceScopeMap      unsafe.Pointer
	scopeScopePermissions unsafe.Pointer
	policyDerivedRoles    unsafe.Pointer
	programCache          *programCache
	planExprCache         unsafe.Pointer
}

// programCache is the layout of internal/ruletable.ProgramCache.
type programCache struct {
	m  map[string]cel.Program
	mu sync.RWMutex
}

// hideVariables puts a literal in place of every variable's expression, and returns what each stands for. The
// index compiles variables from source, which takes half a millisecond for each; a literal takes little, and one for
// every expression keeps apart what the index keeps apart.
func hideVariables(rt *runtimev1.RuleTable) map[string]string {
	out := map[string]string{}
	hide := func(params *runtimev1.RuleTable_RuleRow_Params) {
		for _, v := range params.GetOrderedVariables() {
			if v.GetExpr().GetChecked() == nil {
				continue
			}
			literal := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(v.Expr.Original))))
			out[literal], v.Expr.Original = v.Expr.Original, literal
		}
	}
	for _, row := range rt.GetRules() {
		hide(row.GetParams())
		hide(row.GetDerivedRoleParams())
	}
	return out
}

// showVariables puts the expressions back, and the cache's programs in place of the literals.
func (c *programCache) showVariables(params *ruletable.RowParams, variables map[string]string) {
	if params == nil {
		return
	}
	for _, v := range params.Variables {
		if original, hidden := variables[v.GetExpr().GetOriginal()]; hidden {
			v.Expr.Original = original
		}
	}
	for _, v := range params.CelPrograms {
		if original, hidden := variables[v.Expr]; hidden {
			v.Expr = original
			v.Prog = variable{c.m[original].(*program)}
		}
	}
}

// tableEvaluator is internal/ruletable.Evaluator. Only its address is ours.
type tableEvaluator struct{ _ [1]byte }

// evaluatorType is that of Cerbos' evaluators, or nil where the layouts are not those of
// this file.
var evaluatorType = sync.OnceValue(func() reflect.Type {
	empty, err := ruletable.NewRuleTableFromProto(&runtimev1.RuleTable{}, &epdpv2.Config{})
	if err != nil {
		return nil
	}
	t := reflect.TypeOf(empty)
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	table, ok := t.Elem().FieldByName("ruleTable")
	if !ok || table.Type.Kind() != reflect.Pointer || !sameLayout(reflect.TypeFor[ruleTable](), table.Type.Elem()) {
		return nil
	}
	programs, _ := table.Type.Elem().FieldByName("programCache")
	if programs.Type.Kind() != reflect.Pointer || !sameLayout(reflect.TypeFor[programCache](), programs.Type.Elem()) {
		return nil
	}
	return t
})

// sameLayout reports whether two structs have the same fields at the same places. Where ours is an
// unsafe.Pointer theirs may be a map or a pointer; a pointer to a struct of ours is compared by the caller.
func sameLayout(ours, theirs reflect.Type) bool {
	if theirs.Kind() != reflect.Struct || ours.NumField() != theirs.NumField() || ours.Size() != theirs.Size() {
		return false
	}
	for i := range ours.NumField() {
		a, b := ours.Field(i), theirs.Field(i)
		if a.Name != b.Name || a.Offset != b.Offset {
			return false
		}
		switch {
		case a.Type == b.Type:
		case a.Type.Kind() == reflect.UnsafePointer && (b.Type.Kind() == reflect.Map || b.Type.Kind() == reflect.Pointer):
		case a.Type == reflect.TypeFor[*programCache]() && b.Type.Kind() == reflect.Pointer:
		default:
			return false
		}
	}
	return true
}

// newTableEvaluator returns Cerbos' evaluator of a rule table. It takes the table over.
func newTableEvaluator(rt *runtimev1.RuleTable, conf *epdpv2.Config) (ruletable.Evaluator, error) {
	Environment()
	t := evaluatorType()
	if t == nil {
		return nil, errors.New("Cerbos' rule table has another layout")
	}
	evalConf, err := evaluatorConf(conf.GetEvaluator())
	if err != nil {
		return nil, err
	}
	schemas, err := schemaConf(conf.GetSchema())
	if err != nil {
		return nil, err
	}
	if err := migrateTable(rt); err != nil {
		return nil, err
	}
	table := &ruleTable{RuleTable: rt, idx: ruletable.New(), programCache: &programCache{m: map[string]cel.Program{}}, planExprCache: newExprCache()}
	eachExpression(rt, func(x *runtimev1.Expr) {
		if _, known := table.programCache.m[x.GetOriginal()]; !known && x.GetChecked() != nil && err == nil {
			table.programCache.m[x.GetOriginal()], err = newProgram(x.GetChecked())
		}
	})
	if err != nil {
		return nil, err
	}
	variables := hideVariables(rt)
	initBuildState(table)
	if err := indexRules(table, rt.GetRules()); err != nil {
		return nil, err
	}
	rt.Rules, rt.PolicyDerivedRoles = nil, nil
	table.idx.Compact()
	releaseCheckedExprs(table)
	dedupStrings(table)
	for _, row := range table.idx.GetAllRows() {
		table.programCache.showVariables(row.Core.Params, variables)
		table.programCache.showVariables(row.Core.DerivedRoleParams, variables)
	}
	ev, err := newStaticEvaluator(evalConf, schemas, table)
	if err != nil {
		return nil, err
	}
	made, ok := reflect.NewAt(t.Elem(), unsafe.Pointer(ev)).Interface().(ruletable.Evaluator)
	if !ok {
		return nil, fmt.Errorf("%v is no evaluator", t)
	}
	return made, nil
}
