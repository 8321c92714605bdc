package engine

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	tablecompile "github.com/cerbos/cerbos/private/ruletable/compile"
	"google.golang.org/protobuf/proto"
)

// Files are the files of a Cerbos directory, as the compiler package has them.
type Files map[string][]byte

func (f Files) directory() fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range f {
		out[name] = &fstest.MapFile{Data: content}
	}
	return out
}

// readFiles returns the files of a directory.
func readFiles(dir string) Files {
	out := Files{}
	from := os.DirFS(dir)
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out[name], err = fs.ReadFile(from, name)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	return out
}

// ruleTableOf compiles files, with all their schemas, as the compiler package does.
func ruleTableOf(ctx context.Context, files Files) (*runtimev1.RuleTable, error) {
	rt, err := tablecompile.Compile(ctx, files.directory())
	if err != nil {
		return nil, err
	}
	for name, content := range files {
		if schema, ok := strings.CutPrefix(name, "_schemas/"); ok && rt.JsonSchemas != nil {
			rt.JsonSchemas["cerbos:///"+schema] = &runtimev1.RuleTable_JSONSchema{Content: content}
		}
	}
	for _, m := range rt.GetMeta() {
		m.SourceAttributes, m.Annotations = nil, nil
	}
	return rt, nil
}

func compileTable(ctx context.Context, files Files) ([]byte, error) {
	rt, err := ruleTableOf(ctx, files)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(rt)
}

func tableOf(t testing.TB, files Files) []byte {
	t.Helper()
	table, err := compileTable(context.Background(), files)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// baseOf returns files as base policies.
func baseOf(files Files) Base {
	return sync.OnceValues(func() (*Evaluator, error) {
		table, err := compileTable(context.Background(), files)
		if err != nil {
			return nil, err
		}
		return Load(table, DefaultSettings())
	})
}
