package engine

import (
	"cmp"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/proto"
)

// A request may name a version of the principal's policies and another of the resource's. Cerbos
// looks both up by the resource's version. So a DENY of the principal's version was lost, and
// policies of another version decided.
//
// Such a check has two parts (personal.go): the principal's policies in their
// version, and for actions that they leave undecided the others. Conditions of the principal's
// policies then read the principal's version as R.policyVersion. A plan is refused.

// checks answers inputs by one table.
type checks func(table tableOfRules, in inputs) (outputs, error)

// byVersion answers every input with the versions that it names. The default is that of a resource
// that names none.
func (e *Evaluator) byVersion(in inputs, otherwise string, check checks) (outputs, error) {
	apart := func(i *enginev1.CheckInput) bool {
		return e.twoVersions(i.GetPrincipal(), first(i.GetResource().GetPolicyVersion(), otherwise))
	}
	if len(e.personal.principals) == 0 || !slices.ContainsFunc(in, apart) {
		return check(e.table, in)
	}
	parts, err := e.personal.parts()
	if err != nil {
		return nil, err
	}
	out := make(outputs, len(in))
	for i, input := range in {
		if apart(input) {
			out[i], err = e.inTwoVersions(parts, input, check)
		} else {
			var one outputs
			if one, err = check(e.table, inputs{input}); err == nil {
				out[i] = one[0]
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// twoVersions reports whether a principal with policies of their own names another version than the
// resource's. If the principal names none, it is the resource's, as in Cerbos.
func (e *Evaluator) twoVersions(p *enginev1.Principal, resource string) bool {
	return p.GetPolicyVersion() != "" && p.GetPolicyVersion() != resource && e.personal.has(p.GetId())
}

// defaultVersion is the version of a resource that names none.
func (e *Evaluator) defaultVersion() string { return first(e.settings.DefaultVersion, "default") }

// inTwoVersions answers an input whose principal has another version than its resource.
func (e *Evaluator) inTwoVersions(parts tableParts, in *enginev1.CheckInput, check checks) (*enginev1.CheckOutput,
	error) {
	own := proto.CloneOf(in)
	own.Resource.PolicyVersion = in.GetPrincipal().GetPolicyVersion()
	personal, err := check(parts.principal, inputs{own})
	if err != nil {
		return nil, err
	}
	others, err := check(parts.resource, inputs{in})
	if err != nil {
		return nil, err
	}
	out := others[0]
	if e.settings.SchemaEnforcement == SchemaReject && len(out.GetValidationErrors()) > 0 {
		return out, nil
	}
	outputs := out.GetOutputs()
	out.Outputs = nil
	of := func(all []*enginev1.OutputEntry, action string) {
		for _, o := range all {
			if o.GetAction() == action {
				out.Outputs = append(out.Outputs, o)
			}
		}
	}
	for _, action := range in.GetActions() {
		of(personal[0].GetOutputs(), action)
		if effect := personal[0].GetActions()[action]; strings.HasPrefix(effect.GetPolicy(), "principal.") {
			out.Actions[action] = effect
		} else {
			of(outputs, action)
		}
	}
	out.EvaluationErrors = slices.CompactFunc(slices.SortedFunc(slices.Values(append(out.GetEvaluationErrors(),
		personal[0].GetEvaluationErrors()...)), compareErrors), func(a, b *enginev1.EvaluationError) bool {
		return compareErrors(a, b) == 0
	})
	return out, nil
}

func compareErrors(a, b *enginev1.EvaluationError) int {
	x, y := a.GetCelError(), b.GetCelError()
	return cmp.Or(strings.Compare(x.GetExpression(), y.GetExpression()),
		strings.Compare(x.GetMessage(), y.GetMessage()))
}
