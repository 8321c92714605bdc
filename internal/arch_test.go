// Package internal holds the tests that read the whole tree: architecture, tables, words.
package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-iam/gatehouse/"

// floors are the parts of the tree, from the lowest: a package imports only what stands before it.
// A floor with an order has its packages in that order. docs/ARCHITECTURE.md draws this.
var floors = []struct {
	dir   string
	order []string // nil: the packages of the floor import none of each other
}{
	{dir: "examples"}, // a client of ours, which imports nothing of ours
	{dir: "migrations"},
	{dir: "policies"},
	{dir: "internal/kit", order: []string{"id", "clock", "fault", "typed", "network", "outbound", "caller", "cache",
		"secret", "db", "batch", "job", "page", "filter", "web", "api", "mail", "config", "jose"}},
	{dir: "internal/iam", order: []string{
		"audit", "tenant", "user", "group", "role", "credential", "attempt", "invitation", "application",
		"resourceserver", "session", "signingkey", "subject", "grant", "logout", "engine", "claim", "compiler",
		"policy", "principal", "decision", "usage", "access", "signin",
	}},
	{dir: "internal/doors"},
	{dir: "internal/pdpproxy"}, // a client of ours too, which needs only tools
	{dir: "internal/app"},
	{dir: "cmd"},
}

// trials test or measure the whole program. They import anything, and only tests import them.
var trials = []string{"internal", "internal/testkit", "internal/bench", "internal/e2e", "internal/parity", "e2e"}

// onlyIn names packages that few places may import, and why.
var onlyIn = map[string]struct {
	places []string
	reason string
}{
	"github.com/go-jose/go-jose/v4": {[]string{"internal/kit/jose"},
		"algorithm allow-lists and typ checks live in one place"},
	"database/sql": {[]string{"internal/kit/db"},
		"the only way to SQL is a transaction of kit/db"},
	"github.com/jackc/pgx/v5": {[]string{"internal/kit/db", "internal/testkit", "internal/bench"},
		"the only way to SQL is a transaction of kit/db"},
	"modernc.org/sqlite": {[]string{"internal/kit/db"},
		"the only way to SQL is a transaction of kit/db"},
	"github.com/cerbos/cerbos/private": {[]string{"internal/iam/engine", "internal/iam/compiler"},
		"Cerbos promises no stability there, so two packages have to follow it"},
	"github.com/cerbos/cloud-api": {[]string{"internal/iam/engine"}, "it configures the engine"},
	"github.com/cerbos/cerbos-sdk-go": {[]string{"internal/bench"},
		"it measures us as a client of the Cerbos API does"},
	"github.com/google/cel-go": {[]string{"internal/iam/engine", "internal/iam/compiler"},
		"conditions are the engine's, and the compiler explains them"},
	"github.com/lestrrat-go/jwx": {[]string{"internal/iam/engine"},
		"it reads the JWTs of auxData exactly as Cerbos does, and nothing else; our own tokens are kit/jose's"},
	"github.com/cerbos/cerbos/api/genpb": {
		[]string{"internal/iam/engine", "internal/iam/compiler", "internal/iam/principal", "internal/iam/decision",
			"internal/iam/signin", "internal/doors/pdp", "internal/doors/admin", "internal/bench", "internal/parity",
			"internal/testkit"},
		"the engine's messages are for its callers"},
}

// makesCallers lists the packages that may create a caller, with their reason.
var makesCallers = map[string]string{
	"internal/kit/web":    "a request's caller",
	"internal/kit/job":    "a job's caller",
	"internal/kit/batch":  "the recorder's own, which only ever binds the tenants it was given",
	"internal/iam/tenant": "the poller of changed configuration and the deletion job, which serve no request",
	"internal/app":        "first start and the command line",
}

type source struct {
	dir, path string
	test      bool
	file      *ast.File
}

