//go:build race

package compiler

import "os"

// sandboxProgram returns the binary that the sandbox runs in tests with the race detector:
// cmd/gatehouse built without it, if the environment names one.
//
// The detector takes ten times the time and the memory, and the sandbox's bounds were measured
// without it. Nothing of ours is shared between goroutines there. Builds without the detector do
// not have this file.
func sandboxProgram() (string, error) {
	if program := os.Getenv("GATEHOUSE_TEST_PLAIN"); program != "" {
		return program, nil
	}
	return os.Executable()
}
