// Package group owns the groups of a tenant's users: what they are called, what the
// tenant notes of them, and who is in them.
//
// Invariants:
//   - A group's name is unique in its tenant, whatever its case.
//   - Only users are in groups. Groups in groups would make "who is an owner", "who may
//     manage whom" and every decision a walk through a graph that may have circles, and
//     what it says no longer fits on a screen; directories that have them are flattened
//     where they are read.
//   - Who puts a user into a group gives what the group's roles give, and who takes one
//     out, or deletes the group, takes it: both need to hold it (Roles).
//   - A tenant never loses its last active owner, who may be one through a group.
//   - Every change of who is in what counts in the next decision (tenant.PrincipalsChanged).
//
// It gives no rights (iam/role grants roles to groups).
package group
