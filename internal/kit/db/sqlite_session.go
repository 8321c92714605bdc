package db

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// liteSession is a reader (conn nil) or the writer.
type liteSession struct {
	lite   *sqlite
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	bound  id.ID
	failed error // the first error of a deferred statement
}

// later runs the statement at once: there is no round trip to save.
func (s *liteSession) later(d deferred) {
	switch {
	case s.failed != nil:
	case d.rows != nil:
		s.failed = s.query(context.Background(), d.tenant, d.sql, d.args, d.rows())
	default:
		var changed int64
		if changed, s.failed = s.exec(context.Background(), d.tenant, d.sql, d.args); d.n != nil {
			*d.n = changed
		}
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
