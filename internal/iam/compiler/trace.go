package compiler

import (
	"context"
	"fmt"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// Explanation says how an answer came about.
type Explanation struct {
	Actions []ActionExplanation `json:"actions" doc:"One for every action that was asked for."`
	Steps   []Step              `json:"steps" doc:"What the engine did, in order."`
}

// ActionExplanation is the answer for one action.
type ActionExplanation struct {
	Action string `json:"action"`
	Effect string `json:"effect" enum:"EFFECT_ALLOW,EFFECT_DENY"`
	Policy string `json:"policy" doc:"The policy that decided, or NO_MATCH if none did."`
	Scope  string `json:"scope,omitempty"`
}

// Step is one step of the engine. Fields that do not apply are empty.
type Step struct {
	Policy      string  `json:"policy,omitempty"`
	Scope       string  `json:"scope,omitempty"`
	Action      string  `json:"action,omitempty"`
	Rule        string  `json:"rule,omitempty"`
	DerivedRole string  `json:"derived_role,omitempty"`
	Variable    string  `json:"variable,omitempty"`
	Output      string  `json:"output,omitempty" doc:"The rule whose output was computed."`
	Condition   string  `json:"condition,omitempty" doc:"Where in a condition, such as all[0].any[1]."`
	Expression  string  `json:"expression,omitempty" doc:"The CEL that was evaluated."`
	Skipped     bool    `json:"skipped" doc:"The rule or role did not count."`
	Effect      string  `json:"effect,omitempty"`
	Result      any     `json:"result,omitempty" doc:"What the expression gave."`
	Values      []Value `json:"values,omitempty" doc:"What the expression saw."`
	Message     string  `json:"message,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// Value is a value that an expression read.
type Value struct {
	Path   string `json:"path" doc:"As the expression says it, without abbreviations: request.resource.attr.owner."`
	Value  any    `json:"value"`
	Absent bool   `json:"absent,omitempty" doc:"There was no such attribute."`
	Source string `json:"source,omitempty" enum:"body,directory,token,request" doc:"Where it came from: the body of the request, the directory, a token, or what the request added about a principal of the directory."`
}

// Explain answers the input by a compiled table, with every step. An error is Problems of the
// table, or a fault of ours.
func Explain(ctx context.Context, table []byte, s engine.Settings, in *enginev1.CheckInput) (Explanation, error) {
	input, err := proto.Marshal(in)
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	r, err := sandboxed(ctx, task{Do: "explain", Table: table, Settings: s, Input: input})
	if err != nil {
		return Explanation{}, err
	}
	return *r.Explanation, nil
}

// explain is Explain inside the sandbox.
func explain(ctx context.Context, table []byte, s engine.Settings, input []byte) (*Explanation, error) {
	in := new(enginev1.CheckInput)
	if err := proto.Unmarshal(input, in); err != nil {
		return nil, err
	}
	evaluator, err := engine.Load(table, s)
	if err != nil {
		return nil, err
	}
	var traces []*enginev1.Trace
	answers, err := evaluator.Try(ctx, []*enginev1.CheckInput{in}, engine.Trial{
		Trace: func(t *enginev1.Trace) { traces = append(traces, t) }})
	if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	out := &Explanation{Actions: []ActionExplanation{}, Steps: []Step{}}
	for _, action := range in.GetActions() {
		e := answers[0].GetActions()[action]
		out.Actions = append(out.Actions, ActionExplanation{action, e.GetEffect().String(), e.GetPolicy(),
			e.GetScope()})
	}
	seen := newVisibleValues(in, answers[0], s)
	for _, t := range traces {
		step := newStep(t)
		if step.Expression != "" {
			step.Values = seen.of(step.Expression)
		}
		if step.Variable != "" {
			seen.variables[step.Variable] = step.Result
		}
		out.Steps = append(out.Steps, step)
	}
	return out, nil
}

func newStep(t *enginev1.Trace) Step {
	event := t.GetEvent()
	s := Step{
		Skipped: event.GetStatus() == enginev1.Trace_Event_STATUS_SKIPPED,
		Message: event.GetMessage(), Error: event.GetError(), Result: event.GetResult().AsInterface(),
	}
	if event.GetEffect() != 0 {
		s.Effect = event.GetEffect().String()
	}
	for _, c := range t.GetComponents() {
		switch c.GetKind() {
		case enginev1.Trace_Component_KIND_POLICY:
			s.Policy = c.GetPolicy()
		case enginev1.Trace_Component_KIND_SCOPE:
			s.Scope = c.GetScope()
		case enginev1.Trace_Component_KIND_ACTION:
			s.Action = c.GetAction()
		case enginev1.Trace_Component_KIND_RULE:
			s.Rule = c.GetRule()
		case enginev1.Trace_Component_KIND_DERIVED_ROLE:
			s.DerivedRole = c.GetDerivedRole()
		case enginev1.Trace_Component_KIND_VARIABLE:
			s.Variable, s.Expression = c.GetVariable().GetName(), c.GetVariable().GetExpr()
		case enginev1.Trace_Component_KIND_OUTPUT:
			s.Output = c.GetOutput()
		case enginev1.Trace_Component_KIND_EXPR:
			s.Expression = c.GetExpr()
		case enginev1.Trace_Component_KIND_CONDITION_ALL:
			s.Condition += ".all"
		case enginev1.Trace_Component_KIND_CONDITION_ANY:
			s.Condition += ".any"
		case enginev1.Trace_Component_KIND_CONDITION_NONE:
			s.Condition += ".none"
		case enginev1.Trace_Component_KIND_CONDITION:
			if s.Condition != "" {
				s.Condition += fmt.Sprintf("[%d]", c.GetIndex())
			}
		}
	}
	s.Condition = strings.TrimPrefix(s.Condition, ".")
	return s
}
