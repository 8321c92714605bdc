package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotMigrated means that the database has no tables of this program, or older ones.
var ErrNotMigrated = errors.New("there are no tables: run `gatehouse migrate` first")

// access is what the login role of --database may do, before any SET ROLE.
type access struct {
	login   string
	serving string // this database's serving role
	member  bool   // login has the rights of serving
	strong  bool   // login could lift or bypass row-level security
	pooled  bool   // the connection goes through a pooler
}

// readAccess asks the database. It uses the simple protocol, which each pooler passes on.
func readAccess(ctx context.Context, cfg *pgx.ConnConfig) (access, error) {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return access{}, fmt.Errorf("database: connect as the serving role: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var a access
	var backend uint32
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid(), current_user::text, gatehouse_serving_role()::text,
		pg_has_role(current_user, gatehouse_serving_role(), 'USAGE'),
		rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_class c WHERE c.oid = to_regclass('tenants')
			AND pg_has_role(current_user, c.relowner, 'USAGE'))
		FROM pg_roles WHERE rolname = current_user`).Scan(&backend, &a.login, &a.serving, &a.member, &a.strong)
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && (pe.Code == "42883" || pe.Code == "42501") {
		return a, fmt.Errorf("database: %w (as seen by the role %q)", ErrNotMigrated, cfg.User)
	}
	// A pooler makes up the number that a client needs to cancel a query.
	a.pooled = backend != conn.PgConn().PID()
	return a, err
}

// Advice is what Postgres leaves open besides the locks, which hold without it.
type Advice struct {
	What, Remedy string
	// Superuser says that only a superuser can follow it. Many installations have none.
	Superuser bool
}

// beside is a condition on a function p of Postgres itself that lets a role keep data, locks or
// messages where no policy looks. Gatehouse calls none of them.
const beside = `p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea',
	'pg_notify', 'pg_logical_emit_message') OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$')`

// CloseBeside takes those functions from PUBLIC. Only a superuser may run it.
const CloseBeside = `DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p WHERE ` + beside + ` LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$`

// provePostgres reads the schema and refuses a database whose locks are open. It also returns what
// Postgres still leaves open beside them.
func provePostgres(ctx context.Context, q querier, cfg Config, serving string) (*gate, []Advice, error) {
	var role string
	var bypass, createRole, create, temporary, public, files, besides bool
	err := q.QueryRow(ctx, `SELECT rolname::text, rolsuper OR rolbypassrls, rolcreaterole,
		has_schema_privilege(current_user, current_schema(), 'CREATE'),
		has_database_privilege(current_user, current_database(), 'TEMP'),
		has_database_privilege('public', current_database(), 'CONNECT'),
		EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ('pg_execute_server_program', 'pg_read_server_files',
			'pg_write_server_files') AND pg_has_role(current_user, r.oid, 'MEMBER')),
		EXISTS (SELECT FROM pg_proc p WHERE `+beside+` AND has_function_privilege(p.oid, 'EXECUTE'))
		FROM pg_roles WHERE rolname = current_user`).
		Scan(&role, &bypass, &createRole, &create, &temporary, &public, &files, &besides)
	if err != nil {
		return nil, nil, fmt.Errorf("database: read the rights of the serving role: %w", err)
	}
	if bypass {
		return nil, nil, fmt.Errorf("database: the role %q could bypass row-level security, so it must not serve: "+
			"give --database a role that is only IN ROLE %s, and this one to --migrate-database", role, serving)
	}
	if files {
		return nil, nil, fmt.Errorf("database: the role %q could read or write files of the database server: REVOKE "+
			"pg_execute_server_program, pg_read_server_files and pg_write_server_files from it", role)
	}
	var advice []Advice
	tables, err := protectedTables(ctx, q, cfg, role, serving)
	if err != nil {
		return nil, nil, err
	}
	if createRole {
		return nil, nil, fmt.Errorf("database: the role %q could make itself a member of the owner: "+
			"ALTER ROLE … NOCREATEROLE, or serve with a role that is only IN ROLE %s", role, serving)
	}
	if create {
		return nil, nil, fmt.Errorf("database: the role %q may create objects in the schema, which the owner could "+
			"run: as the schema's owner, REVOKE CREATE ON SCHEMA … FROM PUBLIC", role)
	}
	if temporary {
		advice = append(advice, Advice{What: "the serving role may create temporary objects",
			Remedy: "as the database's owner, REVOKE TEMP ON DATABASE … FROM PUBLIC"})
	}
	if public {
		advice = append(advice, Advice{What: "every role of the server may connect",
			Remedy: "as the database's owner, REVOKE CONNECT ON DATABASE … FROM PUBLIC"})
	}
	if besides {
		advice = append(advice, Advice{Superuser: true,
			What: "the serving role may create large objects, advisory locks and notifications, which no policy " +
				"limits",
			Remedy: "as a superuser, run the statement in docs/guides/postgres.md"})
	}
	return newGate(tables, systemNames(cfg)), advice, nil
}

