package credential

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// errUserNotFound is the fault for a credential of a user that no longer exists.
var errUserNotFound = user.ErrNotFound

// PasswordOf returns the PHC string of the user's password, or "" if there is none. Hasher.Verify
// accepts both.
func PasswordOf(ctx context.Context, tx *db.Tx, user id.ID) (string, error) {
	h, err := db.One(ctx, tx, func(r db.Row) (string, error) {
		var h string
		err := r.Scan(&h)
		return h, err
	}, `SELECT hash FROM passwords WHERE tenant_id = $1 AND user_id = $2`, user)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	return h, err
}

// Stored returns the PHC string of the user's password as PasswordOf does. It also reports whether
// any user of the tenant still has a hash from another system, or one with older parameters.
func Stored(ctx context.Context, tx *db.Tx, user id.ID) (string, bool, error) {
	type found struct {
		hash    string
		imports int64
	}
	f, err := db.One(ctx, tx, func(r db.Row) (found, error) {
		var f found
		err := r.Scan(&f.hash, &f.imports)
		return f, err
	}, `SELECT COALESCE((SELECT hash FROM passwords WHERE tenant_id = $1 AND user_id = $2), ''),
		COALESCE((SELECT max(imported) FROM passwords WHERE tenant_id = $1), 0)`, user)
	return f.hash, f.imports > 0, err
}

// SetPassword stores a hash from Hasher.Hash or parseHash as the user's password. It holds the
// user, and ends the open reset links. The caller ends the rest (signin.End).
func SetPassword(ctx context.Context, tx *db.Tx, of id.ID, phc string) error {
	u, err := user.Hold(ctx, tx, of)
	if err != nil {
		return err
	}
	before, err := PasswordOf(ctx, tx, of)
	if err != nil {
		return err
	}
	if err := storePassword(ctx, tx, of, phc); err != nil {
		return err
	}
	tx.Later(`DELETE FROM mailed_links WHERE tenant_id = $1 AND user_id = $2 AND kind = 'reset'`, of)
	audit.Write(tx, audit.Event{Action: "password.change", Target: u.Target(),
		Changed: audit.Changes{}.With("password", audit.Digest([]byte(before)), audit.Digest([]byte(phc)))})
	return nil
}

func storePassword(ctx context.Context, tx *db.Tx, user id.ID, phc string) error {
	_, err := tx.Exec(ctx, `INSERT INTO passwords (tenant_id, user_id, hash, changed_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, user_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at`, user,
		phc, tx.Now())
	if db.IsForeignKey(err) {
		return errUserNotFound
	}
	return err
}

// Rehash replaces the hash of a verified password by one with the current parameters, unless the
// password has changed meanwhile. It costs no round trip, and does not count as a change of the
// password.
func Rehash(tx *db.Tx, user id.ID, from, to string) {
	tx.Later(`UPDATE passwords SET hash = $4 WHERE tenant_id = $1 AND user_id = $2 AND hash = $3`, user, from, to)
}

// Summary says which credentials a user has.
type Summary struct {
	Password          bool
	PasswordChangedAt time.Time // zero without a password
	TOTP              bool      // a confirmed authenticator app
	TOTPSince         time.Time
	RecoveryCodes     int // unused
}

// SecondFactorSQL tells whether a user has set up a second factor, as an expression of a statement
// in which u is a row of users.
const SecondFactorSQL = `EXISTS (SELECT 1 FROM totp_factors f
	WHERE f.tenant_id = u.tenant_id AND f.user_id = u.id AND f.confirmed_at IS NOT NULL)`

// Of returns the summary of the user's credentials. One query.
func Of(ctx context.Context, tx *db.Tx, user id.ID) (Summary, error) {
	return db.One(ctx, tx, func(r db.Row) (Summary, error) {
		var s Summary
		err := r.Scan(&s.PasswordChangedAt, &s.TOTPSince, &s.RecoveryCodes)
		s.Password, s.TOTP = !s.PasswordChangedAt.IsZero(), !s.TOTPSince.IsZero()
		return s, err
	}, `SELECT (SELECT changed_at FROM passwords WHERE tenant_id = $1 AND user_id = $2),
		(SELECT confirmed_at FROM totp_factors WHERE tenant_id = $1 AND user_id = $2),
		(SELECT count(*) FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL)`, user)
}
