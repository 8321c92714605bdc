package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	moderncsqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Explain returns why the configured database cannot be used, and what to do. setting is the flag
// with the URL of the connection that failed. An unknown cause has no remedy.
//
// A server that runs answers with a fault that says to try again. An operator who starts one with a
// wrong password would try for ever.
func Explain(cfg Config, setting string, err error) (error, string) {
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Unwrap() != nil {
		err = f.Unwrap()
	}
	if errors.Is(err, ErrForeign) {
		if cfg.isPostgres() {
			return err, "name an empty database with " + setting
		}
		return err, "name another directory with --data"
	}
	if cfg.isPostgres() {
		return explainPostgres(setting, err)
	}
	return explainSQLite(cfg.DSN, err)
}

func explainPostgres(setting string, err error) (error, string) {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		reason := errors.New(pe.Message)
		switch pe.Code {
		case "28P01", "28000":
			return reason, "correct the user name and password in " + setting
		case "3D000":
			return reason, "create it with CREATE DATABASE … ENCODING 'UTF8', or correct its name in " + setting
		case "42501":
			return reason, "grant the right to the role in " + setting + ", or name another role there; see " +
				"docs/guides/postgres.md"
		case "53300":
			return reason, "lower --database-connections, or raise max_connections of Postgres"
		case "57P03":
			return reason, "start again when Postgres accepts connections"
		}
		return err, ""
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the host %s cannot be resolved", name.Name), "correct the host in " + setting
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return op, "start Postgres, or correct the host and port in " + setting
	}
	if errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return err, "check that Postgres runs, and that no firewall closes the host and port in " + setting
	}
	return err, ""
}

func explainSQLite(path string, err error) (error, string) {
	dir := filepath.Dir(path)
	const other = ", or name another directory with --data"
	code := 0
	if e, ok := errors.AsType[*moderncsqlite.Error](err); ok {
		code = e.Code() & 0xff
	}
	switch {
	case code == sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s is not a SQLite database", path), "move the file away" + other
	case code == sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is damaged: %w", path, err), "restore it from a backup" + other
	case code == sqlite3.SQLITE_FULL, errors.Is(err, syscall.ENOSPC):
		return err, "free space on the disk of " + dir + other
	case code == sqlite3.SQLITE_BUSY, code == sqlite3.SQLITE_LOCKED:
		return err, "end the other program that uses " + path + other
	case code == sqlite3.SQLITE_CANTOPEN, code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_PERM,
		errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return err, "let the user that runs gatehouse read and write " + dir + other
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(path, pe.Path) {
		return err, "name another directory with --data"
	}
	return err, ""
}
