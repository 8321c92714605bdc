package policy

import (
	"fmt"
	"regexp"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/parser"
	"google.golang.org/protobuf/encoding/protojson"
)

// Below returns a tenant's policies as they stand in a fleet of Cerbos servers that has those of many: below
// the scope named by the tenant's id, which is scope, with the names that have no scope (derived roles, exported
// variables and constants) made the tenant's own. Test suites are left out, and so are schemas: of policies of
// several scopes Cerbos looks at the root scope's schema alone. It fails with Problems.
//
// Cerbos wants a policy at every scope above one, so the answer also has, under root/, an empty policy of the
// root scope for each resource and principal: the same file for every tenant that needs it. An operator who has
// policies of the root scope leaves them out.
func Below(files Files, scope string) (Files, error) {
	out := Files{}
	for name, content := range files {
		if !holdsPolicies(name) {
			continue
		}
		policies, err := parser.Unmarshal[policyv1.Policy](content)
		if err != nil {
			return nil, Problems{{File: name, Message: err.Error()}}
		}
		for i, p := range policies {
			moveBelow(p, scope)
			text, err := protojson.Marshal(p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out[fmt.Sprintf("%s/%s.%d.json", scope, name, i)] = text
			if root, text := rootOf(p); root != "" {
				out["root/"+root+".json"] = text
			}
		}
	}
	return out, nil
}

func moveBelow(p *policyv1.Policy, scope string) {
	of := tenantScopeName(scope).of
	own := func(names []string) {
		for i := range names {
			names[i] = scope + "." + names[i]
		}
	}
	if m := p.Metadata; m != nil { // the rest says where it was read from
		p.Metadata = &policyv1.Metadata{Annotations: m.Annotations}
	}
	var variables *policyv1.Variables
	var constants *policyv1.Constants
	switch t := p.PolicyType.(type) {
	case *policyv1.Policy_ResourcePolicy:
		r := t.ResourcePolicy
		r.Scope = of(r.Scope)
		own(r.ImportDerivedRoles)
		r.Schemas = nil
		variables, constants = r.Variables, r.Constants
	case *policyv1.Policy_PrincipalPolicy:
		t.PrincipalPolicy.Scope = of(t.PrincipalPolicy.Scope)
		variables, constants = t.PrincipalPolicy.Variables, t.PrincipalPolicy.Constants
	case *policyv1.Policy_RolePolicy:
		t.RolePolicy.Scope = of(t.RolePolicy.Scope)
		variables, constants = t.RolePolicy.Variables, t.RolePolicy.Constants
	case *policyv1.Policy_DerivedRoles:
		t.DerivedRoles.Name = scope + "." + t.DerivedRoles.Name
		variables, constants = t.DerivedRoles.Variables, t.DerivedRoles.Constants
	case *policyv1.Policy_ExportVariables:
		t.ExportVariables.Name = scope + "." + t.ExportVariables.Name
	case *policyv1.Policy_ExportConstants:
		t.ExportConstants.Name = scope + "." + t.ExportConstants.Name
	}
	own(variables.GetImport())
	own(constants.GetImport())
}

// rootOf returns the empty policy of the root scope that p needs above it, and its name.
func rootOf(p *policyv1.Policy) (name string, text []byte) {
	root := &policyv1.Policy{ApiVersion: p.ApiVersion}
	switch t := p.PolicyType.(type) {
	case *policyv1.Policy_ResourcePolicy:
		name = "resource." + t.ResourcePolicy.Resource + ".v" + t.ResourcePolicy.Version
		root.PolicyType = &policyv1.Policy_ResourcePolicy{ResourcePolicy: &policyv1.ResourcePolicy{Resource: t.ResourcePolicy.Resource, Version: t.ResourcePolicy.Version}}
	case *policyv1.Policy_PrincipalPolicy:
		name = "principal." + t.PrincipalPolicy.Principal + ".v" + t.PrincipalPolicy.Version
		root.PolicyType = &policyv1.Policy_PrincipalPolicy{PrincipalPolicy: &policyv1.PrincipalPolicy{Principal: t.PrincipalPolicy.Principal, Version: t.PrincipalPolicy.Version}}
	}
	if name == "" {
		return "", nil
	}
	text, _ = protojson.Marshal(root) // names that were read are UTF-8
	return unsafeInPath.ReplaceAllStringFunc(name, func(s string) string { return fmt.Sprintf("%%%X", s) }), text
}

// unsafeInPath finds what a kind may have and a path may not.
var unsafeInPath = regexp.MustCompile(`[^\w.@-]`)
