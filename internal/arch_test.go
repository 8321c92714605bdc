// Package internal holds the one test that reads the whole tree: the architecture.
package internal

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
)

const module = "github.com/gatehouse-iam/gatehouse/"

// The floors, top to bottom, and the order of packages on the two lower ones: a
// package imports only what stands before it. docs/ARCHITECTURE.md draws this.
var (
	kitOrder = []string{"id", "clock", "fault", "caller", "cache", "secret", "db", "batch", "job", "page", "filter", "web", "api", "mail", "config", "jose"}
	iamOrder = []string{"audit", "tenant", "user", "group", "role", "credential", "attempt", "application", "session", "signingkey", "grant", "engine", "compiler", "policy", "principal", "decision", "access", "signin"}
)

// onlyIn names packages that one place alone may import, and why.
var onlyIn = map[string]struct {
	places []string
	reason string
}{
	"github.com/go-jose/go-jose/v4":      {[]string{"internal/kit/jose"}, "algorithm allow-lists and typ checks live in one place"},
	"database/sql":                       {[]string{"internal/kit/db"}, "the only way to SQL is a transaction of kit/db"},
	"github.com/jackc/pgx/v5":            {[]string{"internal/kit/db", "internal/testkit"}, "the only way to SQL is a transaction of kit/db"},
	"modernc.org/sqlite":                 {[]string{"internal/kit/db"}, "the only way to SQL is a transaction of kit/db"},
	"github.com/cerbos/cerbos/private":   {[]string{"internal/iam/engine", "internal/iam/compiler"}, "Cerbos promises no stability there, so two packages have to follow it"},
	"github.com/cerbos/cloud-api":        {[]string{"internal/iam/engine"}, "it configures the engine"},
	"github.com/cerbos/cerbos-sdk-go":    {[]string{"internal/bench"}, "it measures us as a client of the Cerbos API does"},
	"github.com/google/cel-go":           {[]string{"internal/iam/engine", "internal/iam/compiler"}, "conditions are the engine's, and the compiler explains them"},
	"github.com/lestrrat-go/jwx":         {[]string{"internal/iam/engine"}, "it reads the JWTs of auxData exactly as Cerbos does, and nothing else; our own tokens are kit/jose's"},
	"github.com/cerbos/cerbos/api/genpb": {[]string{"internal/iam/engine", "internal/iam/compiler", "internal/iam/principal", "internal/iam/decision", "internal/iam/signin", "internal/doors/pdp", "internal/doors/admin", "internal/bench", "internal/parity", "internal/testkit"}, "the engine's messages are for those who ask it"},
}

// makesCallers names who may say on whose behalf a transaction runs.
var makesCallers = map[string]string{
	"internal/kit/web":    "a request's caller",
	"internal/kit/job":    "a job's caller",
	"internal/kit/batch":  "the recorder's own, which only ever binds the tenants it was given",
	"internal/iam/tenant": "the poller of changed configuration and the deletion job, for which no request stands",
	"internal/app":        "first start and the command line",
}

type source struct {
	dir, path string
	test      bool
	file      *ast.File
}

func sources(t *testing.T) (out []source) {
	t.Helper()
	err := filepath.WalkDir("..", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), ".") && e.Name() != ".." || e.Name() == "node_modules" || e.Name() == "gatehouse-data") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, "../"))
		out = append(out, source{dir: filepath.ToSlash(filepath.Dir(rel)), path: rel, test: strings.HasSuffix(p, "_test.go"), file: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func imports(f *ast.File) (out []string) {
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		out = append(out, p)
	}
	return out
}

// place says which floor a package is on, and its rank there.
func place(dir string) (floor, rank int, known bool) {
	parts := strings.Split(dir, "/")
	if len(parts) >= 3 && parts[0] == "internal" {
		switch parts[1] {
		case "kit":
			r := slices.Index(kitOrder, parts[2])
			return 0, r, r >= 0
		case "iam":
			r := slices.Index(iamOrder, parts[2])
			return 1, r, r >= 0
		case "doors":
			return 2, 0, true
		}
	}
	switch {
	case dir == "internal/app" || strings.HasPrefix(dir, "internal/app/"):
		return 3, 0, true
	case strings.HasPrefix(dir, "cmd/"):
		return 4, 0, true
	}
	return -1, 0, false
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir == "internal" {
			continue
		}
		floor, rank, known := place(s.dir)
		if strings.HasPrefix(s.dir, "internal/kit/") || strings.HasPrefix(s.dir, "internal/iam/") {
			if !known {
				t.Errorf("%s: the package has no place in the order of its floor; give it one in internal/arch_test.go", s.dir)
			}
		}
		for _, imp := range imports(s.file) {
			dir, own := strings.CutPrefix(imp, module)
			if !own {
				continue
			}
			if strings.HasPrefix(dir, "internal/testkit") && !strings.HasPrefix(s.dir, "internal/testkit") && !strings.Contains(s.dir, "bench") && !strings.Contains(s.dir, "e2e") {
				t.Errorf("%s imports %s: testkit is for tests", s.path, dir)
			}
			if !known {
				continue
			}
			f, r, ok := place(dir)
			if !ok || dir == s.dir || strings.HasPrefix(dir, s.dir+"/") {
				continue
			}
			switch {
			case f > floor:
				t.Errorf("%s imports %s: an arrow going up", s.path, dir)
			case f == floor && floor == 2 && !sameDoor(s.dir, dir):
				t.Errorf("%s imports %s: doors never import doors", s.path, dir)
			case f == floor && floor < 2 && r > rank:
				t.Errorf("%s imports %s: it stands later on the same floor", s.path, dir)
			}
		}
	}
}

func sameDoor(a, b string) bool {
	return strings.Split(a, "/")[2] == strings.Split(b, "/")[2]
}

func TestOneWayToSQLAndToKeys(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir == "internal" {
			continue
		}
		for _, imp := range imports(s.file) {
			for lib, rule := range onlyIn {
				if imp == "database/sql/driver" || imp != lib && !strings.HasPrefix(imp, lib+"/") { // the driver package is interfaces only
					continue
				}
				if !slices.ContainsFunc(rule.places, func(p string) bool { return s.dir == p || strings.HasPrefix(s.dir, p+"/") }) {
					t.Errorf("%s imports %s: only %v may, because %s", s.path, imp, rule.places, rule.reason)
				}
			}
		}
	}
}

func TestCallersAreMadeInFewPlaces(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || makesCallers[s.dir] != "" || strings.HasPrefix(s.dir, "internal/testkit") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) == 0 {
				return true
			}
			if sel, ok := lit.Type.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "caller" && sel.Sel.Name == "Caller" {
					t.Errorf("%s makes a caller; pass on the one it was given", s.path)
				}
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 40
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment that says what it owns", dir)
		}
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "models", "misc", "manager", "service"} {
			if filepath.Base(dir) == bad {
				t.Errorf("%s: a name that says nothing", dir)
			}
		}
	}
}

// Time comes from a transaction or a clock, so that tests can move it. What is
// listed measures durations for logs and sockets, never a lifetime.
func TestNobodyReadsTheClockBehindTheClock(t *testing.T) {
	allowed := []string{"internal/kit/clock", "internal/kit/web", "internal/kit/mail", "internal/testkit", "internal/bench", "internal/e2e", "examples", "cmd"}
	for _, s := range sources(t) {
		if s.test || slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(s.dir, p) }) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s calls time.Now; take the transaction's Now or a clock", s.path)
				}
			}
			return true
		})
	}
}
