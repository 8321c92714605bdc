package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"weak"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	exprpb "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/proto"
)

// interruptEvery is the number of loop steps after which a program checks whether its time is over.
const interruptEvery = 128

// program is a CEL program that is planned at its first evaluation, from the expression that was
// checked at publish.
type program struct {
	checked []byte // exprpb.CheckedExpr, until it is planned: a tenth of the message's size
	once    sync.Once
	planned cel.Program
	loops   bool // it iterates over lists or maps
	costly  bool // it has bounded calls
	globals bool // it names the globals
	noRoles bool // it sees no derived roles: see bindRuntime
	err     error
}

// programs are the programs in use, of all tenants. A program depends on its expression alone, and
// many tenants have the same ones, such as R.attr.owner == P.id. A table that loads reuses them.
var programs = struct {
	sync.Mutex
	of map[[sha256.Size]byte]weak.Pointer[program]
}{of: map[[sha256.Size]byte]weak.Pointer[program]{}}

func newProgram(x *runtimev1.Expr) (*program, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(x.GetChecked())
	if err != nil {
		return nil, err
	}
	noRoles, key := seesNoRoles(x), sha256.Sum256(b)
	if noRoles {
		key = sha256.Sum256(append([]byte(withoutRoles), b...))
	}
	programs.Lock()
	defer programs.Unlock()
	if p := programs.of[key].Value(); p != nil {
		return p, nil
	}
	p := &program{checked: b, noRoles: noRoles}
	programs.of[key] = weak.Make(p)
	runtime.AddCleanup(p, forgetProgram, key)
	return p, nil
}

func forgetProgram(key [sha256.Size]byte) {
	programs.Lock()
	defer programs.Unlock()
	if programs.of[key].Value() == nil { // otherwise it was created again meanwhile
		delete(programs.of, key)
	}
}

func (p *program) get() (cel.Program, error) {
	p.once.Do(func() {
		checked := new(exprpb.CheckedExpr)
		if p.err = proto.Unmarshal(p.checked, checked); p.err == nil {
			ast := cel.CheckedExprToAst(checked)
			p.planned, p.err = planProgram(ast)
			root := celast.NavigateAST(ast.NativeRep())
			p.loops = len(celast.MatchDescendants(root, celast.KindMatcher(celast.ComprehensionKind))) > 0
			p.costly = slices.ContainsFunc(celast.MatchDescendants(root, celast.KindMatcher(celast.CallKind)),
				func(e celast.NavigableExpr) bool {
					return callCosts[e.AsCall().FunctionName()] != nil
				})
			p.globals = slices.ContainsFunc(celast.MatchDescendants(root, celast.KindMatcher(celast.IdentKind)),
				func(e celast.NavigableExpr) bool {
					return e.AsIdent() == "globals" || e.AsIdent() == "G"
				})
		}
		p.checked = nil
	})
	return p.planned, p.err
}

// planProgram returns a program with Cerbos' options. The environment makes it interruptible.
func planProgram(ast *cel.Ast) (cel.Program, error) {
	return Environment().Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CustomDecorator(timeDecorator()))
}

// prepare puts the evaluation among the variables of the program's next run, if its calls use it,
// and hides it from the globals. It hides derived roles that the program must not see.
func (p *program) prepare(e *evaluation, vars any) {
	names, ok := vars.(map[string]any)
	if ok && p.noRoles {
		names["runtime"] = noRoles
	}
	if !ok || e == nil {
		return
	}
	if p.costly {
		names[evaluationName] = e
	}
	if p.globals {
		e.hide(names)
	}
}

// Eval implements cel.Program.
func (p *program) Eval(vars any) (ref.Val, *cel.EvalDetails, error) {
	planned, err := p.get()
	if err != nil {
		return nil, nil, err
	}
	return planned.Eval(vars)
}

// ContextEval implements cel.Program.
func (p *program) ContextEval(ctx context.Context, vars any) (ref.Val, *cel.EvalDetails, error) {
	planned, err := p.get()
	if err != nil {
		return nil, nil, err
	}
	if p.costly || p.globals || p.noRoles {
		p.prepare(evaluationOf(ctx), vars)
	}
	var v ref.Val
	var details *cel.EvalDetails
	if p.loops { // only loops are interrupted, and being ready for it costs a quarter of a small condition
		v, details, err = planned.ContextEval(ctx, vars)
	} else {
		v, details, err = planned.Eval(vars)
	}
	// An output is copied to any depth.
	if err == nil && hasElements(v) && !evaluationOf(ctx).take(0, elements(v)) {
		return types.WrapErr(errTooMuch), nil, errTooMuch
	}
	return v, details, err
}

