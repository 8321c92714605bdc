package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Config says which database to open.
type Config struct {
	// DSN is a postgres:// URL, or the path of an SQLite file, for serving.
	DSN string
	// OwnerDSN is the postgres:// URL of the role that owns the tables and migrates. Empty: DSN.
	OwnerDSN string
	// SystemTables names the tables that no tenant owns.
	SystemTables map[string]string
	Postgres     fs.FS // migrations, postgres/*.sql
	SQLite       fs.FS // migrations, sqlite/*.sql
	Clock        clock.Clock
	Log          *slog.Logger
	// MaxConns bounds the Postgres connections of this process. 0: 20.
	MaxConns int
}

// isPostgres reports whether the configured database is Postgres.
func (c Config) isPostgres() bool { return isPostgresDSN(c.DSN) }

func isPostgresDSN(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// engine is what differs between the two databases.
type engine interface {
	view(ctx context.Context, fn func(session) error) error
	update(ctx context.Context, fn func(session) error) error
	close()
	name() string
	advice() []Advice
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine engine
	gate   *gate
	clock  clock.Clock
	log    *slog.Logger

	refused atomic.Int64 // when the database last took no write, in nanoseconds since 1970; 0: it does

	swept sweeps

	watchMu  sync.RWMutex
	watchers []func(tenant id.ID)
}

// Watch registers f for the tenant of every committed transaction that called Changed. f runs on
// the goroutine that committed it.
func (d *DB) Watch(f func(tenant id.ID)) {
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	d.watchers = append(d.watchers, f)
}

// Observe calls f with each statement of a tenant's transaction before it runs, on its goroutine.
// Tests count statements with it.
func (d *DB) Observe(f func(sql string)) { d.gate.observer.Store(&f) }

func (d *DB) changed(tenant id.ID) {
	d.watchMu.RLock()
	defer d.watchMu.RUnlock()
	for _, f := range d.watchers {
		f(tenant)
	}
}

// Open connects to a migrated database and proves its locks. On Postgres it fails if the serving
// role can bypass row-level security or owns a table, or if a tenant table does not force it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{clock: cfg.Clock, log: cfg.Log}
	var err error
	if cfg.isPostgres() {
		d.engine, d.gate, err = openPostgres(ctx, cfg)
	} else {
		d.engine, d.gate, err = openSQLite(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	for _, a := range d.Advice() {
		if !a.Superuser { // the doctor says that too
			cfg.Log.WarnContext(ctx, "database: "+a.What, "remedy", a.Remedy)
		}
	}
	return d, nil
}

// Advice returns what is open besides the locks.
func (d *DB) Advice() []Advice { return d.engine.advice() }

// Close waits for running transactions and closes the database.
func (d *DB) Close() { d.engine.close() }

// Willing fails for a few seconds after a write found the database full or read-only, unless
// another write succeeded since.
func (d *DB) Willing() error {
	at := d.refused.Load()
	if since := d.clock.Now().UnixNano() - at; at == 0 || since > refusedFor.Nanoseconds() {
		return nil
	}
	return errUnavailable.Because(errors.New("a write found the database full or read-only"))
}

// refusedFor is how long a refused write counts against readiness.
const refusedFor = 10 * time.Second

// noteWrite remembers when the database took no write, and forgets it with the next write.
func (d *DB) noteWrite(err error) {
	switch {
	case err == nil:
		if d.refused.Load() != 0 {
			d.refused.Store(0)
		}
	case cannotWrite(err):
		d.refused.Store(d.clock.Now().UnixNano())
	}
}

// ServerTime returns the time of the database's clock. SQLite has the clock of this process.
func (d *DB) ServerTime(ctx context.Context) (time.Time, error) {
	var t time.Time
	query := `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
	if d.engine.name() == "sqlite" {
		query = `SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)`
	}
	err := d.engine.view(ctx, func(s session) error {
		return s.query(ctx, id.ID{}, query, nil, func(r Row) error { return r.Scan(&t) })
	})
	err = classify(err)
	return t, err
}

// Name returns "postgres" or "sqlite".
func (d *DB) Name() string { return d.engine.name() }

// View runs fn for reading. Each statement is one round trip that carries its own tenant bind. A
// statement sees what was committed when it began, so fn must not rely on two of them agreeing.
func (d *DB) View(ctx context.Context, c caller.Caller, fn func(tx *Tx) error) error {
	if c.Tenant.IsZero() {
		return fmt.Errorf("db: %w: the caller names no tenant", ErrTenancy)
	}
	var after afterwards
	err := d.engine.view(ctx, func(s session) error {
		after = afterwards{}
		tx := &Tx{s: s, gate: d.gate, caller: c, now: d.clock.Now(), ids: new(int), after: &after, swept: &d.swept,
			changed: d.changed}
		return tx.finish(fn(tx))
	})
	return d.ended(classify(err), after)
}

// Update runs fn in one read-write transaction. It commits when fn returns nil and rolls back
// otherwise. It runs fn again after a serialization failure or a deadlock, up to five times, and
// once if the connection was lost before COMMIT was sent. So fn must not change outer variables.
// Use Write for a transaction that returns a value.
//
// Nothing slow belongs inside: no hashing, no HTTP, no mail, no other transaction. On SQLite a
// nested one would wait for itself.
func (d *DB) Update(ctx context.Context, c caller.Caller, fn func(tx *Tx) error) error {
	if c.Tenant.IsZero() {
		return fmt.Errorf("db: %w: the caller names no tenant", ErrTenancy)
	}
	var after afterwards
	err := d.retry(ctx, func(s session) error {
		after = afterwards{}
		tx := &Tx{s: s, gate: d.gate, caller: c, now: d.clock.Now(), ids: new(int), write: true, after: &after,
			swept: &d.swept, changed: d.changed}
		return tx.finish(fn(tx))
	})
	return d.ended(err, after)
}

// System runs fn in one transaction that may use the system tables, and tenant tables through For.
// reason says why no single tenant can do this. It is logged.
func (d *DB) System(ctx context.Context, c caller.Caller, reason string, fn func(st *SystemTx) error) error {
	d.log.DebugContext(ctx, "system transaction", "reason", reason, "actor", string(c.Actor.Kind), "request_id",
		c.RequestID)
	var after afterwards
	err := d.retry(ctx, func(s session) error {
		after = afterwards{}
		var txs []*Tx
		st := &SystemTx{s: s, gate: d.gate, caller: c, now: d.clock.Now(), txs: &txs, after: &after,
			swept: &d.swept, changed: d.changed}
		err := fn(st)
		for _, tx := range txs {
			err = tx.finish(err)
		}
		return err
	})
	return d.ended(err, after)
}

// SystemView is System for reading: it never waits for writers. A statement sees what was committed
// when it began. A transaction from For cannot write.
func (d *DB) SystemView(ctx context.Context, c caller.Caller, reason string, fn func(st *SystemTx) error) error {
	d.log.DebugContext(ctx, "system view", "reason", reason, "actor", string(c.Actor.Kind), "request_id", c.RequestID)
	var after afterwards
	err := d.engine.view(ctx, func(s session) error {
		after = afterwards{}
		return fn(&SystemTx{s: s, gate: d.gate, caller: c, now: d.clock.Now(), txs: new([]*Tx), after: &after,
			swept: &d.swept, changed: d.changed, readOnly: true})
	})
	return d.ended(classify(err), after)
}

func (d *DB) retry(ctx context.Context, fn func(session) error) error {
	var err error
	again := true // after a loss, once
	for range 5 {
		err = d.engine.update(ctx, fn)
		if _, gone := errors.AsType[rolledBack](err); gone && again && ctx.Err() == nil {
			again = false
			continue
		}
		if !retryable(err) {
			break
		}
	}
	d.noteWrite(err)
	return classify(unjoin(err))
}

// afterwards is what happens once a transaction has ended.
type afterwards struct {
	always []func()
	funcs  []func() // after a commit, or a View without an error
	settle time.Duration
}

func (d *DB) ended(err error, after afterwards) error {
	for _, f := range after.always {
		f()
	}
	if err != nil {
		return err
	}
	for _, f := range after.funcs {
		f()
	}
	time.Sleep(after.settle)
	return nil
}

// unjoin returns the only error of a join of one, so that messages stay short.
func unjoin(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 {
		return j.Unwrap()[0]
	}
	return err
}
