package parity

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// faults are conditions whose plan by Cerbos 0.55 shows what a check denies, with the attributes of
// resources that show it. ";" parts a condition from its variables. "any: " and "all: " begin a
// condition of several.
var faults = []struct {
	condition string
	strict    bool
	refused   bool           // it may be
	known     map[string]any // attributes that the plan's request gives
	resources []map[string]any
}{
	// The planner removes repeated operands by a hash that takes these values for one.
	{condition: `R.attr.x != null && R.attr.x != ""`, resources: of("x", nil, "", "a")},
	{condition: `R.attr.x != 1 && R.attr.x != true`, resources: of("x", 1, true, "a")},
	{condition: `R.attr.x != ["a"] && R.attr.x != "a"`, resources: of("x", "a", []any{"a"}, "b")},
	{condition: `!(R.attr.x == null || R.attr.x == false)`, resources: of("x", nil, false, true)},
	{condition: `R.attr.x != 0 && R.attr.x != ""`, resources: of("x", 0, "", "a")},
	// It takes a variable, or a value of another type, for open.
	{condition: `R.attr.x in V.v;P.attr.text`, resources: of("x", "ada", "b")},
	{condition: `R.attr.x && V.v;P.attr.list`, resources: of("x", true, false)},
	{condition: `!(R.attr.x || V.v);P.attr.list`, resources: of("x", true, false)},
	{condition: `V.v > 5;P.attr.limits[R.attr.x]`, resources: of("x", "a", "b", "c")},
	{condition: `(P.attr.yes ? P.attr.limits[R.attr.x] : 0) > 5`, resources: of("x", "a", "b", "c")},
	{condition: `!(P.attr.limits[R.attr.x] > 5)`, resources: of("x", "a", "b", "c")},
	{condition: `P.attr.groups.exists(g, R.attr.x in g.members)`, resources: of("x", "ada", "b")},
	{condition: `P.attr.groups.exists(g, R.attr.x && g.members)`, resources: of("x", true, false)},
	{condition: `P.attr.text.all(t, t == R.attr.x)`, resources: of("x", "ada", "b")},
	{condition: `R.attr.x == 1 || P.attr.yes.all(t, t == R.attr.x)`, resources: of("x", 1, 2)},
	{condition: `!P.attr.yes.exists(t, t == R.attr.x)`, resources: of("x", true, 2)},
	{condition: `!V.v;R.attr.x in P.attr.none`, resources: append(of("x", "a"), map[string]any{})},
	{condition: `V.v == false;R.attr.x in P.attr.none`, resources: append(of("x", "a"), map[string]any{})},
	{condition: `R.attr.x ? has(V.v.missing) : false;P.attr`, resources: of("x", true, false)},
	{condition: `R.attr.x in R.attr.y`, known: map[string]any{"y": "ada"}, resources: of("x", "ada", "b")},
	{condition: `R.attr.x && R.attr.y`, known: map[string]any{"y": []any{"a"}}, resources: of("x", true, false)},
	// No program can be made of a part that CEL would not reach.
	{condition: `P.attr.yes ? R.attr.x == 1 : int("q") == 1`, refused: true, resources: of("x", 1, 2)},
	{condition: `R.attr.x == 1 || int("q") == 1`, refused: true, resources: of("x", 1, 2)},
	{condition: `P.attr.yes || R.attr.x == int("q")`, refused: true, resources: of("x", 1, 2)},
	{condition: `has(R.attr.x) || bool("q")`, refused: true, resources: append(of("x", 1), map[string]any{})},
	{condition: `!(P.attr.no && int("q") == 1)`, refused: true, resources: of("x", 1)},
	// Elements of elements need not be JSON. Those that are compared with each other have one kind.
	{condition: `[[1], [R.attr.x]][0][0] + 1.0 == 2.0`, refused: true, resources: of("x", 1)},
	{condition: `[{"n": 1}, {"n": R.attr.x}][0].n + 1.0 == 2.0`, refused: true, resources: of("x", 1)},
	{condition: `[[1], [R.attr.x]].exists(e, e[0] + 1.0 == 2.0)`, refused: true, resources: of("x", 3)},
	{condition: `[[[1]], [[R.attr.x]]].map(e, e[0])[0][0] + 1.0 == 2.0`, refused: true, resources: of("x", 3)},
	{condition: `dyn({"a": [1]})[R.attr.x][0] + 1.0 == 2.0`, refused: true, resources: of("x", "a")},
	{condition: `[R.attr.x, 1].sort()[0] == 1`, refused: true, resources: of("x", 1, 2)},
	// A field may have a name that stands for another.
	{condition: `R.attr.l[0].R == 1`, resources: []map[string]any{{"l": []any{map[string]any{"R": 5,
		"request": map[string]any{"resource": 1}}}}, {"l": []any{map[string]any{"R": 1}}}}},
	{condition: `R.attr.l.exists(e, e.P == 1)`, resources: []map[string]any{{"l": []any{map[string]any{"P": 5,
		"request": map[string]any{"principal": 1}}}}, {"l": []any{map[string]any{"P": 1}}}}},
	// What a filter cannot tell is neither true nor false.
	{condition: `R.attr.x != timestamp("2020-01-01T00:00:00Z")`, resources: of("x", "a", 1)},
	{condition: `!(R.attr.x in [timestamp("2020-01-01T00:00:00Z")])`, resources: of("x", "a", 1)},
	{condition: `P.attr.list[R.attr.x] == "a"`, resources: of("x", 0, 1, "a")},
	{condition: `[{"a": 1, "b": R.attr.x}][0].a + 1 == 2`, refused: true, resources: of("x", 0)},
	{condition: `R.attr.x.filter(e, e > timestamp("2020-01-01T00:00:00Z")).size() == 0`, resources: of("x", []any{})},
	{condition: `{1: "a"}.filter(k, k + 1 != R.attr.x).size() > 0`, resources: of("x", 0, 2)},
	{condition: `has(V.v);R.attr.x > 1`, resources: append(of("x", 0, 2), map[string]any{})},
	{condition: `!has(V.v);R.attr.x != timestamp("2020-01-01T00:00:00Z")`, resources: of("x", "a")},
	{condition: `{R.attr.x: 9, R.attr.y: 1}[R.attr.z] > 5`, refused: true,
		resources: []map[string]any{{"x": "a", "y": "a", "z": "a"}}},
	{condition: `R.attr.x.exists(x, x.a == 1 && R.attr.y.exists(x, has(x.a)))`, resources: []map[string]any{
		{"x": []any{map[string]any{"a": 1}}, "y": []any{nil}}}},
	{condition: `!(P.attr.limits.exists(k, v, k == R.attr.x && v > 5))`, resources: of("x", "a", "b", "c")},
	{condition: `!("x" in R.attr.x.map(e, e.a == 1, e.b))`, refused: true,
		resources: of("x", []any{map[string]any{"a": 1, "b": "x"}})},
	{condition: `R.attr.x.map(e, e == "a", R.attr.y).exists(q, q == "a")`, refused: true, resources: []map[string]any{
		{"x": []any{"a"}, "y": "b"}}},
	{condition: `{"a": R.attr.x}.exists(k, v, v == "a")`, refused: true, resources: of("x", "a", "b")},
	{condition: `{"a": R.attr.x}.exists(k, k == "a")`, refused: true,
		resources: append(of("x", "a"), map[string]any{})},
	{condition: `"a" in {"a": R.attr.x}`, resources: append(of("x", "a"), map[string]any{})},
	{condition: `R.attr.x in {R.attr.y: 1}`,
		resources: []map[string]any{{"x": map[string]any{}, "y": map[string]any{}}}},
	{condition: `has(R.attr)`, resources: append(of("x", 1), map[string]any{})},
	{condition: `P.attr.none.filter(e, e == R.attr.x).size() == 0`, resources: of("x", "a")},
	{condition: `P.attr.list.exists(string, type(R.attr.x) != string)`, refused: true, resources: of("x", "a", 1)},
	{condition: `bytes(R.attr.x) != b"abc"`, refused: true, resources: of("x", "abc", "b")},
	{condition: `R.attr.x < 1.0 / 0.0`, refused: true, resources: of("x", 1, "b")},
	{condition: `P.attr.limits.exists(k, v, v == R.attr.x) || R.attr.y == 1`, resources: append(of("x", "b", 10),
		map[string]any{"y": 1})},
	{condition: `R.attr.x.exists(f, P.attr.limits.exists(k, v, f == k && v > 5))`, resources: of("x", []any{"a"},
		[]any{"b"}, []any{})},
	{condition: `(R.attr.x ? dyn(1) : R.attr.y) + 1 == 2`, resources: []map[string]any{{"x": true, "y": 1},
		{"x": false, "y": 1}}},
	{condition: `cel.bind(v, has(R.attr.x), !v)`, refused: true, resources: append(of("x", 1), map[string]any{})},
	{condition: `cel.bind(o, P.id, R.attr.x != o)`, refused: true, resources: of("x", "ada", "b")},
	{condition: `cel.bind(v, R.attr.x, v == 1)`, refused: true, resources: of("x", 1, 2)},
	{condition: `P.attr.?text.optMap(t, t != R.attr.x).orValue(false)`, refused: true, resources: of("x", "ada", "b")},
	{condition: `R.attr.x.sortBy(e, e)[0] == "a"`, refused: true, resources: of("x", []any{"a"}, []any{"b"})},
	{condition: `optional.ofNonZeroValue(R.attr.x).orValue(P.attr.other) == "x"`, refused: true, resources: of("x",
		"x", "")},
	{condition: `R.attr[R.attr.y] == "a"`, known: map[string]any{"": "a"}, resources: []map[string]any{
		{"y": "x", "x": "b"}, {"y": "x", "x": "a"}}},
	{condition: `{1: 5, 1u: 9}[R.attr.x] > 6`, refused: true, resources: of("x", 1, 2)},
	// Half of a conjunction is a condition, and no value.
	{condition: `(R.attr.x && P.attr.yes) != R.attr.y`, resources: []map[string]any{{"x": nil, "y": true},
		{"x": true, "y": false}}},
	{condition: `(R.attr.x || P.attr.no) == R.attr.y`, resources: []map[string]any{{"x": "a", "y": "a"}}},
	{condition: `!((R.attr.x && P.attr.yes) == true)`, resources: of("x", nil, false)},
	{condition: `(R.attr.x && R.attr.x) == R.attr.y`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `!!R.attr.x == R.attr.y`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `(has(R.attr.y) && R.attr.x) != R.attr.y`, resources: []map[string]any{{"x": nil, "y": true}}},
	{condition: `has(V.v);R.attr.x || P.attr.no`, resources: of("x", 0, true)},
	{condition: `V.v == R.attr.y;R.attr.x || P.attr.no`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `!(V.v in [1, "a"]);R.attr.x && P.attr.yes`, resources: of("x", "b", true)},
	{condition: `(R.attr.x || P.attr.no) in R.attr.y`, resources: []map[string]any{{"x": "a", "y": []any{"a"}}}},
	{condition: `[R.attr.x && P.attr.yes] == [R.attr.y]`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `{"a": R.attr.x && P.attr.yes}.a == R.attr.y`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `has({"a": R.attr.x && P.attr.yes}.a)`, resources: of("x", 0, true)},
	{condition: `size([R.attr.x && P.attr.yes]) == 1`, resources: of("x", nil, true)},
	{condition: `string(R.attr.x && P.attr.yes) == "a"`, refused: true, resources: of("x", "a", true)},
	{condition: `type(R.attr.x && P.attr.yes) == string`, refused: true, resources: of("x", "a", true)},
	{condition: `R.attr.x.map(e, e && P.attr.yes) == R.attr.x`, resources: of("x", []any{"a"}, []any{true})},
	{condition: `R.attr.x.exists(e, (e && P.attr.yes) == R.attr.y)`, resources: []map[string]any{
		{"x": []any{nil}, "y": nil}}},
	{condition: `(R.attr.y == 1 ? (R.attr.x && P.attr.yes) : false) == R.attr.x`, resources: []map[string]any{
		{"x": nil, "y": 1}}},
	{condition: `P.attr.list.all(t, R.attr.x) == R.attr.y`, resources: []map[string]any{{"x": nil, "y": nil}}},
	{condition: `P.attr.list.exists(t, R.attr.x) != R.attr.y`, strict: true,
		resources: []map[string]any{{"x": nil, "y": true}}},
	{condition: `(R.attr.x && P.attr.yes) != R.attr.y`, strict: true, resources: []map[string]any{
		{"x": nil, "y": true}}},
	// A filter has one kind of number, also as a key, and in no order.
	{condition: `{1: 5, 1u: R.attr.y}[R.attr.x] > 6`, refused: true, resources: []map[string]any{{"x": 1, "y": 10}}},
	{condition: `V.v > 6;{1: 5, 1u: R.attr.y}[R.attr.x]`, refused: true,
		resources: []map[string]any{{"x": 1, "y": 10}}},
	{condition: `{1: R.attr.y, 1u: 9}[R.attr.x] > 6`, refused: true, resources: []map[string]any{{"x": 1, "y": nil}}},
	{condition: `{R.attr.x: 1, 1: 2}[R.attr.y] == 1`, refused: true, resources: []map[string]any{{"x": 1, "y": 1}}},
	{condition: `{1: R.attr.x, 1u: R.attr.y}[1] == 1`, refused: true, known: map[string]any{"x": 1},
		resources: []map[string]any{{"y": nil}}},
	{condition: `(R.attr.x ? 3 : 2) / 2 != 1`, refused: true, resources: of("x", true)},
	{condition: `lists.range(15).exists(i, i / 2 == R.attr.x)`, resources: of("x", 1.5, 1)},
	{condition: `(R.attr.x ? 4000000000 : 1) * 4000000000 > 0`, refused: true, resources: of("x", true)},
	{condition: `(R.attr.x ? 1u : 2u) - 2u < 5u`, refused: true, resources: of("x", true)},
	{condition: `int(R.attr.x) + 2000 > 0`, refused: true, resources: of("x", 9.223372036854774e18, 1)},
	{condition: `size(R.attr.x) / 2 != 1`, refused: true, resources: of("x", "abc", "a")},
	{condition: `string(R.attr.x ? 10000000 : 2) == "1e+07"`, refused: true, resources: of("x", true)},
	{condition: `type(R.attr.x) != type(P.attr.n)`, refused: true, resources: of("x", 0)},
	{condition: `!P.attr.nums.exists(e, type(e) == type(R.attr.x))`, refused: true, resources: of("x", 0)},
	{condition: `type(R.attr.x) != type(R.attr.y)`, refused: true, known: map[string]any{"x": 1},
		resources: of("y", 0)},
	{condition: `R.attr.x == 9007199254740993`, refused: true, resources: of("x", 9007199254740992)},
	{condition: `!P.attr.limits.transformList(k, v, v > R.attr.x)[0]`, refused: true, resources: of("x", 3)},
	// It leaves out the versions of the policies.
	{condition: `P.policyVersion == ""`, resources: of("x", 1)},
	{condition: `!has(P.policyVersion)`, resources: of("x", 1)},
	// Under strict evaluation a key that the map lacks denies.
	{condition: `R.attr.y || P.attr.limits[R.attr.x] == 10`, strict: true, resources: []map[string]any{
		{"y": true, "x": "c"}, {"y": false, "x": "a"}}},
	{condition: `R.attr.y || P.attr.limits[R.attr.x] > 10`, strict: true, resources: []map[string]any{
		{"y": true, "x": "c"}, {"y": true}, {"y": false, "x": "a"}}},
	{condition: `R.attr.x in P.attr.none`, strict: true, resources: append(of("x", "a"), map[string]any{})},
	{condition: `!(R.attr.x in P.attr.none)`, strict: true, resources: append(of("x", "a"), map[string]any{})},
	{condition: `P.attr.limits[R.attr.x] > 10`, strict: true, resources: of("x", "a", "c")},
	{condition: `!("z" in P.attr.lists[R.attr.x])`, strict: true, resources: of("x", "a", "b", "c")},
	// A value that is not a boolean denies as well.
	{condition: `any: {of: [{expr: '!R.attr.x'}, {expr: 'R.attr.x == "a"'}]}`, strict: true,
		resources: of("x", "a", false)},
	{condition: `any: {of: [{expr: 'R.attr.x && P.attr.yes'}, {expr: 'R.attr.x == "a" && R.attr.y == 1'}]}`,
		strict: true, resources: []map[string]any{{"x": "a", "y": 1}}},
	{condition: `any: {of: [{expr: 'R.attr.x && P.attr.yes'}, {expr: 'R.attr.x.y == 1'}]}`, strict: true,
		resources: of("x", map[string]any{"y": 1})},
	{condition: `all: {of: [{expr: '!R.attr.x'}, {none: {of: [{expr: 'R.attr.x != 5'}]}}]}`, strict: true,
		resources: of("x", 5, false)},
}

