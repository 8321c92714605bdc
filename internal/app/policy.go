package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
)

// policyCommands work on a tenant's policies: those in a directory, or those of a server.
type policyCommands struct {
	Validate validatePolicies `cmd:"" help:"Compile the policies of a directory, or a server's draft."`
	Test     testPolicies     `cmd:"" help:"Run the test suites of a directory, or of a server's draft."`
	Diff     diffPolicies     `cmd:"" help:"Show what publishing a directory or a server's draft would change, or what a revision changed."`
	Publish  publishPolicies  `cmd:"" help:"Publish a directory, or a server's draft."`
	Rollback rollbackPolicies `cmd:"" help:"Publish an older revision again."`
	Export   exportPolicies   `cmd:"" help:"Write a server's policies into a directory, a zip or a tar.gz."`
	Import   importPolicies   `cmd:"" help:"Make a server's draft from a directory, a zip or a tar.gz."`
}

// Help implements kong.HelpProvider.
func (policyCommands) Help() string {
	return `Policies are an ordinary Cerbos directory. validate and test work on a directory without
any server; everything else speaks to the tenant at --url, by --token or by
--client-id and --client-secret of a machine application. All four are also read
from GATEHOUSE_URL, GATEHOUSE_TOKEN, GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET.

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

var errPolicies = errors.New("the policies are not valid; see above")

type validatePolicies struct {
	remote `embed:""`
	Dir    string `arg:"" optional:"" help:"A directory, zip or tar.gz of policies; the server's draft where it is left out."`
}

// Run compiles and prints every problem.
func (c *validatePolicies) Run(e *env) error {
	var problems []compiler.Problem
	if c.Dir != "" {
		files, err := readPolicies(c.Dir)
		if err != nil {
			return e.problems(err)
		}
		if _, err = compiler.Compile(e.ctx, files, engine.DefaultSettings()); err != nil {
			return e.problems(err)
		}
	} else {
		var v struct{ Errors []compiler.Problem }
		if err := c.call(e, "POST", "/policies/draft/validate", nil, nil, &v); err != nil {
			return err
		}
		problems = v.Errors
	}
	if len(problems) > 0 {
		return e.problems(compiler.Problems(problems))
	}
	fmt.Fprintln(e.out, "The policies are valid.")
	return nil
}

// problems prints the problems in err, as compilers do, and returns what the command fails
// with; other errors pass.
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
	remote  `embed:""`
	Dir     string `arg:"" optional:"" help:"A directory, zip or tar.gz of policies; the server's draft where it is left out."`
	Verbose bool   `short:"v" help:"Show the cases that passed too."`
}

// Run runs the suites and prints them case by case.
func (c *testPolicies) Run(e *env) error {
	var r compiler.Results
	if c.Dir != "" {
		files, err := readPolicies(c.Dir)
		if err != nil {
			return e.problems(err)
		}
		if r, err = compiler.RunSuites(e.ctx, files, engine.DefaultSettings()); err != nil {
			return e.problems(err)
		}
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
	fmt.Fprintf(e.out, "%d passed, %d failed, %d skipped, %d could not be run\n", r.Passed, r.Failed, r.Skipped, r.Errored)
	if !r.Good() {
		return errors.New("not every test passed")
	}
	return nil
}

type diffPolicies struct {
	remote   `embed:""`
	Dir      string `arg:"" optional:"" help:"A directory, zip or tar.gz of policies; the server's draft where it is left out."`
	Revision int64  `placeholder:"N" help:"What revision N changed, instead of the draft."`
	Against  int64  `placeholder:"N" help:"Compare with revision N. Default: what is in force, or the revision before."`
}

// Run prints a unified diff, and which policies mean something else.
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
	if len(d.Files) == 0 {
		fmt.Fprintln(e.out, "Nothing differs.")
	}
	return nil
}

// withServer compares a directory with a revision of the server.
func (c *diffPolicies) withServer(e *env) (policy.Diff, error) {
	now, err := readPolicies(c.Dir)
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
	return policy.Compare(old, now), nil
}

type publishPolicies struct {
	remote `embed:""`
	Dir    string `arg:"" optional:"" help:"A directory, zip or tar.gz of policies; the server's draft where it is left out."`
	Reason string `required:"" help:"Why, in a sentence. It is kept with the revision."`
	Base   int64  `placeholder:"N" help:"Publish the draft although it was begun before revision N, which is in force."`
}

// Run publishes and prints the revision's number.
func (c *publishPolicies) Run(e *env) error {
	var made struct{ Revision int64 }
	if c.Dir == "" {
		body := map[string]any{"reason": c.Reason}
		if c.Base > 0 {
			body["base"] = c.Base
		}
		if err := c.call(e, "POST", "/policies/draft/publish", nil, body, &made); err != nil {
			return err
		}
	} else {
		files, err := readPolicies(c.Dir)
		if err != nil {
			return e.problems(err)
		}
		query := url.Values{"publish": {"true"}, "reason": {c.Reason}}
		if err := c.call(e, "POST", "/policies/import", query, policy.Pack(files, policy.TarGz), &made); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.out, "Revision %d is in force.\n", made.Revision)
	return nil
}

type rollbackPolicies struct {
	remote   `embed:""`
	Revision int64  `arg:"" help:"The revision to publish again."`
	Reason   string `required:"" help:"Why, in a sentence. It is kept with the new revision."`
}

// Run publishes the older revision as a new one.
func (c *rollbackPolicies) Run(e *env) error {
	var made struct{ Revision int64 }
	if err := c.call(e, "POST", fmt.Sprintf("/policies/revisions/%d/rollback", c.Revision), nil, map[string]any{"reason": c.Reason}, &made); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "Revision %d, the same as revision %d, is in force.\n", made.Revision, c.Revision)
	return nil
}

type exportPolicies struct {
	remote   `embed:""`
	To       string `arg:"" help:"An empty or new directory, or a file that ends in .zip or .tar.gz."`
	Revision int64  `placeholder:"N" help:"Which revision. Default: the one in force."`
	Draft    bool   `help:"The draft instead of a revision."`
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
	files, err := policy.ReadArchive(archive) // a server is not believed about paths
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
	remote `embed:""`
	Dir    string `arg:"" help:"A directory, zip or tar.gz of policies."`
}

// Run replaces the server's draft.
func (c *importPolicies) Run(e *env) error {
	files, err := readPolicies(c.Dir)
	if err != nil {
		return e.problems(err)
	}
	if err := c.call(e, "POST", "/policies/import", nil, policy.Pack(files, policy.TarGz), nil); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "The draft has the %d files of %s.\n", len(files), c.Dir)
	return nil
}

// readPolicies reads a directory, or an archive of one. Hidden files are passed over, as
// Cerbos does.
func readPolicies(from string) (compiler.Files, error) {
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if info.Size() > 4*compiler.MaxTotal {
			return nil, fmt.Errorf("%s is larger than any archive of policies may be", from)
		}
		archive, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		return policy.ReadArchive(archive)
	}
	files := compiler.Files{}
	root := os.DirFS(from)
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is a link or a device; only files and directories are accepted", filepath.Join(from, name))
		case len(files) == compiler.MaxFiles:
			return fmt.Errorf("%s has more than %d files", from, compiler.MaxFiles)
		}
		content, err := fs.ReadFile(root, name)
		files[name] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, files.Check()
}

// writePolicies writes files into a directory that is new or empty: what was in it would
// otherwise stay beside them and be taken for policies.
func writePolicies(dir string, files compiler.Files) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if found, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(found) > 0 {
		return fmt.Errorf("%s is not empty; export into a new directory", dir)
	}
	for name, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
