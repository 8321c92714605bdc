// Command generate writes the Go code of record.proto. Start it with go generate.
//
// It compiles the file itself and runs the generators as Go tools. So go.mod pins all versions, and
// no protoc is needed. Imports are resolved from the descriptors in Cerbos' Go code.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	_ "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1" // registers what record.proto imports

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The path of the source is also its name in protobuf's registry of the process, where no other
// file may have it. So it starts at the root of the module.
const (
	root   = "../../../.."
	source = "internal/iam/decision/recordpb/record.proto"
)

func main() {
	log.SetFlags(0)
	request, err := compile(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for tool, parameter := range map[string]string{
		"protoc-gen-go":         "paths=source_relative",
		"protoc-gen-go-vtproto": "paths=source_relative,features=marshal+unmarshal+size",
	} {
		request.Parameter = &parameter
		if err := generate(tool, request); err != nil {
			log.Fatalf("%s: %v", tool, err)
		}
	}
}

// compile returns the request of a generator: record.proto and what it imports, in the order of
// imports.
func compile(ctx context.Context) (*pluginpb.CodeGeneratorRequest, error) {
	registered := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		return protocompile.SearchResult{Desc: file}, err
	})
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{root}},
			registered,
		},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	files, err := compiler.Compile(ctx, source)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{source}}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		out := protoutil.ProtoFromFileDescriptor(file)
		if out.GetOptions().GetGoPackage() == "" { // an import of an import, which no generated code names
			out.Options = &descriptorpb.FileOptions{GoPackage: proto.String("indirect/" + file.Path())}
		}
		request.ProtoFile = append(request.ProtoFile, out)
	}
	add(files[0])
	return request, nil
}

// generate runs a generator as protoc does: a request on its input, files on its output.
func generate(tool string, request *pluginpb.CodeGeneratorRequest) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.GetFile() {
		if err := os.WriteFile(filepath.Join(root, file.GetName()), []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
