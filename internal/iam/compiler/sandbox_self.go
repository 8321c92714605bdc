//go:build !race

package compiler

import "os"

// sandboxProgram is what the sandbox runs: this binary.
func sandboxProgram() (string, error) { return os.Executable() }
