package compiler

import (
	"context"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

const everyUser = `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: document
  version: default
  rules:
    - {actions: ["*"], effect: EFFECT_ALLOW, roles: [user]}
`

// Cerbos gives two rules of each policy one key. Each has a condition of its own, so asking for
// both actions at once must answer what asking for each answers.
func TestRulesOfOneNameKeepTheirConditions(t *testing.T) {
	for name, files := range map[string]Files{
		"kinds of a role policy": {"r.yaml": []byte(everyUser), "role.yaml": []byte(`apiVersion: api.cerbos.dev/v1
rolePolicy:
  role: user
  version: default
  rules:
    - {resource: "doc*", allowActions: [view], condition: {match: {expr: R.attr.yes}}}
    - {resource: "*", allowActions: [edit], condition: {match: {expr: R.attr.no}}}
`)},
		"kinds of a principal policy": {"r.yaml": []byte(everyUser), "p.yaml": []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: ada
  version: default
  rules:
    - {resource: "doc*", actions: [{name: same, action: view, effect: EFFECT_DENY, condition: {match: {expr: R.attr.no}}}]}
    - {resource: "*", actions: [{name: same, action: edit, effect: EFFECT_DENY, condition: {match: {expr: R.attr.yes}}}]}
`)},
		"a default name": {"r.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: document
  version: default
  rules:
    - {name: rule-002, actions: [view], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: R.attr.yes}}}
    - {actions: [edit], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: R.attr.no}}}
`)},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := engine.Load(tableOf(t, files), engine.DefaultSettings())
			if err != nil {
				t.Fatal(err)
			}
			ask := func(actions ...string) map[string]*enginev1.CheckOutput_ActionEffect {
				out, err := made.Check(context.Background(), []*enginev1.CheckInput{
					asking("document", map[string]any{"yes": true, "no": false}, actions...)})
				if err != nil {
					t.Fatal(err)
				}
				return out[0].GetActions()
			}
			for _, actions := range [][]string{{"view", "edit"}, {"edit", "view"}} {
				together := ask(actions...)
				for action, want := range map[string]effectv1.Effect{
					"view": effectv1.Effect_EFFECT_ALLOW, "edit": effectv1.Effect_EFFECT_DENY} {
					if got := together[action].GetEffect(); got != want || ask(action)[action].GetEffect() != want {
						t.Errorf("%s of %v: %v, alone %v, want %v", action, actions, got,
							ask(action)[action].GetEffect(), want)
					}
				}
			}
		})
	}
}

// Cerbos gives the conditions of two rules one hash. Each rule is decided by its own all the same.
func TestRulesOfOneHashKeepTheirConditions(t *testing.T) {
	rules := func(kind, others, own, constants string) []byte {
		return []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: ` + kind + `
  version: default
  constants: {local: {who: ` + constants + `}}
  rules:
    - {actions: [view], effect: EFFECT_ALLOW, roles: [manager], condition: {match: ` + others + `}}
    - {actions: [view], effect: EFFECT_ALLOW, roles: [user], condition: {match: ` + own + `}}
`)
	}
	const yes, no, both = "{expr: R.attr.yes}", "{expr: R.attr.no}", "[{expr: R.attr.yes}, {expr: R.attr.no}]"
	for name, c := range map[string]struct {
		others, own string
		want        effectv1.Effect
	}{
		"expr and none":       {yes, "{none: {of: [" + yes + "]}}", effectv1.Effect_EFFECT_DENY},
		"expr and none of no": {no, "{none: {of: [" + no + "]}}", effectv1.Effect_EFFECT_ALLOW},
		"all and any":         {"{all: {of: " + both + "}}", "{any: {of: " + both + "}}", effectv1.Effect_EFFECT_ALLOW},
		"any and all":         {"{any: {of: " + both + "}}", "{all: {of: " + both + "}}", effectv1.Effect_EFFECT_DENY},
		"any and none":        {"{any: {of: " + both + "}}", "{none: {of: " + both + "}}", effectv1.Effect_EFFECT_DENY},
	} {
		made, err := engine.Load(tableOf(t, Files{"r.yaml": rules("document", c.others, c.own, "ada")}),
			engine.DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		out, err := made.Check(context.Background(), []*enginev1.CheckInput{
			asking("document", map[string]any{"yes": true, "no": false}, "view")})
		if err != nil || out[0].GetActions()["view"].GetEffect() != c.want {
			t.Errorf("%s: %v %v, want %v", name, out, err, c.want)
		}
	}
	// Constants of two kinds: a text, and a list with that text.
	same := `{expr: "C.who == 'ada'"}`
	made, err := engine.Load(tableOf(t, Files{"a.yaml": rules("document", same, same, "ada"),
		"b.yaml": rules("folder", same, same, "[ada]")}), engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]effectv1.Effect{
		"document": effectv1.Effect_EFFECT_ALLOW, "folder": effectv1.Effect_EFFECT_DENY} {
		out, err := made.Check(context.Background(), []*enginev1.CheckInput{asking(kind, nil, "view")})
		if err != nil || out[0].GetActions()["view"].GetEffect() != want {
			t.Errorf("constants of %s: %v %v", kind, out, err)
		}
	}
}
