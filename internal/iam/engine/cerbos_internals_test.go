package engine

import (
	"bytes"
	"context"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// signatures are those of Cerbos' names that cerbos_internals.go links to. The linker does not
// compare them: a function that takes other arguments would read whatever stands in their place.
var signatures = map[string]string{
	"internal/ruletable.migrate":                     "func migrate(rt *runtimev1.RuleTable) error",
	"internal/ruletable.(*RuleTable).initBuildState": "func (rt *RuleTable) initBuildState()",
	"internal/ruletable.(*RuleTable).indexRules": "func (rt *RuleTable) indexRules(rules " +
		"[]*runtimev1.RuleTable_RuleRow) error",
	"internal/ruletable.(*RuleTable).releaseCheckedExprs": "func (rt *RuleTable) releaseCheckedExprs()",
	"internal/ruletable.(*RuleTable).dedupStrings":        "func (rt *RuleTable) dedupStrings()",
	"internal/ruletable/planner.NewExprCache":             "func NewExprCache() *ExprCache",
	"internal/ruletable.NewEvaluator": "func NewEvaluator(evalConf *evaluator.Conf, schemaConf " +
		"*schema.Conf, ruleTable *RuleTable) (*Evaluator, error)",
	"private/ruletable.evaluatorConfFromProto": "func evaluatorConfFromProto(confProto " +
		"*epdpv2.Config_Evaluator) (*evaluator.Conf, error)",
	"private/ruletable.schemaConfFromProto": "func schemaConfFromProto(confProto " +
		"*epdpv2.Config_Schema) (*schema.Conf, error)",
	"internal/conditions.CacheFriendlyTimeDecorator": "func CacheFriendlyTimeDecorator() " +
		"interpreter.InterpretableDecorator",
	"internal/conditions.StdEnv":                "StdEnv *cel.Env",
	"internal/namer.SanitizedResource":          "func SanitizedResource(resource string) string",
	"internal/util.MatchesGlob":                 "func MatchesGlob(g, val string) bool",
	"internal/ruletable/planner.FilterToString": "func FilterToString(filter *enginev1.PlanResourcesFilter) string",
	"internal/ruletable.(*RuleTable).GetAllScopes": "func (rt *RuleTable) GetAllScopes(pt policyv1.Kind, scope, " +
		"name, version string, lenient bool) ([]string, string, string)",
	"internal/ruletable/planner.PlanResourcesInputToRequest": "func PlanResourcesInputToRequest(input " +
		"*enginev1.PlanResourcesInput) *enginev1.Request",
	"internal/ruletable/planner.(*ExprCache).getOrCompile": "func (c *ExprCache) getOrCompile(e *runtimev1.Expr) " +
		"(*exprpb.Expr, error)",
	"internal/ruletable/planner.buildExpr": "func buildExpr(expr *exprpb.Expr, acc " +
		"*enginev1.PlanResourcesFilter_Expression_Operand) error",
	"internal/conditions.ExpandAbbrev": "func ExpandAbbrev(s string) string",
	"internal/ruletable.(*RuleTable).GetScopeScopePermissions": "func (rt *RuleTable) GetScopeScopePermissions(scope " +
		"string) policyv1.ScopePermissions",
	"internal/ruletable.(*RuleTable).GetDerivedRoles": "func (rt *RuleTable) GetDerivedRoles(fqn string) " +
		"map[string]*WrappedRunnableDerivedRole",
	"internal/namer.ResourcePolicyFQN": "func ResourcePolicyFQN(resource, version, scope string) string",
	"internal/evaluator.WithGlobals":   "func WithGlobals(globals map[string]any) CheckOpt",
}

var linkname = regexp.MustCompile(`(?m)^//go:linkname \w+ github\.com/cerbos/cerbos/(\S+)$`)

func TestCerbosSignatures(t *testing.T) {
	source, err := os.ReadFile("cerbos_internals.go")
	if err != nil {
		t.Fatal(err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cerbos/cerbos").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := linkname.FindAllStringSubmatch(string(source), -1)
	if len(linked) != len(signatures) {
		t.Errorf("%d names are linked, and %d signatures known", len(linked), len(signatures))
	}
	for _, m := range linked {
		slash := strings.LastIndex(m[1], "/")
		dir, symbol, _ := strings.Cut(m[1][slash:], ".")
		dir = m[1][:slash] + dir
		name := symbol[strings.LastIndex(symbol, ".")+1:]
		if got := declaration(t, filepath.Join(strings.TrimSpace(string(module)), dir), name); got != signatures[m[1]] {
			t.Errorf("%s is declared as\n\t%s\nand linked as\n\t%s", m[1], got, signatures[m[1]])
		}
	}
}

// declaration returns a function without its body, or a variable with its type, as a package
// declares it.
func declaration(t *testing.T, dir, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			var declared any
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == name {
					n.Body, n.Doc = nil, nil
					declared = n
				}
			case *ast.ValueSpec:
				if n.Names[0].Name == name && n.Type != nil {
					var b bytes.Buffer
					if err := format.Node(&b, token.NewFileSet(), n.Type); err != nil {
						t.Fatal(err)
					}
					found = name + " " + b.String()
					return false
				}
			}
			if declared != nil {
				var b bytes.Buffer
				if err := format.Node(&b, token.NewFileSet(), declared); err != nil {
					t.Fatal(err)
				}
				found = b.String()
				return false
			}
			return true
		})
	}
	return found
}

