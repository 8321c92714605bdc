//go:build !race

package compiler

import "os"

// sandboxProgram returns the binary that the sandbox runs: this one.
func sandboxProgram() (string, error) { return os.Executable() }
