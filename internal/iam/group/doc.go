// Package group owns the groups of a tenant's users: their names, attributes and members.
//
// Invariants:
//   - A group's name is unique in its tenant, whatever its case.
//   - Only users are members. Nested groups would turn "is this user an owner" and every decision
//     into a walk through a graph that may have cycles. Directories that have them are flattened
//     where they are read.
//   - Adding a user to a group gives the user the group's roles. Removing a user, or deleting the
//     group, takes them. The caller must hold those roles (Roles).
//   - A tenant never loses its last active owner, who may be one through a group (Roles.KeepOwner).
//   - A change of members counts in the next decision (tenant.PrincipalsChanged).
//
// It grants no rights: iam/role assigns roles to groups.
package group
