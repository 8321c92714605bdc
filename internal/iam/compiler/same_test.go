package compiler

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// manyWays has what Cerbos keeps in maps: actions, roles, derived roles, kinds, variables, schemas.
func manyWays(t *testing.T) Files {
	files := everything(t)
	files["many.yaml"] = []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: many
  version: default
  variables: {local: {a: R.attr.a, b: V.a, c: P.id, d: V.b}}
  constants: {local: {one: 1, two: {three: 3, four: 4}}}
  rules:
    - {actions: [z, y, x, w], effect: EFFECT_ALLOW, roles: [r, s, t, u], condition: {match: {expr: V.d == V.c}}}
    - {actions: [z, y], effect: EFFECT_DENY, roles: [s, r]}
`)
	files["principal.yaml"] = []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: many
  version: default
  rules:
    - {resource: many, actions: [{action: z, effect: EFFECT_DENY}, {action: y, effect: EFFECT_ALLOW}]}
    - {resource: few, actions: [{action: z, effect: EFFECT_DENY}, {action: a, effect: EFFECT_ALLOW}]}
    - {resource: none, actions: [{action: z, effect: EFFECT_DENY}]}
`)
	files["role.yaml"] = []byte(`apiVersion: api.cerbos.dev/v1
rolePolicy:
  role: r
  parentRoles: [s]
  rules:
    - {resource: many, allowActions: [z, y, x]}
    - {resource: few, allowActions: [z]}
    - {resource: "n*", allowActions: ["*"]}
`)
	return files
}

func TestEqualFilesCompileToEqualBytes(t *testing.T) {
	files := manyWays(t)
	first := tableOf(t, files)
	for range 4 {
		if !bytes.Equal(first, tableOf(t, files)) {
			t.Fatal("the same files compile to another table")
		}
	}
	tested, err := Test(t.Context(), files, engine.DefaultSettings())
	if err != nil || !bytes.Equal(first, tested.Table) {
		t.Errorf("the suites run on another table: %v", err)
	}
}

func scoped(kind, scope, permissions string) []byte {
	return fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: %s
  version: default
  scope: %q
  scopePermissions: %s
  rules: [{actions: [view], effect: EFFECT_ALLOW, roles: [user]}]
`, kind, scope, permissions)
}

const (
	overriding = "SCOPE_PERMISSIONS_OVERRIDE_PARENT"
	consenting = "SCOPE_PERMISSIONS_REQUIRE_PARENTAL_CONSENT_FOR_ALLOWS"
)

func TestAScopeHasOneKindOfPermissions(t *testing.T) {
	files := Files{
		"a.yaml": scoped("a", "", overriding), "b.yaml": scoped("b", "", overriding),
		"acme/a.yaml": scoped("a", "acme", overriding), "acme/b.yaml": scoped("b", "acme", consenting),
	}
	wrong := problemsOf(t, files)
	if wrong[0].File != "acme/b.yaml" || !strings.Contains(wrong[0].Message, "acme/a.yaml") {
		t.Errorf("%+v", wrong)
	}
	// One that says nothing has Cerbos' default.
	files["acme/b.yaml"] = scoped("b", "acme", "SCOPE_PERMISSIONS_UNSPECIFIED")
	if _, err := Compile(t.Context(), files, engine.DefaultSettings()); err != nil {
		t.Error(err)
	}
}

// A rule table knows one list of parents for a role. With two, clerks of one version had the
// parents of the other.
func TestARoleHasOneListOfParents(t *testing.T) {
	of := func(version, parents string) []byte {
		return fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
rolePolicy:
  role: clerk
  version: %s
  parentRoles: %s
  rules: [{resource: document, allowActions: [view]}]
`, version, parents)
	}
	files := Files{"d.yaml": []byte(everyUser), "a.yaml": of("default", "[user]"), "b.yaml": of("v2", "[admin]")}
	wrong := problemsOf(t, files)
	if len(wrong) != 1 || wrong[0].File != "b.yaml" || !strings.Contains(wrong[0].Message, "a.yaml") {
		t.Errorf("%+v", wrong)
	}
	files["a.yaml"], files["b.yaml"] = of("default", "[user, admin]"), of("v2", "[admin, user]")
	if _, err := Compile(t.Context(), files, engine.DefaultSettings()); err != nil {
		t.Error(err)
	}
}

