package engine

import (
	"fmt"
	"testing"
)

// Two scopes with one rule have other derived roles. A plan demands that the conditions of both
// have a value.
func TestStrictPlansOfScopes(t *testing.T) {
	policy := func(scope, roles, role, rule string) []byte {
		return fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: doc\n  version: default\n"+
			"  scope: %q\n  importDerivedRoles: [%s]\n  rules:\n    - {actions: [view], effect: EFFECT_DENY, "+
			"roles: [user], condition: {match: {expr: '\"owner\" in runtime.effectiveDerivedRoles'}}}\n%s"+
			"    - {actions: [edit], effect: EFFECT_ALLOW, derivedRoles: [%s]}\n", scope, roles, rule, role)
	}
	roles := func(name, role, condition string) []byte {
		return fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: %s\n  definitions:\n"+
			"    - {name: %s, parentRoles: [user], condition: {match: {expr: '%s'}}}\n", name, role, condition)
	}
	settings := DefaultSettings()
	settings.StrictEvaluation, settings.DefaultScope = true, "acme"
	e, err := Load(tableOf(t, Files{
		"root.yaml": policy("", "general", "owner",
			"    - {actions: [view], effect: EFFECT_ALLOW, roles: [user]}\n"),
		"acme.yaml":       policy("acme", "special", "reader", ""),
		"root_roles.yaml": roles("general", "owner", "P.attr.limits[R.attr.x] > 5"),
		"acme_roles.yaml": roles("special", "reader", "R.attr.y == 1")}), settings)
	if err != nil {
		t.Fatal(err)
	}
	want := `(and (not (or (in "owner" (if (eq y 1) ["reader"] [])) (in "owner" (if (eq x "a") ["owner"] [])))) ` +
		`(eq x "a"))`
	if got := planOf(t, e, nil); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// For runtime.effectiveDerivedRoles a check takes a variable that fails for null.
func TestVariablesOfEffectiveDerivedRoles(t *testing.T) {
	for _, c := range []struct{ variable, condition string }{
		{"P.attr.gone", "V.v == null"}, {"P.attr.gone", "V.v != 1"}, {"P.attr.gone", "!(V.v == true)"},
		{"P.attr.gone", "has(V.v)"}, {"P.attr.limits[R.attr.x]", "V.v != 1"}, {"P.attr.limits[R.attr.x]", "has(V.v)"},
		{"P.attr.limits[R.attr.x]", "!has(V.v)"},
	} {
		e, err := Load(tableOf(t, Files{
			"doc.yaml": []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: doc\n  version: default\n" +
				"  importDerivedRoles: [general]\n  rules:\n    - {actions: [view], effect: EFFECT_ALLOW, " +
				"roles: [user], condition: {match: {expr: '!(\"owner\" in runtime.effectiveDerivedRoles)'}}}\n" +
				"    - {actions: [edit], effect: EFFECT_ALLOW, derivedRoles: [owner]}\n"),
			"roles.yaml": fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: general\n"+
				"  variables: {local: {v: %q}}\n  definitions:\n    - {name: owner, parentRoles: [user], "+
				"condition: {match: {expr: %q}}}\n", c.variable, c.condition)}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if got := planOf(t, e, nil); got != "(false)" {
			t.Errorf("%s, %s: %s", c.variable, c.condition, got)
		}
	}
}
