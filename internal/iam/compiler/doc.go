// Package compiler turns the files of a Cerbos directory into the rule table that the engine loads.
//
// It reads and compiles files, runs their test suites and explains a decision step by step. What
// tenants write is handled in a child process (sandbox.go), because a small file can exhaust
// memory or the stack. The child may die of it: the files then get a Problem.
//
// It never stores anything, and never decides what is published: see iam/policy.
package compiler
