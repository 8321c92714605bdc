//go:build linux || darwin

package compiler

import "syscall"

// lowerPriority makes this process wait for those that serve.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10) }
