package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// maxWaiting bounds the checks and plans of one tenant that wait for their turn. The server answers
// some thousands at once, and one tenant must not fill it.
const maxWaiting = 512

// Faults of the engine.
var (
	errBusy = fault.New(fault.Limited, "policy.busy", "Too many requests wait for these policies. Try again in a "+
		"moment. If it stays, look for slow conditions.")
	errTooSlow = fault.New(fault.Limited, "policy.too_slow", "The policies took longer than 2 seconds, so there is "+
		"no answer. Look for conditions with loops within loops over long lists.")
	errTooMuch = fault.New(fault.Limited, "policy.too_much", "The policies needed more than 32 MB of memory or 50 "+
		"million comparisons, so there is no answer. Look for conditions that build long texts or lists, or that "+
		"compare long lists with each other.")
	// ErrNoPlan reports that the conditions cannot become a filter: docs/decisions/0022 says which.
	// A check of the same resources has an answer.
	ErrNoPlan = fault.New(fault.Conflict, "policy.no_plan", "The conditions of the policies cannot become a filter "+
		"for this principal and these attributes. Check the resources themselves: POST /api/check/resources.")
)

// Evaluator answers by one rule table. It is safe for concurrent use, and knows neither tenants nor
// base policies.
type Evaluator struct {
	table     tableOfRules
	settings  Settings
	actions   map[string]*kindActions // by kind, or pattern of kinds
	cost      int64                   // estimated bytes of memory
	plans     bool                    // its conditions can be planned
	personal  personal                // principals with policies of their own
	variables bool                    // it has variables
	globals   map[string]any

	turns   chan struct{} // one for each running evaluation; nil: no bound
	waiting atomic.Int64
}

// takeTurns bounds the evaluations that run at once to the number of processors. More would finish
// no earlier. So a tenant with slow policies cannot hold the processors that others need.
func (e *Evaluator) takeTurns() { e.turns = make(chan struct{}, runtime.GOMAXPROCS(0)) }

