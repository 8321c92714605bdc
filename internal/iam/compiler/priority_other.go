//go:build !linux && !darwin

package compiler

func lowerPriority() {}
