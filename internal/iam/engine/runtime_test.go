package engine

import (
	"maps"
	"slices"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
)

// guests has the derived role guest, and a rule that makes Cerbos activate it.
func guests(scope, variables, rules string) []byte {
	return []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
` + scope + `  importDerivedRoles: [roles]
  variables: {local: {` + variables + `}}
  rules:
    - {actions: [enter], effect: EFFECT_ALLOW, derivedRoles: [guest]}
` + rules)
}

const (
	guestRole = `apiVersion: api.cerbos.dev/v1
derivedRoles:
  name: roles
  definitions:
    - {name: guest, parentRoles: [user], condition: {match: {expr: R.attr.guest}}}
`
	isGuest   = `is_guest: '"guest" in runtime.effectiveDerivedRoles'`
	allowAll  = "    - {actions: ['*'], effect: EFFECT_ALLOW, roles: [user]}\n"
	denyGuest = "    - {actions: [view], effect: EFFECT_DENY, roles: [user], condition: {match: {expr: V.is_guest}}}\n"
)

// Each policy sees the derived roles of its own scope. What another policy or action has computed
// before does not count, although Cerbos keeps it under the text of a variable.
func TestEachPolicySeesItsOwnDerivedRoles(t *testing.T) {
	personal := func(effect, condition string) []byte {
		return []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: ada
  version: default
  variables: {local: {` + isGuest + `}}
  rules:
    - resource: doc
      actions: [{action: view, effect: ` + effect + `, condition: {match: {expr: '` + condition + `'}}}]
`)
	}
	child := func(rules string) []byte {
		return []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  scope: acme
  variables: {local: {` + isGuest + `}}
  rules:
` + rules)
	}
	const reads = "    - {actions: [view], effect: EFFECT_DENY, roles: [user], " +
		"condition: {match: {expr: V.is_guest && R.attr.frozen}}}\n"
	for name, c := range map[string]struct {
		files Files
		scope string
		want  map[string]bool
	}{
		"a variable of two scopes": {Files{
			"root.yaml": guests("", isGuest, allowAll+denyGuest), "acme.yaml": child(reads)}, "acme",
			map[string]bool{"view": false, "enter": true}},
		"a variable of a scope without roles": {Files{"acme.yaml": guests("  scope: acme\n", isGuest, reads),
			"root.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  variables: {local: {` + isGuest + `}}
  rules:
` + allowAll + denyGuest)}, "acme", map[string]bool{"view": true, "enter": true}},
		"a variable of a principal policy": {Files{"root.yaml": guests("", isGuest, allowAll+denyGuest),
			"ada.yaml": personal("EFFECT_DENY", "V.is_guest")}, "",
			map[string]bool{"view": false, "enter": true}},
		"a condition of a principal policy": {Files{"root.yaml": guests("", "", allowAll),
			"ada.yaml": personal("EFFECT_DENY", `"guest" in runtime.effectiveDerivedRoles`)}, "",
			map[string]bool{"view": true, "enter": true}},
		"a variable of a principal policy alone": {Files{"root.yaml": guests("", "", ""),
			"ada.yaml": personal("EFFECT_ALLOW", "!V.is_guest")}, "",
			map[string]bool{"view": true, "enter": true}},
		"an action that nothing else allows": {Files{"root.yaml": guests("", "", ""),
			"ada.yaml": personal("EFFECT_ALLOW", `!("guest" in runtime.effectiveDerivedRoles)`)}, "",
			map[string]bool{"view": true, "enter": true}},
		"a derived role that names another": {Files{
			"more.yaml": []byte(`apiVersion: api.cerbos.dev/v1
derivedRoles:
  name: more
  definitions:
    - {name: stranger, parentRoles: [user], condition: {match: {expr: '!("guest" in runtime.effectiveDerivedRoles)'}}}
`),
			"root.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  importDerivedRoles: [more]
  rules:
    - {actions: ['*'], effect: EFFECT_ALLOW, roles: [user]}
    - {actions: [none], effect: EFFECT_ALLOW, derivedRoles: [stranger]}
    - actions: [view]
      effect: EFFECT_DENY
      roles: [user]
      condition: {match: {expr: '"stranger" in runtime.effectiveDerivedRoles'}}
`),
			"acme.yaml": guests("  scope: acme\n", "", "")}, "acme",
			map[string]bool{"view": false, "enter": true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["roles.yaml"] = []byte(guestRole)
			made, err := Load(tableOf(t, c.files), DefaultSettings())
			if err != nil {
				t.Fatal(err)
			}
			actions := slices.Sorted(maps.Keys(c.want))
			reversed := slices.Clone(actions)
			slices.Reverse(reversed)
			for _, asked := range [][]string{actions, reversed, actions[:1], actions[1:]} {
				in := asking("doc", map[string]any{"guest": true, "frozen": false}, asked...)
				in.Resource.Scope = c.scope
				out, err := made.Check(t.Context(), []*enginev1.CheckInput{in})
				if err != nil {
					t.Fatal(err)
				}
				for _, action := range asked {
					got := out[0].GetActions()[action].GetEffect()
					if (got == effectv1.Effect_EFFECT_ALLOW) != c.want[action] {
						t.Errorf("%s of %v: %v, want %v", action, asked, got, c.want[action])
					}
				}
			}
		})
	}
}
