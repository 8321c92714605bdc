package compiler

import (
	"context"
	"fmt"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// Outcomes of a case, and of a suite as a whole.
const (
	OutcomePassed  = "passed"
	OutcomeFailed  = "failed"
	OutcomeSkipped = "skipped"
	OutcomeErrored = "errored"
)

// Results are the results of all test suites of a bundle.
type Results struct {
	Suites  []SuiteResult `json:"suites"`
	Passed  int           `json:"passed" doc:"How many cases passed."`
	Failed  int           `json:"failed"`
	Skipped int           `json:"skipped"`
	Errored int           `json:"errored" doc:"How many cases could not be run, and suites that could not be read."`
}

// Good reports whether no case and no suite failed.
func (r Results) Good() bool { return r.Failed == 0 && r.Errored == 0 }

// Err returns the cases that did not pass as Problems, or nil if all passed.
func (r Results) Err() error {
	var out Problems
	for _, s := range r.Suites {
		if s.Outcome == OutcomeErrored && s.Error != "" {
			out = append(out, Problem{File: s.File, Message: "The suite cannot be run: " + s.Error})
		}
		for _, c := range s.Cases {
			what := fmt.Sprintf("%s: may %s %s %s: ", c.Name, c.Principal, c.Action, c.Resource)
			switch c.Outcome {
			case OutcomeFailed:
				out = append(out, Problem{File: s.File, Message: what + "wanted " + c.Wanted + ", got " + c.Got})
			case OutcomeErrored:
				out = append(out, Problem{File: s.File, Message: what + c.Error})
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out.sorted()
}

// SuiteResult is the result of one *_test.yaml.
type SuiteResult struct {
	File    string       `json:"file"`
	Name    string       `json:"name"`
	Outcome string       `json:"outcome" enum:"passed,failed,skipped,errored"`
	Error   string       `json:"error,omitempty" doc:"Why the suite could not be run."`
	Cases   []CaseResult `json:"cases"`
}

// CaseResult is the result for one action of one principal on one resource.
type CaseResult struct {
	Name      string `json:"name"`
	Principal string `json:"principal"`
	Resource  string `json:"resource"`
	Action    string `json:"action"`
	Outcome   string `json:"outcome" enum:"passed,failed,skipped,errored"`
	Wanted    string `json:"wanted,omitempty" doc:"The effect that the suite expects, and outputs where they differ."`
	Got       string `json:"got,omitempty"`
	Error     string `json:"error,omitempty" doc:"Why it could not be run, or was skipped."`
}

// RunSuites runs the Cerbos test suites among the files, as "cerbos compile" does. A suite itself
// names the settings it needs, such as globals. An error is Problems of the policies, or a fault of
// ours; a case that fails is a result.
func RunSuites(ctx context.Context, files Files, s engine.Settings) (Results, error) {
	if err := files.Check(); err != nil {
		return Results{}, err
	}
	r, err := sandboxed(ctx, task{Do: "test", Files: files, Settings: s})
	if err != nil {
		return Results{}, err
	}
	return *r.Results, nil
}

// runSuites is RunSuites inside the sandbox.
func runSuites(ctx context.Context, files Files) (*Results, error) {
	tests, err := verify.Files(ctx, files.directory(), nil, false)
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return nil, wrong.sorted()
		}
		return nil, Problems{{Message: err.Error()}}
	}
	out := results(tests)
	return &out, nil
}

func results(tests *policyv1.TestResults) Results {
	out := Results{Suites: []SuiteResult{}}
	for _, suite := range tests.GetSuites() {
		r := SuiteResult{File: suite.GetFile(), Name: suite.GetName(), Error: suite.GetError(),
			Cases: []CaseResult{}, Outcome: outcome(suite.GetSummary().GetOverallResult())}
		if r.Error != "" {
			r.Outcome = OutcomeErrored
			out.Errored++
		}
		for _, tc := range suite.GetTestCases() {
			for _, p := range tc.GetPrincipals() {
				for _, res := range p.GetResources() {
					for _, a := range res.GetActions() {
						c := caseResult(a.GetDetails())
						c.Name, c.Principal = tc.GetName(), p.GetName()
						c.Resource, c.Action = res.GetName(), a.GetName()
						r.Cases = append(r.Cases, c)
						out.count(c.Outcome)
					}
				}
			}
		}
		if suite.GetSkipReason() != "" {
			r.Outcome, r.Error = OutcomeSkipped, suite.GetSkipReason()
		}
		out.Suites = append(out.Suites, r)
	}
	return out
}

func (r *Results) count(outcome string) {
	switch outcome {
	case OutcomePassed:
		r.Passed++
	case OutcomeFailed:
		r.Failed++
	case OutcomeSkipped:
		r.Skipped++
	default:
		r.Errored++
	}
}

func outcome(r policyv1.TestResults_Result) string {
	switch r {
	case policyv1.TestResults_RESULT_PASSED:
		return OutcomePassed
	case policyv1.TestResults_RESULT_FAILED:
		return OutcomeFailed
	case policyv1.TestResults_RESULT_SKIPPED, policyv1.TestResults_RESULT_UNSPECIFIED:
		return OutcomeSkipped
	default:
		return OutcomeErrored
	}
}

func caseResult(d *policyv1.TestResults_Details) CaseResult {
	c := CaseResult{Outcome: outcome(d.GetResult()), Error: d.GetError()}
	if s := d.GetSuccess(); s != nil {
		c.Wanted, c.Got = s.GetEffect().String(), s.GetEffect().String()
	}
	if d.GetSkipReason() != "" {
		c.Error = d.GetSkipReason()
	}
	if f := d.GetFailure(); f != nil {
		c.Wanted, c.Got = f.GetExpected().String(), f.GetActual().String()
		for _, o := range f.GetOutputs() {
			wanted, got := outputDifference(o)
			c.Wanted += fmt.Sprintf("; output of %s: %s", o.GetSrc(), wanted)
			c.Got += fmt.Sprintf("; output of %s: %s", o.GetSrc(), got)
		}
	}
	return c
}

// outputDifference returns the output that a suite expects, and what the policies returned.
func outputDifference(o *policyv1.TestResults_OutputFailure) (string, string) {
	switch {
	case o.GetMismatched() != nil:
		return protojson.Format(o.GetMismatched().GetExpected()), protojson.Format(o.GetMismatched().GetActual())
	case o.GetMissing() != nil:
		return protojson.Format(o.GetMissing().GetExpected()), "none"
	default:
		return protojson.Format(o.GetErrored().GetExpected()), o.GetErrored().GetError()
	}
}
