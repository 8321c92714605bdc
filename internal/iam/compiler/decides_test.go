package compiler

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

var (
	tableSeed = flag.Uint64("table-seed", 50, "of the first generated table")
	tables    = flag.Int("tables", 7, "generated tables")
)

// TestACheckDecidesAsThePoliciesSay compares checks with the meaning of the same policies
// (meaning_test.go), which is read rule by rule. It asks for many actions and resources at once, in
// several orders.
//
// The policies have few names, texts and values. So rules, variables and constants of different
// policies share what Cerbos keeps results by. The default tables fail without any of our keys.
func TestACheckDecidesAsThePoliciesSay(t *testing.T) {
	for i := range *tables {
		r := rand.New(rand.NewPCG(*tableSeed+uint64(i), 7))
		b := newBundle(r)
		table, err := compileTable(t.Context(), b.files)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", *tableSeed+uint64(i), err, b)
		}
		made, err := engine.Load(table.Table, engine.DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			principal, in := asked(r)
			out, err := made.Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := b.differs(principal, in, out); wrong != "" {
				t.Fatalf("seed %d: %s\n%s", *tableSeed+uint64(i), wrong, b)
			}
		}
	}
}

// differs returns the first answer that the policies do not mean, or "".
func (b *bundle) differs(p *enginev1.Principal, in []*enginev1.CheckInput, out []*enginev1.CheckOutput) string {
	for i, o := range out {
		for _, action := range in[i].GetActions() {
			got := o.GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
			if want := b.allows(p, in[i].GetResource(), action); got != want {
				return fmt.Sprintf("%v may %s of %v: %t, want %t\n%v", p, action, in[i].GetActions(), got, want,
					in[i].GetResource())
			}
		}
	}
	return ""
}

