package db

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

// Read runs fn in a View and returns its value. With an error it returns the zero value.
func Read[T any](ctx context.Context, d *DB, c caller.Caller, fn func(tx *Tx) (T, error)) (T, error) {
	return valueOf(func(run func(*Tx) error) error { return d.View(ctx, c, run) }, fn)
}

// Write runs fn in an Update and returns the value of the run that was committed. Update may run fn
// again, and what a rolled-back run returned never happened. With an error Write returns the zero
// value.
func Write[T any](ctx context.Context, d *DB, c caller.Caller, fn func(tx *Tx) (T, error)) (T, error) {
	return valueOf(func(run func(*Tx) error) error { return d.Update(ctx, c, run) }, fn)
}

// SystemRead is Read for a SystemView.
func SystemRead[T any](ctx context.Context, d *DB, c caller.Caller, reason string, fn func(st *SystemTx) (T, error)) (T,
	error) {
	return valueOf(func(run func(*SystemTx) error) error { return d.SystemView(ctx, c, reason, run) }, fn)
}

// SystemWrite is Write for a System transaction.
func SystemWrite[T any](ctx context.Context, d *DB, c caller.Caller, reason string,
	fn func(st *SystemTx) (T, error)) (T, error) {
	return valueOf(func(run func(*SystemTx) error) error { return d.System(ctx, c, reason, run) }, fn)
}

// valueOf runs fn in a transaction and returns the value of its last run.
func valueOf[X, T any](transaction func(run func(X) error) error, fn func(X) (T, error)) (T, error) {
	var last T
	err := transaction(func(tx X) error {
		var err error
		last, err = fn(tx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return last, nil
}
