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

// noPolicy is what Cerbos calls the policy of an effect that no policy had a rule for.
const noPolicy = "NO_MATCH"

// check answers inputs whose principals are as the request said them, and records the answer.
// The inputs, with their principals as they were resolved, belong to the recorder afterwards.
func (d *Door) check(ctx context.Context, a *asker, kind decision.Kind, inputs []*enginev1.CheckInput, size int) (id.ID, []*enginev1.CheckOutput, error) {
	start := d.Clock.Now()
	made := d.begin(a, kind, inputs, size, start)
	answers, reason, err := d.resolve(ctx, a, inputs)
	if err != nil {
		return id.ID{}, nil, err
	}
	return d.decided(ctx, a, made, answers, reason, start)
}

// begin is the decision about inputs before it is made.
func (d *Door) begin(a *asker, kind decision.Kind, inputs []*enginev1.CheckInput, size int, start time.Time) decision.Decision {
	return decision.Decision{ID: id.At(start), Kind: kind, Mode: a.mode, Size: size, Inputs: inputs}
}

// decided answers inputs whose principals are those that count, and records the answer. Where somebody gets
// nothing for a reason, the answers to what was asked of them are there already.
func (d *Door) decided(ctx context.Context, a *asker, made decision.Decision, answers []*enginev1.CheckOutput, reason string, start time.Time) (id.ID, []*enginev1.CheckOutput, error) {
	if made.Reason = reason; reason == "" {
		checked, err := d.Engine.Check(ctx, a.caller, made.Inputs)
		if err != nil {
			return id.ID{}, nil, err
		}
		made.Revision, answers = checked.Revision, checked.Outputs
	} else if err := d.checkRest(ctx, a, &made, answers); err != nil {
		return id.ID{}, nil, err
	}
	made.Outputs = answers
	d.record(a, made, start)
	return made.ID, answers, nil
}

// resolve replaces every input's principal by the one that counts. Where somebody gets nothing,
// it says why and returns the answers to what was asked of them.
func (d *Door) resolve(ctx context.Context, a *asker, inputs []*enginev1.CheckInput) (answers []*enginev1.CheckOutput, reason string, err error) {
	var asserted, resolved *enginev1.Principal
	var outcome principal.Outcome
	for i, in := range inputs {
		if i == 0 || in.Principal != asserted {
			asserted = in.Principal
			if resolved, outcome, err = d.Principals.Resolve(ctx, a.caller, a.about(asserted)); err != nil {
				return nil, "", err
			}
		}
		in.Principal = resolved
		if outcome.Denied() {
			if reason == "" {
				answers, reason = make([]*enginev1.CheckOutput, len(inputs)), reasonOf(outcome)
			}
			answers[i] = denied(in)
		}
	}
	return answers, reason, nil
}

// checkRest asks the engine about those of several principals that are not denied.
func (d *Door) checkRest(ctx context.Context, a *asker, made *decision.Decision, answers []*enginev1.CheckOutput) error {
	var rest []*enginev1.CheckInput
	for i, in := range made.Inputs {
		if answers[i] == nil {
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
	for i := range answers {
		if answers[i] == nil {
			answers[i] = checked.Outputs[next]
			next++
		}
	}
	return nil
}

// reasonOf is the code that a record has for a principal that got nothing.
func reasonOf(o principal.Outcome) string { return "principal." + string(o) }

// denied is the answer to somebody who gets nothing.
func denied(in *enginev1.CheckInput) *enginev1.CheckOutput {
	out := &enginev1.CheckOutput{RequestId: in.RequestId, ResourceId: in.Resource.Id, Actions: make(map[string]*enginev1.CheckOutput_ActionEffect, len(in.Actions))}
	for _, action := range in.Actions {
		out.Actions[action] = &enginev1.CheckOutput_ActionEffect{Effect: effectv1.Effect_EFFECT_DENY, Policy: noPolicy}
	}
	return out
}

// plan answers which resources of a kind the principal may act on, and records the answer.
func (d *Door) plan(ctx context.Context, a *asker, in *enginev1.PlanResourcesInput, size int) (id.ID, *enginev1.PlanResourcesOutput, error) {
	start := d.Clock.Now()
	made := decision.Decision{ID: id.At(start), Kind: decision.Plan, Mode: a.mode, Size: size, PlanInput: in}
	resolved, outcome, err := d.Principals.Resolve(ctx, a.caller, a.about(in.Principal))
	if err != nil {
		return id.ID{}, nil, err
	}
	in.Principal = resolved
	if outcome.Denied() {
		made.Reason = reasonOf(outcome)
		made.PlanOutput = &enginev1.PlanResourcesOutput{
			RequestId: in.RequestId, Actions: in.Actions, Kind: in.Resource.Kind, PolicyVersion: in.Resource.PolicyVersion, Scope: in.Resource.Scope,
			Filter:      &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED},
			FilterDebug: noPolicy,
		}
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

func (d *Door) record(a *asker, made decision.Decision, start time.Time) {
	made.Took = d.Clock.Now().Sub(start)
	d.Recorder.Record(a.caller, made)
}
