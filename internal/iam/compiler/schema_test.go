package compiler

import (
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// TestSchemaRefersToAnother: a schema may refer to one that no policy names, as Cerbos'
// documentation shows.
func TestSchemaRefersToAnother(t *testing.T) {
	files := Files{
		"customer.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: customer
  version: default
  rules: [{actions: [view], effect: EFFECT_ALLOW, roles: ["*"]}]
  schemas: {resourceSchema: {ref: "cerbos:///customer.json"}}
`),
		"_schemas/customer.json": []byte(
			`{"type": "object", "properties": {"shipping_address": {"$ref": "cerbos:///common/address.json"}}}`),
		"_schemas/common/address.json": []byte(`{"type": "object", "required": ["city"]}`),
		"_schemas/unused.json":         []byte(`not a schema`),
	}
	settings := engine.DefaultSettings()
	settings.SchemaEnforcement = engine.SchemaReject
	compiled, err := Compile(t.Context(), files, settings)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := engine.Load(compiled.Table, settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address map[string]any
		want    effectv1.Effect
	}{{map[string]any{"city": "Leeds"}, effectv1.Effect_EFFECT_ALLOW}, {map[string]any{},
		effectv1.Effect_EFFECT_DENY}} {
		address, err := structpb.NewValue(c.address)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ev.Check(t.Context(), []*enginev1.CheckInput{{Actions: []string{"view"},
			Principal: &enginev1.Principal{Id: "p", Roles: []string{"r"}},
			Resource: &enginev1.Resource{Kind: "customer", Id: "c",
				Attr: map[string]*structpb.Value{"shipping_address": address}}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := out[0].Actions["view"].Effect; got != c.want {
			t.Errorf("%v: %v, want %v", c.address, got, c.want)
		}
	}
}
