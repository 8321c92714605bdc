package signin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
)

// The references of methods and classes stand in the table and nowhere else in the program.
func TestReferencesStandOnce(t *testing.T) {
	references := []string{multiple, OneFactor, TwoFactors}
	for _, m := range methods {
		references = append(references, m.AMR)
	}
	// The tenant's setting has the same name as the reference, and is something else. An API may
	// demand a class, and stands below sign-ins.
	if resourceserver.TwoFactors != TwoFactors {
		t.Errorf("APIs demand %s for two factors, which is %s", resourceserver.TwoFactors, TwoFactors)
	}
	ours := []string{filepath.FromSlash("../../iam/signin/method.go"),
		filepath.FromSlash("../../iam/resourceserver/demand.go"),
		filepath.FromSlash("../../iam/tenant/settings.go")}
	err := filepath.WalkDir(filepath.FromSlash("../.."), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			slices.Contains(ours, path) {
			return err
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, _ := strconv.Unquote(l.Value); slices.Contains(references, s) {
					t.Errorf("%s: %q belongs in signin/method.go", files.Position(l.Pos()), s)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A session keeps references only, and withReferences takes the first row with one. Its proof must
// not be worth more or less than that of the row that was used.
func TestRowsOfOneReferenceAgree(t *testing.T) {
	for _, m := range methods {
		back := withReferences([]string{m.AMR})
		if len(back) != 1 || back[0].First != m.First || back[0].Factor != m.Factor {
			t.Errorf("%s: a session with %q is credited with %+v", m.Name, m.AMR, back)
		}
	}
}
