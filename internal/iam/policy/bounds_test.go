package policy

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

// greedy are conditions that take little of what they are given where it is small, and more than there is where it is not:
// P.attr.l is a list, m another one, s a text and n how long the list is.
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
	{"", "P.attr.l.map(x, [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]).map(y, y.map(z, [z, z, z, z])).size() >= 0"},
	{"", "P.attr.l.map(x, P.attr.l.map(y, x)).size() >= 0"},
	{"", "P.attr.l.transformMap(i, x, P.attr.l.transformMap(j, y, true)).size() >= 0"},
	{"", "[" + strings.Repeat("P.attr.l, ", 99) + "P.attr.l].flatten().size() >= 0"},
	{"", "json.encode(P.attr.l.map(x, P.attr.s)).size() >= 0"},
	{"", "'" + strings.Repeat("%s", 4000) + "'.format([" + strings.Repeat("P.attr.s, ", 3999) + "P.attr.s]).size() >= 0"},
	{"", "P.attr.l.distinct().size() >= 0"},
	{"", "sets.contains(P.attr.l, P.attr.l)"},
	{"", "sets.equivalent(P.attr.l, P.attr.l)"},
	{"", "!hasIntersection(P.attr.l, P.attr.m)"},
	{"", "P.attr.l.isSubset(P.attr.l)"},
	{"", "P.attr.l.intersect(P.attr.m).size() >= 0"},
	{"", "P.attr.l.except(P.attr.m).size() >= 0"},
	{"", "!P.attr.s.matches('" + strings.Repeat("[a-c]{0,900}", 20) + "y')"},
	{"", "!P.attr.s.matches('" + strings.Repeat("[a-c]{0,900}", 20) + "' + (P.attr.n > 10.0 ? 'y' : 'z'))"},
	{"", "regex.replace(P.attr.s, 'a', P.attr.s).size() >= 0"},
	{"", "regex.extractAll(P.attr.s, '(?:a|b|c|[d-f]){0,900}y?').size() >= 0"},
	{"", "P.attr.s.pathMatch(P.attr.s)"},
	{"", "P.attr.l.all(a, P.attr.l.all(b, P.attr.l.all(c, a + b + c >= 0.0)))"},
	{doubled("P.attr.s", 24), "V.v24.size() >= 0"},
	{doubled("P.attr.l", 24), "V.v24.size() >= 0"},
	{doubled("P.attr.l.map(x, string(x))", 24), "!V.v24.exists(x, x == 'a')"},
}

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

// peakMemory returns what in the heap was the most, in bytes, since it was called.
func peakMemory() (most func() uint64) {
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

// No condition takes the process' memory or a processor for good, wherever it stands: there is no answer then, for what was not
// evaluated could have been a DENY. Small questions to the same policies are answered.
func TestGreedyConditionsHaveNoAnswer(t *testing.T) {
	large, small := principal(t, 16_000), principal(t, 2)
	for _, g := range greedy {
		ev, err := newEvaluator(tableOf(t, Files{"d.yaml": denying(g.variables, g.condition)}), DefaultSettings())
		if err != nil {
			t.Fatalf("%.80s: %v", g.condition, err)
		}
		check := func(p *enginev1.Principal) ([]*enginev1.CheckOutput, error) {
			return ev.Check(t.Context(), []*enginev1.CheckInput{{Actions: []string{"view"}, Principal: p, Resource: &enginev1.Resource{Kind: "doc", Id: "1"}}})
		}
		plan := func(p *enginev1.Principal) (*enginev1.PlanResourcesOutput, error) {
			return ev.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: p, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		}
		for name, question := range map[string]func() error{
			"check": func() error { _, err := check(large); return err },
			"plan":  func() error { _, err := plan(large); return err },
		} {
			most, began := peakMemory(), time.Now()
			err := question()
			took, peak := time.Since(began), most()
			if !errors.Is(err, ErrTooMuch) && !errors.Is(err, ErrTooSlow) && !(name == "plan" && g.variables != "" && errors.Is(err, ErrNoPlan)) {
				t.Errorf("%s of %.80s: %v", name, g.condition, err)
			}
			if took > 20*time.Second || peak > 1<<30 {
				t.Errorf("%s of %.80s took %v and %d MB", name, g.condition, took, peak>>20)
			}
			t.Logf("%-5s %-80.80s %8v %5d MB %v", name, g.variables[:min(12, len(g.variables))]+g.condition, took.Round(time.Millisecond), peak>>20, errors.Is(err, ErrTooMuch))
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