func of(name string, values ...any) []map[string]any {
	var out []map[string]any
	for _, v := range values {
		out = append(out, map[string]any{name: v})
	}
	return out
}

func structOf(t *testing.T, of map[string]any) map[string]*structpb.Value {
	t.Helper()
	s, err := structpb.NewStruct(of)
	if err != nil {
		t.Fatal(err)
	}
	return s.GetFields()
}

// No filter of these conditions shows what a check denies, nor do the filters of a DENY by them.
func TestFaultsOfCerbosPlans(t *testing.T) {
	principal := &enginev1.Principal{Id: "ada", Roles: []string{"user"}, PolicyVersion: "default",
		Attr: structOf(t, map[string]any{"text": "ada", "list": []any{"a"}, "none": []any{}, "yes": true, "no": false,
			"n": 5, "nums": []any{1, 5},
			"limits": map[string]any{"a": 10, "b": 1}, "lists": map[string]any{"a": []any{"z"}, "b": []any{"y"}},
			"groups": []any{map[string]any{"members": "ada"}}})}
	forms := []string{"EFFECT_ALLOW, roles: [user], condition: {match: {%[2]s}}}",
		"EFFECT_ALLOW, roles: [user], condition: {match: {none: {of: [{%[2]s}]}}}}",
		"EFFECT_ALLOW, roles: [user]}\n    - {actions: [%[1]s], effect: EFFECT_DENY, roles: [user], condition: " +
			"{match: {%[2]s}}}",
		"EFFECT_ALLOW, roles: [user], condition: {match: {%[2]s}}}\n    - {actions: [%[1]s], effect: EFFECT_ALLOW, " +
			"roles: [user], condition: {match: {expr: R.attr.x != null}}}"}
	variables, rules := "", ""
	for i, f := range faults {
		condition, variable, _ := strings.Cut(f.condition, ";")
		if variable != "" {
			variables += fmt.Sprintf("v%d: %q, ", i, variable)
		}
		condition = strings.ReplaceAll(condition, "V.v", fmt.Sprintf("V.v%d", i))
		if !strings.HasPrefix(condition, "any: ") && !strings.HasPrefix(condition, "all: ") {
			condition = fmt.Sprintf("expr: %q", condition)
		}
		for j, form := range forms {
			rules += fmt.Sprintf("    - {actions: [%[1]s], effect: "+form+"\n", fmt.Sprintf("f%d_%d", i, j), condition)
		}
	}
	policy := "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: doc\n  version: default\n  variables: " +
		"{local: {" + variables + "}}\n  rules:\n" + rules
	compiled, err := compiler.Compile(t.Context(), compiler.Files{"doc.yaml": []byte(policy)}, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	evaluators := map[bool]*engine.Evaluator{} // by strict evaluation
	for _, strict := range []bool{false, true} {
		settings := engine.DefaultSettings()
		settings.StrictEvaluation = strict
		if evaluators[strict], err = engine.Load(compiled.Table, settings); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range faults {
		e := evaluators[f.strict]
		for j := range forms {
			action := fmt.Sprintf("f%d_%d", i, j)
			plan, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{RequestId: "r", Actions: []string{action},
				Principal: principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc",
					Attr: structOf(t, f.known)}})
			if err != nil {
				if !f.refused {
					t.Errorf("%s: %v", f.condition, err)
				}
				continue
			}
			filter, err := newFilter(plan.GetFilter())
			if err != nil {
				t.Fatal(err)
			}
			for _, attributes := range f.resources {
				resource := &enginev1.Resource{Kind: "doc", Id: "1", Attr: structOf(t, attributes)}
				maps.Copy(resource.Attr, structOf(t, f.known))
				out, err := e.Check(t.Context(), []*enginev1.CheckInput{{RequestId: "r", Actions: []string{action},
					Principal: principal, Resource: resource}})
				if err != nil {
					t.Fatal(err)
				}
				allowed := out[0].GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
				if filter.shows(principal, resource) && !allowed {
					t.Errorf("%s, form %d: the filter %s shows %v", f.condition, j, plan.GetFilterDebug(), attributes)
				}
			}
		}
	}
}
