package engine

//lint:file-ignore U1000 Unused fields keep the offsets of the used ones.

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
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/interpreter"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Everything that reaches into Cerbos or cel-go stands in this file. Their versions are pinned. A
// name that is gone fails the build. TestCerbosSignatures, TestCerbosLayouts and
// TestCerbosInternals fail when a signature, a layout or a behaviour changes. docs/decisions/0010
// has the numbers.

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
func newExprCache() *planExpressionCache

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

// ComparedKind returns a kind of resource as rules are compared with it: : / @ and - become _.
//
//go:linkname ComparedKind github.com/cerbos/cerbos/internal/namer.SanitizedResource
func ComparedKind(kind string) string

//go:linkname matchesGlob github.com/cerbos/cerbos/internal/util.MatchesGlob
func matchesGlob(pattern, value string) bool

//go:linkname filterText github.com/cerbos/cerbos/internal/ruletable/planner.FilterToString
func filterText(*enginev1.PlanResourcesFilter) string

//go:linkname allScopes github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).GetAllScopes
func allScopes(rt *ruleTable, kind policyv1.Kind, scope, name, version string, lenient bool) ([]string, string, string)

//go:linkname derivedRolesOf github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).GetDerivedRoles
func derivedRolesOf(rt *ruleTable, policy string) map[string]*derivedRole

//go:linkname resourcePolicyName github.com/cerbos/cerbos/internal/namer.ResourcePolicyFQN
func resourcePolicyName(kind, version, scope string) string

//go:linkname planRequest github.com/cerbos/cerbos/internal/ruletable/planner.PlanResourcesInputToRequest
func planRequest(*enginev1.PlanResourcesInput) *enginev1.Request

//go:linkname compileExpr github.com/cerbos/cerbos/internal/ruletable/planner.(*ExprCache).getOrCompile
func compileExpr(*planExpressionCache, *runtimev1.Expr) (*exprpb.Expr, error)

//go:linkname buildOperand github.com/cerbos/cerbos/internal/ruletable/planner.buildExpr
func buildOperand(*exprpb.Expr, *operand) error

//go:linkname expandName github.com/cerbos/cerbos/internal/conditions.ExpandAbbrev
func expandName(string) string

//go:linkname scopePermissions github.com/cerbos/cerbos/internal/ruletable.(*RuleTable).GetScopeScopePermissions
func scopePermissions(rt *ruleTable, scope string) policyv1.ScopePermissions

//go:linkname withGlobals github.com/cerbos/cerbos/internal/evaluator.WithGlobals
func withGlobals(map[string]any) unsafe.Pointer

// Environment returns the CEL environment of conditions, in which programs can be interrupted and
// costly calls are bounded. The first call installs it in Cerbos, whose compiler, planner and
// tracer have no parameter for it. Call it before Cerbos compiles or evaluates an expression.
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

type (
	inputs  = []*enginev1.CheckInput
	outputs = []*enginev1.CheckOutput

	// checkFunc is a check with globals of its own.
	checkFunc func(ctx context.Context, in inputs, globals map[string]any) (outputs, error)
)

// checkWithGlobals returns check with globals as an argument. It infers the type of Cerbos'
// options, which cannot be named outside of the module.
func checkWithGlobals[Option any](
	check func(context.Context, inputs, ...Option) (outputs, *auditv1.AuditTrail, error),
) checkFunc {
	return func(ctx context.Context, in inputs, globals map[string]any) (outputs, error) {
		option := withGlobals(globals) // a func, which is one pointer
		out, _, err := check(ctx, in, *(*Option)(unsafe.Pointer(&option)))
		return out, err
	}
}

// checkOptions are Cerbos' options of one check, a *evaluator.CheckOptions that cannot be named.
type checkOptions struct{ of reflect.Value }

func (o checkOptions) get(param string) reflect.Value {
	return o.of.FieldByName("EvalParams").FieldByName(param)
}

func (o checkOptions) set(param string, value any) {
	to := o.get(param)
	to.Set(reflect.ValueOf(value).Convert(to.Type()))
}

func (o checkOptions) trace(f func(*enginev1.Trace)) {
	o.of.FieldByName("TracerSink").Set(reflect.ValueOf(traceSink(f)))
}

// traceSink implements Cerbos' tracer.Sink.
type traceSink func(*enginev1.Trace)

// Enabled implements tracer.Sink.
func (traceSink) Enabled() bool { return true }

// AddTrace implements tracer.Sink.
func (f traceSink) AddTrace(t *enginev1.Trace) { f(t) }

// checkWithOptions answers the inputs with options that edit changes. It reflects on the option's
// type at each call, which is for suites and explanations alone.
func checkWithOptions(ctx context.Context, table ruletable.Evaluator, in inputs, edit func(checkOptions)) (outputs,
	error) {
	check := reflect.ValueOf(table.Check)
	option := reflect.MakeFunc(check.Type().In(2).Elem(), func(args []reflect.Value) []reflect.Value {
		edit(checkOptions{args[0].Elem()})
		return nil
	})
	results := check.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(in), option})
	err, _ := results[2].Interface().(error)
	out, _ := results[0].Interface().(outputs)
	return out, err
}

