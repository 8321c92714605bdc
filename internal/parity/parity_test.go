package parity

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// defaultChecks are more than 5,000 resources in all worlds together.
const defaultChecks = 320

var (
	seed   = flag.Uint64("seed", 20260821, "of everything that is generated")
	checks = flag.Int("checks", defaultChecks, "requests to check in each world, of 1 to 8 resources")
	plans  = flag.Int("plans", 300, "requests to plan in each world")
	kinds  = flag.Int("kinds", 18, "kinds of resource in each world")
)

// worlds differ in what the engine's settings make of the same kinds of policies.
func worlds() []*world {
	settings := func(change func(s *policy.Settings)) policy.Settings {
		s := policy.DefaultSettings()
		s.Globals = map[string]any{"environment": "staging", "limit": 50.0, "regions": []any{"GB", "DE"}, "flags": map[string]any{"beta": true}}
		s.KeySets = []policy.KeySet{{ID: keySet, Keys: publicKeys()}}
		change(&s)
		return s
	}
	return []*world{
		newWorld("plain", settings(func(*policy.Settings) {}), *seed, *kinds),
		newWorld("lenient", settings(func(s *policy.Settings) { s.LenientScopeSearch, s.SchemaEnforcement = true, policy.SchemaWarn }), *seed+1, *kinds),
		newWorld("strict", settings(func(s *policy.Settings) { s.StrictEvaluation, s.SchemaEnforcement = true, policy.SchemaReject }), *seed+2, *kinds),
		newWorld("defaults", settings(func(s *policy.Settings) {
			s.DefaultVersion, s.DefaultScope, s.LenientScopeSearch, s.StrictEvaluation, s.SchemaEnforcement = "v2", "acme", true, true, policy.SchemaWarn
		}), *seed+3, *kinds),
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
		keySets = append(keySets, map[string]any{"id": k.ID, "local": map[string]any{"data": base64.StdEncoding.EncodeToString([]byte(k.Keys))}})
	}
	return cerbos.Start(t, cerbos.Config{Policies: dir, Settings: map[string]any{
		"engine": map[string]any{"defaultPolicyVersion": s.DefaultVersion, "defaultScope": s.DefaultScope, "lenientScopeSearch": s.LenientScopeSearch, "strictEvaluation": s.StrictEvaluation,
			"globals": s.Globals, "celErrorLogLevel": "none"},
		"schema":  map[string]any{"enforcement": s.SchemaEnforcement},
		"auxData": map[string]any{"jwt": map[string]any{"keySets": keySets}},
	}})
}

// TestGenerated puts the same generated requests to a real Cerbos and to tenants of a running server, over gRPC and,
// every third of them, over HTTP too.
func TestGenerated(t *testing.T) {
	var total tally
	server := process.Start(t, process.Config{})
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			theirs := dial(t, w.serve(t).GRPC, "")
			byGRPC, byHTTP := w.doors(t, server)
			compare(t, w, theirs, byGRPC, byHTTP, &total)
		})
	}
	t.Log(total.String())
	if pairs := total.pairs.Load(); pairs < 5000 && *checks == defaultChecks {
		t.Errorf("only %d pairs of policies and requests", pairs)
	}
}

type tally struct {
	pairs, checks, plans, conditional, always, errors, allowed, denied, outputs, invalid, derived, different atomic.Int64
}

func (a *tally) String() string {
	return fmt.Sprintf("%d pairs of policies and requests: %d resources of %d checks, %d plans (%d conditional, %d always allowed); %d actions allowed, %d denied, %d outputs, %d results with derived roles, %d with validation errors; %d answers were errors; %d differences",
		a.pairs.Load()+a.plans.Load(), a.pairs.Load(), a.checks.Load(), a.plans.Load(), a.conditional.Load(), a.always.Load(), a.allowed.Load(), a.denied.Load(), a.outputs.Load(), a.derived.Load(), a.invalid.Load(), a.errors.Load(), a.different.Load())
}

// compare asks both and reports the first differences of a world.
func compare(t *testing.T, w *world, theirs pdp, byGRPC, byHTTP door, total *tally) {
	q := newInquirer(w, *seed)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	var reported atomic.Int64
	report := func(kind string, in any, difference string) {
		total.different.Add(1)
		if reported.Add(1) <= 5 {
			t.Errorf("%s differs\nasked:  %v\n%s", kind, in, difference)
		} else {
			t.Fail()
		}
	}
	ways := func(i int) []door {
		if i%3 == 0 {
			return []door{byGRPC, byHTTP}
		}
		return []door{byGRPC}
	}
	for i := range *checks {
		in := q.check()
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			a, aErr := theirs.check(t.Context(), in)
			total.checks.Add(1)
			total.pairs.Add(int64(len(in.Resources)))
			if aErr != nil {
				total.errors.Add(1)
			}
			for _, r := range a.GetResults() {
				total.outputs.Add(int64(len(r.Outputs)))
				total.invalid.Add(int64(min(1, len(r.ValidationErrors))))
				total.derived.Add(int64(min(1, len(r.GetMeta().GetEffectiveDerivedRoles()))))
				for _, effect := range r.Actions {
					if effect == 1 {
						total.allowed.Add(1)
					} else {
						total.denied.Add(1)
					}
				}
			}
			for _, ours := range ways(i) {
				b, bErr := ours.check(t.Context(), in)
				if d := differs(a, aErr, b, bErr); d != "" {
					report(ours.name+", check", shown(in), d)
				}
			}
		})
	}
	for i := range *plans {
		in := q.plan()
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			a, aErr := theirs.plan(t.Context(), in)
			total.plans.Add(1)
			if aErr != nil {
				total.errors.Add(1)
			}
			switch a.GetFilter().GetKind() {
			case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
				total.conditional.Add(1)
			case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
				total.always.Add(1)
			}
			for _, ours := range ways(i) {
				b, bErr := ours.plan(t.Context(), in)
				if d := differs(a, aErr, b, bErr); d != "" {
					report(ours.name+", plan", shown(in), d)
				}
			}
		})
	}
	wait.Wait()
}
