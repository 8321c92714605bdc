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

// Explain returns what to do about an error of the configured database, and its cause. setting is
// the flag with the URL of the connection that failed. An unknown cause has no remedy.
//
// A server that runs answers with a fault that says to try again. An operator who starts one with a
// wrong password would try for ever.
func Explain(cfg Config, setting string, err error) (string, error) {
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Unwrap() != nil {
		err = f.Unwrap()
	}
	if errors.Is(err, ErrForeign) {
		if cfg.isPostgres() {
			return "name an empty database with " + setting, err
		}
		return "name another directory with --data", err
	}
	if cfg.isPostgres() {
		return explainPostgres(setting, err)
	}
	return explainSQLite(cfg.DSN, err)
}

func explainPostgres(setting string, err error) (string, error) {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		reason := errors.New(pe.Message)
		switch pe.Code {
		case "28P01", "28000":
			return "correct the user name and password in " + setting, reason
		case "3D000":
			return "create it with CREATE DATABASE … ENCODING 'UTF8', or correct its name in " + setting, reason
		case "42501":
			return "grant the right to the role in " + setting + ", or name another role there; see " +
				"docs/guides/postgres.md", reason
		case "53300":
			return "lower --database-connections, or raise max_connections of Postgres", reason
		case "57P03":
			return "start again when Postgres accepts connections", reason
		}
		return "", err
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return "correct the host in " + setting, fmt.Errorf("the host %s cannot be resolved", name.Name)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return "start Postgres, or correct the host and port in " + setting, op
	}
	if errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return "check that Postgres runs, and that no firewall closes the host and port in " + setting, err
	}
	return "", err
}

func explainSQLite(path string, err error) (string, error) {
	dir := filepath.Dir(path)
	const other = ", or name another directory with --data"
	code := 0
	if e, ok := errors.AsType[*moderncsqlite.Error](err); ok {
		code = e.Code() & 0xff
	}
	switch {
	case code == sqlite3.SQLITE_NOTADB:
		return "move the file away" + other, fmt.Errorf("%s is not a SQLite database", path)
	case code == sqlite3.SQLITE_CORRUPT:
		return "restore it from a backup" + other, fmt.Errorf("%s is damaged: %w", path, err)
	case code == sqlite3.SQLITE_FULL, errors.Is(err, syscall.ENOSPC):
		return "free space on the disk of " + dir + other, err
	case code == sqlite3.SQLITE_BUSY, code == sqlite3.SQLITE_LOCKED:
		return "end the other program that uses " + path + other, err
	case code == sqlite3.SQLITE_CANTOPEN, code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_PERM,
		errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "let the user that runs gatehouse read and write " + dir + other, err
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(path, pe.Path) {
		return "name another directory with --data", err
	}
	return "", err
}
