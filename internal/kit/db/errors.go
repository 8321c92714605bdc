package db

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// ErrNoRows is returned by One if no row matches.
var ErrNoRows = errors.New("no rows")

// ErrTenancy is wrapped by every refusal of a tenant lock. It is always a programming error, never
// a user's.
var ErrTenancy = errors.New("statement is not bound to its tenant")

var errUnavailable = fault.New(fault.Unavailable, "database.unavailable",
	"The database cannot be reached right now. Try again in a moment.")

// Advise returns what Postgres says beside the message of its error, in lines for a terminal. The
// migrations say there what an administrator has to run. Advise returns "" for other errors.
func Advise(err error) string {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ""
	}
	var lines string
	if pe.Detail != "" {
		lines += "  detail: " + pe.Detail + "\n"
	}
	if pe.Hint != "" {
		lines += "  → " + pe.Hint + "\n"
	}
	return lines
}

// IsConflict reports whether err says that the unique index {table}__{column} was violated. Unique
// indexes have that name on both databases.
func IsConflict(err error, table, column string) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code == "23505" && pe.ConstraintName == table+"__"+column
	}
	return err != nil && isSQLiteUnique(err) && strings.Contains(err.Error(), table+"."+column)
}

// IsForeignKey reports whether err says that a referenced row is missing, or that a row is still
// referenced.
func IsForeignKey(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code == "23503"
	}
	return err != nil && isSQLiteForeignKey(err)
}

// retryable reports whether the server rolled the transaction back for a reason that a second run
// can cure: a serialization failure or a deadlock.
func retryable(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pe.Code == "40001" || pe.Code == "40P01")
}

// classify turns the loss of the database into a fault, and a database that is not willing. It
// returns other errors as they are.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if isLost(err) || isUnwilling(err) {
		return errUnavailable.Because(err)
	}
	return err
}

// lost says that a connection ended under a statement. Drivers report that by many errors, so the
// session marks it by the state of the connection, and this package lists none of them.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// isLost reports whether the database could not be reached or ended the connection.
func isLost(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Severity == "FATAL" || pe.Severity == "PANIC" || strings.HasPrefix(pe.Code, "08") ||
			strings.HasPrefix(pe.Code, "57P")
	}
	if _, ok := errors.AsType[lost](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return pgconn.Timeout(err) || errors.Is(err, errClosed)
}

// isUnwilling reports whether the database answered that it cannot do this now, whatever the
// statement: it is read-only, full, out of resources, locked or interrupted.
func isUnwilling(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return isSQLiteUnwilling(err)
	}
	switch pe.Code[:min(2, len(pe.Code))] {
	case "53", "58": // insufficient resources such as a full disk, errors of the system
		return true
	}
	switch pe.Code {
	case "25006", "55P03", "57014", "25P03", "25P04": // a standby, a lock, an interrupt, times that ran out
		return true
	}
	return retryable(err) // five runs did not help
}

// isReadOnly reports whether err is what a standby answers to a write.
func isReadOnly(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == "25006"
}

// cannotWrite reports whether err says that the database takes no writes: it is read-only or full.
func cannotWrite(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return isReadOnly(err) || strings.HasPrefix(pe.Code, "53") && pe.Code != "53300" ||
			strings.HasPrefix(pe.Code, "58")
	}
	return isSQLiteFull(err)
}

var errClosed = errors.New("database is closed")
