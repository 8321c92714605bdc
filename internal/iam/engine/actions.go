package engine

import (
	"context"
	"slices"
	"strings"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

// Actions lists the actions that the policies in force name for a kind of resource. It covers all
// principals, scopes and versions, so it is a superset of the actions that can matter.
//
// A principal who may do none of Names and none of Others may do nothing at all: see forms.
type Actions struct {
	Revision int64    // as in Checked
	Names    []string // sorted, none twice
	Others   []Form   // sorted by pattern
	// Unclear is a pattern for which that does not hold, or "". In it a * stands elsewhere than at
	// the end of a part between colons.
	Unclear string
	// Apart reports whether each action needs a check of its own, because some ignore the schema.
	Apart bool
}

// Form stands for all actions that match the same patterns and that no rule names.
type Form struct {
	Pattern string
	Example string // one of them
}

// kindActions are the actions of a kind of resource, or of a pattern of kinds, as rules write them.
type kindActions struct {
	of    []string // names and patterns, sorted, none twice
	apart bool
}

// actionsOf collects the actions of a rule table by kind. It includes those that rules only deny or
// narrow: they tell the actions of one pattern from those of another.
func actionsOf(rt *runtimev1.RuleTable) map[string]*kindActions {
	out := map[string]*kindActions{}
	of := func(kind string) *kindActions {
		k := out[kind]
		if k == nil {
			k = &kindActions{}
			out[kind] = k
		}
		return k
	}
	for _, row := range rt.GetRules() {
		if row.GetResource() == "" {
			continue
		}
		k := of(row.GetResource())
		if action := row.GetAction(); action != "" {
			k.of = append(k.of, action)
		}
		for action := range row.GetAllowActions().GetActions() {
			k.of = append(k.of, action)
		}
	}
	for module, schemas := range rt.GetSchemas() {
		kind := rt.GetMeta()[module].GetResource()
		for _, ignored := range [][]string{schemas.GetPrincipalSchema().GetIgnoreWhen().GetActions(),
			schemas.GetResourceSchema().GetIgnoreWhen().GetActions()} {
			if len(ignored) > 0 {
				k := of(kind)
				k.of, k.apart = append(k.of, ignored...), true
			}
		}
	}
	for _, k := range out {
		slices.Sort(k.of)
		k.of = slices.Clone(slices.Compact(k.of))
	}
	return out
}

// Actions returns the actions that the evaluator's policies name for a kind of resource.
func (e *Evaluator) Actions(kind string) Actions {
	name := ComparedKind(kind)
	var all []string
	var a Actions
	for of, k := range e.actions {
		if of == kind || ComparedKind(of) == name || strings.Contains(of, "*") && (matchesGlob(of, kind) ||
			matchesGlob(of, name)) {
			all, a.Apart = append(all, k.of...), a.Apart || k.apart
		}
	}
	slices.Sort(all)
	var patterns []form
	for _, action := range slices.Compact(all) {
		if !strings.ContainsAny(action, `*?[]{}\`) {
			a.Names = append(a.Names, action)
		} else if f, ok := parseForm(action); ok {
			patterns = append(patterns, f)
		} else {
			a.Unclear = action
		}
	}
	every, ok := forms(patterns)
	if !ok {
		a.Unclear = patterns[0].String()
		return a
	}
	other := string(unused(all))
	for _, f := range every {
		if pattern := f.String(); strings.HasSuffix(pattern, "*") || strings.Contains(pattern, "*:") {
			a.Others = append(a.Others, Form{pattern, strings.ReplaceAll(pattern, "*", other)})
		} else {
			a.Names = append(a.Names, pattern) // an intersection such as view:public, of view:* and *:public
		}
	}
	slices.Sort(a.Names)
	a.Names = slices.Compact(a.Names)
	slices.SortFunc(a.Others, func(x, y Form) int { return strings.Compare(x.Pattern, y.Pattern) })
	return a
}

// form is a pattern of actions: its parts between colons, each a text, or a text that ends with *.
// An empty form is the pattern * alone, which matches every action in Cerbos.
type form []string

// maxForms bounds the patterns of one kind together with their intersections.
const maxForms = 64

func parseForm(pattern string) (form, bool) {
	if pattern == "*" {
		return form{}, true
	}
	f := form(strings.Split(pattern, ":"))
	for _, part := range f {
		if strings.ContainsAny(strings.TrimSuffix(part, "*"), `*?[]{}\`) {
			return nil, false
		}
	}
	return f, true
}

func (f form) String() string {
	if len(f) == 0 {
		return "*"
	}
	return strings.Join(f, ":")
}

// forms returns the patterns and all their intersections; false if there are too many.
//
// Rules cannot tell apart two unnamed actions that match the same patterns: Cerbos does not show
// the action to conditions. Let x be an unnamed action, and f the intersection of all patterns that
// x matches. Where f has a *, its example has a letter that stands in no pattern. So a pattern that
// matches the example has a * there too, after no more text than f. That pattern matches all that f
// matches, x included. Therefore x and the example match the same patterns, and the same answer
// holds for both.
func forms(patterns []form) ([]form, bool) {
	seen := map[string]bool{}
	var out []form
	add := func(f form) {
		if name := f.String(); !seen[name] {
			seen[name] = true
			out = append(out, f)
		}
	}
	for _, f := range patterns {
		add(f)
	}
	for i := 0; i < len(out) && len(out) <= maxForms; i++ {
		for j := range i {
			if f, ok := common(out[i], out[j]); ok {
				add(f)
			}
		}
	}
	return out, len(out) <= maxForms
}

// common returns the intersection of two forms.
func common(a, b form) (form, bool) {
	switch {
	case len(a) == 0:
		return b, true
	case len(b) == 0:
		return a, true
	case len(a) != len(b):
		return nil, false
	}
	out := make(form, len(a))
	for i := range a {
		part, ok := commonPart(a[i], b[i])
		if !ok {
			return nil, false
		}
		out[i] = part
	}
	return out, true
}

func commonPart(a, b string) (string, bool) {
	beginA, openA := strings.CutSuffix(a, "*")
	beginB, openB := strings.CutSuffix(b, "*")
	switch {
	case openB && strings.HasPrefix(beginA, beginB):
		return a, true
	case openA && strings.HasPrefix(beginB, beginA):
		return b, true
	}
	return a, a == b
}

// unused returns a letter that stands in none of the texts.
func unused(in []string) rune {
	for r := '~'; ; r++ {
		if !slices.ContainsFunc(in, func(s string) bool { return strings.ContainsRune(s, r) }) {
			return r
		}
	}
}

// Actions returns the actions that policies name for a kind of resource: the base policies for
// reserved kinds and for tenants without policies, otherwise the tenant's.
func (e *Engine) Actions(ctx context.Context, c caller.Caller, kind string) (Actions, error) {
	var t inForce
	if !Reserved(kind) {
		var err error
		if t, err = e.inForce(ctx, c); err != nil {
			return Actions{}, err
		}
	}
	by := t.evaluator
	if by == nil {
		var err error
		if by, err = e.base(); err != nil {
			return Actions{}, err
		}
	}
	a := by.Actions(kind)
	a.Revision = t.revision
	return a, nil
}
