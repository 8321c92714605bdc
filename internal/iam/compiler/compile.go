package compiler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	sourcev1 "github.com/cerbos/cerbos/api/genpb/cerbos/source/v1"
	cerboscompile "github.com/cerbos/cerbos/private/compile"
	"github.com/cerbos/cerbos/private/parser"
	tablecompile "github.com/cerbos/cerbos/private/ruletable/compile"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// maxLoading is how much may be allocated while a table is loaded, in bytes: the one thing about a
// tenant's policies that every replica does for itself, beside its neighbours.
const maxLoading = 128 << 20

// Compile checks the files and returns their rule table: what a revision stores and an
// evaluator loads. It takes at most half a minute. An error is Problems, or a fault of ours.
func Compile(ctx context.Context, files Files, s engine.Settings) ([]byte, error) {
	if err := files.Check(); err != nil {
		return nil, err
	}
	r, err := sandboxed(ctx, task{Do: "compile", Files: files, Settings: s})
	return r.Table, err
}

// A schema may refer to others of its bundle, and to nothing else: not to files of this machine.
func init() { clear(jsonschema.Loaders) }

// compile is Compile inside the sandbox.
func compile(ctx context.Context, files Files, s engine.Settings) ([]byte, error) {
	table, err := compileTable(ctx, files)
	if err != nil {
		return nil, err
	}
	if wrong := reservedProblems(files); len(wrong) > 0 {
		return nil, wrong.sorted()
	}
	s.SchemaEnforcement = engine.SchemaReject // so that the schemas are read
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ev, err := engine.Load(table, s)
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return nil, wrong.sorted()
		}
		return nil, Problems{{Message: err.Error()}}
	}
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(ev)
	if used := after.TotalAlloc - before.TotalAlloc; used > maxLoading {
		return nil, Problems{{Message: fmt.Sprintf("The policies take %d MB to load; at most %d are accepted.", used>>20, maxLoading>>20)}}
	}
	return table, nil
}

func compileTable(ctx context.Context, files Files) ([]byte, error) {
	engine.Environment()
	rt, err := tablecompile.Compile(ctx, files.directory())
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return nil, wrong.sorted()
		}
		return nil, Problems{{Message: err.Error()}}
	}
	addSchemas(rt, files)
	forgetOrigins(rt)
	table, err := proto.MarshalOptions{Deterministic: true}.Marshal(rt)
	if err != nil {
		return nil, fmt.Errorf("write a compiled rule table: %w", err)
	}
	return table, nil
}

// forgetOrigins takes out of the table which file each policy came from and what its author noted beside it. No answer
// is made of either: an evaluator copies the first into a trail for Cerbos' own audit log, with every check, and both
// would be in memory for as long as the tenant asks.
func forgetOrigins(rt *runtimev1.RuleTable) {
	for _, m := range rt.GetMeta() {
		m.SourceAttributes, m.Annotations = nil, nil
	}
}

// schemas is where a Cerbos directory keeps its JSON schemas.
const schemas = "_schemas/"

// addSchemas puts every schema into the table. Cerbos' compiler puts in only those that a policy names, not those
// that such a schema refers to ($ref), and an evaluator has no other place to look for them.
func addSchemas(rt *runtimev1.RuleTable, files Files) {
	if len(rt.GetJsonSchemas()) == 0 {
		return
	}
	for name, content := range files {
		if path, ok := strings.CutPrefix(name, schemas); ok && json.Valid(content) {
			rt.JsonSchemas["cerbos:///"+path] = &runtimev1.RuleTable_JSONSchema{Content: content}
		}
	}
}

// allProblems compiles every policy for itself, to say everything that is wrong at once.
func allProblems(ctx context.Context, files Files) (out Problems) {
	_, compiled, err := cerboscompile.Files(ctx, files.directory(), schemasOf(files))
	if err != nil {
		if wrong, ok := errors.AsType[*cerboscompile.Errors](err); ok {
			return indexProblems(wrong.GetIndexBuildErrors())
		}
		return Problems{{Message: err.Error()}}
	}
	for policy := range compiled {
		if policy.Error == nil {
			continue
		}
		wrong, ok := errors.AsType[*cerboscompile.Errors](policy.Error)
		if !ok {
			out = append(out, Problem{File: policy.SourceFile, Message: policy.Error.Error()})
			continue
		}
		for _, e := range wrong.GetCompileErrors().GetErrors() {
			message := e.GetDescription()
			if message == "" {
				message = e.GetError()
			}
			out = append(out, problem(e.GetFile(), e.GetPosition(), message))
		}
	}
	return out
}

