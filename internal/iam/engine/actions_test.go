package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
)

// acting is a bundle whose policies of every kind name actions.
var acting = Files{
	"doc.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: default
  schemas: {resourceSchema: {ref: cerbos:///doc.json, ignoreWhen: {actions: [create]}}}
  rules:
    - {actions: [view, "approve:*"], effect: EFFECT_ALLOW, roles: [user]}
    - {actions: [shred], effect: EFFECT_DENY, roles: ["*"]}
`),
	"doc_acme.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: doc
  version: v2
  scope: acme
  rules: [{actions: [edit], effect: EFFECT_ALLOW, roles: [user]}]
`),
	"doc_v2.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy: {resource: doc, version: v2, rules: []}
`),
	"other.yaml": []byte(`apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: hr:other
  version: default
  rules: [{actions: [fly], effect: EFFECT_ALLOW, roles: [user]}]
`),
	"ada.yaml": []byte(`apiVersion: api.cerbos.dev/v1
principalPolicy:
  principal: ada
  version: default
  rules:
    - {resource: "d*", actions: [{action: "*:high", effect: EFFECT_ALLOW}]}
    - {resource: "hr:*", actions: [{action: swim, effect: EFFECT_ALLOW}]}
`),
	"clerk.yaml": []byte(`apiVersion: api.cerbos.dev/v1
rolePolicy:
  role: clerk
  version: default
  parentRoles: [user]
  rules: [{resource: doc, allowActions: [stamp]}]
`),
	"_schemas/doc.json": []byte(`{"type": "object"}`),
}

func TestTheActionsOfAKind(t *testing.T) {
	e, err := Load(tableOf(t, acting), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]Actions{
		"doc": {
			Names:  []string{"approve:high", "create", "edit", "shred", "stamp", "view"},
			Others: []Form{{"*:high", "~:high"}, {"approve:*", "approve:~"}}, Apart: true,
		},
		"hr:other":   {Names: []string{"fly", "swim"}},
		"unheard_of": {},
	} {
		if diff := cmp.Diff(want, e.Actions(kind)); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
}

func TestPatternsThatAreNotUnderstood(t *testing.T) {
	for action, clear := range map[string]bool{"*": true, "view": true, "view:*": true, "view*": true,
		"a:*:b*": true, "*view": false, "a*b": false, "**": false, "v?ew:*": false, "{a,b}*": false} {
		a := (&Evaluator{actions: map[string]*kindActions{"doc": {of: []string{action, "view"}}}}).Actions("doc")
		if (a.Unclear == "") != clear {
			t.Errorf("%s: unclear is %q", action, a.Unclear)
		}
	}
	many := &kindActions{}
	for i := range maxForms + 1 {
		many.of = append(many.of, fmt.Sprintf("a%02d:*", i))
	}
	if a := (&Evaluator{actions: map[string]*kindActions{"doc": many}}).Actions("doc"); a.Unclear == "" {
		t.Error("more patterns than are looked at, and all is clear")
	}
}

// Whatever the patterns: an unnamed action is allowed only if the example of a form is,
// of which the action is one. The rules are put to the engine, with conditions, denials and
// parental consent.
func TestExamplesStandForAllOthers(t *testing.T) {
	const worlds = 40
	r := rand.New(rand.NewPCG(7, 7))
	words := []string{"view", "edit", "public", "v", "", "viewer"}
	parts := []string{"view", "edit", "public", "*", "*", "v*", "view*"}
	length := func() int { return []int{1, 2, 2, 2, 3}[r.IntN(5)] }
	pattern := func() string {
		if r.IntN(12) == 0 {
			return "*"
		}
		p := make([]string, length())
		for i := range p {
			p[i] = parts[r.IntN(len(parts))]
		}
		return strings.Join(p, ":")
	}
	two := func() string { // an action stands in a rule once
		a, b := pattern(), pattern()
		if a == b {
			return fmt.Sprintf("[%q]", a)
		}
		return fmt.Sprintf("[%q, %q]", a, b)
	}
	var unnamed, open int
	for range worlds {
		files := Files{}
		for _, scope := range []string{"", "acme"} {
			var rules []string
			for range 2 + r.IntN(3) {
				effect := "EFFECT_ALLOW"
				if r.IntN(4) == 0 {
					effect = "EFFECT_DENY"
				}
				rules = append(rules, fmt.Sprintf("    - {actions: %s, effect: %s, roles: [user], condition: "+
					"{match: {expr: R.attr.n > %d}}}\n", two(), effect, r.IntN(3)))
			}
			head := ""
			if scope != "" {
				head = "  scope: acme\n  scopePermissions: SCOPE_PERMISSIONS_REQUIRE_PARENTAL_CONSENT_FOR_ALLOWS\n"
			}
			files["doc"+scope+".yaml"] = []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: doc\n " +
				" version: default\n" + head + "  rules:\n" + strings.Join(rules, ""))
		}
		files["clerk.yaml"] = fmt.Appendf(nil, "apiVersion: api.cerbos.dev/v1\nrolePolicy:\n  role: clerk\n  "+
			"scope: acme.hr\n  version: default\n  parentRoles: [user]\n  rules: [{resource: doc, allowActions: "+
			"%s}]\n", two())
		e, err := Load(tableOf(t, files), DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		known := e.Actions("doc")
		if known.Unclear != "" {
			t.Fatalf("unclear: %s", known.Unclear)
		}
		for _, requester := range []struct{ role, scope string }{{"user", ""}, {"user", "acme"}, {"clerk", "acme.hr"}} {
			may := func(action string) bool {
				in := asking("doc", map[string]any{"n": 2}, action)
				in.Principal.Roles, in.Resource.Scope = []string{requester.role}, requester.scope
				out, err := e.Check(context.Background(), []*enginev1.CheckInput{in})
				if err != nil {
					t.Fatal(err)
				}
				return out[0].Actions[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
			}
			var allowed []Form
			for _, f := range known.Others {
				if may(f.Example) {
					allowed = append(allowed, f)
				}
			}
			open += min(1, len(allowed))
			for range 100 {
				p := make([]string, length())
				for i := range p {
					p[i] = words[r.IntN(len(words))]
				}
				action := strings.Join(p, ":")
				if action == "" || slices.Contains(known.Names, action) || !may(action) {
					continue
				}
				unnamed++
				if !slices.ContainsFunc(allowed, func(f Form) bool { return matchesGlob(f.Pattern, action) }) {
					t.Errorf("%s may %q, which is of no form that they may: %v\n%s", requester.role, action, allowed,
						files)
				}
			}
		}
	}
	if unnamed < 100 || open < 15 || open > 3*worlds-15 {
		t.Errorf("%d unnamed actions allowed, %d requesters of %d with open forms: the cases say nothing", unnamed,
			open,
			3*worlds)
	}
}

// A question that the planner panics at has a fault and no more, and the next is answered.
func TestAPlannerThatPanics(t *testing.T) {
	e, err := Load(tableOf(t, Files{"doc.yaml": allowing("doc", "R.attr.public || (P.attr.active ? R.attr.flag : "+
		"true)")}), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(active any) error {
		v, err := structpb.NewValue(active)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Plan(t.Context(), &enginev1.PlanResourcesInput{
			Actions: []string{"view"}, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"},
			Principal: &enginev1.Principal{Id: "ada", Roles: []string{"user"},
				Attr: map[string]*structpb.Value{"active": v}},
		})
		return err
	}
	if err := ask("text"); !errors.Is(err, ErrNoPlan) || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("not a boolean: %v", err)
	}
	if err := ask(true); err != nil {
		t.Errorf("a boolean: %v", err)
	}
}
