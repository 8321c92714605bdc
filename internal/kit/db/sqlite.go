package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	moderncsqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// sqlite is one writer goroutine with group commit, and a pool of readers.
//
// Every COMMIT waits for the disk (synchronous=FULL). Writers that arrive meanwhile share the next
// one, each in a savepoint of its own.
type sqlite struct {
	reads  *sql.DB
	writes *sql.DB
	conn   *sql.Conn // the writer's
	queue  chan *write
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
	gate   *gate
	stmts  sync.Map // statement text → *sql.Stmt on reads
}

type write struct {
	ctx    context.Context
	fn     func(session) error
	taken  atomic.Bool // by the writer, or by its caller, which no longer waits
	err    error
	panicv any
	done   chan struct{}
}

// groupLimit bounds how many writes share one COMMIT.
const groupLimit = 64

func sqliteDSN(path string, params ...string) string {
	q := url.Values{}
	for _, p := range append([]string{"busy_timeout(10000)", "foreign_keys(1)", "journal_mode(WAL)",
		"synchronous(FULL)", "temp_store(MEMORY)"}, params...) {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	return sqliteFile(path) + "?" + q.Encode()
}

func openSQLite(ctx context.Context, cfg Config) (engine, *gate, error) {
	if err := makePrivate(cfg.DSN); err != nil {
		return nil, nil, fmt.Errorf("database: %w", err)
	}
	failAtFileLimit()
	writes, err := sql.Open("sqlite", sqliteDSN(cfg.DSN))
	if err != nil {
		return nil, nil, fmt.Errorf("database: %w", err)
	}
	writes.SetMaxOpenConns(1)
	reads, err := sql.Open("sqlite", sqliteDSN(cfg.DSN, "query_only(1)"))
	if err != nil {
		return nil, nil, errors.Join(err, writes.Close())
	}
	readers := max(4, 2*runtime.GOMAXPROCS(0))
	reads.SetMaxOpenConns(readers)
	reads.SetMaxIdleConns(readers)
	l := &sqlite{reads: reads, writes: writes, queue: make(chan *write, 4*groupLimit), quit: make(chan struct{}),
		done: make(chan struct{})}
	if err := l.prepare(ctx, cfg); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("database: %w", err), reads.Close(), writes.Close())
	}
	go l.run()
	return l, l.gate, nil
}

