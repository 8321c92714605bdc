package compiler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	sourcev1 "github.com/cerbos/cerbos/api/genpb/cerbos/source/v1"
	cerboscompile "github.com/cerbos/cerbos/private/compile"
	tablecompile "github.com/cerbos/cerbos/private/ruletable/compile"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// maxLoading bounds what loading a table may allocate, in bytes. Loading is the one step that every
// replica does beside its other tenants.
const maxLoading = 128 << 20

// Compiled is what files compile to.
type Compiled struct {
	// Table is the rule table that a revision stores and the engine loads. Equal files have equal
	// bytes, so validation, suites, replay, explanation and publication all use the same one.
	Table    []byte
	Policies int       // that decide: resource, principal and role policies
	Warnings []Problem // what the author may not have meant, in the order of files and lines
}

// Compile checks the files and returns their rule table. It takes at most half a minute. An error
// is Problems, or a fault of ours.
func Compile(ctx context.Context, files Files, s engine.Settings) (Compiled, error) {
	if err := files.Check(); err != nil {
		return Compiled{}, err
	}
	r, err := sandboxed(ctx, task{Do: "compile", Files: files, Settings: s})
	return r.Compiled, err
}

// DecidesNothing returns Problems if there is no policy among the files. They name the files that
// look like policies and are not read.
func (c Compiled) DecidesNothing(files Files) error {
	if c.Policies > 0 {
		return nil
	}
	found := "There are no files"
	if len(files) > 0 {
		found = fmt.Sprintf("None of the %d files is a policy that decides something", len(files))
	}
	out := Problems{{Message: found + ", so every request would be denied. If that is meant, say so with " +
		"allow_empty (on the command line, --allow-empty)."}}
	return append(out, c.Warnings...).sorted()
}

// A schema may refer to schemas of its bundle only, never to files of this machine.
func init() { clear(jsonschema.Loaders) }

// compile is Compile inside the sandbox.
func compile(ctx context.Context, files Files, s engine.Settings, base bool) (Compiled, error) {
	policies := readPolicies(files)
	wrong := append(append(scopeProblems(policies), parentProblems(policies)...), suiteProblems(files)...)
	if !base {
		wrong = append(wrong, reservedProblems(files, policies)...)
	}
	if len(wrong) > 0 {
		return Compiled{}, append(wrong, allProblems(ctx, files)...).sorted()
	}
	out, err := compileTable(ctx, files)
	if err != nil {
		return Compiled{}, err
	}
	found := append(unreadWarnings(files), policyWarnings(files, policies)...)
	out.Warnings = Problems(append(found, patternWarnings(files, policies)...)).sorted()
	s.SchemaEnforcement = engine.SchemaReject // so that the schemas are read
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ev, err := engine.Load(out.Table, s)
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return Compiled{}, wrong.sorted()
		}
		return Compiled{}, Problems{{Message: err.Error()}}
	}
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(ev)
	if used := after.TotalAlloc - before.TotalAlloc; used > maxLoading {
		return Compiled{}, Problems{{Message: fmt.Sprintf("The policies take %d MB to load; at most %d are accepted.",
			used>>20, maxLoading>>20)}}
	}
	return out, nil
}

func compileTable(ctx context.Context, files Files) (Compiled, error) {
	engine.Environment()
	rt, err := tablecompile.Compile(ctx, files.directory())
	if err != nil {
		if wrong := allProblems(ctx, files); len(wrong) > 0 {
			return Compiled{}, wrong.sorted()
		}
		return Compiled{}, Problems{{Message: err.Error()}}
	}
	addSchemas(rt, files)
	forgetOrigins(rt)
	if err := sortTable(rt); err != nil {
		return Compiled{}, err
	}
	if err := tellApart(rt); err != nil {
		return Compiled{}, err
	}
	if err := tellHashesApart(rt); err != nil {
		return Compiled{}, err
	}
	table, err := canonical.Marshal(rt)
	if err != nil {
		return Compiled{}, fmt.Errorf("write a compiled rule table: %w", err)
	}
	return Compiled{Table: table, Policies: len(rt.GetMeta())}, nil
}

// canonical writes equal messages as equal bytes.
var canonical = proto.MarshalOptions{Deterministic: true}

// sortTable brings the rules into an order that depends on the files alone. Cerbos takes them from
// maps. The order of a policy's own rules stays: outputs follow it.
func sortTable(rt *runtimev1.RuleTable) error {
	type place struct{ policy, kind, rule string }
	first := map[place]int{} // of a rule, among those of its policy for a kind
	type row struct {
		at    place
		bytes []byte
		*runtimev1.RuleTable_RuleRow
	}
	rows := make([]row, len(rt.GetRules()))
	for i, r := range rt.GetRules() {
		rule := r.GetName()
		if r.GetFromRolePolicy() { // its rules may be without a name
			rule = r.GetEvaluationKey()
		}
		b, err := canonical.Marshal(r)
		if err != nil {
			return fmt.Errorf("write a rule: %w", err)
		}
		rows[i] = row{place{r.GetOriginFqn(), r.GetResource(), rule}, b, r}
		if _, seen := first[rows[i].at]; !seen {
			first[rows[i].at] = i
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.at.policy, b.at.policy), strings.Compare(a.at.kind, b.at.kind),
			first[a.at]-first[b.at], bytes.Compare(a.bytes, b.bytes))
	})
	for i := range rows {
		rt.Rules[i] = rows[i].RuleTable_RuleRow
	}
	return nil
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