// frameContext returns the context that a frame is evaluated with, or nil. cel-go keeps it to
// interrupt the evaluation, and does not show it to functions.
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

// ruleTable has the layout of internal/ruletable.RuleTable.
type ruleTable struct {
	*runtimev1.RuleTable
	idx                   *ruletable.Index
	principalScopeMap     unsafe.Pointer
	resourceScopeMap      unsafe.Pointer
	scopeScopePermissions unsafe.Pointer
	policyDerivedRoles    unsafe.Pointer
	programCache          *programCache
	planExprCache         *planExpressionCache
}

// programCache has the layout of internal/ruletable.ProgramCache.
type programCache struct {
	m  map[string]cel.Program
	mu sync.RWMutex
}

// planExpressionCache has the layout of internal/ruletable/planner.ExprCache.
type planExpressionCache struct {
	m  map[string]*exprpb.Expr
	mu sync.RWMutex
}

// hideVariables replaces the expression of each variable with a literal, and returns the
// expressions by literal.
//
// The index compiles variables from source, which takes half a millisecond each. A literal takes
// little. Each expression has its own, so that the index still tells them apart.
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

// showVariables restores the expressions, and replaces the literals' programs with those of the
// cache.
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

// tableEvaluator is internal/ruletable.Evaluator. We use its address only.
type tableEvaluator struct{ _ [1]byte }

// evaluatorType is the type of Cerbos' evaluators; nil if their layouts are not those of this file.
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
	plans, _ := table.Type.Elem().FieldByName("planExprCache")
	if plans.Type.Kind() != reflect.Pointer || !sameLayout(reflect.TypeFor[planExpressionCache](), plans.Type.Elem()) {
		return nil
	}
	roles, _ := table.Type.Elem().FieldByName("policyDerivedRoles")
	if !sameLayout(reflect.TypeFor[derivedRole](), roles.Type.Elem().Elem().Elem()) {
		return nil
	}
	return t
})

// sameLayout reports whether two structs have the same fields at the same offsets. An
// unsafe.Pointer of ours may be a map or a pointer there. The caller compares what *programCache
// points to.
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
		case a.Type.Kind() == reflect.UnsafePointer && (b.Type.Kind() == reflect.Map ||
			b.Type.Kind() == reflect.Pointer):
		case (a.Type == reflect.TypeFor[*programCache]() || a.Type == reflect.TypeFor[*planExpressionCache]()) &&
			b.Type.Kind() == reflect.Pointer:
		default:
			return false
		}
	}
	return true
}

// tableOfRules is Cerbos' evaluator of a rule table, and the table.
type tableOfRules struct {
	ruletable.Evaluator
	rules *ruleTable
	with  checkFunc
}

// newTableEvaluator returns Cerbos' evaluator of a rule table, and takes over the table.
//
// It does what ruletable.NewRuleTableFromProto does, but for its end: that collects the garbage of
// the whole process (debug.FreeOSMemory). A server that loads once does not mind. With thousands of
// tenants it takes up to 2 seconds for each.
//
// It also fills the evaluator's cache with programs that are planned from the checked expressions
// of the table. So no check compiles source, and every program can be interrupted.
func newTableEvaluator(rt *runtimev1.RuleTable, conf *epdpv2.Config) (tableOfRules, error) {
	Environment()
	t := evaluatorType()
	if t == nil {
		return tableOfRules{}, errors.New("the rule table of Cerbos has another layout")
	}
	evalConf, err := evaluatorConf(conf.GetEvaluator())
	if err != nil {
		return tableOfRules{}, err
	}
	schemas, err := schemaConf(conf.GetSchema())
	if err != nil {
		return tableOfRules{}, err
	}
	if err := migrateTable(rt); err != nil {
		return tableOfRules{}, err
	}
	bindRuntime(rt)
	table := &ruleTable{RuleTable: rt, idx: ruletable.New(),
		programCache: &programCache{m: map[string]cel.Program{}}, planExprCache: newExprCache()}
	eachExpression(rt, func(x *runtimev1.Expr) {
		if _, known := table.programCache.m[x.GetOriginal()]; !known && x.GetChecked() != nil && err == nil {
			table.programCache.m[x.GetOriginal()], err = newProgram(x)
		}
	})
	if err != nil {
		return tableOfRules{}, err
	}
	variables := hideVariables(rt)
	initBuildState(table)
	if err := indexRules(table, rt.GetRules()); err != nil {
		return tableOfRules{}, err
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
		return tableOfRules{}, err
	}
	made, ok := reflect.NewAt(t.Elem(), unsafe.Pointer(ev)).Interface().(ruletable.Evaluator)
	if !ok {
		return tableOfRules{}, fmt.Errorf("%v does not implement Cerbos' evaluator", t)
	}
	return tableOfRules{made, table, checkWithGlobals(made.Check)}, nil
}
