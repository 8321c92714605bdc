package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate applies the missing migrations and returns how many it applied. It runs as the owner of
// the tables. Replicas that start together wait for one another. A current schema is only read.
func Migrate(ctx context.Context, cfg Config) (int, error) {
	if err := MayStart(ctx, cfg); err != nil {
		return 0, fmt.Errorf("migrate: %w", classify(err))
	}
	outdated, err := pending(ctx, cfg)
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", classify(err))
	}
	var steps []*goose.MigrationResult
	if outdated {
		if err := asOwner(ctx, cfg, mayMigrate); err != nil {
			return 0, fmt.Errorf("migrate: %w", classify(err))
		}
		if steps, err = up(ctx, cfg); err != nil {
			return len(steps), fmt.Errorf("migrate: %w", err)
		}
	}
	if cfg.isPostgres() {
		if err := closeDatabase(ctx, cfg); err != nil {
			return len(steps), fmt.Errorf("migrate: %w", classify(err))
		}
	}
	return len(steps), nil
}

// MayStart fails if the role of the owner's URL could not migrate a database that has no tables of
// this program, or not all of them. It changes nothing.
func MayStart(ctx context.Context, cfg Config) error { return asOwner(ctx, cfg, mayStart) }

func mayStart(ctx context.Context, conn *pgx.Conn) error {
	var noTables, noRole bool
	var user, role string
	// The name of the serving role is that of the migration 00011_roles.
	err := conn.QueryRow(ctx, `WITH wanted AS (SELECT 'gatehouse_app_' || CASE
			WHEN octet_length('gatehouse_app_' || current_database()) > 60 THEN md5(current_database())
			ELSE current_database()::text END AS role)
		SELECT current_user::text, role, to_regclass('goose_db_version') IS NULL
			AND NOT COALESCE(has_schema_privilege(current_user, current_schema(), 'CREATE'), false),
			to_regprocedure('gatehouse_serving_role()') IS NULL AND NOT rolcreaterole AND NOT rolsuper
			AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role)
		FROM wanted, pg_roles WHERE rolname = current_user`).Scan(&user, &role, &noTables, &noRole)
	switch {
	case err != nil:
		return err
	case noTables:
		return fmt.Errorf("there are no tables yet, and the role %q may not create them: give the owner's URL to "+
			"--migrate-database, or run `gatehouse migrate` with it", user)
	case noRole:
		return fmt.Errorf("the role %q may not create the serving role: as a superuser, CREATE ROLE %[2]s NOLOGIN; "+
			"GRANT %[2]s TO %[3]s WITH ADMIN OPTION; then migrate again", user, pgx.Identifier{role}.Sanitize(),
			pgx.Identifier{user}.Sanitize())
	}
	return nil
}

// asOwner runs fn with a connection by the owner's URL. On SQLite there is no owner, and nothing to
// ask.
func asOwner(ctx context.Context, cfg Config, fn func(context.Context, *pgx.Conn) error) error {
	if !cfg.isPostgres() {
		return nil
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	pc, err := ownerConfig(cfg)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return fn(ctx, conn)
}

// mayMigrate fails if the role of the owner's URL does not own the tables. The migrations would
// fail too, after minutes of waiting for their lock.
func mayMigrate(ctx context.Context, conn *pgx.Conn) error {
	var other bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('tenants')
		AND NOT pg_has_role(current_user, relowner, 'USAGE'))`).Scan(&other); err != nil {
		return err
	}
	if other {
		return fmt.Errorf("the schema is older than this binary, and the role %q does not own it: give the owner's "+
			"URL to --migrate-database, or run `gatehouse migrate` with it", conn.Config().User)
	}
	return nil
}

// pending reports whether the schema is older than this binary needs.
func pending(ctx context.Context, cfg Config) (bool, error) {
	p, conn, err := provider(cfg, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := limited(ctx)
	defer cancel()
	return p.HasPending(ctx)
}

// up applies the missing migrations.
func up(ctx context.Context, cfg Config) ([]*goose.MigrationResult, error) {
	// The owner is bound by row-level security too. A back-fill that it would hide rows from fails,
	// instead of changing nothing.
	p, conn, err := provider(cfg, map[string]string{"row_security": "off"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	steps, err := p.Up(ctx)
	if err != nil && strings.Contains(err.Error(), "unsupported startup parameter") {
		err = fmt.Errorf("migrations cannot go through a pooler, which has no session: give Postgres' own address to "+
			"--migrate-database: %w", err)
	}
	return steps, err
}

// provider opens the owner's connection with the given session parameters.
func provider(cfg Config, session map[string]string) (*goose.Provider, *sql.DB, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []goose.ProviderOption{goose.WithSlog(log), goose.WithDisableGlobalRegistry(true)}
	if !cfg.isPostgres() {
		if err := makePrivate(cfg.DSN); err != nil {
			return nil, nil, err
		}
		conn, err := sql.Open("sqlite", sqliteDSN(cfg.DSN))
		if err != nil {
			return nil, nil, err
		}
		conn.SetMaxOpenConns(1)
		return newProvider(goose.DialectSQLite3, conn, cfg.SQLite, "sqlite", opts)
	}
	pc, err := ownerConfig(cfg)
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(pc.RuntimeParams, session)
	// A lease row, not an advisory lock: those are no-ops on CockroachDB and
	// session state behind PgBouncer.
	locker, err := lock.NewPostgresTableLocker()
	if err != nil {
		return nil, nil, err
	}
	return newProvider(goose.DialectPostgres, stdlib.OpenDB(*pc), cfg.Postgres, "postgres",
		append(opts, goose.WithLocker(locker)))
}

func ownerConfig(cfg Config) (*pgx.ConnConfig, error) {
	pc, err := pgx.ParseConfig(cmp.Or(cfg.OwnerDSN, cfg.DSN))
	if err != nil {
		return nil, fmt.Errorf("the Postgres URL cannot be read: %w", err)
	}
	pc.DefaultQueryExecMode = pgx.QueryExecModeExec // prepares nothing, so it passes a pooler
	setUp(pc)
	return pc, nil
}

func newProvider(d goose.Dialect, conn *sql.DB, files fs.FS, dir string, opts []goose.ProviderOption) (*goose.Provider,
	*sql.DB, error) {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if d == goose.DialectPostgres {
		partitions, err := partitionSteps(sub)
		if err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
		opts = append(opts, partitions...)
	}
	p, err := goose.NewProvider(d, conn, sub, opts...)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return p, conn, nil
}
