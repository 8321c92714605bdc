package app

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
)

// policyCommands work on the policies of a directory or of a tenant of a server.
type policyCommands struct {
	Validate validatePolicies `cmd:"" help:"Compile the policies of a directory or of a server's draft."`
	Test     testPolicies     `cmd:"" help:"Run the test suites of a directory or of a server's draft."`
	Diff     diffPolicies     `cmd:"" help:"Show what a directory, a server's draft or a revision changes."`
	Publish  publishPolicies  `cmd:"" help:"Publish a directory or a server's draft."`
	Rollback rollbackPolicies `cmd:"" help:"Publish an older revision again."`
	Export   exportPolicies   `cmd:"" help:"Write a server's policies to a directory, a zip or a tar.gz."`
	Import   importPolicies   `cmd:"" help:"Replace a server's draft by a directory, a zip or a tar.gz."`
}

// Help implements kong.HelpProvider.
func (policyCommands) Help() string {
	return `Policies are an ordinary Cerbos directory. validate and test need no server if they
get a directory. All else calls the tenant at --url, with --token or with the
--client-id and --client-secret of a machine application. GATEHOUSE_URL,
GATEHOUSE_TOKEN, GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET set them too.

Examples:
  gatehouse policy validate ./policies
  gatehouse policy test ./policies
  export GATEHOUSE_URL=https://id.example.com/t/acme GATEHOUSE_CLIENT_ID=ci GATEHOUSE_CLIENT_SECRET=…
  gatehouse policy diff ./policies
  gatehouse policy publish ./policies --reason "Editors may archive albums"
  gatehouse policy diff --revision 7
  gatehouse policy rollback 6 --reason "Archiving was too much"
  gatehouse policy export ./policies
  gatehouse policy import ./policies && gatehouse policy publish --reason "As reviewed"`
}

var errPolicies = errors.New("the policies are not valid: see above")

type validatePolicies struct {
	Dir        string `arg:"" optional:"" help:"Directory, zip or tar.gz of policies. Default: the server's draft."`
	AllowEmpty bool   `help:"Accept policies that decide nothing, also an empty directory."`
	remote     `embed:"" group:"Server:"`
}

// Run compiles the policies and prints every problem and warning.
func (c *validatePolicies) Run(e *env) error {
	var v struct{ Errors, Warnings []compiler.Problem }
	if c.Dir != "" {
		files, err := readPolicies(e, c.Dir)
		if err != nil {
			return e.problems(err)
		}
		compiled, err := compiler.Compile(e.ctx, files, engine.DefaultSettings())
		if err == nil && !c.AllowEmpty {
			err = compiled.DecidesNothing(files)
		}
		if err != nil {
			return e.problems(err)
		}
		v.Warnings = compiled.Warnings
	} else if err := c.call(e, "POST", "/policies/draft/validate", allowEmpty(c.AllowEmpty), nil, &v); err != nil {
		return err
	}
	if len(v.Errors) > 0 {
		return e.problems(compiler.Problems(v.Errors))
	}
	e.warn(v.Warnings)
	fmt.Fprintln(e.out, "The policies are valid.")
	return nil
}

// allowEmpty returns the query of a request that accepts policies which decide nothing.
func allowEmpty(yes bool) url.Values {
	if !yes {
		return url.Values{}
	}
	return url.Values{"allow_empty": {"true"}}
}

// warn prints remarks on policies that are accepted.
func (e *env) warn(found []compiler.Problem) {
	for _, p := range found {
		fmt.Fprintln(e.err, place(p.File, p.Line, p.Column)+"warning: "+p.Message)
	}
}

// problems prints the problems in err as compilers do, and returns errPolicies. It returns any
// other err as it is.
func (e *env) problems(err error) error {
	wrong, ok := errors.AsType[compiler.Problems](err)
	if !ok {
		return err
	}
	for _, p := range wrong {
		fmt.Fprintln(e.err, place(p.File, p.Line, p.Column)+p.Message)
	}
	return errPolicies
}

func place(file string, line, column int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", file, line, column)
}

