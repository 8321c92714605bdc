// Package process starts the real binary as an operator would: built from
// cmd/gatehouse, in a process of its own, told by flags and environment what to do,
// and spoken to over loopback. What it starts ends with the test.
package process
