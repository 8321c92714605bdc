package parity

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// What policies and requests speak of.
var (
	principals = []string{"alice", "bob", "carol", "daffy_duck", "eve"}
	roles      = []string{"user", "admin", "manager", "employee"}
	rolePolicy = []string{"jr_admin", "clerk", "assistant", "auditor"}
	versions   = []string{"default", "v2"}
	patterns   = []string{"view", "view:*", "view:public", "edit", "edit", "delete", "approve:*", "*", "*:public",
		"create", "comment"}
	scopes  = []string{"", "acme", "acme.hr", "acme.hr.uk", "beta"} // a parent stands before its children
	schemas = map[string]string{
		"principal.json": `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
  "properties": {"department": {"type": "string", "enum": ["design", "sales", "marketing"]}, "level": {"type": "integer", "minimum": 1}, "active": {"type": "boolean"}},
  "required": ["department"]}`,
		"resource.json": `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
  "properties": {"owner": {"type": "string"}, "public": {"type": "boolean"}, "amount": {"type": "number", "maximum": 1000}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    "address": {"$ref": "cerbos:///common/address.json"}},
  "required": ["owner", "public"]}`,
		"common/address.json": `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", ` +
			`"properties": {"city": {"type": "string", "minLength": 2}}, "required": ["city"]}`,
	}
)

// A world is the settings of an engine and the policies it answers by.
type world struct {
	name     string
	settings engine.Settings
	files    compiler.Files
	faulty   bool
	kinds    []string // that have policies
	clocked  []string // of them, those whose conditions read the clock: they are not planned
	rules    []ruled  // whose conditions hang on the resource, of the kinds that are planned
}

// ruled says who meets a rule of a resource policy, and where.
type ruled struct {
	kind, version, scope string
	actions, roles       []string   // as the policy has them
	siblings             [][]string // actions of all the policy's rules
}

// An author writes the policies of a world.
type author struct {
	*rand.Rand
	w           *world
	permissions map[string]string   // by scope: all policies of a scope have the same
	variables   map[string][]string // exported set → flags
	constants   map[string][2]string
	derived     map[string][]string // exported set → names of roles
	parents     map[string][]string // derived role → its parent roles
}

func newWorld(name string, settings engine.Settings, seed uint64, kinds int, faulty bool) *world {
	r := rand.New(rand.NewPCG(seed, 0x6761746568))
	a := &author{Rand: r, w: &world{name: name, settings: settings, files: compiler.Files{}, faulty: faulty},
		permissions: map[string]string{}, variables: map[string][]string{}, constants: map[string][2]string{},
		derived: map[string][]string{}, parents: map[string][]string{}}
	// A scope that has role policies cannot say its permissions: those of acme are left unsaid.
	for _, scope := range scopes[2:] {
		a.permissions[scope] = pick(r, []string{"SCOPE_PERMISSIONS_OVERRIDE_PARENT",
			"SCOPE_PERMISSIONS_REQUIRE_PARENTAL_CONSENT_FOR_ALLOWS"})
	}
	for file, text := range schemas {
		a.w.files["_schemas/"+file] = []byte(text)
	}
	a.exports()
	for i := range kinds {
		kind := pick(r, []string{"document", "album:object", "hr:leave_request", "invoice"}) + fmt.Sprint(i)
		a.w.kinds = append(a.w.kinds, kind)
		a.resource(kind, i%6 == 5)
	}
	for _, id := range principals[:4] {
		a.principal(id)
	}
	for i, role := range rolePolicy {
		a.role(i, role)
	}
	return a.w
}

// file writes a policy, as YAML that is JSON or as JSON.
func (a *author) file(path string, body map[string]any) {
	body["apiVersion"] = "api.cerbos.dev/v1"
	text, err := json.MarshalIndent(body, "", " ")
	if err != nil {
		panic(err)
	}
	a.w.files[strings.NewReplacer(":", "_").Replace(path)+pick(a.Rand, []string{".yaml", ".yml",
		".json"})] = append([]byte(pick(a.Rand, []string{"", "\n", ""})), text...)
}

func (a *author) exports() {
	for i := range 3 {
		set := fmt.Sprintf("shared%d", i)
		w := &writer{Rand: a.Rand, global: true, faulty: a.w.faulty}
		flag, word, list := fmt.Sprintf("flag%d", i), fmt.Sprintf("word%d", i), fmt.Sprintf("list%d", i)
		a.file("variables/"+set, map[string]any{"exportVariables": map[string]any{"name": set,
			"definitions": map[string]any{
				flag: w.boolean(2), word: w.str(1), list: w.list(1)}}})
		a.variables[set] = []string{"V." + flag, "variables." + word, "V." + list}
		set = fmt.Sprintf("fixed%d", i)
		a.file("constants/"+set, map[string]any{"exportConstants": map[string]any{"name": set,
			"definitions": map[string]any{
				fmt.Sprintf("label%d", i): w.word(), fmt.Sprintf("teams%d", i): []any{w.word(),
					w.word()}, fmt.Sprintf("limit%d", i): a.IntN(50)}}})
		a.constants[set] = [2]string{fmt.Sprintf("C.label%d", i), fmt.Sprintf("constants.teams%d", i)}
	}
	for i := range 4 {
		set := fmt.Sprintf("roles%d", i)
		body := map[string]any{"name": set}
		w := a.scopeOf(body)
		w.clock = false
		var definitions []any
		for j, name := range []string{"owner", "member", "approver"} {
			if j > 0 && w.chance(30) {
				continue
			}
			name = fmt.Sprintf("%s%d", name, i)
			if i == 0 {
				name = strings.TrimSuffix(name, "0")
			}
			a.derived[set] = append(a.derived[set], name)
			a.parents[name] = a.some(append([]string{"*"}, roles...))
			definition := map[string]any{"name": name, "parentRoles": a.parents[name]}
			if w.chance(85) {
				definition["condition"] = w.condition()
			}
			definitions = append(definitions, definition)
		}
		body["definitions"] = definitions
		a.file("derived_roles/"+set, map[string]any{"derivedRoles": body})
	}
}

