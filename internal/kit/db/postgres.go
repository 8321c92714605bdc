package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

const (
	connectLimit = 5 * time.Second
	// statementLimit bounds a round trip, and the wait for a connection. A caller may have more
	// time: then a reader can try another connection.
	statementLimit = 10 * time.Second
	// pingLimit is how long an idle connection may take to say that it is alive.
	pingLimit  = time.Second
	closeLimit = 5 * time.Second
	// A peer that acknowledges nothing for as long is gone. The system closes the connection.
	silentLimit = 10 * time.Second
)

const bindSQL = `SELECT set_config('app.tenant_id', $1, true)`

type postgres struct {
	pool *pgxpool.Pool
	open []Advice
}

func openPostgres(ctx context.Context, cfg Config) (engine, *gate, error) {
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, nil, fmt.Errorf("database: the Postgres URL cannot be read: %w", err)
	}
	pc.MaxConns = 20
	if cfg.MaxConns > 0 {
		pc.MaxConns = int32(min(cfg.MaxConns, 1000))
	}
	pc.MaxConnIdleTime = 5 * time.Minute
	setUp(pc.ConnConfig)
	first, cancel := limited(ctx) // a database that is silent at start is told, and not waited for
	defer cancel()
	a, err := readAccess(first, pc.ConnConfig)
	if err != nil {
		return nil, nil, classify(err)
	}
	separate := cfg.OwnerDSN != "" && cfg.OwnerDSN != cfg.DSN
	if !separate && (a.strong || !a.member) {
		// One URL for all: each serving connection takes the restricted role.
		if a.pooled {
			return nil, nil, fmt.Errorf("database: --database goes through a pooler, where a connection cannot keep "+
				"the role %[1]s: give it a login role IN ROLE %[1]s, and the owner to --migrate-database", a.serving)
		}
		pc.ConnConfig.RuntimeParams["role"] = a.serving
	}
	if a.pooled {
		// In transaction mode the next transaction may have another connection to Postgres, which
		// does not know the statements prepared on this one. The mode costs one round trip more for
		// the first use of a statement, and none later.
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	p := &postgres{}
	pc.ShouldPing = p.isDead
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, nil, err
	}
	p.pool = pool
	g, advice, err := provePostgres(first, pool, cfg, a.serving)
	if err != nil {
		pool.Close()
		return nil, nil, classify(err)
	}
	p.open = advice
	return p, g, nil
}

// setUp sets what every connection has in common. Without an encoding of its own, a connection has
// that of the database or the role, and pgx refuses each other one than UTF-8 for simple queries.
func setUp(pc *pgx.ConnConfig) {
	pc.ConnectTimeout, pc.DialFunc = connectLimit, dial
	pc.RuntimeParams["client_encoding"] = "UTF8"
}

// isDead pings a connection that was idle for a while. What silenced it may have silenced the other
// idle ones: a firewall that forgot them, or a failover. So isDead drops them all, and the caller
// need not find out about each. The pool pings what isDead reports, and closes it.
func (p *postgres) isDead(ctx context.Context, of pgxpool.ShouldPingParams) bool {
	if of.IdleDuration < pingLimit {
		return false
	}
	// A caller that leaves says nothing of the connection.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingLimit)
	defer cancel()
	if of.Conn.Ping(ctx) == nil {
		return false
	}
	p.pool.Reset()
	return true
}

func systemNames(cfg Config) []string {
	var out []string
	for t := range cfg.SystemTables {
		out = append(out, t)
	}
	return out
}

func (p *postgres) name() string     { return "postgres" }
func (p *postgres) advice() []Advice { return p.open }

// close ends every connection. One that is in use and silent does not hold it up for longer than
// closeLimit.
func (p *postgres) close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.pool.Close()
	}()
	select {
	case <-done:
	case <-time.After(closeLimit):
	}
}

func (p *postgres) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return p.pool.Acquire(ctx)
}

// limited returns ctx with statementLimit.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, statementLimit)
}

func (p *postgres) view(ctx context.Context, fn func(session) error) error {
	conn, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	s := &pgSession{pool: p, conn: conn}
	defer func() { s.conn.Release() }()
	if err := fn(s); err != nil {
		return err
	}
	return s.flush(ctx)
}

