package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	treePath    = regexp.MustCompile(`^[\w.*-]+(/[\w.*-]+)+/?$`)
	goFile      = regexp.MustCompile(`^\w+\.go$`)
	qualified   = regexp.MustCompile(`^([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?$`)
	packageList = regexp.MustCompile(`(?:\w+ → )+\w+`)
)

// TestPagesNameWhatExists rejects a Markdown page that names, as code, a file, a folder or an
// exported Go name that the tree does not have. Decisions are exempt: they name what was planned.
func TestPagesNameWhatExists(t *testing.T) {
	tree := readTree(t)
	found := 0
	for _, p := range files(t, "..", ".md") {
		if strings.HasPrefix(p, filepath.Join("..", "docs", "decisions")) {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(withoutFences(string(text)), "\n") {
			for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
				exists, checked := tree.has(span[1])
				if checked {
					found++
				}
				if checked && !exists {
					t.Errorf("%s:%d: the tree has no %s", strings.TrimPrefix(p, "../"), i+1, span[1])
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("%d names were found, too few: the patterns of this test fit no more", found)
	}
}

// The lists of packages in ARCHITECTURE's diagram are the order that TestImportsGoDown enforces.
func TestArchitectureListsTheFloors(t *testing.T) {
	text, err := os.ReadFile("../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, diagram, _ := strings.Cut(string(text), "```\n")
	diagram, _, _ = strings.Cut(diagram, "```\n")
	lists := packageList.FindAllString(regexp.MustCompile(`→\s+`).ReplaceAllString(diagram, "→ "), -1)
	for _, f := range floors {
		if want := strings.Join(f.order, " → "); f.order != nil && !slices.Contains(lists, want) {
			t.Errorf("%s: the diagram does not list %q: %q", f.dir, want, lists)
		}
	}
}

// withoutFences empties the lines of fenced code.
func withoutFences(text string) string {
	lines, fenced := strings.Split(text, "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return strings.Join(lines, "\n")
}

// treeNames is the tree's files by name, and the exported names by package: "web.Site.Local".
type treeNames struct {
	files, packages, names map[string]bool
}

func readTree(t *testing.T) treeNames {
	t.Helper()
	s := treeNames{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, p := range files(t, "..") {
		s.files[path.Base(filepath.ToSlash(p))] = true
		if path.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.packages[file.Name.Name] = true
		for _, d := range file.Decls {
			s.declare(file.Name.Name, d)
		}
	}
	return s
}

func (s treeNames) declare(pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			s.names[pkg+"."+d.Name.Name] = true
			return
		}
		ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
			if receiver, ok := n.(*ast.Ident); ok {
				s.names[pkg+"."+receiver.Name+"."+d.Name.Name] = true
			}
			return true
		})
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					s.names[pkg+"."+name.Name] = true
				}
			case *ast.TypeSpec:
				s.names[pkg+"."+spec.Name.Name] = true
				ast.Inspect(spec.Type, func(n ast.Node) bool {
					if f, ok := n.(*ast.Field); ok {
						for _, name := range f.Names {
							s.names[pkg+"."+spec.Name.Name+"."+name.Name] = true
						}
					}
					return true
				})
			}
		}
	}
}

// has reports whether the tree has what a code span names, and whether the span is such a name.
func (s treeNames) has(span string) (bool, bool) {
	if q := qualified.FindStringSubmatch(span); q != nil {
		return s.names[span], s.packages[q[1]]
	}
	if goFile.MatchString(span) {
		return s.files[span], true
	}
	roots := []string{"internal", "iam", "kit", "doors", "app", "testkit", "docs", "migrations", "scripts", "cmd",
		"examples", "e2e", ".ci"}
	first, _, _ := strings.Cut(span, "/")
	if !treePath.MatchString(span) || !slices.Contains(roots, first) && !(first == "policies" && path.Ext(span) != "") {
		return false, false
	}
	for _, root := range []string{"..", "."} {
		if at, _ := filepath.Glob(filepath.Join(root, span)); len(at) > 0 {
			return true, true
		}
	}
	return false, true
}
