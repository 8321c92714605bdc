package policy

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/cerbos/cerbos/private/check"
	"github.com/cerbos/cerbos/private/compile"
	"github.com/cerbos/cerbos/private/engine"
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
	Policy string `json:"policy" doc:"The policy that decided; NO_MATCH where none did."`
	Scope  string `json:"scope,omitempty"`
}

// Step is one thing the engine did. What does not apply is empty.
type Step struct {
	Policy      string  `json:"policy,omitempty"`
	Scope       string  `json:"scope,omitempty"`
	Action      string  `json:"action,omitempty"`
	Rule        string  `json:"rule,omitempty"`
	DerivedRole string  `json:"derived_role,omitempty"`
	Variable    string  `json:"variable,omitempty"`
	Condition   string  `json:"condition,omitempty" doc:"Where in a condition, such as all[0].any."`
	Expression  string  `json:"expression,omitempty" doc:"The CEL that was evaluated."`
	Skipped     bool    `json:"skipped" doc:"The rule or role did not count."`
	Effect      string  `json:"effect,omitempty"`
	Result      any     `json:"result,omitempty" doc:"What the expression gave."`
	Values      []Value `json:"values,omitempty" doc:"What the expression saw."`
	Message     string  `json:"message,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// Value is an attribute that an expression looked at.
type Value struct {
	Path   string `json:"path" doc:"As in the request: request.resource.attr.owner."`
	Value  any    `json:"value"`
	Absent bool   `json:"absent,omitempty" doc:"There was no such attribute."`
	Source string `json:"source,omitempty" enum:"body,directory,token,request" doc:"Where it came from: the body of the request, the directory, a token, or what the request added about a principal of the directory."`
}

// Explain answers the input by the files and says how.
func Explain(ctx context.Context, files Files, s Settings, in *enginev1.CheckInput) (Explanation, error) {
	if err := files.Check(); err != nil {
		return Explanation{}, err
	}
	index, err := compile.BuildIndex(ctx, files.directory())
	if err != nil {
		return Explanation{}, Problems{{Message: err.Error()}}
	}
	answers, err := check.CheckWithTraces(ctx, &engine.Conf{
		Globals: s.Globals, DefaultPolicyVersion: s.DefaultVersion, DefaultScope: s.DefaultScope, CELErrorLogLevel: "none",
		LenientScopeSearch: s.LenientScopeSearch, StrictEvaluation: s.StrictEvaluation,
	}, index, []*enginev1.CheckInput{in})
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Actions: []ActionExplanation{}, Steps: []Step{}}
	for _, action := range in.GetActions() {
		e := answers[0].CheckOutput.GetActions()[action]
		out.Actions = append(out.Actions, ActionExplanation{action, e.GetEffect().String(), e.GetPolicy(), e.GetScope()})
	}
	for _, t := range answers[0].Traces {
		out.Steps = append(out.Steps, step(t))
	}
	return out, nil
}

func step(t *enginev1.Trace) Step {
	s := Step{
		Skipped: t.GetEvent().GetStatus() == enginev1.Trace_Event_STATUS_SKIPPED,
		Message: t.GetEvent().GetMessage(), Error: t.GetEvent().GetError(), Result: t.GetEvent().GetResult().AsInterface(),
	}
	if t.GetEvent().GetEffect() != 0 {
		s.Effect = t.GetEvent().GetEffect().String()
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
		case enginev1.Trace_Component_KIND_EXPR:
			s.Expression = c.GetExpr()
		}
	}
	return s
}
