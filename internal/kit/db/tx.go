package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// session is one database transaction, or one connection for reads, of either database. One
// goroutine uses it.
type session interface {
	// exec runs a statement and returns how many rows it changed.
	exec(ctx context.Context, tenant id.ID, sql string, args []any) (int64, error)
	// query runs a statement and calls each with each row.
	query(ctx context.Context, tenant id.ID, sql string, args []any, each func(Row) error) error
	// later defers a statement until the next one or the end.
	later(d deferred)
}

// deferred is a statement that goes with the next one, or with the end.
type deferred struct {
	tenant id.ID
	n      *int64                 // receives the row count of a write; may be nil
	rows   func() func(Row) error // begins a read; nil for a write
	sql    string
	args   []any
}

// Tx is a transaction bound to one tenant. One goroutine uses it, until the function that was
// called with it returns.
type Tx struct {
	s       session
	gate    *gate
	caller  caller.Caller
	now     time.Time
	ids     *int // how many ids the database transaction has made
	write   bool
	pending error       // the first refusal of a Later, reported at commit
	last    []string    // what AtCommit deferred
	after   *afterwards // once the transaction has ended
	swept   *sweeps
	changed func(tenant id.ID)
}

// Caller returns the caller on whose behalf the transaction runs.
func (tx *Tx) Caller() caller.Caller { return tx.caller }

// Act names the actor of what the transaction does from now on, which a proof in it made known. The
// tenant stays as it is.
func (tx *Tx) Act(a caller.Actor) { tx.caller = tx.caller.As(a) }

// Tenant returns the tenant that the transaction is bound to.
func (tx *Tx) Tenant() id.ID { return tx.caller.Tenant }

// Now returns the transaction's one reading of the clock, in UTC and microseconds.
func (tx *Tx) Now() time.Time { return tx.now }

// NewID returns a fresh id that sorts by Now, and after those that the database transaction made
// before.
func (tx *Tx) NewID() id.ID {
	*tx.ids++
	return id.Nth(tx.now, *tx.ids)
}

// Exec runs a statement and returns how many rows it changed. $1 is the tenant, and args start at
// $2.
func (tx *Tx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := tx.admit(sql, true); err != nil {
		return 0, err
	}
	n, err := tx.s.exec(ctx, tx.caller.Tenant, sql, args)
	return n, classify(err)
}

// Later defers a write: it is sent with the next statement or with COMMIT, in program order, and so
// costs no round trip. Its row count is lost. Its error is the next statement's or the
// transaction's.
func (tx *Tx) Later(sql string, args ...any) { tx.LaterCount(nil, sql, args...) }

// LaterCount is Later for a write that decides something. Once the next statement has been
// answered, n is the number of changed rows.
func (tx *Tx) LaterCount(n *int64, sql string, args ...any) {
	tx.later(true, deferred{n: n, sql: sql, args: args})
}

func (tx *Tx) later(write bool, d deferred) {
	if err := tx.admit(d.sql, write); err != nil {
		if tx.pending == nil {
			tx.pending = err
		}
		return
	}
	d.tenant = tx.caller.Tenant
	tx.s.later(d)
}

// LaterList is List for a read that decides nothing: it costs no round trip. out has the rows once
// the next statement has been answered, or View or Update has returned.
func LaterList[T any](tx *Tx, scan func(Row) (T, error), out *[]T, sql string, args ...any) {
	tx.later(false, deferred{sql: sql, args: args, rows: func() func(Row) error {
		*out = []T{} // a lost connection may repeat the read
		return func(r Row) error {
			v, err := scan(r)
			if err == nil {
				*out = append(*out, v)
			}
			return err
		}
	}})
}

// AtCommit defers a write until right before COMMIT. It is sent with COMMIT, after everything else,
// and once, however often it is deferred. sql has no arguments but $1, the tenant.
//
// Use it for a row that all transactions of a tenant write, such as a counter. Its lock lasts the
// shortest time and comes last, so that no two transactions wait for each other.
func (tx *Tx) AtCommit(sql string) {
	if !slices.Contains(tx.last, sql) {
		tx.last = append(tx.last, sql)
	}
}

// finish sends what AtCommit deferred, unless the transaction has failed.
func (tx *Tx) finish(err error) error {
	if err != nil && tx.pending == nil {
		return err // as it is: a caller may compare it
	}
	if err != nil {
		return errors.Join(err, tx.pending)
	}
	for _, sql := range tx.last {
		tx.Later(sql)
	}
	return tx.pending
}

// AfterCommit registers f to run once the transaction has been committed, on the goroutine that
// opened it: to drop copies or wake a worker. A rollback does not call f.
func (tx *Tx) AfterCommit(f func()) { tx.after.funcs = append(tx.after.funcs, f) }

