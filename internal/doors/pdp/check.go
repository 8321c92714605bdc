package pdp

import (
	"context"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// noPolicy is Cerbos' name for the policy of an effect that no rule decided.
const noPolicy = "NO_MATCH"

// check decides inputs with the principals of the request, and records the decision. It resolves
// the principals. From then on the inputs belong to the recorder.
func (d *Door) check(
	ctx context.Context, a *requester, kind decision.Kind, inputs []*enginev1.CheckInput, size int,
) (id.ID, []*enginev1.CheckOutput, error) {
	start := d.Clock.Now()
	made := newDecision(a, kind, inputs, size, start)
	denials, err := d.resolve(ctx, a, inputs)
	if err != nil {
		return id.ID{}, nil, err
	}
	if denials.reason == "" {
		return d.checkResolved(ctx, a, made, start)
	}
	made.Reason, made.Outputs = denials.reason, denials.answers
	if err := d.checkRest(ctx, a, &made); err != nil {
		return id.ID{}, nil, err
	}
	d.record(a, made, start)
	return made.ID, made.Outputs, nil
}

// newDecision returns the record of a decision that is not yet made. size is that of the request's
// body in bytes.
func newDecision(
	a *requester, kind decision.Kind, inputs []*enginev1.CheckInput, size int, start time.Time,
) decision.Decision {
	return decision.Decision{ID: id.At(start), Kind: kind, Mode: a.mode, Size: size, Inputs: inputs}
}

// checkResolved decides inputs whose principals are resolved, and records the decision.
func (d *Door) checkResolved(
	ctx context.Context, a *requester, made decision.Decision, start time.Time,
) (id.ID, []*enginev1.CheckOutput, error) {
	checked, err := d.Engine.Check(ctx, a.caller, made.Inputs)
	if err != nil {
		return id.ID{}, nil, err
	}
	made.Revision, made.Outputs = checked.Revision, checked.Outputs
	d.record(a, made, start)
	return made.ID, checked.Outputs, nil
}

// denials are the answers of inputs whose principals are denied everything.
type denials struct {
	reason  string                  // of the first; "" if there are none
	answers []*enginev1.CheckOutput // one for each input, nil if it is not denied
}

// resolve replaces the principal of every input by the one that counts.
func (d *Door) resolve(ctx context.Context, a *requester, inputs []*enginev1.CheckInput) (denials, error) {
	var found denials
	var asserted, resolved *enginev1.Principal
	var outcome principal.Outcome
	for i, in := range inputs {
		if i == 0 || in.Principal != asserted {
			asserted = in.Principal
			var err error
			if resolved, outcome, err = d.Principals.Resolve(ctx, a.caller, a.about(asserted)); err != nil {
				return denials{}, err
			}
		}
		in.Principal = resolved
		if outcome.Denied() {
			if found.reason == "" {
				found = denials{reasonOf(outcome), make([]*enginev1.CheckOutput, len(inputs))}
			}
			found.answers[i] = denied(in)
		}
	}
	return found, nil
}

// checkRest decides the inputs that have no output yet.
func (d *Door) checkRest(ctx context.Context, a *requester, made *decision.Decision) error {
	var rest []*enginev1.CheckInput
	for i, in := range made.Inputs {
		if made.Outputs[i] == nil {
			rest = append(rest, in)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	checked, err := d.Engine.Check(ctx, a.caller, rest)
	if err != nil {
		return err
	}
	made.Revision = checked.Revision
	next := 0
	for i := range made.Outputs {
		if made.Outputs[i] == nil {
			made.Outputs[i] = checked.Outputs[next]
			next++
		}
	}
	return nil
}

// reasonOf returns the code in the record of a principal that is denied everything.
func reasonOf(o principal.Outcome) string { return "principal." + string(o) }

// denied returns the answer that denies every action of in.
func denied(in *enginev1.CheckInput) *enginev1.CheckOutput {
	actions := make(map[string]*enginev1.CheckOutput_ActionEffect, len(in.Actions))
	for _, action := range in.Actions {
		actions[action] = &enginev1.CheckOutput_ActionEffect{Effect: effectv1.Effect_EFFECT_DENY, Policy: noPolicy}
	}
	return &enginev1.CheckOutput{RequestId: in.RequestId, ResourceId: in.Resource.Id, Actions: actions}
}

// plan answers under which condition the principal may act on resources of a kind. It records the
// decision.
func (d *Door) plan(
	ctx context.Context, a *requester, in *enginev1.PlanResourcesInput, size int,
) (id.ID, *enginev1.PlanResourcesOutput, error) {
	start := d.Clock.Now()
	made := decision.Decision{ID: id.At(start), Kind: decision.Plan, Mode: a.mode, Size: size, PlanInput: in}
	resolved, outcome, err := d.Principals.Resolve(ctx, a.caller, a.about(in.Principal))
	if err != nil {
		return id.ID{}, nil, err
	}
	in.Principal = resolved
	if outcome.Denied() {
		made.Reason, made.PlanOutput = reasonOf(outcome), deniedPlan(in)
	} else {
		planned, err := d.Engine.Plan(ctx, a.caller, in)
		if err != nil {
			return id.ID{}, nil, err
		}
		made.Revision, made.PlanOutput = planned.Revision, planned.Output
	}
	d.record(a, made, start)
	return made.ID, made.PlanOutput, nil
}

// deniedPlan returns the plan that no resource meets.
func deniedPlan(in *enginev1.PlanResourcesInput) *enginev1.PlanResourcesOutput {
	return &enginev1.PlanResourcesOutput{
		RequestId: in.RequestId, Actions: in.Actions, Kind: in.Resource.Kind,
		PolicyVersion: in.Resource.PolicyVersion, Scope: in.Resource.Scope, FilterDebug: noPolicy,
		Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED},
	}
}

// record hands a decision to the recorder, with the time it took since start.
func (d *Door) record(a *requester, made decision.Decision, start time.Time) {
	made.Took = d.Clock.Now().Sub(start)
	d.Recorder.Record(a.caller, made)
}
