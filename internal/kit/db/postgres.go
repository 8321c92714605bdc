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

const bindSQL = `SELECT set_config('app.tenant_id', $1, true)`

type postgres struct {
	pool *pgxpool.Pool
	open []string // see DB.Advice
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
	pc.ConnConfig.ConnectTimeout = 5 * time.Second
	a, err := readAccess(ctx, pc.ConnConfig)
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
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, nil, err
	}
	g, advice, err := provePostgres(ctx, pool, cfg, a.serving)
	if err != nil {
		pool.Close()
		return nil, nil, classify(err)
	}
	return &postgres{pool, advice}, g, nil
}

func systemNames(cfg Config) []string {
	var out []string
	for t := range cfg.SystemTables {
		out = append(out, t)
	}
	return out
}

func (p *postgres) name() string                   { return "postgres" }
func (p *postgres) advice() []string               { return p.open }
func (p *postgres) close()                         { p.pool.Close() }
func (p *postgres) ping(ctx context.Context) error { return p.pool.Ping(ctx) }

func (p *postgres) view(ctx context.Context, fn func(session) error) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return fn(&pgSession{conn: conn.Conn()})
}

func (p *postgres) update(ctx context.Context, fn func(session) error) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	s := &pgSession{conn: conn.Conn(), write: true}
	done := false
	defer func() {
		if !done { // fn failed or panicked
			s.rollback(ctx)
		}
	}()
	if err := fn(s); err != nil {
		return err
	}
	if err := s.commit(ctx); err != nil {
		return err
	}
	done = true
	return nil
}

type deferred struct {
	tenant id.ID
	n      *int64 // where its row count goes; may be nil
	sql    string
	args   []any
}

// batch is what one round trip sends.
type batch struct {
	pgx.Batch
	counts map[int]*int64 // position → where its row count goes
}

// pgSession sends as few round trips as it can. Reading, it sends the bind and the statement in one
// implicit transaction. Writing, it sends BEGIN and the bind with the first statement, and deferred
// statements with the next one or with COMMIT.
type pgSession struct {
	conn  *pgx.Conn
	write bool
	begun bool
	bound id.ID
	put   []deferred
}

func (s *pgSession) later(tenant id.ID, n *int64, sql string, args []any) {
	s.put = append(s.put, deferred{tenant, n, sql, args})
}

// bind queues the tenant's bind if the session is bound to another tenant.
func (s *pgSession) bind(b *batch, tenant id.ID) {
	if tenant.IsZero() || (s.write && s.bound == tenant) {
		return
	}
	b.Queue(bindSQL, tenant.String())
	s.bound = tenant
}

// open queues BEGIN, the statements deferred so far and the bind for tenant.
func (s *pgSession) open(tenant id.ID) *batch {
	b := &batch{}
	if s.write && !s.begun {
		b.Queue("BEGIN")
		s.begun = true
	}
	for _, d := range s.put {
		s.bind(b, d.tenant)
		if d.n != nil {
			if b.counts == nil {
				b.counts = map[int]*int64{}
			}
			b.counts[b.Len()] = d.n
		}
		b.Queue(d.sql, pgArgs(d.tenant, d.args)...)
	}
	s.put = nil
	s.bind(b, tenant)
	return b
}

// send runs the batch and calls last with the results of its last statement.
func (s *pgSession) send(ctx context.Context, b *batch, last func(pgx.BatchResults) error) (err error) {
	res := s.conn.SendBatch(ctx, &b.Batch)
	defer func() {
		if cerr := res.Close(); err == nil {
			err = cerr
		}
	}()
	for i := range b.Len() - 1 {
		tag, err := res.Exec()
		if err != nil {
			return err
		}
		if n := b.counts[i]; n != nil {
			*n = tag.RowsAffected()
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
	b := s.open(tenant)
	b.Queue(sql, pgArgs(tenant, args)...)
	return s.send(ctx, b, func(res pgx.BatchResults) error {
		rows, err := res.Query()
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
	})
}

func (s *pgSession) commit(ctx context.Context) error {
	if !s.begun && len(s.put) == 0 {
		return nil
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
	if s.conn.IsClosed() || s.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = s.conn.Close(ctx)
	}
}
