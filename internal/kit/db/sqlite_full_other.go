//go:build !unix

package db

// failAtFileLimit does nothing: this system has no such limit.
func failAtFileLimit() {}
