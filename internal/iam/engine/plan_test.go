package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// matches evaluates a plan's condition on a resource. It knows the operators that the conditions of
// this file become.
func matches(t *testing.T, o *operand, r *enginev1.Resource) *structpb.Value {
	t.Helper()
	if v, ok := o.GetNode().(*enginev1.PlanResourcesFilter_Expression_Operand_Value); ok {
		return v.Value
	}
	if name := o.GetVariable(); name != "" {
		if name == resourceID {
			return structpb.NewStringValue(r.GetId())
		}
		v := r.GetAttr()[strings.TrimPrefix(name, "request.resource.attr.")]
		if v == nil {
			t.Fatalf("the plan has the variable %s", name)
		}
		return v
	}
	e := o.GetExpression()
	arg := func(i int) *structpb.Value { return matches(t, e.GetOperands()[i], r) }
	truth := structpb.NewBoolValue
	switch e.GetOperator() {
	case "and", "or":
		and := e.GetOperator() == "and"
		for i := range e.GetOperands() {
			if arg(i).GetBoolValue() != and {
				return truth(!and)
			}
		}
		return truth(and)
	case "not":
		return truth(!arg(0).GetBoolValue())
	case "eq":
		return truth(arg(0).String() == arg(1).String())
	case "ne":
		return truth(arg(0).String() != arg(1).String())
	case "lt":
		return truth(arg(0).GetNumberValue() < arg(1).GetNumberValue())
	case "gt":
		return truth(arg(0).GetNumberValue() > arg(1).GetNumberValue())
	}
	t.Fatalf("the plan has the operator %s", e.GetOperator())
	return nil
}

// allowed reports whether a plan lets a resource pass.
func allowed(t *testing.T, f *enginev1.PlanResourcesFilter, r *enginev1.Resource) bool {
	t.Helper()
	switch f.GetKind() {
	case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
		return true
	case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
		return matches(t, f.GetCondition(), r).GetBoolValue()
	}
	return false
}

// planConditions are conditions on what a plan knows, on what it does not, and none.
var planConditions = []string{"", "", "P.attr.level > 3.0", "P.attr.level < 3.0", "R.attr.owner == P.id", "R.attr.open",
	"!R.attr.open", "R.attr.size < 5.0", "R.attr.owner != P.id && R.attr.size > 3.0",
	"R.attr.open || P.attr.level > 3.0"}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomCondition(r *rand.Rand) string {
	c := one(r, planConditions...)
	if c == "" {
		return ""
	}
	return fmt.Sprintf(", condition: {match: {expr: %q}}", c)
}

// randomPolicies returns resource, principal and role policies in two scopes.
func randomPolicies(r *rand.Rand) Files {
	files := Files{}
	permissions := map[string]string{"": "SCOPE_PERMISSIONS_UNSPECIFIED",
		"acme": one(r, "SCOPE_PERMISSIONS_UNSPECIFIED", "SCOPE_PERMISSIONS_REQUIRE_PARENTAL_CONSENT_FOR_ALLOWS")}
	head := func(kind, name, scope string) string {
		return fmt.Sprintf("apiVersion: api.cerbos.dev/v1\n%sPolicy:\n  %s: %s\n  version: default\n  scope: %q\n"+
			"  scopePermissions: %s\n", kind, kind, name, scope, permissions[scope])
	}
	effect := func() string { return one(r, "EFFECT_ALLOW", "EFFECT_ALLOW", "EFFECT_DENY") }
	principals := r.IntN(4) // none, in the root, or in both scopes
	for i, scope := range []string{"", "acme"} {
		text := head("resource", "doc", scope)
		if r.IntN(2) == 0 {
			text += "  importDerivedRoles: [common]\n"
		}
		text += "  rules:\n"
		for range 1 + r.IntN(4) {
			roles := one(r, "roles: [user]", "roles: [editor]", "roles: [user, editor]", "roles: ['*']")
			if strings.Contains(text, "common") && r.IntN(3) == 0 {
				roles = "derivedRoles: [owner]"
			}
			text += fmt.Sprintf("    - {actions: [%s], effect: %s, %s%s}\n", one(r, "view", "edit", "'*'"), effect(),
				roles, randomCondition(r))
		}
		files["doc"+scope+".yaml"] = []byte(text)
		if principals > i {
			text = head("principal", "ada", scope) + "  rules:\n    - resource: doc\n      actions:\n"
			for range 1 + r.IntN(3) {
				text += fmt.Sprintf("        - {action: %s, effect: %s%s}\n", one(r, "view", "edit", "'*'"), effect(),
					randomCondition(r))
			}
			files["ada"+scope+".yaml"] = []byte(text)
		}
		if r.IntN(3) == 0 {
			files["0editor"+scope+".yaml"] = fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nrolePolicy:\n  role: "+
				"editor\n  scope: %q\n  parentRoles: [user]\n  rules:\n    - {resource: doc, allowActions: [%s]%s}\n",
				scope, one(r, "view", "edit", "'*'"), randomCondition(r))
		}
	}
	files["common.yaml"] = []byte("apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: common\n  definitions:\n" +
		"    - {name: owner, parentRoles: [user], condition: {match: {expr: R.attr.owner == P.id}}}\n")
	return files
}