// some is one or two of them.
func (a *author) some(from []string) []string {
	first := pick(a.Rand, from)
	second := pick(a.Rand, from)
	if first == second || a.IntN(2) == 0 {
		return []string{first}
	}
	return []string{first, second}
}

// scopeOf gives a policy variables and constants, imported and its own, and returns a writer that
// knows them.
func (a *author) scopeOf(body map[string]any) *writer {
	w := &writer{Rand: a.Rand, global: true, faulty: a.w.faulty}
	variables, constants := map[string]any{}, map[string]any{}
	if w.chance(50) {
		set := fmt.Sprintf("shared%d", a.IntN(3))
		variables["import"] = []string{set}
		w.flags, w.words, w.lists = append(w.flags, a.variables[set][0]), append(w.words,
			a.variables[set][1]), append(w.lists, a.variables[set][2])
	}
	if w.chance(40) {
		set := fmt.Sprintf("fixed%d", a.IntN(3))
		constants["import"] = []string{set}
		w.words, w.lists = append(w.words, a.constants[set][0]), append(w.lists, a.constants[set][1])
	}
	if w.chance(40) {
		constants["local"] = map[string]any{"region": w.word(), "departments": []any{w.word(), "design"},
			"ceiling": a.IntN(100)}
		w.words, w.lists, w.flags = append(w.words, "C.region"), append(w.lists, "C.departments"), append(w.flags,
			"R.attr.amount < C.ceiling")
	}
	if w.chance(50) {
		first := w.boolean(2)
		w.flags = append(w.flags, "V.local_a")
		variables["local"] = map[string]any{"local_a": first, "local_b": w.boolean(1)} // local_b may use local_a
		w.flags = append(w.flags, "variables.local_b")
		if w.faulty {
			variables["local"].(map[string]any)["local_n"] = w.one("P.attr.limits[R.attr.department]", "R.attr.amount",
				"R.attr.public ? P.attr.level : R.attr.amount", "size(R.attr.tags)", "P.attr.limits.design")
			w.numbers = append(w.numbers, "V.local_n")
		}
	}
	if len(variables) > 0 {
		body["variables"] = variables
	}
	if len(constants) > 0 {
		body["constants"] = constants
	}
	return w
}

// resource writes the policies of a kind: a chain of scopes, perhaps in two versions.
func (a *author) resource(kind string, clocked bool) {
	if clocked {
		a.w.clocked = append(a.w.clocked, kind)
	}
	var schema map[string]any
	if a.IntN(2) == 0 {
		schema = map[string]any{"principalSchema": map[string]any{"ref": "cerbos:///principal.json"},
			"resourceSchema": map[string]any{"ref": "cerbos:///resource.json"}}
		if a.IntN(2) == 0 {
			schema["resourceSchema"].(map[string]any)["ignoreWhen"] = map[string]any{"actions": []string{"create",
				"view:*"}}
		}
		if a.IntN(3) == 0 {
			delete(schema, "principalSchema")
		}
	}
	for v, version := range versions {
		if v > 0 && a.IntN(4) > 0 {
			continue
		}
		written := map[string]bool{}
		for _, scope := range scopes {
			parent := scope[:max(0, strings.LastIndexByte(scope, '.'))]
			if scope != "" && (!written[parent] || a.IntN(100) < 45) {
				continue
			}
			written[scope] = true
			body := map[string]any{"resource": kind, "version": version}
			if scope != "" {
				body["scope"] = scope
				if p := a.permissions[scope]; p != "" {
					body["scopePermissions"] = p
				}
			}
			if schema != nil {
				body["schemas"] = schema
			}
			w := a.scopeOf(body)
			w.derived, w.clock = true, clocked
			var derived []string
			if w.chance(65) {
				sets := []string{fmt.Sprintf("roles%d", a.IntN(2)), fmt.Sprintf("roles%d", 2+a.IntN(2))}[:1+a.IntN(2)]
				body["importDerivedRoles"] = sets
				for _, set := range sets {
					derived = append(derived, a.derived[set]...)
				}
			}
			var rules []any
			var met []ruled
			var siblings [][]string
			for i := range 2 + a.IntN(4) {
				w.opened = false
				rule := a.rule(w, i, derived)
				rules, siblings = append(rules, rule), append(siblings, rule["actions"].([]string))
				if w.opened && rule["effect"] == "EFFECT_ALLOW" {
					met = append(met, ruled{kind: kind, version: version, scope: scope,
						actions: rule["actions"].([]string), roles: a.rolesOf(rule)})
				}
			}
			body["rules"] = rules
			for _, r := range met {
				if r.siblings = siblings; !clocked {
					a.w.rules = append(a.w.rules, r)
				}
			}
			a.file(fmt.Sprintf("resources/%s_%s_%s", kind, version, strings.ReplaceAll(scope, ".", "_")),
				map[string]any{"resourcePolicy": body})
		}
	}
}

