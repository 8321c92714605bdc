// Package policies holds the Cerbos policies that guard Gatehouse's own management API and its
// sign-in, one file a kind, and the suites that test them. They are the same for every tenant, and
// no tenant's own policies can define a kind that begins with "gatehouse:".
//
// What the doors tell them:
//   - The kind is "gatehouse:" and the noun of the operation's action, the action its verb:
//     user.read asks gatehouse:user for read.
//   - P.id is the user's or application's id. P.roles are the built-in roles that the principal
//     holds, and "custom" for a principal with roles that the tenant defined.
//   - P.attr.held are the actions of the tenant's own roles that the principal holds.
//   - P.attr.only are the actions of its limited roles, each with the ids it is limited to.
//   - P.attr.platform is true if the principal belongs to the platform tenant.
//   - R.id is the resource's id, or the tenant's if the resource has none.
//
// There are no DENY rules, so a missing attribute can only refuse. docs/roles.md is the resulting
// table, and a test compares it.
package policies

import "embed"

//go:generate go test -count=1 -run ^TestGoldenTable$ . -write

// Files is a Cerbos policy directory.
//
//go:embed *.yaml testdata
var Files embed.FS
