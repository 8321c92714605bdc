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
	return fn(&liteSession{lite: l})
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

// liteSession is a reader (conn nil) or the writer.
type liteSession struct {
	lite   *sqlite
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	bound  id.ID
	failed error // the first error of a deferred statement
}

// later runs the statement at once: there is no round trip to save.
func (s *liteSession) later(tenant id.ID, n *int64, sql string, args []any) {
	if s.failed != nil {
		return
	}
	var changed int64
	changed, s.failed = s.exec(context.Background(), tenant, sql, args)
	if n != nil {
		*n = changed
	}
}

// statement prepares a statement once and proves its plan, the fourth lock.
func (s *liteSession) statement(ctx context.Context, tenant id.ID, text string) (*sql.Stmt, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	if s.conn == nil {
		if st, ok := s.lite.stmts.Load(text); ok {
			return st.(*sql.Stmt), nil
		}
	} else if st, ok := s.stmts[text]; ok {
		return st, nil
	}
	prepare, query := s.lite.reads.PrepareContext, s.lite.reads.QueryContext
	if s.conn != nil {
		prepare, query = s.conn.PrepareContext, s.conn.QueryContext
	}
	if !tenant.IsZero() {
		if err := s.lite.provePlan(ctx, query, text); err != nil {
			return nil, err
		}
	}
	translated, _ := sqliteText(text)
	st, err := prepare(ctx, translated)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	if s.conn != nil {
		s.stmts[text] = st
		return st, nil
	}
	if prior, loaded := s.lite.stmts.LoadOrStore(text, st); loaded {
		_ = st.Close()
		return prior.(*sql.Stmt), nil
	}
	return st, nil
}

func (l *sqlite) provePlan(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error),
	text string) error {
	v, err := l.gate.check(text, false)
	if err != nil {
		return err
	}
	translated, arguments := sqliteText(text)
	rows, err := query(ctx, "EXPLAIN QUERY PLAN "+translated, make([]any, arguments)...)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var a, b, c int
		var detail string
		if err := rows.Scan(&a, &b, &c, &detail); err != nil {
			return err
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return l.gate.checkPlan(text, v, plan)
}

// bind tells the write triggers which tenant the next statements belong to.
func (s *liteSession) bind(ctx context.Context, tenant id.ID) error {
	if s.conn == nil || tenant.IsZero() || s.bound == tenant {
		return nil
	}
	st, ok := s.stmts["bind"]
	if !ok {
		var err error
		if st, err = s.conn.PrepareContext(ctx, "UPDATE temp.bound SET tenant_id = ?"); err != nil {
			return err
		}
		s.stmts["bind"] = st
	}
	if _, err := st.ExecContext(ctx, tenant[:]); err != nil {
		return err
	}
	s.bound = tenant
	return nil
}

// uninterrupted keeps a caller that goes away from interrupting the writer. SQLite answers an
// interrupt by rolling back the whole transaction, that of the other writes too.
func (s *liteSession) uninterrupted(ctx context.Context) context.Context {
	if s.conn == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

func (s *liteSession) exec(ctx context.Context, tenant id.ID, text string, args []any) (int64, error) {
	ctx = s.uninterrupted(ctx)
	st, err := s.statement(ctx, tenant, text)
	if err != nil {
		return 0, err
	}
	if err := s.bind(ctx, tenant); err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, sqliteArgs(tenant, args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *liteSession) query(ctx context.Context, tenant id.ID, text string, args []any, each func(Row) error) error {
	ctx = s.uninterrupted(ctx)
	st, err := s.statement(ctx, tenant, text)
	if err != nil {
		return err
	}
	if err := s.bind(ctx, tenant); err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, sqliteArgs(tenant, args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(scanner{rows.Scan}); err != nil {
			return err
		}
	}
	return rows.Err()
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