// prepare reads the schema and creates the write triggers on the writer's connection. They are
// temporary: only a connection of this package, bound to a tenant, has them. A table that a
// migration adds gets its triggers without being named.
func (l *sqlite) prepare(ctx context.Context, cfg Config) (err error) {
	if l.conn, err = l.writes.Conn(ctx); err != nil {
		return err
	}
	rows, err := l.conn.QueryContext(ctx,
		`SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.name = 'tenant_id'
			WHERE m.type = 'table'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return err
		}
		if _, system := cfg.SystemTables[t]; !system {
			tables = append(tables, t)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(tables) == 0 {
		return ErrNotMigrated
	}
	slices.Sort(tables)
	l.gate = newGate(tables, systemNames(cfg))
	var ddl strings.Builder
	ddl.WriteString("CREATE TEMP TABLE bound (tenant_id BLOB); INSERT INTO temp.bound VALUES (NULL);")
	for _, t := range tables {
		for _, ev := range []struct{ event, row string }{{"INSERT", "NEW"}, {"UPDATE", "NEW"}, {"UPDATE", "OLD"},
			{"DELETE", "OLD"}} {
			fmt.Fprintf(&ddl, `CREATE TEMP TRIGGER bound_%[1]s_%[2]s_%[3]s BEFORE %[2]s ON main.%[1]s
				WHEN %[3]s.tenant_id IS NOT (SELECT tenant_id FROM temp.bound)
				BEGIN SELECT RAISE(ABORT, 'row of another tenant than the bound one'); END;`, t, ev.event, ev.row)
		}
	}
	_, err = l.conn.ExecContext(ctx, ddl.String())
	return err
}

func (l *sqlite) name() string     { return "sqlite" }
func (l *sqlite) advice() []Advice { return nil }

func (l *sqlite) close() {
	l.once.Do(func() {
		close(l.quit)
		<-l.done
		_ = l.reads.Close()
		_ = l.conn.Close()
		_ = l.writes.Close()
	})
}

func (l *sqlite) view(_ context.Context, fn func(session) error) error {
	s := &liteSession{lite: l}
	if err := fn(s); err != nil {
		return err
	}
	return s.failed
}

func (l *sqlite) update(ctx context.Context, fn func(session) error) error {
	w := &write{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case <-l.quit:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	case l.queue <- w:
	}
	select {
	case <-w.done:
	case <-l.done: // closed while we waited
	case <-ctx.Done():
		if w.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
	}
	select { // it runs now: it ends with its group, whatever its caller does
	case <-w.done:
	case <-l.done:
		select {
		case <-w.done:
		default:
			return errClosed
		}
	}
	if w.panicv != nil {
		panic(w.panicv)
	}
	return w.err
}

// run is the writer.
func (l *sqlite) run() {
	defer close(l.done)
	s := &liteSession{lite: l, conn: l.conn, stmts: map[string]*sql.Stmt{}}
	for {
		select {
		case <-l.quit:
			return
		case first := <-l.queue:
			l.group(s, first)
		}
	}
}

// group runs first and all other waiting writes in one transaction, and answers them after its
// COMMIT.
func (l *sqlite) group(s *liteSession, first *write) {
	if first.ctx.Err() != nil { // its caller no longer waits, nor should others wait for a lock
		first.err = first.ctx.Err()
		close(first.done)
		return
	}
	bg := context.Background()
	group := []*write{first}
	fail := func(err error) {
		for _, w := range group {
			if w.err == nil {
				w.err = err
			}
		}
	}
	if _, err := l.conn.ExecContext(bg, "BEGIN IMMEDIATE"); err != nil {
		fail(err)
	} else {
		l.one(s, first)
	collect:
		for len(group) < groupLimit {
			select {
			case w := <-l.queue:
				group = append(group, w)
				l.one(s, w)
			default:
				break collect
			}
		}
		if _, err := l.conn.ExecContext(bg, "COMMIT"); err != nil {
			_, rerr := l.conn.ExecContext(bg, "ROLLBACK")
			s.bound = id.ID{} // the temporary table was rolled back too
			fail(errors.Join(err, rerr))
		}
	}
	for _, w := range group {
		close(w.done)
	}
}

// one runs a single write in its savepoint. Its failure leaves the others of the group alone.
func (l *sqlite) one(s *liteSession, w *write) {
	bg := context.Background()
	if !w.taken.CompareAndSwap(false, true) {
		return
	}
	if w.err = w.ctx.Err(); w.err != nil {
		return
	}
	if _, err := l.conn.ExecContext(bg, "SAVEPOINT one"); err != nil {
		w.err = err
		return
	}
	defer func() {
		if w.panicv = recover(); w.panicv != nil {
			w.err = errors.New("panic")
		}
		end := "RELEASE one"
		if w.err != nil {
			end = "ROLLBACK TO one; RELEASE one"
			s.bound = id.ID{} // the temporary table was rolled back too
		}
		if _, err := l.conn.ExecContext(bg, end); err != nil && w.err == nil {
			w.err = err
		}
	}()
	s.failed = nil
	if w.err = w.fn(s); w.err == nil {
		w.err = s.failed
	}
}

func isSQLiteUnique(err error) bool {
	e, ok := errors.AsType[*moderncsqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func isSQLiteForeignKey(err error) bool {
	e, ok := errors.AsType[*moderncsqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// isSQLiteUnwilling reports whether SQLite cannot do this now. An extended code has its primary
// code in the lowest byte.
func isSQLiteUnwilling(err error) bool {
	e, ok := errors.AsType[*moderncsqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PERM:
		return true
	}
	return isSQLiteFull(err)
}

// isSQLiteFull reports whether SQLite could not write its files.
func isSQLiteFull(err error) bool {
	e, ok := errors.AsType[*moderncsqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}
