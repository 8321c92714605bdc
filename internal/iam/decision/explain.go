package decision

import (
	"context"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Explained says how an answer about one resource came about.
type Explained struct {
	DecisionID id.ID      `json:"decision_id" format:"uuid"`
	Revision   int64      `json:"revision" doc:"The policy revision that answered, which is evaluated again; 0 is the base policies alone."`
	Result     ResultView `json:"result" doc:"The recorded answer."`
	Reason     string     `json:"reason,omitempty" doc:"Why everything was denied without asking a policy. Then there is nothing else to explain."`
	Same       bool       `json:"same" doc:"The evaluation gave the same effects again. If it did not, a note says why that may be."`
	Notes      []string   `json:"notes,omitempty" doc:"Reasons why the explanation may not be exact."`
	compiler.Explanation
}

var errNotAResource = fault.InvalidField("request.invalid", "index", "The decision has no resource with this index.")

// ErrPlan is the fault for explaining a plan, whose answer is a condition and not an effect.
var ErrPlan = fault.New(fault.Conflict, "decision.plan",
	"This decision is a plan: its answer is a condition on resources, and there is no effect to explain. Check one "+
		"resource, and have that explained.")

// Explain evaluates the resource with the given index again and returns how the answer comes about.
// by is what answered it: the table and the settings of the record's revision.
func Explain(ctx context.Context, r Record, index int, by engine.Published) (Explained, error) {
	if r.PlanInput != nil {
		return Explained{}, ErrPlan
	}
	if index < 0 || index >= len(r.Inputs) {
		return Explained{}, errNotAResource
	}
	in := r.Inputs[index]
	x := Explained{DecisionID: r.ID, Revision: r.Revision, Result: r.view(true).Results[index], Reason: r.Reason,
		Explanation: compiler.Explanation{Actions: []compiler.ActionExplanation{}, Steps: []compiler.Step{}}}
	for _, m := range r.Redacted {
		if m.Input == -1 || m.Input == index {
			x.Notes = append(x.Notes,
				"The tenant's redaction rule removed "+m.Path+
					". A condition that reads it may have another result here.")
		}
	}
	if r.Oversized {
		x.Notes = append(x.Notes,
			"The input was too large to keep and has no attributes here, so conditions may have another result.")
	}
	if r.Reason != "" && r.principalKey() != several {
		x.Same = true
		return x, nil
	}
	how, err := compiler.Explain(ctx, by.Table, by.Settings, in)
	if err != nil {
		return Explained{}, err
	}
	x.Explanation, x.Same = how, true
	for _, a := range how.Actions {
		x.Same = x.Same && r.effectsOf(index)[a.Action].GetEffect().String() == a.Effect
	}
	if !x.Same && len(x.Notes) == 0 {
		x.Notes = append(x.Notes,
			"The evaluation gave another answer. The policy may read the time, or an earlier release published the "+
				"revision and the settings of the engine have changed since.")
	}
	for i := range x.Steps {
		for j, v := range x.Steps[i].Values {
			x.Steps[i].Values[j].Source = source(r.Mode, in, v.Path)
		}
	}
	return x, nil
}

// Sources of a value.
const (
	fromBody      = "body"      // of the request
	fromRequest   = "request"   // added by the request to a principal of the directory
	fromDirectory = "directory" // the tenant's directory
	fromToken     = "token"     // the access token of the request, or the JWT of its auxData
)

// source returns where the value at a path of the input comes from.
func source(mode application.PrincipalMode, in *enginev1.CheckInput, path string) string {
	path, ofRequest := strings.CutPrefix(path, "request.")
	switch {
	case !ofRequest: // variables, globals, derived roles: computed
		return ""
	case strings.HasPrefix(path, "aux"):
		return fromToken
	case !strings.HasPrefix(path, "principal"):
		if engine.Reserved(in.GetResource().GetKind()) {
			return fromDirectory
		}
		return fromBody
	case mode == application.Asserted:
		return fromBody
	}
	if attr, ok := strings.CutPrefix(path, "principal.attr."); ok {
		name, _, _ := strings.Cut(attr, ".")
		return principal.Source(name)
	}
	switch path {
	case "principal.policy_version", "principal.policyVersion", "principal.scope":
		return fromRequest
	}
	return fromDirectory
}
