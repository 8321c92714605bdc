package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/race"
)

// matches evaluates a plan's condition on a resource, as a database does. It is nil, for unknown,
// if it needs an attribute that the resource lacks. It knows the operators that the conditions of
// this file become.
func matches(t *testing.T, o *operand, r *enginev1.Resource) *structpb.Value {
	t.Helper()
	if v, ok := o.GetNode().(*enginev1.PlanResourcesFilter_Expression_Operand_Value); ok {
		return v.Value
	}
	if name := o.GetVariable(); name != "" {
		if name == "request.resource.id" {
			return structpb.NewStringValue(r.GetId())
		}
		attribute, ok := strings.CutPrefix(name, attributePrefix)
		if !ok {
			t.Fatalf("the plan has the variable %s", name)
		}
		return r.GetAttr()[attribute]
	}
	e := o.GetExpression()
	of := make([]*structpb.Value, len(e.GetOperands()))
	unknown := false
	for i, x := range e.GetOperands() {
		of[i] = matches(t, x, r)
		unknown = unknown || of[i] == nil
	}
	truth := structpb.NewBoolValue
	switch operator := e.GetOperator(); {
	case operator == "and" || operator == "or":
		for _, v := range of {
			if v != nil && v.GetBoolValue() != (operator == "and") {
				return v
			}
		}
		if unknown {
			return nil
		}
		return truth(operator == "and")
	case unknown:
		return nil
	case operator == "not":
		return truth(!of[0].GetBoolValue())
	case operator == "eq":
		return truth(of[0].String() == of[1].String())
	case operator == "ne":
		return truth(of[0].String() != of[1].String())
	case operator == "add":
		return structpb.NewNumberValue(of[0].GetNumberValue() + of[1].GetNumberValue())
	case operator == "mult":
		return structpb.NewNumberValue(of[0].GetNumberValue() * of[1].GetNumberValue())
	case operator == "mod":
		return structpb.NewNumberValue(math.Mod(of[0].GetNumberValue(), of[1].GetNumberValue()))
	case operator == "lt":
		return truth(of[0].GetNumberValue() < of[1].GetNumberValue())
	case operator == "gt":
		return truth(of[0].GetNumberValue() > of[1].GetNumberValue())
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
	"R.attr.open || P.attr.level > 3.0", "has(R.attr.owner)", "!has(R.attr.size)",
	"has(R.attr.size) ? R.attr.size > 3.0 : R.attr.open", "has(R.attr.open) == (P.attr.level > 3.0)",
	"R.attr.size + 1 > 2", "!(R.attr.size * 2 > 3) || R.attr.open", "R.attr.size % 2 == 0", "P.attr.level + 1 > 2",
	"R.attr.size + 1.0 > 2.0"}

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

// planOf returns the filter of Ada's plan to view documents with the known attributes.
func planOf(t *testing.T, e *Evaluator, known map[string]*structpb.Value) string {
	t.Helper()
	attributes, err := structpb.NewStruct(map[string]any{"none": []any{}, "text": "ada", "yes": true,
		"team": "eve", "limits": map[string]any{"a": 10}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"},
		Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"}, Attr: attributes.GetFields()},
		Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "doc", Attr: known}})
	if err != nil {
		if !errors.Is(err, ErrNoPlan) {
			t.Fatal(err)
		}
		return "refused"
	}
	return strings.ReplaceAll(out.GetFilterDebug(), attributePrefix, "")
}

