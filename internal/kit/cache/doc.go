// Package cache keeps copies, on each replica, of what changes rarely or costs much to compute:
// tenants, applications, keys, policies, verified tokens. The database stays the only truth.
//
// Invariants:
//   - The copies of a cache cost at most what its Options say. The least recently used go first.
//   - Callers that need the same copy share one load. A caller waits no longer than its own context
//     allows, and a load takes no longer than its limit.
//   - A copy belongs to a tenant. After Drop, no caller gets a copy of that tenant whose load began
//     before it. The poller of changed configuration calls Drop. So does the replica that changed
//     something, after its commit.
//   - An error is returned to every caller of that load and never kept.
//
// It does not keep counters: losing a copy costs a load, losing a count changes an answer. The
// limit per address (kit/web) and the tally of refused calls (doors/admin) are counters, so each
// keeps its own bounded map.
package cache
