package compiler

import (
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
)

// allows says what the policies mean for one action. It reads every rule for itself.
func (b *bundle) allows(p *enginev1.Principal, r *enginev1.Resource, action string) bool {
	q := reading{b, p, r, action, "default"}
	if r.GetPolicyVersion() != "" {
		q.version = r.GetPolicyVersion()
	}
	personal := q
	if p.GetPolicyVersion() != "" {
		personal.version = p.GetPolicyVersion()
	}
	if allowed, decided := personal.roleDecides("", "principal", q.chain("principal", p.GetScope())); decided {
		return allowed
	}
	return slices.ContainsFunc(p.GetRoles(), func(role string) bool {
		allowed, decided := q.roleDecides(role, "resource", q.chain("resource", r.GetScope()))
		return allowed && decided
	})
}

type reading struct {
	*bundle
	principal       *enginev1.Principal
	resource        *enginev1.Resource
	action, version string
}

// chain returns a scope and its parents that have policies, or none if the scope itself has none.
func (q reading) chain(kind, scope string) []string {
	has := func(scope string) bool {
		return slices.ContainsFunc(q.policies, func(p *policy) bool {
			return p.scope == scope && (p.kind == "principal") == (kind == "principal")
		})
	}
	if !has(scope) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(scopes[slices.Index(scopes, scope):]), func(s string) bool { return !has(s) })
}

// withParents returns roles and their parents, which the scope of the resource names.
func (q reading) withParents(roles ...string) []string {
	for _, p := range q.policies {
		if p.kind == "role" && p.scope == q.resource.GetScope() && slices.Contains(roles, p.name) {
			roles = append(slices.Clone(roles), p.parents...)
		}
	}
	return roles
}

// roleDecides reports whether the policies of one kind allow the action to a role, and whether they
// decide. The first scope that decides does so for its parents. A DENY outweighs an ALLOW of its
// scope.
func (q reading) roleDecides(role, kind string, chain []string) (bool, bool) {
	roles := q.withParents(role)
	for _, scope := range chain {
		allow := false
		effective := q.effective(scope)
		for _, p := range q.policies {
			if p.scope != scope || p.version != q.version || (p.kind == "principal") != (kind == "principal") {
				continue
			}
			f := facts{attr: q.resource.GetAttr(), in: p.in}
			if kind == "resource" {
				f.roles = effective
			}
			switch p.kind {
			case "role":
				if slices.Contains(roles, p.name) && q.narrows(p, f) {
					return false, true
				}
				continue
			case "principal":
				if p.name != q.principal.GetId() {
					continue
				}
			case "resource":
				if p.name != q.resource.GetKind() {
					continue
				}
			}
			for _, x := range p.rules {
				if !matches(x.actions, q.action) || x.kind != "" && !matches([]string{x.kind}, q.resource.GetKind()) ||
					kind == "resource" && !q.reaches(p, x, roles, f) {
					continue
				}
				met := x.condition == nil || x.condition.holds(f)
				switch {
				case q.consents[scope] && x.allow && x.condition != nil: // it narrows what the parent allows
					if !met {
						return false, true
					}
				case met && !x.allow:
					return false, true
				case met:
					allow = true
				}
			}
		}
		if allow && !q.consents[scope] {
			return true, true
		}
	}
	return false, false
}

// reaches reports whether a rule is for one of the roles, or for a derived role of theirs.
func (q reading) reaches(p *policy, x rule, roles []string, f facts) bool {
	if x.roles != nil {
		return slices.Contains(x.roles, "*") || overlap(x.roles, roles)
	}
	return slices.ContainsFunc(q.roles[p.derived], func(r role) bool {
		if !slices.Contains(x.derives, r.name) || !slices.Contains(r.parents, "*") && !overlap(r.parents, roles) {
			return false
		}
		return r.condition.holds(facts{attr: f.attr, roles: f.roles, in: r.in})
	})
}

// narrows reports whether a role policy denies the action: no rule has it, or a condition of one
// that has it is not met.
func (q reading) narrows(p *policy, f facts) bool {
	found := false
	for _, x := range p.rules {
		if !matches([]string{x.kind}, q.resource.GetKind()) || !matches(x.actions, q.action) {
			continue
		}
		if found = true; x.condition != nil && !x.condition.holds(f) {
			return true
		}
	}
	return !found
}

// effective returns the derived roles of a scope: those that a rule of its policy names. Their
// definitions see none.
func (q reading) effective(scope string) []string {
	var out []string
	for _, p := range q.policies {
		if p.kind != "resource" || p.name != q.resource.GetKind() || p.scope != scope || p.version != q.version {
			continue
		}
		for _, r := range q.roles[p.derived] {
			named := slices.ContainsFunc(p.rules, func(x rule) bool { return slices.Contains(x.derives, r.name) })
			roles := append(q.withParents(q.principal.GetRoles()...), "*")
			if !named || !overlap(r.parents, roles) {
				continue
			}
			if r.condition.holds(facts{attr: q.resource.GetAttr(), in: r.in}) {
				out = append(out, r.name)
			}
		}
	}
	return out
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// matches reports whether a name is one of the patterns, which have a * at their end at most.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, any := strings.CutSuffix(pattern, "*")
		return pattern == name || any && strings.HasPrefix(name, prefix)
	})
}
