//go:build !linux && !darwin

package policy

func lowerPriority() {}