// querier is a pool or a connection.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// protectedTables returns the tenant tables, and fails if row-level security does not hold on one.
func protectedTables(ctx context.Context, q querier, cfg Config, role, serving string) ([]string, error) {
	rows, err := q.Query(ctx, `
		SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity, pg_has_role(current_user, c.relowner, 'USAGE')
		FROM pg_class c
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
		  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		var forced, owned bool
		if err := rows.Scan(&table, &forced, &owned); err != nil {
			return nil, err
		}
		if _, system := cfg.SystemTables[table]; system {
			continue
		}
		if !forced {
			return nil, fmt.Errorf("database: row-level security is not forced on %s: the schema was changed by "+
				"hand; restore it before serving", table)
		}
		if owned {
			return nil, fmt.Errorf("database: the role %q owns %s and so could lift its row-level security: serve "+
				"with a role that is only IN ROLE %s", role, table, serving)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("database: %w", ErrNotMigrated)
	}
	slices.Sort(tables)
	return tables, nil
}

// closeDatabase closes what Postgres leaves open in a new database, and lets the serving login in.
// It runs as the owner, and changes nothing if nothing is open.
//
// These rights belong to the database, not to its schema: a copy of a database has them open again.
// So each migration asks, and not one step of the schema. In a database that this program shares,
// it leaves the rights of PUBLIC alone, because the roles of the other program use them.
func closeDatabase(ctx context.Context, cfg Config) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	owner, err := ownerConfig(cfg)
	if err != nil {
		return err
	}
	serving, err := pgx.ParseConfig(cfg.DSN)
	if err != nil {
		return fmt.Errorf("the Postgres URL cannot be read: %w", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	conn, err := pgx.ConnectConfig(ctx, owner)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	// Replicas that start together may change the same row. The next look finds it changed.
	for range 3 {
		if err = closeOnce(ctx, conn, serving.User, log); err == nil || !isConcurrent(err) {
			break
		}
	}
	return err
}

func isConcurrent(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == "XX000" && strings.Contains(pe.Message, "concurrently")
}

func closeOnce(ctx context.Context, conn *pgx.Conn, login string, log *slog.Logger) error {
	var database, schema, role string
	var owner, connects, open, creates, besides, shared, known, member bool
	err := conn.QueryRow(ctx, `SELECT current_database()::text, current_schema()::text, gatehouse_serving_role()::text,
		(SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'tenants'::regclass),
		EXISTS (SELECT FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
			WHERE d.datname = current_database() AND a.privilege_type = 'CONNECT' AND r.rolname = gatehouse_serving_role()),
		has_database_privilege('public', current_database(), 'CONNECT, TEMP'),
		has_schema_privilege('public', current_schema(), 'CREATE'),
		(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND EXISTS (SELECT FROM pg_proc p
			WHERE `+beside+` AND has_function_privilege('public', p.oid, 'EXECUTE')),
		EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE `+pgOthers+` AND n.nspname <> current_schema()),
		EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
		EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $1
			AND (r.rolsuper OR r.rolname = current_user OR pg_has_role(r.oid, gatehouse_serving_role(), 'MEMBER')))`,
		login).Scan(&database, &schema, &role, &owner, &connects, &open, &creates, &besides, &shared, &known,
		&member)
	if err != nil || !owner { // a role that only serves changes nothing here
		return err
	}
	quote := func(s string) string { return pgx.Identifier{s}.Sanitize() }
	for _, step := range []struct {
		needed bool
		sql    string
	}{
		{!connects, fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", quote(database), quote(role))},
		{open && !shared, fmt.Sprintf("REVOKE CONNECT, TEMP ON DATABASE %s FROM PUBLIC", quote(database))},
		{creates, fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM PUBLIC", quote(schema))},
		{besides && !shared, CloseBeside},
	} {
		if !step.needed {
			continue
		}
		if _, err := conn.Exec(ctx, step.sql); isConcurrent(err) {
			return err
		} else if err != nil { // this role may own the tables and not the database
			log.Warn("a right on the database could not be changed: run this as its owner", "sql", step.sql,
				"error", err)
			return nil
		}
	}
	if member {
		return nil
	}
	if !known {
		return fmt.Errorf("the role %q of --database does not exist: CREATE ROLE %s LOGIN IN ROLE %s", login,
			quote(login), quote(role))
	}
	grant := fmt.Sprintf("GRANT %s TO %s", quote(role), quote(login))
	if _, err := conn.Exec(ctx, grant); err != nil && !isConcurrent(err) {
		return fmt.Errorf("the role %q of --database may not serve yet: as a superuser, %s: %w", login, grant, err)
	} else if err != nil {
		return err
	}
	log.Info("the role of --database may serve now", "role", login, "member_of", role)
	return nil
}