func sources(t *testing.T) []source {
	var out []source
	t.Helper()
	err := filepath.WalkDir("..", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), ".") && e.Name() != ".." || e.Name() == "node_modules" ||
			e.Name() == "gatehouse-data") {
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
		out = append(out, source{dir: filepath.ToSlash(filepath.Dir(rel)), path: rel,
			test: strings.HasSuffix(p, "_test.go"), file: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func imports(f *ast.File) []string {
	var out []string
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		out = append(out, p)
	}
	return out
}

// within reports whether dir is floor or below it.
func within(dir, floor string) bool { return dir == floor || strings.HasPrefix(dir, floor+"/") }

func trial(dir string) bool {
	return slices.ContainsFunc(trials, func(t string) bool { return dir == t || t != "internal" && within(dir, t) })
}

// floorOf returns the index in floors of the floor that dir is on, or -1.
func floorOf(dir string) int {
	for i, f := range floors {
		if within(dir, f.dir) {
			return i
		}
	}
	return -1
}

// place returns the floor of a directory and its rank there, or false for a directory without a
// place. A directory below a package has the package's rank.
func place(dir string) (int, int, bool) {
	floor := floorOf(dir)
	if floor < 0 || floors[floor].order == nil {
		return floor, 0, floor >= 0
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(dir, floors[floor].dir+"/"), "/")
	rank := slices.Index(floors[floor].order, name)
	return floor, rank, rank >= 0
}

// packageOf returns the directory on a floor that dir is, or is below: "internal/doors/pdp" for
// "internal/doors/pdp/wire".
func packageOf(dir string, floor int) string {
	f := floors[floor].dir
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dir, f), "/"), "/")
	return f + "/" + name
}

func TestEveryDirectoryHasAPlace(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if _, _, known := place(s.dir); !known && !trial(s.dir) && !seen[s.dir] {
			seen[s.dir] = true
			t.Errorf("%s has no place: give it one in floors or trials of internal/arch_test.go", s.dir)
		}
	}
	for _, f := range floors {
		for _, name := range f.order {
			if _, err := os.Stat("../" + f.dir + "/" + name); err != nil {
				t.Errorf("%s/%s has a place and does not exist", f.dir, name)
			}
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || trial(s.dir) {
			continue
		}
		floor, rank, known := place(s.dir)
		for _, imp := range imports(s.file) {
			dir, own := strings.CutPrefix(imp, module)
			if !own {
				continue
			}
			if trial(dir) {
				t.Errorf("%s imports %s: it is for tests", s.path, dir)
			}
			f, r, ok := place(dir)
			if !known || !ok {
				continue // TestEveryDirectoryHasAPlace says so
			}
			mine, theirs := packageOf(s.dir, floor), packageOf(dir, f)
			switch {
			case f > floor || mine == theirs && dir != s.dir && within(s.dir, dir):
				t.Errorf("%s imports %s: an arrow going up", s.path, dir)
			case f < floor || mine == theirs:
			case floors[floor].order == nil:
				t.Errorf("%s imports %s: packages of %s never import each other", s.path, dir, floors[floor].dir)
			case r > rank:
				t.Errorf("%s imports %s: it stands later on the same floor", s.path, dir)
			}
		}
	}
}

func TestOneWayToSQLAndToKeys(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, imp := range imports(s.file) {
			for lib, rule := range onlyIn {
				// database/sql/driver has interfaces only.
				if imp == "database/sql/driver" || imp != lib && !strings.HasPrefix(imp, lib+"/") {
					continue
				}
				if !slices.ContainsFunc(rule.places,
					func(p string) bool { return s.dir == p || strings.HasPrefix(s.dir, p+"/") }) {
					t.Errorf("%s imports %s: only %v may, because %s", s.path, imp, rule.places, rule.reason)
				}
			}
		}
	}
}

func TestCallersAreMadeInFewPlaces(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || makesCallers[s.dir] != "" || within(s.dir, "internal/testkit") {
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
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "models", "misc", "manager",
			"service"} {
			if filepath.Base(dir) == bad {
				t.Errorf("%s: a name that says nothing", dir)
			}
		}
	}
}

// Time comes from a transaction or a clock, so that tests can move it. The packages in allowed
// measure durations for logs and sockets, never a lifetime.
func TestTimeComesFromAClock(t *testing.T) {
	allowed := []string{"internal/kit/clock", "internal/kit/web", "internal/kit/mail", "internal/testkit",
		"internal/bench", "internal/e2e", "examples", "cmd"}
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

// Only iam/logout ends sessions, because it tells the applications of a session in the same
// transaction.
func TestSessionsEndInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir == "internal/iam/logout" || trial(s.dir) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Revoke" && sel.Sel.Name != "RevokeAll" {
				return true
			}
			if p, ok := sel.X.(*ast.Ident); ok && p.Name == "session" {
				t.Errorf("%s ends a session without telling its applications: call iam/logout", s.path)
			}
			return true
		})
	}
}
