package engine

import (
	"errors"
	"fmt"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/race"
)

// doubled are variables of which each is the one before twice.
func doubled(first string, times int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v0: '%s'", first)
	for i := range times {
		fmt.Fprintf(&b, ", v%d: V.v%d + V.v%d", i+1, i, i)
	}
	return b.String()
}

// endless are variables of which each takes for ever.
func endless(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("v%d: 'P.attr.l.all(a, P.attr.l.all(b, P.attr.l.all(c, a + b + c + %d.0 >= 0.0)))'", i, i)
		if i > 0 {
			all[i] = strings.Replace(all[i], ": '", fmt.Sprintf(": 'V.v%d && ", i-1), 1)
		}
	}
	return strings.Join(all, ", ")
}

// denying is a policy that allows view, but for a DENY under a condition.
func denying(variables, condition string) []byte {
	return fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  variables: {local: {%s}}
  rules:
    - {actions: [view], effect: EFFECT_DENY, roles: [user], condition: {match: {expr: %q}}}
    - {actions: [view], effect: EFFECT_ALLOW, roles: [user]}
`, variables, condition)
}

// greedy are conditions that are cheap for small attributes and exceed the budget for large ones.
// P.attr.l and P.attr.m are lists, P.attr.s is a text, and P.attr.n is the length of the lists.
var greedy = []struct{ variables, condition string }{
	{"", "lists.range(int(P.attr.n) * 1000).size() >= 0"},
	{"", "P.attr.s.replace('a', P.attr.s).size() >= 0"},
	{"", "P.attr.s.replace('', P.attr.s, 100000).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.s).join(',').size() >= 0"},
	{"", "P.attr.l.map(x, 'a').join(P.attr.s).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.s + string(x)).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.s.upperAscii()).size() >= 0"},
	{"", "P.attr.l.map(x, bytes(P.attr.s)).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.s.substring(1)).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.s.split('')).size() >= 0"},
	{"", "P.attr.l.map(x, [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, " +
		"x, x, x]).map(y, y.map(z, [z, z, z, z])).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.l.map(y, x)).size() >= 0"},
	{"", "P.attr.l.transformMap(i, x, P.attr.l.transformMap(j, y, true)).size() >= 0"},
	{"", "[" + strings.Repeat("P.attr.l, ", 99) + "P.attr.l].flatten().size() >= 0"},
	{"", "json.encode(P.attr.l.map(x, P.attr.s)).size() >= 0"},
	{"", "'" + strings.Repeat("%s", 4000) + "'.format([" + strings.Repeat("P.attr.s, ", 3999) + "P.attr.s]).size() " +
		">= 0"},
	{"", "P.attr.l.distinct().size() >= 0"},
	{"", "sets.contains(P.attr.l, P.attr.l)"},
	{"", "sets.equivalent(P.attr.l, P.attr.l)"},
	{"", "!hasIntersection(P.attr.l, P.attr.m)"},
	{"", "P.attr.l.isSubset(P.attr.l)"},
	{"", "P.attr.l.intersect(P.attr.m).size() >= 0"},
	{"", "P.attr.l.except(P.attr.m).size() >= 0"},
	{"", "!P.attr.s.matches('" + strings.Repeat("[a-c]{0,900}", 20) + "y')"},
	{"", "!P.attr.s.matches('" + strings.Repeat("[a-c]{0,900}", 20) + "' + (P.attr.n > 10.0 ? 'y' : 'z'))"},
	{"", "P.attr.s.indexOf(P.attr.s.substring(100) + 'b') < 0"},
	{"", "P.attr.s.lastIndexOf('b' + P.attr.s.substring(100)) < 0"},
	{"", "regex.replace(P.attr.s, 'a', P.attr.s).size() >= 0"},
	{"", "regex.extractAll(P.attr.s, '(?:a|b|c|[d-f]){0,900}y?').size() >= 0"},
	{"", "P.attr.s.pathMatch(P.attr.s)"},
	{"", "P.attr.l.all(a, P.attr.l.all(b, P.attr.l.all(c, a + b + c >= 0.0)))"},
	{"t: P.attr.s + 'b', u: P.attr.s + 'c'", "!P.attr.l.filter(x, x < 3000.0).map(x, V.t).hasIntersection(" +
		"P.attr.l.filter(x, x < 3000.0).map(x, V.u))"},
	{longTexts, "!P.attr.l.filter(x, x < 1000.0).map(x, V.t).hasIntersection(P.attr.l.filter(x, x < 1000.0)" +
		".map(x, V.u))"},
	{longTexts, "P.attr.l.map(x, int(x) % 2 == 0 ? V.t : V.u).sort().size() >= 0"},
	{longTexts, "P.attr.l.map(x, [V.t, V.t, V.t, V.t]) == P.attr.l.map(x, [V.v, V.v, V.v, V.v])"},
	{longTexts, "hierarchy(V.l + V.l + V.l + V.l).overlaps(hierarchy(V.m + V.m + V.m + V.m))"},
	{longTexts, "hierarchy(V.l + V.l + V.l + V.l) == hierarchy(V.m + V.m + V.m + V.m)"},
	{longTexts, "!'x'.pathMatchAnyOf(V.l)"},
	{longTexts, "!''.pathMatchAnyOf(V.l)"},
	{longTexts, "!spiffeMatchOneOf(P.attr.l.map(x, V.id)).matchesID(spiffeID('spiffe://a/b'))"},
	{"", "(P.attr.l" + strings.Repeat(" + P.attr.l", 60) + ").all(x, x >= 0.0)"},
	{endless(40), "V.v39"},
	{doubled("P.attr.s", 24), "V.v24.size() >= 0"},
	{doubled("P.attr.l", 24), "V.v24.size() >= 0"},
	{doubled("P.attr.l.map(x, string(x))", 24), "!V.v24.exists(x, x == 'a')"},
}

// longTexts are a few long texts, and lists that refer to them often.
const longTexts = "t: P.attr.s + 'b', u: P.attr.s + 'c', v: P.attr.s + 'b', id: '\"spiffe://a/\" + P.attr.s', " +
	"l: 'P.attr.l.map(x, V.t)', m: 'P.attr.l.map(x, V.v)'"

// principal has attributes of n elements and 64 times as many bytes.
func principal(t *testing.T, n int) *enginev1.Principal {
	t.Helper()
	l, m := make([]any, n), make([]any, n)
	for i := range l {
		l[i], m[i] = float64(i), float64(-i-1)
	}
	attr, err := structpb.NewStruct(map[string]any{"l": l, "m": m, "s": strings.Repeat("a", 64*n), "n": float64(n)})
	if err != nil {
		t.Fatal(err)
	}
	return &enginev1.Principal{Id: "ada", Roles: []string{"user"}, Attr: attr.GetFields()}
}

// peakMemory returns a function that returns the largest heap since the call, in bytes.
func peakMemory() func() uint64 {
	var peak uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(heap)
			peak = max(peak, heap[0].Value.Uint64())
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return func() uint64 { close(stop); wg.Wait(); return peak }
}

// No condition takes the process' memory or a processor for good, wherever it stands: there is no
// answer then, for what was not evaluated could have been a DENY. Small questions to the same
// policies are answered.
func TestGreedyConditionsHaveNoAnswer(t *testing.T) {
	large, small := principal(t, 16_000), principal(t, 2)
	for i, g := range greedy {
		if race.Detector && i%12 != 0 {
			continue
		}
		ev, err := Load(tableOf(t, Files{"d.yaml": denying(g.variables, g.condition)}), DefaultSettings())
		if err != nil {
			t.Fatalf("%.80s: %v", g.condition, err)
		}
		check := func(p *enginev1.Principal) ([]*enginev1.CheckOutput, error) {
			return ev.Check(t.Context(), []*enginev1.CheckInput{{Actions: []string{"view"}, Principal: p,
				Resource: &enginev1.Resource{Kind: "doc", Id: "1"}}})
		}
		plan := func(p *enginev1.Principal) (*enginev1.PlanResourcesOutput, error) {
			return ev.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: p,
				Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		}
		for name, question := range map[string]func() error{
			"check": func() error { _, err := check(large); return err },
			"plan":  func() error { _, err := plan(large); return err },
		} {
			most := peakMemory()
			err := question() // one that is not stopped takes hours
			peak := most()
			if !errors.Is(err, errTooMuch) && !errors.Is(err, errTooSlow) && !(name == "plan" && g.variables != "" &&
				errors.Is(err, ErrNoPlan)) {
				t.Errorf("%s of %.80s: %v", name, g.condition, err)
			}
			if peak > 1<<30 {
				t.Errorf("%s of %.80s took %d MB", name, g.condition, peak>>20)
			}
		}
		if strings.Contains(g.variables, "v24") {
			continue // too much of anything but nothing
		}
		out, err := check(small)
		if err != nil || out[0].Actions["view"].GetEffect() != effectv1.Effect_EFFECT_DENY {
			t.Errorf("a small check of %.80s: %v %v", g.condition, out, err)
		}
		if p, err := plan(small); err != nil || p.Filter.GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED {
			t.Errorf("a small plan of %.80s: %v %v", g.condition, p, err)
		}
	}
}

// A message copies lists to any depth, and so does an output. Neither is made of a list that has
// itself many times.
func TestNoListIsCopiedWithoutEnd(t *testing.T) {
	lists := "v0: '[1]'"
	for i := range 24 {
		lists += fmt.Sprintf(", v%d: '[V.v%d, V.v%d, V.v%d, V.v%d]'", i+1, i, i, i, i)
	}
	for name, rule := range map[string]string{
		"message": `condition: {match: {expr: "size(google.protobuf.ListValue{values: V.v24}) > 0"}}`,
		"output":  `output: {when: {ruleActivated: V.v24}}`,
	} {
		policy := fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: doc\n  version: "+
			"default\n  variables: {local: {%s}}\n  rules: [{actions: [view], effect: EFFECT_ALLOW, roles: [user], "+
			"%s}]\n", lists, rule)
		e, err := Load(tableOf(t, Files{"doc.yaml": policy}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Check(t.Context(), []*enginev1.CheckInput{{Actions: []string{"view"},
			Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"}},
			Resource:  &enginev1.Resource{Kind: "doc", Id: "1"}}})
		if err == nil && out[0].GetActions()["view"].GetEffect() == effectv1.Effect_EFFECT_ALLOW {
			t.Errorf("%s: %v", name, out)
		}
	}
}

// What the variables of one resource took is missing to the next one of the batch.
func TestVariablesShareABatchsTime(t *testing.T) {
	ev, err := Load(tableOf(t, Files{"d.yaml": denying("slow: 'P.attr.l.all(a, P.attr.l.all(b, a >= 0.0 && b >= "+
		"0.0))'", "!V.slow")}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	in := make([]*enginev1.CheckInput, 50)
	for _, size := range []int{2000, 2} { // a second or so for each, and nothing
		p := principal(t, size)
		for i := range in {
			in[i] = &enginev1.CheckInput{Actions: []string{"view"}, Principal: p,
				Resource: &enginev1.Resource{Kind: "doc", Id: fmt.Sprint(i)}}
		}
		out, err := ev.Check(t.Context(), in)
		if slow := size > 2; slow != errors.Is(err, errTooSlow) || !slow && (len(out) != 50 ||
			out[49].Actions["view"].GetEffect() != effectv1.Effect_EFFECT_ALLOW) {
			t.Errorf("of %d elements: %v, %v", size, out, err)
		}
		if in[0].Principal != p || in[49].Principal != p {
			t.Error("the inputs, which are recorded, have other principals now")
		}
	}
}

// The evaluation stands among the globals where variables find it, and no condition, variable or
// output can see it there.
func TestGlobalsDoNotShowTheEvaluation(t *testing.T) {
	policy := `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  variables: {local: {names: 'dyn(G).map(k, k)', count: 'dyn(globals).size()'}}
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: [user]
      condition: {match: {all: {of: [{expr: 'V.names == ["open"]'}, {expr: V.count == 1}, {expr: 'dyn(G).all(k, k == "open")'}, {expr: G.open == true}]}}}
      output: {when: {ruleActivated: 'dyn(globals)'}}
`
	s := DefaultSettings()
	s.Globals = map[string]any{"open": true}
	ev, err := Load(tableOf(t, Files{"d.yaml": []byte(policy)}), s)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ev.Check(t.Context(), []*enginev1.CheckInput{asking("doc", nil, "view")})
	if err != nil || out[0].Actions["view"].GetEffect() != effectv1.Effect_EFFECT_ALLOW {
		t.Fatal(out, err)
	}
	if got := out[0].GetOutputs()[0].GetVal().GetStructValue().AsMap(); len(got) != 1 || got["open"] != true {
		t.Errorf("the globals are %v", got)
	}
}

// A bounded call answers as cel-go's own does: with a value, an error, or, in a plan, with what is
// left of it.
func TestBoundedCallsAnswerAsOthers(t *testing.T) {
	holds := []string{
		"1 + 2 == 3", "'a' + 'b' == 'ab'", "b'a' + b'b' == b'ab'", "[1] + [2, 3] == [1, 2, 3]", "duration('1s') + " +
			"duration('2s') == duration('3s')",
		"[1, 2, 3].map(x, x * 2) == [2, 4, 6]", "[3, 4].transformMap(i, x, x)[1] == 4", "[3, 4].transformMap(i, x, " +
			"[x, x])[0] == [3, 3]",
		"lists.range(3) == [0, 1, 2]", "lists.range(0) == []", "[[1], [2, 3]].flatten() == [1, 2, 3]", "[[1, " +
			"[2]]].flatten(2) == [1, 2]",
		"[1, 2, 1].distinct() == [1, 2]", "[3, 1].sort() == [1, 3]", "['bb', 'a'].sortBy(x, x.size()) == ['a', " +
			"'bb']", "[1, 2, 3].slice(1, 2) == [2]",
		"[1, 2].reverse() == [2, 1]", "'ab'.reverse() == 'ba'", "sets.contains([1, 2], [1])", "sets.equivalent([1, " +
			"2], [2, 1])", "sets.intersects([1], [1, 2])",
		"[1].isSubset([1, 2])", "is_subset([1], [1, 2])", "hasIntersection([1], [1, 2])", "has_intersection([1], " +
			"[1, 2])", "intersect([1, 2], [2, 3]) == [2]",
		"[1, 2].except([2]) == [1]", "'a-b-c'.replace('-', '+') == 'a+b+c'", "'a-b-c'.replace('-', '+', 1) == " +
			"'a+b-c'", "'ab'.replace('', '-') == '-a-b-'",
		"['a', 'b'].join() == 'ab'", "['a', 'b'].join(', ') == 'a, b'", "joinPath(['a', 'b']) == " +
			"'a/b'", "'a,b'.split(',') == ['a', 'b']", "'a,b,c'.split(',', 2) == ['a', 'b,c']",
		"hierarchy('a.b').size() == 2", "hierarchy('a:b', ':').size() == 2", "'%s and %d'.format(['x', 3]) == 'x " +
			"and 3'", "json.encode({'a': [1]}) == '{\"a\":[1]}'",
		"'abc'.charAt(1) == 'b'", "'abc'.substring(1) == 'bc'", "'abca'.indexOf('a', 1) == " +
			"3", "'abca'.lastIndexOf('a', 2) == 0", "'abc'.substring(1, 2) == 'b'", "'Ab'.lowerAscii() == " +
			"'ab'", "'Ab'.upperAscii() == 'AB'", "' a '.trim() == 'a'",
		`strings.quote('a') == '"a"'`, "base64.encode(b'a') == 'YQ=='", "base64.decode('YQ==') == " +
			"b'a'", "string(1) == '1'", "bytes('a') == b'a'",
		"'abc'.matches('b')", "!'abc'.matches('^b')", "P.attr.s.matches(P.attr.s)", "matches('abc', " +
			"'b.')", "regex.extract('a1', '[0-9]').value() == '1'",
		"regex.replace('a1b2', '[0-9]', '-') == 'a-b-'", "regex.replace('a1b2', '[0-9]', '-', 1) == " +
			"'a-b2'", "regex.extractAll('a1b2', '[0-9]') == ['1', '2']",
		// many small ones
		"lists.range(5000).all(i, [1, 2, 3].map(x, x + i).size() == 3)", "lists.range(5000).map(i, " +
			"[i].transformMap(j, x, x)).size() == 5000",
		"lists.range(500).all(i, hasIntersection(lists.range(200), [i % 200]))",
		"'a/b'.pathMatch('a/*')", "'a/b'.pathMatchAnyOf(['c', 'a/*'])",
		"spiffeMatchOneOf(['spiffe://a/b']).matchesID(spiffeID('spiffe://a/b'))", "hierarchy(['a', 'b']) == " +
			"hierarchy('a.b')",
	}
	fails := map[string]string{
		"dyn(1) + dyn('a') == dyn(2)": "no such overload", "dyn(P.attr.n).matches('a')": "no such " +
			"overload", "P.attr.none + 'a' == 'b'": "no such key", "'a' + P.attr.none == 'b'": "no such key",
		"P.attr.none.matches('a')": "no such key", "'a'.matches('(' + P.attr.s)": "missing " +
			"closing", "'a'.charAt(5) == 'b'": "index out of range", "[P.attr.none].distinct() == []": "no such key",
		"P.attr.l.except(P.attr.none) == []": "no such key", "base64.decode('*') == b''": "illegal base64",
	}
	covered := map[string]bool{}
	for name := range callCosts {
		for _, x := range holds {
			if strings.Contains(x, strings.TrimPrefix(strings.TrimPrefix(name, "cel.@"), "@")+"(") {
				covered[name] = true
			}
		}
	}
	for _, by := range []string{"_+_", "cel.@mapInsert", "@sortByAssociatedKeys"} { // said in other words
		covered[by] = true
	}
	for name := range callCosts {
		if !covered[name] {
			t.Errorf("%s is not tried", name)
		}
	}
	p := principal(t, 2)
	request := &enginev1.Request{Principal: &enginev1.Request_Principal{Id: p.Id, Roles: p.Roles, Attr: p.Attr}}
	eval := func(x string) (any, error) {
		ast, issues := Environment().Compile(x)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", x, issues.Err())
		}
		prg, err := planProgram(ast)
		if err != nil {
			return nil, err
		}
		out, _, err := prg.ContextEval(begin(t.Context()), map[string]any{"request": request, "P": request.Principal})
		if err != nil {
			return nil, err
		}
		return out.Value(), nil
	}
	for _, x := range holds {
		if got, err := eval(x); got != true || err != nil {
			t.Errorf("%s: %v %v", x, got, err)
		}
	}
	for x, want := range fails {
		if got, err := eval(x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %s", x, got, err, want)
		}
	}
	ev, err := Load(tableOf(t, Files{"d.yaml": denying("", "R.attr.a + P.attr.s == 'x' || "+
		"R.attr.a.matches(P.attr.s) || R.attr.l.except(P.attr.l) == [] || R.attr.a.replace(P.attr.s, 'y') == "+
		"'z'")}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := ev.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: p,
		Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}, IncludeMeta: true})
	if err != nil || plan.Filter.GetKind() != enginev1.PlanResourcesFilter_KIND_CONDITIONAL {
		t.Fatal(plan, err)
	}
	for _, left := range []string{"add", "matches", "except", "replace", "request.resource.attr.a"} {
		if !strings.Contains(plan.GetFilterDebug(), left) && !strings.Contains(fmt.Sprint(plan.Filter), left) {
			t.Errorf("%s is not left of the plan: %s", left, plan.GetFilterDebug())
		}
	}
}

// harmless are the functions of Cerbos' CEL that need no cost. Each returns a number, a time, a
// boolean or a part of its arguments, in time linear in their size.
const harmless = `ancestorOf commonAncestors descendentOf immediateChildOf immediateParentOf overlaps siblingOf
	!_ -_ @in @not_strictly_false _!=_ _%_ _&&_ _*_ _-_ _/_ _<=_ _<_ _==_ _>=_ _>_ _?._ _?_:_ _[?_] _[_] __not_strictly_false__ _in_ _||_
	basePath bool cel.@block cidr contains containsCIDR containsIP dirPath double duration dyn endsWith extPath family first
	getDate getDayOfMonth getDayOfWeek getDayOfYear getFullYear getHours getMilliseconds getMinutes getMonth getSeconds hasValue id in
	inIPAddrRange int ip ip.isCanonical isCIDR isGlobalUnicast isIP isLinkLocalMulticast isLinkLocalUnicast isLoopback isMask isMemberOf isUnspecified last
	masked matchesID math.@max math.@min math.abs math.bitAnd math.bitNot math.bitOr math.bitShiftLeft math.bitShiftRight math.bitXor math.ceil math.floor math.isFinite
	math.isInf math.isNaN math.round math.sign math.sqrt math.trunc name now optional.none optional.of optional.ofNonZeroValue optional.unwrap or orValue path
	pathHasPrefix prefixLength relPath size spiffeID spiffeMatchAny spiffeMatchExact spiffeMatchTrustDomain spiffeTrustDomain startsWith timeSince
	timestamp trustDomain type uint unwrapOpt value volumeName`

// A function that a later Cerbos adds or renames needs a decision: a cost, or harmless.
func TestEveryFunctionIsLookedAt(t *testing.T) {
	known := map[string]bool{}
	for _, name := range strings.Fields(harmless) {
		known[name] = true
	}
	if _, err := newBounds(Environment()); err != nil {
		t.Error(err)
	}
	for name := range callCosts {
		if known[name] {
			t.Errorf("%s is harmless and has a cost", name)
		}
		known[name] = true
	}
	for name := range Environment().Functions() {
		if !known[name] {
			t.Errorf("%s is new: does it need a cost?", name)
		}
	}
}

// BenchmarkCheck measures a check of one action under a condition.
func BenchmarkCheck(b *testing.B) {
	for name, condition := range map[string]string{
		"exists": "R.attr.l.exists(x, x == 99.0)", "filter": "R.attr.l.filter(x, x > 50.0).size() == " +
			"49", "map": "R.attr.l.map(x, x + 1.0).size() == 100", "plus": "R.attr.a + 'x' == 'ax'",
		"compare": "R.attr.a == 'a'", "global": "G.open == true", "variable": "V.open", "costly variable": "V.plus " +
			"== 'ax'",
	} {
		b.Run(name, func(b *testing.B) {
			list := make([]any, 100)
			for i := range list {
				list[i] = float64(i)
			}
			policy := string(allowing("doc", condition))
			if strings.Contains(name, "variable") {
				policy = strings.Replace(policy, "  rules:", "  variables: {local: {open: 'R.attr.a == \"a\"', "+
					"plus: 'R.attr.a + \"x\"'}}\n  rules:", 1)
			}
			settings := DefaultSettings()
			settings.Globals = map[string]any{"open": true, "environment": "staging"}
			ev, err := Load(tableOf(b, Files{"d.yaml": []byte(policy)}), settings)
			if err != nil {
				b.Fatal(err)
			}
			in := []*enginev1.CheckInput{asking("doc", map[string]any{"l": list, "a": "a"}, "view")}
			b.ReportAllocs()
			for b.Loop() {
				if out, err := ev.Check(b.Context(), in); err != nil ||
					out[0].Actions["view"].GetEffect() != effectv1.Effect_EFFECT_ALLOW {
					b.Fatal(out, err)
				}
			}
		})
	}
}
