package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// shelf is a source in memory.
type shelf struct {
	mu    sync.Mutex
	of    map[id.ID]Published
	asked atomic.Int64
}

func (s *shelf) Published(_ context.Context, c caller.Caller) (Published, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.of[c.Tenant]
	if !ok {
		return Published{Settings: DefaultSettings()}, nil
	}
	return p, nil
}

func (s *shelf) put(tenant id.ID, p Published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[tenant] = p
}

func as(tenant id.ID) caller.Caller { return caller.Caller{Tenant: tenant} }

func allowing(kind, condition string) []byte {
	return fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: %q
  version: default
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: [user]
      condition:
        match:
          expr: %q
`, kind, condition)
}

func asking(kind string, attr map[string]any, actions ...string) *enginev1.CheckInput {
	s, err := structpb.NewStruct(attr)
	if err != nil {
		panic(err)
	}
	return &enginev1.CheckInput{
		RequestId: "r", Actions: actions,
		Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"},
			Attr: map[string]*structpb.Value{"level": structpb.NewNumberValue(5)}},
		Resource: &enginev1.Resource{Kind: kind, Id: "1", Attr: s.GetFields()},
	}
}

func effect(t *testing.T, e *Engine, c caller.Caller, in *enginev1.CheckInput) effectv1.Effect {
	t.Helper()
	out, err := e.Check(t.Context(), c, []*enginev1.CheckInput{in})
	if err != nil {
		t.Fatal(err)
	}
	return out.Outputs[0].GetActions()[in.GetActions()[0]].GetEffect()
}

// base allows view of gatehouse:thing to everybody.
var base = baseOf(Files{"thing.yaml": allowing("gatehouse:thing", "true")})

// everything is a bundle with what policies can have.
var everything = readFiles("testdata/everything")

var questions = []*enginev1.CheckInput{
	asking("doc", map[string]any{"owner": "ada", "tags": []any{"x"}}, "view", "edit", "delete"),
	asking("doc", map[string]any{"owner": "bob", "tags": []any{}, "trash": true}, "view", "edit", "delete"),
	asking("doc", map[string]any{"owner": 7}, "view"),
	asking("nothing", nil, "view"),
	func() *enginev1.CheckInput {
		in := asking("doc", map[string]any{"secret": true, "tags": []any{"x"}}, "view")
		in.Resource.Scope = "acme"
		return in
	}(),
}

func planBy(t *testing.T, by ruletable.Evaluator) *enginev1.PlanResourcesOutput {
	t.Helper()
	out, _, err := by.Plan(t.Context(), &enginev1.PlanResourcesInput{RequestId: "p", Actions: []string{"view", "edit"},
		Principal: questions[0].Principal, IncludeMeta: true,
		Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A table that we load answers as one that Cerbos loads, to the last field.
func TestLoadedAsCerbosLoads(t *testing.T) {
	table := tableOf(t, everything)
	for _, strict := range []bool{false, true} {
		for _, schemas := range []string{SchemaNone, SchemaWarn, SchemaReject} {
			s := DefaultSettings()
			s.StrictEvaluation, s.SchemaEnforcement, s.Globals = strict, schemas, map[string]any{"open": true}
			conf, err := s.cerbos()
			if err != nil {
				t.Fatal(err)
			}
			rt, err := ruleTableOf(t.Context(), everything)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := ruletable.NewRuleTableFromProto(rt, conf)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := Load(table, s)
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := theirs.Check(t.Context(), questions)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours.Check(t.Context(), questions)
			if err != nil {
				t.Fatal(err)
			}
			unordered := protocmp.SortRepeated(func(a, b string) bool { return a < b })
			if d := cmp.Diff(want, got, protocmp.Transform(), unordered, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("strict %v, schemas %s: check differs (-Cerbos +ours):\n%s", strict, schemas, d)
			}
			// The plan of the table: what filter makes of it is in plan_test.go.
			if d := cmp.Diff(planBy(t, theirs), planBy(t, ours.table), protocmp.Transform()); d != "" {
				t.Errorf("plan differs:\n%s", d)
			}
		}
	}
	ev, err := Load(table, DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	out, err := ev.Check(t.Context(), questions[:1])
	if err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]effectv1.Effect{"view": effectv1.Effect_EFFECT_ALLOW,
		"edit": effectv1.Effect_EFFECT_ALLOW, "delete": effectv1.Effect_EFFECT_DENY} {
		if got := out[0].GetActions()[action].GetEffect(); got != want {
			t.Errorf("%s: %v, want %v", action, got, want)
		}
	}
}

func TestReservedKindsAreTheBases(t *testing.T) {
	tenant, without := id.New(), id.New()
	source := &shelf{of: map[id.ID]Published{}}
	// A table that got past Compile, as if the rule had been newer than the revision.
	smuggled, err := compileTable(t.Context(), Files{"a.yaml": allowing("gatehouse:thing", "false"),
		"b.yaml": allowing("doc", "true")})
	if err != nil {
		t.Fatal(err)
	}
	source.put(tenant, Published{Revision: 3, Table: smuggled, Settings: DefaultSettings()})
	e := New(source, base)
	out, err := e.Check(t.Context(), as(tenant), []*enginev1.CheckInput{
		asking("doc", nil, "view"), asking("gatehouse:thing", nil, "view"), asking("gatehouse:other", nil,
			"view"), asking("doc", nil, "view"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []effectv1.Effect{effectv1.Effect_EFFECT_ALLOW, effectv1.Effect_EFFECT_ALLOW,
		effectv1.Effect_EFFECT_DENY, effectv1.Effect_EFFECT_ALLOW} {
		if got := out.Outputs[i].GetActions()["view"].GetEffect(); got != want {
			t.Errorf("input %d: %v, want %v", i, got, want)
		}
	}
	if out.Revision != 3 {
		t.Errorf("revision %d", out.Revision)
	}
	if effect(t, e, as(without), asking("gatehouse:thing", nil, "view")) != effectv1.Effect_EFFECT_ALLOW || effect(t,
		e, as(without), asking("doc", nil, "view")) != effectv1.Effect_EFFECT_DENY {
		t.Error("a tenant without policies is not answered by the base alone")
	}
	plan, err := e.Plan(t.Context(), as(tenant), &enginev1.PlanResourcesInput{Actions: []string{"view"},
		Principal: asking("x",
			nil).Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "gatehouse:thing"}})
	if err != nil || plan.Output.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED {
		t.Errorf("plan of a reserved kind: %v %v", plan.Output, err)
	}
}

func TestAPublishCountsAfterDrop(t *testing.T) {
	a, b := id.New(), id.New()
	source := &shelf{of: map[id.ID]Published{}}
	yes, no := tableOf(t, Files{"d.yaml": allowing("doc", "true")}), tableOf(t, Files{"d.yaml": allowing("doc",
		"false")})
	source.put(a, Published{Revision: 1, Table: yes, Settings: DefaultSettings()})
	source.put(b, Published{Revision: 1, Table: yes, Settings: DefaultSettings()})
	e := New(source, base)
	in := asking("doc", nil, "view")
	for range 3 {
		if effect(t, e, as(a), in) != effectv1.Effect_EFFECT_ALLOW || effect(t, e, as(b),
			in) != effectv1.Effect_EFFECT_ALLOW {
			t.Fatal("not allowed")
		}
	}
	if n := source.asked.Load(); n != 2 {
		t.Errorf("the source was asked %d times, want once for each tenant", n)
	}
	source.put(a, Published{Revision: 2, Table: no, Settings: DefaultSettings()})
	e.Drop(a)
	if effect(t, e, as(a), in) != effectv1.Effect_EFFECT_DENY || effect(t, e, as(b),
		in) != effectv1.Effect_EFFECT_ALLOW {
		t.Error("the new revision does not count, or another tenant's changed")
	}
	before := ownOf(e, a)
	e.Drop(a)
	effect(t, e, as(a), in)
	if ownOf(e, a) != before {
		t.Error("an evaluator whose revision and settings are the same was made anew")
	}
	source.put(a, Published{Revision: 2, Table: no, Settings: Settings{DefaultVersion: "other",
		SchemaEnforcement: SchemaNone}})
	e.Drop(id.ID{})
	effect(t, e, as(a), in)
	if ownOf(e, a) == before {
		t.Error("changed settings do not count")
	}
}

func TestEvaluatorsStayWithinTheirMemory(t *testing.T) {
	table := tableOf(t, Files{"d.yaml": allowing("doc", "true")})
	source := &shelf{of: map[id.ID]Published{}}
	e := New(source, base)
	var tenants []id.ID
	for range 10 {
		tenant := id.New()
		tenants = append(tenants, tenant)
		source.put(tenant, Published{Revision: 1, Table: table, Settings: DefaultSettings()})
	}
	in := asking("doc", nil, "view")
	effect(t, e, as(tenants[0]), in)
	loaded, _ := e.tenants.Last(tenants[0], struct{}{})
	e = newEngine(source, base, 3*loaded.cost())
	for _, tenant := range tenants {
		effect(t, e, as(tenant), in)
		effect(t, e, as(tenants[0]), in) // asks all the time
	}
	kept := 0
	for _, tenant := range tenants {
		if ownOf(e, tenant) != nil {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("%d tenants kept in the memory of three", kept)
	}
	if ownOf(e, tenants[0]) == nil {
		t.Error("the tenant that asks all the time was forgotten")
	}
}

// ownOf returns the evaluator that is kept for a tenant, or nil.
func ownOf(e *Engine, tenant id.ID) *Evaluator {
	last, _ := e.tenants.Last(tenant, struct{}{})
	return last.evaluator
}

// A deny whose condition runs for ever must not become an allow.
func TestAConditionThatRunsForEverHasNoAnswer(t *testing.T) {
	policy := strings.Replace(string(allowing("doc", "true")), "rules:", `rules:
    - {actions: [view], effect: EFFECT_DENY, roles: [user], condition: {match: {expr: 'R.attr.l.all(a, R.attr.l.all(b, R.attr.l.all(c, a + b + c >= 0.0)))'}}}`, 1)
	inVariable := strings.Replace(strings.Replace(policy, "'R.attr.l.all(a, R.attr.l.all(b, R.attr.l.all(c, a + b "+
		"+ c >= 0.0)))'", "V.long", 1), "  rules:",
		"  variables: {local: {long: 'R.attr.l.all(a, R.attr.l.all(b, R.attr.l.all(c, a + b + c >= 0.0)))'}}\n  "+
			"rules:", 1)
	list := make([]any, 10000)
	for i := range list {
		list[i] = float64(i)
	}
	for _, p := range []string{policy, inVariable} {
		ev, err := Load(tableOf(t, Files{"d.yaml": []byte(p)}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		out, err := ev.Check(t.Context(), []*enginev1.CheckInput{asking("doc", map[string]any{"l": list}, "view")})
		if !errors.Is(err, errTooSlow) {
			t.Errorf("%v %v, want no answer", out, err)
		}
		if _, err := ev.Check(t.Context(), []*enginev1.CheckInput{asking("doc", map[string]any{"l": list[:3]},
			"view")}); err != nil {
			t.Error(err)
		}
	}
}

// A tenant whose policies take long holds no more than its turns, and what waits for them is
// bounded; another tenant and the reserved kinds do not wait for it.
func TestATenantHoldsOnlyItsTurns(t *testing.T) {
	slow, quick := id.New(), id.New()
	table := tableOf(t, Files{"d.yaml": allowing("doc", "true")})
	s := &shelf{of: map[id.ID]Published{}}
	for _, tenant := range []id.ID{slow, quick} {
		s.put(tenant, Published{Revision: 1, Table: table, Settings: DefaultSettings()})
	}
	e := New(s, baseOf(Files{"own.yaml": allowing("gatehouse:doc", "true")}))
	ask := func(ctx context.Context, tenant id.ID, kind string) error {
		_, err := e.Check(ctx, as(tenant), []*enginev1.CheckInput{asking(kind, nil, "view")})
		return err
	}
	if err := ask(t.Context(), slow, "doc"); err != nil {
		t.Fatal(err)
	}
	in, err := e.inForce(t.Context(), as(slow))
	if err != nil {
		t.Fatal(err)
	}
	if cap(in.evaluator.turns) == 0 {
		t.Fatal("any number of a tenant's questions is answered at once")
	}
	for range cap(in.evaluator.turns) { // as questions that take long would
		in.evaluator.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() { answers <- ask(ctx, slow, "doc") }()
	}
	testkit.Eventually(t, "as many wait as may", func() bool { return in.evaluator.waiting.Load() >= maxWaiting })
	impatient, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if err := ask(impatient, slow, "doc"); !errors.Is(err, errBusy) {
		t.Errorf("one too many: %v", err)
	}
	_, err = e.Plan(impatient, as(slow), &enginev1.PlanResourcesInput{Actions: []string{"view"},
		Principal: &enginev1.Principal{Id: "u",
			Roles: []string{"user"}}, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
	if !errors.Is(err, errBusy) {
		t.Errorf("a plan too many: %v", err)
	}
	for tenant, kind := range map[id.ID]string{quick: "doc", slow: "gatehouse:doc"} {
		if err := ask(ctx, tenant, kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	<-in.evaluator.turns // one has been answered
	if err := <-answers; err != nil {
		t.Errorf("whose turn it is: %v", err)
	}
	cancel() // those who wait go away, or have been answered
	for range maxWaiting - 1 {
		if err := <-answers; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if n := in.evaluator.waiting.Load(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}
