package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate applies the missing migrations and returns how many it applied. It runs as the owner of
// the tables. Replicas that start together wait for one another. A current schema is only read.
func Migrate(ctx context.Context, cfg Config) (int, error) {
	p, conn, err := provider(cfg)
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = conn.Close() }()
	pending, err := p.HasPending(ctx)
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", classify(err))
	}
	if !pending {
		return 0, nil
	}
	steps, err := p.Up(ctx)
	if err != nil {
		return len(steps), fmt.Errorf("migrate: %w", err)
	}
	return len(steps), nil
}

// Pending reports whether the schema is older than this binary needs.
func Pending(ctx context.Context, cfg Config) (bool, error) {
	p, conn, err := provider(cfg)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	return p.HasPending(ctx)
}

func provider(cfg Config) (*goose.Provider, *sql.DB, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []goose.ProviderOption{goose.WithSlog(log), goose.WithDisableGlobalRegistry(true)}
	if !cfg.isPostgres() {
		if err := os.MkdirAll(filepath.Dir(cfg.DSN), 0o700); err != nil {
			return nil, nil, fmt.Errorf("the data directory cannot be made: %w", err)
		}
		conn, err := sql.Open("sqlite", sqliteDSN(cfg.DSN))
		if err != nil {
			return nil, nil, err
		}
		conn.SetMaxOpenConns(1)
		return newProvider(goose.DialectSQLite3, conn, cfg.SQLite, "sqlite", opts)
	}
	dsn := cfg.OwnerDSN
	if dsn == "" {
		dsn = cfg.DSN
	}
	pc, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("the Postgres URL cannot be read: %w", err)
	}
	// The owner is bound by row-level security too. A back-fill that it would hide rows from fails,
	// instead of changing nothing.
	pc.RuntimeParams["row_security"] = "off"
	// A lease row, not an advisory lock: those are no-ops on CockroachDB and
	// session state behind PgBouncer.
	locker, err := lock.NewPostgresTableLocker()
	if err != nil {
		return nil, nil, err
	}
	return newProvider(goose.DialectPostgres, stdlib.OpenDB(*pc), cfg.Postgres, "postgres",
		append(opts, goose.WithLocker(locker)))
}

func newProvider(d goose.Dialect, conn *sql.DB, files fs.FS, dir string, opts []goose.ProviderOption) (*goose.Provider,
	*sql.DB, error) {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	p, err := goose.NewProvider(d, conn, sub, opts...)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return p, conn, nil
}
