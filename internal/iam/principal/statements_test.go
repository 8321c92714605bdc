package principal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a principal is made from is in these tables, and in tenants, whose row is the version.
// changesRE finds statements that change what principals are made from. An update has SET: a
// summary such as "Update groups" is not a statement.
var changesRE = regexp.MustCompile(
	`(?i)\b((insert\s+into|delete\s+from)\s+` + tables + `|update\s+` + tables + `(\s+(as\s+)?\w+)?\s+set)\b`)

const tables = `(users|groups|group_members|roles|role_grants|applications)\b`

// unseen are the functions with a statement on these tables that no principal shows.
var unseen = map[string]string{
	"internal/iam/user.create":                "no copy is kept of whom the directory does not know",
	"internal/iam/user.Hold":                  "locks a row and changes nothing",
	"internal/iam/user.NextGeneration":        "the generation is no attribute",
	"internal/iam/user.SignedIn":              "the last sign-in is no attribute",
	"internal/iam/group.Create":               "nobody is in a new group",
	"internal/iam/group.Hold":                 "locks a row and changes nothing",
	"internal/iam/role.Create":                "nobody has a new role",
	"internal/iam/role.lock":                  "locks a row and changes nothing",
	"internal/iam/application.hold":           "locks a row and changes nothing",
	"internal/iam/application.NextGeneration": "the generation is no attribute",
	"internal/iam/application.Purged":         "the generation is no attribute",
	"internal/iam/application.Create":         "no copy is kept of whom the directory does not know",
	"internal/bench.(declaration)":            "fills a database before a server asks it",
}

// Every statement in the program that changes what a principal is stands in a function that
// moves the version, or in the list above with its reason.
func TestEveryStatementThatChangesAPrincipalMovesTheVersion(t *testing.T) {
	found := map[string]bool{}
	const root = "../../.."
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			if e != nil && e.IsDir() && (e.Name() == "node_modules" || e.Name() == "testkit" || e.Name() == ".git") {
				return fs.SkipDir
			}
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			name, moves, statements := filepath.ToSlash(rel)+".(declaration)", false, 0
			if f, ok := d.(*ast.FuncDecl); ok {
				name = filepath.ToSlash(rel) + "." + f.Name.Name
			}
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					if n.Kind == token.STRING {
						statements += len(changesRE.FindAllString(n.Value, -1))
					}
				case *ast.CallExpr:
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
						moves = moves || sel.Sel.Name == "PrincipalsChanged"
					}
				}
				return true
			})
			if statements == 0 {
				continue
			}
			found[name] = true
			if moves == (unseen[name] != "") {
				t.Errorf("%s changes what principals are made from: it must call tenant.PrincipalsChanged in the "+
					"same transaction, or be listed here with the reason why no principal shows it, not both", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range unseen {
		if !found[name] {
			t.Errorf("%s is listed and has no such statement", name)
		}
	}
	if len(found) < 18 {
		t.Errorf("only %d functions found: %v", len(found), found)
	}
}
