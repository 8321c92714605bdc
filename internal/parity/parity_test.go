package parity

import (
	"encoding/base64"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// defaultChecks are more than 5,000 resources in all worlds together.
const (
	defaultChecks = 320
	defaultPlans  = 300
)

var (
	seed   = flag.Uint64("seed", 20260821, "of everything that is generated")
	checks = flag.Int("checks", defaultChecks, "requests to check in each world, of 1 to 8 resources")
	plans  = flag.Int("plans", defaultPlans, "requests to plan in each world")
	kinds  = flag.Int("kinds", 18, "kinds of resource in each world")
)

// worlds differ in what the engine's settings make of the same kinds of policies. If they are
// faulty, some conditions are of those that Cerbos' planner gets wrong.
func worlds(faulty bool) []*world {
	settings := func(change func(s *engine.Settings)) engine.Settings {
		s := engine.DefaultSettings()
		s.Globals = map[string]any{"environment": "staging", "limit": 50.0, "regions": []any{"GB", "DE"},
			"flags": map[string]any{"beta": true}}
		s.KeySets = []engine.KeySet{{ID: keySet, Keys: publicKeys()}}
		change(&s)
		return s
	}
	return []*world{
		newWorld("plain", settings(func(*engine.Settings) {}), *seed, *kinds, faulty),
		newWorld("lenient", settings(func(s *engine.Settings) {
			s.LenientScopeSearch, s.SchemaEnforcement = true,
				engine.SchemaWarn
		}), *seed+1, *kinds, faulty), newWorld("strict", settings(func(s *engine.Settings) {
			s.StrictEvaluation, s.SchemaEnforcement = true,
				engine.SchemaReject
		}), *seed+2, *kinds, faulty),
		newWorld("defaults", settings(func(s *engine.Settings) {
			s.DefaultVersion, s.DefaultScope, s.LenientScopeSearch, s.StrictEvaluation, s.SchemaEnforcement = "v2",
				"acme", true, true, engine.SchemaWarn
		}), *seed+3, *kinds, faulty),
	}
}

// serve starts a real Cerbos with the world's settings and policies.
func (w *world) serve(t testing.TB) *cerbos.Server {
	t.Helper()
	dir := t.TempDir()
	for path, content := range w.files {
		file := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := w.settings
	var keySets []any
	for _, k := range s.KeySets {
		keySets = append(keySets, map[string]any{"id": k.ID,
			"local": map[string]any{"data": base64.StdEncoding.EncodeToString([]byte(k.Keys))}})
	}
	return cerbos.Start(t, cerbos.Config{Policies: dir, Settings: map[string]any{
		"engine": map[string]any{"defaultPolicyVersion": s.DefaultVersion, "defaultScope": s.DefaultScope,
			"lenientScopeSearch": s.LenientScopeSearch, "strictEvaluation": s.StrictEvaluation,
			"globals": s.Globals, "celErrorLogLevel": "none"},
		"schema":  map[string]any{"enforcement": s.SchemaEnforcement},
		"auxData": map[string]any{"jwt": map[string]any{"keySets": keySets}},
	}})
}

// TestGenerated puts the same generated requests to a real Cerbos and to tenants of a running
// server, over gRPC and, every third of them, over HTTP too.
func TestGenerated(t *testing.T) {
	var total tally
	server := process.Start(t, process.Config{Plain: true})
	for _, w := range worlds(false) {
		t.Run(w.name, func(t *testing.T) {
			theirs := dial(t, w.serve(t).GRPC, "")
			byGRPC, byHTTP := w.doors(t, server)
			c := comparison{w: w, theirs: theirs, byGRPC: byGRPC, byHTTP: byHTTP, total: &total}
			c.run(t)
		})
	}
	t.Log(total.String())
	t.Logf("operators of plans: %s", counted(total.used))
	t.Logf("refusals: %s", counted(total.refused))
	if pairs := total.pairs.Load(); pairs < 5000 && *checks == defaultChecks {
		t.Errorf("only %d pairs of policies and requests", pairs)
	}
	if conditional, all := total.conditional.Load(), total.plans.Load(); 4*conditional < all && *plans == defaultPlans {
		t.Errorf("only %d of %d plans have a condition", conditional, all)
	}
	if n, all := total.corrected.Load(), total.lax.Load(); 4*n > all && *plans == defaultPlans {
		t.Errorf("%d of %d plans differ from Cerbos'", n, all)
	}
	if n := len(total.used); n < 30 && *plans == defaultPlans {
		t.Errorf("the conditions of plans have only %d operators", n)
	}
}

type tally struct {
	corrected, stricter, lax,
	pairs, checks, plans, conditional, always, errors, allowed, denied, outputs, invalid, derived, unsettled,
	different atomic.Int64

	mu      sync.Mutex
	used    map[string]int // operator of conditional plans → of how many
	refused map[string]int // what was refused, and the codes of both
}

// refusal counts an error, of Cerbos or ours.
func (a *tally) refusal(what string, theirs, ours error) {
	if theirs == nil && ours == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = map[string]int{}
	}
	code := status.Code(theirs).String()
	if theirs != nil && strings.Contains(theirs.Error(), "panic caught") {
		code = "panic"
	}
	a.refused[fmt.Sprintf("%s: %s, ours %s", what, code, status.Code(ours))]++
}

// condition counts a plan with a condition and its operators.
func (a *tally) condition(o *enginev1.PlanResourcesFilter_Expression_Operand) {
	a.conditional.Add(1)
	seen := map[string]bool{}
	var walk func(o *enginev1.PlanResourcesFilter_Expression_Operand)
	walk = func(o *enginev1.PlanResourcesFilter_Expression_Operand) {
		if e := o.GetExpression(); e != nil {
			seen[e.Operator] = true
			for _, operand := range e.Operands {
				walk(operand)
			}
		}
	}
	walk(o)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used == nil {
		a.used = map[string]int{}
	}
	for operator := range seen {
		a.used[operator]++
	}
}

func counted(m map[string]int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(out, ", ")
}

func (a *tally) String() string {
	return fmt.Sprintf("%d plans corrected, and %d of strict evaluation; ", a.corrected.Load(),
		a.stricter.Load()) + a.summary()
}

func (a *tally) summary() string {
	return fmt.Sprintf("%d pairs of policies and requests: %d resources of %d checks, %d plans (%d conditional, %d "+
		"always allowed); %d actions allowed, %d denied, %d outputs, %d results with derived roles, %d with "+
		"validation errors; %d answers were errors; %d that Cerbos answers in several ways; %d differences",
		a.pairs.Load()+a.plans.Load(), a.pairs.Load(), a.checks.Load(), a.plans.Load(), a.conditional.Load(),
		a.always.Load(), a.allowed.Load(), a.denied.Load(), a.outputs.Load(), a.derived.Load(), a.invalid.Load(),
		a.errors.Load(), a.unsettled.Load(), a.different.Load())
}
