package compiler

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/parser"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// source is a policy and the file that defines it.
type source struct {
	file   string
	policy *policyv1.Policy
}

// readPolicies returns the policies of files, in the order of their paths. Files that cannot be
// read count as empty: Cerbos' compiler says what is wrong with them.
func readPolicies(files Files) []source {
	var out []source
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !holdsPolicies(name) || len(files[name]) == 0 {
			continue
		}
		mark(name)
		policies, err := parser.Unmarshal[policyv1.Policy](files[name])
		if err != nil {
			continue
		}
		for _, p := range policies {
			if p.GetPolicyType() != nil {
				out = append(out, source{name, p})
			}
		}
	}
	mark("")
	return out
}

// extensions are those of the files that Cerbos reads.
var extensions = []string{".yaml", ".yml", ".json"}

// holdsPolicies reports whether Cerbos reads policies from a file of this name.
func holdsPolicies(name string) bool {
	return isYAML(name) && !isSuite(name) && !strings.HasPrefix(name, schemas) && !inTestdata(name)
}

// isSuite reports whether Cerbos reads a test suite from a file of this name.
func isSuite(name string) bool {
	base := strings.ToLower(path.Base(name))
	return isYAML(name) && strings.HasSuffix(strings.TrimSuffix(base, path.Ext(base)), "_test")
}

func isYAML(name string) bool { return slices.Contains(extensions, strings.ToLower(path.Ext(name))) }

func inTestdata(name string) bool {
	return slices.Contains(strings.Split(path.Dir(name), "/"), "testdata")
}

// reservedProblems returns a problem for each file that defines rules for the platform's kinds.
func reservedProblems(files Files, policies []source) Problems {
	var out Problems
	for _, p := range policies {
		if !slices.ContainsFunc(kinds(p.policy), engine.Reserved) {
			continue
		}
		out = append(out, at(files, p.file, reservedRE, "Kinds that begin with "+engine.ReservedKinds+
			" belong to the platform; its policies decide about them, and no others."))
	}
	return out
}

var reservedRE = regexp.MustCompile(`["']?resource["']?\s*:\s*["']?gatehouse:`)

// kinds returns the kinds, or patterns of kinds, that a policy has rules for.
func kinds(p *policyv1.Policy) []string {
	var out []string
	if r := p.GetResourcePolicy(); r != nil {
		out = append(out, r.GetResource())
	}
	for _, rule := range p.GetPrincipalPolicy().GetRules() {
		out = append(out, rule.GetResource())
	}
	for _, rule := range p.GetRolePolicy().GetRules() {
		out = append(out, rule.GetResource())
	}
	return out
}

// at returns a problem of a file, at the first match of re.
func at(files Files, file string, re *regexp.Regexp, message string) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Message: message}
	for i, line := range strings.Split(string(files[file]), "\n") {
		if found := re.FindStringIndex(line); found != nil {
			p.Line, p.Column = i+1, found[0]+1
			break
		}
	}
	return p
}

// atKind returns a problem of a file, at the first rule for a kind.
func atKind(files Files, file, kind, message string) Problem {
	return at(files, file, regexp.MustCompile(`["']?resource["']?\s*:\s*["']?`+regexp.QuoteMeta(kind)), message)
}

// scopeProblems returns a problem for each policy whose scopePermissions differ from those of
// another policy in its scope.
//
// A rule table has one value for a scope, whatever the kind of its policies. With two, the policy
// that Cerbos happens to read last would decide. Cerbos' own check overlooks the first policy of
// each scope.
func scopeProblems(policies []source) Problems {
	type permissions struct {
		file  string
		value policyv1.ScopePermissions
	}
	first := map[string]permissions{}
	var out Problems
	for _, p := range policies {
		scope, value := "", policyv1.ScopePermissions_SCOPE_PERMISSIONS_UNSPECIFIED
		switch {
		case p.policy.GetDisabled():
			continue
		case p.policy.GetResourcePolicy() != nil:
			scope, value = p.policy.GetResourcePolicy().GetScope(), p.policy.GetResourcePolicy().GetScopePermissions()
		case p.policy.GetPrincipalPolicy() != nil:
			scope, value = p.policy.GetPrincipalPolicy().GetScope(), p.policy.GetPrincipalPolicy().GetScopePermissions()
		default:
			continue
		}
		if value == policyv1.ScopePermissions_SCOPE_PERMISSIONS_UNSPECIFIED {
			value = policyv1.ScopePermissions_SCOPE_PERMISSIONS_OVERRIDE_PARENT
		}
		before, known := first[scope]
		if !known {
			first[scope] = permissions{p.file, value}
		} else if before.value != value {
			out = append(out, Problem{File: p.file, Message: fmt.Sprintf("All policies of a scope need the same "+
				"scopePermissions. In the scope %q this policy has %s, and that of %s has %s.", scope, value,
				before.file, before.value)})
		}
	}
	return out
}