// A person who may do nothing sees nothing (Cerbos #3387).
func TestADenialOfThePrincipalIsPlanned(t *testing.T) {
	files := Files{"doc.yaml": allowing("doc", "R.attr.owner == P.id"), "ada.yaml": []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: ada
  version: default
  rules: [{resource: doc, actions: [{action: "*", effect: EFFECT_DENY}]}]
`)}
	e, err := Load(tableOf(t, files), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]string{"ada": "KIND_ALWAYS_DENIED", "bob": "KIND_CONDITIONAL"} {
		out, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"},
			Principal: &enginev1.Principal{Id: who, Roles: []string{"user"}},
			Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		if err != nil || out.GetFilter().GetKind().String() != want {
			t.Errorf("%s: %v %v", who, out.GetFilter(), err)
		}
	}
}

// Cerbos' planner takes an attribute that it does not know for present, so has() of it is true. A
// plan therefore holds for resources that have the attribute: see docs/decisions.
func TestAPlanTakesAttributesForPresent(t *testing.T) {
	e, err := Load(tableOf(t, Files{"doc.yaml": allowing("doc", "has(R.attr.owner)")}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	ada := &enginev1.Principal{Id: "ada", Roles: []string{"user"}}
	plan, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: ada,
		Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
	if err != nil || plan.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED {
		t.Fatalf("%v %v", plan, err)
	}
	owned := map[string]*structpb.Value{"owner": structpb.NewStringValue("bob")}
	for want, attributes := range map[effectv1.Effect]map[string]*structpb.Value{
		effectv1.Effect_EFFECT_ALLOW: owned, effectv1.Effect_EFFECT_DENY: nil} {
		out, err := e.Check(t.Context(), []*enginev1.CheckInput{{Principal: ada, Actions: []string{"view"},
			Resource: &enginev1.Resource{Kind: "doc", Id: "1", Attr: attributes}}})
		if err != nil || out[0].GetActions()["view"].GetEffect() != want {
			t.Errorf("%v: %v %v, want %v", attributes, out, err, want)
		}
	}
}

// With strict evaluation, an error in any condition denies a check. A plan does not know the values
// that err.
func TestAPlanDoesNotSeeStrictErrors(t *testing.T) {
	policy := bytes.Replace(allowing("doc", "R.attr.tags[5] == P.id"), []byte("  rules:\n"),
		[]byte("  rules:\n    - {actions: [view], effect: EFFECT_ALLOW, roles: [user]}\n"), 1)
	for _, strict := range []bool{false, true} {
		settings := DefaultSettings()
		settings.StrictEvaluation = strict
		e, err := Load(tableOf(t, Files{"doc.yaml": policy}), settings)
		if err != nil {
			t.Fatal(err)
		}
		ada := &enginev1.Principal{Id: "ada", Roles: []string{"user"}}
		plan, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: ada,
			Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		if err != nil || plan.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED {
			t.Fatalf("%v %v", plan, err)
		}
		tags := structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("x")}})
		out, err := e.Check(t.Context(), []*enginev1.CheckInput{{Principal: ada, Actions: []string{"view"},
			Resource: &enginev1.Resource{Kind: "doc", Id: "1", Attr: map[string]*structpb.Value{"tags": tags}}}})
		if err != nil || (out[0].GetActions()["view"].GetEffect() == effectv1.Effect_EFFECT_ALLOW) == strict {
			t.Errorf("strict %v: %v %v", strict, out, err)
		}
	}
}

// A plan allows no resource that a check denies. What it hides although a check allows it is
// counted: see docs/decisions.
func TestNoPlanAllowsWhatACheckDenies(t *testing.T) {
	sets := 200
	if testing.Short() {
		sets = 40
	}
	var answers, hidden, refused int
	for seed := range sets {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		files := randomPolicies(r)
		table, err := compileTable(context.Background(), files)
		if err != nil {
			t.Fatalf("set %d: %v", seed, err)
		}
		settings := DefaultSettings()
		settings.StrictEvaluation, settings.LenientScopeSearch = r.IntN(4) == 0, r.IntN(4) == 0
		e, err := Load(table, settings)
		if err != nil {
			t.Fatal(err)
		}
		for _, roles := range [][]string{{"user"}, {"editor"}, {"user", "editor"}, {"editor", "user"}} {
			for _, who := range []string{"ada", "bob"} {
				principal := &enginev1.Principal{Id: who, Roles: roles, Scope: one(r, "", "acme"),
					Attr: map[string]*structpb.Value{"level": structpb.NewNumberValue(float64(r.IntN(6)))}}
				for _, action := range []string{"view", "edit"} {
					scope := one(r, "", "acme")
					plan, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{RequestId: "r", Principal: principal,
						Actions:  []string{action},
						Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc", Scope: scope}})
					if err != nil {
						refused++
						continue
					}
					for _, owner := range []string{"ada", "bob"} {
						for _, size := range []float64{1, 4, 9} {
							for _, open := range []bool{false, true} {
								resource := &enginev1.Resource{Kind: "doc", Id: "1", Scope: scope,
									Attr: map[string]*structpb.Value{"owner": structpb.NewStringValue(owner),
										"size": structpb.NewNumberValue(size), "open": structpb.NewBoolValue(open)}}
								out, err := e.Check(t.Context(), []*enginev1.CheckInput{{RequestId: "r",
									Principal: principal, Resource: resource, Actions: []string{action}}})
								if err != nil {
									t.Fatal(err)
								}
								answers++
								check := out[0].GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
								switch planned := allowed(t, plan.GetFilter(), resource); {
								case planned && !check:
									text := ""
									for name, content := range files {
										text += "# " + name + "\n" + string(content)
									}
									t.Fatalf("set %d: %s as %v may %s %v in %q by the plan %s, and may not\n%s", seed,
										who, roles, action, resource.GetAttr(), principal.GetScope()+"/"+scope,
										plan.GetFilterDebug(), text)
								case !planned && check:
									hidden++
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d answers: plans hide %d that a check allows, %d plans were refused", answers, hidden, refused)
	if refused > 0 {
		t.Errorf("%d plans were refused", refused)
	}
}