func (p *postgres) update(ctx context.Context, fn func(session) error) error {
	conn, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	s := &pgSession{pool: p, conn: conn, write: true}
	defer func() { s.conn.Release() }()
	done := false
	defer func() {
		if !done { // fn failed or panicked
			s.rollback(ctx)
		}
	}()
	if err := fn(s); err != nil {
		return s.uncommitted(err)
	}
	if err := ctx.Err(); err != nil {
		return rolledBack{err}
	}
	last, cancel := uncancelled(ctx)
	defer cancel()
	if err := s.commit(last); err != nil {
		if pgconn.SafeToRetry(err) || isReadOnly(err) { // nothing was sent, or accepted
			return rolledBack{err}
		}
		return err
	}
	done = true
	return nil
}

// uncancelled returns ctx with its deadline, without its cancellation. A caller that leaves during
// a COMMIT would otherwise not learn whether its transaction took effect.
func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ends := ctx.Deadline(); ends {
		return context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}

// batch is what one round trip sends.
type batch struct {
	pgx.Batch
	deferred map[int]deferred // by position, those whose result counts
}

// pgSession sends as few round trips as it can. Reading, it sends the bind and the statement in one
// implicit transaction. Writing, it sends BEGIN and the bind with the first statement, and deferred
// statements with the next one or with COMMIT. Writes that were all deferred are an implicit
// transaction too.
type pgSession struct {
	pool  *postgres
	conn  *pgxpool.Conn
	gone  bool // conn was lost, and there is no other
	write bool
	begun bool
	bound id.ID
	put   []deferred
}

func (s *pgSession) later(d deferred) { s.put = append(s.put, d) }

// flush sends what is deferred and no other statement has taken along.
func (s *pgSession) flush(ctx context.Context) error {
	if len(s.put) == 0 {
		return nil
	}
	last := s.put[len(s.put)-1]
	s.put = s.put[:len(s.put)-1]
	if last.rows != nil {
		return s.query(ctx, last.tenant, last.sql, last.args, last.rows())
	}
	n, err := s.exec(ctx, last.tenant, last.sql, last.args)
	if last.n != nil {
		*last.n = n
	}
	return err
}

// bind queues the tenant's bind if the transaction is bound to another tenant.
func (s *pgSession) bind(b *batch, tenant id.ID) {
	if tenant.IsZero() || s.bound == tenant {
		return
	}
	b.Queue(bindSQL, tenant.String())
	s.bound = tenant
}

// open queues BEGIN, the statements deferred so far and the bind for tenant.
func (s *pgSession) open(tenant id.ID) *batch {
	b := &batch{}
	if !s.write {
		s.bound = id.ID{} // a batch that reads is a transaction of its own
	}
	if s.write && !s.begun {
		b.Queue("BEGIN")
		s.begun = true
	}
	for _, d := range s.put {
		s.bind(b, d.tenant)
		if d.n != nil || d.rows != nil {
			if b.deferred == nil {
				b.deferred = map[int]deferred{}
			}
			b.deferred[b.Len()] = d
		}
		b.Queue(d.sql, pgArgs(d.tenant, d.args)...)
	}
	s.put = nil
	s.bind(b, tenant)
	return b
}

// send runs the batch and calls last with the results of its last statement. It marks the loss of
// the connection, and closes one on which nothing can be written any longer.
func (s *pgSession) send(ctx context.Context, b *batch, last func(pgx.BatchResults) error) error {
	if s.gone {
		return lost{errors.New("no connection")}
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	err := s.sendOnce(ctx, b, last)
	if err == nil {
		return nil
	}
	if isReadOnly(err) { // the primary has become a standby
		s.drop()
		return err
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); ok {
		return err
	}
	if s.conn.Conn().IsClosed() && !errors.Is(err, context.Canceled) {
		return lost{err}
	}
	return err
}

// drop closes the connection, and every other one once it is released.
func (s *pgSession) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Conn().Close(ctx)
	s.pool.pool.Reset()
}