type testPolicies struct {
	Dir     string `arg:"" optional:"" help:"Directory, zip or tar.gz of policies. Default: the server's draft."`
	Verbose bool   `short:"v" help:"Show passed cases too."`
	remote  `embed:"" group:"Server:"`
}

// errNoTests fails a pipeline that tests the wrong directory.
var errNoTests = errors.New("no test ran: check the path, or write a suite in a file whose name ends in _test.yaml")

// Run runs the suites and prints their cases. It fails if no case ran.
func (c *testPolicies) Run(e *env) error {
	var r compiler.Results
	if c.Dir != "" {
		files, err := readPolicies(e, c.Dir)
		if err != nil {
			return e.problems(err)
		}
		tested, err := compiler.Test(e.ctx, files, engine.DefaultSettings())
		if err != nil {
			return e.problems(err)
		}
		r = tested.Results
	} else if err := c.call(e, "POST", "/policies/draft/test", nil, nil, &r); err != nil {
		return err
	}
	for _, s := range r.Suites {
		fmt.Fprintf(e.out, "%s (%s): %s\n", s.File, s.Name, s.Outcome)
		if s.Error != "" {
			fmt.Fprintln(e.out, "  "+s.Error)
		}
		for _, k := range s.Cases {
			if k.Outcome == compiler.OutcomePassed && !c.Verbose {
				continue
			}
			fmt.Fprintf(e.out, "  %s: %s: may %s %s %s: ", k.Outcome, k.Name, k.Principal, k.Action, k.Resource)
			if k.Error != "" {
				fmt.Fprintln(e.out, k.Error)
			} else {
				fmt.Fprintf(e.out, "wanted %s, got %s\n", k.Wanted, k.Got)
			}
		}
	}
	fmt.Fprintf(e.out, "%d passed, %d failed, %d skipped, %d could not be run\n",
		r.Passed, r.Failed, r.Skipped, r.Errored)
	if !r.Good() {
		return errors.New("not every test passed")
	}
	if r.None() {
		return errNoTests
	}
	return nil
}

type diffPolicies struct {
	Dir      string `arg:"" optional:"" help:"Directory, zip or tar.gz of policies. Default: the server's draft."`
	Revision int64  `placeholder:"N" help:"Show what revision N changed, instead of the draft."`
	Against  int64  `placeholder:"N" help:"Compare with revision N. Default: the revision in force, or the one before --revision."`
	remote   `embed:"" group:"Server:"`
}

// Run prints a unified diff, and the policies whose meaning changes.
func (c *diffPolicies) Run(e *env) error {
	if c.Dir != "" && c.Revision > 0 {
		return errors.New("compare a directory or a revision, not both")
	}
	query := url.Values{}
	if c.Against > 0 {
		query.Set("against", strconv.FormatInt(c.Against, 10))
	}
	var d policy.Diff
	var err error
	switch {
	case c.Dir != "":
		d, err = c.withServer(e)
	case c.Revision > 0:
		err = c.call(e, "GET", fmt.Sprintf("/policies/revisions/%d/diff", c.Revision), query, nil, &d)
	default:
		err = c.call(e, "GET", "/policies/draft/diff", query, nil, &d)
	}
	if err != nil {
		return err
	}
	fmt.Fprint(e.out, d.Text())
	for _, p := range d.Policies {
		fmt.Fprintf(e.out, "%s %s (%s)\n", p.Change, p.Policy, p.File)
	}
	if len(d.Files)+len(d.Settings) == 0 {
		fmt.Fprintln(e.out, "Nothing differs.")
	}
	return nil
}

// withServer compares a directory with a revision of the server.
func (c *diffPolicies) withServer(e *env) (policy.Diff, error) {
	now, err := readPolicies(e, c.Dir)
	if err != nil {
		return policy.Diff{}, e.problems(err)
	}
	archive, err := c.export(e, policy.TarGz, c.Against, false)
	old := compiler.Files{}
	switch refusal := (*refusal)(nil); {
	case errors.As(err, &refusal) && refusal.Code == policy.ErrNothingPublished.Code:
	case err != nil:
		return policy.Diff{}, err
	default:
		if old, err = policy.ReadArchive(archive); err != nil {
			return policy.Diff{}, err
		}
	}
	return policy.Compare(e.ctx, old, now)
}

