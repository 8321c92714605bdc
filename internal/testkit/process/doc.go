// Package process starts the real binary as an operator does: built from cmd/gatehouse, in a
// process of its own, configured by flags and environment, and reached over loopback. What it
// starts ends with the test.
package process
