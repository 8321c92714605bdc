package engine

import (
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/proto"
)

// The policies of a principal are those of the version that the principal names. Cerbos takes the
// resource's version, so the DENY of v2 was lost.
func TestAPrincipalHasAVersionOfTheirOwn(t *testing.T) {
	of := func(version, effect string) []byte {
		return []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: ada
  version: ` + version + `
  rules:
    - resource: doc
      actions:
        - action: view
          effect: ` + effect + `
          condition: {match: {expr: R.attr.own}}
          output: {when: {ruleActivated: '"` + version + `"', conditionNotMet: '"not ` + version + `"'}}
`)
	}
	made, err := Load(tableOf(t, Files{"roles.yaml": []byte(guestRole), "ada.yaml": of("default", "EFFECT_ALLOW"),
		"ada2.yaml": of("v2", "EFFECT_DENY"), "doc.yaml": guests("", isGuest, allowAll)}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	check := func(in ...*enginev1.CheckInput) []*enginev1.CheckOutput {
		t.Helper()
		out, err := made.Check(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	asks := func(principal, resource string, own bool) *enginev1.CheckInput {
		in := asking("doc", map[string]any{"own": own, "guest": true}, "edit", "view")
		in.Principal.PolicyVersion, in.Resource.PolicyVersion = principal, resource
		return in
	}
	for name, c := range map[string]struct {
		in     *enginev1.CheckInput
		allows bool
		output string // of view
	}{
		"one version":          {asks("default", "", true), true, "default"},
		"none":                 {asks("", "", true), true, "default"},
		"another":              {asks("v2", "", true), false, "v2"},
		"another, not met":     {asks("v2", "default", false), true, "not v2"},
		"one without policies": {asks("v3", "", true), true, ""},
		"a resource of none":   {asks("default", "v2", true), true, "default"},
	} {
		out := check(c.in)[0]
		if got := out.GetActions()["view"].GetEffect(); (got == effectv1.Effect_EFFECT_ALLOW) != c.allows {
			t.Errorf("%s: %v, want %t", name, out, c.allows)
		}
		var output string
		for _, o := range out.GetOutputs() {
			output += o.GetVal().GetStringValue()
		}
		if output != c.output {
			t.Errorf("%s: the output %q, want %q", name, output, c.output)
		}
	}
	// A batch answers each input as it is answered alone.
	batch := []*enginev1.CheckInput{asks("v2", "", true), asks("", "", true), asks("v2", "default", false)}
	for i, out := range check(batch...) {
		if alone := check(batch[i])[0]; !proto.Equal(out, alone) {
			t.Errorf("%d: %v, alone %v", i, out, alone)
		}
	}
	// A plan reads the same policies.
	for _, in := range batch {
		plan, err := made.Plan(t.Context(), &enginev1.PlanResourcesInput{RequestId: "p", IncludeMeta: true,
			Actions: []string{"view"}, Principal: in.GetPrincipal(),
			Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc",
				PolicyVersion: in.GetResource().GetPolicyVersion()}})
		want := "(true)"
		if in.GetPrincipal().GetPolicyVersion() == "v2" {
			want = "(not request.resource.attr.own)"
		}
		if err != nil || plan.GetFilterDebug() != want {
			t.Errorf("the plan of %v: %s %v, want %s", in, plan.GetFilterDebug(), err, want)
		}
	}
}
