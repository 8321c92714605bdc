package parity

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/cel-go/cel"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// A filter is evaluated as CEL. What fails there is unknown in a database, so it shows no resource.
// and, or and not are the same in both: true or unknown is true, not unknown is unknown.
type filter struct {
	programs []cel.Program // the filter with whole numbers as integers, and as doubles
	constant bool          // of a filter without a condition
}

var celOperators = map[string]string{"eq": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "in": "in",
	"add": "+", "sub": "-", "mult": "*", "div": "/", "mod": "%", "and": "&&", "or": "||"}

func newFilter(f *enginev1.PlanResourcesFilter) (filter, error) {
	if f.GetKind() != enginev1.PlanResourcesFilter_KIND_CONDITIONAL {
		return filter{constant: f.GetKind() == enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED}, nil
	}
	var out filter
	for _, double := range []bool{false, true} {
		source := asCEL(f.GetCondition(), double)
		ast, issues := engine.Environment().Parse(source)
		if issues.Err() != nil {
			return filter{}, fmt.Errorf("%s: %w", source, issues.Err())
		}
		program, err := engine.Environment().Program(ast)
		if err != nil {
			return filter{}, fmt.Errorf("%s: %w", source, err)
		}
		out.programs = append(out.programs, program)
	}
	return out, nil
}

// shows reports whether the filter is true of a resource. It may name the principal, in branches
// that the planner did not evaluate.
func (f filter) shows(p *enginev1.Principal, r *enginev1.Resource) bool {
	if f.programs == nil {
		return f.constant
	}
	for _, program := range f.programs {
		out, _, err := program.ContextEval(context.Background(), map[string]any{"request": &enginev1.Request{
			Principal: &enginev1.Request_Principal{Id: p.GetId(), Roles: p.GetRoles(), Attr: p.GetAttr(),
				Scope: p.GetScope(), PolicyVersion: p.GetPolicyVersion()},
			Resource: &enginev1.Request_Resource{Kind: r.GetKind(), Id: r.GetId(), Attr: r.GetAttr(),
				Scope: r.GetScope(), PolicyVersion: r.GetPolicyVersion()}}})
		if err == nil && out.Value() == true {
			return true
		}
	}
	return false
}

// asCEL returns an operand as an expression of CEL.
func asCEL(o *enginev1.PlanResourcesFilter_Expression_Operand, double bool) string {
	if name := o.GetVariable(); name != "" {
		return name
	}
	if v := o.GetValue(); v != nil {
		return literal(v, double)
	}
	e := o.GetExpression()
	var of []string
	for _, x := range e.GetOperands() {
		if x.GetExpression().GetOperator() != "lambda" {
			of = append(of, asCEL(x, double))
		}
	}
	if sign := celOperators[e.GetOperator()]; sign != "" && (len(of) == 2 || sign == "&&" || sign == "||") {
		return "(" + strings.Join(of, " "+sign+" ") + ")"
	}
	switch e.GetOperator() {
	case "not":
		return "!(" + of[0] + ")"
	case "if":
		return "(" + of[0] + " ? " + of[1] + " : " + of[2] + ")"
	case "sub":
		return "(-" + of[0] + ")"
	case "list":
		return "[" + strings.Join(of, ", ") + "]"
	case "struct":
		return "{" + strings.Join(of, ", ") + "}"
	case "set-field":
		return of[0] + ": " + of[1]
	case "get-field":
		return of[0] + "." + of[1]
	case "index":
		return of[0] + "[" + of[1] + "]"
	case "-_":
		return "(-" + of[0] + ")"
	}
	if n := len(e.GetOperands()); n == 2 && e.GetOperands()[1].GetExpression().GetOperator() == "lambda" {
		lambda := e.GetOperands()[1].GetExpression().GetOperands()
		var bodies, variables []string
		for _, x := range lambda {
			bodies = append(bodies, asCEL(x, double))
		}
		first := 1
		for first < len(lambda) && (lambda[first].GetVariable() == "" ||
			strings.Contains(lambda[first].GetVariable(), ".")) {
			first++
		}
		bodies, variables = bodies[:first], bodies[first:]
		return of[0] + "." + e.GetOperator() + "(" + strings.Join(append(variables, bodies...), ", ") + ")"
	}
	name := e.GetOperator()
	if f := engine.Environment().Functions()[name]; f != nil {
		for _, overload := range f.OverloadDecls() {
			if overload.IsMemberFunction() && len(overload.ArgTypes()) == len(of) {
				return "(" + of[0] + ")." + name + "(" + strings.Join(of[1:], ", ") + ")"
			}
		}
	}
	return name + "(" + strings.Join(of, ", ") + ")"
}

