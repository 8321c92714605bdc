// Package parity asks a real Cerbos server and ours the same questions and wants the same
// answers: effects, the policy and scope that matched, derived roles, outputs,
// validation errors, query plans with their syntax tree and debug text, and refusals.
//
// The questions are generated from a seed, so that a difference is found again: worlds,
// each with settings of the engine and a directory of policies of every kind, and
// requests against them, many of which hit errors while a condition is evaluated. Beside
// them stand the examples of Cerbos' documentation, restated. There is nothing here but
// tests.
//
// Where a Cerbos server answers one question in several ways, because something in it hangs on
// the order of a Go map, ours may be any of them; each test for that says what it is, and
// how many such answers there were is in the log.
package parity
