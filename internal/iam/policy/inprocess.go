package policy

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	auditv1 "github.com/cerbos/cerbos/api/genpb/cerbos/audit/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// InProcess is the engine inside this process: evaluators over compiled rule tables, made
// when a tenant first asks.
type InProcess struct {
	source  Source
	base    func() (*Evaluator, error)
	tenants *cache.Cache[inForce]
}

// inForce is what answers for a tenant.
type inForce struct {
	revision int64
	own      *Evaluator // nil: the base policies alone
}

// NewInProcess returns the engine. base is a Cerbos directory: the platform's policies, the
// same for every tenant, compiled when they are first needed.
func NewInProcess(source Source, base fs.FS) *InProcess {
	return &InProcess{
		source:  source,
		tenants: cache.New[inForce](10000),
		base: sync.OnceValues(func() (*Evaluator, error) {
			files, err := readFiles(base)
			if err != nil {
				return nil, fmt.Errorf("base policies: %w", err)
			}
			table, err := compileTable(context.Background(), files)
			if err != nil {
				return nil, fmt.Errorf("base policies: %w", err)
			}
			return newEvaluator(table, DefaultSettings())
		}),
	}
}

// Drop makes the engine ask the source anew for a tenant; the zero id: for all of them.
func (e *InProcess) Drop(tenant id.ID) { e.tenants.Drop(tenant) }

// Draft returns an evaluator of a compiled table that is not published.
func (e *InProcess) Draft(table []byte, s Settings) (*Evaluator, error) {
	return newEvaluator(table, s)
}

func (e *InProcess) inForce(ctx context.Context, c caller.Caller) (inForce, error) {
	return e.tenants.Get(ctx, c.Tenant, "", func(ctx context.Context) (inForce, error) {
		p, err := e.source.Published(ctx, c)
		if err != nil || p.Table == nil {
			return inForce{}, err
		}
		own, err := newEvaluator(p.Table, p.Settings)
		return inForce{p.Revision, own}, err
	})
}

// Check implements Engine.
func (e *InProcess) Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (Checked, error) {
	t, err := e.inForce(ctx, c)
	if err != nil {
		return Checked{}, err
	}
	out := Checked{Revision: t.revision, Outputs: make([]*enginev1.CheckOutput, len(in)), Trail: &auditv1.AuditTrail{}}
	var reserved, own []int
	for i, input := range in {
		if t.own == nil || Reserved(input.GetResource().GetKind()) {
			reserved = append(reserved, i)
		} else {
			own = append(own, i)
		}
	}
	if len(own) > 0 {
		if err := out.add(ctx, t.own, in, own); err != nil {
			return Checked{}, err
		}
	}
	if len(reserved) > 0 {
		base, err := e.base()
		if err != nil {
			return Checked{}, err
		}
		if err := out.add(ctx, base, in, reserved); err != nil {
			return Checked{}, err
		}
	}
	return out, nil
}

// add answers the inputs at the given places.
func (out *Checked) add(ctx context.Context, ev *Evaluator, in []*enginev1.CheckInput, places []int) error {
	some := in
	if len(places) < len(in) {
		some = make([]*enginev1.CheckInput, len(places))
		for i, place := range places {
			some[i] = in[place]
		}
	}
	outputs, trail, err := ev.Check(ctx, some)
	if err != nil {
		return err
	}
	for i, place := range places {
		out.Outputs[place] = outputs[i]
	}
	if out.Trail.EffectivePolicies == nil {
		out.Trail.EffectivePolicies = map[string]*policyv1.SourceAttributes{}
	}
	maps.Copy(out.Trail.EffectivePolicies, trail.GetEffectivePolicies())
	return nil
}

// Plan implements Engine.
func (e *InProcess) Plan(ctx context.Context, c caller.Caller, in *enginev1.PlanResourcesInput) (Planned, error) {
	t, err := e.inForce(ctx, c)
	if err != nil {
		return Planned{}, err
	}
	ev := t.own
	if ev == nil || Reserved(in.GetResource().GetKind()) {
		if ev, err = e.base(); err != nil {
			return Planned{}, err
		}
	}
	output, trail, err := ev.Plan(ctx, in)
	return Planned{t.revision, output, trail}, err
}
