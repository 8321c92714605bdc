package policy

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// MaxEvaluators bounds the memory of all tenants' evaluators of a process, in bytes: about
// 10,000 tenants with ten small policies each.
const MaxEvaluators = 1 << 30

// Base is the platform's policies, the same for every tenant.
type Base func() (*Evaluator, error)

// NewBase returns a Cerbos directory as a Base. It is compiled when it is first needed, and once for all engines that share it.
func NewBase(directory fs.FS) Base {
	return sync.OnceValues(func() (*Evaluator, error) {
		files, err := ReadFiles(directory)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		table, err := compileTable(context.Background(), files)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		return newEvaluator(table, DefaultSettings())
	})
}

// InProcess is the engine inside this process: evaluators over compiled rule tables, made
// when a tenant first asks.
type InProcess struct {
	source  Source
	base    Base
	tenants *evaluators
}

// NewInProcess returns the engine.
func NewInProcess(source Source, base Base) *InProcess {
	return &InProcess{source: source, tenants: newEvaluators(MaxEvaluators), base: base}
}

// Drop makes the engine ask the source anew for a tenant; the zero id: for all of them.
func (e *InProcess) Drop(tenant id.ID) { e.tenants.drop(tenant) }

// Draft returns an evaluator of a compiled table that is not published.
func (e *InProcess) Draft(table []byte, s Settings) (*Evaluator, error) {
	return newEvaluator(table, s)
}

func (e *InProcess) inForce(ctx context.Context, c caller.Caller) (inForce, error) {
	return e.tenants.get(ctx, c.Tenant, func(ctx context.Context, before inForce) (inForce, error) {
		p, err := e.source.Published(ctx, c)
		if err != nil {
			return inForce{}, err
		}
		now := inForce{revision: p.Revision, settings: p.Settings.text()}
		if now.keys = before.keys; before.settings != now.settings {
			now.keys = newKeySets(p.Settings.KeySets, clock.System{})
		}
		switch {
		case p.Table == nil:
		case before.own != nil && before.revision == now.revision && before.settings == now.settings:
			now.own = before.own // something else of the tenant changed
		default:
			if now.own, err = newEvaluator(p.Table, p.Settings); err == nil {
				now.own.takeTurns()
			}
		}
		return now, err
	})
}

// Check implements Engine. What a tenant has published is not even looked at where only
// reserved kinds are asked for: it cannot break our own API.
func (e *InProcess) Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (Checked, error) {
	var t inForce
	if slices.ContainsFunc(in, func(i *enginev1.CheckInput) bool { return !Reserved(i.GetResource().GetKind()) }) {
		var err error
		if t, err = e.inForce(ctx, c); err != nil {
			return Checked{}, err
		}
	}
	reserved := 0
	for _, input := range in {
		if t.own == nil || Reserved(input.GetResource().GetKind()) {
			reserved++
		}
	}
	if reserved == 0 {
		return answer(ctx, t.revision, t.own, in)
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

// mixed answers a batch that has both reserved kinds and the tenant's own.
func mixed(ctx context.Context, t inForce, base *Evaluator, in []*enginev1.CheckInput) (Checked, error) {
	out := Checked{t.revision, make([]*enginev1.CheckOutput, len(in))}
	for _, by := range []*Evaluator{t.own, base} {
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

// Plan implements Engine.
func (e *InProcess) Plan(ctx context.Context, c caller.Caller, in *enginev1.PlanResourcesInput) (Planned, error) {
	var t inForce
	var err error
	if !Reserved(in.GetResource().GetKind()) {
		if t, err = e.inForce(ctx, c); err != nil {
			return Planned{}, err
		}
	}
	by := t.own
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