func literal(v *structpb.Value, double bool) string {
	switch k := v.GetKind().(type) {
	case *structpb.Value_NumberValue:
		if text := strconv.FormatFloat(k.NumberValue, 'f', -1, 64); double && !strings.Contains(text, ".") {
			return text + ".0"
		} else {
			return text
		}
	case *structpb.Value_StringValue:
		return strconv.Quote(k.StringValue)
	case *structpb.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *structpb.Value_ListValue:
		var of []string
		for _, x := range k.ListValue.GetValues() {
			of = append(of, literal(x, double))
		}
		return "[" + strings.Join(of, ", ") + "]"
	case *structpb.Value_StructValue:
		var of []string
		for _, name := range slices.Sorted(maps.Keys(k.StructValue.GetFields())) {
			of = append(of, strconv.Quote(name)+": "+literal(k.StructValue.Fields[name], double))
		}
		return "{" + strings.Join(of, ", ") + "}"
	}
	return "null"
}

// A filter shows no resource that a check denies, whatever attributes the resource lacks.
func TestNoFilterShowsWhatACheckDenies(t *testing.T) {
	perWorld := 400
	if testing.Short() {
		perWorld = 150
	}
	for _, w := range worlds(true) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			e, err := engine.Load(w.table(t), w.settings)
			if err != nil {
				t.Fatal(err)
			}
			found := leakage{refused: map[string]int{}}
			q := newInquirer(w, *seed+77)
			for range perWorld {
				found.plan(t, w, e, q)
			}
			t.Log(found.String())
			if found.plans == 0 || found.shown*10 < found.answers {
				t.Error("the filters show next to nothing")
			}
		})
	}
}

// leakage counts what filters show and checks deny.
type leakage struct {
	plans, answers, shown, hidden, leaks int
	refused                              map[string]int // reason → plans
}

func (l *leakage) String() string {
	text := fmt.Sprintf("%d plans; %d answers, %d shown, %d hidden that a check allows, %d leaks", l.plans, l.answers,
		l.shown, l.hidden, l.leaks)
	for _, reason := range slices.Sorted(maps.Keys(l.refused)) {
		text += fmt.Sprintf("\n%d refused: %s", l.refused[reason], reason)
	}
	return text
}

// plan compares one plan with checks.
func (l *leakage) plan(t *testing.T, w *world, e *engine.Evaluator, q *inquirer) {
	asked := q.plan()
	claims, err := structpb.NewStruct(q.claims())
	if err != nil {
		t.Fatal(err)
	}
	in := &enginev1.PlanResourcesInput{RequestId: "r", Actions: asked.GetActions(), Principal: asked.GetPrincipal(),
		Resource: asked.GetResource(), AuxData: &enginev1.AuxData{Jwt: claims.GetFields()}}
	if len(in.Actions) == 0 {
		in.Actions = []string{asked.GetAction()}
	}
	l.plans++
	plan, err := e.Plan(t.Context(), in)
	if err != nil {
		_, why, planned := strings.Cut(err.Error(), "/api/check/resources.: ")
		if !planned {
			why = err.Error()
		}
		l.refused[why]++
		return
	}
	f, err := newFilter(plan.GetFilter())
	if err != nil {
		t.Fatalf("a filter cannot be evaluated: %v", err)
	}
	var checks []*enginev1.CheckInput
	for range 8 {
		checks = append(checks, &enginev1.CheckInput{RequestId: "r", Actions: in.Actions, Principal: in.Principal,
			Resource: q.row(in.Resource), AuxData: in.AuxData})
	}
	out, err := e.Check(t.Context(), checks)
	if err != nil {
		t.Fatal(err)
	}
	for i, check := range checks {
		if w.settings.SchemaEnforcement == engine.SchemaReject && len(out[i].GetValidationErrors()) > 0 {
			continue // no filter follows a schema
		}
		allowed := true
		for _, effect := range out[i].GetActions() {
			allowed = allowed && effect.GetEffect() == effectv1.Effect_EFFECT_ALLOW
		}
		l.answers++
		switch showing := f.shows(in.Principal, check.GetResource()); {
		case showing && !allowed:
			if l.leaks++; l.leaks <= 3 {
				t.Errorf("the filter %s\nof %v\nshows %v\nto %v for %v", plan.GetFilterDebug(), in.GetResource(),
					check.GetResource(), in.Principal, in.Actions)
			}
		case showing:
			l.shown++
		case allowed:
			l.hidden++
		}
	}
}

// row returns a resource that a plan is about. It may lack attributes.
func (q *inquirer) row(of *enginev1.PlanResourcesInput_Resource) *enginev1.Resource {
	attributes := q.resourceAttributes()
	if q.IntN(3) > 0 {
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			if q.IntN(4) == 0 {
				delete(attributes, name)
			}
		}
	}
	maps.Copy(attributes, of.GetAttr())
	return &enginev1.Resource{Kind: of.GetKind(), Id: "X1", Attr: attributes, Scope: of.GetScope(),
		PolicyVersion: of.GetPolicyVersion()}
}
