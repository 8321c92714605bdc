package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// State is what a database says of itself before it is migrated or opened.
type State struct {
	Schema   int64  // number of the last migration; 0 for a database without tables of this program
	Oldest   int64  // number of the oldest schema whose binaries can serve this one; 0 if unknown
	Binary   int64  // number of the last migration that this binary has
	Encoding string // of texts, such as UTF8
	Foreign  string // a table of something else in a database that has no schema of this program, or ""
}

// ErrForeign means that the database belongs to something else. A migration would mix the two, and
// close the database to the roles that use it.
var ErrForeign = errors.New("the database holds tables of something else")

// Empty reports whether there is no database yet, or one without tables of this program.
func (s State) Empty() bool { return s.Schema == 0 }

// Newer reports whether a newer release has migrated the database.
func (s State) Newer() bool { return s.Schema > s.Binary }

// Err returns why this binary cannot use the database, or nil. It accepts a schema that is older
// than the binary, because that can be migrated, and a newer one that says it serves this binary
// too. A rolling upgrade needs the latter: a replica of the release before may restart at any time.
func (s State) Err() error {
	switch e := strings.ReplaceAll(strings.ToUpper(s.Encoding), "-", ""); {
	case s.Foreign != "":
		return fmt.Errorf("%w, such as %s", ErrForeign, s.Foreign)
	case s.Encoding != "" && e != "UTF8":
		return fmt.Errorf("the database stores texts in %s, which cannot hold every language: create it with "+
			"ENCODING 'UTF8'", s.Encoding)
	case s.Newer() && (s.Oldest == 0 || s.Oldest > s.Binary):
		return fmt.Errorf("the schema (%d) is newer than this binary (%d): run the release that migrated it, "+
			"or a newer one", s.Schema, s.Binary)
	}
	return nil
}

// Inspect reads the state of the configured database. It changes nothing and creates nothing.
func Inspect(ctx context.Context, cfg Config) (State, error) {
	files, dir := cfg.SQLite, "sqlite"
	if cfg.isPostgres() {
		files, dir = cfg.Postgres, "postgres"
	}
	s := State{}
	var err error
	if s.Binary, err = lastMigration(files, dir); err != nil {
		return State{}, err
	}
	if cfg.isPostgres() {
		err = s.readPostgres(ctx, cfg)
	} else {
		err = s.readSQLite(ctx, cfg)
	}
	return s, classify(err)
}

// CheckURL returns why a Postgres URL cannot be read, or nil. It connects to nothing.
func CheckURL(dsn string) error {
	_, err := pgxpool.ParseConfig(dsn)
	if e, ok := errors.AsType[*pgconn.ParseConfigError](err); ok && errors.Unwrap(e) != nil {
		return errors.Unwrap(e) // without the URL
	}
	return err
}

func lastMigration(files fs.FS, dir string) (int64, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return 0, err
	}
	var last int64
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last, nil
}

const (
	lastApplied   = `SELECT COALESCE(max(version_id), 0) FROM goose_db_version WHERE is_applied`
	oldestSupport = `SELECT oldest FROM schema_support WHERE id = 1`

	// firstStep names a table of the first migration. Other programs have a goose_db_version too.
	firstStep = `config_clock`

	// pgOthers is a condition on a table c in a namespace n: no extension and no migration made it.
	pgOthers = `c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		AND c.relname NOT IN ('goose_db_version', 'goose_lock') AND NOT EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`
	// A URL with a search_path gives this program a schema of its own in a shared database.
	pgForeign = `SELECT COALESCE(min(format('%I.%I', n.nspname, c.relname)), '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE ` + pgOthers + ` AND (n.nspname = current_schema() OR current_schema() = 'public')`
	sqliteForeign = `SELECT COALESCE(min(name), '') FROM sqlite_schema
		WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> 'goose_db_version'`
)

// read fills s. row reads one row. first selects the encoding, whether there is a table of
// versions, and whether there is the table of the first step. foreign is pgForeign or
// sqliteForeign.
func (s *State) read(row func(query string, to ...any) error, first, foreign string) error {
	var versioned, started bool
	err := row(first, &s.Encoding, &versioned, &started)
	if err == nil && !started { // before its versions are read: they may be of another role
		err = row(foreign, &s.Foreign)
	}
	if err == nil && versioned && s.Foreign == "" {
		err = row(lastApplied, &s.Schema)
	}
	switch {
	case err != nil || s.Foreign != "":
		return err
	case s.Schema == 0 && started:
		return row(foreign, &s.Foreign)
	case s.Schema > 0 && !started:
		s.Foreign = "goose_db_version"
		return nil
	case s.Newer():
		return row(oldestSupport, &s.Oldest)
	}
	return nil
}

func (s *State) readPostgres(ctx context.Context, cfg Config) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	pc, err := ownerConfig(cfg)
	if err != nil {
		return err
	}
	pc.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // a pooler passes it on
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	row := func(query string, to ...any) error { return conn.QueryRow(ctx, query).Scan(to...) }
	return s.read(row, `SELECT current_setting('server_encoding'), to_regclass('goose_db_version') IS NOT NULL,
		to_regclass('`+firstStep+`') IS NOT NULL`, pgForeign)
}

func (s *State) readSQLite(ctx context.Context, cfg Config) error {
	if _, err := os.Stat(cfg.DSN); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	conn, err := sql.Open("sqlite", sqliteFile(cfg.DSN)+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	row := func(query string, to ...any) error { return conn.QueryRowContext(ctx, query).Scan(to...) }
	return s.read(row, `SELECT encoding, EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'goose_db_version'),
		EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '`+firstStep+`') FROM pragma_encoding`, sqliteForeign)
}
