// Package parity asks a real Cerbos server and ours the same questions and compares the answers.
// It contains only tests.
//
// An answer is an effect, the policy and scope that matched, derived roles, outputs, validation
// errors, or a refusal. For a query plan it is also the syntax tree and the debug text.
//
// The questions are generated from a seed, so that a difference is found again. Each world has
// settings of the engine, a directory of policies of every kind, and requests against them. Many
// requests cause errors while a condition is evaluated. The examples of Cerbos' documentation,
// restated, are further questions.
//
// A Cerbos server answers some questions in several ways, because the order of a Go map decides.
// Ours may give any of those answers. Each test for that says what it accepts, and logs how often.
package parity
