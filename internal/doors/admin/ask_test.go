package admin

import (
	"errors"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/policies"
)

type operand = enginev1.PlanResourcesFilter_Expression_Operand

func variable(name string) *operand {
	return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Variable{Variable: name}}
}

func value(v any) *operand {
	p, err := structpb.NewValue(v)
	if err != nil {
		panic(err)
	}
	return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{Value: p}}
}

func expression(operator string, operands ...*operand) *operand {
	return &operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Expression{
		Expression: &enginev1.PlanResourcesFilter_Expression{Operator: operator, Operands: operands}}}
}

func TestPlanOf(t *testing.T) {
	deep := value(true)
	for range 40 {
		deep = expression("not", deep)
	}
	conditional := func(o *operand) *enginev1.PlanResourcesOutput {
		return &enginev1.PlanResourcesOutput{
			Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL, Condition: o}}
	}
	columns := filter.Columns{"id": {SQL: "id", Kind: filter.Text}}
	for name, tt := range map[string]struct {
		plan    *enginev1.PlanResourcesOutput
		sql     string
		allowed bool
		fails   bool
	}{
		"always": {&enginev1.PlanResourcesOutput{
			Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED}}, "", true,
			false},
		"never": {&enginev1.PlanResourcesOutput{
			Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED}}, " AND 1 = 0",
			false, false},
		"unspecified": {&enginev1.PlanResourcesOutput{Filter: &enginev1.PlanResourcesFilter{}}, " AND 1 = 0", false,
			false},
		"no filter": {&enginev1.PlanResourcesOutput{}, " AND 1 = 0", false, false},
		"no output": {nil, " AND 1 = 0", false, false},
		"by id": {conditional(expression("in", variable("request.resource.id"), value([]any{"a", "b"}))),
			" AND (id IN (a, b))", true, false},

		"no condition": {plan: conditional(nil), fails: true},
		"another variable": {
			plan: conditional(expression("eq", variable("request.resource.kind"), value("a"))), fails: true},
		"an attribute's name": {
			plan: conditional(expression("eq", variable("request.resource.attr."), value("a"))), fails: true},
		"no operator": {plan: conditional(expression("", value(true))), fails: true},
		"too deep":    {plan: conditional(deep), fails: true},
		"unsupported, found by SQL": {conditional(expression("lambda", variable("request.resource.id"))), "", true,
			false},
	} {
		shown, allowed, err := planOf(tt.plan)
		if allowed != tt.allowed || (err != nil) != tt.fails || err != nil && !errors.Is(err, filter.ErrUnsupported) {
			t.Errorf("%s: allowed %v, %v", name, allowed, err)
			continue
		}
		got, err := shown.SQL(columns, func(v any) string { return v.(string) })
		if name == "unsupported, found by SQL" && !errors.Is(err, filter.ErrUnsupported) {
			t.Errorf("%s: %q %v", name, got, err)
		}
		if !tt.fails && got != tt.sql {
			t.Errorf("%s: %q, want %q", name, got, tt.sql)
		}
	}
}

var base = compiler.NewBase(compiler.BaseTable(policies.Files))

func gate() *Gate {
	return NewGate(Deps{Engine: engine.New(nil, base), Clock: clock.System{}})
}

// The whole way from a principal to a filter, for everybody there is.
func TestWhatIsShown(t *testing.T) {
	g, c := gate(), caller.Caller{Tenant: id.New()}
	op := api.Op{Action: "application.read", Filtered: true}
	for name, tt := range map[string]struct {
		held    role.Set
		allowed bool
		sql     string
	}{
		"nobody":    {role.Set{}, false, " AND 1 = 0"},
		"elsewhere": {role.SetOf("application.read"), false, " AND 1 = 0"}, // made by no role
	} {
		a, err := g.ask(t.Context(), c, op, principalOf(caller.Actor{ID: id.New()}, tt.held, false), "")
		if err != nil {
			t.Fatal(err)
		}
		sql, err := a.shown.SQL(filter.Columns{}, nil)
		if diff := cmp.Diff(tt.sql, sql); diff != "" || a.allowed != tt.allowed || err != nil {
			t.Errorf("%s: %v %v %s", name, a.allowed, err, diff)
		}
	}
}

// What waits for the database is bounded in bytes: a principal counts with all the applications
// that their roles are limited to.
func TestADecisionIsAsLargeAsItsPrincipal(t *testing.T) {
	g, c := gate(), caller.Caller{Tenant: id.New()}
	p := principalOf(caller.Actor{ID: id.New()}, role.Set{}, false)
	apps := make([]string, 100)
	for i := range apps {
		apps[i] = id.New().String()
	}
	p.Roles, p.Attr["only"] = []string{custom}, lists(map[string][]string{"application.read": apps})
	for _, filtered := range []bool{false, true} {
		a, err := g.ask(t.Context(), c, api.Op{Action: "application.read", Filtered: filtered}, p, apps[0])
		if err != nil || !a.allowed || a.decision.Size < 100*36 {
			t.Errorf("filtered %v: allowed %v, %d bytes, %v", filtered, a.allowed, a.decision.Size, err)
		}
	}
}

// BenchmarkAsk is what the policies cost a management call: the question and the answer.
// The budget of a check is 25 µs.
func BenchmarkAsk(b *testing.B) {
	g, c := gate(), caller.Caller{Tenant: id.New()}
	owner := principalOf(caller.Actor{ID: id.New()}, role.Set{}, false)
	owner.Roles = []string{role.Owner}
	own := principalOf(caller.Actor{ID: id.New()}, role.Set{}, false)
	own.Roles, own.Attr["held"] = []string{custom}, engine.Texts([]string{"user.read", "user.update", "session.read"})
	for _, tt := range []struct {
		name      string
		principal *enginev1.Principal
		op        api.Op
	}{
		{"check/owner", owner, api.Op{Action: "user.update"}},
		{"check/own role", own, api.Op{Action: "user.update"}},
		{"plan/owner", owner, api.Op{Action: "application.read", Filtered: true}},
		{"plan/own role", own, api.Op{Action: "application.read", Filtered: true}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.ask(b.Context(), c, tt.op, tt.principal, "x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
