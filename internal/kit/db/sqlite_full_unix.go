//go:build unix

package db

import (
	"os/signal"
	"syscall"
)

// failAtFileLimit lets a write beyond the process's limit on the size of files (RLIMIT_FSIZE) fail
// as on a full disk. Otherwise its signal would end the process.
func failAtFileLimit() { signal.Ignore(syscall.SIGXFSZ) }
