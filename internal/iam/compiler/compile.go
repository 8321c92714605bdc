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

// maxLoading bounds what loading a table may allocate, in bytes. Loading is the one step that every
// replica does beside its other tenants.
const maxLoading = 128 << 20

// Compile checks the files and returns the rule table that a revision stores and the engine loads.
// It takes at most half a minute. An error is Problems, or a fault of ours.
func Compile(ctx context.Context, files Files, s engine.Settings) ([]byte, error) {
	if err := files.Check(); err != nil {
		return nil, err
	}
	r, err := sandboxed(ctx, task{Do: "compile", Files: files, Settings: s})
	return r.Table, err
}

// A schema may refer to schemas of its bundle only, never to files of this machine.
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
		return nil, Problems{{Message: fmt.Sprintf("The policies take %d MB to load; at most %d are accepted.",
			used>>20, maxLoading>>20)}}
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

// forgetOrigins removes from the table which file each policy came from, and its annotations. No
// answer contains them. An evaluator would copy the files into a trail for Cerbos' audit log at
// every check, and keep both in memory.
func forgetOrigins(rt *runtimev1.RuleTable) {
	for _, m := range rt.GetMeta() {
		m.SourceAttributes, m.Annotations = nil, nil
	}
}

// schemas is the directory of JSON schemas in a Cerbos directory.
const schemas = "_schemas/"

// addSchemas adds every schema to the table. Cerbos' compiler adds only those that a policy names.
// The schemas that those refer to ($ref) would be missing.
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

// allProblems compiles every policy separately, to report all problems at once.
func allProblems(ctx context.Context, files Files) Problems {
	var out Problems
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

// schemasOf resolves the schemas that policies name among the files.
func schemasOf(files Files) cerboscompile.SchemaResolverMaker {
	return func(cerboscompile.SchemaLoader) cerboscompile.SchemaResolver {
		return func(_ context.Context, url string) (io.ReadCloser, error) {
			name := path.Join(schemas, strings.TrimPrefix(strings.TrimPrefix(url, "cerbos://"), "/"))
			return files.directory().Open(name)
		}
	}
}

// ReadFiles reads a directory with all its files.
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

// indexProblems returns the problems found before anything is compiled: syntax, fields, names.
func indexProblems(wrong *runtimev1.IndexBuildErrors) Problems {
	var out Problems
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
		out = append(out, problem(e.GetFile(), e.GetPosition(), fmt.Sprintf("%s is defined in %s too", e.GetPolicy(),
			e.GetOtherFile())))
	}
	for _, e := range wrong.GetMissingScopeDetails() {
		out = append(out, Problem{Message: fmt.Sprintf("there is no policy %s, which is above %s",
			e.GetMissingPolicy(), strings.Join(e.GetDescendants(), ", "))})
	}
	for _, e := range wrong.GetScopePermissionsConflicts() {
		out = append(out, Problem{Message: fmt.Sprintf("the policies of the scope %q have different "+
			"scopePermissions", e.GetScope())})
	}
	return out
}

// reservedProblems returns a problem for each file that defines rules for the platform's kinds.
func reservedProblems(files Files) Problems {
	var out Problems
	for name, content := range files {
		if !holdsPolicies(name) {
			continue
		}
		policies, err := parser.Unmarshal[policyv1.Policy](content)
		if err != nil || !slices.ContainsFunc(policies, definesReserved) {
			continue
		}
		at := Problem{File: name, Line: 1, Column: 1, Message: "Kinds that begin with " + engine.ReservedKinds +
			" belong to the platform; its policies decide about them, and no others."}
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