func (a *author) rule(w *writer, i int, derived []string) map[string]any {
	rule := map[string]any{"actions": a.some(patterns), "effect": "EFFECT_ALLOW"}
	if w.chance(15) {
		rule["effect"] = "EFFECT_DENY"
	}
	if w.chance(50) {
		rule["name"] = fmt.Sprintf("rule-%d", i)
	}
	if len(derived) > 0 && w.chance(45) {
		rule["derivedRoles"] = a.some(derived)
	}
	if rule["derivedRoles"] == nil || w.chance(25) {
		rule["roles"] = a.some(append([]string{"*", "*", "user"}, roles...))
	}
	if w.chance(65) {
		rule["condition"] = w.condition()
	}
	if w.chance(35) {
		rule["output"] = a.output(w)
	}
	return rule
}

// rolesOf returns the roles that a rule applies to, with the parents of its derived roles.
func (a *author) rolesOf(rule map[string]any) []string {
	of, _ := rule["roles"].([]string)
	derived, _ := rule["derivedRoles"].([]string)
	for _, name := range derived {
		of = append(slices.Clip(of), a.parents[name]...)
	}
	return of
}

func (a *author) output(w *writer) map[string]any {
	when := map[string]any{}
	if w.chance(80) {
		when["ruleActivated"] = w.value()
	}
	if len(when) == 0 || w.chance(50) {
		when["conditionNotMet"] = w.value()
	}
	return map[string]any{"when": when}
}

// kindPattern is a kind, or a pattern that matches some.
func (a *author) kindPattern() string {
	if a.IntN(3) == 0 {
		return pick(a.Rand, []string{"*", "album:*", "hr:*", "document*"})
	}
	return pick(a.Rand, a.w.kinds)
}

func (a *author) principal(id string) {
	for _, scope := range []string{"", "acme", "acme.hr"}[:1+a.IntN(3)] {
		body := map[string]any{"principal": id, "version": "default"}
		if scope != "" {
			body["scope"] = scope
			if p := a.permissions[scope]; p != "" {
				body["scopePermissions"] = p
			}
		}
		w := a.scopeOf(body)
		var rules []any
		for _, kind := range slices.Compact(slices.Sorted(slices.Values([]string{a.kindPattern(), a.kindPattern(),
			a.kindPattern()}[:1+a.IntN(3)]))) {
			var actions []any
			for i := range 1 + a.IntN(2) {
				action := map[string]any{"action": pick(a.Rand, patterns), "effect": pick(a.Rand,
					[]string{"EFFECT_ALLOW", "EFFECT_DENY"})}
				if w.chance(50) {
					action["name"] = fmt.Sprintf("override-%d", i)
				}
				if w.chance(80) {
					action["condition"] = w.condition()
				}
				if w.chance(35) {
					action["output"] = a.output(w)
				}
				actions = append(actions, action)
			}
			rules = append(rules, map[string]any{"resource": kind, "actions": actions})
		}
		body["rules"] = rules
		a.file("principals/"+id+"_"+strings.ReplaceAll(scope, ".", "_"), map[string]any{"principalPolicy": body})
	}
}

// role writes the role policies of a role. Its parents are roles of the identity provider, or role
// policies before it.
func (a *author) role(i int, role string) {
	for _, scope := range [][]string{{"acme.hr.uk.leeds"}, {"acme"}, {""}, {"acme", "acme.hr.uk.leeds"}}[i] {
		body := map[string]any{"role": role, "version": "default"}
		if scope != "" {
			body["scope"] = scope
		}
		if a.IntN(4) > 0 {
			body["parentRoles"] = a.some(append(rolePolicy[:i:i], roles...))
		}
		w := a.scopeOf(body)
		var rules []any
		for j := range 2 + a.IntN(4) {
			rule := map[string]any{"resource": a.kindPattern(), "allowActions": a.some(patterns)}
			if w.chance(50) {
				rule["condition"] = w.condition()
			}
			if w.chance(40) {
				rule["name"] = fmt.Sprintf("allowance-%d", j)
			}
			if w.chance(30) {
				rule["output"] = a.output(w)
			}
			rules = append(rules, rule)
		}
		body["rules"] = rules
		a.file("roles/"+role+"_"+strings.ReplaceAll(scope, ".", "_"), map[string]any{"rolePolicy": body})
	}
}
