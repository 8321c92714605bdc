package parity

import (
	"os"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// A door is a way to ask us.
type door struct {
	name string
	pdp
}

// doors creates a tenant of a running server with the world's settings and policies. It returns its
// gRPC and HTTP doors, for an application that asserts its principals.
func (w *world) doors(t testing.TB, server *process.Server) (door, door) {
	t.Helper()
	o := server.Operator()
	o.MustCall(t, "POST", "platform", "/tenants", map[string]any{"slug": w.name, "name": w.name}, nil)
	s := w.settings
	var keySets []any
	for _, k := range s.KeySets {
		keySets = append(keySets, map[string]any{"id": k.ID, "keys": k.Keys})
	}
	o.MustCall(t, "PATCH", w.name, "/policies/settings", map[string]any{"default_policy_version": s.DefaultVersion,
		"default_scope": s.DefaultScope, "lenient_scope_search": s.LenientScopeSearch,
		"strict_evaluation": s.StrictEvaluation, "schema_enforcement": s.SchemaEnforcement, "globals": s.Globals,
		"key_sets": keySets}, nil)
	if err := o.Publish(w.name, w.files); err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	_, token, err := o.Decider(w.name, "asserted")
	if err != nil {
		t.Fatal(err)
	}
	return door{"gRPC", dial(t, server.GRPC, token)}, door{"HTTP", overHTTP{server.URL + "/t/" + w.name, token}}
}