func TestCerbosLayouts(t *testing.T) {
	if evaluatorType() == nil {
		t.Error("Cerbos' rule table has another layout than ruleTable and programCache")
	}
	if _, err := frameContextField(); err != nil {
		t.Error(err)
	}
}

// indexed returns the rule table of everything, up to the index.
func indexed(t *testing.T) *ruleTable {
	t.Helper()
	Environment()
	rt, err := ruleTableOf(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	table := &ruleTable{RuleTable: rt, idx: ruletable.New(),
		programCache: &programCache{m: map[string]cel.Program{}}, planExprCache: newExprCache()}
	initBuildState(table)
	if err := indexRules(table, rt.GetRules()); err != nil {
		t.Fatal(err)
	}
	table.idx.Compact()
	return table
}

// Each name that is linked does what newTableEvaluator and its callers rely on.
func TestCerbosInternals(t *testing.T) {
	t.Run("migrate", func(t *testing.T) {
		rt, err := ruleTableOf(t.Context(), everything)
		if err != nil {
			t.Fatal(err)
		}
		before := proto.CloneOf(rt)
		if err := migrateTable(rt); err != nil || !proto.Equal(before, rt) {
			t.Errorf("a table of this version changes: %v", err)
		}
	})
	t.Run("initBuildState", func(t *testing.T) {
		table := &ruleTable{RuleTable: &runtimev1.RuleTable{}}
		initBuildState(table)
		if table.principalScopeMap == nil || table.resourceScopeMap == nil || table.scopeScopePermissions == nil ||
			table.policyDerivedRoles == nil {
			t.Error("a map is missing")
		}
	})
	t.Run("indexRules", func(t *testing.T) {
		if rows := indexed(t).idx.GetAllRows(); len(rows) == 0 {
			t.Error("the index is empty")
		}
	})
	t.Run("releaseCheckedExprs", func(t *testing.T) {
		table := indexed(t)
		releaseCheckedExprs(table)
		for _, row := range table.idx.GetAllRows() {
			if row.Core.Condition.GetExpr().GetChecked() != nil {
				t.Error("a checked expression is still there")
			}
		}
	})
	t.Run("dedupStrings", func(t *testing.T) {
		table := indexed(t)
		before := len(table.idx.GetAllRows())
		dedupStrings(table)
		if n := len(table.idx.GetAllRows()); n != before {
			t.Errorf("%d rows instead of %d", n, before)
		}
	})
	t.Run("NewExprCache", func(t *testing.T) {
		if newExprCache() == nil {
			t.Error("no cache")
		}
	})
	t.Run("NewEvaluator", func(t *testing.T) {
		rt, err := ruleTableOf(t.Context(), Files{"d.yaml": allowing("doc", "true")})
		if err != nil {
			t.Fatal(err)
		}
		made, err := newTableEvaluator(rt, &epdpv2.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if out, _, err := made.Check(t.Context(), questions[:1]); err != nil || len(out) != 1 {
			t.Error(out, err)
		}
	})
	t.Run("evaluatorConf", func(t *testing.T) {
		if conf, err := evaluatorConf(&epdpv2.Config_Evaluator{}); err != nil || conf == nil {
			t.Error(err)
		}
		if _, err := evaluatorConf(&epdpv2.Config_Evaluator{Globals: map[string]*structpb.Value{"no " +
			"name": nil}}); err == nil {
			t.Error("a global that cannot be named is accepted")
		}
	})
	t.Run("schemaConf", func(t *testing.T) {
		if conf, err := schemaConf(&epdpv2.Config_Schema{}); err != nil || conf == nil {
			t.Error(err)
		}
		if _, err := schemaConf(&epdpv2.Config_Schema{Enforcement: 77}); err == nil {
			t.Error("an enforcement that does not exist is accepted")
		}
	})
	t.Run("timeDecorator", func(t *testing.T) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		parsed, issues := Environment().Compile("now()")
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		p, err := planProgram(parsed)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.Eval(map[string]any{"_cerbos_now_fn": func() time.Time { return at }})
		if err != nil || out.Value() != at {
			t.Error(out, err)
		}
	})
	t.Run("StdEnv", func(t *testing.T) {
		if Environment() != celEnvironment || !Environment().HasFunction("hasIntersection") {
			t.Error("conditions are compiled in another environment")
		}
	})
	t.Run("SanitizedResource", func(t *testing.T) {
		if a, b := ComparedKind("hr:leave"), ComparedKind("hr_leave"); a != b ||
			a == ComparedKind("hr:other") {
			t.Error(a, b)
		}
	})
	t.Run("MatchesGlob", func(t *testing.T) {
		if !matchesGlob("view:*", "view:all") || matchesGlob("view:*", "edit:all") {
			t.Error("patterns of actions match otherwise")
		}
	})
	t.Run("WithGlobals", func(t *testing.T) {
		table := tableOf(t, Files{"d.yaml": allowing("doc", "G.open == true")})
		ev, err := Load(table, DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		for open, want := range map[bool]string{true: "EFFECT_ALLOW", false: "EFFECT_DENY"} {
			out, err := ev.table.with(t.Context(), questions[:1], map[string]any{"open": open})
			if err != nil || out[0].Actions["view"].GetEffect().String() != want {
				t.Error(open, out, err)
			}
		}
	})
	t.Run("frameContext", func(t *testing.T) {
		var seen context.Context
		env, err := Environment().Extend(cel.Lib(observer{&seen}))
		if err != nil {
			t.Fatal(err)
		}
		parsed, issues := env.Compile("[1, 2].exists(x, x + int(P.attr.n) == 3)")
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		p, err := env.Program(parsed)
		if err != nil {
			t.Fatal(err)
		}
		e := begin(t.Context())
		defer e.End()
		_, _, _ = p.ContextEval(e, map[string]any{"P": map[string]any{"attr": map[string]any{"n": 2.0}}})
		if evaluationOf(seen) != e {
			t.Error("a call does not find the context that its program is evaluated with")
		}
		frame, err := interpreter.NewExecutionFrame(map[string]any{})
		if err != nil || frameContext(frame) != nil {
			t.Error("a frame without a context has one", err)
		}
	})
}

// observer notes the context that calls are evaluated with.
type observer struct{ seen *context.Context }

func (observer) CompileOptions() []cel.EnvOption { return nil }

func (o observer) ProgramOptions() []cel.ProgramOption {
	observe := func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		if call, ok := i.(interpreter.InterpretableCall); ok {
			return observed{call, o.seen}, nil
		}
		return i, nil
	}
	return []cel.ProgramOption{cel.CustomDecoratorV2(observe)}
}

type observed struct {
	interpreter.InterpretableCall
	seen *context.Context
}

func (o observed) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	*o.seen = frameContext(frame)
	return o.InterpretableCall.Exec(frame)
}
