//go:build !race

package policy

import "os"

// sandboxProgram is what the sandbox runs: this binary.
func sandboxProgram() (string, error) { return os.Executable() }
