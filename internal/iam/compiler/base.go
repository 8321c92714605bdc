package compiler

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// BaseTable returns a function that compiles a Cerbos directory as base policies. It compiles them
// when they are first needed, and once.
func BaseTable(directory fs.FS) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		files, err := ReadFiles(directory)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		compiled, err := compileTable(context.Background(), files)
		if err != nil {
			return nil, fmt.Errorf("base policies: %w", err)
		}
		return compiled.Table, nil
	})
}

// NewBase returns a table as the engine's base policies. It loads them when they are first needed,
// and once for all engines that share it.
func NewBase(table func() ([]byte, error)) engine.Base {
	return sync.OnceValues(func() (*engine.Evaluator, error) {
		compiled, err := table()
		if err != nil {
			return nil, err
		}
		return engine.Load(compiled, engine.DefaultSettings())
	})
}
