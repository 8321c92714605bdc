package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// block is a fenced block of CONTRIBUTING.md that names its file, and perhaps the function that it
// extends.
var block = regexp.MustCompile("(?m)^   ```(?:go|sql) (\\S+/\\S+)(?: (\\w+))?\n((?:   .*\n|\n)+?)   ```$")

// TestContributingsRecipe follows "Adding a management operation" in a copy of the tree. The code
// must compile, the generated files must name the operation, and the tests of the whole tree must
// accept it.
func TestContributingsRecipe(t *testing.T) {
	t.Parallel()
	testkit.SkipFast(t, "builds of a changed tree")
	root := process.Root(t)
	recipe, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	copyTree(t, root, tree)
	found := block.FindAllStringSubmatch(string(recipe), -1)
	if len(found) != 4 {
		t.Fatalf("the recipe has %d blocks that name a file, want 4", len(found))
	}
	for _, b := range found {
		apply(t, tree, b[1], b[2], strings.ReplaceAll("\n"+b[3], "\n   ", "\n")[1:])
	}
	run := func(dir, program string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = filepath.Join(tree, dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
		return out
	}
	if out := run(".", "gofmt", "-l", "internal/iam/user"); len(out) > 0 {
		t.Errorf("not formatted: %s", out)
	}
	run(".", "go", "test", "-vet=off", "./internal")
	run(".", "go", "test", "-vet=off", "./internal/kit/db", "./internal/iam/user", "./internal/iam/principal",
		"-run", "Schema|Migrations|Motto|EveryStatement")
	// One binary does what `make generate` does with docs/openapi.json, and then runs the tests.
	application := filepath.Join(t.TempDir(), "app.test")
	run(".", "go", "test", "-c", "-vet=off", "-o", application, "./internal/app")
	run("internal/app", application, "-test.run", "^TestOpenAPIIsCurrent$", "-write")
	run("internal/app", application, "-test.short", "-test.run", "OpenAPI|EveryOperation|AnotherTenantsThings")
	described, err := os.ReadFile(filepath.Join(tree, "docs", "openapi.json"))
	if err != nil || !strings.Contains(string(described), `"clear-motto"`) {
		t.Errorf("docs/openapi.json does not name the operation: %v", err)
	}
}

// copyTree copies the module without what git ignores.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = from
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue // deleted and not yet committed
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// apply writes a block to its file, or extends the list that the function returns. A star stands
// for both databases, and NN for the next number of a migration.
func apply(t *testing.T, tree, name, function, code string) {
	t.Helper()
	if function != "" {
		path := filepath.Join(tree, name)
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, body, ok := strings.Cut(string(source), "\nfunc "+function+"(")
		end := strings.Index(body, "\n\t}\n}\n")
		if !ok || end < 0 {
			t.Fatalf("%s has no function %s that returns a list", name, function)
		}
		code = "\n\t\t" + strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t\t")
		extended := before + "\nfunc " + function + "(" + body[:end] + code + body[end:]
		if err := os.WriteFile(path, []byte(extended), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	places := []string{name}
	if strings.Contains(name, "*") {
		places = []string{strings.Replace(name, "*", "postgres", 1), strings.Replace(name, "*", "sqlite", 1)}
	}
	for _, place := range places {
		if dir, file := filepath.Split(place); strings.Contains(file, "000NN") {
			steps, err := fs.Glob(os.DirFS(tree), dir+"*.sql")
			if err != nil || len(steps) == 0 {
				t.Fatalf("no migrations in %s: %v", dir, err)
			}
			place = dir + strings.Replace(file, "000NN", fmt.Sprintf("%05d", len(steps)+1), 1)
		}
		if err := os.WriteFile(filepath.Join(tree, place), []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
