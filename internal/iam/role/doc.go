// Package role owns what may be done in the management API and by whom: the
// catalogue of actions, the built-in roles (policies/ says what they allow, builtin.go
// is its answer), a tenant's own roles (rows) and the grants of both to users, groups
// and applications.
//
// Invariants:
//   - A right is asked for by its action, never by a role's name.
//   - Nobody gives, takes or defines what they do not hold: every change here takes
//     the Set of the one who makes it, and an action outside of it refuses the change.
//     For the same reason nobody manages a user, group or application that may do more
//     than they may (MayManage), and putting somebody into a group is giving them its
//     roles (ForGroups).
//   - A tenant never loses its last active owner (KeepOwner).
//   - Only unexpired grants of active users and of their groups count, and they are read
//     from the database every time.
//   - What changes who has which role moves the version of the tenant's principals.
//
// docs/roles.md is the golden table of built-in role × action; a test in policies/ keeps it true.
package role