// ConcurrentEval implements cel.Program. Cerbos does not call it.
func (p *program) ConcurrentEval(ctx context.Context, vars any) <-chan cel.EvalResult {
	planned, err := p.get()
	if err != nil {
		out := make(chan cel.EvalResult, 1)
		out <- cel.EvalResult{Err: err}
		return out
	}
	return planned.ConcurrentEval(ctx, vars)
}

// variable is the program of a variable, which Cerbos evaluates without a context.
type variable struct{ *program }

// Eval implements cel.Program.
func (v variable) Eval(vars any) (ref.Val, *cel.EvalDetails, error) {
	planned, err := v.get()
	if err != nil {
		return nil, nil, err
	}
	if !v.loops && !v.costly && !v.globals && !v.noRoles {
		return planned.Eval(vars)
	}
	names, ok := vars.(map[string]any)
	if !ok {
		return nil, nil, fmt.Errorf("the variables of a variable are %T", vars)
	}
	e := among(names)
	if e == nil {
		return nil, nil, errors.New("a variable belongs to no evaluation")
	}
	v.prepare(e, vars)
	if !v.loops && !v.costly {
		return planned.Eval(vars)
	}
	out, details, err := planned.ContextEval(e, vars)
	if stopped := e.stopped(context.Background(), err); stopped != nil {
		return nil, nil, stopped // not a CEL value: Cerbos then gives up the whole check, not the variable alone
	}
	return out, details, err
}

// eachExpression calls f with every expression of a rule table.
func eachExpression(rt *runtimev1.RuleTable, f func(*runtimev1.Expr)) {
	for _, row := range rt.GetRules() {
		eachOfRow(row, f)
	}
	for _, roles := range rt.GetPolicyDerivedRoles() {
		for _, role := range roles.GetDerivedRoles() {
			eachOfRole(role, f)
		}
	}
}

func eachOfRow(row *runtimev1.RuleTable_RuleRow, f func(*runtimev1.Expr)) {
	eachOfCondition(row.GetCondition(), f)
	eachOfCondition(row.GetDerivedRoleCondition(), f)
	f(row.GetEmitOutput().GetWhen().GetRuleActivated())
	f(row.GetEmitOutput().GetWhen().GetConditionNotMet())
	eachVariable(row.GetParams().GetOrderedVariables(), f)
	eachVariable(row.GetDerivedRoleParams().GetOrderedVariables(), f)
}

func eachOfRole(role *runtimev1.RunnableDerivedRole, f func(*runtimev1.Expr)) {
	eachOfCondition(role.GetCondition(), f)
	eachVariable(role.GetOrderedVariables(), f)
}

func eachVariable(variables []*runtimev1.Variable, f func(*runtimev1.Expr)) {
	for _, v := range variables {
		f(v.GetExpr())
	}
}

func eachOfCondition(c *runtimev1.Condition, f func(*runtimev1.Expr)) {
	switch op := c.GetOp().(type) {
	case *runtimev1.Condition_Expr:
		f(op.Expr)
	case *runtimev1.Condition_All:
		for _, c := range op.All.GetExpr() {
			eachOfCondition(c, f)
		}
	case *runtimev1.Condition_Any:
		for _, c := range op.Any.GetExpr() {
			eachOfCondition(c, f)
		}
	case *runtimev1.Condition_None:
		for _, c := range op.None.GetExpr() {
			eachOfCondition(c, f)
		}
	}
}

// hasVariables reports whether a rule has variables, which Cerbos evaluates without a context.
func hasVariables(rt *runtimev1.RuleTable) bool {
	return slices.ContainsFunc(rt.GetRules(), func(row *runtimev1.RuleTable_RuleRow) bool {
		return len(row.GetParams().GetOrderedVariables())+len(row.GetDerivedRoleParams().GetOrderedVariables()) > 0
	})
}
