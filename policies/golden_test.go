package policies_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/policies"
)

var write = flag.Bool("write", false, "write docs/roles.md and internal/iam/role/builtin.go instead of comparing them")

const (
	tableFile   = "../docs/roles.md"
	builtinFile = "../internal/iam/role/builtin.go"
)

// decider is how the server asks; the kinds are reserved, so there is no source of a
// tenant's own policies to ask.
var decider = engine.New(nil, compiler.NewBase(compiler.BaseTable(policies.Files)))

// ask returns what a principal with a built-in role, or with actions of a tenant's
// own roles, is allowed of the whole catalogue.
func ask(t *testing.T, roles, held []string, platform bool) []string {
	t.Helper()
	var may []string
	attr, err := structpb.NewStruct(map[string]any{"held": anys(held), "only": map[string]any{}, "platform": platform})
	if err != nil {
		t.Fatal(err)
	}
	p := &enginev1.Principal{Id: "p", Roles: roles, Attr: attr.Fields}
	var in []*enginev1.CheckInput
	for _, a := range role.Actions {
		noun, verb, _ := strings.Cut(a.Name, ".")
		in = append(in, &enginev1.CheckInput{Principal: p, Resource: &enginev1.Resource{Kind: "gatehouse:" + noun,
			Id: "r"}, Actions: []string{verb}})
	}
	checked, err := decider.Check(t.Context(), caller.Caller{Tenant: id.New()}, in)
	if err != nil {
		t.Fatal(err)
	}
	out := checked.Outputs
	for i, a := range role.Actions {
		if out[i].Actions[in[i].Actions[0]].Effect == effectv1.Effect_EFFECT_ALLOW {
			may = append(may, a.Name)
		}
	}
	return may
}

func anys(s []string) []any {
	out := []any{}
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

// TestGoldenTable compares docs/roles.md and iam/role's built-in roles with the policies' own
// answers. People who read neither Go nor Cerbos can check that page.
func TestGoldenTable(t *testing.T) {
	var table, code strings.Builder
	table.WriteString(`# Roles and actions

What each built-in role may do in the management API. A tenant can define its own roles from the same actions.
A caller cannot assign, revoke or define rights that it does not have, nor change a user or application with more
rights, nor end its sessions and grants. Callers may always end their own.

The policies in ` + "`policies/`" + ` decide. This file is their answer. The command
` + "`go test ./policies -run TestGoldenTable -write`" + ` writes it, and the tests compare it.

`)
	table.WriteString("| action | what it is |")
	code.WriteString("// Code generated from policies/ by go test ./policies -run TestGoldenTable -write; " +
		"DO NOT EDIT.\n\n" +
		"package role\n\n" +
		"// builtinActions is what the policies allow each built-in role, in the order of the catalogue.\n" +
		"var builtinActions = map[string][]string{\n")
	may := map[string]map[string]bool{}
	for _, r := range role.Builtins() {
		table.WriteString(" " + r.Name + " |")
		fmt.Fprintf(&code, "\t%q: {\n", r.Name)
		actions := ask(t, []string{r.Name}, nil, true)
		may[r.Name] = map[string]bool{}
		for _, a := range actions {
			may[r.Name][a] = true
			fmt.Fprintf(&code, "\t\t%q,\n", a)
		}
		code.WriteString("\t},\n")
		if diff := cmp.Diff(actions, r.Actions); diff != "" && !*write {
			t.Errorf("iam/role knows other actions of %s than the policies allow:\n%s", r.Name, diff)
		}
	}
	code.WriteString("}\n")
	table.WriteString("\n|---|---|" + strings.Repeat(":-:|", len(may)) + "\n")
	for _, a := range role.Actions {
		fmt.Fprintf(&table, "| `%s` | %s |", a.Name, a.Does)
		for _, r := range role.Builtins() {
			mark := ""
			if may[r.Name][a.Name] {
				mark = "yes"
			}
			fmt.Fprintf(&table, " %s |", mark)
		}
		table.WriteString("\n")
	}
	golden(t, tableFile, []byte(table.String()))
	formatted, err := format.Source([]byte(code.String()))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, builtinFile, formatted)
}

func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *write {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s says otherwise than the policies; if the change is meant, run: go test ./policies -run "+
			"TestGoldenTable -write\n%s", name, cmp.Diff(string(got), string(want)))
	}
}

// A role of a tenant's own allows exactly the actions it lists, those of the
// platform only there; a role that no policy names allows nothing.
func TestOwnRolesAllowWhatTheyList(t *testing.T) {
	for _, a := range role.Actions {
		for _, platform := range []bool{true, false} {
			var want []string
			if platform || !strings.HasPrefix(a.Name, "tenant.") {
				want = []string{a.Name}
			}
			if diff := cmp.Diff(want, ask(t, []string{"custom"}, []string{a.Name}, platform)); diff != "" {
				t.Errorf("holding %s (platform %v): %s", a.Name, platform, diff)
			}
		}
	}
	for _, r := range []string{"custom", "Owner", "owners", "*", ""} {
		if may := ask(t, []string{r}, nil, true); len(may) > 0 {
			t.Errorf("the role %q may %v", r, may)
		}
	}
	for _, a := range ask(t, []string{role.Owner}, nil, false) {
		if strings.HasPrefix(a, "tenant.") {
			t.Errorf("an owner outside of the platform may %s", a)
		}
	}
}

// Every policy has a suite, and every suite passes.
func TestSuites(t *testing.T) {
	files := compiler.Files{}
	if err := fs.WalkDir(policies.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = policies.Files.ReadFile(name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	results, err := compiler.TestBase(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	suites := map[string]bool{}
	for _, s := range results.Suites {
		suites[s.File] = s.Outcome == compiler.OutcomePassed
		if s.Error != "" {
			t.Errorf("%s: %s", s.File, s.Error)
		}
		for _, c := range s.Cases {
			if c.Outcome != compiler.OutcomePassed {
				t.Errorf("%s: %s, %s, %s, %s: %s: wanted %s, got %s %s", s.File, c.Name, c.Principal, c.Resource,
					c.Action, c.Outcome, c.Wanted, c.Got, c.Error)
			}
		}
	}
	for f := range files {
		if name, ok := strings.CutSuffix(f, ".yaml"); ok && !strings.Contains(f, "/") && !strings.HasSuffix(name,
			"_test") && !suites[name+"_test.yaml"] {
			t.Errorf("%s has no suite that passes", f)
		}
	}
}