// A suite is answered by the tenant's settings, as requests are.
func TestSuitesFollowTheSettings(t *testing.T) {
	files := Files{"d.yaml": append(allowing("doc", "true"), `    - actions: [view]
      effect: EFFECT_DENY
      roles: [user]
      condition: {match: {expr: R.attr.missing == 1}}
    - actions: [edit]
      effect: EFFECT_ALLOW
      roles: [user]
      condition: {match: {expr: G.open == true}}
`...), "d_test.yaml": suite}
	lax, strict := engine.DefaultSettings(), engine.DefaultSettings()
	lax.Globals = map[string]any{"open": true}
	strict.StrictEvaluation = true
	for name, c := range map[string]struct {
		settings engine.Settings
		passed   int
	}{"as Cerbos'": {engine.DefaultSettings(), 1}, "globals": {lax, 2}, "strict": {strict, 0}} {
		got, err := Test(t.Context(), files, c.settings)
		if err != nil || got.Passed != c.passed {
			t.Errorf("%s: %+v %v", name, got.Results, err)
		}
	}
}

func TestRulesThatMatchNothingAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ policy, says string }{
		"a role policy": {"rolePolicy:\n  role: r\n  rules: [{resource: album:photo, allowActions: [view]}]\n",
			"album_photo"},
		"a pattern": {"principalPolicy:\n  principal: ada\n  version: default\n  rules: [{resource: 'album:*', " +
			"actions: [{action: view, effect: EFFECT_DENY}]}]\n", "album_*"},
	} {
		files := Files{"d.yaml": allowing("album:photo", "true"), "x.yaml": []byte("apiVersion: api.cerbos.dev/v1\n" +
			c.policy)}
		compiled, err := Compile(t.Context(), files, engine.DefaultSettings())
		if err != nil || len(compiled.Warnings) != 2 {
			t.Errorf("%s: %+v %v", name, compiled.Warnings, err)
			continue
		}
		if w := compiled.Warnings[1]; w.File != "x.yaml" || w.Line < 3 || !strings.Contains(w.Message, c.says) {
			t.Errorf("%s: %+v", name, w)
		}
	}
	good := Files{"d.yaml": allowing("album:photo", "true"), "x.yaml": []byte("apiVersion: api.cerbos.dev/v1\n" +
		"rolePolicy:\n  role: r\n  rules: [{resource: album_photo, allowActions: [view]}, {resource: '[a-c]*', " +
		"allowActions: [view]}]\n")}
	compiled, err := Compile(t.Context(), good, engine.DefaultSettings())
	if err != nil || len(compiled.Warnings) != 1 || compiled.Warnings[0].File != "d.yaml" {
		t.Errorf("%+v %v", compiled.Warnings, err)
	}
}

func TestWhatIsNotReadIsNamed(t *testing.T) {
	disabled := append(allowing("doc", "true"), "disabled: true\n"...)
	for name, files := range map[string]Files{
		"another ending": {"doc.yaml.bak": allowing("doc", "true"), "README.md": []byte("Policies")},
		"test data":      {"testdata/doc.yaml": allowing("doc", "true")},
		"schemas":        {"_schemas/doc.yaml": allowing("doc", "true")},
		"disabled":       {"doc.yaml": disabled},
	} {
		compiled, err := Compile(t.Context(), files, engine.DefaultSettings())
		if err != nil || compiled.Policies != 0 || len(compiled.Warnings) != 1 {
			t.Errorf("%s: %+v %v", name, compiled.Warnings, err)
			continue
		}
		wrong, _ := compiled.DecidesNothing(files).(Problems)
		if len(wrong) != 2 || wrong[0].File != "" || wrong[1].File == "" {
			t.Errorf("%s: %+v", name, wrong)
		}
	}
	compiled, err := Compile(t.Context(), Files{"README.md": []byte("# Policies\n\n    apiVersion: " +
		"api.cerbos.dev/v1\n")}, engine.DefaultSettings())
	if err != nil || len(compiled.Warnings) > 0 {
		t.Errorf("%+v %v", compiled.Warnings, err)
	}
	upper, err := Compile(t.Context(), Files{"DOC.YAML": allowing("doc", "true")}, engine.DefaultSettings())
	if err != nil || upper.Policies != 1 {
		t.Errorf("%+v %v", upper, err)
	}
	if wrong := problemsOf(t, Files{"DOC.YAML": allowing("gatehouse:user", "true")}); wrong[0].File != "DOC.YAML" {
		t.Errorf("%+v", wrong)
	}
}
