//go:build !linux

package db

import "syscall"

// userTimeout does nothing: this system has keep-alives only.
func userTimeout(_, _ string, _ syscall.RawConn) error { return nil }