// A plan shows no resource that lacks an attribute on which its check depends.
func TestPlansOfMissingAttributes(t *testing.T) {
	for condition, want := range map[string]string{
		"has(R.attr.owner)":                                `(ne owner null)`,
		"has(R.attr.owner) && R.attr.owner == P.id":        `(eq owner "ada")`,
		"has(R.attr.owner) || R.attr.open":                 `(or (ne owner null) open)`,
		"!has(R.attr.owner)":                               `(false)`,
		"has(R.attr.owner) ? R.attr.owner == 'ada' : true": `(eq owner "ada")`,
		"!(has(R.attr.owner) && R.attr.size > 3.0)":        `(not (gt size 3))`,
		"has(R.attr.a.b)":                                  `(ne a.b null)`,
		"R.attr.list.all(x, has(x.y))":                     `(all list (lambda (ne x.y null) x))`,
		"!(R.attr.owner in P.attr.none)":                   `(ne owner null)`,
		"R.attr.owner in P.attr.none":                      `(false)`,
		"R.attr.owner in P.attr.text":                      `(false)`,
		"!(R.attr.owner in P.attr.text)":                   `(false)`,
		"P.attr.limits[R.attr.size] > 5":                   `(eq size "a")`,
		"!(P.attr.limits[R.attr.size] > 5)":                `(not (gt (index (struct (set-field "a" 10)) size) 5))`,
		"has(P.attr.text) && !has(P.attr.other)":           `(true)`,
		"R.attr.list.filter(x, has(x.y)) == [P.attr.none]": `refused`,
		// Half of a conjunction that is not a boolean has no value.
		"R.attr.open && P.attr.text":               `(false)`,
		"!(P.attr.text && R.attr.open)":            `(not open)`, // "ada" && false is false
		"!(R.attr.open || P.attr.text)":            `(false)`,
		"R.attr.open || P.attr.text":               `open`,
		"R.attr.open && (P.attr.text || R.attr.a)": `(and open a)`,
		"R.attr.open && P.attr.yes":                `open`,
		// A number is a double, and CEL has no sum of a double and a whole number.
		"R.attr.size + 1 > 2":                             `(false)`,
		"!(R.attr.size + 1 > 2)":                          `(false)`,
		"2 * request.resource.attr.size > 2":              `(false)`,
		"R.attr['size'] - size(P.roles) > 2":              `(false)`,
		"R.attr.size % 2 == 0":                            `(false)`,
		"!(R.attr.size % R.attr.other == 0)":              `(false)`,
		"(R.attr.open ? R.attr.size : 1) + 1 > 2":         `(false)`,
		"dyn(R.attr.size) + dyn(1) > 2":                   `(false)`,
		"R.attr.size * R.attr.deep.size + 1 > 2":          `(false)`,
		"(R.attr.size + R.attr.deep.size) % 2 == 0":       `(false)`,
		"-R.attr.size + 1 > -9":                           `(false)`,
		"!(R.attr.size * P.attr.level + 1 < 2)":           `(false)`,
		"math.greatest(R.attr.size, 2.0) + 1 > 2":         `(false)`,
		"[R.attr.size][0] + 1 > 2":                        `(false)`,
		"{'a': R.attr.size}.a + 1 > 2":                    `(false)`,
		"R.attr.list.map(x, x)[0] + 1 > 1":                `(false)`,
		"R.attr.size + 1.0 > 2":                           `(gt (add size 1) 2)`,
		"R.attr.size + R.attr.other > 2":                  `(gt (add size other) 2)`,
		"int(R.attr.size) + 1 > 2":                        `refused`, // it may be too large
		"R.attr.open || R.attr.size + 1 > 2":              `open`,
		"R.attr.open && !(R.attr.size + 1 > 2)":           `(false)`,
		"R.attr.list.exists(x, x + 1 > 2) || R.attr.open": `(or (exists list (lambda false x)) open)`,
	} {
		e, err := Load(tableOf(t, Files{"doc.yaml": allowing("doc", condition)}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if got := planOf(t, e, nil); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

// A plan knows the attributes that its request has: each of them is present.
func TestPlansOfKnownAttributes(t *testing.T) {
	for condition, want := range map[string]string{
		"has(R.attr.size)":  `(true)`,
		"!has(R.attr.size)": `(false)`,
		"!(P.attr.text == 'ada' ? has(R.attr.size) : true)": `(false)`,
		"has(R.attr.size) && has(R.attr.owner)":             `(ne owner null)`,
		"has(R.attr.owner) && has(R.attr.size)":             `(ne owner null)`,
		"has(R.attr.owner) && !has(R.attr.size)":            `(false)`,
		"!has(R.attr.size) || R.attr.owner == 'x'":          `(eq owner "x")`,
		"has(R.attr.tags) && has(R.attr.size)":              `(true)`,
	} {
		e, err := Load(tableOf(t, Files{"doc.yaml": allowing("doc", condition)}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]*structpb.Value{"size": structpb.NewNumberValue(2),
			"tags": structpb.NewListValue(&structpb.ListValue{}), "deep": structpb.NewStructValue(&structpb.Struct{
				Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(1)}})}
		if got := planOf(t, e, known); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

// The conditions of derived roles stay apart in a plan that names the roles.
func TestPlansOfDerivedRoles(t *testing.T) {
	const both = "R.attr.owner == P.id|R.attr.group == P.attr.team"
	for conditions, want := range map[string]string{
		"'one' in runtime.effectiveDerivedRoles|" + both: `(in "one" (add (if (eq owner "ada") ["one"] []) ` +
			`(if (eq group "eve") ["two"] [])))`,
		"size(runtime.effectiveDerivedRoles) > 1|" + both: `(gt (size (add (if (eq owner "ada") ["one"] []) ` +
			`(if (eq group "eve") ["two"] []))) 1)`,
		"'two' in runtime.effectiveDerivedRoles|R.attr.list.exists(x, x == 'a')|R.attr.of.all(y, y == 'b')": `(in ` +
			`"two" (add (if (exists list (lambda (eq x "a") x)) ["one"] []) ` +
			`(if (all of (lambda (eq y "b") y)) ["two"] [])))`,
		"R.attr.open|R.attr.list.exists(x, x == 'a')|R.attr.list.all(y, y == 'b')": `open`,
	} {
		of := strings.Split(conditions, "|")
		policy := bytes.Replace(allowing("doc", of[0]), []byte("  rules:\n"),
			[]byte("  importDerivedRoles: [roles]\n  rules:\n"), 1)
		roles := fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nderivedRoles:\n  name: roles\n  definitions:\n"+
			"    - {name: one, parentRoles: [user], condition: {match: {expr: %q}}}\n"+
			"    - {name: two, parentRoles: [user], condition: {match: {expr: %q}}}\n", of[1], of[2])
		policy = append(policy, []byte("    - {actions: [edit], effect: EFFECT_ALLOW, derivedRoles: [one, two]}\n")...)
		e, err := Load(tableOf(t, Files{"doc.yaml": policy, "roles.yaml": roles}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if got := planOf(t, e, nil); got != want {
			t.Errorf("%s: %s, want %s", conditions, got, want)
		}
	}
}

// A branch whose condition is open has the values of what the plan knows.
func TestPlansOfBranches(t *testing.T) {
	for condition, want := range map[string]string{
		"R.attr.open ? has(P.attr.nothing) : false":      `(if open false false)`,
		"!(R.attr.open ? has(P.attr.nothing) : false)":   `(not (if open false false))`,
		"R.attr.open ? has(P.scope) : false":             `(if open false false)`,
		"P.attr.yes ? has(P.attr.text) : R.attr.open":    `(true)`,
		"P.attr.yes ? has(P.attr.nothing) : R.attr.open": `(false)`,
		"has(P.attr.text.nothing) || R.attr.open":        `open`,
		"!has(P.attr.text.nothing)":                      `(true)`, // as in a check
		"P.attr.limits.a + 1 > 2 || R.attr.open":         `open`,
		"R.attr.open ? P.attr.limits.a + 1 > 2 : true":   `(if open false true)`,
	} {
		e, err := Load(tableOf(t, Files{"doc.yaml": allowing("doc", condition)}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if got := planOf(t, e, nil); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

// Arithmetic of variables has no value if it has none of what they stand for.
func TestPlansOfVariablesInArithmetic(t *testing.T) {
	for condition, want := range map[string]string{
		"!has(V.size)":                               `(false)`,
		"has(V.size) || R.attr.open":                 `(or (ne size null) open)`,
		"V.next + 1 > 2":                             `(false)`,
		"V.size + V.one > 2":                         `(false)`,
		"V.size + 1.0 > 2":                           `(gt (add size 1) 2)`,
		"size(V.list) + 1 > 2":                       `refused`,
		"!(V.next * V.one == 3)":                     `(false)`,
		"V.product + 1 > 2":                          `(false)`,
		"!(V.product + 1 < 2)":                       `(false)`,
		"V.square % 2 == 0":                          `(false)`,
		"V.negative + 1 > -9":                        `(false)`,
		"[V.product][0] + 1 > 2":                     `(false)`,
		"V.both[0] + 1 > 2":                          `(false)`,
		"V.map.a + 1 > 2":                            `(false)`,
		"V.size + V.ones[0] > 2":                     `(false)`,
		"V.size + V.named.a > 2":                     `(false)`,
		"V.product + 1.0 > 2":                        `(gt (add (mult size other) 1) 2)`,
		"V.ones[0] + 1 > 2":                          `(false)`,
		"!(V.half % 2 == 0)":                         `(false)`,
		"V.both.exists(x, x + 1 > 2) || R.attr.open": `(or (exists (list size other) (lambda false x)) open)`,
		"R.attr.list.filter(x, x > 0.0).exists(x, x + 1 > 2)": `(exists (filter list (lambda (gt x 0) x)) ` +
			`(lambda false x))`,
		"R.attr.list.map(x, size(x)).exists(x, x + 1 > 2)": `refused`,
	} {
		policy := bytes.Replace(allowing("doc", condition), []byte("  rules:\n"), []byte("  variables: {local: {size: "+
			"R.attr.size, next: V.size, one: size(P.roles), list: R.attr.list, product: R.attr.size * R.attr.other, "+
			"square: V.product * V.product, negative: -R.attr.size, both: '[R.attr.size, R.attr.other]', "+
			"map: '{\"a\": R.attr.size}', ones: '[1]', named: '{\"a\": 1}', half: V.product / 2.0}}\n  rules:\n"), 1)
		e, err := Load(tableOf(t, Files{"doc.yaml": policy}), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if got := planOf(t, e, nil); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

// With strict evaluation a plan shows no resource for which a condition of its check fails.
func TestPlansOfStrictEvaluation(t *testing.T) {
	const tag = `(eq (index tags 5) "ada")`
	for condition, want := range map[string][2]string{ // without and with strict evaluation
		"R.attr.tags[5] == P.id": {`(or open ` + tag + `)`,
			`(and (or open ` + tag + `) (or open (not open)) (or ` + tag + ` (not ` + tag + `)))`},
		"R.attr.open": {`open`, `open`},
		"has(R.attr.size)": {`(or open (ne size null))`, `(and (or open (ne size null)) ` +
			`(or open (not open)))`},
		"P.id == 'bob'":                        {`open`, `open`},
		"P.attr.other == R.attr.x":             {`open`, `(false)`},
		"'a' in runtime.effectiveDerivedRoles": {`open`, `open`},
		"R.attr.x in P.attr.none":              {`open`, `(and open (ne x null))`},
	} {
		policy := bytes.Replace(allowing("doc", condition), []byte("  rules:\n"), []byte("  rules:\n    - {actions: "+
			"[view], effect: EFFECT_ALLOW, roles: [user], condition: {match: {expr: R.attr.open}}}\n"), 1)
		for i, strict := range []bool{false, true} {
			settings := DefaultSettings()
			settings.StrictEvaluation = strict
			e, err := Load(tableOf(t, Files{"doc.yaml": policy}), settings)
			if err != nil {
				t.Fatal(err)
			}
			if got := planOf(t, e, nil); got != want[i] {
				t.Errorf("%s, strict %v: %s, want %s", condition, strict, got, want[i])
			}
		}
	}
}

// A plan allows no resource that a check denies. What it hides although a check allows it is
// counted: see docs/decisions.
func TestNoPlanAllowsWhatACheckDenies(t *testing.T) {
	sets := 160
	switch {
	case race.Detector:
		sets = 10
	case testing.Short():
		sets = 40
	}
	var total compared
	for seed := range sets {
		total.compare(t, uint64(seed))
	}
	t.Logf("%d answers: plans hide %d that a check allows, %d plans were refused", total.answers, total.hidden,
		total.refused)
	if total.refused > 0 {
		t.Errorf("%d plans were refused", total.refused)
	}
}

// compared counts the answers of plans and of checks.
type compared struct{ answers, hidden, refused int }

// compare compares the plans of one random set of policies with its checks.
func (c *compared) compare(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	files := randomPolicies(r)
	settings := DefaultSettings()
	settings.StrictEvaluation, settings.LenientScopeSearch = r.IntN(4) == 0, r.IntN(4) == 0
	e, err := Load(tableOf(t, files), settings)
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
					c.refused++
					continue
				}
				var in []*enginev1.CheckInput
				for _, attributes := range someAttributes {
					in = append(in, &enginev1.CheckInput{RequestId: "r", Principal: principal,
						Actions:  []string{action},
						Resource: &enginev1.Resource{Kind: "doc", Id: "1", Scope: scope, Attr: attributes}})
				}
				out, err := e.Check(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for i, x := range in {
					c.answers++
					check := out[i].GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
					switch planned := allowed(t, plan.GetFilter(), x.GetResource()); {
					case planned && !check:
						text := ""
						for name, content := range files {
							text += "# " + name + "\n" + string(content)
						}
						t.Fatalf("set %d, strict %v: %v may %s %v by the plan %s, and may not\n%s", seed,
							settings.StrictEvaluation, principal, action, x.GetResource(), plan.GetFilterDebug(), text)
					case !planned && check:
						c.hidden++
					}
				}
			}
		}
	}
}

// someAttributes are those of the resources that plans are compared on. Some lack one or more.
var someAttributes = func() []map[string]*structpb.Value {
	var out []map[string]*structpb.Value
	for _, owner := range []any{"ada", "bob", absent} {
		for _, size := range []any{1, 4, absent} {
			for _, open := range []any{false, true, absent} {
				of := map[string]*structpb.Value{}
				for name, value := range map[string]any{"owner": owner, "size": size, "open": open} {
					if value != absent {
						of[name], _ = structpb.NewValue(value)
					}
				}
				out = append(out, of)
			}
		}
	}
	return out
}()

// The work for a filter grows with the size of its conditions, and not with a power of their depth.
func TestTheWorkForAFilter(t *testing.T) {
	one := func(i int) string { return fmt.Sprintf("{expr: R.attr.a%d == P.id}", i) }
	many := func(operator string) string {
		var of []string
		for i := range 300 {
			of = append(of, one(i))
		}
		return fmt.Sprintf("{%s: {of: [%s]}}", operator, strings.Join(of, ", "))
	}
	nested := one(0)
	for i := range 120 {
		nested = fmt.Sprintf("{%s: {of: [%s, %s]}}", []string{"any", "all"}[i%2], one(i), nested)
	}
	rules := one(0)
	for i := range 400 {
		rules += fmt.Sprintf("\n    - {actions: [view], effect: EFFECT_ALLOW, roles: [user], condition: {match: "+
			"{expr: R.attr.a%d == %d && has(R.attr.b%d)}}}", i, i, i)
	}
	texts := make([]any, 1_000)
	for i := range texts {
		texts[i] = fmt.Sprint("text", i)
	}
	attributes, err := structpb.NewStruct(map[string]any{"big": texts})
	if err != nil {
		t.Fatal(err)
	}
	for name, match := range map[string]string{"any": many("any"), "all": many("all"), "nested": nested,
		"rules": rules, "lists": `{expr: "P.attr.big.exists(x, R.attr.x == x && R.attr.y in P.attr.big)"}`} {
		policy := bytes.Replace(allowing("doc", "true"), []byte("match:\n          expr: \"true\""),
			[]byte("match: "+match), 1)
		settings := DefaultSettings()
		settings.StrictEvaluation = true
		e, err := Load(tableOf(t, Files{"doc.yaml": policy}), settings)
		if err != nil {
			t.Fatal(err)
		}
		made := testing.AllocsPerRun(1, func() {
			_, _ = e.Plan(t.Context(), &enginev1.PlanResourcesInput{Actions: []string{"view"},
				Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"}, Attr: attributes.GetFields()},
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		})
		t.Logf("%s: %.0f allocations", name, made)
		if made > 1_000_000 {
			t.Errorf("%s: %.0f allocations", name, made)
		}
	}
}
