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
