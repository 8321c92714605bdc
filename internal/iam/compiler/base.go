package compiler

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// NewBase returns a Cerbos directory as the engine's base policies. It compiles them when they
// are first needed, and once for all engines that share it.
func NewBase(directory fs.FS) engine.Base {
	return sync.OnceValues(func() (*engine.Evaluator, error) {
		files, err := ReadFiles(directory)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		table, err := compileTable(context.Background(), files)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		return engine.Load(table, engine.DefaultSettings())
	})
}
