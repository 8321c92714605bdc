package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// maxEvaluators bounds the memory of all evaluators of a process, in bytes. It holds about 10,000
// tenants with ten small policies each.
const maxEvaluators = 1 << 30

// Checked is the answer to a check.
type Checked struct {
	Revision int64                   // that answered the tenant's own kinds; 0: the base policies alone
	Outputs  []*enginev1.CheckOutput // one for each input, in order
}

// Planned is the answer to a plan.
type Planned struct {
	Revision int64
	Output   *enginev1.PlanResourcesOutput
}

// Published is the table and the settings that are in force for a tenant.
type Published struct {
	Revision int64  // 0 if nothing is published
	Table    []byte // the compiled rule table; nil if nothing is published
	Settings Settings
}

// Source returns what is in force for a tenant. The engine calls it when it has no evaluator for
// the tenant, and again after Drop.
type Source interface {
	Published(ctx context.Context, c caller.Caller) (Published, error)
}

// Base returns the evaluator of the platform's policies, which are the same for every tenant.
type Base func() (*Evaluator, error)

// ReservedKinds is the prefix of the resource kinds that only the base policies define.
const ReservedKinds = "gatehouse:"

// Reserved reports whether a resource kind belongs to the base policies, whatever a tenant
// publishes.
func Reserved(kind string) bool { return strings.HasPrefix(kind, ReservedKinds) }

// Engine answers checks and plans in this process, by the policies of the caller's tenant. It loads
// a tenant's evaluator at the tenant's first request. The principal is that of the input, not the
// caller.
//
// Inputs must have a principal and a resource. The engine keeps neither inputs nor outputs.
type Engine struct {
	source  Source
	base    Base
	tenants *cache.Cache[struct{}, inForce]
}

// New returns an engine that loads from source.
func New(source Source, base Base) *Engine {
	return newEngine(source, base, maxEvaluators)
}

func newEngine(source Source, base Base, maxBytes int64) *Engine {
	return &Engine{source: source, base: base, tenants: cache.New[struct{}](cache.Options[inForce]{
		Max: maxBytes, Cost: inForce.cost, LoadLimit: loadLimit,
	})}
}

// Drop makes the engine load a tenant from the source again; the zero id: every tenant.
func (e *Engine) Drop(tenant id.ID) { e.tenants.Drop(tenant) }

// inForce is what answers for a tenant.
type inForce struct {
	revision  int64
	settings  string     // as JSON, to notice a change
	evaluator *Evaluator // nil: the base policies alone
	keys      keySets
}

const (
	// loadLimit bounds reading and building one tenant's evaluator: a large one takes seconds.
	loadLimit = 30 * time.Second
	// overhead is what a tenant costs without an evaluator, in bytes.
	overhead = 1 << 10
)

// cost estimates the bytes that it keeps in memory.
func (f inForce) cost() int64 {
	if f.evaluator == nil {
		return overhead
	}
	return overhead + f.evaluator.cost
}

func (e *Engine) inForce(ctx context.Context, c caller.Caller) (inForce, error) {
	if t, ok := e.tenants.Lookup(c.Tenant, struct{}{}); ok {
		return t, nil
	}
	return e.tenants.Get(ctx, c.Tenant, struct{}{}, func(ctx context.Context) (inForce, error) {
		before, _ := e.tenants.Last(c.Tenant, struct{}{}) // what did not change is kept
		p, err := e.source.Published(ctx, c)
		if err != nil {
			return inForce{}, err
		}
		settings, err := json.Marshal(p.Settings)
		if err != nil {
			return inForce{}, fmt.Errorf("settings of the policy engine: %w", err)
		}
		now := inForce{revision: p.Revision, settings: string(settings)}
		if now.keys = before.keys; before.settings != now.settings {
			now.keys = newKeySets(p.Settings.KeySets, clock.System{})
		}
		switch {
		case p.Table == nil:
		case before.evaluator != nil && before.revision == now.revision && before.settings == now.settings:
			now.evaluator = before.evaluator // something else of the tenant changed
		default:
			if now.evaluator, err = Load(p.Table, p.Settings); err == nil {
				now.evaluator.takeTurns()
			}
		}
		return now, err
	})
}

// Check answers every input, in order; the answer is whole or an error. A check of reserved kinds
// alone does not load the tenant's policies, so these cannot break our own API.
func (e *Engine) Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (Checked, error) {
	var t inForce
	if slices.ContainsFunc(in, func(i *enginev1.CheckInput) bool { return !Reserved(i.GetResource().GetKind()) }) {
		var err error
		if t, err = e.inForce(ctx, c); err != nil {
			return Checked{}, err
		}
	}
	reserved := 0
	for _, input := range in {
		if t.evaluator == nil || Reserved(input.GetResource().GetKind()) {
			reserved++
		}
	}
	if reserved == 0 {
		return answer(ctx, t.revision, t.evaluator, in)
	}
	base, err := e.base()
	if err != nil {
		return Checked{}, err
	}
	if reserved == len(in) {
		return answer(ctx, t.revision, base, in)
	}
	return mixed(ctx, t, base, in)
}

func answer(ctx context.Context, revision int64, by *Evaluator, in []*enginev1.CheckInput) (Checked, error) {
	outputs, err := by.Check(ctx, in)
	if err != nil {
		return Checked{}, err
	}
	return Checked{revision, outputs}, nil
}

// mixed answers a batch of reserved kinds and the tenant's own.
func mixed(ctx context.Context, t inForce, base *Evaluator, in []*enginev1.CheckInput) (Checked, error) {
	out := Checked{t.revision, make([]*enginev1.CheckOutput, len(in))}
	for _, by := range []*Evaluator{t.evaluator, base} {
		var some []*enginev1.CheckInput
		var places []int
		for i, input := range in {
			if Reserved(input.GetResource().GetKind()) == (by == base) {
				some, places = append(some, input), append(places, i)
			}
		}
		part, err := answer(ctx, t.revision, by, some)
		if err != nil {
			return Checked{}, err
		}
		for i, place := range places {
			out.Outputs[place] = part.Outputs[i]
		}
	}
	return out, nil
}

// Plan returns the condition that a resource of a kind must meet for the principal to act on it.
func (e *Engine) Plan(ctx context.Context, c caller.Caller, in *enginev1.PlanResourcesInput) (Planned, error) {
	var t inForce
	var err error
	if !Reserved(in.GetResource().GetKind()) {
		if t, err = e.inForce(ctx, c); err != nil {
			return Planned{}, err
		}
	}
	by := t.evaluator
	if by == nil {
		if by, err = e.base(); err != nil {
			return Planned{}, err
		}
	}
	output, err := by.Plan(ctx, in)
	if err != nil {
		return Planned{}, err
	}
	return Planned{t.revision, output}, nil
}
