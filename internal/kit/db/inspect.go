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
}

// Empty reports whether there is no database yet, or one without tables of this program.
func (s State) Empty() bool { return s.Schema == 0 }

// Newer reports whether a newer release has migrated the database.
func (s State) Newer() bool { return s.Schema > s.Binary }

// Err returns why this binary cannot use the database, or nil. It accepts a schema that is older
// than the binary, because that can be migrated, and a newer one that says it serves this binary
// too. A rolling upgrade needs the latter: a replica of the release before may restart at any time.
func (s State) Err() error {
	switch e := strings.ReplaceAll(strings.ToUpper(s.Encoding), "-", ""); {
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
)

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
	var migrated bool
	err = conn.QueryRow(ctx, `SELECT current_setting('server_encoding'), to_regclass('goose_db_version') IS NOT NULL`).
		Scan(&s.Encoding, &migrated)
	if err != nil || !migrated {
		return err
	}
	if err := conn.QueryRow(ctx, lastApplied).Scan(&s.Schema); err != nil || !s.Newer() {
		return err
	}
	return conn.QueryRow(ctx, oldestSupport).Scan(&s.Oldest)
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
	var migrated bool
	err = conn.QueryRowContext(ctx, `SELECT encoding, EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'goose_db_version')
		FROM pragma_encoding`).Scan(&s.Encoding, &migrated)
	if err != nil || !migrated {
		return err
	}
	if err := conn.QueryRowContext(ctx, lastApplied).Scan(&s.Schema); err != nil || !s.Newer() {
		return err
	}
	return conn.QueryRowContext(ctx, oldestSupport).Scan(&s.Oldest)
}