// AtEnd registers f to run once the transaction has ended, on the goroutine that opened it. Unlike
// AfterCommit it also calls f after a rollback, but not for a run that Update repeats. Use it for
// what a refusal leaves outside of the database.
func (tx *Tx) AtEnd(f func()) { tx.after.always = append(tx.after.always, f) }

// Settle delays Update's return after the commit, so that no replica still uses the old state when
// the caller learns of the change. The longest of several times counts.
func (tx *Tx) Settle(d time.Duration) { tx.after.settle = max(tx.after.settle, d) }

// Changed marks the transaction as one that changes something which caches keep of its tenant.
// After the commit the functions of Watch are called.
func (tx *Tx) Changed() {
	tenant := tx.caller.Tenant
	tx.AfterCommit(func() { tx.changed(tenant) })
}

func (tx *Tx) admit(sql string, write bool) error {
	if write && !tx.write {
		return fmt.Errorf("db: a View may not write\n%s", sql)
	}
	if f := tx.gate.observer.Load(); f != nil {
		(*f)(sql)
	}
	_, err := tx.gate.check(sql, false)
	return err
}

// One returns the only row of a query, or ErrNoRows. $1 is the tenant.
func One[T any](ctx context.Context, tx *Tx, scan func(Row) (T, error), sql string, args ...any) (T, error) {
	var out T
	found := false
	err := tx.each(ctx, sql, args, func(r Row) error {
		var err error
		if found {
			return fmt.Errorf("db: One found more than one row\n%s", sql)
		}
		found = true
		out, err = scan(r)
		return err
	})
	if err == nil && !found {
		err = ErrNoRows
	}
	return out, err
}

// Column scans a row of one column.
func Column[T any](row Row) (T, error) {
	var v T
	err := row.Scan(&v)
	return v, err
}

// List returns every row of a query. The statement's LIMIT bounds it. $1 is the tenant.
func List[T any](ctx context.Context, tx *Tx, scan func(Row) (T, error), sql string, args ...any) ([]T, error) {
	out := []T{}
	err := tx.each(ctx, sql, args, func(r Row) error {
		v, err := scan(r)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out, err
}

func (tx *Tx) each(ctx context.Context, sql string, args []any, each func(Row) error) error {
	if err := tx.admit(sql, false); err != nil {
		return err
	}
	return classify(tx.s.query(ctx, tx.caller.Tenant, sql, args, each))
}

// SystemTx is a transaction over the system tables, for work that no single tenant can do. It
// reaches a tenant table only through For.
type SystemTx struct {
	s      session
	gate   *gate
	caller caller.Caller
	now    time.Time
	ids    int // as in Tx
	txs    *[]*Tx
	after  *afterwards

	swept    *sweeps
	changed  func(tenant id.ID)
	readOnly bool
}

// For binds the same database transaction to a tenant, with the same actor.
func (st *SystemTx) For(tenant id.ID) *Tx {
	c := st.caller
	c.Tenant = tenant
	tx := &Tx{s: st.s, gate: st.gate, caller: c, now: st.now, ids: &st.ids, write: !st.readOnly, after: st.after,
		swept: st.swept, changed: st.changed}
	*st.txs = append(*st.txs, tx)
	return tx
}

// Now returns the transaction's one reading of the clock.
func (st *SystemTx) Now() time.Time { return st.now }

// Exec runs a statement on system tables. args start at $1.
func (st *SystemTx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if st.readOnly {
		return 0, fmt.Errorf("db: a SystemView may not write\n%s", sql)
	}
	if _, err := st.gate.check(sql, true); err != nil {
		return 0, err
	}
	n, err := st.s.exec(ctx, id.ID{}, sql, args)
	return n, classify(err)
}

// SystemOne is One for a SystemTx. args start at $1.
func SystemOne[T any](ctx context.Context, st *SystemTx, scan func(Row) (T, error), sql string, args ...any) (T,
	error) {
	rows, err := SystemList(ctx, st, scan, sql, args...)
	var zero T
	switch {
	case err != nil:
		return zero, err
	case len(rows) == 0:
		return zero, ErrNoRows
	case len(rows) > 1:
		return zero, fmt.Errorf("db: One found more than one row\n%s", sql)
	}
	return rows[0], nil
}

// SystemList is List for a SystemTx. args start at $1.
func SystemList[T any](ctx context.Context, st *SystemTx, scan func(Row) (T, error), sql string, args ...any) ([]T,
	error) {
	if _, err := st.gate.check(sql, true); err != nil {
		return nil, err
	}
	out := []T{}
	err := st.s.query(ctx, id.ID{}, sql, args, func(r Row) error {
		v, err := scan(r)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out, classify(err)
}
