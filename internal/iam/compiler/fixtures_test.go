package compiler

import (
	"context"
	"fmt"
	"os"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// everything returns the bundle with what policies can have, which the engine's tests load too.
func everything(t testing.TB) Files {
	t.Helper()
	files, err := ReadFiles(os.DirFS("../engine/testdata/everything"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func tableOf(t testing.TB, files Files) []byte {
	t.Helper()
	compiled, err := Compile(context.Background(), files, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Table
}

// allowing is a resource policy for kind with one rule: users may view, under a condition.
func allowing(kind, condition string) []byte {
	return fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: %q
  version: default
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: [user]
      condition:
        match:
          expr: %q
`, kind, condition)
}

func asking(kind string, attr map[string]any, actions ...string) *enginev1.CheckInput {
	s, err := structpb.NewStruct(attr)
	if err != nil {
		panic(err)
	}
	return &enginev1.CheckInput{
		RequestId: "r", Actions: actions,
		Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"},
			Attr: map[string]*structpb.Value{"level": structpb.NewNumberValue(5)}},
		Resource: &enginev1.Resource{Kind: kind, Id: "1", Attr: s.GetFields()},
	}
}
