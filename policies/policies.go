// Package policies holds the Cerbos policies that guard Gatehouse's own management
// API and its sign-in, one file a kind, and the suites that test them. They are the
// same for every tenant, and no tenant's own policies can define a kind that begins
// with "gatehouse:".
//
// What the doors tell them:
//   - The kind is "gatehouse:" and the noun of the operation's action, the action its
//     verb: user.read asks gatehouse:user for read.
//   - P.id is the user's or application's id. P.roles are the built-in roles that
//     the principal holds, and "member", which everybody has.
//   - P.attr.held are the actions of the roles that the tenant has defined itself,
//     P.attr.platform whether the principal belongs to the platform tenant.
//
// What is not allowed is denied; there are no DENY rules, so that a missing
// attribute can only refuse. docs/roles.md is the table that comes out, and is
// compared by a test.
package policies

import "embed"

//go:generate go test -count=1 -run ^TestGoldenTable$ . -write

// Files is a Cerbos policy directory.
//
//go:embed *.yaml testdata
var Files embed.FS
