package db

import (
	"context"
	"errors"
	"fmt"
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

// classify turns the loss of the database into a fault. It returns other errors as they are.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case strings.HasPrefix(pe.Code, "08"), strings.HasPrefix(pe.Code, "57P"), strings.HasPrefix(pe.Code, "53"):
			return errUnavailable.Because(err)
		}
		return err
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return errUnavailable.Because(err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return errUnavailable.Because(err)
	}
	if pgconn.Timeout(err) || errors.Is(err, errClosed) {
		return errUnavailable.Because(err)
	}
	return err
}

var errClosed = fmt.Errorf("database is closed")