// parentProblems returns a problem for each role policy whose parentRoles differ from those of
// another version.
//
// A rule table has one list of parent roles for a role in a scope, whatever the version. So the
// version that Cerbos happens to read last would decide for all.
func parentProblems(policies []source) Problems {
	type place struct{ scope, role string }
	type parents struct {
		file string
		of   []string
	}
	first := map[place]parents{}
	var out Problems
	for _, p := range policies {
		r := p.policy.GetRolePolicy()
		if r == nil || p.policy.GetDisabled() {
			continue
		}
		of := slices.Compact(slices.Sorted(slices.Values(r.GetParentRoles())))
		here := place{r.GetScope(), r.GetRole()}
		before, known := first[here]
		if !known {
			first[here] = parents{p.file, of}
		} else if !slices.Equal(before.of, of) {
			out = append(out, Problem{File: p.file, Message: fmt.Sprintf("All versions of a role policy need the same "+
				"parentRoles. Here %s has %q, and in %s it has %q.", r.GetRole(), of, before.file, before.of)})
		}
	}
	return out
}

// patternWarnings returns a remark on each rule of a principal or role policy whose kind matches
// nothing.
//
// Cerbos replaces : / @ and - in the kind of a request by _, and in the kind of a resource policy.
// It compares patterns, and the kinds of role policies, as they are written. So such a DENY is
// ignored, and Cerbos' own compiler accepts it.
func patternWarnings(files Files, policies []source) []Problem {
	var out []Problem
	for _, p := range policies {
		ofRole := p.policy.GetRolePolicy() != nil
		if p.policy.GetResourcePolicy() != nil {
			continue
		}
		for _, kind := range kinds(p.policy) {
			written := engine.ComparedKind(kind)
			switch {
			case engine.Reserved(kind): // see reservedProblems
				continue
			case strings.ContainsAny(kind, "*?[{"):
				if written = brackets.ReplaceAllString(kind, ""); !replaced.MatchString(written) {
					continue
				}
				written = replaced.ReplaceAllString(kind, "_")
			case !ofRole || written == kind:
				continue
			}
			out = append(out, atKind(files, p.file, kind, fmt.Sprintf("This rule matches no resource: here a kind is "+
				"compared after : / @ and - in it became _. Write %s.", written)))
		}
	}
	return out
}

var (
	brackets = regexp.MustCompile(`\[[^\]]*\]`) // a set of letters in a pattern, whose - means a range
	replaced = regexp.MustCompile(`[:/@-]+`)
)

// policyWarnings returns remarks on policies that do something else than they seem to.
func policyWarnings(files Files, policies []source) []Problem {
	var out []Problem
	for _, p := range policies {
		if p.policy.GetDisabled() {
			out = append(out, at(files, p.file, disabledRE, "This policy is disabled, so it decides nothing."))
			continue
		}
		kind := p.policy.GetResourcePolicy().GetResource()
		if name := engine.ComparedKind(kind); name != kind {
			out = append(out, atKind(files, p.file, kind, fmt.Sprintf("The kind is compared as %s, so this policy "+
				"also decides about every other kind that becomes it when : / @ and - become _.", name)))
		}
	}
	return out
}

var disabledRE = regexp.MustCompile(`["']?disabled["']?\s*:`)

// unreadWarnings names the files that look like policies and are not read.
func unreadWarnings(files Files) []Problem {
	var out []Problem
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if holdsPolicies(name) || isSuite(name) || path.Ext(name) == ".md" || !LooksLikePolicy(files[name]) {
			continue
		}
		why := "only files that end in .yaml, .yml or .json are"
		switch {
		case strings.HasPrefix(name, schemas):
			why = "the directory _schemas is for JSON schemas"
		case inTestdata(name):
			why = "a directory testdata is for the data of test suites"
		}
		out = append(out, Problem{File: name, Message: "This file looks like a policy and is not read: " + why + "."})
	}
	return out
}

// LooksLikePolicy reports whether a text begins as Cerbos' policies do.
func LooksLikePolicy(content []byte) bool { return policyRE.Match(content) }

var policyRE = regexp.MustCompile(`^(?:\s+|#[^\n]*\n|---)*\{?\s*["']?apiVersion["']?\s*:\s*["']?api\.cerbos\.dev/`)
