package pdp

import (
	"context"
	"slices"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// maxNamed is how many actions of a kind one search decides about.
const maxNamed = 500

// Members of the context of an answer, of ours.
const (
	// unnamed has the patterns of allowed actions that no policy names. A list cannot have these.
	unnamed = "gatehouse.unnamedActions"
)

var errChanging = fault.New(fault.Unavailable, "search.changing",
	"The policies changed during the search. Try again.")

type foundAction struct {
	Name string `json:"name"`
}

// searchActions answers which of the named actions a subject may do to a resource (§8.6). If the
// subject may do unnamed ones as well, the context of the answer has their patterns.
func (s authzenService) searchActions(ctx context.Context, a *requester, body string) ([]byte, error) {
	q, err := readSearch(body)
	if err != nil {
		return nil, err
	}
	q.Subject, q.Action = a.subject(q.Subject), &authzenv1.Action{Name: "-"} // an action of the request is ignored
	if err := violations(q.AccessEvaluationRequest); err != nil {
		return nil, err
	}
	after, err := q.position(a, searchActionPath)
	if err != nil {
		return nil, err
	}
	aux, err := s.auxData(ctx, a, q.Context)
	if err != nil {
		return nil, err
	}
	may, err := s.d.allowedActions(ctx, a, &enginev1.CheckInput{
		RequestId: cerbosText(q.Context, "requestId"), Principal: principalOf(q.Subject), AuxData: aux,
		Resource: resourceOf(q.Resource, nil, q.Context),
	}, q.size)
	if err != nil {
		return nil, err
	}
	var answer found[foundAction]
	if len(may.patterns) > 0 {
		answer.Context = map[string]any{unnamed: may.patterns}
	}
	for _, name := range may.names {
		if after != "" && name <= after {
			continue
		}
		if q.limit >= 0 && len(answer.Results) == q.limit {
			if q.limit > 0 {
				after = answer.Results[q.limit-1].Name
			}
			answer.Page.Next = q.next(a, searchActionPath, after)
			break
		}
		answer.Results = append(answer.Results, foundAction{name})
	}
	return answer.json()
}

// allowedActions are the actions that a principal may do to a resource.
type allowedActions struct {
	names    []string // those that policies name, sorted
	patterns []string // of others
}

// allowedActions decides about every action that policies name for in, and about an example of each
// pattern of others. It records the decision about the named ones.
func (d *Door) allowedActions(
	ctx context.Context, a *requester, in *enginev1.CheckInput, size int,
) (allowedActions, error) {
	start := d.Clock.Now()
	resolved, outcome, err := d.Principals.Resolve(ctx, a.caller, a.about(in.Principal))
	if err != nil {
		return allowedActions{}, err
	}
	in.Principal = resolved
	for range 3 {
		known, err := d.namedActions(ctx, a, in.Resource.Kind)
		if err != nil {
			return allowedActions{}, err
		}
		named, examples := inputsFor(in, known.Names, known.Apart), inputsFor(in, examplesOf(known), known.Apart)
		if len(named) == 0 && len(examples) == 0 {
			return allowedActions{}, nil
		}
		made := newDecision(a, decision.Evaluation, named, size, start)
		var may allowedActions
		if outcome.Denied() {
			made.Reason = reasonOf(outcome)
			for _, in := range named {
				made.Outputs = append(made.Outputs, denied(in))
			}
		} else {
			checked, err := d.Engine.Check(ctx, a.caller, slices.Concat(named, examples))
			if err != nil {
				return allowedActions{}, err
			}
			if checked.Revision != known.Revision {
				continue // published between the two calls
			}
			made.Revision, made.Outputs = checked.Revision, checked.Outputs[:len(named)]
			may.patterns = allowedPatterns(known, checked.Outputs[len(named):])
		}
		may.names = allowedNames(made.Outputs)
		if len(named) > 0 {
			d.record(a, made, start)
		}
		return may, nil
	}
	return allowedActions{}, errChanging
}

// namedActions returns the actions that policies name for a kind, if they are a bounded list.
func (d *Door) namedActions(ctx context.Context, a *requester, kind string) (engine.Actions, error) {
	known, err := d.Actions.Actions(ctx, a.caller, kind)
	switch n := len(known.Names); {
	case err != nil:
		return known, err
	case known.Unclear != "":
		return known, status.Errorf(codes.Unimplemented, "A policy for %q names actions by %q, which stands for no "+
			"certain list. %s says which of the actions that you know are allowed.",
			kind, known.Unclear, evaluationsPath)
	case n > maxNamed:
		return known, status.Errorf(codes.Unimplemented, "The policies name %d actions of %q, more than the %d that "+
			"are searched. %s says which of the actions that you know are allowed.",
			n, kind, maxNamed, evaluationsPath)
	}
	return known, nil
}

// allowedNames returns the allowed actions of outputs, sorted.
func allowedNames(outputs []*enginev1.CheckOutput) []string {
	var names []string
	for _, out := range outputs {
		for action := range out.Actions {
			if allows(out, action) {
				names = append(names, action)
			}
		}
	}
	slices.Sort(names)
	return names
}

// allowedPatterns returns the patterns whose example is allowed.
func allowedPatterns(known engine.Actions, outputs []*enginev1.CheckOutput) []string {
	var patterns []string
	for _, out := range outputs {
		for _, other := range known.Others {
			if allows(out, other.Example) {
				patterns = append(patterns, other.Pattern)
			}
		}
	}
	return patterns
}

// examplesOf returns an example of each pattern. The answers to examples are not recorded.
func examplesOf(known engine.Actions) []string {
	examples := make([]string, len(known.Others))
	for i, o := range known.Others {
		examples[i] = o.Example
	}
	return examples
}

// inputsFor returns the questions of in about actions: one input with all, or apart one for each.
func inputsFor(in *enginev1.CheckInput, actions []string, apart bool) []*enginev1.CheckInput {
	n := max(len(actions), 1)
	if apart {
		n = 1
	}
	var inputs []*enginev1.CheckInput
	for chunk := range slices.Chunk(actions, n) {
		inputs = append(inputs, &enginev1.CheckInput{
			RequestId: in.RequestId, Principal: in.Principal, AuxData: in.AuxData,
			Actions: chunk, Resource: in.Resource,
		})
	}
	return inputs
}