// schemasOf finds the schemas that policies name among the files.
func schemasOf(files Files) cerboscompile.SchemaResolverMaker {
	return func(cerboscompile.SchemaLoader) cerboscompile.SchemaResolver {
		return func(_ context.Context, url string) (io.ReadCloser, error) {
			name := path.Join(schemas, strings.TrimPrefix(strings.TrimPrefix(url, "cerbos://"), "/"))
			return files.directory().Open(name)
		}
	}
}

// ReadFiles reads a whole directory.
func ReadFiles(from fs.FS) (Files, error) {
	files := Files{}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(from, name)
		return err
	})
	return files, err
}

func problem(file string, at *sourcev1.Position, message string) Problem {
	return Problem{file, int(at.GetLine()), int(at.GetColumn()), message}
}

// indexProblems are what is wrong before anything is compiled: syntax, fields, names.
func indexProblems(wrong *runtimev1.IndexBuildErrors) (out Problems) {
	for _, e := range wrong.GetLoadFailures() {
		message := e.GetErrorDetails().GetMessage()
		if message == "" {
			message = "the file could not be read"
		}
		out = append(out, problem(e.GetFile(), e.GetErrorDetails().GetPosition(), message))
	}
	for _, e := range wrong.GetMissingImports() {
		out = append(out, problem(e.GetImportingFile(), e.GetPosition(), e.GetDesc()))
	}
	for _, e := range wrong.GetDuplicateDefs() {
		out = append(out, problem(e.GetFile(), e.GetPosition(), fmt.Sprintf("%s is defined in %s too", e.GetPolicy(), e.GetOtherFile())))
	}
	for _, e := range wrong.GetMissingScopeDetails() {
		out = append(out, Problem{Message: fmt.Sprintf("there is no policy %s, which is above %s", e.GetMissingPolicy(), strings.Join(e.GetDescendants(), ", "))})
	}
	for _, e := range wrong.GetScopePermissionsConflicts() {
		out = append(out, Problem{Message: fmt.Sprintf("the policies of the scope %q have different scopePermissions", e.GetScope())})
	}
	return out
}

// reservedProblems finds the policies that define rules for the kinds of the platform.
func reservedProblems(files Files) (out Problems) {
	for name, content := range files {
		if !holdsPolicies(name) {
			continue
		}
		policies, err := parser.Unmarshal[policyv1.Policy](content)
		if err != nil || !slices.ContainsFunc(policies, definesReserved) {
			continue
		}
		at := Problem{File: name, Line: 1, Column: 1, Message: "Kinds that begin with " + engine.ReservedKinds + " belong to the platform; its policies decide about them, and no others."}
		for i, line := range strings.Split(string(content), "\n") {
			if found := reservedRE.FindStringIndex(line); found != nil {
				at.Line, at.Column = i+1, found[0]+1
				break
			}
		}
		out = append(out, at)
	}
	return out
}

var reservedRE = regexp.MustCompile(`["']?resource["']?\s*:\s*["']?gatehouse:`)

func definesReserved(p *policyv1.Policy) bool {
	if engine.Reserved(p.GetResourcePolicy().GetResource()) {
		return true
	}
	for _, rule := range p.GetPrincipalPolicy().GetRules() {
		if engine.Reserved(rule.GetResource()) {
			return true
		}
	}
	for _, rule := range p.GetRolePolicy().GetRules() {
		if engine.Reserved(rule.GetResource()) {
			return true
		}
	}
	return false
}

// holdsPolicies reports whether Cerbos reads policies from a file of this name.
func holdsPolicies(name string) bool {
	ext := path.Ext(name)
	base := strings.TrimSuffix(path.Base(name), ext)
	return (ext == ".yaml" || ext == ".yml" || ext == ".json") && !strings.HasSuffix(base, "_test") &&
		!strings.HasPrefix(name, schemas) && !slices.Contains(strings.Split(path.Dir(name), "/"), "testdata")
}
