// Package role owns the rights in the management API: the catalogue of actions, the built-in roles,
// a tenant's custom roles, and the assignments of both to users, groups and applications.
//
// Invariants:
//
//   - A right is checked by its action, never by the name of a role.
//   - A caller can assign, revoke or define only what is within the caller's own rights. Every
//     change takes the caller's Set and refuses an action outside it. To assign or revoke a role,
//     the caller must also have that role or be allowed to update roles: the tenant's policies read
//     its name.
//   - An assignment ends earlier only for a caller who may revoke it.
//   - For the same reason a caller cannot manage a user, group or application with more rights
//     (MayManage), nor end its sessions and grants (MayEnd). Adding a user to a group counts as
//     assigning the group's roles (ForGroups).
//   - A tenant never loses its last active owner (KeepOwner).
//   - Only unexpired assignments of active users and of their groups count. They are read from the
//     database every time.
//   - Every change of an assignment advances the version of the tenant's principals.
//
// The policies in policies/ decide what the built-in roles allow. A test there keeps builtin.go and
// the golden table in docs/roles.md current.
package role
