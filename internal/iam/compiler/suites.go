package compiler

import (
	"context"
	"fmt"
	"maps"
	"slices"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/parser"
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

// None reports whether no case ran: there is no suite, or each case is skipped.
func (r Results) None() bool { return r.Passed+r.Failed+r.Errored == 0 }

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

// Tested is what files compile to, and the results of their suites on exactly that table.
type Tested struct {
	Compiled
	Results
}

// Test compiles the files once and runs their Cerbos test suites on the table, by the tenant's
// settings. A suite's own options replace these. An error is Problems of the policies, or a fault
// of ours; a case that fails is a result.
func Test(ctx context.Context, files Files, s engine.Settings) (Tested, error) {
	return test(ctx, task{Do: "test", Files: files, Settings: s})
}

// TestBase is Test for the base policies, which define the reserved kinds.
func TestBase(ctx context.Context, files Files) (Tested, error) {
	return test(ctx, task{Do: "test", Files: files, Settings: engine.DefaultSettings(), Base: true})
}

func test(ctx context.Context, t task) (Tested, error) {
	if err := t.Files.Check(); err != nil {
		return Tested{}, err
	}
	r, err := sandboxed(ctx, t)
	if err != nil {
		return Tested{}, err
	}
	return Tested{r.Compiled, *r.Results}, nil
}

// runSuites runs the suites among the files on a table, inside the sandbox.
func runSuites(ctx context.Context, files Files, table []byte, s engine.Settings) (*Results, error) {
	evaluator, err := engine.Load(table, s)
	if err != nil {
		return nil, err
	}
	directory := files.directory()
	directory.opened = func(name string) {
		if isSuite(name) {
			mark(name)
		}
	}
	// One after another, so that the file that ends the process is known.
	tests, err := verify.WithCustomChecker(ctx, directory, suiteChecker{evaluator}, verify.WithWorkers(1))
	if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	out := results(tests)
	return &out, nil
}

// suiteChecker answers the cases of suites.
type suiteChecker struct{ *engine.Evaluator }

// Check implements verify.Checker.
func (c suiteChecker) Check(ctx context.Context, in []*enginev1.CheckInput, options verify.CheckOptions) (
	[]*enginev1.CheckOutput, error) {
	return c.Try(ctx, in, engine.TrialOf(options))
}

// suiteProblems returns a problem for each suite without a test. Cerbos would end the process at an
// empty one.
func suiteProblems(files Files) Problems {
	var out Problems
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isSuite(name) || inTestdata(name) {
			continue
		}
		mark(name)
		suites, err := parser.Unmarshal[policyv1.TestSuite](files[name])
		if err == nil && (len(suites) == 0 || len(suites[0].GetTests()) == 0) {
			out = append(out, Problem{File: name, Line: 1, Column: 1, Message: "This suite has no tests. Add one, or " +
				"delete the file."})
		}
	}
	mark("")
	return out
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