// enter waits for the caller's turn, which leave ends. It fails with errBusy if too many wait
// already.
func (e *Evaluator) enter(ctx context.Context) error {
	if e.turns == nil {
		return nil
	}
	select {
	case e.turns <- struct{}{}:
		return nil
	default:
	}
	defer e.waiting.Add(-1)
	if e.waiting.Add(1) > maxWaiting {
		return errBusy
	}
	select {
	case e.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Evaluator) leave() {
	if e.turns != nil {
		<-e.turns
	}
}

// Load returns the evaluator of a compiled rule table.
func Load(table []byte, s Settings) (*Evaluator, error) {
	rt := new(runtimev1.RuleTable)
	if err := proto.Unmarshal(table, rt); err != nil {
		return nil, fmt.Errorf("read a compiled rule table: %w", err)
	}
	conf, err := s.cerbos()
	if err != nil {
		return nil, err
	}
	// Measured: ten small policies are a table of 18 KB and take 17 KB of memory if other tenants
	// have the same conditions. A program that only this tenant has takes 5 KB.
	made := &Evaluator{settings: s, actions: actionsOf(rt), cost: 8<<10 + 3*int64(len(table)), plans: plannable(rt),
		variables: hasVariables(rt)}
	made.personal = newPersonal(rt, table, conf)
	made.cost += made.personal.cost()
	if made.table, err = newTableEvaluator(rt, conf); err != nil {
		return nil, fmt.Errorf("load a compiled rule table: %w", err)
	}
	made.globals = (&structpb.Struct{Fields: conf.GetEvaluator().GetGlobals()}).AsMap()
	return made, nil
}

// cerbos returns the settings as Cerbos' configuration.
func (s Settings) cerbos() (*epdpv2.Config, error) {
	globals := make(map[string]*structpb.Value, len(s.Globals))
	for name, v := range s.Globals {
		value, err := structpb.NewValue(v)
		if err != nil {
			return nil, fmt.Errorf("global %s: %w", name, err)
		}
		globals[name] = value
	}
	enforcement := epdpv2.Config_Schema_ENFORCEMENT_NONE
	switch s.SchemaEnforcement {
	case SchemaWarn:
		enforcement = epdpv2.Config_Schema_ENFORCEMENT_WARN
	case SchemaReject:
		enforcement = epdpv2.Config_Schema_ENFORCEMENT_REJECT
	}
	return &epdpv2.Config{
		Evaluator: &epdpv2.Config_Evaluator{
			Globals: globals, DefaultPolicyVersion: s.DefaultVersion, DefaultScope: s.DefaultScope,
			LenientScopeSearch: s.LenientScopeSearch, StrictEvaluation: s.StrictEvaluation,
		},
		Schema: &epdpv2.Config_Schema{Enforcement: enforcement},
	}, nil
}

// Check answers every input, in order; inputs may share messages. It fails with errTooSlow after 2
// seconds, with errTooMuch beyond the other bounds, and with errBusy if too many wait.
func (e *Evaluator) Check(ctx context.Context, in []*enginev1.CheckInput) ([]*enginev1.CheckOutput, error) {
	return e.evaluate(ctx, func(running *evaluation) ([]*enginev1.CheckOutput, error) {
		return e.byVersion(in, e.defaultVersion(), func(table tableOfRules, in inputs) (outputs, error) {
			if e.variables {
				return table.with(running, in, running.withGlobals(e.globals))
			}
			out, _, err := table.Check(running, in)
			return out, err
		})
	})
}

// evaluate runs a check in its turn, within the bounds of one evaluation.
func (e *Evaluator) evaluate(ctx context.Context,
	check func(running *evaluation) ([]*enginev1.CheckOutput, error)) ([]*enginev1.CheckOutput, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	running := begin(ctx)
	defer running.End()
	outputs, err := check(running)
	// Cerbos counts an interrupted condition as not met, so the answer may be wrong: drop it.
	if stopped := running.stopped(ctx, err); stopped != nil {
		return nil, stopped
	}
	return outputs, err
}

// Plan returns the condition that a resource of a kind must meet for the principal to act on it. It
// has the bounds of Check, and fails with ErrNoPlan.
func (e *Evaluator) Plan(ctx context.Context, in *enginev1.PlanResourcesInput) (*enginev1.PlanResourcesOutput, error) {
	if !e.plans {
		return nil, ErrNoPlan.Because(errors.New("variables within variables make a condition of more than 50,000 " +
			"nodes"))
	}
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	running := begin(ctx)
	defer running.End()
	output, err := e.plan(running, in)
	if stopped := running.stopped(ctx, err); stopped != nil {
		return nil, stopped
	}
	if err != nil {
		return nil, ErrNoPlan.Because(err)
	}
	return output, nil
}

// Cerbos' planner has no bound, and its work grows faster than the conditions. So it is asked for
// the spelling of a filter up to some hundred conditions.
const (
	maxAskedNodes = 4_000    // of the conditions
	maxAskedBytes = 32 << 10 // of the filter
)

// plan returns a panic as an error. The planner gets the tenant's policies and the request's
// attributes, and panics at combinations that the compiler accepts. It holds no lock while it
// plans.
func (e *Evaluator) plan(ctx context.Context, in *enginev1.PlanResourcesInput) (output *enginev1.PlanResourcesOutput,
	err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the planner panicked: %v", p)
		}
	}()
	p := e.newPlanner(ctx, in)
	condition, refused := e.condition(p)
	asked := in
	if refused != nil || p.nodes > maxAskedNodes || proto.Size(condition) > maxAskedBytes {
		asked = withoutRules(in)
	}
	output, _, err = e.table.Plan(ctx, asked)
	if err != nil {
		return nil, err
	}
	if len(output.GetValidationErrors()) > 0 && e.settings.SchemaEnforcement == SchemaReject {
		return output, nil
	}
	if refused != nil {
		return nil, refused
	}
	if asked != in || !means(output.GetFilter(), condition) {
		output.Filter = filterOf(condition)
		output.FilterDebug = filterText(output.GetFilter())
	}
	return output, nil
}

// withoutRules returns a plan's request for which no rule is evaluated. Its answer has what the
// schemas say of the attributes.
func withoutRules(in *enginev1.PlanResourcesInput) *enginev1.PlanResourcesInput {
	out := proto.CloneOf(in)
	out.Principal.Roles = nil
	return out
}

// condition returns the condition of a plan's filter.
func (e *Evaluator) condition(p *planner) (*operand, error) {
	condition, err := p.filter()
	if err != nil {
		return nil, err
	}
	if e.settings.StrictEvaluation && !isFalse(condition) {
		demand, err := p.demands()
		if err != nil {
			return nil, err
		}
		condition = expression("and", condition, demand)
	}
	if !fits(condition, maxOperands) {
		return nil, errTooLong
	}
	condition, err = lifted(simplify(withoutMissing(simplify(condition), true)), true)
	if err != nil {
		return nil, err
	}
	condition = simplify(digests{}.settled(simplify(condition), true, nil))
	if isRefused(condition) {
		return nil, p.refusal
	}
	return condition, nil
}

// means reports whether Cerbos' filter means the same as a condition.
func means(cerbos *enginev1.PlanResourcesFilter, condition *operand) bool {
	theirs, same := conditionOf(cerbos), digests{}
	return leaves(theirs) <= leaves(condition) &&
		same.of(same.normalised(condition, true)) == same.of(same.normalised(theirs, true))
}
