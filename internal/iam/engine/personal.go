package engine

import (
	"maps"
	"slices"
	"sync"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"google.golang.org/protobuf/proto"
)

// A request may name two versions of policies (versions.go). Its check has two parts: by a table
// without the policies of principals, and by these alone, with a placeholder for the others.

// placeholder is the one condition of resources in the table of the personal part. It never holds.
const placeholder = "R.id != R.id"

// personal has the tables of two parts, for principals with policies of their own.
type personal struct {
	principals map[string]bool
	parts      func() (tableParts, error)
	bytes      int64 // of the table
}

type tableParts struct{ resource, principal tableOfRules }

// newPersonal returns what is personal in a table. The two tables are loaded when they are first
// needed.
func newPersonal(rt *runtimev1.RuleTable, table []byte, conf *epdpv2.Config) personal {
	p := personal{principals: map[string]bool{}}
	for _, row := range rt.GetRules() {
		if row.GetPolicyKind() == policyv1.Kind_KIND_PRINCIPAL {
			p.principals[row.GetPrincipal()] = true
		}
	}
	if len(p.principals) > 0 {
		p.bytes = int64(len(table))
		p.parts = sync.OnceValues(func() (tableParts, error) { return loadParts(table, conf) })
	}
	return p
}

func (p personal) has(principal string) bool { return p.principals[principal] }

// cost estimates the bytes of the table that is kept, and of the two that are loaded from it.
func (p personal) cost() int64 { return 4 * p.bytes }

func loadParts(table []byte, conf *epdpv2.Config) (tableParts, error) {
	load := func(keep func(*runtimev1.RuleTable)) (tableOfRules, error) {
		rt := new(runtimev1.RuleTable)
		if err := proto.Unmarshal(table, rt); err != nil {
			return tableOfRules{}, err
		}
		keep(rt)
		return newTableEvaluator(rt, conf)
	}
	isPersonal := func(row *runtimev1.RuleTable_RuleRow) bool {
		return row.GetPolicyKind() == policyv1.Kind_KIND_PRINCIPAL
	}
	var parts tableParts
	var err error
	if parts.resource, err = load(func(rt *runtimev1.RuleTable) {
		rt.Rules = slices.DeleteFunc(rt.Rules, isPersonal)
	}); err != nil {
		return tableParts{}, err
	}
	parts.principal, err = load(func(rt *runtimev1.RuleTable) {
		type origin struct{ scope, version string }
		at := map[origin]*runtimev1.RuleTable_RuleRow{} // the placeholders
		var rows []*runtimev1.RuleTable_RuleRow
		versions := map[string]bool{} // of principals
		root := policyv1.ScopePermissions_SCOPE_PERMISSIONS_OVERRIDE_PARENT
		for _, row := range rt.Rules {
			if isPersonal(row) {
				rows, versions[row.GetVersion()] = append(rows, row), true
				continue
			}
			here := origin{row.GetScope(), row.GetVersion()}
			if at[here] == nil {
				at[here] = placeholderOf(row.GetOriginFqn(), here.scope, here.version)
				rows = append(rows, at[here])
			}
			if row.GetScopePermissions() != 0 { // rules of role policies say nothing
				at[here].ScopePermissions = row.GetScopePermissions()
				if here.scope == "" {
					root = row.GetScopePermissions()
				}
			}
		}
		for _, version := range slices.Sorted(maps.Keys(versions)) { // which no resource policy may have
			if at[origin{"", version}] == nil {
				row := placeholderOf("", "", version)
				row.ScopePermissions = root
				rows = append(rows, row)
			}
		}
		rt.Rules, rt.Schemas, rt.JsonSchemas = rows, nil, nil // the resource part validates the request
		rt.PolicyDerivedRoles, rt.ScopeParentRoles = nil, nil
	})
	return parts, err
}

// placeholderOf returns the rule that stands for the resource policies of a scope and version.
func placeholderOf(policy, scope, version string) *runtimev1.RuleTable_RuleRow {
	return &runtimev1.RuleTable_RuleRow{OriginFqn: policy, Resource: "*", Role: "*",
		ActionSet: &runtimev1.RuleTable_RuleRow_Action{Action: "*"}, Condition: conditionFor(placeholder),
		Effect: effectv1.Effect_EFFECT_ALLOW, Scope: scope, Version: version,
		PolicyKind: policyv1.Kind_KIND_RESOURCE, Params: &runtimev1.RuleTable_RuleRow_Params{}}
}

func conditionFor(expression string) *runtimev1.Condition {
	return &runtimev1.Condition{Op: &runtimev1.Condition_Expr{Expr: &runtimev1.Expr{Original: expression}}}
}
