package policy

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestBelowMovesWhatAFleetShares(t *testing.T) {
	const scope = "0190e3a6-7c1e-7000-8000-000000000000"
	files := Files{"README.md": []byte("not a policy"), "doc_test.yaml": []byte("name: a suite"), "more/two.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy: {resource: "shop:order/eu", version: "2", rules: [{actions: [view], effect: EFFECT_ALLOW, roles: [user]}]}
---
apiVersion: api.cerbos.dev/v1
metadata: {annotations: {team: red}}
rolePolicy: {role: clerk, scope: acme, rules: [{resource: doc, allowActions: [view]}]}
`)}
	maps.Copy(files, everything)
	got, err := Below(files, scope)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		scope + "/ada.yaml.0.json", scope + "/consts.yaml.0.json", scope + "/doc.yaml.0.json", scope + "/doc_acme.yaml.0.json", scope + "/more/two.yaml.0.json", scope + "/more/two.yaml.1.json",
		scope + "/roles.yaml.0.json", scope + "/vars.yaml.0.json", "root/principal.ada.vdefault.json", "root/resource.doc.vdefault.json", "root/resource.shop%3Aorder%2Feu.v2.json",
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
	if err := got.Check(); err != nil {
		t.Errorf("a path that a directory may not have: %v", err)
	}
	read := func(name string) *policyv1.Policy {
		t.Helper()
		p := new(policyv1.Policy)
		if err := protojson.Unmarshal(got[name], p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	doc := read(scope + "/doc.yaml.0.json").GetResourcePolicy()
	if doc.GetScope() != scope || doc.GetSchemas() != nil || len(doc.GetRules()) != 3 || doc.GetImportDerivedRoles()[0] != scope+".common" ||
		doc.GetVariables().GetImport()[0] != scope+".shared" || doc.GetConstants().GetImport()[0] != scope+".limits" {
		t.Errorf("%v", doc)
	}
	if s := read(scope + "/doc_acme.yaml.0.json").GetResourcePolicy().GetScope(); s != scope+".acme" {
		t.Errorf("the tenant's own scope became %q", s)
	}
	if clerk := read(scope + "/more/two.yaml.1.json"); clerk.GetRolePolicy().GetScope() != scope+".acme" || clerk.GetMetadata().GetAnnotations()["team"] != "red" || strings.Contains(string(got[scope+"/more/two.yaml.1.json"]), "two.yaml") {
		t.Errorf("%v", clerk)
	}
	if root := read("root/resource.shop%3Aorder%2Feu.v2.json").GetResourcePolicy(); root.GetResource() != "shop:order/eu" || root.GetVersion() != "2" || root.GetScope() != "" || len(root.GetRules()) != 0 {
		t.Errorf("%v", root)
	}
	if _, err := Below(Files{"broken.yaml": []byte("resourcePolicy: [")}, scope); err == nil {
		t.Error("what cannot be read was moved")
	} else if problems, ok := errors.AsType[Problems](err); !ok || problems[0].File != "broken.yaml" {
		t.Errorf("%v", err)
	}
}
