// Package engine answers checks and plans with Cerbos, in this process, by one compiled rule table a
// tenant.
//
// It owns the evaluators: loading them, their memory, and what one evaluation may take in time, memory
// and steps. Everything that reaches into Cerbos' internals stands in cerbos_internals.go.
//
// Invariants:
//   - A check compiles nothing. It runs programs that were checked when the table was compiled.
//   - An evaluation that exceeds its bounds has no answer, rather than one without the condition
//     that was stopped.
//   - Kinds with the prefix "gatehouse:" are answered by the base policies, whatever a tenant publishes.
//
// It never reads policy files (iam/compiler), and never knows drafts, revisions or who may change
// them (iam/policy). It records no decision (iam/decision).
package engine
