// Package policy owns a tenant's Cerbos policies: the draft, the revisions that were
// published, and the engine that answers by them.
//
// Invariants:
//   - A revision never changes: the database refuses it. Its number is the tenant's
//     own, begins at 1 and has no gaps. The greatest one is in force.
//   - What is published is what was compiled and what passed its test suites, byte for
//     byte: the draft's version is part of the statement that publishes.
//   - A check compiles nothing; the compiled rule table is stored with the revision.
//   - What tenants write is read, compiled, tested and explained in a process of its own
//     (sandbox.go), which may die of it. What takes too long to answer has no answer.
//   - A draft may be wrong in every way but its size, its number of files and their
//     paths. A revision compiles and passes its suites.
//   - Cerbos is imported by this package and no other. The kinds "gatehouse:*" belong to
//     the base policies, and no tenant can define them.
//
// It never decides who may change policies, and never stores a decision: see iam/decision.
package policy
