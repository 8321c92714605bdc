// Package policy owns what a tenant keeps about its Cerbos policies: the draft, the published
// revisions, and the engine's settings.
//
// Invariants:
//   - A revision never changes: the database refuses it. Its number is the tenant's
//     own, begins at 1 and has no gaps. The greatest one is in force.
//   - What is published is what was compiled and what passed its test suites, byte for
//     byte: the draft's version is part of the statement that publishes.
//   - A revision has the engine's settings. A change of those in force publishes a revision.
//   - A draft may be wrong in every way but its size, its number of files and their
//     paths. A revision compiles and passes its suites.
//
// It never evaluates a policy (iam/engine) and never compiles one (iam/compiler). It never
// decides who may change policies.
package policy