// asked returns a batch of resources of one principal.
func asked(r *rand.Rand) (*enginev1.Principal, []*enginev1.CheckInput) {
	version := pick(r, "", "default", "v2")
	p := &enginev1.Principal{Id: pick(r, "ada", "bob"), PolicyVersion: pick(r, "", version, "v2"),
		Scope: pick(r, scopes...), Roles: pick(r, []string{"user"}, []string{"admin"}, []string{"clerk"},
			[]string{"user", "clerk"}, []string{"clerk", "admin"})}
	out := make([]*enginev1.CheckInput, 1+r.IntN(3))
	for i := range out {
		actions := []string{"view", "edit", "drop"}
		r.Shuffle(3, func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
		out[i] = &enginev1.CheckInput{RequestId: "r", Principal: p, Actions: actions[:1+r.IntN(3)],
			Resource: &enginev1.Resource{Kind: pick(r, "doc", "dot"), Id: "1", Scope: pick(r, scopes...),
				PolicyVersion: version, Attr: map[string]*structpb.Value{
					"a": structpb.NewBoolValue(r.IntN(2) == 0), "b": structpb.NewBoolValue(r.IntN(2) == 0)}}}
	}
	return p, out
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// scopes are a chain, the parents last.
var scopes = []string{"acme.hr", "acme", ""}

// A bundle is generated policies, as files and as what they mean.
type bundle struct {
	*rand.Rand
	files    Files
	policies []*policy
	consents map[string]bool   // by scope: an ALLOW needs one of the parent, too
	roles    map[string][]role // by set of derived roles

	environments []environment
}

type policy struct {
	kind           string // resource, principal or role
	name           string // of the kind, principal or role
	version, scope string
	in             environment
	derived        string   // set of derived roles
	parents        []string // of a role
	rules          []rule
}

type rule struct {
	kind           string // of a principal's or a role's rule
	actions        []string
	allow          bool
	roles, derives []string
	condition      *condition
	name           string
}

type role struct {
	name      string
	parents   []string
	condition *condition
	in        environment
}

// environment is the variables and constants of a policy.
type environment struct {
	text     string
	variable func(facts) bool // V.x
	constant any              // C.c
}

// condition has a text and what it means.
type condition struct {
	match map[string]any
	holds func(facts) bool
}

// facts are what a condition may read.
type facts struct {
	attr  map[string]*structpb.Value
	roles []string // runtime.effectiveDerivedRoles
	in    environment
}

// expression returns one of few expressions. A variable reads no other.
func (b *bundle) expression(variable bool) (string, func(facts) bool) {
	switch n := b.IntN(10); {
	case n < 2:
		name := pick(b.Rand, "a", "b")
		return "R.attr." + name, func(f facts) bool { return f.attr[name].GetBoolValue() }
	case n < 5:
		name := pick(b.Rand, "one", "two")
		return `"` + name + `" in runtime.effectiveDerivedRoles`, func(f facts) bool {
			return slices.Contains(f.roles, name)
		}
	case n < 6:
		return `C.c == "ada"`, func(f facts) bool { return f.in.constant == "ada" }
	case n < 7:
		return "R.attr.none", func(facts) bool { return false } // an error counts as not met
	case variable:
		return "R.attr.a || R.attr.b", func(f facts) bool {
			return f.attr["a"].GetBoolValue() || f.attr["b"].GetBoolValue()
		}
	default:
		return "V.x", func(f facts) bool {
			return f.in.variable(f)
		}
	}
}

// condition returns a condition of one or two expressions.
func (b *bundle) condition() *condition {
	text, holds := b.expression(false)
	second, both := b.expression(false)
	of := []any{map[string]any{"expr": text}, map[string]any{"expr": second}}
	if b.IntN(2) == 0 {
		of = of[:1]
	}
	each := []func(facts) bool{holds, both}[:len(of)]
	some := func(f facts) bool {
		return slices.ContainsFunc(each, func(holds func(facts) bool) bool { return holds(f) })
	}
	switch b.IntN(5) {
	case 0:
		return &condition{map[string]any{"any": map[string]any{"of": of}}, some}
	case 1:
		return &condition{map[string]any{"all": map[string]any{"of": of}}, func(f facts) bool {
			return !slices.ContainsFunc(each, func(holds func(facts) bool) bool { return !holds(f) })
		}}
	case 2:
		return &condition{map[string]any{"none": map[string]any{"of": of}}, func(f facts) bool { return !some(f) }}
	}
	return &condition{map[string]any{"expr": text}, holds}
}

// maybe returns a condition, or nil for none.
func (b *bundle) maybe() *condition {
	if b.IntN(4) == 0 {
		return nil
	}
	return b.condition()
}

// environment writes the variables and constants of a policy. Most policies have those of another.
func (b *bundle) environment(body map[string]any) environment {
	if len(b.environments) < 2 || b.IntN(4) == 0 {
		text, holds := b.expression(true)
		b.environments = append(b.environments, environment{text, holds, pick[any](b.Rand, "ada", "bob", []any{"ada"})})
	}
	env := pick(b.Rand, b.environments...)
	body["variables"] = map[string]any{"local": map[string]any{"x": env.text}}
	body["constants"] = map[string]any{"local": map[string]any{"c": env.constant}}
	return env
}

func (b *bundle) file(kind string, body map[string]any) {
	text, err := json.Marshal(map[string]any{"apiVersion": "api.cerbos.dev/v1", kind: body})
	if err != nil {
		panic(err)
	}
	b.files[fmt.Sprintf("%d.yaml", len(b.files))] = text
}

func newBundle(r *rand.Rand) *bundle {
	b := &bundle{Rand: r, files: Files{}, consents: map[string]bool{"acme": r.IntN(3) == 0, "acme.hr": r.IntN(3) == 0},
		roles: map[string][]role{}}
	for _, set := range []string{"s", "t"} {
		b.derivedRoles(set)
	}
	for _, version := range []string{"default", "v2"} {
		for _, kind := range []string{"doc", "dot"} {
			for _, scope := range scopes[r.IntN(3):] {
				b.resource(kind, version, scope)
			}
		}
		for _, scope := range scopes[1+r.IntN(2):] {
			b.principal(version, scope)
		}
	}
	parents := pick(r, []string{"user"}, []string{"admin"}, []string{})
	for _, version := range []string{"default", "v2"}[:1+r.IntN(2)] {
		b.role(version, parents)
	}
	return b
}

func (b *bundle) derivedRoles(set string) {
	body := map[string]any{"name": set}
	env := b.environment(body)
	var definitions []any
	for _, name := range []string{"one", "two"} {
		x := role{name, pick(b.Rand, []string{"user"}, []string{"admin"}, []string{"*"}, []string{"user", "clerk"}),
			b.condition(), env}
		b.roles[set] = append(b.roles[set], x)
		definitions = append(definitions, map[string]any{"name": name, "parentRoles": x.parents,
			"condition": map[string]any{"match": x.condition.match}})
	}
	body["definitions"] = definitions
	b.file("derivedRoles", body)
}

// header begins a policy.
func (b *bundle) header(p *policy, name string) map[string]any {
	body := map[string]any{name: p.name, "version": p.version}
	if p.scope != "" {
		body["scope"] = p.scope
		if p.kind != "role" && b.consents[p.scope] {
			body["scopePermissions"] = consenting
		}
	}
	p.in = b.environment(body)
	b.policies = append(b.policies, p)
	return body
}

// written returns a rule as Cerbos writes it.
func (r rule) written(more map[string]any) map[string]any {
	if r.condition != nil {
		more["condition"] = map[string]any{"match": r.condition.match}
	}
	if r.name != "" {
		more["name"] = r.name
	}
	return more
}

func effectOf(allow bool) string {
	if allow {
		return "EFFECT_ALLOW"
	}
	return "EFFECT_DENY"
}

// ruleName is often none, and often that of another rule or Cerbos' default.
func (b *bundle) ruleName() string { return pick(b.Rand, "", "", "same", "rule-001", "rule-002") }

func (b *bundle) actions() []string {
	return pick(b.Rand, []string{"view"}, []string{"edit"}, []string{"view", "edit"}, []string{"*"})
}

func (b *bundle) resource(kind, version, scope string) {
	p := &policy{kind: "resource", name: kind, version: version, scope: scope}
	body := b.header(p, "resource")
	if p.derived = pick(b.Rand, "", "s", "t", "t"); p.derived != "" {
		body["importDerivedRoles"] = []string{p.derived}
	}
	named := map[string]bool{}
	var rules []any
	for range 2 + b.IntN(3) {
		x := rule{actions: b.actions(), allow: b.IntN(3) > 0, condition: b.maybe(), name: b.ruleName()}
		if named[x.name] { // the names of a policy differ
			x.name = ""
		}
		named[x.name] = true
		body := map[string]any{"actions": x.actions, "effect": effectOf(x.allow)}
		if p.derived != "" && b.IntN(2) == 0 {
			x.derives = pick(b.Rand, []string{"one"}, []string{"two"}, []string{"one", "two"})
			body["derivedRoles"] = x.derives
		} else {
			x.roles = pick(b.Rand, []string{"user"}, []string{"admin"}, []string{"*"}, []string{"user", "admin"})
			body["roles"] = x.roles
		}
		p.rules, rules = append(p.rules, x), append(rules, x.written(body))
	}
	body["rules"] = rules
	b.file("resourcePolicy", body)
}

func (b *bundle) principal(version, scope string) {
	p := &policy{kind: "principal", name: "ada", version: version, scope: scope}
	body := b.header(p, "principal")
	var rules []any
	for _, kind := range []string{"doc", "do*"}[:1+b.IntN(2)] {
		var actions []any
		names := []string{b.ruleName(), ""} // those of a kind differ
		for i := range 1 + b.IntN(2) {
			x := rule{kind: kind, actions: []string{pick(b.Rand, "view", "edit", "*")}, allow: b.IntN(2) == 0,
				condition: b.condition(), name: names[i]}
			p.rules = append(p.rules, x)
			actions = append(actions, x.written(map[string]any{"action": x.actions[0], "effect": effectOf(x.allow)}))
		}
		rules = append(rules, map[string]any{"resource": kind, "actions": actions})
	}
	body["rules"] = rules
	b.file("principalPolicy", body)
}

func (b *bundle) role(version string, parents []string) {
	p := &policy{kind: "role", name: "clerk", version: version, parents: parents}
	body := b.header(p, "role")
	body["parentRoles"] = parents
	var rules []any
	for _, kind := range []string{"do*", "*", "doc"}[:1+b.IntN(3)] {
		x := rule{kind: kind, actions: b.actions(), condition: b.maybe()}
		p.rules = append(p.rules, x)
		rules = append(rules, x.written(map[string]any{"resource": kind, "allowActions": x.actions}))
	}
	body["rules"] = rules
	b.file("rolePolicy", body)
}

// String returns the files.
func (b *bundle) String() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		fmt.Fprintf(&out, "%s %s\n", name, b.files[name])
	}
	return out.String()
}
