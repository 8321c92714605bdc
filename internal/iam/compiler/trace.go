package compiler

import (
	"context"
	"fmt"
	"path"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/check"
	cerboscompile "github.com/cerbos/cerbos/private/compile"
	cerbosengine "github.com/cerbos/cerbos/private/engine"
	"github.com/cerbos/cerbos/private/parser"
	"google.golang.org/protobuf/encoding/protojson"
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

// Explain answers the input by the files, with every step. An error is Problems of the files, or a
// fault of ours.
func Explain(ctx context.Context, files Files, s engine.Settings, in *enginev1.CheckInput) (Explanation, error) {
	input, err := proto.Marshal(in)
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	r, err := sandboxed(ctx, task{Do: "explain", Files: files, Settings: s, Input: input})
	if err != nil {
		return Explanation{}, err
	}
	return *r.Explanation, nil
}

// explain is Explain inside the sandbox.
func explain(ctx context.Context, files Files, s engine.Settings, input []byte) (*Explanation, error) {
	in := new(enginev1.CheckInput)
	if err := proto.Unmarshal(input, in); err != nil {
		return nil, err
	}
	if s.SchemaEnforcement != engine.SchemaReject { // the tracer always rejects
		files = withoutSchemas(files)
	}
	index, err := cerboscompile.BuildIndex(ctx, files.directory())
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return nil, wrong.sorted()
		}
		return nil, Problems{{Message: err.Error()}}
	}
	answers, err := check.CheckWithTraces(ctx, &cerbosengine.Conf{
		Globals: s.Globals, DefaultPolicyVersion: s.DefaultVersion, DefaultScope: s.DefaultScope,
		CELErrorLogLevel:   "none",
		LenientScopeSearch: s.LenientScopeSearch, StrictEvaluation: s.StrictEvaluation,
	}, index, []*enginev1.CheckInput{in})
	if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	out := &Explanation{Actions: []ActionExplanation{}, Steps: []Step{}}
	for _, action := range in.GetActions() {
		e := answers[0].CheckOutput.GetActions()[action]
		out.Actions = append(out.Actions, ActionExplanation{action, e.GetEffect().String(), e.GetPolicy(),
			e.GetScope()})
	}
	seen := newVisibleValues(in, answers[0].CheckOutput, s)
	for _, t := range answers[0].Traces {
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

// withoutSchemas returns the policies without their schemas. Each document becomes a file.
func withoutSchemas(files Files) Files {
	out := Files{}
	for name, content := range files {
		if !holdsPolicies(name) {
			continue
		}
		policies, err := parser.Unmarshal[policyv1.Policy](content)
		if err != nil {
			return files
		}
		for i, p := range policies {
			if r := p.GetResourcePolicy(); r != nil {
				r.Schemas = nil
			}
			if b, err := protojson.Marshal(p); err == nil {
				out[fmt.Sprintf("%s.%d.json", strings.TrimSuffix(name, path.Ext(name)), i)] = b
			}
		}
	}
	return out
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
