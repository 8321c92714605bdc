package role

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var write = flag.Bool("write", false, "write docs/roles.md instead of comparing it")

const goldenFile = "../../../docs/roles.md"

// TestGoldenTable keeps docs/roles.md true: what each built-in role may do, in a
// form that people who do not read Go can check.
func TestGoldenTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Roles and actions\n\nWhat each built-in role may do in the management API. A tenant can define roles of its own from the same actions.\n" +
		"Nobody can give, take or define what they do not hold, nor change a user or application that may do more than they may.\n\n" +
		"This file is written by `go test ./internal/iam/role -run TestGoldenTable -write` and compared by the tests.\n\n")
	b.WriteString("| action | what it is |")
	for _, r := range Builtins() {
		b.WriteString(" " + r.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":-:|", len(builtins)) + "\n")
	for _, a := range Actions {
		fmt.Fprintf(&b, "| `%s` | %s |", a.Name, a.Does)
		for _, r := range Builtins() {
			mark := ""
			if r.set().Allows(a.Name) {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	if *write {
		if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), b.String()); diff != "" {
		t.Errorf("docs/roles.md says otherwise; if the change is meant, run: go test ./internal/iam/role -run TestGoldenTable -write\n%s", diff)
	}
}

// TestBuiltinsAreOrdered: each role can be managed by an owner, and no lesser role
// covers a greater one.
func TestBuiltinsAreOrdered(t *testing.T) {
	owner, _ := builtin(Owner)
	admin, _ := builtin(Admin)
	for _, r := range Builtins() {
		if !owner.set().Covers(r.set()) {
			t.Errorf("an owner cannot manage %s", r.Name)
		}
		if r.Name != Owner && r.set().Covers(owner.set()) {
			t.Errorf("%s may do all that an owner may", r.Name)
		}
		if r.Name != Owner && r.Name != Admin && r.set().Covers(admin.set()) {
			t.Errorf("%s may do all that an admin may", r.Name)
		}
	}
	if a := owner.set().Actions(); len(a) != len(Actions) {
		t.Errorf("the catalogue has an action twice, or an owner lacks one: %d of %d", len(a), len(Actions))
	}
}

func TestSet(t *testing.T) {
	var none Set
	if none.Allows("user.read") || !none.Covers(none) || none.Covers(SetOf("user.read")) {
		t.Error("the zero set allows something")
	}
	if SetOf("no.such", "user.read").Allows("no.such") {
		t.Error("an action outside of the catalogue is allowed")
	}
	if !Everything().Covers(SetOf("key.rotate", "tenant.delete")) {
		t.Error("Everything lacks something")
	}
}