func (s *pgSession) sendOnce(ctx context.Context, b *batch, last func(pgx.BatchResults) error) (err error) {
	res := s.conn.SendBatch(ctx, &b.Batch)
	defer func() {
		if cerr := res.Close(); err == nil {
			err = cerr
		}
	}()
	for i := range b.Len() - 1 {
		d := b.deferred[i]
		if d.rows != nil {
			if _, err := readRows(res, d.rows()); err != nil {
				return err
			}
			continue
		}
		tag, err := res.Exec()
		if err != nil {
			return err
		}
		if d.n != nil {
			*d.n = tag.RowsAffected()
		}
	}
	return last(res)
}

func (s *pgSession) exec(ctx context.Context, tenant id.ID, sql string, args []any) (int64, error) {
	var n int64
	b := s.open(tenant)
	b.Queue(sql, pgArgs(tenant, args)...)
	err := s.send(ctx, b, func(res pgx.BatchResults) error {
		tag, err := res.Exec()
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

func (s *pgSession) query(ctx context.Context, tenant id.ID, sql string, args []any, each func(Row) error) error {
	first, cancel := s.firstTry(ctx)
	carried := s.put
	rows, err := s.queryOnce(first, tenant, sql, args, each)
	cancel()
	if isLost(err) && !s.write && rows == 0 && ctx.Err() == nil {
		// The statement only reads, and no row of it was seen: once more, on another connection.
		// The lost one is released first, because it counts in the pool until then.
		s.conn.Release()
		next, aerr := s.pool.acquire(ctx)
		if aerr != nil {
			s.gone = true
			return err
		}
		s.conn, s.put = next, carried
		_, err = s.queryOnce(ctx, tenant, sql, args, each)
	}
	return err
}

// firstTry leaves a reader half of its time to try another connection, if that is less than
// statementLimit.
func (s *pgSession) firstTry(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ends := ctx.Deadline(); ends && !s.write {
		if half := time.Until(deadline) / 2; half < statementLimit {
			return context.WithTimeout(ctx, half)
		}
	}
	return ctx, func() {}
}

// queryOnce also returns how many rows each has seen.
func (s *pgSession) queryOnce(ctx context.Context, tenant id.ID, sql string, args []any,
	each func(Row) error) (int, error) {
	n := 0
	b := s.open(tenant)
	b.Queue(sql, pgArgs(tenant, args)...)
	err := s.send(ctx, b, func(res pgx.BatchResults) error {
		var err error
		n, err = readRows(res, each)
		return err
	})
	return n, err
}

// readRows calls each with the rows of the batch's next statement. It returns how many it has seen.
func readRows(res pgx.BatchResults, each func(Row) error) (int, error) {
	n := 0
	rows, err := res.Query()
	if err != nil {
		return n, err
	}
	defer rows.Close()
	for rows.Next() {
		n++
		if err := each(scanner{rows.Scan}); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// uncommitted marks a loss before COMMIT was sent, and a standby's refusal: nothing of the
// transaction was stored, so it can run again.
func (s *pgSession) uncommitted(err error) error {
	if s.conn.Conn().IsClosed() && (isLost(err) || isReadOnly(err)) {
		return rolledBack{err}
	}
	return err
}

// rolledBack is a loss after which nothing of the transaction is stored.
type rolledBack struct{ error }

func (r rolledBack) Unwrap() error { return r.error }

// commit ends the transaction. If nothing was sent yet, all of it is one batch. Postgres runs that
// as one transaction without BEGIN and COMMIT, which spares both sides two statements.
func (s *pgSession) commit(ctx context.Context) error {
	if !s.begun {
		s.begun = true
		return s.flush(ctx)
	}
	b := s.open(id.ID{})
	b.Queue("COMMIT")
	var tag pgconn.CommandTag
	err := s.send(ctx, b, func(res pgx.BatchResults) error {
		var err error
		tag, err = res.Exec()
		return err
	})
	if err == nil && !strings.EqualFold(tag.String(), "COMMIT") {
		err = errors.New("db: the transaction was already broken and has been rolled back")
	}
	return err
}

// rollback ends a failed transaction. It closes a connection that cannot do even that, so that the
// pool drops it.
func (s *pgSession) rollback(ctx context.Context) {
	conn := s.conn.Conn()
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = conn.Close(ctx)
	}
}