type publishPolicies struct {
	Dir    string `arg:"" optional:"" help:"Directory, zip or tar.gz of policies. Default: the server's draft."`
	Reason string `required:"" placeholder:"TEXT" help:"Reason in a sentence, which the revision keeps."`
	Base   int64  `placeholder:"N" help:"Publish a draft that was begun before revision N, which is in force."`

	AllowEmpty bool `help:"Publish even if no file is a policy that decides something, also an empty directory."`
	remote     `embed:"" group:"Server:"`
}

// Run publishes the policies and prints the number of the revision.
func (c *publishPolicies) Run(e *env) error {
	var made struct {
		Revision  int64
		Unchanged bool
		Warnings  []compiler.Problem
	}
	if c.Dir == "" {
		body := map[string]any{"reason": c.Reason, "allow_empty": c.AllowEmpty}
		if c.Base > 0 {
			body["base"] = c.Base
		}
		if err := c.call(e, "POST", "/policies/draft/publish", nil, body, &made); err != nil {
			return err
		}
	} else {
		files, err := readPolicies(e, c.Dir)
		if err != nil {
			return e.problems(err)
		}
		query := allowEmpty(c.AllowEmpty)
		query.Set("publish", "true")
		query.Set("reason", c.Reason)
		if err := c.call(e, "POST", "/policies/import", query, policy.Pack(files, policy.TarGz), &made); err != nil {
			return err
		}
	}
	e.warn(made.Warnings)
	if made.Unchanged {
		fmt.Fprintf(e.out, "Nothing changed: revision %d, which is in force, has the same files.\n", made.Revision)
		return nil
	}
	fmt.Fprintf(e.out, "Revision %d is in force.\n", made.Revision)
	return nil
}

type rollbackPolicies struct {
	Revision int64  `arg:"" help:"Revision to publish again."`
	Reason   string `required:"" placeholder:"TEXT" help:"Reason in a sentence, which the new revision keeps."`
	remote   `embed:"" group:"Server:"`
}

// Run publishes the older revision as a new one.
func (c *rollbackPolicies) Run(e *env) error {
	var made struct{ Revision int64 }
	path := fmt.Sprintf("/policies/revisions/%d/rollback", c.Revision)
	if err := c.call(e, "POST", path, nil, map[string]any{"reason": c.Reason}, &made); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "Revision %d, the same as revision %d, is in force.\n", made.Revision, c.Revision)
	return nil
}

type exportPolicies struct {
	To       string `arg:"" help:"New or empty directory, or a file that ends in .zip or .tar.gz."`
	Revision int64  `placeholder:"N" help:"Revision to export. Default: the one in force."`
	Draft    bool   `help:"Export the draft instead of a revision."`
	remote   `embed:"" group:"Server:"`
}

// Run writes the policies.
func (c *exportPolicies) Run(e *env) error {
	form := policy.TarGz
	if strings.HasSuffix(c.To, ".zip") {
		form = policy.Zip
	}
	archive, err := c.export(e, form, c.Revision, c.Draft)
	if err != nil {
		return err
	}
	files, err := policy.ReadArchive(archive) // paths of a server are not trusted
	if err != nil {
		return err
	}
	if form == policy.Zip || strings.HasSuffix(c.To, ".tar.gz") || strings.HasSuffix(c.To, ".tgz") {
		err = os.WriteFile(c.To, archive, 0o644)
	} else {
		err = writePolicies(c.To, files)
	}
	if err == nil {
		fmt.Fprintf(e.out, "%d files are in %s.\n", len(files), c.To)
	}
	return err
}

type importPolicies struct {
	Dir    string `arg:"" help:"Directory, zip or tar.gz of policies."`
	remote `embed:"" group:"Server:"`
}

// Run replaces the server's draft.
func (c *importPolicies) Run(e *env) error {
	files, err := readPolicies(e, c.Dir)
	if err != nil {
		return e.problems(err)
	}
	if err := c.call(e, "POST", "/policies/import", nil, policy.Pack(files, policy.TarGz), nil); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "The draft has the %d files of %s.\n", len(files), c.Dir)
	return nil
}
