// Package internal pins the modules of the policy engine.
package internal

// What the policy engine is built on, pinned before its first importer.
import (
	_ "github.com/cerbos/cerbos-sdk-go/cerbos"
	_ "github.com/cerbos/cerbos/private/plan"
)
