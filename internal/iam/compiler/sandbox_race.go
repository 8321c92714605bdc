//go:build race

package compiler

import "os"

// sandboxProgram is what the sandbox runs in tests with the race detector: cmd/gatehouse built without it, where the
// environment says so. The detector would take ten times the time and the memory, for a process in which nothing of
// ours is shared between goroutines, and the bounds of both were measured without it. Builds without the detector do
// not have this file.
func sandboxProgram() (string, error) {
	if program := os.Getenv("GATEHOUSE_TEST_SANDBOX"); program != "" {
		return program, nil
	}
	return os.Executable()
}
