// Package engine answers checks and plans with Cerbos in this process. Each tenant has one compiled
// rule table.
//
// It owns the evaluators: how they load, how much memory they keep, and the bounds of one
// evaluation in time, memory and steps. Code that reaches into Cerbos' internals stands in
// cerbos_internals.go. It makes the filters of plans itself, from the rules that a check evaluates
// (planner.go), and asks Cerbos how they are spelled. A Language evaluates other expressions within
// bounds of the same kind, such as those of iam/claim.
//
// Invariants:
//   - A check compiles nothing. It runs programs that were checked when the table was compiled.
//   - An evaluation that exceeds its bounds has no answer. An answer without the stopped condition
//     could be an ALLOW that the condition denies.
//   - A filter shows no resource that a check denies. What it cannot tell, it hides or refuses.
//   - The base policies answer for kinds with the prefix "gatehouse:", whatever a tenant publishes.
//
// It never reads policy files (iam/compiler). It knows neither drafts nor revisions nor the users
// who may change them (iam/policy). It records no decision (iam/decision).
package engine
