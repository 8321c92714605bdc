package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/compile"
	tablecompile "github.com/cerbos/cerbos/private/ruletable/compile"
	"google.golang.org/protobuf/proto"
)

// Compile checks the files and returns their rule table: what a revision stores and an
// evaluator loads. An error is Problems, or a fault of ours.
func Compile(ctx context.Context, files Files, s Settings) ([]byte, error) {
	if err := files.Check(); err != nil {
		return nil, err
	}
	table, err := compileTable(ctx, files)
	if err != nil {
		return nil, err
	}
	s.SchemaEnforcement = SchemaReject // so that the schemas are read
	if _, err := newEvaluator(table, s); err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	return table, nil
}

func compileTable(ctx context.Context, files Files) ([]byte, error) {
	rt, err := tablecompile.Compile(ctx, files.directory())
	if wrong, ok := errors.AsType[*compile.Errors](err); ok {
		return nil, indexProblems(wrong.GetIndexBuildErrors()).sorted()
	}
	if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	addSchemas(rt, files)
	table, err := proto.MarshalOptions{Deterministic: true}.Marshal(rt)
	if err != nil {
		return nil, fmt.Errorf("write a compiled rule table: %w", err)
	}
	return table, nil
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

// readFiles reads a whole directory.
func readFiles(from fs.FS) (Files, error) {
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

// indexProblems are what is wrong before anything is compiled: syntax, fields, names.
func indexProblems(wrong *runtimev1.IndexBuildErrors) (out Problems) {
	for _, e := range wrong.GetLoadFailures() {
		at := e.GetErrorDetails().GetPosition()
		out = append(out, Problem{e.GetFile(), int(at.GetLine()), int(at.GetColumn()), e.GetErrorDetails().GetMessage()})
	}
	for _, e := range wrong.GetMissingImports() {
		out = append(out, Problem{e.GetImportingFile(), int(e.GetPosition().GetLine()), int(e.GetPosition().GetColumn()), e.GetDesc()})
	}
	for _, e := range wrong.GetDuplicateDefs() {
		out = append(out, Problem{e.GetFile(), int(e.GetPosition().GetLine()), int(e.GetPosition().GetColumn()), fmt.Sprintf("%s is defined in %s too", e.GetPolicy(), e.GetOtherFile())})
	}
	for _, e := range wrong.GetMissingScopeDetails() {
		out = append(out, Problem{Message: fmt.Sprintf("missing policy %s, which %v need", e.GetMissingPolicy(), e.GetDescendants())})
	}
	for _, e := range wrong.GetScopePermissionsConflicts() {
		out = append(out, Problem{Message: fmt.Sprintf("the policies of the scope %q have different scopePermissions", e.GetScope())})
	}
	if len(out) == 0 {
		out = Problems{{Message: "the policies could not be read"}}
	}
	return out
}
